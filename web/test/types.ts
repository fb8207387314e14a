/** Compiled by `npm run typecheck`, never run: what the types promise, and what they refuse. */
import {
  AdamOptimizer,
  BatchProcessor,
  CurriculumScheduler,
  init,
  MultiHeadAttention as SeedHeads,
  TemperatureAnnealing,
} from "../src/classes/index.js";
import {
  type FlashAttention,
  load,
  type Memory,
  type MultiHeadAttention,
  openPool,
  PoisonedTaskError,
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

  const kernels = await load({ runtime: "wasm", backend: "wasm-simd128" });
  using sdpa = kernels.createSync("scaled_dot_product", { dim: 8 });
  const local = kernels.memorySync(query, query);
  const now: Tensor = sdpa.forwardSync(query, local, { causal: true });
  const later: Tensor = await sdpa.forward(query, query, query, { mask: [[true, false]] });
  const layer = new kernels.MultiHeadAttention({ dim: 8, numHeads: 2 });
  const state: Record<string, Tensor> = layer.stateDictSync();
  layer.loadStateDictSync(state);
  const mixture = await kernels.create("moe", { dim: 8, experts: "flash, linear", topK: 1 });
  const { experts, weights: shares } = mixture.getRoutingSync(query);
  const { output: mixed, aux_loss: even } = await mixture.computeWithAuxLoss(query, local);
  const chosen: Int32Array = experts;
  console.log(chosen, shares.shape, mixed.shape, even.toFixed(2));
  local.evictSync({ oldest: local.length - 1 });
  const remote = await load({ runtime: "wasm", worker: true });
  const there = await remote.memory(query, null);
  const far: Tensor = await (await remote.create("flash", { dim: 8 })).forward(query, there);
  console.log(now, later, far, kernels.heap.used, await there.append(query));

  // Streams, signals, a pool.
  const { signal } = new AbortController();
  for await (const row of flash.forwardStream(query, query, query, { chunk: 2, signal }))
    console.log(row.shape);
  for await (const row of sdpa.forwardStream([new Float32Array(8)], local)) console.log(row.shape);
  await sdpa.forwardBatch([[query, query, query]], { signal });
  using pool = await openPool({
    workers: 2,
    timeout: 1000,
    onWorkerLost: (error) => console.log(error.message),
  });
  await using pooled = await pool.create("flash", { dim: 8 });
  const banked = await pool.memory(query, query);
  const all: Tensor[] = await pooled.forwardBatch([[query, banked], { query, keys: query, values: query }], {
    signal,
    onProgress: ({ done, total }) => console.log(done, total),
  });
  for await (const result of pooled.map([[query, banked]], { order: "done", failures: "report" })) {
    if (result.error instanceof PoisonedTaskError) console.log(result.error.index);
    else if (result.output) console.log(result.output.shape, all.length);
  }

  // The classes of other packages.
  await init({ runtime: "wasm" });
  using seed = SeedHeads.fromParams(2, 8, 0.1);
  const flat: Tensor = seed.forward(new Float32Array(8), new Float32Array(16), new Float32Array(16), [
    true,
    false,
  ]);
  const vector: Tensor = await seed.computeAsync(
    new Float32Array(8),
    [new Float32Array(8)],
    [new Float32Array(8)],
  );
  const { weights: seen } = seed.compute([[1, 2]], [[1, 2]], [[3, 4]]);
  await using batches = new BatchProcessor({ batchSize: 4 });
  console.log(flat, vector, seen.shape, seed.headDim, batches.getThroughput());

  // Training.
  const adam = await ra.training.Adam.create({ learningRate: 0.01, maxGradNorm: 1 });
  const updated = await adam.updated({ weight: query }, { weight: query });
  const info = await ra.create("info_nce", { temperature: 0.1 });
  const { value, gradients } = await info.computeWithGradients(query, query, query);
  using optimizer = new AdamOptimizer(0.01, 0.9);
  const [first]: Tensor[] = await optimizer.stepAsync([new Float32Array(2)]);
  const stage = await CurriculumScheduler.defaultCurriculum(100).stepAsync(30);
  console.log(updated, value, gradients.anchor, first?.length, stage.negativeCount);
  // @ts-expect-error a setting that does not exist
  await ra.training.Adam.create({ lr: 0.01 });
  // @ts-expect-error another kind of decay
  new TemperatureAnnealing(1, 0.1, 10, "quadratic");

  // Positions, times, levels and two spaces, in the kernels alone.
  const rope = kernels.createSync("graph_rope", { dim: 8, interleaved: true });
  const turned: Tensor = rope.forwardSync(query, query, query, { keyPositions: [0, 1], queryPositions: 3 });
  const temporal = kernels.createSync("temporal", { dim: 8, encoding: "time2vec" });
  const inTime: { values: Tensor; weights: Tensor } = temporal.computeSync(query, [1, 2]);
  const levels = await kernels.create("hierarchical", { dim: 8 });
  const summed: Tensor = await levels.forward(query, [0, 1], { levelWeights: [1, 2] });
  const [flatPart]: [Tensor, Tensor] = await kernels
    .createSync("dual_space", { dim: 8, numHeads: 2 })
    .getSpaceContributions(query, query);
  console.log(turned.shape, inTime.weights, summed, flatPart);
  // @ts-expect-error positions are no times
  rope.forwardSync(query, query, query, { keyTimes: [0, 1] });

  // @ts-expect-error an order that does not exist
  pooled.map([[query, banked]], { order: "reverse" });
  // @ts-expect-error numbers of heads and channels
  new SeedHeads("eight", 2);
  // @ts-expect-error in a worker nothing is synchronous
  remote.createSync("flash", { dim: 8 });
  // @ts-expect-error the kernels alone have no such class
  kernels.createSync("manifold", { dim: 8 });
  // @ts-expect-error a backend that does not exist
  await load({ runtime: "wasm", backend: "avx512" });
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

/** Names with hyphens are the same names, with the same types. */
export async function hyphens(query: Float32Array, keys: Float32Array[], mask: boolean[][]): Promise<void> {
  const there = await load({ runtime: "wasm", worker: true });
  await using heads = await there.create("multi-head", { dim: 128, numHeads: 8 });
  const output: Tensor = await heads.forward(query, keys, keys, { mask });
  const here = await load({ runtime: "wasm" });
  using single = here.createSync("scaled-dot-product", { dim: 128 });
  const python = await load();
  const graph = await python.create("graph-rope", { dim: 8 });
  const loss = await python.create("info-nce", { temperature: 0.1 });
  console.log(
    output,
    single.forwardSync(query, keys, keys),
    graph.config.maxPosition,
    loss.config.temperature,
  );
  // @ts-expect-error half a name
  await there.create("multi", { dim: 128 });
  // @ts-expect-error the settings are still those of that mechanism
  await there.create("multi-head", { dim: 128, blockSize: 2 });
}
