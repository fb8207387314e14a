/**
 * A thread of the kernels that dies of its own: `?die=error|silent&after=3&who=0`, in the call after so many of them;
 * without `who` every thread does, else the one that was the first to start, or the second.
 */
import "./mortal_calls.mjs"; // before the other, which is begun as soon as a message comes
import "../dist/lib/wasm_thread.js";

globalThis.mortality = new URL(import.meta.url).searchParams;
