/** Batches that can be stopped between their items. */
import { abortable, Pauses } from "./abort.js";
import { AttentionError } from "./errors.js";

/** A batch of one, as a runtime computes it. */
type Compute<R> = (item: unknown) => Promise<R> | R;

/** Items that go to a worker, one ahead of the one that it is at. */
export async function batchInWorker<R>(
  items: readonly unknown[],
  compute: Compute<R>,
  signal: AbortSignal,
): Promise<R[]> {
  const start = (i: number): Promise<R> => {
    signal.throwIfAborted();
    const output = Promise.resolve(compute(items[i])).catch((error: unknown) => {
      throw ofItem(error, i);
    });
    output.catch(() => {}); // it is met when its turn comes, or never
    return output;
  };
  const outputs: R[] = [];
  let next = items.length > 0 ? start(0) : undefined;
  for (let i = 0; i < items.length; i++) {
    const current = next as Promise<R>;
    if (i + 1 < items.length) next = start(i + 1);
    outputs.push(await abortable(current, signal));
  }
  return outputs;
}

/** Items that this thread computes, which turns to its other tasks in between. */
export async function batchHere<R>(
  items: readonly unknown[],
  compute: Compute<R>,
  signal: AbortSignal,
): Promise<R[]> {
  const pauses = new Pauses(signal);
  const outputs: R[] = [];
  for (const [i, item] of items.entries()) {
    await pauses.between();
    try {
      outputs.push(await compute(item));
    } catch (error) {
      throw ofItem(error, i);
    }
  }
  return outputs;
}

/** An error of a batch of one, with the place that its item has in the whole. */
export function ofItem(error: unknown, index: number): unknown {
  if (error instanceof AttentionError) {
    const place = `item ${index}: `;
    const message = error.message.replace(/^item \d+: /, "");
    error.message = error.index === index && message.startsWith(`item ${index} `) ? message : place + message;
    error.index = index;
  }
  return error;
}
