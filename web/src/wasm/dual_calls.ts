/** The kernels of rows that lie in two spaces. */
import type { Engine, Scoring } from "./engine.js";
import type { KernelCall } from "./kernels.js";
import type { Resident, Shape } from "./numbers.js";

const POINTS = [
  "rows", "heads", "flat_dim", "curved_dim", "curvature", "eps", "flat", "curved", "points", "aux",
] as const; // biome-ignore format: in the order of kernels.def
const SCORES = [
  "n_query", "n_key", "heads", "flat_dim", "curved_dim", "curvature", "eps", "flat_weight", "curved_weight",
  "query_flat", "query_curved", "keys_flat", "keys_curved", "dots", "distances",
] as const; // biome-ignore format: likewise

/** How far inside of the ball points lie that come to its boundary, as a share of the radius. */
export const OUTPUT_EPS = 5e-7;

/** Rows (..., n, heads * channels) in the flat and the curved space. */
type Maps = readonly [flat: Resident, curved: Resident];

/** Of a head: its channels in each space; and -c is the curvature. */
interface Sizes {
  readonly heads: number;
  readonly flat: number;
  readonly curved: number;
  readonly c: number;
}

export class DualCalls {
  static readonly #known = new WeakMap<Engine, DualCalls>();
  readonly #points: KernelCall<(typeof POINTS)[number]>;
  readonly #scores: KernelCall<(typeof SCORES)[number]>;

  private constructor(private readonly engine: Engine) {
    this.#points = engine.kernels.call("dual_points", POINTS);
    this.#scores = engine.kernels.call("dual_scores", SCORES);
  }

  static of(engine: Engine): DualCalls {
    const known = DualCalls.#known.get(engine) ?? new DualCalls(engine);
    DualCalls.#known.set(engine, known);
    return known;
  }

  /** Both maps side by side, the curved one in the ball; and what distances need of each row and head. */
  points(
    [flat, curved]: Maps,
    sizes: Sizes & { rows: number; eps: number },
    points: Resident,
    aux: Resident,
  ): void {
    const { kernels } = this.engine;
    const { slots } = this.#points;
    const n = sizes.rows * sizes.heads;
    kernels.words[slots.rows] = sizes.rows;
    kernels.words[slots.heads] = sizes.heads;
    kernels.words[slots.flat_dim] = sizes.flat;
    kernels.words[slots.curved_dim] = sizes.curved;
    kernels.f64[slots.curvature >>> 1] = sizes.c;
    kernels.f64[slots.eps >>> 1] = sizes.eps;
    kernels.buffer(slots.flat, flat.pointer, n * sizes.flat);
    kernels.buffer(slots.curved, curved.pointer, n * sizes.curved);
    kernels.buffer(slots.points, points.pointer, n * (sizes.flat + sizes.curved));
    kernels.buffer(slots.aux, aux.pointer, 2 * n);
    kernels.run(this.#points, 8 * n * sizes.curved);
  }

  /** Both parts of the scores of all pairs, each (..., heads, n_query, n_key). */
  scores(
    query: Maps,
    keys: Maps,
    lead: Shape,
    how: Scoring,
    sizes: Sizes & { nQuery: number; nKey: number },
    weights: { flat: number; curved: number },
    out: readonly [Float32Array, Float32Array],
  ): void {
    const { kernels, staging } = this.engine;
    const { slots } = this.#scores;
    const { nQuery, nKey, heads, flat, curved, c } = sizes;
    const size = heads * nQuery * nKey;
    const operands = [...query, ...keys].map((source) => ({ source, width: source.shape.at(-1) as number }));
    const buffers = ["query_flat", "query_curved", "keys_flat", "keys_curved"] as const;
    this.engine.over(lead, operands, how, 8 * size, (part) => {
      for (let item = 0; item < part.count; item++) {
        const at = (part.at + item) * size;
        const targets = [staging.areas.out, staging.areas.lse].map((area, i) =>
          kernels.begin(area, size, out[i] as Float32Array, at),
        ) as [number, number];
        const { words, f64 } = kernels;
        words[slots.n_query] = nQuery;
        words[slots.n_key] = nKey;
        words[slots.heads] = heads;
        words[slots.flat_dim] = flat;
        words[slots.curved_dim] = curved;
        f64[slots.curvature >>> 1] = c;
        f64[slots.eps >>> 1] = OUTPUT_EPS;
        f64[slots.flat_weight >>> 1] = weights.flat;
        f64[slots.curved_weight >>> 1] = weights.curved;
        operands.forEach(({ source: { pointer, step } }, i) => {
          const own = (part.first[i] as number) + item * (part.steps[i] as number);
          kernels.buffer(slots[buffers[i] as (typeof buffers)[number]], pointer + 4 * own * step, step);
        });
        kernels.buffer(slots.dots, targets[0], size);
        kernels.buffer(slots.distances, targets[1], size);
        kernels.run(this.#scores, 2 * size * (flat + curved));
        targets.forEach((from, i) => {
          kernels.finish(from, size, out[i] as Float32Array, at);
        });
      }
      return 0;
    });
  }
}
