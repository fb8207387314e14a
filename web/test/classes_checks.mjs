/** What the classes by other packages' names must do: [what, check] pairs; a check gets the module, its runtime loaded. */
import { assert, close, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

/** With the kernels in this thread. */
export const kernelChecks = [];
/** With any runtime. */
export const anyChecks = [];

const [keys, values] = [random([6, 8], 2), random([6, 3], 3)];
const query = random([8], 1);
const queries = [1, 5, 9].map((seed) => random([8], seed).data);
const rowsOf = ({ data, shape: [n, width] }) =>
  Array.from({ length: n }, (_, i) => data.slice(i * width, (i + 1) * width));
const lists = (matrix) => rowsOf(matrix).map((row) => Array.from(row));
const first = ({ data, shape: [, width] }, n) => ({ data: data.slice(0, n * width), shape: [n, width] });
const asVector = ({ data, shape }) => ({ data, shape: shape.slice(-1) });
const matrix = (vectors) => ({
  data: Float32Array.from(vectors.flatMap((vector) => Array.from(vector))),
  shape: [vectors.length, vectors[0].length],
});
const one = matrix([query.data]);
const expected = asVector(attention(one, keys, values).output);
/** Heads of two channel groups without maps, as the other packages have them, from the single one. */
const ofHeads = (q, k, v, heads) => {
  const part = ({ data, shape: [n, width] }, head) => ({
    data: data.filter((_, i) => Math.floor((i % width) / (width / heads)) === head),
    shape: [n, width / heads],
  });
  const parts = Array.from({ length: heads }, (_, head) =>
    attention(part(q, head), part(k, head), part(v, head)),
  );
  return parts.flatMap(({ output }) => Array.from(output.data));
};

kernelChecks.push([
  "flat arrays and rows, at once and by promises",
  async ({ ScaledDotProductAttention }) => {
    const sdpa = new ScaledDotProductAttention(8);
    assert(sdpa.dim === 8, `dim is ${sdpa.dim}`);
    close(sdpa.forward(query.data, keys.data, values.data, 6), expected);
    close(sdpa.forward(query.data, keys.data, values.data), expected);
    close(sdpa.forward(Array.from(query.data), rowsOf(keys), rowsOf(values)), expected);
    close(await sdpa.forwardAsync(query.data, keys.data, values.data, 6), expected);
    const four = asVector(attention(one, first(keys, 4), first(values, 4)).output);
    close(sdpa.forward(query.data, keys.data, values.data, 4), four);
    close(sdpa.forward(query.data, rowsOf(keys), rowsOf(values), { neighbors: 4 }), four);
    const all = attention(matrix(queries), keys, values).output;
    const batches = [
      sdpa.forwardBatch(queries, keys.data, values.data, 6),
      await sdpa.forwardBatchAsync(queries, keys.data, values.data, 6),
    ];
    for (const outputs of batches) {
      outputs.forEach((output, i) => {
        close(output, { data: all.data.slice(3 * i, 3 * i + 3), shape: [3] });
      });
      assert(outputs.length === 3, `${outputs.length} outputs`);
    }
  },
]);

kernelChecks.push([
  "matrices give values, weights and metadata",
  async ({ DotProductAttention, FlashAttention }) => {
    const dot = new DotProductAttention();
    const q = matrix(queries);
    const { output, weights } = attention(q, keys, values);
    for (const found of [
      dot.compute(lists(q), lists(keys), lists(values)),
      await dot.computeAsync(q, keys, values),
      dot.computeBatch([lists(q)], [lists(keys)], [lists(values)])[0],
      (await dot.computeBatchAsync([lists(q)], [lists(keys)], [lists(values)]))[0],
    ]) {
      close(found.values, output);
      close(found.weights, { data: weights.data, shape: [3, 6] });
      const { attention_type: type } = found.metadata;
      assert(type === "scaled_dot_product", `metadata.attention_type is ${type}`);
    }
    close(dot.compute(query.data, rowsOf(keys), rowsOf(values)), expected);
    const mask = [true, false, true, true, false, true];
    const masked = asVector(attention(one, keys, values, { mask: { data: mask, shape: [1, 6] } }).output);
    close(dot.computeWithMask(query.data, rowsOf(keys), rowsOf(values), mask), masked);
    const flash = new FlashAttention(8, 16);
    assert(flash.blockSize === 16, `blockSize is ${flash.blockSize}`);
    close(flash.compute(query.data, rowsOf(keys), rowsOf(values)), expected);
  },
]);

kernelChecks.push([
  "heads split the channels and map nothing, whichever way they are asked for",
  async (module) => {
    const { MultiHeadAttention, WasmMultiHeadAttention, SelfAttention, CrossAttention } = module;
    const heads = ofHeads(one, keys, keys, 2);
    for (const multi of [
      new MultiHeadAttention(8, 2),
      new MultiHeadAttention({ numHeads: 2, hiddenDim: 8, dropout: 0.1 }),
      new MultiHeadAttention({ numHeads: 2, headDim: 4 }),
      MultiHeadAttention.fromParams(2, 8, 0.1),
    ]) {
      close(multi.forward(query.data, keys.data, keys.data), { data: heads, shape: [8] });
      assert(multi.numHeads === 2 && multi.hiddenDim === 8 && multi.dim === 8, "numHeads and dim");
      assert(multi.headDim === 4, `headDim is ${multi.headDim}`);
    }
    const masked = ofHeads(one, first(keys, 4), first(keys, 4), 2);
    const multi = new MultiHeadAttention(8, 2);
    close(multi.forward(query.data, keys.data, keys.data, [true, true, true, true, false, false]), {
      data: masked,
      shape: [8],
    });
    const wasm = new WasmMultiHeadAttention(8, 2);
    assert(wasm.num_heads === 2, `num_heads is ${wasm.num_heads}`);
    close(wasm.compute(query.data, rowsOf(keys), rowsOf(keys)), { data: heads, shape: [8] });
    wasm.free();
    await throws(
      () => wasm.compute(query.data, rowsOf(keys), rowsOf(keys)),
      module.RuntimeLostError,
      /was freed/,
    );
    const self = new SelfAttention(8, 2);
    const same = new CrossAttention({ dim: 8, numHeads: 2 });
    assert(self.numHeads === 2 && same.numHeads === 2, "numHeads");
    assert(same.forward(query.data, keys.data, keys.data).length === 8, "expected 8 channels");
  },
]);

kernelChecks.push([
  "the builder's attention, its stream among its calls",
  async ({ AttentionBuilder, AttentionType, InvalidConfigError }) => {
    const built = new AttentionBuilder()
      .type(AttentionType.ScaledDotProduct, { neighbors: 4 })
      .hiddenDim(8)
      .build();
    const four = asVector(attention(one, first(keys, 4), first(values, 4)).output);
    close(built.forward(query.data, keys.data, values.data), four);
    close(await built.forwardAsync(query.data, keys.data, values.data, { neighbors: 6 }), expected);
    async function* source() {
      for (const each of queries) yield each;
    }
    let i = 0;
    for await (const output of built.forwardStream(source(), keys.data, values.data, { neighbors: 6 })) {
      close(output, asVector(attention(matrix([queries[i++]]), keys, values).output));
    }
    assert(i === 3, `${i} outputs came`);
    await throws(() => new AttentionBuilder().hiddenDim(8).build(), InvalidConfigError, /^type is missing/);
    await throws(
      () => new AttentionBuilder().type("Flash").build(),
      InvalidConfigError,
      /^hiddenDim is missing/,
    );
  },
]);

kernelChecks.push([
  "a processor of streams, and one of batches",
  async ({ StreamProcessor, BatchProcessor, parallelAttentionCompute, DimensionMismatchError }) => {
    const stream = new StreamProcessor(8, 4);
    assert(
      stream.process(query.data).every((x) => x === 0),
      "expected zeros before the first row",
    );
    const pushed = rowsOf(keys).map((key, i) => stream.push(key, rowsOf(values)[i]));
    assert(pushed.join() === "true,true,true,true,false,false", `push answered ${pushed}`);
    assert(stream.size === 4 && stream.isFull, "expected it to be full");
    close(stream.process(query.data), asVector(attention(one, first(keys, 4), first(values, 4)).output));
    stream.clear();
    assert(stream.size === 0 && !stream.isFull, "expected it to be empty");

    const batches = new BatchProcessor({ batchSize: 2, numWorkers: 2 });
    const bank = [rowsOf(keys), rowsOf(keys), keys.data];
    const worth = [rowsOf(values), rowsOf(values), values.data];
    const steps = [];
    const outputs = await batches.processBatch(queries, bank, worth, {
      onProgress: (p) => steps.push(p.done),
    });
    const all = attention(matrix(queries), keys, values).output;
    outputs.forEach((output, i) => {
      close(output, { data: all.data.slice(3 * i, 3 * i + 3), shape: [3] });
    });
    assert(steps.at(-1) === 3 && batches.getThroughput() > 0, "expected progress and a throughput");
    const bad = [...queries.slice(0, 2), queries[2].slice(0, 4)];
    const error = await throws(
      () => batches.processBatch(bad, [...bank.slice(0, 2), rowsOf(keys)], worth),
      DimensionMismatchError,
      /^item 2: /,
    );
    assert(error.index === 2, `the index is ${error.index}`);
    await batches.close();
    const others = await parallelAttentionCompute("multi-head", queries, bank, bank, 1, {
      config: { numHeads: 2 },
    });
    close(others[0], { data: ofHeads(matrix([queries[0]]), keys, keys, 2), shape: [8] });
  },
]);

kernelChecks.push([
  "hyperbolic and linear attention and graphs, at once and by promises",
  async (module) => {
    const { HyperbolicAttention, WasmHyperbolicAttention, LinearAttention, InvalidConfigError } = module;
    const { EdgeFeaturedAttention, GraphAttention, getSupportedFeatures } = module;
    for (const name of ["hyperbolic", "linear", "edge_featured", "graph"])
      assert(getSupportedFeatures().includes(name), `expected ${name} among the features`);
    const [x, y] = [Float32Array.of(0.1, 0.2, 0.3, -0.1), Float32Array.of(0.2, -0.1, 0.1, 0.1)];
    const square = (a, b) => a.reduce((sum, each, i) => sum + (each - b[i]) ** 2, 0);
    const distance = (c) => {
      const spread = (1 - c * square(x, [0, 0, 0, 0])) * (1 - c * square(y, [0, 0, 0, 0]));
      return Math.acosh(1 + (2 * c * square(x, y)) / spread) / Math.sqrt(c);
    };
    const near = (told, wanted) => assert(Math.abs(told - wanted) < 2e-6, `${told}; expected ${wanted}`);
    const curved = new HyperbolicAttention(4, 2);
    near(curved.poincareDistance(x, y), distance(2));
    near(await curved.poincareDistanceAsync(x, y), distance(2));
    const unit = new WasmHyperbolicAttention(-1); // learns its channels from the call
    near(unit.poincareDistance(x, y), distance(1));
    close(unit.forward(x, y, y), { data: y, shape: [4] }); // of one key, its value
    const { weights } = unit.compute([Array.from(x)], [x, y], [x, y]);
    const score = Math.exp(-distance(1));
    close(weights, { data: [1 / (1 + score), score / (1 + score)], shape: [1, 2] });
    await throws(() => new HyperbolicAttention(4, 0), InvalidConfigError, /^curvature is 0|^curvature is -0/);
    const linear = new LinearAttention(4, 16);
    close(linear.forward(x, y, y), { data: y, shape: [4] });
    close(await linear.forwardAsync(x, y, y), { data: y, shape: [4] });
    const edges = EdgeFeaturedAttention.simple(4, 2, 1);
    assert(edges.nodeDim === 4 && edges.edgeDim === 2 && edges.numHeads === 1, "its sizes");
    const lonely = new EdgeFeaturedAttention({ nodeDim: 4, edgeDim: 2, numHeads: 1, addSelfLoops: false });
    const alike = { data: new Float32Array(12).fill(0.5), shape: [3, 4] };
    const features = { data: Float32Array.of(1, 0, 1, 0, 1, 0), shape: [3, 2] };
    const gathered = lonely.computeWithEdges(x, alike, alike, features);
    const single = { data: alike.data.slice(0, 4), shape: [1, 4] };
    const same = lonely.computeWithEdges(x, single, single, { data: Float32Array.of(1, 0), shape: [1, 2] });
    close(gathered, { data: same, shape: [4] }, 1e-6); // of equal neighbours, however many
    const graph = new GraphAttention({ numHeads: 1, headDim: 4 });
    const drawn = graph.compute([[1, 0, 0, 0], [0, 1, 0, 0]], { edges: [[0, 1]], numNodes: 2 }); // biome-ignore format: nodes
    assert(drawn.values.shape.join() === "2,4", `values are (${drawn.values.shape})`);
    assert(drawn.metadata.num_edges === 1, `metadata is ${JSON.stringify(drawn.metadata)}`);
    const again = await graph.computeAsync([[1, 0, 0, 0], [0, 1, 0, 0]], { edges: [[0, 1]], numNodes: 2 }); // biome-ignore format: nodes
    close(again.values, { data: drawn.values, shape: [2, 4] }, 0);
    for (const each of [curved, unit, linear, edges, lonely, graph]) each.free();
  },
]);

kernelChecks.push([
  "mixtures of experts, at once and by promises",
  async ({
    MoEAttention,
    WasmMoEAttention,
    getSupportedFeatures,
    InvalidConfigError,
    DimensionMismatchError,
  }) => {
    assert(getSupportedFeatures().includes("moe"), "expected moe among the features");
    const moe = MoEAttention.simple(8, 4, 2);
    assert(moe.dim === 8 && moe.numExperts === 4 && moe.topK === 2, "its sizes");
    const key = first(keys, 1);
    const value = { data: Float32Array.of(0.1, -0.2, 0.3), shape: [1, 3] };
    close(moe.forward(query.data, key.data, value.data), asVector(value), 1e-5); // of one key, its value
    close(await moe.forwardAsync(query.data, key.data, value.data), asVector(value), 1e-5);
    const shares = moe.getExpertUsage();
    close(await moe.getExpertUsageAsync(), { data: shares, shape: [4] }, 0);
    const two = Array.from(shares, (share) => share * 4).sort();
    assert(two.join() === "0,0,2,2", `of two calls the choices are ${two}`);
    const all = { data: matrix(queries).data, shape: [3, 8] };
    const { output, aux_loss: even, z_loss: large } = moe.computeWithAuxLoss(all, keys, values);
    assert(even > 0 && large > 0, `the losses are ${even} and ${large}`);
    close(moe.compute(lists(all), lists(keys), lists(values)).values, { data: output, shape: [3, 3] }, 0);
    moe.resetRoutingStats();
    close(moe.getExpertUsage(), { data: [0, 0, 0, 0], shape: [4] }, 0);
    // experts that are alike give what one of them gives
    const alike = new WasmMoEAttention({ dim: 8, experts: "flash, flash", topK: 2, expertCapacity: 4 });
    close(alike.forward(query.data, keys.data, values.data), expected);
    await throws(
      () => new MoEAttention(8, 2, 3),
      InvalidConfigError,
      /^top_k is 3; expected at most 2, the experts$/,
    );
    await throws(() => moe.forward(query.data.slice(1), keys, values), DimensionMismatchError, /^query is/);
    for (const each of [moe, alike]) each.free();
  },
]);

kernelChecks.push([
  "positions, time, two spaces and levels answer at once, and by promises the same",
  async ({ GraphRoPEAttention, TemporalAttention, DualSpaceAttention, HierarchicalAttention }) => {
    const [q, k, v] = [random([4], 1).data, random([3, 4], 3), random([3, 4], 4)];
    const rope = GraphRoPEAttention.simple(4, 32);
    assert(rope.maxPosition === 32 && GraphRoPEAttention.distanceToPosition(40, 32) === 32, "positions");
    const turned = rope.computeWithPositions(q, k, v, 0, [0, 1, 2]);
    close(rope.computeWithPositions(q, k, v, 5, [5, 6, 7]), { data: turned, shape: [4] }, 1e-5);
    const later = await rope.computeWithPositionsAsync(q, k, v, 0, [0, 1, 2]);
    close(later, { data: turned, shape: [4] }, 0);
    const quarter = rope.applyRotary(Float32Array.of(1, 0, 0, 0), Math.PI / 2);
    close(quarter, { data: [0, 0, 1, 0], shape: [4] }, 1e-6);
    const time = new TemporalAttention({ dim: 4 });
    const seen = time.compute(random([4, 4], 5), [0, 1, 5, 9]);
    close(seen.weights.slice(0, 4), { data: [1, 0, 0, 0] }, 1e-6); // the first sees itself alone
    close((await time.computeAsync(random([4, 4], 5), [0, 1, 5, 9])).values, { data: seen.values, shape: [4, 4] }, 0);
    const dual = DualSpaceAttention.simple(4, 4, 2, -1);
    const eight = random([3, 8], 2);
    const output = dual.forward(eight, eight, eight);
    close(await dual.forwardAsync(eight, eight, eight), { data: output, shape: [3, 8] }, 0);
    const { weights } = dual.compute(rowsOf(eight), rowsOf(eight), rowsOf(eight));
    assert(weights.shape.join() === "2,3,3", `weights are (${weights.shape})`);
    const levels = new HierarchicalAttention({ dim: 4 });
    const features = [[Array.from(q)], lists(k), lists(v)];
    close(levels.compute(features, [1, 0, 0]).values, { data: q, shape: [4] }); // the others count for nothing
    close((await levels.computeAsync(features, [1, 0, 0])).values, { data: q, shape: [4] });
    for (const each of [rope, time, dual, levels]) each.free();
  },
]); // biome-ignore format: a line a claim

kernelChecks.push([
  "what the kernels do not have is said by name, and so is every wrong argument",
  async (module) => {
    const { ScaledDotProductAttention, MultiHeadAttention } = module;
    const { UnsupportedError, DimensionMismatchError, OutOfBoundsError, InvalidConfigError } = module;
    await throws(
      () => new module.Attention({ type: "Auto", hiddenDim: 8 }),
      UnsupportedError,
      /^AutoAttention needs init.*pyodide/,
    );
    await throws(() => new MultiHeadAttention(8, 3), InvalidConfigError, /^dim is 8/);
    await throws(() => new MultiHeadAttention(8, 2, 0, 1), UnsupportedError, /^4 arguments came/);
    const sdpa = new ScaledDotProductAttention(8);
    const error = await throws(
      () => sdpa.forward(query.data, keys.data.slice(0, 20), values.data),
      DimensionMismatchError,
      /^keys has 20 elements; expected rows of 8 channels/,
    );
    assert(error.expected === 8 && error.actual === 20, "expected the figures");
    await throws(
      () => sdpa.forward(query.data, keys.data, values.data.slice(0, 17)),
      DimensionMismatchError,
      /^values has 17 elements; expected 6 rows/,
    );
    await throws(
      () => sdpa.forward(query.data, keys.data, values.data, 7),
      OutOfBoundsError,
      /^numNeighbors is 7; expected 1 to 6/,
    );
    await throws(
      () => sdpa.forward(query.data.slice(0, 4), rowsOf(keys), rowsOf(values)),
      DimensionMismatchError,
      /query is \(4,\)/,
    );
    await throws(
      () => sdpa.forwardBatch([query.data, keys.data], keys.data, values.data),
      DimensionMismatchError,
      /^queries\[1\]/,
    );
    const signal = AbortSignal.abort(new Error("enough"));
    await throws(() => sdpa.forwardAsync(query.data, keys.data, values.data, { signal }), Error, /^enough$/);
  },
]);

anyChecks.push([
  "functions of vectors",
  async (module) => {
    const { softmax, attentionWeights, normalize, l2Norm, cosineSimilarity, batchNormalize } = module;
    const near = (found, wanted, tolerance = 1e-6) =>
      wanted.forEach((x, i) => {
        assert(Math.abs(found[i] - x) <= tolerance, `element ${i} is ${found[i]}; expected ${x}`);
      });
    // Computed by hand: e, e^2, e^3 over their sum.
    near(softmax([1, 2, 3]), [0.09003057, 0.24472847, 0.66524096]);
    near(softmax([1e4, -1e4]), [1, 0]);
    near(attentionWeights([1, 2, 3], 0.5), [0.01587624, 0.11731043, 0.86681333]);
    near(attentionWeights([-Infinity, 0]), [0, 1]);
    near(normalize([3, 4]), [0.6, 0.8]);
    near(normalize([0, 0]), [0, 0]);
    near([l2Norm([3, 4]), l2Norm(new Float32Array(5000).fill(1e20))], [5, 1e20 * Math.sqrt(5000)], 1e16);
    near([cosineSimilarity([1, 0], [1, 1]), cosineSimilarity([1, 2], [-2, -4])], [Math.SQRT1_2, -1]);
    near([cosineSimilarity([0, 0], [1, 1])], [0]);
    near(
      batchNormalize(
        [
          [1, 2, 3],
          [3, 2, 7],
        ],
        0,
      ),
      [-1, 0, -1, 1, 0, 1],
    );
    near(batchNormalize([[1], [3]], 3), [-0.5, 0.5]);
    await throws(() => softmax([]), module.EmptyInputError, /^scores is empty/);
    await throws(() => l2Norm([1, Number.NaN]), module.NumericalInstabilityError, /^x\[1\] is NaN/);
    await throws(
      () => cosineSimilarity([1], [1, 2]),
      module.DimensionMismatchError,
      /^b has 2 elements; expected 1/,
    );
    await throws(() => attentionWeights([1], 0), module.NumericalInstabilityError, /^temperature is 0/);
    assert(/^\d+\.\d+/.test(module.getVersion()), `the version is ${module.getVersion()}`);
    assert(module.getSupportedFeatures().includes("multi_head"), "expected multi_head among the features");
    assert(module.getFeatures().includes("async"), "expected what the runtime runs on");
  },
]);
