/**
 * What the runtime of the kernels must do, in Node and in a browser alike: [what, check] pairs, where a check takes
 * a loaded runtime, the package ({ load, tensor, errors … }) and the backend, and throws.
 */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { lastingChecks } from "./wasm_lasting.mjs";
import { mechanismChecks } from "./wasm_mechanism_checks.mjs";
import { moeChecks } from "./wasm_moe_checks.mjs";
import { attention, product, project, random } from "./wasm_reference.mjs";
import { refusalChecks } from "./wasm_refusals.mjs";
import { topKChecks } from "./wasm_top_k_checks.mjs";

export const checks = [...refusalChecks, ...lastingChecks, ...mechanismChecks, ...moeChecks, ...topKChecks];
const check = (what, body) => checks.push([what, body]);

const query = random([5, 8], 1);
const keys = random([7, 8], 2);
const values = random([7, 3], 3);
const rows = ({ data, shape: [n, width] }) =>
  Array.from({ length: n }, (_, i) => [...data.slice(i * width, (i + 1) * width)]);

/** Results that every instruction set is compared with: made once. */
const kept = new Map();
const once = (key, make) => {
  if (!kept.has(key)) kept.set(key, make());
  return kept.get(key);
};

check("every form of an array gives the same", (ra, { tensor }) => {
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const expected = attention(query, keys, values).output;
  const forms = {
    shaped: (array) => array,
    tensor: ({ data, shape }) => tensor(data.slice(), shape),
    nested: rows,
    typedRows: (array) => rows(array).map((row) => Float32Array.from(row)),
    doubles: ({ data, shape }) => ({ data: Float64Array.from(data), shape }),
    numbers: ({ data, shape }) => ({ data: [...data], shape }),
  };
  for (const [name, form] of Object.entries(forms)) {
    close(sdpa.forwardSync(form(query), form(keys), form(values)), expected, 2e-6, name);
  }
  const integers = { data: BigInt64Array.of(1n, 0n), shape: [1, 2] };
  const pair = ra.createSync("flash", { dim: 2 });
  equal([...pair.forwardSync(integers, [[1, 0]], { data: Int8Array.of(3, -4), shape: [1, 2] })], [3, -4]);
});

check("every method has a promise beside it", async (ra) => {
  const flash = await ra.create("flash", { dim: 8 });
  equal([...(await flash.forward(query, keys, values))], [...flash.forwardSync(query, keys, values)]);
  equal(
    [...(await flash.call("attention_weights", query, keys))],
    [...flash.attentionWeightsSync(query, keys)],
  );
  const waiting = flash.forward(query, keys, values.data);
  assert(waiting instanceof Promise, "an error came at once; expected a promise that rejects");
  await waiting.then(
    () => assert(false, "no error"),
    () => {},
  );
});

check("a bare vector gives a vector, leading dimensions broadcast", (ra) => {
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const row = query.data.slice(0, 8);
  equal(sdpa.forwardSync(row, keys, values).shape, [3]);
  equal(sdpa.attentionWeightsSync(row, keys).shape, [7]);
  for (const [q, k, v] of [
    [
      [4, 5, 8],
      [7, 8],
      [7, 3],
    ],
    [
      [5, 8],
      [4, 7, 8],
      [7, 3],
    ],
    [
      [2, 1, 5, 8],
      [3, 7, 8],
      [2, 3, 7, 3],
    ],
    [
      [2, 3, 5, 8],
      [1, 3, 7, 8],
      [2, 1, 7, 3],
    ],
    [
      [1, 5, 8],
      [2, 3, 7, 8],
      [3, 7, 3],
    ],
  ]) {
    const arrays = [random(q, 4), random(k, 5), random(v, 6)];
    close(sdpa.forwardSync(...arrays), attention(...arrays).output, 2e-6, `${q} ${k} ${v}`);
    const { weights } = attention(...arrays);
    const lead = weights.shape.slice(0, -3);
    const weighed = sdpa.attentionWeightsSync(arrays[0], arrays[1]);
    const own = attention(arrays[0], arrays[1], arrays[1]).weights;
    close(
      weighed,
      { data: own.data, shape: [...own.shape.slice(0, -3), 5, 7] },
      2e-6,
      `the weights of ${lead}`,
    );
  }
});

check("settings and options mean what the formula says", (ra) => {
  const cases = [
    { scale: 0.3 },
    { temperature: 0.2 },
    { normalize: true },
    { normalize: true, temperature: 0.1, causal: true },
    { causal: true },
    { scale: -1 },
  ];
  for (const config of cases) {
    const sdpa = ra.createSync("scaled_dot_product", { dim: 8, ...config });
    close(
      sdpa.forwardSync(query, keys, values),
      attention(query, keys, values, config).output,
      4e-6,
      JSON.stringify(config),
    );
  }
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const bools = { data: Array.from({ length: 35 }, (_, i) => i % 3 !== 0 && i >= 7), shape: [5, 7] };
  const bias = random([7], 8);
  for (const options of [
    { mask: bools },
    { bias },
    { mask: bools, bias, causal: true },
    { mask: { data: Uint8Array.from(bools.data, Number), shape: [5, 7] } },
    { mask: { data: bools.data.slice(7, 12), shape: [5, 1] } },
  ]) {
    const expected = attention(query, keys, values, { ...options, bias: options.bias });
    close(sdpa.forwardSync(query, keys, values, options), expected.output, 2e-6, Object.keys(options).join());
    const weights = sdpa.attentionWeightsSync(query, keys, options);
    close(weights, { data: expected.weights.data, shape: [5, 7] }, 2e-6, "the weights");
  }
  const addends = { data: Float32Array.from(bools.data, (may) => (may ? 0 : -Infinity)), shape: [5, 7] };
  const both = attention(query, keys, values, { mask: bools, bias }).output;
  close(
    sdpa.forwardSync(query, keys, values, { mask: addends, bias }),
    both,
    2e-6,
    "a mask of numbers and a bias",
  );
  equal(
    [...sdpa.forwardSync(query, keys, values, { mask: bools }).slice(0, 3)],
    [0, 0, 0],
    "a row without keys",
  );
});

check("heads are groups of channels, shared by option, with masks of their own", (ra) => {
  const [q, k, v] = [random([2, 5, 24], 1), random([7, 8], 2), random([2, 7, 8], 3)];
  const split = ra.createSync("multi_head", { dim: 24, numHeads: 6, numKvHeads: 2, projections: false });
  const mask = { data: Array.from({ length: 210 }, (_, i) => (i * 7) % 5 !== 0), shape: [6, 5, 7] };
  for (const options of [{}, { causal: true }]) {
    const expected = attention(q, k, v, { heads: 6, kvHeads: 2, ...options });
    close(split.forwardSync(q, k, v, options), expected.output);
    close(
      split.attentionWeightsSync(q, k, options),
      attention(q, k, k, { heads: 6, kvHeads: 2, ...options }).weights,
    );
  }
  const four = { data: mask.data, shape: [1, 6, 5, 7] };
  const expected = attention(q, k, v, { heads: 6, kvHeads: 2, mask, headed: true }).output;
  close(split.forwardSync(q, k, v, { mask: four }), expected, 2e-6, "a mask for each head");
  for (const head of [0, 4]) {
    const one = split.headOutputSync(head, q, k, v, { mask: four });
    const own = expected.data.filter((_, i) => Math.floor((i % 24) / 4) === head);
    close(one, { data: own, shape: [2, 5, 4] }, 2e-6, `head ${head}`);
  }
});

check("projections are the maps of the state, and one head has its part of them", (ra) => {
  const heads = ra.createSync("multi_head", {
    dim: 12,
    numHeads: 3,
    numKvHeads: 1,
    kdim: 5,
    vdim: 6,
    normalize: true,
  });
  const shapes = {
    query_weight: [12, 12], query_bias: [12], keys_weight: [5, 4], keys_bias: [4],
    values_weight: [6, 4], values_bias: [4], output_weight: [12, 12], output_bias: [12],
  }; // biome-ignore format: a table
  const state = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [name, random(shape, 10 + i)]),
  );
  heads.loadStateDictSync(state);
  const [q, k, v] = [random([2, 5, 12], 1), random([7, 5], 2), random([7, 6], 3)];
  const [pq, pk, pv] = [[q, "query"], [k, "keys"], [v, "values"]].map(([x, name]) =>
    project(x, state[`${name}_weight`], state[`${name}_bias`]),
  ); // biome-ignore format: one row
  const inner = attention(pq, pk, pv, { heads: 3, kvHeads: 1, normalize: true });
  close(heads.forwardSync(q, k, v), project(inner.output, state.output_weight, state.output_bias), 4e-6);
  const second = inner.output.data.filter((_, i) => Math.floor((i % 12) / 4) === 1);
  close(heads.headOutputSync(1, q, k, v), { data: second, shape: [2, 5, 4] }, 4e-6, "the second head");
  close(
    heads.headAttentionWeightsSync(q, k),
    { ...attention(pq, pk, pk, { heads: 3, kvHeads: 1, normalize: true }).weights, shape: [2, 3, 5, 7] },
    4e-6,
  );
  const bank = ra.memorySync(k, v);
  for (let again = 0; again < 2; again++) {
    close(
      heads.forwardSync(q, bank),
      project(inner.output, state.output_weight, state.output_bias),
      4e-6,
      "a memory",
    );
  }
  const copy = heads.stateDictSync();
  equal([...copy.keys_weight], [...state.keys_weight.data], "keys_weight");
  equal(
    heads.numParametersSync(),
    Object.values(shapes).reduce((sum, shape) => sum + product(shape), 0),
  );
  bank.free();
  heads.free();
});

check("parameters come from the seed as NumPy draws them", (ra) => {
  // numpy.random.default_rng(7).uniform(-bound, bound, (4, 4)) with bound = sqrt(6 / 8), in float32
  const drawn = [
    0.21667171, 0.68799448, 0.47750163, -0.4759551, -0.34612215, 0.64701354, -0.85690564, 0.55638397,
  ];
  const state = ra.createSync("multi_head", { dim: 4, numHeads: 2, seed: 7 }).stateDictSync();
  close(state.query_weight.slice(0, 8), { data: drawn }, 1e-7, "query_weight");
  equal([...state.output_bias], [0, 0, 0, 0]);
});

check("self-attention is its sequence three times, cross-attention takes keys as values", (ra) => {
  const x = random([2, 6, 8], 1);
  const self = ra.createSync("self_attention", { dim: 8, numHeads: 2, projections: false });
  close(self.forwardSync(x, { causal: true }), attention(x, x, x, { heads: 2, causal: true }).output);
  equal(self.attentionWeightsSync(x).shape, [2, 2, 6, 6]);
  const cross = ra.createSync("cross_attention", { dim: 8, numHeads: 2, projections: false });
  const y = random([3, 8], 2);
  close(cross.forwardSync(x, y), attention(x, y, y, { heads: 2 }).output);
});

check("what is larger than the window gives the same", (ra) => {
  const usual = ra.engine.window;
  ra.engine.window = 3000;
  try {
    for (const [n, m, dim, width, heads] of [
      [1, 1000, 8, 8, 1], [400, 1000, 4, 4, 1], [1000, 700, 4, 8, 2], [7, 1300, 4, 3, 1], [500, 130, 6, 6, 3],
    ]) {
      for (const causal of [false, true]) {
        const [q, k, v] = [random([2, n, dim * heads], 1), random([m, dim * heads], 2), random([2, m, width * heads], 3)];
        const split = heads === 1
          ? ra.createSync("flash", { dim, causal })
          : ra.createSync("multi_head", { dim: dim * heads, numHeads: heads, projections: false, causal });
        if (heads > 1 && width !== dim) continue;
        const what = `${n} x ${m}, ${heads} heads${causal ? ", causal" : ""}`;
        close(split.forwardSync(q, k, v), once(what, () => attention(q, k, v, { heads, causal }).output), 2e-6, what);
      }
    }
    const layer = ra.createSync("self_attention", { dim: 8, numHeads: 2 });
    const x = random([900, 8], 5);
    const state = Object.fromEntries(Object.entries(layer.stateDictSync()).map(([name, data]) => [name, { data, shape: data.shape }]));
    const part = (name) => project(x, state[`${name}_weight`], state[`${name}_bias`]);
    const inner = once("layer", () => attention(part("query"), part("keys"), part("values"), { heads: 2 }).output);
    close(layer.forwardSync(x), project(inner, state.output_weight, state.output_bias), 2e-6, "a layer");
  } finally {
    ra.engine.window = usual;
  }
}); // biome-ignore format: a table of sizes

check("key lengths leave the padding of a batch unread", (ra, api) => {
  const padded = { data: Float32Array.of(...keys.data, ...keys.data), shape: [2, 7, 8] };
  padded.data.fill(Number.NaN, 32, 56);
  const lengths = { keyLengths: [4, 7] };
  const short = { data: keys.data.slice(0, 32), shape: [4, 8] };
  const few = { data: values.data.slice(0, 12), shape: [4, 3] };
  const both = [attention(query, short, few).output.data, attention(query, keys, values).output.data];
  const expected = { data: Float64Array.of(...both[0], ...both[1]), shape: [2, 5, 3] };
  for (const name of ["flash", "multi_head"]) {
    const config = name === "flash" ? { dim: 8 } : { dim: 8, numHeads: 1, projections: false, vdim: null };
    const made = ra.createSync(name, config);
    if (name === "flash") close(made.forwardSync(query, padded, values, lengths), expected);
    const weights = made.attentionWeightsSync(query, padded, lengths);
    equal([...weights.slice(4, 7)], [0, 0, 0], "the weights of padding");
    equal(Number.isFinite(weights[0]), true, "whether a weight is finite");
  }
  const flash = ra.createSync("flash", { dim: 8 });
  const one = flash.forwardSync(query, keys, values, { keyLengths: 4 });
  close(one, { data: both[0], shape: [5, 3] });
  const read = { data: padded.data.map((x, i) => (i === 60 ? Infinity : x)), shape: [2, 7, 8] };
  const refused = [
    [[padded, { keyLengths: [4.5, 7] }], api.UnsupportedError, /^key_lengths is an array of float32; expected integers$/],
    [[padded, { keyLengths: [4, 8] }], api.OutOfBoundsError, /^key_lengths holds 8 at index \(1,\); expected 0 to n_key = 7$/],
    [[padded, { keyLengths: [1, 2, 3] }], api.DimensionMismatchError, /^key_lengths is \(3,\); expected \(2,\), the leading/],
    [[padded, { keyLengths: [5, 7] }], api.NumericalInstabilityError, /^keys holds nan at index \(0, 4, 0\)/],
    [[read, lengths], api.NumericalInstabilityError, /^keys holds inf at index \(1, 0, 4\)/],
  ]; // biome-ignore format: a table
  return refused.reduce(async (before, [[given, options], Expected, message]) => {
    await before;
    await throws(() => flash.forwardSync(query, given, values, options), Expected, message);
  }, Promise.resolve());
});

check("masks by their rule: causal, and a window with global tokens", (ra, api) => {
  const [q, k, v] = [random([2, 400, 4], 1), random([450, 4], 2), random([450, 5], 3)];
  const sdpa = ra.createSync("scaled_dot_product", { dim: 4 });
  const place = (i) => i + 50;
  const rules = [
    [{ type: "causal" }, (i, j) => j <= place(i)],
    [{ type: "window", window: 9 }, (i, j) => Math.abs(place(i) - j) <= 9],
    [{ type: "window", window: 70, causal: true }, (i, j) => j <= place(i) && place(i) - j <= 70],
    [{ type: "window", window: 3, globalTokens: 60 }, (i, j) => Math.abs(place(i) - j) <= 3 || j < 60 || place(i) < 60],
  ]; // biome-ignore format: a table
  const usual = ra.engine.window;
  for (const [mask, sees] of rules) {
    const pairs = { data: new Uint8Array(400 * 450), shape: [400, 450] };
    for (let i = 0; i < 400; i++) for (let j = 0; j < 450; j++) pairs.data[i * 450 + j] = sees(i, j) ? 1 : 0;
    const what = JSON.stringify(mask);
    const expected = once(what, () => attention(q, k, v, { mask: pairs }).output);
    for (const window of [usual, 2000]) {
      ra.engine.window = window;
      try {
        close(sdpa.forwardSync(q, k, v, { mask }), expected, 2e-6, `${what} in windows of ${window}`);
      } finally {
        ra.engine.window = usual;
      }
    }
  }
  return throws(
    () => sdpa.forwardSync(q, k, v, { mask: { type: "strided" } }),
    api.UnsupportedError,
    /type is 'strided'/,
  );
});

check("a config is complete, and its type makes the same mechanism again", (ra) => {
  const heads = ra.createSync("multi-head", { dim: 8, numHeads: 2, seed: 3 });
  equal([heads.config.numHeads, heads.config.maxSequenceLength, heads.constructor.name], [2, 100000, "MultiHeadAttention"]);
  const { type, ...config } = heads.getConfigSync();
  const again = ra.createSync(type, config);
  equal([...again.stateDictSync().query_weight], [...heads.stateDictSync().query_weight]);
  assert(heads instanceof ra.MultiHeadAttention, "expected an instance of ra.MultiHeadAttention");
  equal(ra.createSync("flash", { dim: 8, maxSequenceLength: 7 }).forwardSync(query, keys, values).shape, [5, 3]);
}); // biome-ignore format: compact

check("local-global attention is the window mask, and masks count inside of it", async (ra, api) => {
  const [query, keys, values] = [random([30, 8], 1), random([30, 8], 2), random([30, 3], 3)];
  const inside = (i, j, causal) => (Math.abs(i - j) <= 4 || j < 2 || i < 2) && (!causal || j <= i);
  const pattern = (causal, mask) => ({
    data: Array.from({ length: 900 }, (_, at) => {
      const [i, j] = [Math.floor(at / 30), at % 30];
      return inside(i, j, causal) && (!mask || mask.data[at]);
    }),
    shape: [30, 30],
  });
  const local = ra.createSync("local_global", { dim: 8, window: 4, globalTokens: 2 });
  const expected = (causal, mask) => attention(query, keys, values, { mask: pattern(causal, mask) });
  close(local.forwardSync(query, keys, values), expected(false).output);
  close(local.forwardSync(query, keys, values, { causal: true }), expected(true).output);
  const weights = local.attentionWeightsSync(query, keys);
  close(weights, { data: expected(false).weights.data, shape: [30, 30] });
  const mask = { data: Array.from({ length: 900 }, (_, at) => at % 3 > 0), shape: [30, 30] };
  close(local.forwardSync(query, keys, values, { mask }), expected(false, mask).output);
  const bank = ra.memorySync(keys, values);
  close(local.forwardSync(query, bank), expected(false).output);
  bank.free();
  const band = { type: "window", window: 1 };
  await throws(
    () => local.forward(query, keys, values, { mask: band }),
    api.UnsupportedError,
    /beside the window.*pyodide/,
  );
  await throws(() => local.forward(query, keys, values, { position: 3 }), api.UnsupportedError, /pyodide/);
  local.free();
});
