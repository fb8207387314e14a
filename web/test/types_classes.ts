/** Compiled by `npm run typecheck`, never run: the examples of the packages that the classes stand in for. */
import {
  AdamOptimizer,
  AdamWOptimizer,
  AttentionBuilder,
  type AttentionConfig,
  type AttentionOutput,
  AttentionType,
  BatchProcessor,
  DecayType,
  DotProductAttention,
  DualSpaceAttention,
  EdgeFeaturedAttention,
  GraphAttention,
  GraphRoPEAttention,
  type GraphRoPeAttention,
  type GraphStructure,
  HardNegativeMiner,
  HierarchicalAttention,
  HyperbolicAttention,
  InBatchMiner,
  InfoNCELoss,
  type InfoNceLoss,
  init,
  LearningRateScheduler,
  LinearAttention,
  LocalGlobalAttention,
  MiningStrategy,
  MoEAttention,
  MultiHeadAttention,
  parallelAttentionCompute,
  type ScaledDotProduct,
  ScaledDotProductAttention,
  SGDOptimizer,
  SpectralRegularization,
  StreamProcessor,
  softmax,
  TemperatureAnnealing,
  TemporalAttention,
  WasmAdam,
  WasmFlashAttention,
  WasmInfoNCELoss,
  WasmMultiHeadAttention,
  WasmScaledDotProduct,
} from "../src/classes/index.js";
export async function seeds(): Promise<void> {
  await init();
  // One config for all of them.
  const dotAttention = new DotProductAttention({ numHeads: 8, headDim: 64, dropout: 0.1, useBias: true });
  const output: AttentionOutput = dotAttention.compute(
    [
      [1, 2],
      [3, 4],
    ],
    [
      [1, 2],
      [3, 4],
    ],
    [
      [5, 6],
      [7, 8],
    ],
  );
  const graphAttention = new GraphAttention({ numHeads: 8, headDim: 64, dropout: 0.1, useBias: true });
  const graph: GraphStructure = {
    edges: [
      [0, 1],
      [1, 2],
    ],
    numNodes: 3,
    edgeFeatures: [[1.0], [2.0]],
  };
  const graphOutput = graphAttention.compute(
    [
      [1, 2, 3],
      [4, 5, 6],
      [7, 8, 9],
    ],
    graph,
  );
  console.log(graphOutput.metadata, output.values, output.metadata.attention_type);
  const r = await dotAttention.computeAsync([[1, 2]], [[1, 2]], [[3, 4]]);
  const b = await dotAttention.computeBatchAsync([[[1, 2]]], [[[1, 2]]], [[[3, 4]]]);
  const t = new TemporalAttention().compute(
    [
      [1, 2],
      [3, 4],
    ],
    [0, 1],
  );
  const h = new HierarchicalAttention().compute(
    [
      [[1, 2]],
      [
        [5, 6],
        [7, 8],
      ],
    ],
    [1, 0],
  );
  // Flat arrays.
  const wm = new WasmMultiHeadAttention(8, 128, 0.0);
  const w: WasmMultiHeadAttention = wm;
  const f: WasmFlashAttention = new WasmFlashAttention(8, 16);
  const o1: Float32Array = wm.forward(new Float32Array(128), new Float32Array(256), new Float32Array(256), [
    true,
    false,
  ]);
  const mh = new MultiHeadAttention({ numHeads: 8, hiddenDim: 128, dropout: 0.1 });
  const mask: boolean[] | undefined = undefined;
  mh.forward(new Float32Array(128), new Float32Array(256), new Float32Array(256), mask);
  const s = new ScaledDotProductAttention(128);
  const ob: Float32Array[] = s.forwardBatch(
    [new Float32Array(128)],
    new Float32Array(256),
    new Float32Array(256),
    2,
  );
  const hy = new HyperbolicAttention(1.0);
  const d: number = hy.poincareDistance(new Float32Array(2), new Float32Array(2));
  hy.computeWithTemperature(new Float32Array(2), [new Float32Array(2)], [new Float32Array(2)], 0.5);
  HyperbolicAttention.withConfig(8, 1, false, 1);
  const lin: LinearAttention = new LinearAttention(8, 16);
  const lg: LocalGlobalAttention = new LocalGlobalAttention(8, 4, 1);
  const moe = new MoEAttention({
    dim: 8,
    numExperts: 4,
    topK: 2,
    expertCapacity: 1.25,
    loadBalanceWeight: 0.01,
  });
  const rope = new GraphRoPEAttention({ dim: 8, maxPosition: 32, base: 10000, scalingFactor: 1 });
  const ds = new DualSpaceAttention({
    euclideanDim: 4,
    hyperbolicDim: 4,
    numHeads: 2,
    curvature: 1,
    fusionWeight: 0.5,
  });
  DualSpaceAttention.simpleFused(8, 2, 1, 0.5);
  DualSpaceAttention.withWeights(8, 1, 0.3, 0.7);
  DualSpaceAttention.simple(8, 1);
  const ef = new EdgeFeaturedAttention({
    nodeDim: 4,
    edgeDim: 2,
    numHeads: 1,
    concatHeads: true,
    addSelfLoops: false,
    negativeSlope: 0.2,
  });
  const grads: Float32Array[] = [new Float32Array(2)];
  const steps: Float32Array[] = new AdamOptimizer(1e-3, 0.9, 0.999, 1e-8).step(grads);
  new AdamWOptimizer(1e-3, 0.01).step(grads);
  new SGDOptimizer(1e-2, 0.9, 0, true).step(grads);
  const loss: number = new InfoNCELoss(0.07).compute(new Float32Array(2), new Float32Array(2), grads);
  const sr: number = new SpectralRegularization(0.1).compute([grads]);
  const lr: number = new LearningRateScheduler(1e-3, 10, 100).step(5);
  const ta: number = new TemperatureAnnealing(1, 0.1, 100, "cosine").step(3);
  const hm: number[] = new HardNegativeMiner("semi_hard", 0.2).mine(new Float32Array(2), grads, grads, 1);
  const bp = new BatchProcessor({ batchSize: 4, numWorkers: 2, prefetch: true });
  const keys: Float32Array[][] = [grads];
  const outs: Float32Array[] = await bp.processBatch(grads, keys, keys);
  const par: Float32Array[] = await parallelAttentionCompute("dot-product", grads, keys, keys, 2);
  const cfg: AttentionConfig = { type: AttentionType.MultiHead, hiddenDim: 128, numHeads: 8 };
  const a = new AttentionBuilder()
    .type(AttentionType.ScaledDotProduct, { neighbors: 100 })
    .hiddenDim(128)
    .dropout(0.1)
    .build();
  async function* qs(): AsyncIterable<Float32Array> {
    yield new Float32Array(128);
  }
  for await (const x of a.forwardStream(qs(), new Float32Array(256), new Float32Array(256)))
    console.log(x.length);
  const wa: WasmAdam = new WasmAdam(2, 0.1);
  const wi: WasmInfoNCELoss = new WasmInfoNCELoss(0.1);
  const wsd: WasmScaledDotProduct = new WasmScaledDotProduct(2);
  const sd: ScaledDotProduct = wsd;
  const inl: InfoNceLoss = wi;
  const gp: GraphRoPeAttention = rope;
  console.log(
    r,
    b,
    t,
    h,
    w,
    f,
    o1,
    ob,
    d,
    lin,
    lg,
    moe,
    ds,
    ef,
    steps,
    loss,
    sr,
    lr,
    ta,
    hm,
    outs,
    par,
    cfg,
    softmax([1]),
    MiningStrategy.Random,
    DecayType.Step,
    StreamProcessor,
    InBatchMiner,
    wa,
    sd,
    inl,
    gp,
  );
}
