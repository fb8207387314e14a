/** AbortSignal: what stops a call before it starts, or its caller's waiting for it. */

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
