/** The kernels over points of the Poincaré ball, row by row. */
import type { Engine, Output } from "./engine.js";
import type { KernelCall } from "./kernels.js";
import type { Source } from "./numbers.js";
import type { Placed } from "./staging.js";

/** enum of kernels/points.c. */
export const OPERATIONS = {
  inside: 0,
  stretched: 1,
  extended: 2,
  log0: 3,
  exp0: 4,
  midpoint: 5,
  distance: 6,
  sum: 7,
} as const;
export type Operation = keyof typeof OPERATIONS;

/** How far inside points lie that came from outside, and results, as a share of the radius. */
export const INPUT_EPS = 1e-6;
export const OUTPUT_EPS = 5e-7;

const ROWS = ["rows", "dim", "operation", "curvature", "eps", "x", "y", "out"] as const;
const MIDPOINTS = ["n_query", "n_key", "dim", "curvature", "eps", "weights", "values", "out"] as const;
const FEW = [
  "n_query",
  "n_key",
  "dim",
  "dim_value",
  "scale",
  "curvature",
  "query",
  "keys",
  "values",
  "out",
] as const;

export class Ball {
  static readonly #known = new WeakMap<Engine, Ball>();
  readonly #rows: KernelCall<(typeof ROWS)[number]>;
  readonly #midpoints: KernelCall<(typeof MIDPOINTS)[number]>;
  readonly #few: KernelCall<(typeof FEW)[number]>;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#rows = kernels.call("ball_rows", ROWS);
    this.#midpoints = kernels.call("ball_midpoints", MIDPOINTS);
    this.#few = kernels.call("ball_attention", FEW);
  }

  static of(engine: Engine): Ball {
    const known = Ball.#known.get(engine) ?? new Ball(engine);
    Ball.#known.set(engine, known);
    return known;
  }

  /** Columns of what an operation makes of rows of `columns`. */
  static columns(operation: Operation, columns: number): number {
    return operation === "distance"
      ? 1
      : columns + Number(operation === "extended") - Number(operation === "midpoint");
  }

  /** The operation on every row of x; y, which has as many, is where kernels read it. The kernel's status. */
  map(operation: Operation, x: Source, c: number, out: Output, eps = INPUT_EPS, y = 0): number {
    const { kernels } = this.engine;
    const columns = x.shape.at(-1) as number;
    const width = Ball.columns(operation, columns);
    const { slots } = this.#rows;
    let done = 0;
    return this.engine.rowByRow(x, width, out, (from, rows, to) => {
      const dim = operation === "midpoint" ? width : columns;
      const { words, f64 } = kernels;
      words[slots.rows] = rows;
      words[slots.dim] = dim;
      words[slots.operation] = OPERATIONS[operation];
      f64[slots.curvature >>> 1] = c;
      f64[slots.eps >>> 1] = eps;
      kernels.buffer(slots.x, from, rows * columns);
      kernels.buffer(slots.y, y === 0 ? 0 : y + 4 * done * dim, y === 0 ? 0 : rows * dim);
      kernels.buffer(slots.out, to, rows * width);
      done += rows;
      return kernels.run(this.#rows, 8 * rows * columns);
    });
  }

  /** Midpoints of values (n_key, dim) by weights (n_query, n_key). */
  midpoints(
    nQuery: number,
    nKey: number,
    dim: number,
    c: number,
    weights: number,
    values: number,
    out: number,
  ): void {
    const { kernels } = this.engine;
    const { words, f64 } = kernels;
    const { slots } = this.#midpoints;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.dim] = dim;
    f64[slots.curvature >>> 1] = c;
    f64[slots.eps >>> 1] = OUTPUT_EPS;
    kernels.buffer(slots.weights, weights, nQuery * nKey);
    kernels.buffer(slots.values, values, nKey * dim);
    kernels.buffer(slots.out, out, nQuery * dim);
    kernels.run(this.#midpoints, 4 * nQuery * nKey * dim);
  }

  /** Everything at once, for a few queries; its status is not 0 where that is not this kernel's to answer. */
  few(
    sizes: { nQuery: number; nKey: number; dim: number; dimValue: number },
    [query, keys, values]: readonly Placed[],
    scale: number,
    c: number,
    out: number,
  ): number {
    const { kernels } = this.engine;
    const { words, f64 } = kernels;
    const { slots } = this.#few;
    const { nQuery, nKey, dim, dimValue } = sizes;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.dim] = dim;
    words[slots.dim_value] = dimValue;
    f64[slots.scale >>> 1] = scale;
    f64[slots.curvature >>> 1] = c;
    kernels.buffer(slots.query, (query as Placed).pointer, nQuery * dim);
    kernels.buffer(slots.keys, (keys as Placed).pointer, nKey * dim);
    kernels.buffer(slots.values, (values as Placed).pointer, nKey * dimValue);
    kernels.buffer(slots.out, out, nQuery * dimValue);
    return kernels.run(this.#few, nQuery * nKey * (2 * dim + dimValue));
  }
}
