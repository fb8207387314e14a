/** The kernels of linear attention: what is made of rows, running sums over keys, and the directions of random features. */
import type { Engine } from "./engine.js";
import type { Area, KernelCall } from "./kernels.js";

/** enum of kernels/features.c. */
export const MAPS = { favor: 0, elu: 1, relu: 2, scaled: 3 } as const;

const LOGS = ["rows", "dim", "map", "factor", "x", "addend", "out"] as const;
const SUMS = [
  "batch", "n_query", "n_key", "dim", "features", "dim_value", "causal", "block", "stop",
  "query", "keys", "addend", "weight", "values", "sums", "peaks", "out", "lse",
] as const; // biome-ignore format: in the order of kernels.def
const AREAS = ["query", "keys", "terms", "sums", "peaks", "lse"] as const;
/** An area that took more than this is given back after the call. */
const KEPT_BYTES = 4 << 20;
/** Rows whose triangle may be computed whole. */
const BLOCK = 128;

/** One item: pointers, 0 for none. */
export interface Item {
  readonly query: number;
  readonly keys: number;
  readonly addend: number;
  readonly weight: number;
  readonly values: number;
  readonly out: number;
}

export interface Sizes {
  readonly nQuery: number;
  readonly nKey: number;
  readonly dim: number;
  readonly features: number;
  readonly dimValue: number;
}

export class Prefix {
  static readonly #known = new WeakMap<Engine, Prefix>();
  /** Room for what is made of one item. */
  readonly areas: Readonly<Record<(typeof AREAS)[number], Area>>;
  readonly #logs: KernelCall<(typeof LOGS)[number]>;
  readonly #sums: KernelCall<(typeof SUMS)[number]>;
  readonly #orthogonal: KernelCall<"count" | "dim" | "x" | "lengths" | "out">;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#logs = kernels.call("feature_logs", LOGS);
    this.#sums = kernels.call("prefix_attention", SUMS);
    this.#orthogonal = kernels.call("orthogonal_rows", ["count", "dim", "x", "lengths", "out"]);
    this.areas = Object.fromEntries(AREAS.map((name) => [name, kernels.area()])) as typeof this.areas;
  }

  static of(engine: Engine): Prefix {
    const known = Prefix.#known.get(engine) ?? new Prefix(engine);
    Prefix.#known.set(engine, known);
    return known;
  }

  /** What a map makes of x (rows, dim); the kernel's status. */
  logs(
    map: keyof typeof MAPS,
    x: number,
    rows: number,
    dim: number,
    factor: number,
    addend: number,
    out: number,
  ): number {
    const { kernels } = this.engine;
    const { slots } = this.#logs;
    const count = rows * dim;
    kernels.words[slots.rows] = rows;
    kernels.words[slots.dim] = dim;
    kernels.words[slots.map] = MAPS[map];
    kernels.f64[slots.factor >>> 1] = factor;
    kernels.buffer(slots.x, x, count);
    kernels.buffer(slots.addend, addend, addend === 0 ? 0 : rows);
    kernels.buffer(slots.out, out, map === "favor" ? rows : count);
    return kernels.run(this.#logs, 8 * count);
  }

  /** Outputs of one item; the kernel's status. */
  attend(item: Item, { nQuery, nKey, dim, features, dimValue }: Sizes, causal: boolean): number {
    const { kernels } = this.engine;
    const { slots } = this.#sums;
    const table = (dimValue + 1) * features;
    const sums = this.areas.sums.take(4 * table);
    const peaks = this.areas.peaks.take(4 * features);
    const lse = this.areas.lse.take(4 * nQuery);
    const { words } = kernels;
    words[slots.batch] = words[slots.stop] = 1;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.dim] = dim;
    words[slots.features] = features;
    words[slots.dim_value] = dimValue;
    words[slots.causal] = Number(causal);
    words[slots.block] = BLOCK;
    kernels.buffer(slots.query, item.query, nQuery * dim);
    kernels.buffer(slots.keys, item.keys, nKey * dim);
    kernels.buffer(slots.addend, item.addend, item.addend === 0 ? 0 : nKey);
    kernels.buffer(slots.weight, item.weight, item.weight === 0 ? 0 : features * dim);
    kernels.buffer(slots.values, item.values, nKey * dimValue);
    kernels.buffer(slots.sums, sums, table);
    kernels.buffer(slots.peaks, peaks, features);
    kernels.buffer(slots.out, item.out, nQuery * dimValue);
    kernels.buffer(slots.lse, lse, nQuery);
    return kernels.run(this.#sums, (nQuery + nKey) * features * (dim + dimValue + BLOCK / 4));
  }

  /** `count` rows (dim), orthogonal and as long as those of `lengths`, of a matrix (dim, dim). */
  orthogonal(matrix: Float64Array, lengths: Float64Array, count: number, dim: number): Float32Array {
    const { kernels, staging } = this.engine;
    const { slots } = this.#orthogonal;
    const from = kernels.stageDoubles(this.areas.query, matrix);
    const along = kernels.stageDoubles(this.areas.keys, lengths);
    const to = kernels.begin(staging.areas.out, count * dim);
    kernels.words[slots.count] = count;
    kernels.words[slots.dim] = dim;
    kernels.buffer(slots.x, from, dim * dim);
    kernels.buffer(slots.lengths, along, count * dim);
    kernels.buffer(slots.out, to, count * dim);
    kernels.run(this.#orthogonal);
    const rows = kernels.finish(to, count * dim);
    this.trim();
    return rows;
  }

  trim(): void {
    for (const name of AREAS) this.areas[name].trim(KEPT_BYTES);
    this.engine.staging.trim();
  }
}
