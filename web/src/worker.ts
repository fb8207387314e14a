/** The worker that hosts Pyodide. */
import { SpareMemory } from "./lent_memory.js";
import { PyodideHost } from "./pyodide_host.js";
import { serveHere } from "./worker_scope.js";

void serveHere(new PyodideHost(new SpareMemory()));
