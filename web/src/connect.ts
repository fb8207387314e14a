/** Opens a connection to a host: in this thread, in a Web Worker, or in a Node worker thread. */
import { LoadError, RuntimeLostError } from "./errors.js";
import { IN_NODE } from "./places.js";
import { Connection, type FromHost, serve } from "./protocol.js";
import { PyodideHost } from "./pyodide_host.js";

export function connectHere(): Connection {
  const host = new PyodideHost();
  // A microtask keeps the order of calls and lets the caller attach its handlers first.
  const connection: Connection = new Connection(
    (message) => queueMicrotask(() => void serve(host, message, (reply) => connection.receive(reply))),
    () => {},
  );
  connection.now = (verb, args) => host.request(verb, args, 0);
  return connection;
}

/**
 * Where a worker's script lies; in browsers, what starts it: bundlers take a worker along where they see
 * `new Worker(new URL(…, import.meta.url))` written out, and nowhere else.
 */
export type WorkerScript = string | URL | (() => Worker);

/** `watch`: the end of a worker is noticed even where the browser does not tell of it, as Node does by itself. */
export async function connectWorker(script: WorkerScript, watch = false): Promise<Connection> {
  return IN_NODE ? connectNodeWorker(script as string | URL) : connectWebWorker(script, watch);
}

function connectWebWorker(script: WorkerScript, watch: boolean): Connection {
  if (typeof Worker === "undefined") {
    throw new LoadError("this environment has no Web Worker; load with { worker: false }");
  }
  const worker = typeof script === "function" ? script() : new Worker(script, { type: "module" });
  const place = typeof script === "function" ? "its script" : script;
  const connection = new Connection(
    (message, transfer) => worker.postMessage(message, transfer),
    () => worker.terminate(),
  );
  // A worker that closes itself or is killed for its memory gives no event; but a lock that it held becomes free.
  if (watch && navigator.locks) connection.watch = `ruvector-attention ${crypto.randomUUID()}`;
  worker.addEventListener("message", ({ data }: MessageEvent<FromHost>) => {
    if (data.id !== 0) return connection.receive(data);
    const end = () => connection.lose(new RuntimeLostError("the worker ended"));
    void navigator.locks.request(connection.watch as string, end);
  });
  worker.addEventListener("error", (event) => {
    connection.lose(new RuntimeLostError(`the worker stopped: ${event.message || `cannot load ${place}`}`));
  });
  worker.addEventListener("messageerror", () => {
    connection.lose(new RuntimeLostError("the worker sent a message that cannot be read"));
  });
  return connection;
}

async function connectNodeWorker(url: URL | string): Promise<Connection> {
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(new URL(url), { execArgv: [] }); // flags of the program, like --eval, are not the worker's
  const connection = new Connection(
    (message, transfer) => worker.postMessage(message, transfer),
    () => void worker.terminate(),
    // Only a request in flight keeps the program alive; an idle worker does not.
    (waiting) => (waiting ? worker.ref() : worker.unref()),
  );
  worker.on("message", (message: FromHost) => connection.receive(message));
  worker.on("messageerror", (error) =>
    connection.lose(new RuntimeLostError(`the worker was not understood: ${error}`)),
  );
  worker.on("error", (error) =>
    connection.lose(new RuntimeLostError(`the worker stopped: ${error.message}`)),
  );
  worker.on("exit", (code) => connection.lose(new RuntimeLostError(`the worker ended with code ${code}`)));
  return connection;
}
