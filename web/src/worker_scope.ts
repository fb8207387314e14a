/** Lets a host answer the messages of the thread that made this worker, in browsers and in Node alike. */
import { IN_NODE } from "./places.js";
import { type Host, type Post, serve, type ToHost } from "./protocol.js";

export async function serveHere(host: Host): Promise<void> {
  if (IN_NODE) {
    const { parentPort } = await import("node:worker_threads");
    const post: Post = (message, transfer) => parentPort?.postMessage(message, transfer);
    parentPort?.on("message", (message: ToHost) => void serve(host, message, post));
  } else {
    const scope = self as unknown as { postMessage: Post };
    const post: Post = (message, transfer) => scope.postMessage(message, transfer);
    self.addEventListener("message", (event: MessageEvent<ToHost>) => void serve(host, event.data, post));
  }
}
