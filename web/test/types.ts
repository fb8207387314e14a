/** Compiled by `npm run typecheck`, never run: what the types promise, and what they refuse. */
import {
  type FlashAttention,
  load,
  type Memory,
  type MultiHeadAttention,
  type Tensor,
  tensor,
} from "../src/index.js";

export async function promises(): Promise<void> {
  const ra = await load({ assetBase: "./", worker: true, onProgress: ({ fraction }) => fraction.toFixed(1) });
  const heads: MultiHeadAttention = await ra.create("multi_head", {
    dim: 8,
    numHeads: 2,
    projections: false,
  });
  const flash: FlashAttention = new ra.FlashAttention({ dim: 8, temperature: 0.1 });
  const query = tensor(new Float32Array(16), [2, 8]);
  const output: Tensor = await flash.forward(query, [[1, 2]], query, {
    mask: [[true, false]],
    transfer: true,
  });
  const shape: readonly number[] = output.shape;
  const weights: Tensor = await heads.attentionWeights(query, query, { causal: true });
  const width: number | undefined = heads.config.numHeads;
  // A mechanism that only the running package knows is reached by name.
  const own = await ra.create("my_module:MyAttention", { anything: 1 });
  const answer: unknown = await own.call("anything", query);
  // A memory stands for keys and values, wherever both are taken.
  const bank: Memory = await ra.memory(query, query, { capacity: 100 });
  const ids: Int32Array = await bank.append(query, query);
  const gone: number = await bank.evict({ oldest: bank.length - ids.length });
  await bank.project(heads);
  const read: Tensor[] = [
    await flash.forward(query, bank),
    await flash.forward(query, bank, { mask: [[true, false]], keyLengths: [2] }),
    await heads.attentionWeights(query, bank),
    await heads.headOutput(gone, query, bank),
    await bank.attend(query, { normalize: true }),
  ];
  await bank.dispose();
  await flash.dispose();
  console.log(shape, weights, width, answer, read);

  // @ts-expect-error dim is required
  new ra.FlashAttention({});
  // @ts-expect-error a setting that does not exist
  await ra.FlashAttention.create({ dim: 8, dims: 8 });
  // @ts-expect-error a string is no array
  await flash.forward("query", query, query);
  // @ts-expect-error keys of an array have values beside them
  await flash.forward(query, query);
  // @ts-expect-error those of a memory do not
  await flash.forward(query, bank, query);
  // @ts-expect-error an option that does not exist
  await flash.forward(query, query, query, { maks: null });
  // @ts-expect-error a runtime that does not exist
  await load({ runtime: "cobol" });
}
