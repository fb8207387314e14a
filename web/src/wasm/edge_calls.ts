/** The kernels along the edges of a graph. */
import type { Engine } from "./engine.js";
import { QUERY_BLOCK } from "./engine.js";
import type { Fans } from "./fans.js";
import type { Area, KernelCall } from "./kernels.js";
import type { Resident } from "./numbers.js";

const ADDITIVE = [
  "batch", "heads", "n_source", "n_target", "n_edges", "n_rows", "terms", "dim_value", "edge_batch", "stop", "slope",
  "source", "target", "edge", "attention", "values", "indptr", "sources", "edge_rows", "out", "weights",
] as const; // biome-ignore format: in the order of kernels.def
const DOTS = [
  "batch", "heads", "kv_heads", "n_query", "n_key", "n_edges", "dim", "dim_value",
  "query_batch", "query_head", "query_row", "key_batch", "key_head", "key_row", "value_batch", "value_head", "value_row",
  "out_batch", "out_head", "out_row", "indptr_head", "stop", "scale",
  "query", "keys", "values", "indptr", "indices", "bias", "out", "lse",
] as const; // biome-ignore format: likewise
const WEIGHTS = [
  "heads", "n_query", "n_key", "n_edges", "dim", "scale", "query", "keys", "indptr", "indices", "bias", "lse", "weights",
] as const; // biome-ignore format: likewise
const GEMM = ["m", "n", "k", "a_row", "a_col", "b_row", "b_col", "stop", "a", "b", "out"] as const;
const AREAS = ["indptr", "indices", "rows"] as const;
/** An area that took more than this is given back after the call. */
const KEPT_BYTES = 4 << 20;

/** Lists of places, where the kernels read them. */
export interface Lists {
  readonly indptr: number;
  readonly indices: number;
  readonly rows: number;
}

export class EdgeCalls {
  static readonly #known = new WeakMap<Engine, EdgeCalls>();
  readonly #additive: KernelCall<(typeof ADDITIVE)[number]>;
  readonly #dots: KernelCall<(typeof DOTS)[number]>;
  readonly #weights: KernelCall<(typeof WEIGHTS)[number]>;
  readonly #gemm: KernelCall<(typeof GEMM)[number]>;
  readonly #areas: Readonly<Record<(typeof AREAS)[number], Area>>;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#additive = kernels.call("edge_attention", ADDITIVE);
    this.#dots = kernels.call("attention_sparse", DOTS);
    this.#weights = kernels.call("edge_weights", WEIGHTS);
    this.#gemm = kernels.call("gemm", GEMM);
    this.#areas = Object.fromEntries(AREAS.map((name) => [name, kernels.area()])) as Record<
      (typeof AREAS)[number],
      Area
    >;
  }

  static of(engine: Engine): EdgeCalls {
    const known = EdgeCalls.#known.get(engine) ?? new EdgeCalls(engine);
    EdgeCalls.#known.set(engine, known);
    return known;
  }

  lists(indptr: ArrayLike<number>, indices: ArrayLike<number>, rows: ArrayLike<number> = []): Lists {
    const { kernels } = this.engine;
    return {
      indptr: kernels.stageIntegers(this.#areas.indptr, indptr),
      // a list of nothing is a buffer all the same
      indices: kernels.stageIntegers(this.#areas.indices, indices.length > 0 ? indices : [0]),
      rows: kernels.stageIntegers(this.#areas.rows, rows.length > 0 ? rows : [0]),
    };
  }

  trim(): void {
    for (const name of AREAS) this.#areas[name].trim(KEPT_BYTES);
    this.engine.staging.trim();
  }

  /**
   * Additive scores. source, target, edge (..., n, terms * heads), values (..., n, dimValue * heads), attention
   * (terms * heads) -> out (..., n_target, dimValue * heads), weights (..., edges, heads). The kernel's status.
   */
  additive(
    arrays: {
      source: Resident;
      target: Resident;
      values: Resident;
      edge: Resident | undefined;
      attention: number;
      out: Resident;
      weights: Resident;
    },
    fans: Fans,
    sizes: { batch: number; heads: number; terms: number; slope: number },
  ): number {
    const { kernels } = this.engine;
    const { batch, heads, terms } = sizes;
    const { source, target, values, edge, attention, out, weights } = arrays;
    const [nSource, nTarget] = [source.shape.at(-2), target.shape.at(-2)] as [number, number];
    const nEdges = fans.sources.length;
    const dimValue = (values.shape.at(-1) as number) / heads;
    const nRows = edge ? (edge.shape.at(-2) as number) : nEdges;
    const lists = this.lists(fans.indptr, fans.sources, fans.rows);
    const { slots } = this.#additive;
    const { words } = kernels;
    words[slots.batch] = batch;
    words[slots.heads] = heads;
    words[slots.n_source] = nSource;
    words[slots.n_target] = nTarget;
    words[slots.n_edges] = nEdges;
    words[slots.n_rows] = nRows;
    words[slots.terms] = terms;
    words[slots.dim_value] = dimValue;
    words[slots.edge_batch] = edge && edge.shape.length > 2 ? nRows * heads * terms : 0;
    words[slots.stop] = batch * Math.ceil(nTarget / QUERY_BLOCK);
    kernels.f64[slots.slope >>> 1] = sizes.slope;
    kernels.buffer(slots.source, source.pointer, batch * nSource * heads * terms);
    kernels.buffer(slots.target, target.pointer, batch * nTarget * heads * terms);
    const edges = edge && edge.shape.length > 2 ? batch : 1;
    kernels.buffer(slots.edge, edge?.pointer ?? 0, edge ? edges * nRows * heads * terms : 0);
    kernels.buffer(slots.attention, attention, heads * terms);
    kernels.buffer(slots.values, values.pointer, batch * nSource * heads * dimValue);
    kernels.buffer(slots.indptr, lists.indptr, nTarget + 1);
    kernels.buffer(slots.sources, lists.indices, nEdges);
    kernels.buffer(slots.edge_rows, lists.rows, nEdges);
    kernels.buffer(slots.out, out.pointer, batch * nTarget * heads * dimValue);
    kernels.buffer(slots.weights, weights.pointer, batch * heads * nEdges);
    return kernels.run(this.#additive, batch * heads * nEdges * (2 * terms + dimValue));
  }

  /**
   * Scaled dot products along lists of keys, of one item: rows of query, keys, values and out hold all heads; bias (heads,
   * edges) or 0; lse (heads, n_query) or 0.
   */
  dots(
    pointers: { query: number; keys: number; values: number; bias: number; out: number; lse: number },
    lists: Lists,
    sizes: {
      heads: number;
      nQuery: number;
      nKey: number;
      nEdges: number;
      dim: number;
      dimValue: number;
      scale: number;
    },
  ): number {
    const { kernels } = this.engine;
    const { heads, nQuery, nKey, nEdges, dim, dimValue, scale } = sizes;
    const { slots } = this.#dots;
    const { words } = kernels;
    // heads that differ in bias have lists of their own
    const own = pointers.bias === 0 ? 1 : heads;
    words[slots.batch] = 1;
    words[slots.heads] = words[slots.kv_heads] = heads;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.n_edges] = own * nEdges;
    words[slots.dim] = words[slots.query_head] = words[slots.key_head] = dim;
    words[slots.dim_value] = words[slots.value_head] = words[slots.out_head] = dimValue;
    words[slots.query_row] = words[slots.key_row] = heads * dim;
    words[slots.value_row] = words[slots.out_row] = heads * dimValue;
    words[slots.indptr_head] = own > 1 ? nQuery + 1 : 0;
    words[slots.stop] = heads * Math.ceil(nQuery / QUERY_BLOCK);
    kernels.f64[slots.scale >>> 1] = scale;
    kernels.buffer(slots.query, pointers.query, nQuery * heads * dim);
    kernels.buffer(slots.keys, pointers.keys, nKey * heads * dim);
    kernels.buffer(slots.values, pointers.values, nKey * heads * dimValue);
    kernels.buffer(slots.indptr, lists.indptr, own * (nQuery + 1));
    kernels.buffer(slots.indices, lists.indices, own * nEdges);
    kernels.buffer(slots.bias, pointers.bias, pointers.bias === 0 ? 0 : own * nEdges);
    kernels.buffer(slots.out, pointers.out, nQuery * heads * dimValue);
    kernels.buffer(slots.lse, pointers.lse, pointers.lse === 0 ? 0 : heads * nQuery);
    return kernels.run(this.#dots, heads * nEdges * (dim + dimValue));
  }

  /** The weights (heads, edges) of what `dots` did with these lists, those of one head for all. */
  weights(
    pointers: { query: number; keys: number; bias: number; lse: number; weights: number },
    lists: Lists,
    sizes: { heads: number; nQuery: number; nKey: number; nEdges: number; dim: number; scale: number },
  ): number {
    const { kernels } = this.engine;
    const { heads, nQuery, nKey, nEdges, dim, scale } = sizes;
    const { slots } = this.#weights;
    const { words } = kernels;
    words[slots.heads] = heads;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.n_edges] = nEdges;
    words[slots.dim] = dim;
    kernels.f64[slots.scale >>> 1] = scale;
    kernels.buffer(slots.query, pointers.query, nQuery * heads * dim);
    kernels.buffer(slots.keys, pointers.keys, nKey * heads * dim);
    kernels.buffer(slots.indptr, lists.indptr, nQuery + 1);
    kernels.buffer(slots.indices, lists.indices, nEdges);
    kernels.buffer(slots.bias, pointers.bias, pointers.bias === 0 ? 0 : heads * nEdges);
    kernels.buffer(slots.lse, pointers.lse, heads * nQuery);
    kernels.buffer(slots.weights, pointers.weights, heads * nEdges);
    return kernels.run(this.#weights, heads * nEdges * dim);
  }

  /** out (m, n) = a (m, k) b (k, n), or a transposed b transposed of a (k, m) and b (n, k). */
  product(m: number, n: number, k: number, a: number, b: number, out: number, transposed = false): void {
    const { kernels } = this.engine;
    const { slots } = this.#gemm;
    const { words } = kernels;
    words[slots.m] = words[slots.stop] = m;
    words[slots.n] = n;
    words[slots.k] = k;
    words[slots.a_row] = transposed ? 1 : k;
    words[slots.a_col] = transposed ? m : 1;
    words[slots.b_row] = transposed ? 1 : n;
    words[slots.b_col] = transposed ? k : 1;
    kernels.buffer(slots.a, a, m * k);
    kernels.buffer(slots.b, b, k * n);
    kernels.buffer(slots.out, out, m * n);
    kernels.run(this.#gemm, m * n * k);
  }
}
