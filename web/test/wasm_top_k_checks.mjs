/** topK: only the highest scores of a query count. For every runtime of the kernels: [what, check] pairs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { found, scaled } from "./wasm_inputs.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const topKChecks = [];
const check = (what, body) => topKChecks.push([what, body]);

const query = random([5, 8], 1);
const keys = random([17, 8], 2);
const values = random([17, 6], 3);
const weightsOf = ({ weights }, shape) => ({ data: weights.data, shape });
const dense = (rows, columns, holds) => ({
  data: Array.from({ length: rows * columns }, (_, at) => holds(Math.floor(at / columns), at % columns)),
  shape: [rows, columns],
});
/** The array with another number at one place. */
const spoilt = ({ data, shape }, at, by) => ({ data: data.map((x, i) => (i === at ? by : x)), shape });

check("only the highest scores of a query count, within masks, biases, lengths and causally", async (ra) => {
  const mask = dense(5, 17, (i, j) => i !== 2 && (i + j) % 3 > 0);
  const bias = random([5, 17], 6);
  const short = dense(5, 17, (_, j) => j < 4);
  for (const [options, wanted] of [
    [{}, {}],
    [{ mask }, { mask }],
    [
      { mask, bias },
      { mask, bias },
    ],
    [
      { bias: { data: bias.data.slice(0, 17), shape: [17] } },
      { bias: { data: bias.data.slice(0, 17), shape: [17] } },
    ],
    [{ causal: true }, { causal: true }],
    [{ keyLengths: 4 }, { mask: short }],
    [{ mask: { type: "window", window: 2 } }, { mask: dense(5, 17, (i, j) => Math.abs(i + 12 - j) <= 2) }],
  ]) {
    for (const topK of [1, 3, 17, 1000]) {
      const flash = await ra.create("flash", { dim: 8, topK });
      const expected = attention(query, keys, values, { ...wanted, topK });
      const output = flash.forwardSync(query, keys, values, options);
      close(output, expected.output);
      close(await flash.forward(query, keys, values, options), found(output), 0);
      const weights = flash.attentionWeightsSync(query, keys, options);
      close(weights, weightsOf(expected, [5, 17]));
      close(await flash.attentionWeights(query, keys, options), found(weights), 0);
      flash.free();
    }
  }
});

check("settings of scores count before keys are chosen, and of equal scores the first are", async (ra) => {
  for (const config of [{ normalize: true, scale: 9 }, { temperature: 0.2 }, { scale: -1 }]) {
    const sdpa = await ra.create("scaled_dot_product", { dim: 8, topK: 2, ...config });
    const expected = attention(query, keys, values, { ...config, topK: 2 });
    close(sdpa.forwardSync(query, keys, values), expected.output);
    sdpa.free();
  }
  const flash = await ra.create("flash", { dim: 1, topK: 2 });
  equal([...flash.attentionWeightsSync([[1]], [[1], [2], [2], [2]])], [0, 0.5, 0.5, 0]);
  equal([...flash.forwardSync([1], [[1], [3], [3], [3]], [[9], [2], [4], [9]])], [3]);
  flash.free();
});

check("items of a batch choose by themselves, shared keys or not, and so do those of forwardBatch", async (ra) => {
  const sdpa = await ra.create("scaled_dot_product", { dim: 8, topK: 3 });
  const many = { query: random([2, 3, 5, 8], 4), keys: random([3, 17, 8], 5), values: random([2, 1, 17, 6], 6) };
  const expected = attention(many.query, many.keys, many.values, { topK: 3 });
  close(sdpa.forwardSync(many.query, many.keys, many.values), expected.output);
  close(sdpa.attentionWeightsSync(many.query, many.keys), weightsOf(attention(many.query, many.keys, values, { topK: 3 }), [2, 3, 5, 17]));
  const lengths = { data: Int32Array.of(17, 1, 5), shape: [3] };
  const behind = Array.from({ length: 51 }, (_, at) => at % 17 < lengths.data[Math.floor(at / 17)]);
  const mask = { data: behind, shape: [3, 1, 17] };
  const cut = attention(many.query, many.keys, many.values, { topK: 3, mask });
  close(sdpa.forwardSync(many.query, many.keys, many.values, { keyLengths: lengths }), cut.output);
  const outputs = await sdpa.forwardBatch([[query, keys, values], { query, keys, values, causal: true }]);
  close(outputs[0], attention(query, keys, values, { topK: 3 }).output);
  close(outputs[1], attention(query, keys, values, { topK: 3, causal: true }).output);
  sdpa.free();
}); // biome-ignore format: long calls

check("windows, and long rows of keys in few pieces of memory", async (ra) => {
  const [query, keys, values] = [random([40, 8], 1), random([40, 8], 2), random([40, 3], 3)];
  const mask = dense(40, 40, (i, j) => Math.abs(i - j) <= 4 || j < 2 || i < 2);
  const local = await ra.create("local_global", { dim: 8, window: 4, globalTokens: 2, topK: 3 });
  close(local.forwardSync(query, keys, values), attention(query, keys, values, { mask, topK: 3 }).output);
  local.free();
  const { engine } = ra;
  const { window } = engine;
  engine.window = 4096;
  try {
    const [many, long, wide] = [random([400, 4], 1), random([700, 4], 2), random([700, 3], 3)];
    const flash = await ra.create("flash", { dim: 4, topK: 5 });
    close(flash.forwardSync(many, long, wide), attention(many, long, wide, { topK: 5 }).output);
    flash.free();
  } finally {
    engine.window = window;
  }
});

check("every head chooses for itself: with maps, without, in groups, alone", async (ra) => {
  const [query, keys, values] = [random([2, 5, 12], 1), random([2, 9, 6], 2), random([2, 9, 6], 3)];
  const config = { dim: 12, numHeads: 4, numKvHeads: 2, projections: false, topK: 2 };
  const heads = await ra.create("multi_head", config);
  const bias = random([4, 5, 9], 4);
  const mask = { data: Array.from({ length: 180 }, (_, at) => at % 4 > 0), shape: [4, 5, 9] };
  const expected = attention(query, keys, values, {
    heads: 4,
    kvHeads: 2,
    bias,
    mask,
    headed: true,
    topK: 2,
  });
  const options = { bias: { ...bias, shape: [1, 4, 5, 9] }, mask: { ...mask, shape: [1, 4, 5, 9] } };
  close(heads.forwardSync(query, keys, values, options), expected.output);
  close(heads.attentionWeightsSync(query, keys, options), expected.weights);
  const alone = heads.headOutputSync(3, query, keys, values, options);
  const channels = expected.output.data.filter((_, at) => at % 12 >= 9);
  close(alone, { data: channels, shape: [2, 5, 3] });
  heads.free();
  const few = await ra.create("multi_head", { dim: 12, numHeads: 3, seed: 7, topK: 9 });
  const all = await ra.create("multi_head", { dim: 12, numHeads: 3, seed: 7 });
  const wide = [random([5, 12], 5), random([9, 12], 6), random([9, 12], 7)];
  close(few.forwardSync(...wide), found(all.forwardSync(...wide)), 4e-6);
  close(few.headOutputSync(1, ...wide), found(all.headOutputSync(1, ...wide)), 4e-6);
  few.free();
  all.free();
});

/** [mechanism, settings, options]: what has scores, and keys that it may choose. */
const NAMED = [
  ["scaled_dot_product", { dim: 8 }, {}],
  ["local_global", { dim: 8, window: 30 }, {}],
  ["multi_head", { dim: 8, numHeads: 2, seed: 1 }, {}],
  ["cross_attention", { dim: 8, numHeads: 2, seed: 1 }, {}],
  ["hyperbolic", { dim: 8, curvature: -0.7 }, {}],
  ["hyperbolic", { dim: 8, model: "lorentz", aggregation: "tangent" }, {}],
  ["graph_rope", { dim: 8, numHeads: 2 }, { queryPositions: [0, 1, 2, 1, 0] }],
  ["temporal", { dim: 8, numHeads: 2, causal: false }, {}],
  ["temporal", { dim: 8, encoding: "time2vec", timeDim: 4, seed: 2 }, {}],
  ["dual_space", { dim: 8, numHeads: 2, seed: 3 }, {}],
]; // biome-ignore format: a table

check("whatever makes the scores, weights are those of the highest alone, made whole", async (ra) => {
  const [q, k, v] = [scaled(query, 0.2), scaled(keys, 0.2), scaled(random([17, 8], 4), 0.2)];
  for (const [name, config, options] of NAMED) {
    const what = `${name} ${JSON.stringify(config)}`;
    const [few, all, many] = await Promise.all([
      ra.create(name, { ...config, topK: 3 }),
      ra.create(name, config),
      ra.create(name, { ...config, topK: 40 }),
    ]);
    const usual = all.attentionWeightsSync(q, k, options);
    const data = Float64Array.from(usual);
    for (let at = 0; at < data.length; at += 17) {
      const row = data.subarray(at, at + 17);
      const least = [...row].sort((a, b) => b - a)[2];
      const sum = row.reduce((total, x) => total + (x >= least ? x : 0), 0);
      row.forEach((x, j) => {
        row[j] = x >= least ? x / sum : 0;
      });
    }
    const chosen = few.attentionWeightsSync(q, k, options);
    close(chosen, { data, shape: usual.shape }, 4e-6, what);
    close(many.forwardSync(q, k, v, options), found(all.forwardSync(q, k, v, options)), 5e-6, what);
    // The same keys, named by a mask for each head: the same output.
    const shape = usual.shape.length > 2 ? usual.shape : [5, 17];
    const mask = { data: Array.from(chosen, (x) => x > 0), shape };
    const output = few.forwardSync(q, k, v, options);
    close(output, found(all.forwardSync(q, k, v, { ...options, mask })), 5e-6, what);
    close(await few.forward(q, k, v, options), found(output), 0, what);
    close(await few.attentionWeights(q, k, options), found(chosen), 0, what);
    const bank = await ra.memory(k, v);
    close(few.forwardSync(q, bank, options), found(output), 0, `${what}, of a memory`);
    close(await few.forward(q, bank, options), found(output), 0, `${what}, of a memory`);
    close(few.attentionWeightsSync(q, bank, options), found(chosen), 0, `${what}, of a memory`);
    bank.free();
    for (const each of [few, all, many]) each.free();
  }
});

check("a memory that grows is chosen from as a whole, normalized or not", async (ra) => {
  for (const normalize of [false, true]) {
    const sdpa = await ra.create("scaled_dot_product", { dim: 8, topK: 4, normalize });
    const [first, rest] = [keys, values].map(({ data, shape: [, width] }) => [
      { data: data.slice(0, 5 * width), shape: [5, width] },
      { data: data.slice(5 * width), shape: [12, width] },
    ]).reduce(([a, b], [c, d]) => [[a, c], [b, d]]); // biome-ignore format: two pairs
    const bank = await ra.memory(...first);
    close(sdpa.forwardSync(query, bank), attention(query, ...first, { topK: 4, normalize }).output);
    await bank.append(...rest);
    const expected = attention(query, keys, values, { topK: 4, normalize });
    close(sdpa.forwardSync(query, bank), expected.output);
    close(await sdpa.forward(query, bank), expected.output);
    bank.free();
    sdpa.free();
  }
});

check("what is not finite is named, chosen or not, but behind key lengths", async (ra, api) => {
  for (const name of ["flash", "hyperbolic", "temporal"]) {
    const attention = await ra.create(name, { dim: 8, topK: 2 });
    const [q, k, v] = [scaled(query, 0.2), scaled(keys, 0.2), scaled(random([17, 8], 4), 0.2)];
    const chosen = attention.attentionWeightsSync(q, k);
    const unread = Array.from({ length: 17 }, (_, j) => j).find((j) => [0, 1, 2, 3, 4].every((i) => chosen[17 * i + j] === 0));
    const cases = [
      [[spoilt(q, 9, NaN), k, v], /^query holds nan at index \(1, 1\)/],
      [[q, spoilt(k, 8 * unread + 3, Infinity), v], new RegExp(`^keys holds inf at index \\(${unread}, 3\\)`)],
      [[q, k, spoilt(v, 8 * unread + 7, NaN)], new RegExp(`^values holds nan at index \\(${unread}, 7\\)`)],
    ];
    for (const [inputs, message] of cases) {
      await throws(() => attention.forwardSync(...inputs), api.NumericalInstabilityError, message);
      await throws(() => attention.forward(...inputs), api.NumericalInstabilityError, message);
    }
    const last = spoilt(k, 8 * 16, NaN);
    const options = { keyLengths: 16 };
    await throws(() => attention.forward(q, spoilt(k, 8 * 15, NaN), v, options), api.NumericalInstabilityError, /^keys holds nan at index \(15, 0\)/);
    close(attention.forwardSync(q, last, v, options), found(attention.forwardSync(q, k, v, options)), 0, name);
    const kept = attention.forwardSync(q, k, spoilt(v, 8 * unread, NaN), { checkFinite: false });
    assert(name === "hyperbolic" || kept.every(Number.isFinite), `${name}: a row that nobody chose came through`);
    attention.free();
  }
  const flash = await ra.create("flash", { dim: 8, topK: 2 });
  const huge = scaled(query, 1e25);
  await throws(() => flash.forward(huge, scaled(keys, 1e25), values), api.NumericalInstabilityError, /overflows float32/);
  flash.free();
}); // biome-ignore format: long calls

check("a bad topK is refused as Python refuses it", async (ra, { InvalidConfigError }) => {
  const names = ["flash", "multi_head", "hyperbolic", "temporal", "dual_space"];
  for (const name of names) {
    for (const [topK, message] of [
      [0, /^top_k is 0; expected at least 1$/],
      [-3, /^top_k is -3; expected at least 1$/],
      [2.5, /^top_k is 2.5; expected an integer$/],
      ["3", /^top_k is '3'; expected an integer$/],
      [true, /^top_k is true; expected an integer$/],
      [Number.NaN, /^top_k is NaN; expected an integer$/],
    ])
      await throws(() => ra.create(name, { dim: 8, topK }), InvalidConfigError, message);
  }
  const flash = await ra.create("flash", { dim: 8, topK: null });
  equal(flash.config.topK, null, "the setting");
  close(flash.forwardSync(query, keys, values), attention(query, keys, values).output);
  flash.free();
  const few = await ra.create("flash", { dim: 8, top_k: 2 });
  equal(few.config.topK, 2, "the setting");
  few.free();
});

check("experts of a mixture choose as well", async (ra) => {
  const experts = JSON.stringify([
    { type: "flash", top_k: 2 },
    { type: "multi_head", num_heads: 2, top_k: 3 },
  ]);
  const moe = await ra.create("moe", { dim: 8, experts, topK: 1, seed: 2 });
  const wide = random([17, 8], 4);
  const usage = moe.getRoutingSync(query).experts;
  const output = moe.forwardSync(query, keys, wide);
  const flash = attention(query, keys, wide, { topK: 2 }).output;
  const rows = [...usage].flatMap((expert, i) => (expert === 0 ? [i] : []));
  assert(rows.length > 0, "no query went to the first expert");
  for (const i of rows) close(output.slice(8 * i, 8 * i + 8), { data: flash.data.slice(8 * i, 8 * i + 8) });
  moe.free();
});

check("nothing stays of calls and objects", async (ra, api) => {
  const used = () => ra.heap.used;
  const [before, handles] = [used(), ra.handles];
  const run = async () => {
    const sdpa = await ra.create("scaled_dot_product", { dim: 8, topK: 3 });
    const bank = await ra.memory(keys, values);
    sdpa.forwardSync(query, bank);
    await sdpa.forward(query, keys, values);
    bank.free();
    sdpa.free();
    await throws(() => sdpa.forward(query, keys, values), api.RuntimeLostError, /disposed/);
  };
  await run();
  const once = used();
  for (let i = 0; i < 20; i++) await run();
  equal([used() - once, ra.handles - handles], [0, 0], "what is held");
  assert(once >= before, "the areas are kept");
});

check("its code is fetched by the first object that asks for it, and calls tell until then", async (_, api, backend) => {
  if (!backend.startsWith("wasm")) return; // an addon's lies on the disk beside it
  const ra = await api.load({ backend, preload: [] });
  const [flash, gone] = [{ dim: 8, topK: 3 }, { dim: 8, topK: 3 }].map((config) => ra.createSync("flash", config));
  const absent = /^top_k is not loaded; expected `await create\("flash", …\)` before, or load\(\{ preload: \["top_k"\] \}\)$/;
  const refused = [() => flash.forwardSync(query, keys, values), () => flash.forward(query, keys, values)];
  const told = refused.map((call) => throws(call, api.LoadError, absent)); // called before the code can have come
  gone.free();
  await Promise.all(told);
  assert((await flash.ready) === flash, "ready answers with something else");
  const expected = attention(query, keys, values, { topK: 3 }).output;
  close(flash.forwardSync(query, keys, values), expected);
  await throws(() => gone.ready, api.RuntimeLostError, /disposed/);
  await throws(() => gone.forwardSync(query, keys, values), api.RuntimeLostError, /disposed/);
  close(ra.createSync("scaled_dot_product", { dim: 8, topK: 3 }).forwardSync(query, keys, values), expected);
  const early = await api.load({ backend, preload: ["top_k"] });
  close(early.createSync("flash", { dim: 8, topK: 3 }).forwardSync(query, keys, values), expected);
  early.close();
  ra.close();
}); // biome-ignore format: long calls
