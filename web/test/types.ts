/** Compiled by `npm run typecheck`, never run: what the types promise, and what they refuse. */
import { type FlashAttention, load, type MultiHeadAttention, type Tensor, tensor } from "../src/index.js";

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
  await flash.dispose();
  console.log(shape, weights, width, answer);

  // @ts-expect-error dim is required
  new ra.FlashAttention({});
  // @ts-expect-error a setting that does not exist
  await ra.FlashAttention.create({ dim: 8, dims: 8 });
  // @ts-expect-error a string is no array
  await flash.forward("query", query, query);
  // @ts-expect-error an option that does not exist
  await flash.forward(query, query, query, { maks: null });
  // @ts-expect-error a runtime that does not exist
  await load({ runtime: "cobol" });
}
