/** What the runtime of the kernels must do of attention in two spaces, against its formula in double precision. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { dot, found, keys, query, row, stacked } from "./wasm_inputs.mjs";
import { product, project, random } from "./wasm_reference.mjs";

export const dualChecks = [];
const check = (what, body) => dualChecks.push([what, body]);

const values = random([7, 4], 3);
const CONFIGS = [
  { dim: 4, numHeads: 2, curvature: -1.5, temperature: 0.7, seed: 2 },
  { dim: 4, numHeads: 1, euclideanDim: 3, hyperbolicDim: 5, fusionWeight: 0.8 },
  { dim: 4, numHeads: 2, curvature: -0.4, adaptiveCurvature: true, fusionWeight: 1 },
];

/** Rows of one head through one map. */
function headOf(x, state, name, heads, head) {
  const weight = state[name];
  const width = weight.shape[1] / heads;
  const all = project(x, { data: weight, shape: weight.shape });
  return Array.from({ length: x.shape[0] }, (_, i) => [
    ...row(all, i).slice(head * width, (head + 1) * width),
  ]);
}

/** Both parts of the scores, each [head][query][key]. */
function parts(attention, config, q, k) {
  const state = attention.stateDictSync();
  const { numHeads: heads, curvature = -1 } = config;
  const [ofDots, ofDistances] = state.space_weights;
  const c = config.adaptiveCurvature ? Math.exp(state.log_curvature[0]) : -curvature;
  const inBall = (v) => {
    const r = Math.sqrt(c * dot(v, v));
    return v.map((x) => (r > 0 ? (Math.tanh(r) / r) * x : 0));
  };
  const distance = (x, y) => {
    const gap = x.map((each, i) => each - y[i]);
    const spread = (1 - c * dot(x, x)) * (1 - c * dot(y, y));
    return Math.acosh(1 + (2 * c * dot(gap, gap)) / spread) / Math.sqrt(c);
  };
  const both = { dots: [], distances: [] };
  for (let head = 0; head < heads; head++) {
    const [qe, ke] = [headOf(q, state, "query_euclidean_weight", heads, head), headOf(k, state, "keys_euclidean_weight", heads, head)];
    const [qh, kh] = [headOf(q, state, "query_hyperbolic_weight", heads, head), headOf(k, state, "keys_hyperbolic_weight", heads, head)];
    both.dots.push(qe.map((a) => ke.map((b) => (ofDots * dot(a, b)) / Math.sqrt(a.length))));
    both.distances.push(qh.map((a) => kh.map((b) => -ofDistances * distance(inBall(a), inBall(b)))));
  }
  return both;
} // biome-ignore format: a line a map

function expected(attention, config, q, k, v, seen = () => true) {
  const { dots, distances } = parts(attention, config, q, k);
  const state = attention.stateDictSync();
  const { numHeads: heads, temperature = 1 } = config;
  const [nQuery, nKey] = [q.shape[0], k.shape[0]];
  const weights = [];
  const joined = Array.from({ length: nQuery }, () => []);
  for (let head = 0; head < heads; head++) {
    const rows = headOf(v, state, "values_weight", heads, head);
    for (let i = 0; i < nQuery; i++) {
      const powers = Array.from({ length: nKey }, (_, j) =>
        seen(i, j) ? Math.exp((dots[head][i][j] + distances[head][i][j]) / temperature) : 0,
      );
      const sum = powers.reduce((a, b) => a + b, 0);
      weights.push(...powers.map((x) => x / sum));
      const mean = rows[0].map((_, c) => powers.reduce((all, x, j) => all + (x / sum) * rows[j][c], 0));
      joined[i].push(...mean);
    }
  }
  const attended = { data: joined.flat(), shape: [nQuery, config.dim] };
  const out = { data: state.output_weight, shape: state.output_weight.shape };
  return {
    output: project(attended, out),
    weights: { data: weights, shape: [heads, nQuery, nKey] },
    dots: { data: dots.flat(2), shape: [heads, nQuery, nKey] },
    distances: { data: distances.flat(2), shape: [heads, nQuery, nKey] },
  };
}

for (const config of CONFIGS) {
  check(`two spaces, ${JSON.stringify(config)}: outputs, weights and both parts are the formula's`, async (ra) => {
    const dual = ra.createSync("dual_space", config);
    const wanted = expected(dual, config, query, keys, values);
    close(dual.forwardSync(query, keys, values), wanted.output, 5e-6);
    close(dual.attentionWeightsSync(query, keys), wanted.weights, 5e-6);
    const [dots, distances] = dual.getSpaceContributionsSync(query, keys);
    close(dots, wanted.dots);
    close(distances, wanted.distances);
    const causal = expected(dual, config, query, keys, values, (i, j) => j <= i + 2);
    close(dual.forwardSync(query, keys, values, { causal: true }), causal.output, 5e-6);
    const [, one] = dual.getSpaceContributionsSync(row(query, 1), keys);
    const { numHeads: heads } = config;
    const own = Array.from({ length: heads * 7 }, (_, i) => wanted.distances.data[(Math.floor(i / 7) * 5 + 1) * 7 + (i % 7)]);
    close(one, { data: own, shape: [heads, 7] }, 2e-6, "of a vector");
    const [both] = await dual.getSpaceContributions(stacked(query, query), keys);
    equal(both.shape, [2, heads, 5, 7], "the shape of a batch");
    close(both.slice(heads * 35), { data: wanted.dots.data }, 2e-6, "the second of two");
    equal(dual.curvature < 0, true, "whether the curvature is below 0");
    dual.free();
  }); // biome-ignore format: a line a formula
}

check("points far out keep their distances, which a curvature that was loaded changes", (ra) => {
  const config = { dim: 2, numHeads: 1, euclideanDim: 1, hyperbolicDim: 2, adaptiveCurvature: true };
  const dual = ra.createSync("dual_space", config);
  const eye = { data: Float32Array.of(1, 0, 0, 1), shape: [2, 2] };
  const state = { ...dual.stateDictSync(), query_hyperbolic_weight: eye, keys_hyperbolic_weight: eye };
  dual.loadStateDictSync({ ...state, log_curvature: { data: Float32Array.of(Math.log(2)), shape: [1] } });
  assert(Math.abs(dual.curvature + 2) < 1e-6, `the curvature is ${dual.curvature}; expected -2`);
  // along a ray exp_0 of r lies at a distance of 2 r from the origin
  const [, distances] = dual.getSpaceContributionsSync([[0, 0], [0, 3]], [[0, 0], [0, 3], [0, -2], [0, 2.75]]);
  const half = [0, 6, 4, 5.5, 6, 0, 10, 0.5].map((x) => -x / 2);
  close(distances, { data: half, shape: [1, 2, 4] }, 1e-6);
  dual.free();
}); // biome-ignore format: points

check("large calls in two spaces by promises give what they give at once", async (ra) => {
  const [q, k, v] = [random([300, 32], 1), random([500, 32], 2), random([500, 32], 3)];
  const dual = ra.createSync("dual_space", { dim: 32, numHeads: 4 });
  const mask = { data: Array.from({ length: 300 * 500 }, (_, i) => i % 500 < 260 || i % 7 === 0), shape: [300, 500] };
  for (const options of [{}, { causal: true }, { mask }, { keyLengths: 200 }]) {
    const output = dual.forwardSync(q, k, v, options);
    close(await dual.forward(q, k, v, options), found(output), 1e-6);
  }
  const weights = dual.attentionWeightsSync(q, k);
  close(await dual.attentionWeights(q, k), found(weights), 1e-6, "weights");
  equal(weights.length, product([4, 300, 500]), "their number");
  dual.free();
}); // biome-ignore format: a mask

check("settings and inputs of two spaces that do not fit are refused by name", async (ra, api) => {
  const { InvalidConfigError, UnsupportedError, DimensionMismatchError } = api;
  const dual = ra.createSync("dual_space", { dim: 4, numHeads: 2 });
  const refused = [
    [() => ra.create("dual_space", { dim: 4 }), InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 8/],
    [() => ra.create("dual_space", { dim: 4, numHeads: 2, hyperbolicDim: 3 }), InvalidConfigError, /^hyperbolic_dim is 3; expected a multiple of num_heads = 2/],
    [() => ra.create("dual_space", { dim: 4, numHeads: 2, curvature: 0 }), InvalidConfigError, /^curvature is 0; expected a number below 0/],
    [() => ra.create("dual_space", { dim: 4, numHeads: 2, fusionWeight: 2 }), InvalidConfigError, /^fusion_weight is 2; expected at most 1/],
    [() => dual.forward(query, keys, random([7, 3], 1)), DimensionMismatchError, /^values is \(7, 3\); expected \(n_key, vdim\) with vdim = 4/],
    [() => dual.getSpaceContributions(query, keys, { mask: [[true]] }), UnsupportedError, /^a mask, bias or key_lengths came/],
    [() => dual.backward(values), UnsupportedError, /pyodide/],
  ];
  for (const [body, Expected, message] of refused) await throws(body, Expected, message);
  dual.free();
}); // biome-ignore format: a table
