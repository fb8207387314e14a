/** What the runtime of the kernels must do of every mechanism beyond the first ones: more of wasm_checks.mjs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { ballChecks } from "./wasm_ball_checks.mjs";
import { dualChecks } from "./wasm_dual_checks.mjs";
import { EDGED, edgeChecks } from "./wasm_edge_checks.mjs";
import {
  dot,
  edgeIndex,
  features,
  first,
  found,
  keys,
  values as narrow,
  nodes,
  query,
  row,
  scaled,
  stacked,
} from "./wasm_inputs.mjs";
import { levelChecks } from "./wasm_level_checks.mjs";
import { positionChecks } from "./wasm_position_checks.mjs";
import { random } from "./wasm_reference.mjs";

export const mechanismChecks = [
  ...ballChecks,
  ...edgeChecks,
  ...positionChecks,
  ...dualChecks,
  ...levelChecks,
];
const check = (what, body) => mechanismChecks.push([what, body]);

const wide = scaled(random([7, 4], 3), 0.3);

/** Every kind over queries and keys, by a config, and values where theirs have a width of their own. */
const KEYED = [
  ["hyperbolic", { dim: 4, curvature: -1.5 }],
  ["hyperbolic", { dim: 4, curvature: -0.5, model: "lorentz", aggregation: "tangent" }],
  ["linear", { dim: 4, numFeatures: 10, seed: 3 }],
  ["linear", { dim: 4, kernel: "elu", normalize: true }],
  ["linear", { dim: 4, kernel: "relu" }],
  ["graph_rope", { dim: 4, normalize: true }],
  ["graph_rope", { dim: 4, numHeads: 2 }, wide],
  ["dual_space", { dim: 4, numHeads: 2 }, wide],
];
/** Those whose output for a query depends on the queries beside it, too. */
const TIMED = [
  ["temporal", { dim: 4 }],
  ["temporal", { dim: 4, encoding: "time2vec" }],
];

for (const [name, config, values = narrow] of KEYED) {
  const width = values.shape[1];
  const what = `${name} ${Object.values(config).slice(1).join(" ")}`;

  check(`${what}: promises, batches, vectors, leading dimensions and a memory give the same`, async (ra) => {
    const attention = ra.createSync(name, config);
    const output = attention.forwardSync(query, keys, values);
    close(await attention.forward(query, keys, values), found(output), 0);
    const vector = attention.forwardSync(row(query, 0), keys, values);
    close(vector, { data: output.slice(0, width), shape: [width] });
    const [one, two] = await attention.forwardBatch([[query, keys, values], { query, keys, values }]);
    close(one, found(output), 0);
    close(two, found(output), 0);
    const [q, k] = [stacked(query, scaled(query, -1)), stacked(keys, keys)];
    const both = attention.forwardSync(q, k, values); // the values are those of both items
    close(both.slice(0, 5 * width), { data: output }, 1e-6, "the first of two");
    equal(both.shape, [2, 5, width], "the shape");
    const bank = ra.memorySync(first(keys, 4), first(values, 4));
    attention.forwardSync(query, bank);
    bank.appendSync(
      { data: keys.data.slice(16), shape: [3, 4] },
      { data: values.data.slice(4 * width), shape: [3, width] },
    );
    close(attention.forwardSync(query, bank), found(output), 1e-6, "with a memory");
    const weights = attention.attentionWeightsSync(query, keys);
    close(attention.attentionWeightsSync(query, bank), found(weights), 1e-6, "weights with a memory");
    let i = 0;
    for await (const streamed of attention.forwardStream(query, keys, values))
      close(streamed, { data: output.slice(width * i, width * ++i), shape: [width] }, 1e-6, "a stream");
    bank.free();
    attention.free();
  });

  check(`${what}: keys that are not seen count for nothing, whatever they hold`, (ra) => {
    const attention = ra.createSync(name, config);
    const output = attention.forwardSync(query, first(keys, 4), first(values, 4));
    const mask = { data: Uint8Array.of(1, 1, 1, 1, 0, 0, 0), shape: [1, 7] };
    close(attention.forwardSync(query, keys, values, { mask }), found(output), 1e-6, "masked");
    const dirty = [keys, values].map(({ data, shape }) => ({
      data: data.map((x, i) => (i < 4 * shape[1] ? x : Number.NaN)),
      shape,
    }));
    close(attention.forwardSync(query, ...dirty, { keyLengths: 4 }), found(output), 1e-6, "behind a length");
    const causal = attention.forwardSync(query, keys, values, { causal: true });
    for (let i = 0; i < 5; i++) {
      const seen = attention.forwardSync(row(query, i), first(keys, i + 3), first(values, i + 3));
      close(causal.slice(width * i, width * i + width), { data: seen }, 2e-6, `row ${i} of a causal call`);
    }
    const weights = attention.attentionWeightsSync(query, keys, { mask });
    for (let i = 0; i < 5; i++) {
      const total = weights.slice(7 * i, 7 * i + 7).reduce((a, b) => a + b, 0);
      assert(Math.abs(total - 1) < 1e-5, `the sum of row ${i} is ${total}`);
      equal([...weights.slice(7 * i + 4, 7 * i + 7)], [0, 0, 0], "weights of what is not seen");
    }
    attention.free();
  });

  check(`${what}: NaN and wrong shapes are refused by name`, async (ra, api) => {
    const attention = ra.createSync(name, config);
    const nan = { data: keys.data.map((x, i) => (i === 9 ? Number.NaN : x)), shape: keys.shape };
    const { NumericalInstabilityError, DimensionMismatchError, UnsupportedError } = api;
    for (const q of [query, first(query, 1)]) {
      await throws(() => attention.forward(q, nan, values), NumericalInstabilityError, /^keys holds nan at index \(2, 1\)/);
      const inf = { data: values.data.map((x, i) => (i === 1 ? Infinity : x)), shape: values.shape };
      await throws(() => attention.forward(q, keys, inf), NumericalInstabilityError, /^values holds inf at index \(0, 1\)/);
    }
    await throws(() => attention.attentionWeights(query, nan), NumericalInstabilityError, /^keys holds nan/);
    await throws(() => attention.forward(query, random([7, 5], 1), values), DimensionMismatchError, /^keys is \(7, 5\)/);
    await throws(() => attention.forward(query, keys), UnsupportedError, /^values is missing/);
    await throws(() => attention.forward(query, keys, values, { maks: 1 }), UnsupportedError, /unknown option 'maks'/);
    await throws(() => attention.forward(query, keys, values, { training: true }), UnsupportedError, /pyodide/);
    await throws(() => attention.backward(values), UnsupportedError, /pyodide/);
    equal(attention.forwardSync(query, keys, values).shape, [5, width], "the shape after an error");
    attention.free();
    await throws(() => attention.forward(query, keys, values), api.RuntimeLostError, /was disposed/);
  }); // biome-ignore format: a line a refusal
}

check("random features and parameters come from the seed as NumPy draws them", (ra) => {
  // what Python's classes of these settings have, in float32
  const drawn = {
    linear: [
      { dim: 3, numFeatures: 8, seed: 11 },
      { features: [0.049952153, -0.7455067, 0.8323122, 1.6704673, -0.1892218, -0.26974198, 0.40248322, 1.5756769, 1.3871871] },
    ],
    edge_featured: [
      { dim: 3, edgeDim: 2, numHeads: 2, headDim: 2, seed: 11 },
      {
        source_weight: [-0.68775433, -0.0013371389, 0.18793844],
        target_weight: [0.30152655, -0.41604722, -0.6703529],
        edge_weight: [-0.2934503, 0.18319061, -0.52939755],
        attention: [-1.0211506, 0.9698615, -0.17158996],
        bias: [0, 0, 0],
      },
    ],
    graph: [
      { dim: 2, edgeDim: 1, numHeads: 2, seed: 11 },
      { query_weight: [-0.90981364, -0.0017688685], output_weight: [0.39888215, -0.55037874], edge_weight: [0.4818525, 0.035022471] },
    ],
    temporal: [
      { dim: 3, encoding: "time2vec", timeDim: 4, seed: 11 },
      {
        time_frequency: [0.034192767, 1.3597475, 1.2247211],
        time_phase: [-0.29796952, -0.52738422, 0.56972635],
        time_query_weight: [0.83014297, 0.22568455, -0.2425776],
        time_keys_weight: [0.89047903, -0.54714215, 0.099489301],
      },
    ],
    dual_space: [
      { dim: 4, numHeads: 2, seed: 11, adaptiveCurvature: true, curvature: -0.5, fusionWeight: 0.25 },
      {
        query_euclidean_weight: [-0.7428596, -0.0014442751, 0.20299672],
        query_hyperbolic_weight: [0.89665693, 0.24376719, -0.26201376],
        keys_euclidean_weight: [0.34072116, 0.024764627, 0.63347286],
        keys_hyperbolic_weight: [-0.2934503, 0.18319061, -0.52939755],
        values_weight: [-0.72206253, 0.68579566, -0.12133242],
        output_weight: [-0.58920264, 0.85985214, -0.069773972],
        space_weights: [0.75, 0.25],
        log_curvature: [-Math.LN2],
      },
    ],
    hierarchical: [
      { dim: 3, seed: 11 },
      {
        item_weight: [-0.7428596, -0.0014442751, 0.20299672],
        item_bias: [0, 0, 0],
        item_context: [0.2985526, -0.32089999, 0.027899742],
        summary_weight: [0.32568592, -0.44938236, -0.72406387],
        summary_context: [-0.72380102, 0.13161197, -0.040111136],
      },
    ],
  };
  for (const [name, [config, expected]] of Object.entries(drawn)) {
    const attention = ra.createSync(name, config);
    const state = attention.stateDictSync();
    for (const [key, data] of Object.entries(expected))
      close(state[key].slice(0, data.length), { data }, 1e-7, `${name}, ${key}`);
    attention.loadStateDictSync(state);
    equal(attention.numParametersSync(), Object.values(state).reduce((sum, { length }) => sum + length, 0));
    attention.free();
  }
  const odd = ra.createSync("linear", { dim: 5, numFeatures: 7, seed: 1 });
  const rows = found(odd.stateDictSync().features);
  odd.free();
  equal(rows.shape, [7, 5], "the shape of an odd number of features");
  for (let i = 0; i < 3; i++) {
    assert(row(rows, i).every((x, c) => x === -row(rows, 4 + i)[c]), `row ${4 + i} is not that of ${i} turned round`);
    assert(Math.abs(dot(row(rows, i), row(rows, i + 1))) < 1e-5, `rows ${i} and ${i + 1} are not orthogonal`);
  }
}); // biome-ignore format: a table

check(
  "large calls by promises give what they give at once, and the arguments may change meanwhile",
  async (ra) => {
    const [q, k, v] = [random([300, 32], 1), random([500, 32], 2), random([500, 16], 3)].map((x) =>
      scaled(x, 0.05),
    );
    const far = { data: Float32Array.from({ length: 1000 }, (_, i) => (i % 2 ? (i / 1000 - 0.5) * 1e-3 : 0.9998)), shape: [500, 2] }; // biome-ignore format: near the boundary
    const edges = { data: Int32Array.from({ length: 8000 }, (_, i) => (i * 7919) % 300), shape: [2, 4000] };
    const attr = random([4000, 8], 6);
    const calls = [
      ["hyperbolic", { dim: 32 }, [q, k, v]],
      ["hyperbolic", { dim: 32, model: "lorentz", aggregation: "tangent" }, [q, k, v, { causal: true }]],
      ["hyperbolic", { dim: 32 }, [q, k, far]],
      ["linear", { dim: 32, numFeatures: 64 }, [q, k, v]],
      ["linear", { dim: 32, kernel: "elu" }, [q, k, v, { causal: true }]],
      ["edge_featured", { dim: 32, numHeads: 4, edgeDim: 8 }, [q, edges, attr]],
      ["graph", { dim: 32, numHeads: 4, edgeDim: 8 }, [q, edges, attr]],
    ];
    for (const [name, config, args] of calls) {
      const attention = ra.createSync(name, config);
      const expected = attention.forwardSync(...args);
      const own = args.map((x) => (x.data ? { data: x.data.slice(), shape: x.shape } : x));
      const promise = attention.forward(...own);
      for (const { data } of own) data?.fill(0);
      close(await promise, found(expected), 1e-6, name);
      const weighed =
        name === "edge_featured" || name === "graph" ? args : [...args.slice(0, 2), ...args.slice(3)];
      const weights = attention.attentionWeightsSync(...weighed);
      close(await attention.attentionWeights(...weighed), found(weights), 1e-6, `weights of ${name}`);
      attention.free();
    }
  },
);

check("what these kernels do not cover is refused by name", async (ra, { UnsupportedError, InvalidConfigError }) => {
  const refused = [
    ["hyperbolic", { dim: 4, aggregation: "frechet" }, UnsupportedError, /^aggregation 'frechet' needs load\(\{ runtime: 'pyodide' \}\)/],
    ["hyperbolic", { dim: 4, curvature: 0 }, InvalidConfigError, /^curvature is 0; expected a number below 0/],
    ["hyperbolic", { dim: 4, model: "klein" }, InvalidConfigError, /^model is 'klein'/],
    ["linear", { dim: 4, kernel: "rbf" }, InvalidConfigError, /^kernel is 'rbf'/],
    ["linear", { dim: 4, scale: 0 }, InvalidConfigError, /^scale is 0; expected above 0/],
    ["edge_featured", { dim: 4, numHeads: 3 }, InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 3, or head_dim given/],
    ["edge_featured", { dim: 4, variant: "gat", shareWeights: true }, InvalidConfigError, /^share_weights is true/],
    ["graph", { dim: 4, numHeads: 3 }, InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 3/],
  ];
  for (const [name, config, Expected, message] of refused)
    await throws(() => ra.create(name, config), Expected, message);
  const linear = ra.createSync("linear", { dim: 4 });
  const perQuery = { mask: { data: new Uint8Array(35).fill(1), shape: [5, 7] } };
  await throws(() => linear.forward(query, keys, narrow, perQuery), UnsupportedError, /^mask is \(5, 7\), one row for each query/);
  await throws(() => linear.forward(query, keys, narrow, { mask: { type: "window", window: 2 } }), UnsupportedError, /^mask is a window/);
  await throws(() => linear.forward(query, keys, narrow, { bias: [1] }), UnsupportedError, /^unknown option 'bias'/);
  linear.free();
}); // biome-ignore format: a table

check("2 000 of these made and disposed leave the heap where it was", (ra) => {
  const all = [
    ...[...KEYED, ...TIMED].map(([name, config, values = narrow]) => [name, config, [query, keys, values]]),
    ["hierarchical", { dim: 4 }, [keys, { data: Int32Array.of(0, 2, 2, 0, 1, 1, 0), shape: [7] }]],
    ...EDGED.map((kind) => [...kind, [nodes, edgeIndex, features]]),
  ];
  const round = (i) => {
    const [name, config, args] = all[i % all.length];
    const attention = ra.createSync(name, { ...config, seed: i });
    if (i % (5 * all.length) < all.length) attention.forwardSync(...args);
    attention.free();
  };
  for (let i = 0; i < 80; i++) round(i);
  const [{ used, bytes }, handles] = [ra.heap, ra.handles];
  for (let i = 0; i < 2000; i++) round(i);
  equal(ra.heap, { bytes, used }, "the heap");
  equal(ra.handles, handles, "the number of objects");
});
