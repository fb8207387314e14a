/** The worker that hosts Pyodide, in browsers and in Node alike. */
import { type Post, serve, type ToHost } from "./protocol.js";
import { PyodideHost } from "./pyodide_host.js";

const host = new PyodideHost();
const inNode = typeof process === "object" && process.versions?.node !== undefined;

if (inNode) {
  const { parentPort } = await import("node:worker_threads");
  const post: Post = (message, transfer) => parentPort?.postMessage(message, transfer);
  parentPort?.on("message", (message: ToHost) => void serve(host, message, post));
} else {
  const scope = self as unknown as { postMessage: Post };
  const post: Post = (message, transfer) => scope.postMessage(message, transfer);
  self.addEventListener("message", (event: MessageEvent<ToHost>) => void serve(host, event.data, post));
}
