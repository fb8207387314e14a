/** Items from any source through a window of tasks: no more are read than there is room for. */
import { abortable } from "../abort.js";

export interface Settled<R> {
  readonly index: number;
  readonly value?: R;
  readonly error?: unknown;
}

export interface Window {
  /** Items that were read and whose results the caller has not yet. */
  readonly size: number;
  /** Results in the order of the items, or as they come. */
  readonly inOrder: boolean;
  /** Aborted, it ends at once with the signal's reason. */
  readonly signal?: AbortSignal;
}

type Source<I> = Iterable<I> | AsyncIterable<I>;
type Read<I> = { readonly read: IteratorResult<I> };

/** What `work` makes of every item. A source that takes its time does not hold back results that are there. */
export async function* throughWindow<I, R>(
  source: Source<I>,
  { size, inOrder, signal }: Window,
  work: (item: I, index: number) => Promise<R>,
): AsyncGenerator<Settled<R>, void, undefined> {
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  const pending = new Map<number, Promise<Settled<R>>>();
  let reading: Promise<Read<I>> | undefined;
  let isOver = false;
  let count = 0;
  try {
    while (true) {
      if (!isOver && !reading && pending.size < size) {
        reading = Promise.resolve(iterator.next()).then((read) => ({ read }));
      }
      // A Map keeps the order of insertion: the first is the oldest.
      const awaited: (Promise<Settled<R>> | Promise<Read<I>>)[] = inOrder
        ? [...pending.values()].slice(0, 1)
        : [...pending.values()];
      if (reading) awaited.push(reading);
      if (awaited.length === 0) return;
      const next = await abortable(Promise.race(awaited), signal);
      if ("read" in next) {
        reading = undefined;
        if (next.read.done) isOver = true;
        else {
          const index = count++;
          const settled = work(next.read.value, index).then(
            (value) => ({ index, value }),
            (error: unknown) => ({ index, error }),
          );
          pending.set(index, settled);
        }
      } else {
        pending.delete(next.index);
        yield next;
      }
    }
  } finally {
    // A source that is still waiting for its next item would keep its own end waiting too.
    if (!isOver) void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}
