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
    let held: Promise<void> | undefined;
    self.addEventListener("message", async ({ data }: MessageEvent<ToHost>) => {
      // Nothing is answered before the lock is held, or an early end would go unnoticed.
      if ("start" in data && data.watch) held = holdLock(data.watch, post);
      if (held) await held;
      await serve(host, data, post);
    });
  }
}

function holdLock(name: string, post: Post): Promise<void> {
  return new Promise((holds) => {
    void navigator.locks.request(name, () => {
      post({ id: 0, value: true }, []);
      holds();
      return new Promise(() => {}); // for as long as the worker lives
    });
  });
}
