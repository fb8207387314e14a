/** A thread of the kernels, in browsers and in Node alike: an instance of their module on the memory of all. */
import { IN_NODE } from "../../places.js";
import { Hand, type Runner } from "./job.js";

/** What the host sends, once. */
export interface Start {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Where its stack begins: it grows downwards. */
  readonly stack: number;
  /** Where job.ts's words are. */
  readonly board: number;
  readonly number: number;
  /** A lock to hold for as long as the thread lives. */
  readonly lock: string | undefined;
}

/** What it answers: that it has started, then the number of every job that ended with its last part. */
export type Said = { readonly started: true } | { readonly ended: number } | { readonly failed: string };

type Post = (message: Said) => void;

async function run({ module, memory, stack, board, number, lock }: Start, post: Post): Promise<void> {
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    (exports.__stack_pointer as WebAssembly.Global).value = stack;
    const hand = new Hand(exports as unknown as Runner, memory, board, number, (ended) => post({ ended }));
    if (lock !== undefined) await held(lock);
    post({ started: true });
    hand.serve(); // it never turns to the events of its scope again
  } catch (error) {
    post({ failed: String(error) });
  }
}

function held(lock: string): Promise<void> {
  return new Promise((holds) => {
    void navigator.locks.request(lock, () => {
      holds();
      return new Promise(() => {});
    });
  });
}

if (IN_NODE) {
  void import("node:worker_threads").then(({ parentPort }) => {
    const post: Post = (said) => parentPort?.postMessage(said);
    parentPort?.once("message", (start: Start) => void run(start, post));
  });
} else {
  const scope = self as unknown as { postMessage: Post };
  const begin = ({ data }: MessageEvent<Start>) => void run(data, (said) => scope.postMessage(said));
  self.addEventListener("message", begin, { once: true });
}
