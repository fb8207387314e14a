/** The classes that only Pyodide has, which answers by promises: [what, check] pairs. Values by hand, from formulas. */
import { assert, close, throws } from "./wasm_assert.mjs";
import { random } from "./wasm_reference.mjs";

export const pyodideChecks = [];
const check = (what, body) => pyodideChecks.push([what, body]);

const near = (x, wanted, tolerance, what) =>
  assert(Math.abs(x - wanted) <= tolerance, `${what} is ${x}; expected ${wanted}`);
const dot = (a, b) => Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0);
const f32 = (...x) => Float32Array.from(x);
const one = f32(0.1, 0.2, 0.3, -0.1);
const [key, value] = [f32(0.2, -0.1, 0.1, 0.1), f32(0.3, 0.1, -0.2, 0.4)];

check("hyperbolic attention, its maps, and either sign of a curvature", async (module) => {
  const { HyperbolicAttention, UnsupportedError, InvalidConfigError } = module;
  const hyperbolic = new HyperbolicAttention(4, 2);
  assert(hyperbolic.curvature === 2 && hyperbolic.dim === 4, `curvature is ${hyperbolic.curvature}`);
  const distance = (x, y, c) => {
    const difference = x.map((item, i) => item - y[i]);
    const spread = (1 - c * dot(x, x)) * (1 - c * dot(y, y));
    return Math.acosh(1 + (2 * c * dot(difference, difference)) / spread) / Math.sqrt(c);
  };
  near(await hyperbolic.poincareDistanceAsync(one, key), distance(one, key, 2), 2e-6, "the distance");
  const unit = new HyperbolicAttention(-1); // learns its channels from the call
  near(await unit.poincareDistanceAsync(one, key), distance(one, key, 1), 2e-6, "the distance");
  const point = await unit.toPoincareAsync(f32(3, 0, 0, 4));
  const norm = Math.tanh(5); // exp_0
  close(point, { data: [0.6 * norm, 0, 0, 0.8 * norm], shape: [4] });
  close(await unit.fromPoincareAsync(await unit.toPoincareAsync(one)), { data: one, shape: [4] }, 1e-5);
  close(await unit.forwardAsync(one, key, value), { data: value, shape: [4] }); // of one key, its value
  const scores = [key, value].map((x) => Math.exp(-distance(one, x, 1)));
  const { weights } = await unit.computeAsync([Array.from(one)], [key, value], [key, value]);
  close(weights, { data: scores.map((x) => x / (scores[0] + scores[1])), shape: [1, 2] });
  await throws(() => hyperbolic.poincareDistance(one, key), UnsupportedError, /poincareDistanceAsync/);
  await throws(
    () => new HyperbolicAttention(4, 0).forwardAsync(one, key, value),
    InvalidConfigError,
    /curvature/,
  );
  await Promise.all([hyperbolic.dispose(), unit.dispose()]);
});

check("linear, local-global, dual-space and mixture attention by their constructors", async (module) => {
  const { LinearAttention, LocalGlobalAttention, DualSpaceAttention, MoEAttention } = module;
  const linear = new LinearAttention(4, 16);
  assert(linear.numFeatures === 16, `numFeatures is ${linear.numFeatures}`);
  close(await linear.forwardAsync(one, key, value), { data: value, shape: [4] });
  const local = new LocalGlobalAttention(4, 1, 0);
  assert(local.localWindow === 1 && local.globalTokens === 0, "localWindow and globalTokens");
  const x = random([5, 4], 1);
  const { weights } = await local.computeAsync(x, x, x);
  weights.forEach((weight, i) => {
    const isNear = Math.abs(Math.floor(i / 5) - (i % 5)) <= 1;
    assert(weight > 0 === isNear, `weight ${i} is ${weight}`);
  });
  const dual = DualSpaceAttention.simple(4, 4, 2, -1);
  assert(dual.numHeads === 2 && dual.euclideanDim === 4, "numHeads and euclideanDim");
  const eight = random([3, 8], 2);
  const scores = await dual.getSpaceContributionsAsync(eight, eight);
  const { euclideanScores: flat, hyperbolicScores: curved } = scores;
  assert(flat.shape.join() === "2,3,3" && curved.every((part) => part <= 0), "expected distances below 0");
  const weighed = DualSpaceAttention.withWeights(8, 1, 0.5, 1.5);
  const told = [weighed.curvature, weighed.euclideanWeight, weighed.hyperbolicWeight, weighed.numHeads];
  assert(told.join() === "1,0.5,1.5,1", `it tells ${told}`);
  const shared = new DualSpaceAttention({ dim: 8, curvature: 1, fusionWeight: 0.75, temperature: 0.5 });
  close(await weighed.forwardAsync(eight, eight, eight), { data: await shared.forwardAsync(eight, eight, eight), shape: [3, 8] }, 0); // biome-ignore format: one line
  const fused = DualSpaceAttention.simpleFused(8, 2, 1, 0.25);
  await fused.forwardAsync(eight, eight, eight);
  assert(fused.euclideanDim === 4 && fused.hyperbolicDim === 4, `euclideanDim is ${fused.euclideanDim}`);
  near(fused.hyperbolicWeight, 0.25, 0, "its share");
  assert(fused.numHeads === 2 && DualSpaceAttention.simple(8, 1).curvature === 1, "numHeads and curvature");
  await throws(
    async () => DualSpaceAttention.withWeights(8, 1, -1, 1),
    module.InvalidConfigError,
    /^euclideanWeight is -1/,
  );
  const moe = MoEAttention.simple(4, 4, 2);
  assert(moe.numExperts === 4 && moe.topK === 2, "numExperts and topK");
  await moe.forwardAsync(one, key, value);
  near(
    (await moe.getExpertUsageAsync()).reduce((a, b) => a + b, 0),
    1,
    1e-6,
    "the sum of the usage",
  );
});

check("graphs, time and levels", async (module) => {
  const { EdgeFeaturedAttention, GraphRoPEAttention, GraphAttention } = module;
  const { TemporalAttention, HierarchicalAttention } = module;
  const rope = GraphRoPEAttention.simple(4, 32);
  assert(rope.maxPosition === 32 && GraphRoPEAttention.distanceToPosition(40, 32) === 32, "positions");
  const [k, v] = [random([3, 4], 3), random([3, 4], 4)];
  const turned = await rope.computeWithPositionsAsync(one, k, v, 0, [0, 1, 2]);
  const moved = await rope.computeWithPositionsAsync(one, k, v, 5, [5, 6, 7]);
  close(moved, { data: turned, shape: [4] }, 1e-5); // only differences of positions count
  const edges = EdgeFeaturedAttention.simple(4, 2, 1);
  assert(edges.nodeDim === 4 && edges.edgeDim === 2 && edges.numHeads === 1, "its sizes");
  const lonely = { nodeDim: 4, edgeDim: 2, numHeads: 1, addSelfLoops: false };
  const others = new EdgeFeaturedAttention(lonely);
  const alike = { data: new Float32Array(12).fill(0.5), shape: [3, 4] };
  const features = { data: f32(1, 0, 1, 0, 1, 0), shape: [3, 2] };
  const gathered = await others.computeWithEdgesAsync(one, alike, alike, features);
  const single = { data: alike.data.slice(0, 4), shape: [1, 4] };
  const same = await others.computeWithEdgesAsync(one, single, single, { data: f32(1, 0), shape: [1, 2] });
  close(gathered, { data: same, shape: [4] }, 1e-6); // of equal neighbours, however many
  const graph = new GraphAttention({ numHeads: 1, headDim: 4 });
  const drawn = await graph.computeAsync([[1, 0, 0, 0], [0, 1, 0, 0]], { edges: [[0, 1]], numNodes: 2 }); // biome-ignore format: nodes
  assert(drawn.values.shape.join() === "2,4", `values are (${drawn.values.shape})`);
  const every = { numHeads: 1, headDim: 4, dropout: 0.1, useBias: true }; // the config of all classes
  const time = new TemporalAttention(every);
  const seen = await time.computeAsync(random([4, 4], 5), [0, 1, 5, 9]);
  for (let i = 0; i < 4; i++) {
    const row = Array.from(seen.weights.slice(4 * i, 4 * i + 4));
    near(
      row.reduce((a, b) => a + b, 0),
      1,
      1e-5,
      "the sum of a row",
    );
    assert(
      row.slice(i + 1).every((weight) => weight === 0),
      `row ${i} looks ahead: ${row}`,
    );
  }
  const levels = new HierarchicalAttention(every);
  const items = [[Array.from(one)], [Array.from(key), Array.from(value)]];
  const { values, weights: ofLevels } = await levels.computeAsync(items, [1, 0]);
  assert(ofLevels.map(({ shape }) => shape.join()).join(" ") === "1 2", "expected the weights of each level");
  close(values, { data: one, shape: [4] }); // the other level counts for nothing
});
