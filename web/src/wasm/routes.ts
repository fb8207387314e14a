/** The kernels that choose experts for rows, and that carry rows to them and back. */
import type { Engine } from "./engine.js";
import type { KernelCall } from "./kernels.js";
import type { Resident } from "./numbers.js";

const ROUTE = [
  "rows", "n_expert", "top_k", "capacity", "temperature", "logits", "experts", "weights", "losses",
] as const; // biome-ignore format: in the order of kernels.def
const GATHER = ["n_rows", "count", "dim", "x", "index", "out"] as const;
const SCATTER = ["n_rows", "count", "dim", "out_row", "factor", "x", "weights", "index", "out"] as const;

/** Which experts each row goes to, topK of them, best first and -1 for none, and their weights. */
export interface Routing {
  readonly experts: Float32Array;
  readonly weights: Float32Array;
  readonly topK: number;
  /** The load-balance loss and the z-loss, where they were asked for. */
  readonly losses: Float32Array | undefined;
  readonly isFinite: boolean;
}

/** Rows that one expert computed, where they go, and with which weights. */
export interface Computed {
  readonly rows: readonly number[];
  readonly weights: Float32Array;
  /** Of `width` numbers each; several times as many where there are heads, whose mean is meant. */
  readonly output: Float32Array;
  readonly width: number;
}

export class Routes {
  static readonly #known = new WeakMap<Engine, Routes>();
  readonly #route: KernelCall<(typeof ROUTE)[number]>;
  readonly #gather: KernelCall<(typeof GATHER)[number]>;
  readonly #scatter: KernelCall<(typeof SCATTER)[number]>;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#route = kernels.call("route_rows", ROUTE);
    this.#gather = kernels.call("gather_rows", GATHER);
    this.#scatter = kernels.call("scatter_rows", SCATTER);
  }

  static of(engine: Engine): Routes {
    const known = Routes.#known.get(engine) ?? new Routes(engine);
    Routes.#known.set(engine, known);
    return known;
  }

  /** From logits (rows, experts). A capacity of 0 is none. */
  choose(logits: Resident, topK: number, capacity: number, temperature: number, losses: boolean): Routing {
    const { kernels, staging } = this.engine;
    const [rows, count] = logits.shape as [number, number];
    const { areas } = staging;
    const experts = kernels.begin(areas.keys, rows * topK);
    const weights = kernels.begin(areas.values, rows * topK);
    const told = losses ? kernels.begin(areas.lse, 2) : 0;
    const { slots } = this.#route;
    const { words, f64 } = kernels;
    words[slots.rows] = rows;
    words[slots.n_expert] = count;
    words[slots.top_k] = topK;
    words[slots.capacity] = capacity;
    f64[slots.temperature >>> 1] = temperature;
    kernels.buffer(slots.logits, logits.pointer, rows * count);
    kernels.buffer(slots.experts, experts, rows * topK);
    kernels.buffer(slots.weights, weights, rows * topK);
    kernels.buffer(slots.losses, told, losses ? 2 : 0);
    const status = kernels.run(this.#route, rows * count * topK);
    const routing = {
      experts: kernels.finish(experts, rows * topK),
      weights: kernels.finish(weights, rows * topK),
      topK,
      losses: losses ? kernels.finish(told, 2) : undefined,
      isFinite: status === 0,
    };
    staging.trim();
    return routing;
  }

  /** Some of the rows of x (n, dim); the caller frees them. */
  gather(x: Resident, rows: readonly number[]): Resident {
    const { kernels, staging } = this.engine;
    const [n, dim] = x.shape as [number, number];
    const out = staging.hold([rows.length, dim]);
    const index = kernels.stageIntegers(staging.areas.lengths, rows);
    const { slots } = this.#gather;
    const { words } = kernels;
    words[slots.n_rows] = n;
    words[slots.count] = rows.length;
    words[slots.dim] = dim;
    kernels.buffer(slots.x, x.pointer, n * dim);
    kernels.buffer(slots.index, index, rows.length);
    kernels.buffer(slots.out, out.pointer, rows.length * dim);
    kernels.run(this.#gather, rows.length * dim);
    return out;
  }

  /** The weighted sums of what was computed of each row: out (n, columns), zeros where nothing was. */
  sum(parts: readonly Computed[], [n, columns]: readonly [number, number], out: Float32Array): void {
    const { kernels, staging } = this.engine;
    const { areas } = staging;
    const to = kernels.begin(areas.out, n * columns, out);
    kernels.fill(to, n * columns, 0);
    for (const { rows, weights, output, width } of parts) {
      const size = rows.length * width;
      const heads = output.length / size;
      for (let head = 0; head < heads; head++) {
        const x = kernels.stage(areas.values, output, head * size, size);
        const shares = kernels.stage(areas.bias, weights, 0, rows.length);
        const index = kernels.stageIntegers(areas.lengths, rows);
        const { slots } = this.#scatter;
        const { words, f64 } = kernels;
        words[slots.n_rows] = n;
        words[slots.count] = rows.length;
        words[slots.dim] = width;
        words[slots.out_row] = columns;
        f64[slots.factor >>> 1] = 1 / heads;
        kernels.buffer(slots.x, x, size);
        kernels.buffer(slots.weights, shares, rows.length);
        kernels.buffer(slots.index, index, rows.length);
        kernels.buffer(slots.out, to, n * columns);
        kernels.run(this.#scatter, size);
      }
    }
    kernels.finish(to, n * columns, out);
    staging.trim();
  }
}
