/** What the runtime of the kernels must do of mixtures of experts: more of wasm_checks.mjs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { alone, mixed, routed } from "./wasm_moe_reference.mjs";
import { random } from "./wasm_reference.mjs";

export const moeChecks = [];
const check = (what, body) => moeChecks.push([what, body]);

const scaled = ({ data, shape }, by) => ({ data: data.map((x) => x * by), shape });
const query = scaled(random([11, 4], 1), 0.7);
const keys = scaled(random([13, 4], 2), 0.7);
const values = scaled(random([13, 4], 3), 0.5);
const found = (output) => ({ data: output, shape: output.shape });
const stacked = (...arrays) => ({
  data: Float32Array.from(arrays.flatMap(({ data }) => Array.from(data))),
  shape: [arrays.length, ...arrays[0].shape],
});

const USUAL = ["scaled_dot_product", "hyperbolic", "linear", "local_global"].map((type) => ({ type }));
const OTHERS = [
  { type: "multi_head", num_heads: 2 },
  { type: "local_global", window: 2, global_tokens: 1 },
  { type: "linear", kernel: "elu" },
  { type: "flash", temperature: 0.5 },
];
const apart = Array.from({ length: 11 * 13 }, (_, i) => i % 3 !== 1 && i % 7 !== 2);
const OPTIONS = [
  ["alone", {}],
  ["causal", { causal: true }],
  ["with a mask of keys", { mask: { data: apart.slice(0, 13), shape: [13] } }],
  ["with a mask of keys, causal", { mask: { data: apart.slice(0, 13), shape: [13] }, causal: true }],
  ["with key lengths", { keyLengths: 6 }],
];
/** What linear attention alone has no words for: it is called once for every different row of a mask. */
const BY_ROW = [
  ["with a mask", { mask: { data: apart, shape: [11, 13] } }],
  ["with a mask of numbers", { mask: { data: random([11, 13], 6).data, shape: [11, 13] } }],
  ["with a window", { mask: { type: "window", window: 3 } }],
];

for (const [name, configs] of [
  ["usual experts", USUAL],
  ["heads, windows and features", OTHERS],
])
  for (const [what, options] of [...OPTIONS, ...BY_ROW])
    for (const topK of [1, 3]) {
      const isByRow = BY_ROW.some(([word]) => word === what);
      // a window beside that of local attention is Python's alone; here it is one more expert of the mixture
      const some = configs.filter(({ type }) => !isByRow || (type !== "linear" && type !== "local_global"));
      check(`${name} ${what}, ${topK} for each query, give the sums of their outputs`, (ra) => {
        const config = { dim: 4, experts: JSON.stringify(some), topK: Math.min(topK, some.length), seed: 3 };
        const moe = ra.createSync("moe", config);
        const state = moe.stateDictSync();
        const experts = alone(ra, some, state);
        const routing = routed(state, query, config.topK);
        const outputs = experts.map((each) => each.forwardSync(query, keys, values, options));
        close(moe.forwardSync(query, keys, values, options), mixed(outputs, routing), 4e-6);
        const weights = experts.map((each) => {
          const own = each.attentionWeightsSync(query, keys, options);
          const heads = own.length / (11 * 13);
          const mean = Float64Array.from({ length: 11 * 13 }, (_, i) => {
            let sum = 0;
            for (let head = 0; head < heads; head++) sum += own[head * 11 * 13 + i] / heads;
            return sum;
          });
          return Object.assign(mean, { shape: [11, 13] });
        });
        close(moe.attentionWeightsSync(query, keys, options), mixed(weights, routing), 4e-6);
        for (const object of [moe, ...experts]) object.free();
      });
    }

check("a mixture with features and windows sees by row what a mask says", (ra) => {
  const moe = ra.createSync("moe", { dim: 4, experts: "linear, local_global", topK: 1, seed: 2 });
  const state = moe.stateDictSync();
  const [linear, local] = alone(ra, [{ type: "linear" }, { type: "local_global" }], state);
  const mask = { data: apart, shape: [11, 13] };
  const output = moe.forwardSync(query, keys, values, { mask });
  const whole = local.forwardSync(query, keys, values, { mask });
  const used = new Set();
  routed(state, query, 1).forEach(({ experts: [expert] }, i) => {
    used.add(expert);
    const own = { mask: { data: apart.slice(13 * i, 13 * i + 13), shape: [1, 13] } };
    const row = { data: query.data.slice(4 * i, 4 * i + 4), shape: [1, 4] };
    const expected =
      expert === 0 ? linear.forwardSync(row, keys, values, own) : whole.slice(4 * i, 4 * i + 4);
    close(
      { ...output.slice(4 * i, 4 * i + 4), shape: [4], length: 4 },
      { data: expected, shape: [4] },
      4e-6,
      `row ${i}`,
    );
  });
  equal(used.size, 2, "the experts that were chosen");
  for (const object of [moe, linear, local]) object.free();
});

check("promises, batches, vectors, leading dimensions and a memory give what a mixture gives", async (ra) => {
  for (const options of [{}, { causal: true }]) {
    const moe = ra.createSync("moe", { dim: 4, seed: 3 });
    const output = moe.forwardSync(query, keys, values, options);
    close(await moe.forward(query, keys, values, options), found(output), 0);
    const [one, two] = await moe.forwardBatch([[query, keys, values], { query, keys, values }], options);
    close(one, found(output), 0);
    close(two, found(output), 0);
    const last = { data: query.data.slice(-4), shape: [4] };
    close(moe.forwardSync(last.data, keys, values, options), { data: output.slice(-4), shape: [4] }, 1e-6);
    const [q, k] = [stacked(query, scaled(query, -1)), stacked(keys, keys)];
    const both = moe.forwardSync(q, k, values, options); // the values are those of both items
    close({ ...both.slice(0, 44), shape: [11, 4], length: 44 }, found(output), 1e-6, "the first of two");
    const shared = moe.forwardSync(q, keys, values, options); // and here the keys too
    close(shared, found(both), 1e-6);
    const bank = ra.memorySync(keys, values);
    close(moe.forwardSync(query, bank, options), found(output), 1e-6);
    close(await moe.forward(query, bank, options), found(output), 1e-6);
    bank.free();
    moe.free();
  }
});

check("every mechanism over query, keys and values is an expert, and no other", async (ra, api) => {
  const { mechanisms } = await ra.describe();
  const masked = { mask: { data: apart, shape: [11, 13] } };
  let taken = 0;
  for (const { name, config, inputs } of mechanisms) {
    const hasHeads = config.some((setting) => setting.name === "num_heads");
    const own = { type: name, ...(hasHeads && { num_heads: 2 }), ...(name === "moe" && { experts: "flash", top_k: 1 }) };
    const some = [own, { type: "flash" }];
    const needed = inputs.filter(({ optional }) => !optional).map((input) => input.name).join(", ");
    const make = () => ra.create("moe", { dim: 4, experts: JSON.stringify(some) });
    if (needed !== "query, keys, values") {
      await throws(make, api.InvalidConfigError, new RegExp(`^expert 0, .* takes ${needed};`));
      continue;
    }
    const moe = await make();
    const state = moe.stateDictSync();
    const experts = alone(ra, some, state);
    const routing = routed(state, query, 2);
    for (const options of [{}, { causal: true }, ...(name === "linear" ? [] : [masked, { ...masked, causal: true }])]) {
      const outputs = experts.map((each) => each.forwardSync(query, keys, values, options));
      close(moe.forwardSync(query, keys, values, options), mixed(outputs, routing), 4e-6, name);
    }
    for (const object of [moe, ...experts]) object.free();
    taken++;
  }
  assert(taken >= 6, `${taken} mechanisms are experts; expected at least 6`);
}); // biome-ignore format: lists

check("items whose keys end elsewhere read no further, whatever lies there", (ra) => {
  const moe = ra.createSync("moe", { dim: 4, topK: 3 });
  const bad = { data: keys.data.map((x, i) => (i >= 24 ? Number.NaN : x)), shape: keys.shape };
  const [q, k] = [stacked(query, query), stacked(bad, keys)];
  const output = moe.forwardSync(q, k, values, { keyLengths: { data: Int32Array.of(6, 13), shape: [2] } });
  const six = moe.forwardSync(query, keys, values, { keyLengths: 6 });
  const all = moe.forwardSync(query, keys, values);
  close(output, { data: [...six, ...all], shape: [2, 11, 4] }, 1e-6);
  moe.free();
});

check(
  "the seed gives the parameters that it gives in Python, and a state goes to another mixture",
  async (ra) => {
    const moe = ra.createSync("moe", { dim: 4, seed: 3 });
    const state = moe.stateDictSync();
    equal(Object.keys(state), ["router_weight", "router_bias", "experts.2.features"]);
    equal(state["experts.2.features"].shape, [256, 4]);
    // ra.MoEAttention(dim=4, seed=3).state_dict()
    close({ ...state.router_weight.slice(0, 4), shape: [4], length: 4 }, { data: [-0.7176766991615295, -0.4558575749397278, 0.5218226909637451, 0.1423088163137436], shape: [4] }, 1e-7); // biome-ignore format: a row
    close({ ...state["experts.2.features"].slice(0, 4), shape: [4], length: 4 }, { data: [-0.9978243112564087, 1.4135558605194092, 0.9316466450691223, -1.1923466920852661], shape: [4] }, 1e-6); // biome-ignore format: a row
    equal(moe.numParametersSync(), 16 + 4 + 1024);
    const other = ra.createSync("moe", { dim: 4, seed: 8 });
    other.loadStateDictSync(state);
    const output = moe.forwardSync(query, keys, values);
    close(other.forwardSync(query, keys, values), found(output), 0);
    for (const object of [moe, other]) object.free();
  },
);

check("a state that does not fit changes nothing of a mixture", async (ra, api) => {
  const moe = ra.createSync("moe", { dim: 4, experts: "linear, linear" });
  const before = moe.forwardSync(query, keys, values);
  const state = moe.stateDictSync();
  const changed = { ...state, router_bias: [5, 0], "experts.0.features": scaled({ data: state["experts.0.features"], shape: [256, 4] }, 2) };
  const { "experts.1.features": last, ...less } = changed;
  const load = (given) => () => moe.loadStateDict(given);
  await throws(load(less), api.InvalidConfigError, /lacks experts\.1\.features$/);
  await throws(load({ ...changed, more: [1] }), api.InvalidConfigError, /has unknown more$/);
  await throws(load({ ...changed, "experts.1.features": [1, 2] }), api.DimensionMismatchError, /^experts\.1\.features is \(2,\); expected \(256, 4\)$/);
  const bad = { data: last.map((x, i) => (i === 5 ? Infinity : x)), shape: last.shape };
  await throws(load({ ...changed, "experts.1.features": bad }), api.NumericalInstabilityError, /^experts\.1\.features holds inf at index \(1, 1\)/);
  close(moe.forwardSync(query, keys, values), found(before), 0);
  moe.loadStateDictSync(changed);
  equal(moe.getRoutingSync(query).experts.filter((_, i) => i % 2 === 0), new Int32Array(11), "the best expert");
  moe.free();
}); // biome-ignore format: a table

check("a router tells its choices, their shares and its losses", async (ra) => {
  const moe = ra.createSync("moe", { dim: 4, experts: "flash, flash, flash, flash", topK: 2, temperature: 0.5 });
  const state = moe.stateDictSync();
  const routing = routed(state, query, 2, 0.5);
  equal([...moe.getExpertUsageSync()], [0, 0, 0, 0], "the usage before");
  const { experts, weights } = moe.getRoutingSync(query);
  equal([...experts], routing.flatMap((each) => each.experts));
  close(weights, { data: routing.flatMap((each) => each.weights), shape: [11, 2] });
  equal(moe.getRoutingSync(query.data.slice(0, 4)).experts.shape, [2]);
  const { output, aux_loss, z_loss } = await moe.computeWithAuxLoss(query, keys, values);
  const usage = [0, 1, 2, 3].map((e) => routing.filter((each) => each.experts.includes(e)).length / 22);
  close(moe.getExpertUsageSync(), { data: usage, shape: [4] });
  const sums = routing.map(({ logits }) => logits.reduce((sum, z) => sum + Math.exp(z), 0));
  const share = (e) => routing.reduce((sum, { logits }, i) => sum + Math.exp(logits[e]) / sums[i] / 11, 0);
  const even = 4 * usage.reduce((sum, f, e) => sum + f * share(e), 0);
  const large = sums.reduce((sum, x) => sum + Math.log(x) ** 2 / 11, 0);
  for (const [name, actual, expected] of [["aux_loss", aux_loss, even], ["z_loss", z_loss, large]])
    assert(Math.abs(actual - expected) <= 2e-6 * (1 + expected), `${name} is ${actual}; expected ${expected}`);
  close(await moe.forward(query, keys, values), found(output), 0);
  await moe.forwardBatch([[query, keys, values]]);
  close(await moe.getExpertUsage(), { data: usage, shape: [4] }, 2e-6, "the usage after three calls");
  await moe.resetRoutingStats();
  equal([...moe.getExpertUsageSync()], [0, 0, 0, 0], "the usage after a reset");
  moe.free();
}); // biome-ignore format: a table

check("a call that has to be made anew is counted once", async (ra) => {
  // midpoints so near to the boundary that sums in float32 do not tell them from it
  const experts = JSON.stringify([{ type: "hyperbolic" }, { type: "flash" }]);
  const moe = ra.createSync("moe", { dim: 4, experts, topK: 1 });
  const far = { data: Float32Array.from({ length: 52 }, (_, i) => (i % 4 === 0 ? 0.99999 : 0.001)), shape: [13, 4] };
  const state = moe.stateDictSync();
  moe.loadStateDictSync({ ...state, router_weight: { data: new Float32Array(8), shape: [4, 2] }, router_bias: [0, 0] });
  const output = await moe.forward(query, keys, far);
  close(moe.forwardSync(query, keys, far), found(output), 1e-6);
  await moe.forward(query, keys, far, { checkFinite: false });
  moe.loadStateDictSync({ ...state, router_weight: { data: new Float32Array(8), shape: [4, 2] }, router_bias: [0, 9] });
  await moe.forward(query, keys, far);
  close(moe.getExpertUsageSync(), { data: [0.75, 0.25], shape: [2] });
  moe.free();
}); // biome-ignore format: a table

check("an expert takes as many rows as its capacity", (ra) => {
  const moe = ra.createSync("moe", { dim: 1, experts: "flash, flash, flash", topK: 1, capacityFactor: 0.6 });
  moe.loadStateDictSync({ router_weight: [[3, 2, 1]], router_bias: [0, 0, 0] });
  const q = { data: Float32Array.of(1, 1, 1, 1), shape: [4, 1] }; // ceil(0.6 * 4 / 3) = 1 for each expert
  const { experts, weights } = moe.getRoutingSync(q);
  equal([...experts], [0, 1, 2, -1]);
  equal([...weights], [1, 1, 1, 0]);
  equal([...moe.forwardSync(q, [[1]], [[5]])], [5, 5, 5, 0], "the output, zeros where no expert had room");
  close(moe.getExpertUsageSync(), { data: [1 / 3, 1 / 3, 1 / 3], shape: [3] });
  moe.free();
});

check("a mixture waits for the code of its experts", async (_, api, backend) => {
  const isHere = !backend.startsWith("wasm"); // on the disk, natively
  const ra = await api.load({ backend, preload: ["moe"] });
  const early = new ra.MoEAttention({ dim: 4, experts: "linear, flash" });
  const sync = () => early.forwardSync(query, keys, values);
  if (!isHere)
    await throws(sync, api.LoadError, /^linear is not loaded; expected `await create\("linear", …\)` before/);
  const output = await early.forward(query, keys, values);
  close(sync(), found(output), 0);
  const nested = JSON.stringify([{ type: "moe", experts: "hyperbolic", top_k: 1 }, "flash"]);
  const outer = await ra.create("moe", { dim: 4, experts: nested, topK: 1 });
  equal(outer.forwardSync(query, keys, values).shape, [11, 4], "the shape");
  const gone = new ra.MoEAttention({ dim: 8, experts: "multi_head", topK: 1 });
  gone.free();
  await throws(() => gone.forward(query, keys, values), api.RuntimeLostError, /^MoEAttention was disposed/);
  const { handles } = ra;
  const wrong = new ra.MoEAttention({ dim: 4, experts: '["edge_featured", "flash"]' });
  await throws(
    () => wrong.ready,
    api.InvalidConfigError,
    /^expert 0, EdgeFeaturedAttention, takes nodes, edge_index;/,
  );
  await throws(
    () => wrong.forward(query, keys, values),
    api.InvalidConfigError,
    /^expert 0, EdgeFeaturedAttention/,
  );
  wrong.free();
  equal(ra.handles, handles, "objects that are alive");
  ra.close();
});

check("mixtures are experts too, and what was made is freed", async (ra) => {
  const { handles } = ra;
  const before = ra.heap.used;
  const experts = JSON.stringify([{ type: "moe", experts: "linear, flash", top_k: 1 }, "hyperbolic"]);
  const moe = await ra.create("moe", { dim: 4, experts });
  const state = moe.stateDictSync();
  equal(Object.keys(state), ["router_weight", "router_bias", "experts.0.router_weight", "experts.0.router_bias", "experts.0.experts.0.features"]); // biome-ignore format: a list
  const [inner, outer] = alone(ra, [{ type: "moe", experts: "linear, flash", top_k: 1 }, { type: "hyperbolic" }], state);
  const outputs = [inner, outer].map((each) => each.forwardSync(query, keys, values, { causal: true }));
  const expected = mixed(outputs, routed(state, query, 2));
  close(moe.forwardSync(query, keys, values, { causal: true }), expected, 4e-6);
  close(await moe.forward(query, keys, values, { causal: true }), expected, 4e-6);
  for (const object of [moe, inner, outer]) await object.dispose();
  equal(ra.handles, handles, "objects that are alive");
  const { used } = ra.heap;
  for (let i = 0; i < 5; i++) {
    const one = ra.createSync("moe", { dim: 4, experts });
    one.forwardSync(query, keys, values, { causal: true });
    one.free();
  }
  equal(ra.heap.used, used, `the bytes in use, ${before} at first`);
}); // biome-ignore format: lists

const nan = { data: query.data.map((x, i) => (i === 6 ? Number.NaN : x)), shape: [11, 4] };
check("what a mixture cannot take is refused by name", async (ra, api) => {
  const { InvalidConfigError, UnsupportedError, NumericalInstabilityError, DimensionMismatchError } = api;
  for (const [Class, config, message] of [
    [InvalidConfigError, { experts: "flash", topK: 2 }, /^top_k is 2; expected at most 1, the experts$/],
    [InvalidConfigError, { experts: "[1]" }, /^experts lists 1; expected a name, or a config with its 'type'$/],
    [InvalidConfigError, { experts: "[]" }, /^experts lists nothing; expected at least one mechanism$/],
    [InvalidConfigError, { experts: "[x" }, /^experts is no JSON list: /],
    [InvalidConfigError, { experts: "flash, flsh" }, /^unknown mechanism 'flsh'; did you mean 'flash'\?$/],
    [InvalidConfigError, { experts: '["flash", {"type": "self_attention", "num_heads": 2}]' }, /^expert 1, SelfAttention, takes query; expected query, keys and values$/],
    [InvalidConfigError, { experts: "flash, edge_featured" }, /^expert 1, EdgeFeaturedAttention, takes nodes, edge_index; expected query, keys and values$/],
    [InvalidConfigError, { experts: "flash, multi_head" }, /^dim is 4; expected a multiple of num_heads = 8$/],
    [InvalidConfigError, { experts: "flash, flash", numExperts: 3 }, /^num_experts is 3; expected 2, as experts lists$/],
    [InvalidConfigError, { numExperts: 5000 }, /^num_experts is 5000; expected at most 4096$/],
    [InvalidConfigError, { capacityFactor: 0 }, /^capacity_factor is 0; expected above 0$/],
    [InvalidConfigError, { topK: 0 }, /^top_k is 0; expected at least 1$/],
    [UnsupportedError, { experts: "flash, dynamic_head" }, /^expert 1, 'dynamic_head', needs load\(\{ runtime: 'pyodide' \}\)/],
    [UnsupportedError, { experts: '["flash", {"type": "hyperbolic", "aggregation": "frechet"}]' }, /^aggregation 'frechet' needs load\(\{ runtime: 'pyodide' \}\)/],
  ]) {
    const { handles } = ra;
    await throws(() => ra.create("moe", { dim: 4, ...config }), Class, message);
    await throws(() => ra.createSync("moe", { dim: 4, ...config }).forwardSync(query, keys, values), Class, message);
    assert(ra.handles <= handles + 2, `${ra.handles - handles} objects are left of ${JSON.stringify(config)}`);
  }
  const moe = ra.createSync("moe", { dim: 4, seed: 1, experts: "Flash-Attention, linear, hyperbolic" });
  for (const [Class, inputs, message] of [
    [UnsupportedError, [query, keys, values, { bias: 1 }], /^unknown option 'bias'/],
    [UnsupportedError, [query, keys, values, { training: true }], /runtime: 'pyodide'/],
    [UnsupportedError, [query, keys], /^values is missing/],
    [DimensionMismatchError, [[[1, 2]], keys, values], /^query is \(1, 2\); expected \(n_query, dim\) with dim = 4, from the settings of MoEAttention\(/],
    [DimensionMismatchError, [query, keys, values, { mask: [[true, false]] }], /^mask is \(1, 2\)/],
    [NumericalInstabilityError, [nan, keys, values], /^query holds nan at index \(1, 2\); expected finite numbers$/],
    [NumericalInstabilityError, [query, nan, { data: values.data.slice(0, 44), shape: [11, 4] }], /^keys holds nan at index \(1, 2\); expected finite numbers$/],
    [NumericalInstabilityError, [scaled(query, 3e38), keys, values], /^the numbers that the router compares overflow float32|^query holds|overflows float32/],
  ]) {
    await throws(() => moe.forwardSync(...inputs), Class, message);
    await throws(() => moe.forward(...inputs), Class, message);
  }
  await throws(() => moe.addExpert(moe), UnsupportedError, /^add_expert needs load\(\{ runtime: 'pyodide' \}\)/);
  await throws(() => moe.backward([[1]]), UnsupportedError, /runtime: 'pyodide'/);
  await throws(() => moe.getRouting(nan), NumericalInstabilityError, /^query holds nan at index \(1, 2\)/);
  moe.free();
  const wide = JSON.stringify([{ type: "multi_head", num_heads: 2, vdim: 3 }, "flash"]);
  const odd = ra.createSync("moe", { dim: 4, experts: wide });
  const narrow = { data: values.data.slice(0, 39), shape: [13, 3] };
  await throws(() => odd.forward(query, keys, narrow), DimensionMismatchError, /^expert 1 \(flash\) gives 3 channels; expected 4, as the experts before it$/);
  await throws(() => odd.forward(query, keys, values), DimensionMismatchError, /^expert 0 \(multi_head\): values is \(13, 4\); expected \(n_key, vdim\) with vdim = 3/);
  odd.free();
}); // biome-ignore format: a table
