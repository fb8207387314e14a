/** The kernels of attention inside of lists of rows. */
import { EdgeCalls } from "./edge_calls.js";
import { type Engine, isResidentOutput, type Output } from "./engine.js";
import type { Area, KernelCall } from "./kernels.js";
import { type Resident, sizeOf } from "./numbers.js";

const WEIGH = [
  "n_list", "n_key", "dim", "scale", "query", "keys", "indptr", "indices", "shares", "weights",
] as const; // biome-ignore format: in the order of kernels.def

/** Rows indices[indptr[i] … indptr[i + 1]] are list i; every row is in one. */
export interface Lists {
  readonly indptr: Int32Array;
  readonly indices: Int32Array;
}

export class LevelCalls {
  static readonly #known = new WeakMap<Engine, LevelCalls>();
  readonly #tanh: KernelCall<"count" | "x" | "out">;
  readonly #weigh: KernelCall<(typeof WEIGH)[number]>;
  readonly #queries: Area;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#tanh = kernels.call("tanh", ["count", "x", "out"]);
    this.#weigh = kernels.call("list_weights", WEIGH);
    this.#queries = kernels.area();
  }

  static of(engine: Engine): LevelCalls {
    const known = LevelCalls.#known.get(engine) ?? new LevelCalls(engine);
    LevelCalls.#known.set(engine, known);
    return known;
  }

  tanh(x: Resident, out: Resident): void {
    const { kernels } = this.engine;
    const { slots } = this.#tanh;
    const count = sizeOf(x.shape);
    kernels.words[slots.count] = count;
    kernels.buffer(slots.x, x.pointer, count);
    kernels.buffer(slots.out, out.pointer, count);
    kernels.run(this.#tanh, 8 * count);
  }

  /** softmax(scale <context, hidden>) values inside of each list: out (..., lists, dim). The kernel's status. */
  pool(
    context: number,
    hidden: Resident,
    values: Resident,
    lists: Lists,
    scale: number,
    out: Output,
  ): number {
    const { kernels, staging } = this.engine;
    const [nKey, dim] = hidden.shape.slice(-2) as [number, number];
    const nQuery = lists.indptr.length - 1;
    // every list is asked by the same query
    const own = kernels.read(context, dim);
    const queries = new Float32Array(nQuery * dim);
    for (let i = 0; i < nQuery; i++) queries.set(own, i * dim);
    const query = kernels.stage(this.#queries, queries, 0, nQuery * dim);
    const calls = EdgeCalls.of(this.engine);
    const placed = calls.lists(lists.indptr, lists.indices);
    const sizes = { heads: 1, nQuery, nKey, nEdges: nKey, dim, dimValue: dim, scale };
    let status = 0;
    for (let item = 0; item < sizeOf(hidden.shape.slice(0, -2)); item++) {
      const [keys, own] = [hidden, values].map(({ pointer }) => pointer + 4 * item * nKey * dim) as [
        number,
        number,
      ];
      const [at, size] = [item * nQuery * dim, nQuery * dim];
      const to = isResidentOutput(out)
        ? out.pointer + 4 * at
        : kernels.begin(staging.areas.out, size, out, at);
      status |= calls.dots({ query, keys, values: own, bias: 0, out: to, lse: 0 }, placed, sizes);
      if (!isResidentOutput(out)) kernels.finish(to, size, out, at);
    }
    this.#trim();
    return status;
  }

  /** The weights of rows inside of their lists, times the shares (..., lists) of these: out (..., n). */
  weigh(
    context: number,
    hidden: Resident,
    lists: Lists,
    shares: Resident | undefined,
    scale: number,
    out: Output,
  ): void {
    const { kernels, staging } = this.engine;
    const [nKey, dim] = hidden.shape.slice(-2) as [number, number];
    const nList = lists.indptr.length - 1;
    const placed = EdgeCalls.of(this.engine).lists(lists.indptr, lists.indices);
    const { slots } = this.#weigh;
    for (let item = 0; item < sizeOf(hidden.shape.slice(0, -2)); item++) {
      const at = item * nKey;
      const to = isResidentOutput(out)
        ? out.pointer + 4 * at
        : kernels.begin(staging.areas.out, nKey, out, at);
      kernels.words[slots.n_list] = nList;
      kernels.words[slots.n_key] = nKey;
      kernels.words[slots.dim] = dim;
      kernels.f64[slots.scale >>> 1] = scale;
      kernels.buffer(slots.query, context, dim);
      kernels.buffer(slots.keys, hidden.pointer + 4 * at * dim, nKey * dim);
      kernels.buffer(slots.indptr, placed.indptr, nList + 1);
      kernels.buffer(slots.indices, placed.indices, nKey);
      kernels.buffer(slots.shares, shares ? shares.pointer + 4 * item * nList : 0, shares ? nList : 0);
      kernels.buffer(slots.weights, to, nKey);
      kernels.run(this.#weigh, nKey * dim);
      if (!isResidentOutput(out)) kernels.finish(to, nKey, out, at);
    }
    this.#trim();
  }

  /** Weights (n) times rows (..., n, dim): out (..., dim). */
  sums(weights: number, rows: Resident, out: Float32Array): void {
    const { kernels, staging } = this.engine;
    const [n, dim] = rows.shape.slice(-2) as [number, number];
    for (let item = 0; item < sizeOf(rows.shape.slice(0, -2)); item++) {
      const to = kernels.begin(staging.areas.out, dim, out, item * dim);
      EdgeCalls.of(this.engine).product(1, dim, n, weights, rows.pointer + 4 * item * n * dim, to);
      kernels.finish(to, dim, out, item * dim);
    }
    this.#trim();
  }

  #trim(): void {
    this.#queries.trim(4 << 20);
    EdgeCalls.of(this.engine).trim();
  }
}
