/** AbortSignal: what stops a call before it starts, or its caller's waiting for it. */
import { UnsupportedError } from "./errors.js";

/** The signal that a caller gave, or none; raises its reason where it is aborted already. */
export function heeded(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (!(signal instanceof AbortSignal))
    throw new UnsupportedError(`signal is a ${typeof signal}; expected an AbortSignal`);
  signal.throwIfAborted();
  return signal;
}

/** The promise, or a rejection with the signal's reason as soon as it is aborted; what was begun ends unheard. */
export function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** The items of a source. An aborted signal ends it at once, even where the source is still waiting for its next item. */
export async function* untilAborted<I>(
  source: Iterable<I> | AsyncIterable<I>,
  signal: AbortSignal | undefined,
): AsyncGenerator<I, void, undefined> {
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let isOver = false;
  try {
    while (true) {
      signal?.throwIfAborted();
      const next = await abortable(Promise.resolve(iterator.next()), signal);
      isOver = next.done === true;
      if (next.done) return;
      yield await next.value;
    }
  } finally {
    // A source that is still waiting for its next item would keep its own end waiting too.
    if (!isOver) void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

const PATIENCE = 8; // ms of work after which a thread turns to its other tasks

/** Between the items of work in this thread: lets others run from time to time, and raises where the signal says so. */
export class Pauses {
  #last = performance.now();

  constructor(private readonly signal: AbortSignal | undefined) {}

  async between(): Promise<void> {
    this.signal?.throwIfAborted();
    if (performance.now() - this.#last < PATIENCE) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#last = performance.now();
    this.signal?.throwIfAborted();
  }
}
