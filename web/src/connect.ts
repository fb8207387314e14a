/** Opens a connection to a host: in this thread, in a Web Worker, or in a Node worker thread. */
import { LoadError, RuntimeLostError } from "./errors.js";
import { IN_NODE } from "./places.js";
import { Connection, type FromHost, type Progress, serve } from "./protocol.js";
import { PyodideHost } from "./pyodide_host.js";
import { WorkerLife } from "./worker_life.js";

/** Told of what a host is at, after it has started as well. */
type OnProgress = (progress: Progress) => void;

export function connectHere(onProgress: OnProgress): Connection {
  const host = new PyodideHost();
  // A microtask keeps the order of calls and lets the caller attach its handlers first.
  const connection: Connection = new Connection(
    (message) =>
      queueMicrotask(() => void serve(host, message, (reply) => take(connection, reply, onProgress))),
    () => {},
  );
  connection.now = (verb, args) => host.request(verb, args, 0);
  return connection;
}

function take(connection: Connection, message: FromHost, onProgress: OnProgress | undefined): void {
  if ("progress" in message && onProgress) onProgress(message.progress);
  else connection.receive(message);
}

/**
 * Where a worker's script lies; in browsers, what starts it: bundlers take a worker along where they see
 * `new Worker(new URL(…, import.meta.url))` written out, and nowhere else.
 */
export type WorkerScript = string | URL | (() => Worker);

/** `watch`: the end of a worker is noticed even where the browser does not tell of it, as Node does by itself. */
export async function connectWorker(
  script: WorkerScript,
  watch = false,
  onProgress?: OnProgress,
): Promise<Connection> {
  return IN_NODE
    ? connectNodeWorker(script as string | URL, onProgress)
    : connectWebWorker(script, watch, onProgress);
}

function connectWebWorker(
  script: WorkerScript,
  watch: boolean,
  onProgress: OnProgress | undefined,
): Connection {
  if (typeof Worker === "undefined") {
    throw new LoadError("this environment has no Web Worker; load with { worker: false }");
  }
  const place = typeof script === "function" ? "its script" : script;
  let worker: Worker;
  try {
    worker = typeof script === "function" ? script() : new Worker(script, { type: "module" });
  } catch (error) {
    // A script of another origin, or one that the page's policy forbids.
    throw new LoadError(`no worker can be started of ${place}: ${(error as Error).message}`);
  }
  const life = new WorkerLife(() => worker.terminate());
  const connection = new Connection(
    (message, transfer) => worker.postMessage(message, transfer),
    () => life.end(),
    (waiting) => life.busy(waiting),
  );
  // A worker that closes itself or is killed for its memory gives no event; but a lock that it held becomes free.
  if (watch && navigator.locks) connection.watch = `ruvector-attention ${crypto.randomUUID()}`;
  worker.addEventListener("message", ({ data }: MessageEvent<FromHost>) => {
    if ("progress" in data) life.heard(data.progress);
    if (data.id !== 0) return take(connection, data, onProgress);
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

async function connectNodeWorker(url: URL | string, onProgress: OnProgress | undefined): Promise<Connection> {
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(new URL(url), { execArgv: [] }); // flags of the program, like --eval, are not the worker's
  // Only a request in flight keeps the program alive, and a start that is being kept; an idle worker does not.
  const life = new WorkerLife(
    () => void worker.terminate(),
    (isNeeded) => (isNeeded ? worker.ref() : worker.unref()),
  );
  const connection = new Connection(
    (message, transfer) => worker.postMessage(message, transfer),
    () => life.end(),
    (waiting) => life.busy(waiting),
  );
  worker.on("message", (message: FromHost) => {
    if ("progress" in message) life.heard(message.progress);
    take(connection, message, onProgress);
  });
  worker.on("messageerror", (error) =>
    connection.lose(new RuntimeLostError(`the worker was not understood: ${error}`)),
  );
  worker.on("error", (error) =>
    connection.lose(new RuntimeLostError(`the worker stopped: ${error.message}`)),
  );
  worker.on("exit", (code) => connection.lose(new RuntimeLostError(`the worker ended with code ${code}`)));
  return connection;
}
