/** What the runtime of the kernels must do of hyperbolic and linear attention beside what all mechanisms must. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { dot, first, found, keys, query, row, stacked, values } from "./wasm_inputs.mjs";

export const ballChecks = [];
const check = (what, body) => ballChecks.push([what, body]);

check("the functions of the ball are their formulas", async (ra, api) => {
  const c = 1.5;
  const ball = ra.createSync("hyperbolic", { dim: 4, curvature: -c });
  const [x, y] = [row(keys, 0), row(keys, 1)];
  const gap = x.map((each, i) => each - y[i]);
  const spread = (1 - c * dot(x, x)) * (1 - c * dot(y, y));
  const distance = Math.acosh(1 + (2 * c * dot(gap, gap)) / spread) / Math.sqrt(c);
  const told = ball.poincareDistanceSync(x, y);
  assert(Math.abs(told - distance) < 1e-6, `the distance is ${told}; expected ${distance}`);
  assert((await ball.poincareDistance(x, y)) === told, "expected the same by a promise");
  const [xy, xx, yy] = [dot(x, y), dot(x, x), dot(y, y)];
  const whole = 1 + 2 * c * xy + c * c * xx * yy;
  const sum = x.map((each, i) => ((1 + 2 * c * xy + c * yy) * each + (1 - c * xx) * y[i]) / whole);
  close(ball.mobiusAddSync(x, y), { data: sum, shape: [4] });
  const all = ball.poincareDistanceSync(keys, x);
  equal(all.shape, [7], "distances to one point");
  assert(all[0] === 0 && Math.abs(all[1] - distance) < 1e-6, `the distances are ${all}`);
  close(ball.fromPoincareSync(ball.toPoincareSync(keys)), keys);
  const far = ball.toPoincareSync([30, 0, 0, -40]);
  const radius = 1 / Math.sqrt(c);
  assert(Math.abs(Math.hypot(...far) - radius) < 1e-5 && Math.hypot(...far) < radius, `the point is ${far}`);
  close(ball.projectToBallSync([3, 0, 0, 4], 0.5), { data: [0.3 * radius, 0, 0, 0.4 * radius], shape: [4] });
  close(ball.projectToBallSync(keys), keys, 0);
  await throws(() => ball.poincareDistance(x, [1, 2]), api.DimensionMismatchError, /^y is \(2,\); expected \(\.\.\., dim\) with dim = 4/);
  await throws(() => ball.toPoincare([1, Number.NaN, 0, 0]), api.NumericalInstabilityError, /^x holds nan at index \(1,\)/);
  await throws(() => ball.toPoincare(3), api.DimensionMismatchError, /^x is a single number/);
  await throws(() => ball.projectToBall(x, 2), api.InvalidConfigError, /^eps is 2; expected a finite number above 0 and below 1/);
  const sharp = ball.computeWithTemperatureSync(query, keys, values, 0.25);
  const same = ra.createSync("hyperbolic", { dim: 4, curvature: -c, temperature: 0.25 });
  close(sharp, found(same.forwardSync(query, keys, values)), 0);
  await throws(() => ball.computeWithTemperature(query, keys, values, 0), api.InvalidConfigError, /^temperature is 0/);
  ball.free();
  same.free();
}); // biome-ignore format: a line a refusal

check("a curvature that is learned counts as it is now, in a memory too", async (ra, { InvalidConfigError }) => {
  const learned = ra.createSync("hyperbolic", { dim: 4, curvature: -0.5, adaptiveCurvature: true });
  const fixed = [-0.5, -2].map((curvature) => ra.createSync("hyperbolic", { dim: 4, curvature }));
  const bank = ra.memorySync(keys, values);
  const state = learned.stateDictSync();
  close(state.log_curvature, { data: [-Math.LN2], shape: [1] }, 1e-7);
  for (const each of fixed) {
    learned.loadStateDictSync({ log_curvature: [Math.log(-each.curvature)] });
    assert(Math.abs(learned.curvature - each.curvature) < 1e-6, `the curvature is ${learned.curvature}`);
    const output = each.forwardSync(query, keys, values);
    close(learned.forwardSync(query, keys, values), found(output), 1e-6);
    close(await learned.forward(query, bank), found(output), 1e-6, "with a memory");
    assert(Math.abs(learned.poincareDistanceSync(row(keys, 0), row(keys, 1)) - each.poincareDistanceSync(row(keys, 0), row(keys, 1))) < 1e-6, "the distance is another");
  }
  await throws(() => fixed[0].loadStateDict(state), InvalidConfigError, /has unknown log_curvature/);
  for (const each of [bank, learned, ...fixed]) each.free();
}); // biome-ignore format: a line a claim

check("midpoints near the boundary keep their digits, in a batch and with a memory", (ra) => {
  // Two points at 0.9999 of the radius, mirror images: by symmetry the midpoint is on the axis between them, and of
  // rows (a, b) and (a, -b) it is A / (B + sqrt(B^2 - A^2)) with A = 2 l a, B = 2 (l - 1), weights halves.
  const [a, b] = [Math.fround(0.9998), Math.fround(0.004)];
  const lambda = 2 / (1 - a * a - b * b);
  const [sum, rest] = [lambda * a, lambda - 1];
  const middle = sum / (rest + Math.sqrt(rest * rest - sum * sum));
  const ball = ra.createSync("hyperbolic", { dim: 2 });
  const pair = { data: Float32Array.of(a, b, a, -b), shape: [2, 2] };
  const origin = { data: new Float32Array(12), shape: [6, 2] }; // as far from both
  const expected = { data: Float32Array.from({ length: 12 }, (_, i) => (i % 2 ? 0 : middle)), shape: [6, 2] };
  close(ball.forwardSync(origin, pair, pair), expected, 1e-6);
  const batch = ball.forwardSync(stacked(origin, origin), stacked(pair, pair), pair);
  close(batch, { data: [...expected.data, ...expected.data], shape: [2, 6, 2] }, 1e-6);
  const bank = ra.memorySync(pair);
  close(ball.forwardSync(origin, bank), expected, 1e-6);
  close(ball.forwardSync(first(origin, 1), bank), first(expected, 1), 1e-6);
  bank.free();
  ball.free();
});

check("many random features come near to softmax attention", (ra) => {
  const favor = ra.createSync("linear", { dim: 4, numFeatures: 4096, seed: 5 });
  const exact = ra.createSync("flash", { dim: 4 });
  const [a, b] = [favor, exact].map((each) => each.forwardSync(query, keys, values));
  const error = Math.hypot(...a.map((x, i) => x - b[i])) / Math.hypot(...b);
  assert(error < 0.01, `the relative error is ${error}; expected below 0.01`);
  favor.free();
  exact.free();
});

check("other features than the drawn ones count from the next call on", (ra) => {
  const favor = ra.createSync("linear", { dim: 4, numFeatures: 6 });
  favor.forwardSync(query, keys, values);
  favor.loadStateDictSync({ features: { data: new Float32Array(24), shape: [6, 4] } });
  const mean = favor.forwardSync(query, keys, values); // features of zeros weigh keys by their length alone
  const weights = Array.from({ length: 7 }, (_, j) => Math.exp((-0.5 * dot(row(keys, j), row(keys, j))) / 2));
  const total = weights.reduce((x, y) => x + y, 0);
  const expected = [0, 1, 2].map(
    (c) => weights.reduce((sum, w, j) => sum + w * row(values, j)[c], 0) / total,
  );
  close(mean.slice(0, 3), { data: expected });
  favor.free();
});
