/** HierarchicalAttention: attention inside of each level, then across the summaries of the levels. */
import type { Rules } from "../description.js";
import { EmptyInputError, NumericalInstabilityError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import { type Home, isOptions, newOutput } from "./attention.js";
import type { Bank } from "./bank.js";
import type { Output } from "./engine.js";
import { type Hold, holding } from "./holding.js";
import { Lasting } from "./lasting.js";
import { LevelCalls, type Lists } from "./level_calls.js";
import { given, type Numbers, numbers, type Resident, refuse, sizeOf, written } from "./numbers.js";
import { Parameters, xavier } from "./parameters.js";
import type { Settings } from "./settings.js";
import { mismatch } from "./signature.js";

export { RULES } from "./rules/hierarchical.gen.js";

const OPTIONS = ["levelWeights", "training", "checkFinite", "transfer", "signal"];

/** A call, checked. */
interface Call {
  readonly items: Numbers;
  /** The items of every level that has some, level by level, and each item's place among these levels. */
  readonly inside: Lists;
  readonly groups: Int32Array;
  /** By given weights, those of the levels that have items, of sum 1. */
  readonly shares: Float32Array | undefined;
  readonly checkFinite: boolean;
}

class Hierarchical extends Lasting {
  constructor(home: Home, mechanism: Rules, config: object) {
    super(home, mechanism, config);
    const { dim, seed } = this.settings as { dim?: number; seed: number };
    if (dim === undefined) return;
    const learned = ["item", "summary"].flatMap((name) => [
      xavier(`${name}_weight`, dim, dim),
      { name: `${name}_bias`, shape: [dim] },
      xavier(`${name}_context`, dim, 1, [dim]),
    ]);
    this.parameters = new Parameters(home, learned, seed);
    home.own(this, this.parameters.release);
  }

  protected fixedAxes({ dim }: Settings): Record<string, number> {
    return { dim: dim as number };
  }

  override keep(_memory: Bank): void {
    this.open();
    throw new UnsupportedError(
      `${this.mechanism.class} cannot read a memory; expected a mechanism over keys and values`,
    );
  }

  forwardSync(...args: unknown[]): Tensor {
    const call = this.#bind(args);
    const { dim } = this.settings as { dim: number };
    const lead = call.items.shape.slice(0, -2);
    const out = newOutput([...lead, dim]);
    const { engine } = this;
    const { kernels, staging } = engine;
    holding(engine, (hold) => {
      const nLevel = call.inside.indptr.length - 1;
      const items = this.#kept(call, hold);
      const summaries = hold([...lead, nLevel, dim]);
      this.#pool("item", items, this.#hidden("item", items, hold), call.inside, call, summaries);
      if (call.shares) {
        const weights = kernels.stage(staging.areas.lse, call.shares, 0, nLevel);
        LevelCalls.of(engine).sums(weights, summaries, out);
      } else {
        this.#pool(
          "summary",
          summaries,
          this.#hidden("summary", summaries, hold),
          oneList(nLevel),
          call,
          out,
        );
      }
    });
    return tensor(out, [...lead, dim]);
  }

  /** The weight of every item in the output, (..., n_item): that inside of its level times that of the level. */
  attentionWeightsSync(...args: unknown[]): Tensor {
    const call = this.#bind(args);
    const lead = call.items.shape.slice(0, -2);
    const nItem = call.items.shape.at(-2) as number;
    const out = newOutput([...lead, nItem]);
    holding(this.engine, (hold) => {
      const nLevel = call.inside.indptr.length - 1;
      const items = this.#kept(call, hold);
      const hidden = this.#hidden("item", items, hold);
      const shares = hold([...lead, nLevel, 1]);
      if (call.shares) {
        for (let item = 0; item < sizeOf(lead); item++)
          this.engine.kernels.write(shares.pointer + 4 * item * nLevel, call.shares);
      } else {
        const summaries = hold([...lead, nLevel, items.shape.at(-1) as number]);
        this.#pool("item", items, hidden, call.inside, call, summaries);
        this.#weigh("summary", this.#hidden("summary", summaries, hold), oneList(nLevel), undefined, shares);
      }
      this.#weigh("item", hidden, call.inside, shares, out);
    });
    return tensor(out, [...lead, nItem]);
  }

  /** { values, weights, metadata } of features [level][item][channel]; each level has as many items as it likes. */
  computeSync(hierarchicalFeatures: unknown, levelWeights: unknown = null): Record<string, unknown> {
    this.open();
    const { dim } = this.settings as { dim: number };
    const parts = levelsOf(hierarchicalFeatures).map((level, i) => partOf(level, i, dim));
    const sizes = parts.map(({ shape }) => shape[0] as number);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total === 0) throw new EmptyInputError("hierarchical_features holds no item; expected at least one");
    const items = { data: new Float32Array(total * dim), shape: [total, dim] };
    const levels = Int32Array.from(sizes.flatMap((size, level) => new Array<number>(size).fill(level)));
    let at = 0;
    for (const { data } of parts) {
      items.data.set(data, at);
      at += data.length;
    }
    const how = { levelWeights };
    const values = this.forwardSync(items, levels, how);
    // Cut into those of the levels: they are needed at once.
    const all = this.engine.kernels.now(() => this.attentionWeightsSync(items, levels, how));
    let end = 0;
    const weights = sizes.map((size) => {
      end += size;
      return tensor(all.slice(end - size, end), [size]);
    });
    const metadata = {
      num_levels: parts.length,
      has_level_weights: levelWeights !== null,
      attention_type: this.mechanism.name,
    };
    return { values, weights, metadata };
  }

  #bind(args: readonly unknown[]): Call {
    this.open();
    const positional = [...args];
    const last = positional.at(-1);
    const options: Record<string, unknown> = isOptions(last) ? last : {};
    if (isOptions(last)) positional.pop();
    for (const name of Object.keys(options))
      if (!OPTIONS.includes(name))
        throw new UnsupportedError(`unknown option '${name}'; known: ${OPTIONS.join(", ")}`);
    if (options.training === true) {
      throw new UnsupportedError(
        "training needs load({ runtime: 'pyodide' }); this runtime computes forward only",
      );
    }
    while (positional.length > 0 && positional.at(-1) === undefined) positional.pop();
    if (positional.length > 2)
      throw new UnsupportedError(`${positional.length} inputs came; expected (items, levels)`);
    const [given, levels] = positional;
    this.require(
      [["items", given] as const, ["levels", levels] as const].filter(([, value]) => value !== undefined),
      ["items", "levels"],
    );
    const items = this.signature.bind([["items", given]]).arrays[0] as Numbers;
    const nItem = items.shape.at(-2) as number;
    const own = levelNumbers(levels, nItem);
    const present = [...new Set(own)].sort((a, b) => a - b);
    const places = new Map(present.map((level, i) => [level, i]));
    const groups = Int32Array.from(own, (level) => places.get(level) as number);
    const { levelWeights = null } = options;
    const shares = levelWeights === null ? undefined : sharesOf(levelWeights, present);
    return {
      items,
      inside: listsOf(groups, present.length),
      groups,
      shares,
      checkFinite: options.checkFinite !== false,
    };
  }

  /** The items where the kernels read them. */
  #kept({ items, checkFinite }: Call, hold: Hold): Resident {
    const { kernels, staging } = this.engine;
    const own = hold(items.shape);
    kernels.write(own.pointer, items.data);
    if (checkFinite && !staging.allFinite(own.pointer, items.data.length))
      refuse("items", items, Number.isFinite, "finite numbers");
    return own;
  }

  #learned(name: string): number {
    return (this.parameters as Parameters).at(name);
  }

  /** tanh(rows W + b), (..., n, dim). */
  #hidden(name: string, rows: Resident, hold: Hold): Resident {
    const { dim } = this.settings as { dim: number };
    const angles = hold(rows.shape);
    this.engine.project(
      rows,
      this.#learned(`${name}_weight`),
      dim,
      this.#learned(`${name}_bias`),
      dim,
      angles,
    );
    const hidden = hold(rows.shape);
    LevelCalls.of(this.engine).tanh(angles, hidden);
    return hidden;
  }

  /** Rows (..., n, dim) by lists of them: out (..., lists, dim). */
  #pool(
    name: string,
    rows: Resident,
    hidden: Resident,
    lists: Lists,
    { checkFinite }: Call,
    out: Output,
  ): void {
    const { temperature } = this.settings as { temperature: number };
    const context = this.#learned(`${name}_context`);
    const status = LevelCalls.of(this.engine).pool(context, hidden, rows, lists, 1 / temperature, out);
    if (status !== 0 && checkFinite) {
      throw new NumericalInstabilityError(
        "the result overflows float32 although items are finite; expected inputs of smaller magnitude",
      );
    }
  }

  /** The weights of rows inside of their lists times the share of the list, (..., n). */
  #weigh(name: string, hidden: Resident, lists: Lists, shares: Resident | undefined, out: Output): void {
    const { temperature } = this.settings as { temperature: number };
    const context = this.#learned(`${name}_context`);
    LevelCalls.of(this.engine).weigh(context, hidden, lists, shares, 1 / temperature, out);
  }
}

export const BODIES = { hierarchical: Hierarchical };

function levelNumbers(value: unknown, nItem: number): number[] {
  const { data, shape, dtype } = given("levels", value);
  if (!dtype.includes("int")) throw new UnsupportedError(`levels is an array of ${dtype}; expected integers`);
  if (shape.length !== 1 || shape[0] !== nItem) {
    const message = `levels is ${written(shape)}; expected (n_item,) with n_item = ${nItem}`;
    throw mismatch(message, [nItem], shape);
  }
  const levels = Array.from(data);
  const lowest = levels.reduce((least, level) => Math.min(least, level), 0);
  if (lowest < 0) throw new OutOfBoundsError(`levels holds ${lowest}; expected at least 0`);
  return levels;
}

/** The weights of these levels among the given ones, of sum 1. */
function sharesOf(value: unknown, present: readonly number[]): Float32Array {
  const array = numbers("level_weights", value);
  const nLevel = Math.max((present.at(-1) as number) + 1, array.data.length);
  if (array.shape.length !== 1 || array.shape[0] !== nLevel) {
    const message = `level_weights is ${written(array.shape)}; expected (n_level,) with n_level = ${nLevel}`;
    throw mismatch(message, [nLevel], array.shape);
  }
  refuse("level_weights", array, Number.isFinite, "finite numbers");
  const own = Float32Array.from(present, (level) => array.data[level] as number);
  const total = own.reduce((sum, x) => sum + x, 0);
  if (Array.from(array.data).some((x) => x < 0) || !(total > 0)) {
    throw new OutOfBoundsError("level_weights holds a negative number or nothing but 0; expected weights");
  }
  return own.map((x) => x / total);
}

/** Rows by the group of each, in the order in which they came. */
function listsOf(groups: Int32Array, nGroup: number): Lists {
  const indptr = new Int32Array(nGroup + 1);
  for (const group of groups) indptr[group + 1] = (indptr[group + 1] as number) + 1;
  for (let i = 0; i < nGroup; i++) indptr[i + 1] = (indptr[i + 1] as number) + (indptr[i] as number);
  const next = indptr.slice(0, nGroup);
  const indices = new Int32Array(groups.length);
  groups.forEach((group, row) => {
    const at = next[group] as number;
    next[group] = at + 1;
    indices[at] = row;
  });
  return { indptr, indices };
}

const oneList = (n: number): Lists => ({
  indptr: Int32Array.of(0, n),
  indices: Int32Array.from({ length: n }, (_, i) => i),
});

/** Levels as a list; those of one size may have come as one array. */
function levelsOf(features: unknown): unknown[] {
  if (Array.isArray(features)) return features;
  const { data, shape } = numbers("hierarchical_features", features);
  if (shape.length !== 3) {
    throw mismatch(
      `hierarchical_features is ${written(shape)}; expected [level][item][channel]`,
      3,
      shape.length,
    );
  }
  const size = sizeOf(shape.slice(1));
  return Array.from({ length: shape[0] as number }, (_, i) => ({
    data: data.subarray(i * size, (i + 1) * size),
    shape: shape.slice(1),
  }));
}

/** The items of one level, of which there may be none. */
function partOf(level: unknown, index: number, dim: number): Numbers {
  const part = numbers(`level ${index}`, level);
  if (part.data.length === 0) return { data: part.data, shape: [0, dim] };
  if (part.shape.length !== 2 || part.shape[1] !== dim) {
    const message = `level ${index} is ${written(part.shape)}; expected (n_item, dim) with dim = ${dim}`;
    throw mismatch(message, dim, part.shape.at(-1));
  }
  return part;
}
