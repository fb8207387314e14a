/** The worker of the kernels, which dies where a message says so: see mortality() in pool_checks.mjs. */
import "./mortal_messages.mjs"; // before the other, which listens from the start
import "../dist/lib/wasm_worker.js";
