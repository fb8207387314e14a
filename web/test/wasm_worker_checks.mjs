/** What the runtime of the kernels must do in a worker, in Node and in a browser alike: [what, check] pairs. */
import { assert, close, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";
import { transferChecks } from "./wasm_transfer_checks.mjs";

export const workerChecks = [...transferChecks];
const check = (what, body) => workerChecks.push([what, body]);

const query = random([5, 8], 1);
const keys = random([7, 8], 2);
const values = random([7, 3], 3);
const first = ({ data, shape: [n, width] }, count) => ({
  data: data.slice(0, (data.length / n) * count),
  shape: [count, width],
});
const repeated = ({ data, shape: [, width] }, count) => ({
  data: Array.from({ length: count }, () => [...data]).flat(),
  shape: [count, width],
});
const handles = async (ra) => (await ra.describe()).handles;

check("forward, weights and batches answer as in this thread", async (ra) => {
  const flash = await ra.create("flash", { dim: 8 });
  close(await flash.forward(query, keys, values), attention(query, keys, values).output);
  const causal = attention(query, keys, values, { causal: true });
  close(await flash.attentionWeights(query, keys, { causal: true }), {
    data: causal.weights.data,
    shape: [5, 7],
  });
  const mask = { data: Array.from({ length: 35 }, (_, i) => i % 2 === 0), shape: [5, 7] };
  const outputs = await flash.forwardBatch([[query, keys, values], { query, keys, values, causal: true }], {
    mask,
  });
  close(outputs[1], attention(query, keys, values, { causal: true, mask }).output);
  assert(outputs.length === 2, "expected two outputs");
  await flash.dispose();
});

check("balls, features and graphs answer as in this thread", async (ra) => {
  const ball = await ra.create("hyperbolic", { dim: 8, curvature: -0.1 });
  close(await ball.forward(query, first(keys, 1), first(values, 1)), repeated(first(values, 1), 5), 1e-5);
  const point = Float32Array.of(0.5, 0, 0, 0, 0, 0, 0, 0);
  const [reach, root] = [await ball.poincareDistance(point, new Float32Array(8)), Math.sqrt(0.1)];
  const wanted = (2 * Math.atanh(0.5 * root)) / root;
  assert(Math.abs(reach - wanted) < 1e-6, `the distance is ${reach}; expected ${wanted}`);
  const linear = new ra.LinearAttention({ dim: 8, numFeatures: 16 });
  close(await linear.forward(query, first(keys, 1), first(values, 1)), repeated(first(values, 1), 5), 1e-5);
  const graph = await ra.create("graph", { dim: 8, addSelfLoops: false });
  const edges = [[0, 1], [2, 1], [1, 0]]; // biome-ignore format: pairs
  const output = await graph.forward(query, edges);
  close(await graph.forward(query, { edges }), { data: output, shape: [5, 8] }, 0);
  const { weights, metadata } = await graph.call("compute", query, { edges, numNodes: 5 });
  assert(metadata.num_edges === 3, `the metadata is ${JSON.stringify(metadata)}`);
  close(weights.slice(2), { data: [1] }, 1e-6); // the only edge into its node
  await Promise.all([ball.dispose(), linear.dispose(), graph.dispose()]);
});

check("only the highest scores count there too", async (ra, api) => {
  for (const name of ["flash", "multi_head", "local_global"]) {
    const config = { dim: 8, topK: 3, ...(name === "multi_head" && { numHeads: 1, projections: false }) };
    const few = await ra.create(name, config);
    const wide = random([7, 8], 3);
    const { output, weights } = attention(query, keys, wide, { topK: 3 });
    close(await few.forward(query, keys, wide), output);
    const shape = name === "multi_head" ? [1, 5, 7] : [5, 7];
    close(await few.attentionWeights(query, keys), { data: weights.data, shape });
    const bank = await ra.memory(keys, wide);
    close(await few.forward(query, bank), output);
    await bank.dispose();
    await few.dispose();
  }
  await throws(
    () => ra.create("flash", { dim: 8, topK: 0 }),
    api.InvalidConfigError,
    /^top_k is 0; expected at least 1$/,
  );
});

check("mixtures of experts answer as in this thread", async (ra, api) => {
  const moe = await ra.create("moe", { dim: 8, numExperts: 4, topK: 2 });
  const inside = { data: Float32Array.of(0.1, -0.2, 0.3), shape: [1, 3] };
  close(await moe.forward(query, first(keys, 1), inside), repeated(inside, 5), 1e-5);
  const { experts, weights } = await moe.getRouting(query);
  assert(experts instanceof Int32Array, `experts are ${experts.constructor.name}; expected integers`);
  assert(
    experts.every((expert) => expert >= 0 && expert < 4),
    `the experts are ${experts}`,
  );
  close(weights.slice(0, 1), { data: [1 - weights[1]] }, 1e-6);
  const { output, aux_loss: even } = await moe.computeWithAuxLoss(query, keys, values);
  assert(output.length === 15 && even > 0, `${output.length} numbers, a loss of ${even}`);
  const usage = await moe.getExpertUsage();
  const sum = usage.reduce((a, b) => a + b, 0);
  assert(Math.abs(sum - 1) < 1e-6, `the shares sum to ${sum}`);
  await throws(
    () => ra.create("moe", { dim: 8, experts: "gin", topK: 1 }),
    api.UnsupportedError,
    /'gin', needs/,
  );
  await moe.dispose();
});

check("positions, times, two spaces and levels answer as in this thread", async (ra) => {
  const rope = await ra.create("graph_rope", { dim: 8 });
  const here = { queryPositions: [3, 3, 3, 3, 3], keyPositions: 3 }; // as far away as none
  close(await rope.forward(query, keys, values, here), attention(query, keys, values).output);
  close(await rope.applyRotary([[1, 0, 0, 0, 0, 0, 0, 0]], [Math.PI]), { data: [-1, 0, 0, 0, 0, 0, 0, 0], shape: [1, 8] });
  const temporal = new ra.TemporalAttention({ dim: 8, causal: false, theta: 1e9 }); // adds as much to every key
  const stamps = [1.7e12, 1.7e12 + 1, 1.7e12 + 2, 1.7e12 + 5, 1.7e12 + 5, 1.7e12 + 6, 1.7e12 + 9];
  close(await temporal.forward(query, keys, values, { keyTimes: stamps }), attention(query, keys, values).output, 1e-5);
  const causal = new ra.TemporalAttention({ dim: 8, theta: 1e9 });
  const seen = { data: Array.from({ length: 35 }, (_, i) => stamps[i % 7] <= stamps[2 + Math.floor(i / 7)]), shape: [5, 7] };
  const wanted = attention(query, keys, values, { mask: seen }).output;
  close(await causal.forward(query, keys, values, { keyTimes: stamps }), wanted, 1e-5); // numbers that float32 does not tell apart
  const dual = await ra.create("dual_space", { dim: 8, numHeads: 2 });
  const [flat, curved] = await dual.getSpaceContributions(query, keys);
  assert(flat.shape.join() === "2,5,7" && curved.every((part) => part < 0), "expected distances below 0");
  const levels = await ra.create("hierarchical", { dim: 8 });
  const { values: output, weights } = await levels.compute([query, keys], [0, 1]);
  close(await levels.forward(keys, [0, 0, 0, 0, 0, 0, 0]), { data: output, shape: [8] }, 1e-6);
  assert(weights.map(({ length }) => length).join() === "5,7", `weights are of ${weights.map(({ length }) => length)}`);
  await Promise.all([rope, temporal, causal, dual, levels].map((each) => each.dispose()));
}); // biome-ignore format: a line a claim

check("parameters go out and come back", async (ra) => {
  const [one, two] = [1, 2].map((seed) => new ra.MultiHeadAttention({ dim: 8, numHeads: 2, seed }));
  const output = await one.forward(query, keys, keys);
  const other = await two.forward(query, keys, keys);
  assert(
    output.some((x, i) => x !== other[i]),
    "two seeds gave the same output",
  );
  await two.loadStateDict(await one.stateDict());
  close(await two.forward(query, keys, keys), { data: output, shape: [5, 8] }, 0);
  assert(two.config.numHeads === 2, "expected the config to come back");
  await Promise.all([one.dispose(), two.dispose()]);
});

check("a memory stays in the worker, through appends and evictions", async (ra) => {
  const before = await handles(ra);
  const flash = new ra.FlashAttention({ dim: 8 });
  const bank = await ra.memory(keys, values);
  assert(
    bank.length === 7 && bank.dim === 8 && bank.dimValue === 3,
    "the memory has another size than its arrays",
  );
  close(await flash.forward(query, bank), attention(query, keys, values).output);
  const [more, worth] = [random([4, 8], 5), random([4, 3], 6)];
  const ids = await bank.append(more, worth);
  assert(ids.join() === "7,8,9,10", `the ids are ${ids}; expected 7 to 10`);
  assert((await bank.evict({ oldest: 7 })) === 7 && bank.length === 4, "expected four rows to be left");
  close(
    await flash.forward(query, bank, { causal: true }),
    attention(query, more, worth, { causal: true }).output,
  );
  assert((await bank.evict([8, 10])) === 2 && bank.length === 2, "expected two rows to be left");
  const [batched] = await flash.forwardBatch([[query, bank]]);
  close(batched, await flash.forward(query, bank).then((data) => ({ data, shape: data.shape })), 0);
  await Promise.all([bank.dispose(), flash.dispose()]);
  assert((await handles(ra)) === before, "handles are left");
});

check("errors arrive as what they are, with what was expected", async (ra, api) => {
  const flash = await ra.create("flash", { dim: 8 });
  const error = await throws(
    () => flash.forward([[1, 2, 3]], keys, values),
    api.DimensionMismatchError,
    /^query is \(1, 3\)/,
  );
  assert(
    error.expected === 8 && error.actual === 3,
    `the error carries ${error.expected} and ${error.actual}`,
  );
  const nan = { data: Float32Array.from(values.data, (x, i) => (i === 5 ? Number.NaN : x)), shape: [7, 3] };
  await throws(
    () => flash.forward(query, keys, nan),
    api.NumericalInstabilityError,
    /^values holds nan at index \(1, 2\)/,
  );
  await throws(
    () => flash.forward(query, keys, values, { maks: 1 }),
    api.UnsupportedError,
    /did you mean 'mask'/,
  );
  await throws(
    () => flash.forward(query, keys, values, { checkFinite: true, training: true }),
    api.UnsupportedError,
    /pyodide/,
  );
  await throws(() => ra.create("flash", { dim: 0 }), api.InvalidConfigError, /^dim is 0/);
  await throws(() => ra.create("flsh", { dim: 8 }), api.InvalidConfigError, /did you mean 'flash'/);
  await throws(() => ra.memory(nan.data, nan), api.DimensionMismatchError, /^keys is \(21,\)/);
  await flash.dispose();
  await throws(() => flash.forward(query, keys, values), api.RuntimeLostError, /disposed/);
});

check("arrays are handed over where the caller says so", async (ra, { tensor }) => {
  const flash = await ra.create("flash", { dim: 8 });
  const [q, k, v] = [query, keys, values].map(({ data, shape }) => tensor(data.slice(), shape));
  await flash.forward(q, k, v);
  assert(q.length === 40, "the caller's array was taken");
  close(await flash.forward(q, k, v, { transfer: true }), attention(query, keys, values).output);
  assert(q.length === 0, "the caller's array was copied");
  await flash.dispose();
});

check("closing fails what still waits; a missing module or script is told by its address", async (_, api) => {
  const ra = await api.load({ worker: true });
  const flash = await ra.create("flash", { dim: 8 });
  const waiting = flash.forward(query, keys, values);
  ra.close();
  await throws(() => waiting, api.RuntimeLostError, /closed/);
  await throws(
    () => api.load({ worker: true, assetBase: new URL("nowhere/", import.meta.url) }),
    api.LoadError,
    /nowhere/,
  );
  await throws(() => api.load({ assetBase: new URL("nowhere/", import.meta.url) }), api.LoadError, /nowhere/);
  await throws(
    () => api.load({ backend: "wasm-avx" }),
    api.LoadError,
    /backend is 'wasm-avx'; expected one that this engine runs: wasm-/,
  );
});
