/** Batches that can be stopped and streams, in this thread: only a program that asks for one fetches this. */
import { batchHere } from "../batches.js";
import { forwardStream } from "../stream.js";
import type { Tensor } from "../tensor.js";
import type { Home, KernelAttention } from "./attention.js";
import { Bank } from "./bank.js";

export function batch(
  attention: KernelAttention,
  home: Home,
  items: unknown,
  options: { signal: AbortSignal },
): Promise<Tensor[]> {
  // An empty batch, and one that is none, are refused as they are without a signal.
  if (!Array.isArray(items) || items.length === 0) return Promise.resolve(attention.forwardBatchSync(items));
  const compute = (item: unknown): Promise<Tensor> =>
    home.engine.kernels.later([item], (own) => attention.forwardBatchSync([own], options)[0] as Tensor);
  return batchHere(items, compute, options.signal);
}

export function stream(
  attention: KernelAttention,
  home: Home,
  [queries, keys, values, options]: readonly unknown[],
): AsyncGenerator<Tensor, void, undefined> {
  const source = {
    keep: async (k: unknown, v: unknown) => new (await import("./memory.js")).Memory(home, k, v),
    isMemory: (k: unknown) => k instanceof Bank,
    forward: (query: unknown, bank: object, call: object) =>
      home.engine.kernels.later([query, bank, call], (...own) => attention.forwardSync(...own)),
  };
  return forwardStream(source, queries, keys, values, (options ?? {}) as Record<string, unknown>);
}
