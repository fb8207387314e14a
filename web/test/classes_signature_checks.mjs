/** Constructors, makers and wrong arguments of the classes by other packages' names: [what, check] pairs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { attention } from "./wasm_reference.mjs";

/** With the kernels in this thread. */
export const signatureChecks = [];
const check = (what, body) => signatureChecks.push([what, body]);

const f32 = (...x) => Float32Array.from(x);
const query = f32(1, 0);
const [keys, values] = [[[1, 0], [0, 1], [1, 1]], [[1, 2], [3, 4], [5, 6]]]; // biome-ignore format: rows
const flat = (rows) => ({ data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0].length] });
const of = (k, v, options) => {
  const { output } = attention({ data: query, shape: [1, 2] }, flat(k), flat(v), options);
  return { data: output.data, shape: [2] };
};

check("one config serves every class: what a class has no use for, it does not look at", async (module) => {
  const { DotProductAttention, ScaledDotProductAttention, MultiHeadAttention } = module;
  const config = { numHeads: 8, headDim: 64, dropout: 0.1, useBias: true };
  for (const dot of [new DotProductAttention(config), new ScaledDotProductAttention(config)]) {
    close(dot.compute(query, keys, values), of(keys, values));
    close((await dot.computeAsync([[1, 0]], keys, values)).values, { ...of(keys, values), shape: [1, 2] });
  }
  const wider = new DotProductAttention({ ...config, hiddenDim: 2 });
  equal([wider.dim, wider.compute(query, keys, values).length], [2, 2], "its channels");
  close(
    new DotProductAttention({ scale: 0.5 }).compute(query, keys, values),
    of(keys, values, { scale: 0.5 }),
  );
  const heads = new MultiHeadAttention({ ...config, numHeads: 2, headDim: 1 });
  equal([heads.dim, heads.hiddenDim, heads.numHeads, heads.headDim], [2, 2, 2, 1], "its sizes");
  await throws(
    () => new DotProductAttention({ dim: 2, heads: 1 }),
    module.InvalidConfigError,
    /no setting 'heads'/,
  );
});

check("three arguments of a multi-head constructor are heads, channels and dropout", (module) => {
  for (const name of ["MultiHeadAttention", "WasmMultiHeadAttention"]) {
    const heads = new module[name](2, 8, 0.1);
    equal([heads.numHeads, heads.hiddenDim, heads.headDim, heads.dropout], [2, 8, 4, 0.1], name);
  }
  const left = new module.MultiHeadAttention({ dim: 16 }); // the mechanism's own number of heads
  equal([left.numHeads, left.headDim], [8, 2], "what was left out");
});

check("metadata says what a result is of", async ({ MultiHeadAttention, getFeatures }) => {
  const { metadata } = new MultiHeadAttention(2, 2).compute([[1, 0]], keys, values);
  equal(metadata, { attention_type: "multi_head", num_heads: 2, backend: getFeatures()[0], shape: [1, 2] });
});

check("hyperbolic attention with a temperature of the call or of the constructor", async (module) => {
  const { HyperbolicAttention } = module;
  const [q, k, v] = [f32(0.1, 0), [f32(0.3, 0), f32(0, 0.5)], [f32(0.2, 0.1), f32(-0.3, 0.4)]];
  const warm = HyperbolicAttention.withConfig(2, 1, false, 3);
  equal([warm.dim, warm.curvature], [2, 1], "what it tells");
  const usual = new HyperbolicAttention(2, 1);
  const wanted = { data: warm.compute(q, k, v), shape: [2] };
  const plain = usual.compute(q, k, v);
  assert(Math.abs(plain[0] - wanted.data[0]) > 1e-3, "the temperature changes nothing");
  close(usual.computeWithTemperature(q, k, v, 3), wanted);
  close(await usual.computeWithTemperatureAsync(q, k, v, 1), { data: plain, shape: [2] });
});

check(
  "a graph's edges bring features without the constructor knowing of them",
  async ({ GraphAttention }) => {
    const nodes = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]; // biome-ignore format: nodes
    const graph = { edges: [[0, 1], [1, 2], [2, 0]], numNodes: 3 }; // biome-ignore format: edges
    const attention = new GraphAttention({ numHeads: 1 });
    const bare = attention.compute(nodes, graph);
    const drawn = attention.compute(nodes, { ...graph, edgeFeatures: [[1], [2], [-3]] });
    equal([bare.values.shape, drawn.values.shape, drawn.metadata.num_edges], [[3, 3], [3, 3], 3], "its result"); // biome-ignore format: shapes
    const told = new GraphAttention({ dim: 3, numHeads: 1, edgeDim: 1 });
    const same = told.compute(nodes, { ...graph, edgeFeatures: [[1], [2], [-3]] });
    close(drawn.values, { data: same.values, shape: [3, 3] }, 0);
    const loops = new GraphAttention({ numHeads: 1, addSelfLoops: false }).compute(nodes, graph);
    assert(loops.values.length === 9, "expected a row for each node");
  },
);

check("the builder takes types as they are written over there, and neighbours as a limit", async (module) => {
  const { Attention, AttentionBuilder, AttentionType, InvalidConfigError, OutOfBoundsError } = module;
  for (const type of [AttentionType.ScaledDotProduct, "scaled-dot-product"]) {
    const limited = new AttentionBuilder().type(type, { neighbors: 2 }).hiddenDim(2).dropout(0.1).build();
    close(limited.forward(query, keys, values), of(keys.slice(0, 2), values.slice(0, 2)));
    close(limited.forward(query, keys.slice(0, 1), values.slice(0, 1)), of([[1, 0]], [[1, 2]])); // fewer are there
    close(await limited.forwardAsync(query, keys, values, { neighbors: 100 }), of(keys, values));
    await throws(
      () => limited.forward(query, keys, values, { neighbors: 0 }),
      OutOfBoundsError,
      /^neighbors is 0/,
    );
    const mask = [true, false, true];
    const seen = of([keys[0], keys[2]], [values[0], values[2]]);
    close(new Attention({ type, hiddenDim: 2 }).forward(query, keys, values, { mask }), seen);
  }
  for (const type of ["multi-head", "hyperbolic", "linear"]) {
    const built = new AttentionBuilder().type(type, { curvature: undefined }).hiddenDim(8).dropout(0).build();
    const [x, y] = [f32(...Array(8).fill(0.1)), f32(...Array(8).fill(0.2))];
    close(built.forward(x, y, y), { data: y, shape: [8] }); // of one key, its value
  }
  await throws(() => new AttentionBuilder().type("DotProd").hiddenDim(2).build(), InvalidConfigError, /^type is DotProd/); // biome-ignore format: one line
  await throws(
    () => new AttentionBuilder().type("graph").hiddenDim(2).build(),
    InvalidConfigError,
    /^type is/,
  );
});

check("arguments that are none are refused by name", async (module) => {
  const { ScaledDotProductAttention, MultiHeadAttention } = module;
  const { UnsupportedError, EmptyInputError, DimensionMismatchError } = module;
  const sdpa = new ScaledDotProductAttention(2);
  const refused = (body, message, Class = UnsupportedError) => throws(body, Class, message);
  for (const wrong of [undefined, null, 5, new Set([1]), new ArrayBuffer(8)]) {
    await refused(() => sdpa.forward(query, wrong, values), /^keys is /);
    await refused(() => sdpa.forward(query, keys, wrong), /^values is /);
    await refused(() => sdpa.forward(wrong, keys, values), /^query is /);
  }
  await refused(() => sdpa.forward(query, new DataView(new ArrayBuffer(8)), values), /^keys is a DataView/);
  await refused(() => sdpa.forward(query, keys, values, new Set()), /^a Set came/);
  await refused(() => sdpa.forward([], keys, values), /^query is an empty array/, EmptyInputError);
  await refused(() => sdpa.forwardBatch(5, keys, values), /^queries is a number/);
  await refused(() => sdpa.computeBatch(5, keys, values), /^queries is a number/);
  await refused(
    () => sdpa.computeBatch([query], [keys, keys], [values]),
    /^keys has 2 items; expected 1/,
    DimensionMismatchError,
  );
  for (const wrong of [[2], new Set(), new Date(), new Float32Array(2)])
    await refused(() => new MultiHeadAttention(wrong), /^the config is /);
  // Rows of mixed kinds are rows.
  equal(sdpa.forwardBatch([query, [0, 1]], keys, values).length, 2, "the number of outputs");
});

check("a batch's items keep their order, and its errors tell which item they are about", async (module) => {
  const { DotProductAttention, DimensionMismatchError } = module;
  const dot = new DotProductAttention(2);
  const queries = [0, 1, 2, 3].map((i) => [[1, i]]);
  const many = (list) => queries.map(() => list);
  const now = dot.computeBatch(queries, many(keys), many(values));
  const later = await dot.computeBatchAsync(queries, many(keys), many(values));
  now.forEach(({ values: row }, i) => {
    close(later[i].values, { data: row, shape: [1, 2] }, 0);
    const wanted = attention({ data: f32(1, i), shape: [1, 2] }, flat(keys), flat(values)).output;
    close(row, { data: wanted.data, shape: [1, 2] });
  });
  queries[2] = [[1, 2, 3]];
  for (const method of ["computeBatch", "computeBatchAsync"]) {
    const body = () => dot[method](queries, many(keys), many(values));
    const error = await throws(body, DimensionMismatchError, /^item 2: query is \(1, 3\)/);
    assert(error.index === 2, `the index is ${error.index}`);
  }
  const missing = [keys, keys, undefined, keys];
  await throws(() => dot.computeBatchAsync(queries, missing, many(values)), module.UnsupportedError, /^item 2: keys is undefined/); // biome-ignore format: one line
});

check("functions refuse what is no vector", async (module) => {
  const { softmax, attentionWeights, l2Norm, normalize, cosineSimilarity, batchNormalize } = module;
  const { UnsupportedError, InvalidConfigError } = module;
  for (const wrong of [
    undefined,
    null,
    {},
    "ab",
    5,
    new Set([1]),
    new DataView(new ArrayBuffer(8)),
    ["1"],
    [1n],
    new Array(1),
  ]) {
    for (const each of [softmax, attentionWeights, l2Norm, normalize])
      await throws(() => each(wrong), UnsupportedError, /^(scores|x)(\[0\])? is /);
    await throws(() => cosineSimilarity([1], wrong), UnsupportedError, /^b(\[0\])? is /);
    await throws(() => batchNormalize([wrong]), UnsupportedError, /^vectors\[0\](\[0\])? is /);
  }
  await throws(() => batchNormalize(5), UnsupportedError, /^vectors is a number/);
  await throws(() => batchNormalize([[1]], -1), InvalidConfigError, /^epsilon is -1/);
  await throws(
    () => attentionWeights([1], [2]),
    module.NumericalInstabilityError,
    /^temperature is an array/,
  );
});

check("a processor of streams and one of batches look at what they are given", async (module) => {
  const { StreamProcessor, BatchProcessor } = module;
  const { DimensionMismatchError, InvalidConfigError, UnsupportedError, NumericalInstabilityError } = module;
  const stream = new StreamProcessor(2, 3);
  await throws(
    () => stream.push([1, 0, 0], [1]),
    DimensionMismatchError,
    /^key has 3 channels; expected dim = 2/,
  );
  await throws(() => stream.push([1, 0]), UnsupportedError, /^value is undefined/);
  await throws(() => stream.push(keys, values), UnsupportedError, /^key is an array; expected a vector/);
  await throws(() => stream.process([1]), DimensionMismatchError, /^query has 1 channels/);
  await throws(() => stream.push([Number.NaN, 0], [1]), NumericalInstabilityError, /keys holds nan/);
  equal([stream.size, stream.process(query).shape], [0, [2]], "what is there before the first row");
  assert(stream.push(keys[0], values[0]), "expected room for a row");
  await throws(() => stream.push(keys[0], [1]), DimensionMismatchError, /^values/);
  close(stream.process(query), of([keys[0]], [values[0]]));
  stream.free();
  const batches = new BatchProcessor({ batchSize: 2, numWorkers: 1 });
  await throws(() => batches.processBatch(5, [], []), UnsupportedError, /^queries is a number/);
  await throws(
    () => batches.processBatch([query], [], [values]),
    DimensionMismatchError,
    /^keys has 0 items/,
  );
  await throws(
    () => batches.processBatch([query], [5], [values]),
    UnsupportedError,
    /^item 0: keys is a number/,
  );
  await throws(() => new BatchProcessor(), InvalidConfigError, /^batchSize is undefined/);
  await throws(
    () => new BatchProcessor({ batchSize: 1, numWorkers: 0 }),
    InvalidConfigError,
    /^numWorkers is 0/,
  );
});

check("what crosses between threads is nobody's name", (module) => {
  const hidden = Object.keys(module).filter((name) => /wire/i.test(name));
  equal(hidden, [], "names that are exported");
});
