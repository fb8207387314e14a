/** What the runtime of the kernels must refuse, and how: more of the checks of wasm_checks.mjs. */
import { assert, equal, throws } from "./wasm_assert.mjs";
import { random } from "./wasm_reference.mjs";

export const refusalChecks = [];
const check = (what, body) => refusalChecks.push([what, body]);

const query = random([5, 8], 1);
const keys = random([7, 8], 2);
const values = random([7, 3], 3);

const nan = { data: query.data.map((x, i) => (i === 23 ? Number.NaN : x)), shape: [5, 8] };
const endless = [];
endless.push(endless);
const holey = new Array(8);
holey[0] = 1;
const refusals = [
  ["an array that holds itself", "UnsupportedError", [endless, keys, values], /^query is nested more than 64 arrays deep/],
  ["a hole in an array", "UnsupportedError", [holey, keys, values], /^query is a list that holds something else than numbers/],
  ["a wrong width", "DimensionMismatchError", [[[1, 2, 3]], keys, values], /^query is \(1, 3\); expected \(n_query, dim\) with dim = 8, from the settings of ScaledDotProductAttention\(dim=8\)$/],
  ["other numbers of keys and values", "DimensionMismatchError", [query, keys, random([6, 3], 1)], /^values is \(6, 3\); expected \(n_key, dim_value\) with n_key = 7, from keys \(7, 8\)$/],
  ["leading dimensions that do not broadcast", "DimensionMismatchError", [random([2, 5, 8], 1), random([3, 7, 8], 1), values], /do not broadcast with \(2,\), from query \(2, 5, 8\)/],
  ["a vector of keys", "DimensionMismatchError", [query, keys.data, values], /^keys is \(56,\), 1-dimensional/],
  ["ragged rows", "DimensionMismatchError", [[[1, 2], [3]], keys, values], /^query is a ragged list/],
  ["a shape that does not fit", "DimensionMismatchError", [{ data: new Float32Array(3), shape: [2, 2] }, keys, values], /query has 3 elements/],
  ["a mask of another shape", "DimensionMismatchError", [query, keys, values, { mask: [[true, false]] }], /^mask is \(1, 2\); expected a shape that broadcasts to \(5, 7\)$/],
  ["NaN", "NumericalInstabilityError", [nan, keys, values], /^query holds nan at index \(2, 7\); expected finite numbers$/],
  ["NaN in a bare vector", "NumericalInstabilityError", [nan.data.slice(16, 24), keys, values], /^query holds nan at index \(7,\)/],
  ["infinity", "NumericalInstabilityError", [query, keys, { data: values.data.map((x, i) => (i === 4 ? -Infinity : x)), shape: [7, 3] }], /^values holds -inf at index \(1, 1\)/],
  ["what overflows float32", "NumericalInstabilityError", [query, { data: Float64Array.from(keys.data, () => 1e300), shape: [7, 8] }, values], /^keys holds inf/],
  ["a product that overflows", "NumericalInstabilityError", [query, { data: keys.data.map(() => 3e38), shape: [7, 8] }, values], /overflows float32 although query, keys, values are finite/],
  ["NaN in a mask", "NumericalInstabilityError", [query, keys, values, { mask: { data: Float32Array.of(0, NaN, 0, 0, 0, 0, 0), shape: [7] } }], /^mask holds nan at index \(1,\); expected finite numbers or -inf$/],
  ["an empty array", "EmptyInputError", [[], keys, values], /^query/],
  ["an empty typed array", "EmptyInputError", [new Float32Array(0), keys, values], /^query/],
  ["a string", "UnsupportedError", ["digits", keys, values], /^query is a string/],
  ["a number", "DimensionMismatchError", [5, keys, values], /^query is \(\), 0-dimensional/],
  ["null", "UnsupportedError", [null, keys, values], /^query is missing/],
  ["strings in an array", "UnsupportedError", [[["a", "b"]], keys, values], /^query/],
  ["booleans in an array", "UnsupportedError", [[[true, false]], keys, values], /^query is an array of bool/],
  ["bigints in an array", "UnsupportedError", [[[1n, 2n]], keys, values], /^query/],
  ["a function", "UnsupportedError", [() => 1, keys, values], /^query/],
  ["a Map", "UnsupportedError", [new Map(), keys, values], /^query/],
  ["a mask of integers", "UnsupportedError", [query, keys, values, { mask: { data: new Int32Array(7), shape: [7] } }], /^mask is an array of int32/],
  ["a missing input", "UnsupportedError", [query], /^keys is missing; expected \(query, keys, values\)$/],
  ["too many inputs", "UnsupportedError", [query, keys, values, keys], /^4 inputs came/],
  ["an unknown option", "UnsupportedError", [query, keys, values, { maks: [] }], /^unknown option 'maks'; did you mean 'mask'\?$/],
  ["training", "UnsupportedError", [query, keys, values, { training: true }], /runtime: 'pyodide'/],
]; // biome-ignore format: a table
for (const [what, name, inputs, message] of refusals) {
  check(`${what} gives ${name}`, async (ra, api) => {
    const sdpa = await ra.create("scaled_dot_product", { dim: 8 });
    await throws(() => sdpa.forward(...inputs), api[name], message);
    equal((await sdpa.forward(query, keys, values)).shape, [5, 3], "the shape after an error");
    await sdpa.dispose();
  });
}

check("rows of several kinds, and arrays of classes made from typed arrays, are arrays", async (ra) => {
  class Own extends Float32Array {}
  const sdpa = await ra.create("scaled_dot_product", { dim: 2 });
  const wanted = await sdpa.forward([[1, 0], [0, 2]], [[1, 0], [0, 2]], [[3], [4]]); // biome-ignore format: rows
  const mixed = () => [Float32Array.of(1, 0), [0, 2]];
  const turned = () => [[1, 0], Float32Array.of(0, 2)]; // biome-ignore format: rows
  const shaped = () => ({ data: Own.of(1, 0, 0, 2), shape: [2, 2] });
  const bytes = globalThis.Buffer?.from([9, 1, 0, 0, 2]).subarray(1) ?? Uint8Array.of(1, 0, 0, 2);
  const buffer = () => ({ data: bytes, shape: [2, 2] });
  for (const made of [mixed, turned, shaped, buffer]) {
    const rows = made();
    const found = await sdpa.forward(rows, rows, [[3], [4]], { transfer: true });
    equal([found.shape, ...found], [[2, 1], ...wanted], "the result");
  }
  equal([...bytes], [1, 0, 0, 2], "a Buffer, which lies among others");
  await sdpa.dispose();
});

check("an error keeps what was expected and what came", async (ra, { DimensionMismatchError }) => {
  const sdpa = await ra.create("scaled_dot_product", { dim: 8 });
  const error = await throws(() => sdpa.forward([[1, 2, 3]], keys, values), DimensionMismatchError, /query/);
  equal([error.expected, error.actual], [8, 3]);
});

check("NaN passes where the check is switched off, and is found behind a mask", (ra, api) => {
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  assert(
    Number.isNaN(sdpa.forwardSync(nan, keys, values, { checkFinite: false })[6]),
    "expected NaN in the result",
  );
  const many = random([40, 8], 1);
  const bad = { data: keys.data.map((x, i) => (i === 55 ? Infinity : x)), shape: [7, 8] };
  const mask = [[true, true, true, true, true, true, false]];
  return throws(
    () => sdpa.forwardSync(many, bad, values, { mask }),
    api.NumericalInstabilityError,
    /^keys holds inf at index \(6, 7\)/,
  );
});

check("a bad config, mechanism, method, head or memory is refused by name", async (ra, api) => {
  const { InvalidConfigError, UnsupportedError, OutOfBoundsError, EmptyInputError, RuntimeLostError } = api;
  for (const [name, config, message] of [
    ["flash", { dim: 0 }, /^dim is 0; expected at least 1$/],
    ["flash", { dim: 8.5 }, /^dim is 8.5; expected an integer$/],
    ["flash", { dims: 8 }, /^FlashAttention has no setting 'dims'; did you mean 'dim'\?$/],
    ["flash", {}, /^FlashAttention needs the setting 'dim'$/],
    ["flash", { dim: 8, temperature: 0 }, /^temperature is 0; expected above 0$/],
    ["flash", { dim: 8, causal: 1 }, /^causal is 1; expected true or false$/],
    ["flsh", { dim: 8 }, /^unknown mechanism 'flsh'; did you mean 'flash'\?$/],
    ["multi_head", { dim: 9, numHeads: 2 }, /^dim is 9; expected a multiple of num_heads = 2$/],
    ["multi_head", { dim: 8, numHeads: 4, numKvHeads: 3 }, /^num_kv_heads is 3; expected a divisor of num_heads = 4$/],
    ["multi_head", { dim: 8, numHeads: 4, projections: false, kdim: 5 }, /^kdim is 5; without projections expected 8/],
    ["self_attention", { dim: 8, numHeads: 4, numKvHeads: 2, projections: false }, /without projections expected num_heads = 4/],
  ]) {
    await throws(() => ra.create(name, config), InvalidConfigError, message);
  }
  await throws(() => new ra.FlashAttention(8), UnsupportedError, /config of FlashAttention is a number/);
  const doomed = new ra.FlashAttention({ dim: -1 });
  await throws(() => doomed.forward(query, keys, values), InvalidConfigError, /^dim is -1/);
  const heads = ra.createSync("multi_head", { dim: 8, numHeads: 2 });
  await throws(() => heads.call("fly"), UnsupportedError, /no method 'fly'/);
  await throws(() => heads.call("backward", [[1]]), UnsupportedError, /runtime: 'pyodide'/);
  await throws(() => heads.headOutput(2, query, keys, keys), OutOfBoundsError, /^head is 2; expected 0 to 1$/);
  await throws(() => heads.headOutput("x", query, keys, keys), UnsupportedError, /^head is 'x'/);
  const state = heads.stateDictSync();
  await throws(() => heads.loadStateDict({ ...state, more: [1] }), InvalidConfigError, /has unknown more/);
  const { query_bias: _, ...less } = state;
  await throws(() => heads.loadStateDict(less), InvalidConfigError, /lacks query_bias/);
  await throws(() => heads.loadStateDict({ ...state, query_bias: [1, 2] }), api.DimensionMismatchError, /^query_bias is \(2,\); expected \(8,\)/);
  const narrow = ra.createSync("cross_attention", { dim: 8, numHeads: 2, kdim: 4, vdim: 6 });
  await throws(() => narrow.forward(query, random([3, 4], 1)), UnsupportedError, /values of 6 channels/);
  await throws(() => ra.memory(keys, random([6, 3], 1)), api.DimensionMismatchError, /^values is \(6, 3\); expected \(7, 3\)/);
  await throws(() => ra.memory(nan), api.NumericalInstabilityError, /^keys holds nan at index \(2, 7\)/);
  const bank = await ra.memory(keys, values);
  await throws(() => bank.append([[1]], [[1]]), api.DimensionMismatchError, /^keys is \(1, 1\); expected \(1, 8\)/);
  await throws(() => bank.append(nan, random([5, 3], 1)), api.NumericalInstabilityError, /^keys holds nan/);
  equal(bank.length, 7, "the length after a refusal");
  await throws(() => bank.append(keys), UnsupportedError, /^values is missing/);
  await throws(() => bank.evict(3), UnsupportedError, /^evict was given 3; expected ids or/);
  await throws(() => bank.evict({ oldest: 8 }), OutOfBoundsError, /^oldest is 8; expected 0 to 7/);
  await throws(() => bank.evict([7]), OutOfBoundsError, /^ids holds 7/);
  await throws(() => ra.memory(keys, values, { capacity: 2 }), InvalidConfigError, /^capacity is 2; expected an integer of at least 7/);
  await bank.evict({ oldest: 7 });
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  await throws(() => sdpa.forward(query, bank), EmptyInputError, /no rows/);
  await bank.dispose();
  await throws(() => sdpa.forward(query, bank), RuntimeLostError, /disposed/);
  await throws(() => sdpa.forward(bank, keys, values), UnsupportedError, /^query is a Memory/);
  for (const object of [heads, narrow, sdpa]) object.free();
}); // biome-ignore format: a table

/** Settings that the classes here know, which are all that their mechanisms have. */
const KNOWN = new Set(
  `adaptive_curvature add_self_loops aggregation aux_loss_weight base bias block_size capacity_factor causal concat_heads
  curvature decay dim dropout edge_dim encoding euclidean_dim experts fusion_weight global_tokens head_dim hyperbolic_dim
  interleaved isolated kdim kernel max_position max_sequence_length model negative_slope normalize num_experts num_features
  num_heads num_kv_heads projections scale scaling seed share_weights temperature theta time_dim top_k variant vdim window
  z_loss_weight`.split(/\s+/),
);

check("a mechanism has no setting that would be passed over", async (ra) => {
  const { mechanisms } = await ra.describe();
  for (const { name, config } of mechanisms.filter((each) => ra.mechanisms.includes(each.name)))
    for (const setting of config)
      assert(KNOWN.has(setting.name), `${name} has ${setting.name}; expected its class in src/wasm to heed it, then KNOWN to list it`);
}); // biome-ignore format: a message
