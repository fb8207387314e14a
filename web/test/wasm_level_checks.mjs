/** What the runtime of the kernels must do of hierarchical attention, against its formula in double precision. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { dot, found, row, stacked } from "./wasm_inputs.mjs";
import { project, random } from "./wasm_reference.mjs";

export const levelChecks = [];
const check = (what, body) => levelChecks.push([what, body]);

const items = random([8, 5], 4);
const LEVELS = [2, 0, 0, 2, 4, 0, 2, 2]; // levels 1 and 3 have no items

/** Rows pooled by their groups: the summaries, and the weight of each row. */
function pooled(rows, groups, n, state, name, temperature) {
  const weight = { data: state[`${name}_weight`], shape: state[`${name}_weight`].shape };
  const angles = project(rows, weight, { data: state[`${name}_bias`] });
  const context = state[`${name}_context`];
  const scores = groups.map((_, i) => dot(Array.from(row(angles, i), Math.tanh), context) / temperature);
  const sums = Array.from({ length: n }, (_, g) => scores.reduce((all, s, i) => all + (groups[i] === g ? Math.exp(s) : 0), 0));
  const weights = scores.map((s, i) => Math.exp(s) / sums[groups[i]]);
  const dim = rows.shape[1];
  const data = Array.from({ length: n * dim }, (_, at) =>
    weights.reduce((all, w, i) => all + (groups[i] === Math.floor(at / dim) ? w * row(rows, i)[at % dim] : 0), 0),
  );
  return { summaries: { data: Float64Array.from(data), shape: [n, dim] }, weights };
} // biome-ignore format: a line a formula

function expected(state, { temperature = 1 } = {}, levelWeights = undefined, given = items, levels = LEVELS) {
  const present = [...new Set(levels)].sort((a, b) => a - b);
  const groups = levels.map((level) => present.indexOf(level));
  const inside = pooled(given, groups, present.length, state, "item", temperature);
  const own = levelWeights && present.map((level) => levelWeights[level]);
  const total = own?.reduce((a, b) => a + b, 0);
  const across = pooled(inside.summaries, present.map(() => 0), 1, state, "summary", temperature);
  const shares = own ? own.map((x) => x / total) : across.weights;
  const output = Array.from({ length: given.shape[1] }, (_, c) =>
    shares.reduce((all, share, l) => all + share * row(inside.summaries, l)[c], 0),
  );
  const weights = inside.weights.map((w, i) => w * shares[groups[i]]);
  return { output: { data: output, shape: [given.shape[1]] }, weights: { data: weights, shape: [levels.length] } };
} // biome-ignore format: a line a formula

check("levels are summed up, and their summaries, or by given weights", async (ra) => {
  for (const config of [{ dim: 5 }, { dim: 5, temperature: 0.3, seed: 4 }]) {
    const levels = ra.createSync("hierarchical", config);
    const state = levels.stateDictSync();
    for (const levelWeights of [undefined, [3, 0, 1, 0, 0.5], [3, 7, 1, 2, 0.5, 9]]) {
      const wanted = expected(state, config, levelWeights);
      const options = levelWeights ? { levelWeights } : {};
      close(levels.forwardSync(items, LEVELS, options), wanted.output);
      close(await levels.forward(items, LEVELS, options), wanted.output, 2e-6, "by a promise");
      close(levels.attentionWeightsSync(items, LEVELS, options), wanted.weights);
      close(
        await levels.attentionWeights(items, LEVELS, options),
        wanted.weights,
        2e-6,
        "weights by a promise",
      );
      const both = levels.forwardSync(stacked(items, random([8, 5], 6)), LEVELS, options);
      const other = expected(state, config, levelWeights, random([8, 5], 6));
      close(both, stacked(wanted.output, other.output), 2e-6, "two at once");
      const weights = levels.attentionWeightsSync(stacked(items, random([8, 5], 6)), LEVELS, options);
      close(weights, stacked(wanted.weights, other.weights), 2e-6, "weights of two");
    }
    const [item] = await levels.forwardBatch([{ items, levels: LEVELS, levelWeights: [1, 0, 0, 0, 1] }]);
    close(item, expected(state, config, [1, 0, 0, 0, 1]).output, 2e-6, "in a batch");
    levels.free();
  }
});

check("features level by level, of which some may have no items, give their weights level by level", async (ra) => {
  const levels = ra.createSync("hierarchical", { dim: 5 });
  const of = (level) => LEVELS.flatMap((own, i) => (own === level ? [[...row(items, i)]] : []));
  const features = [0, 1, 2, 3, 4].map(of);
  const sorted = [0, 2, 4].flatMap((level) => LEVELS.map((own, i) => [own, i]).filter(([own]) => own === level));
  const wanted = expected(levels.stateDictSync());
  const { values, weights, metadata } = levels.computeSync(features);
  close(values, wanted.output);
  equal(weights.map(({ length }) => length), [3, 0, 4, 0, 1]);
  const all = Float64Array.from(weights.flatMap((each) => [...each]));
  close(all, { data: sorted.map(([, i]) => wanted.weights.data[i]) });
  equal(metadata, { num_levels: 5, has_level_weights: false, attention_type: "hierarchical" });
  const given = await levels.compute(features, [1, 0, 0, 0, 3]);
  close(given.values, expected(levels.stateDictSync(), {}, [1, 0, 0, 0, 3]).output);
  equal(given.metadata.has_level_weights, true);
  const even = levels.computeSync({ data: items.data.slice(0, 30), shape: [3, 2, 5] }); // levels of one size, as one array
  equal(even.weights.map(({ shape }) => shape), [[2], [2], [2]]);
  close(even.values, expected(levels.stateDictSync(), {}, undefined, { data: items.data.slice(0, 30), shape: [6, 5] }, [0, 0, 1, 1, 2, 2]).output);
  levels.free();
}); // biome-ignore format: a line a level

check("many items give at once and by a promise the same, and scores beyond exponentials weights of sum 1", async (ra) => {
  const wide = random([4000, 64], 7, 40);
  const own = Int32Array.from({ length: 4000 }, (_, i) => (i * 7919) % 5);
  const levels = ra.createSync("hierarchical", { dim: 64, temperature: 0.01 });
  const output = levels.forwardSync(wide, own);
  close(await levels.forward(wide, own), found(output), 1e-6);
  const weights = await levels.attentionWeights(wide, own);
  const sum = weights.reduce((a, b) => a + b, 0);
  assert(Math.abs(sum - 1) < 1e-5, `the weights sum to ${sum}`);
  const { values, weights: byLevel } = await levels.compute(random([4, 1000, 64], 7, 40));
  equal([values.shape, byLevel.map(({ length }) => length)], [[64], [1000, 1000, 1000, 1000]]);
  const all = byLevel.flatMap((each) => [...each]).reduce((a, b) => a + b, 0);
  assert(Math.abs(all - 1) < 1e-5, `the weights of all levels sum to ${all}`);
  levels.free();
}); // biome-ignore format: a line a call

check("items and levels that do not fit are refused by name", async (ra, api) => {
  const { DimensionMismatchError, OutOfBoundsError, NumericalInstabilityError, UnsupportedError, EmptyInputError, InvalidConfigError } = api;
  const levels = ra.createSync("hierarchical", { dim: 5 });
  const refused = [
    [() => levels.forward(items, [0, 1]), DimensionMismatchError, /^levels is \(2,\); expected \(n_item,\) with n_item = 8/],
    [() => levels.forward(items, LEVELS.map((x) => x + 0.5)), UnsupportedError, /^levels is an array of float32; expected integers/],
    [() => levels.forward(items, LEVELS.map((x) => x - 1)), OutOfBoundsError, /^levels holds -1; expected at least 0/],
    [() => levels.forward(items), UnsupportedError, /^levels is missing; expected \(items, levels\)/],
    [() => levels.forward(random([8, 4], 1), LEVELS), DimensionMismatchError, /^items is \(8, 4\); expected \(n_item, dim\) with dim = 5/],
    [() => levels.forward({ ...items, data: items.data.map((x, i) => (i === 7 ? NaN : x)) }, LEVELS), NumericalInstabilityError, /^items holds nan at index \(1, 2\)/],
    [() => levels.forward(items, LEVELS, { levelWeights: [1, 2] }), DimensionMismatchError, /^level_weights is \(2,\); expected \(n_level,\) with n_level = 5/],
    [() => levels.forward(items, LEVELS, { levelWeights: [1, 1, -1, 0, 0] }), OutOfBoundsError, /^level_weights holds a negative number or nothing but 0/],
    [() => levels.forward(items, LEVELS, { levelWeights: [0, 1, 0, 1, 0] }), OutOfBoundsError, /^level_weights holds a negative number or nothing but 0/],
    [() => levels.forward(items, LEVELS, { levelWeights: [1, 1, NaN, 0, 0] }), NumericalInstabilityError, /^level_weights holds nan at index \(2,\)/],
    [() => levels.forward(items, LEVELS, { mask: [1] }), UnsupportedError, /^unknown option 'mask'/],
    [() => levels.forward(items, LEVELS, { training: true }), UnsupportedError, /pyodide/],
    [() => levels.compute([[], []]), EmptyInputError, /^hierarchical_features holds no item/],
    [() => levels.compute([[[1, 2]]]), DimensionMismatchError, /^level 0 is \(1, 2\); expected \(n_item, dim\) with dim = 5/],
    [() => ra.create("hierarchical", { dim: 5, temperature: 0 }), InvalidConfigError, /^temperature is 0; expected above 0/],
  ];
  for (const [body, Expected, message] of refused) await throws(body, Expected, message);
  const bank = ra.memorySync(items);
  await throws(() => bank.project(levels), UnsupportedError, /cannot read a memory/);
  bank.free();
  levels.free();
}); // biome-ignore format: a table
