/** What the runtime of the kernels must do of positions and times, against their formulas in double precision. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { dot, first, found, keys, query, row, scaled, stacked, values } from "./wasm_inputs.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const positionChecks = [];
const check = (what, body) => positionChecks.push([what, body]);

const HOPS = { queryPositions: [0, 1, 2, 5, 9], keyPositions: [0, 3, 1, 2, 7, 4, 1] };
const TIMES = { queryTimes: [0, 1, 1, 4.5, 9], keyTimes: [-2, 0, 1, 1, 4, 4.5, 11] };

/** Rows (n, heads * width) turned by positions. */
function turned({ data, shape: [n, dim] }, positions, { heads = 1, base = 10000, scaling = 1, interleaved }) {
  const width = dim / heads;
  const pairs = Math.floor(width / 2);
  const out = Float64Array.from(data);
  for (let i = 0; i < n * heads; i++) {
    for (let c = 0; c < pairs; c++) {
      const angle = (positions[Math.floor(i / heads)] / scaling) * base ** (-c / pairs);
      const a = i * width + (interleaved ? 2 * c : c);
      const b = interleaved ? a + 1 : a + pairs;
      out[a] = data[a] * Math.cos(angle) - data[b] * Math.sin(angle);
      out[b] = data[a] * Math.sin(angle) + data[b] * Math.cos(angle);
    }
  }
  return { data: out, shape: [n, dim] };
}

/** What a gap in time adds to scores, -Infinity where a key is later than the query. */
function decayed({ queryTimes, keyTimes }, { decay = 1, theta = 1, causal = true }) {
  const data = queryTimes.flatMap((q) =>
    keyTimes.map((k) => (causal && k > q ? -Infinity : decay * Math.exp(-Math.abs(q - k) / theta))),
  );
  return { data, shape: [queryTimes.length, keyTimes.length] };
}

check("keys are turned by positions, in halves and in neighbours, by heads, scaled and of cosines", (ra) => {
  const wide = scaled(random([7, 4], 9), 0.3);
  for (const config of [
    {},
    { interleaved: true, base: 50, scaling: 2.5 },
    { numHeads: 2, temperature: 0.5 },
    { numHeads: 2, normalize: true, scale: 3 },
  ]) {
    const rope = ra.createSync("graph_rope", { dim: 4, ...config });
    const { numHeads: heads = 1, ...rest } = config;
    const [q, k] = [turned(query, HOPS.queryPositions, { heads, ...config }), turned(keys, HOPS.keyPositions, { heads, ...config })];
    const expected = attention(q, k, wide, { heads, ...rest });
    close(rope.forwardSync(query, keys, wide, HOPS), expected.output);
    const { data } = expected.weights;
    close(rope.attentionWeightsSync(query, keys, HOPS), { data, shape: heads > 1 ? [heads, 5, 7] : [5, 7] });
    const alone = attention(query, keys, wide, { heads, ...rest }).output;
    close(rope.forwardSync(query, keys, wide), alone, 2e-6, "without positions");
    close(rope.computeSync(query, keys, wide), alone, 2e-6, "compute");
    rope.free();
  }
}); // biome-ignore format: a line a formula

check(
  "scores depend on differences of positions, which broadcast, and a memory is turned too",
  async (ra) => {
    const rope = ra.createSync("graph_rope", { dim: 4 });
    const { queryPositions, keyPositions } = HOPS;
    const output = rope.forwardSync(query, keys, values, HOPS);
    const moved = {
      queryPositions: queryPositions.map((x) => x + 40),
      keyPositions: keyPositions.map((x) => x + 40),
    };
    close(rope.forwardSync(query, keys, values, moved), found(output), 1e-5);
    close(rope.computeWithPositionsSync(query, keys, values, queryPositions, keyPositions), found(output), 0);
    close(await rope.forward(query, keys, values, HOPS), found(output), 0);
    const one = rope.forwardSync(row(query, 2), keys, values, { queryPositions: 2, keyPositions });
    close(one, { data: row(found(output), 2), shape: [3] }, 1e-6);
    const both = rope.forwardSync(stacked(query, query), keys, values, {
      queryPositions: [queryPositions, queryPositions.map(() => 3)],
      keyPositions,
    });
    const same = rope.forwardSync(query, keys, values, { queryPositions: 3, keyPositions });
    close(both, stacked(found(output), found(same)), 1e-6);
    const bank = ra.memorySync(first(keys, 6), first(values, 6), { capacity: 9 });
    bank.appendSync({ data: row(keys, 6), shape: [1, 4] }, { data: row(values, 6), shape: [1, 3] });
    close(rope.forwardSync(query, bank, HOPS), found(output), 1e-6);
    close(rope.computeWithPositionsSync(query, bank, queryPositions, keyPositions), found(output), 1e-6);
    const [batched] = await rope.forwardBatch([{ query, keys, values, ...HOPS }]);
    close(batched, found(output), 1e-6);
    bank.free();
    rope.free();
  },
);

check("rows are turned by any position, and distances become positions", (ra) => {
  const rope = ra.createSync("graph_rope", { dim: 5, interleaved: true, scaling: 2 });
  const x = random([3, 5], 8);
  const at = [-0.25, 1e4, 3.7e9];
  close(rope.applyRotarySync(x, at), turned(x, at, { interleaved: true, scaling: 2 }));
  close(rope.applyRotarySync(row(x, 1), 1e4), { data: row(turned(x, at, { interleaved: true, scaling: 2 }), 1), shape: [5] });
  const narrow = ra.createSync("graph_rope", { dim: 1 });
  close(narrow.applyRotarySync([[2], [3]], 4), { data: [2, 3], shape: [2, 1] }, 0, "one channel");
  equal([...rope.distanceToPositionSync([0, 2, Infinity, 9], 8)], [0, 2, 8, 8]);
  equal(rope.distanceToPositionSync(3, 8), 3);
  rope.free();
  narrow.free();
}); // biome-ignore format: a line a formula

check("scores fall with the gap in time, and a query sees the keys of its time and before", (ra) => {
  for (const config of [{}, { causal: false }, { decay: -2, theta: 3.5 }, { numHeads: 2, temperature: 0.5 }, { normalize: true, decay: 4, theta: 0.2 }]) {
    const temporal = ra.createSync("temporal", { dim: 4, ...config });
    const { numHeads: heads = 1, causal: _, ...rest } = config;
    const wide = scaled(random([7, 4], 9), 0.3);
    const expected = attention(query, keys, wide, { heads, ...rest, bias: decayed(TIMES, config) });
    close(temporal.forwardSync(query, keys, wide, TIMES), expected.output);
    const { data } = expected.weights;
    close(temporal.attentionWeightsSync(query, keys, TIMES), { data, shape: heads > 1 ? [heads, 5, 7] : [5, 7] });
    temporal.free();
  }
}); // biome-ignore format: a line a config

check("times are 0, 1, 2, … unless they are given; masks and lengths count inside of what they leave", async (ra) => {
  const temporal = ra.createSync("temporal", { dim: 4, theta: 2 });
  const usual = { queryTimes: [2, 3, 4, 5, 6], keyTimes: [0, 1, 2, 3, 4, 5, 6] };
  const wanted = (times, more = {}) =>
    attention(query, keys, values, { bias: decayed(times, { theta: 2 }), ...more }).output;
  const output = temporal.forwardSync(query, keys, values);
  close(output, wanted(usual));
  close(temporal.forwardSync(query, keys, values, usual), found(output), 1e-6);
  const { keyTimes } = TIMES;
  close(temporal.forwardSync(query, keys, values, { keyTimes }), wanted({ queryTimes: keyTimes.slice(2), keyTimes }));
  const mask = { data: Array.from({ length: 35 }, (_, i) => i % 3 > 0), shape: [5, 7] };
  close(temporal.forwardSync(query, keys, values, { ...TIMES, mask }), wanted(TIMES, { mask }));
  const bias = random([5, 7], 6);
  const sum = decayed(TIMES, { theta: 2 });
  close(
    temporal.forwardSync(query, keys, values, { ...TIMES, bias }),
    attention(query, keys, values, { bias: { data: sum.data.map((x, i) => x + bias.data[i]), shape: [5, 7] } }).output,
  );
  const short = { data: Array.from({ length: 35 }, (_, i) => i % 7 < 4), shape: [5, 7] };
  close(temporal.forwardSync(query, keys, values, { ...TIMES, keyLengths: 4 }), wanted(TIMES, { mask: short }));
  const window = temporal.forwardSync(query, keys, values, { mask: { type: "window", window: 1 } });
  const seen = { data: Array.from({ length: 35 }, (_, i) => Math.abs((i % 7) - Math.floor(i / 7) - 2) <= 1), shape: [5, 7] };
  close(window, wanted(usual, { mask: seen }), 2e-6, "a window");
  const bank = ra.memorySync(keys, values);
  close(temporal.forwardSync(query, bank, TIMES), wanted(TIMES), 2e-6, "a memory");
  const both = temporal.forwardSync(stacked(query, query), keys, values, TIMES);
  close(both, stacked(wanted(TIMES), wanted(TIMES)), 2e-6, "a batch");
  close(await temporal.forward(query, keys, values, TIMES), wanted(TIMES), 2e-6, "a promise");
  bank.free();
  temporal.free();
}); // biome-ignore format: a line a rule

check("many queries and keys see what they may, at once and by a promise", async (ra) => {
  const [q, k, v] = [random([300, 32], 1), random([500, 32], 2), random([500, 16], 3)].map((x) => scaled(x, 0.2));
  const times = (n, step) => Array.from({ length: n }, (_, i) => Math.floor(i * step));
  const given = { queryTimes: times(300, 0.9), keyTimes: times(500, 0.6) };
  const expected = attention(q, k, v, { bias: decayed(given, {}) }).output;
  for (const [name, config, options, wanted] of [
    ["temporal", { dim: 32 }, given, expected],
    ["temporal", { dim: 32, encoding: "time2vec" }, given],
    ["graph_rope", { dim: 32, numHeads: 4 }, { queryPositions: times(300, 3), keyPositions: times(500, 2) }],
  ]) {
    const each = ra.createSync(name, config);
    const output = each.forwardSync(q, k, v, options);
    if (wanted) close(output, wanted, 2e-6, name);
    close(await each.forward(q, k, v, options), found(output), 1e-6, `${name} by a promise`);
    const weights = each.attentionWeightsSync(q, k, options);
    close(await each.attentionWeights(q, k, options), found(weights), 1e-6, `weights of ${name} by a promise`);
    each.free();
  }
}); // biome-ignore format: a line a mechanism

check("waves of the time are added to queries and keys", (ra) => {
  const temporal = ra.createSync("temporal", { dim: 4, encoding: "time2vec", timeDim: 3, seed: 2, causal: false });
  const state = temporal.stateDictSync();
  const waves = (times) =>
    times.flatMap((time) => {
      const angles = Array.from(state.time_frequency, (f, i) => f * (time - TIMES.keyTimes[0]) + state.time_phase[i]);
      return [angles[0], ...angles.slice(1).map(Math.sin)];
    });
  const added = (x, times, weight) => {
    const [all, columns] = [waves(times), Array.from({ length: 4 }, (_, c) => [0, 1, 2].map((i) => weight[i * 4 + c]))];
    return { data: Float64Array.from(x.data, (y, i) => y + dot(columns[i % 4], all.slice(3 * Math.floor(i / 4)))), shape: x.shape };
  };
  // dot() runs along its first argument
  const q = added(query, TIMES.queryTimes, state.time_query_weight);
  const k = added(keys, TIMES.keyTimes, state.time_keys_weight);
  close(temporal.forwardSync(query, keys, values, TIMES), attention(q, k, values).output);
  close(temporal.forwardSync(stacked(query, query), keys, values, TIMES), stacked(...[1, 2].map(() => attention(q, k, values).output)));
  temporal.free();
}); // biome-ignore format: a line a formula

check("a sequence attends to itself, with its timestamps or without", async (ra) => {
  const temporal = ra.createSync("temporal", { dim: 4 });
  const { values: output, weights, metadata } = temporal.computeSync(keys, TIMES.keyTimes);
  const expected = attention(keys, keys, keys, {
    bias: decayed({ queryTimes: TIMES.keyTimes, keyTimes: TIMES.keyTimes }, {}),
  });
  close(output, expected.output);
  close(weights, { data: expected.weights.data, shape: [7, 7] });
  equal(metadata, { sequence_length: 7, has_timestamps: true, attention_type: "temporal" });
  const plain = await temporal.compute(keys);
  equal(plain.metadata.has_timestamps, false);
  close(plain.values, found(temporal.forwardSync(keys, keys, keys)), 0);
  temporal.free();
});

check("positions and times that do not fit are refused by name", async (ra, api) => {
  const { DimensionMismatchError, OutOfBoundsError, NumericalInstabilityError, UnsupportedError, InvalidConfigError } = api;
  const rope = ra.createSync("graph_rope", { dim: 4, maxPosition: 8 });
  const temporal = ra.createSync("temporal", { dim: 4 });
  const halves = ra.createSync("temporal", { dim: 4, numHeads: 2 });
  const waves = ra.createSync("temporal", { dim: 4, encoding: "time2vec" });
  const ok = TIMES.keyTimes;
  const refused = [
    [() => rope.forward(query, keys, values, { keyPositions: [1, 2] }), DimensionMismatchError, /^key_positions is \(2,\); expected a shape that broadcasts to \(7,\)/],
    [() => rope.forward(query, keys, values, { queryPositions: [0, 1, -9, 0, 0] }), OutOfBoundsError, /^query_positions reaches 9; expected at most max_position = 8, without sign/],
    [() => rope.forward(query, keys, values, { queryPositions: [0, 1, NaN, 0, 0] }), NumericalInstabilityError, /^query_positions holds nan at index \(2,\)/],
    [() => rope.forward(query, keys, values, { keyPosition: 1 }), UnsupportedError, /^unknown option 'keyPosition'; did you mean 'keyPositions'/],
    [() => rope.forward(query, keys, values, { keyTimes: ok }), UnsupportedError, /^unknown option 'keyTimes'/],
    [() => rope.forward(query, keys, values, { training: true }), UnsupportedError, /pyodide/],
    [() => rope.applyRotary(random([3, 5], 1), 0), DimensionMismatchError, /^x is \(3, 5\); expected \(\.\.\., dim\) with dim = 4/],
    [() => rope.distanceToPosition([1, -1], 8), OutOfBoundsError, /^distance holds NaN or a negative number/],
    [() => rope.distanceToPosition([1], 0), OutOfBoundsError, /^max_distance is 0; expected more than 0/],
    [() => ra.create("graph_rope", { dim: 4, base: 1 }), InvalidConfigError, /^base is 1; expected above 1/],
    [() => ra.create("graph_rope", { dim: 4, numHeads: 3 }), InvalidConfigError, /^dim is 4; expected a multiple of num_heads = 3/],
    [() => temporal.forward(query, keys, values, { keyTimes: [1, 2] }), DimensionMismatchError, /^key_times is \(2,\); expected \(n_key,\) with n_key = 7/],
    [() => temporal.forward(query, keys, values, { keyTimes: [0, 1, 2, 1.5, 4, 5, 6] }), OutOfBoundsError, /^key_times is not in order: 1.5 at index 3 follows 2; expected sorted timestamps/],
    [() => temporal.forward(query, keys, values, { queryTimes: [0, 1, Infinity, 3, 4] }), NumericalInstabilityError, /^query_times holds inf at index \(2,\)/],
    [() => temporal.forward(query, first(keys, 3), first(values, 3)), DimensionMismatchError, /^query_times is None for 5 queries and 3 keys/],
    [() => temporal.forward(query, keys, values, { ...TIMES, mask: { type: "causal" } }), UnsupportedError, /^a mask's type beside timestamps needs load\(\{ runtime: 'pyodide' \}\)/],
    [() => temporal.forward(query, { ...keys, data: keys.data.map((x, i) => (i === 9 ? NaN : x)) }, values, TIMES), NumericalInstabilityError, /^keys holds nan at index \(2, 1\)/],
    [() => halves.forward(query, keys, values), DimensionMismatchError, /^values have 3 channels; expected a multiple of num_heads = 2/],
    [() => waves.forward(query, keys, values, { keyTimes: [0, 1, 2, 3, 4, 5, 1e300] }), NumericalInstabilityError, /2\^52 or more/],
    [() => ra.create("temporal", { dim: 4, encoding: "wave" }), InvalidConfigError, /^encoding is 'wave'/],
  ];
  for (const [body, Expected, message] of refused) await throws(body, Expected, message);
  assert(rope.forwardSync(query, keys, values, HOPS.queryPositions ? { keyPositions: 1 } : {}).length === 15, "the length after errors");
  for (const each of [rope, temporal, halves, waves]) each.free();
}); // biome-ignore format: a table
