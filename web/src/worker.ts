/** The worker that hosts Pyodide. */
import { PyodideHost } from "./pyodide_host.js";
import { serveHere } from "./worker_scope.js";

await serveHere(new PyodideHost());
