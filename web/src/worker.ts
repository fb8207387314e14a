/** The worker that hosts Pyodide. */
import { PyodideHost } from "./pyodide_host.js";
import { serveHere } from "./worker_scope.js";

void serveHere(new PyodideHost());
