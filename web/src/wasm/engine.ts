/**
 * The calls of the kernels. Arrays are copied into the kernels' memory in windows that stay in a cache, results out
 * of it; windows.ts goes over what is larger. What is computed, the kernels compute.
 */
import type { Addends, Band } from "./addends.js";
import { type KernelCall, type Kernels, NON_FINITE } from "./kernels.js";
import { parts, type Run, runs } from "./layout.js";
import { isResident, type Resident, type Shape, type Source, sizeOf } from "./numbers.js";
import { itemBytes, type Operand, type Placed, type PlacedAddend, Staging } from "./staging.js";
import type { Best } from "./top_k.js";
import { attendInWindows } from "./windows.js";

export const QUERY_BLOCK = 192; // RV_QUERY_BLOCK: queries of one task

/** How scores are made. */
export interface Scoring extends Addends, Band {
  readonly scale: number;
  readonly normalize: boolean;
  /** Only so many highest scores of each query count; null, 0 or left out: all. */
  readonly topK?: number | null;
  readonly checkFinite: boolean;
  readonly heads: number;
  readonly kvHeads: number;
  /** Channels of a head's queries and keys. */
  readonly width: number;
}

/** What says which keys a query sees, where the kernel reads it. */
export interface PlacedScores {
  readonly mask: PlacedAddend | undefined;
  readonly bias: PlacedAddend | undefined;
  /** Of int64, one for each item; 0 where all have all keys. */
  readonly lengths: number;
}

/** Where a result goes: to JavaScript, or to where the next kernel reads it. */
export type Output = Float32Array | Resident;

export const isResidentOutput = (out: Output): out is Resident => "pointer" in out;

export const SHARED = [
  "batch", "heads", "kv_heads", "n_query", "n_key", "dim",
  "query_batch", "query_head", "query_row", "key_batch", "key_head", "key_row",
  "mask_batch", "mask_head", "mask_row", "mask_col", "bias_batch", "bias_head", "bias_row", "bias_col",
  "behind", "ahead", "global_tokens", "stop", "scale", "query", "keys", "mask", "bias", "key_lengths", "out",
] as const; // biome-ignore format: in the order of kernels.def
export const VALUES = [
  "dim_value", "value_batch", "value_head", "value_row", "out_batch", "out_head", "out_row", "values", "lse",
] as const; // biome-ignore format: likewise
const GEMM = ["m", "n", "k", "a_row", "a_col", "b_row", "b_col", "stop", "a", "b", "bias", "out"] as const;

type SharedCall = KernelCall<(typeof SHARED)[number]>;
type AttentionCall = KernelCall<(typeof SHARED)[number] | (typeof VALUES)[number]>;

/** The arrays of one call, and where everything about them is known. */
export interface Problem {
  readonly query: Operand;
  readonly keys: Operand;
  readonly values: Operand;
  readonly scoring: Scoring;
  readonly nQuery: number;
  readonly nKey: number;
}

export class Engine {
  /** Bytes of keys and values that are copied at a time; tests make it small. */
  window: number;
  readonly staging: Staging;
  /** Each use has its block of arguments: what it never sets stays absent. */
  readonly attention: AttentionCall;
  readonly everyday: AttentionCall;
  readonly merging: AttentionCall;
  /** Where only the highest scores count; its code is fetched for the first mechanism that asks for it. */
  best?: Best;
  readonly #weights: SharedCall;
  readonly #gemm: KernelCall<(typeof GEMM)[number]>;

  constructor(readonly kernels: Kernels) {
    this.window = kernels.window;
    this.staging = new Staging(kernels);
    const attention = () => kernels.call("attention", [...SHARED, ...VALUES]);
    this.attention = attention();
    this.everyday = attention();
    this.merging = attention();
    this.#weights = kernels.call("attention_weights", SHARED);
    this.#gemm = kernels.call("gemm", GEMM);
  }

  /**
   * out = softmax(scale * q kT + bias) v over all heads and items. Heads are groups of channels and are read where
   * they lie. False where a number that is not finite was met.
   */
  attend(
    query: Operand,
    keys: Operand,
    values: Operand,
    lead: Shape,
    scoring: Scoring,
    out: Output,
  ): boolean {
    if (scoring.topK) return (this.best as Best).attend(query, keys, values, lead, scoring, out);
    const nQuery = query.source.shape.at(-2) as number;
    const nKey = keys.source.shape.at(-2) as number;
    const problem: Problem = { query, keys, values, scoring, nQuery, nKey };
    const copiedOut = isResidentOutput(out) ? 0 : 4 * nQuery * scoring.heads * values.width;
    return this.over(lead, [query, keys, values], scoring, copiedOut, (part, scores) =>
      attendInWindows(this, problem, part, scores, out),
    );
  }

  /** The weights alone: out (items, heads, n_query, n_key). */
  weigh(query: Operand, keys: Operand, lead: Shape, scoring: Scoring, out: Float32Array): boolean {
    if (scoring.topK) return (this.best as Best).weigh(query, keys, lead, scoring, out);
    const nQuery = query.source.shape.at(-2) as number;
    const nKey = keys.source.shape.at(-2) as number;
    const size = scoring.heads * nQuery * nKey;
    const call = this.#weights;
    const { kernels, staging } = this;
    return this.over(lead, [query, keys], scoring, 4 * size, (part, scores) => {
      const placedQuery = staging.place("query", query, part, 0, 0, nQuery, scoring.normalize);
      const placedKeys = staging.place("keys", keys, part, 1, 0, nKey, scoring.normalize);
      if (!this.looksFinite(scoring, nQuery, placedQuery, placedKeys)) return NON_FINITE;
      const pointer = kernels.begin(staging.areas.out, part.count * size, out, part.at * size);
      this.setShared(call, part.count, scoring, nQuery, nKey, placedQuery, placedKeys, scores);
      kernels.buffer(call.slots.out, pointer, part.count * size);
      const status = kernels.run(call, part.count * size * scoring.width);
      kernels.finish(pointer, part.count * size, out, part.at * size);
      return status;
    });
  }

  /** x (..., k) @ weight (k, n) + bias (n), row by row; the weight is (k, weightRow) of which n columns are taken. */
  project(x: Source, weight: number, weightRow: number, bias: number, n: number, out: Output): void {
    const { kernels } = this;
    const k = x.shape.at(-1) as number;
    const { slots } = this.#gemm;
    this.rowByRow(x, n, out, (a, m, to) => {
      const { words } = kernels;
      words[slots.m] = words[slots.stop] = m;
      words[slots.n] = n;
      words[slots.k] = words[slots.a_row] = k;
      words[slots.a_col] = words[slots.b_col] = 1;
      words[slots.b_row] = weightRow;
      kernels.buffer(slots.a, a, m * k);
      kernels.buffer(slots.b, weight, (k - 1) * weightRow + n);
      kernels.buffer(slots.bias, bias, bias === 0 ? 0 : n);
      kernels.buffer(slots.out, to, m * n);
      return kernels.run(this.#gemm, m * n * k, QUERY_BLOCK);
    });
  }

  /** What `work` makes of rows of x (..., k), where they are and how many: rows (..., columns) of out. */
  rowByRow(
    x: Source,
    columns: number,
    out: Output,
    work: (from: number, rows: number, to: number) => number,
  ): number {
    const { kernels, staging } = this;
    const k = x.shape.at(-1) as number;
    const items = isResident(x) ? sizeOf(x.shape.slice(0, -2)) : 1;
    const rows = sizeOf(x.shape.slice(0, -1)) / items;
    const rowBytes = 4 * (isResident(x) ? 0 : k) + 4 * (isResidentOutput(out) ? 0 : columns);
    const most = rowBytes > 0 ? Math.max(QUERY_BLOCK, Math.floor(this.window / rowBytes)) : rows;
    let status = 0;
    for (let item = 0; item < items; item++) {
      for (let row = 0; row < rows; row += most) {
        const m = Math.min(most, rows - row);
        const from = isResident(x)
          ? x.pointer + 4 * (item * x.step + row * k)
          : kernels.stage(staging.areas.query, x.data, row * k, m * k);
        const at = (item * rows + row) * columns;
        const to = isResidentOutput(out)
          ? out.pointer + 4 * at
          : kernels.begin(staging.areas.out, m * columns, out, at);
        status |= work(from, m, to);
        if (!isResidentOutput(out)) kernels.finish(to, m * columns, out, at);
      }
    }
    staging.trim();
    return status;
  }

  /** A mask lets whole tiles go unread: then the arrays are looked through first, little beside many queries. */
  looksFinite(scoring: Scoring, nQuery: number, ...placed: Placed[]): boolean {
    if (!scoring.checkFinite || !scoring.mask || scoring.keyLengths || nQuery <= 16) return true;
    return placed.every(({ pointer, count }) => this.staging.allFinite(pointer, count));
  }

  /** What the attention kernels have in common. */
  setShared(
    call: SharedCall | AttentionCall,
    batch: number,
    scoring: Scoring,
    nQuery: number,
    nKey: number,
    query: Placed,
    keys: Placed,
    { mask, bias, lengths }: PlacedScores,
  ): void {
    const { kernels } = this;
    const { slots } = call as SharedCall;
    const { words } = kernels;
    words[slots.batch] = batch;
    words[slots.heads] = scoring.heads;
    words[slots.kv_heads] = scoring.kvHeads;
    words[slots.n_query] = nQuery;
    words[slots.n_key] = nKey;
    words[slots.dim] = words[slots.query_head] = words[slots.key_head] = scoring.width;
    words[slots.query_batch] = query.step;
    words[slots.query_row] = query.row;
    words[slots.key_batch] = keys.step;
    words[slots.key_row] = keys.row;
    words[slots.mask_batch] = mask?.step ?? 0;
    words[slots.mask_head] = mask?.head ?? 0;
    words[slots.mask_row] = mask?.row ?? 0;
    words[slots.mask_col] = mask?.column ?? 0;
    words[slots.bias_batch] = bias?.step ?? 0;
    words[slots.bias_head] = bias?.head ?? 0;
    words[slots.bias_row] = bias?.row ?? 0;
    words[slots.bias_col] = bias?.column ?? 0;
    words[slots.behind] = scoring.behind;
    words[slots.ahead] = scoring.ahead;
    words[slots.global_tokens] = scoring.globals;
    words[slots.stop] = batch * scoring.heads * Math.ceil(nQuery / QUERY_BLOCK);
    kernels.f64[slots.scale >>> 1] = scoring.scale;
    kernels.buffer(slots.query, query.pointer, query.count);
    kernels.buffer(slots.keys, keys.pointer, keys.count);
    kernels.buffer(slots.mask, mask?.pointer ?? 0, mask?.count ?? 0);
    kernels.buffer(slots.bias, bias?.pointer ?? 0, bias?.count ?? 0);
    kernels.buffer(slots.key_lengths, lengths, lengths === 0 ? 0 : batch);
  }

  /** Every part of the items of `lead`, with what scores need placed for it. `copied`: further bytes of an item. */
  over(
    lead: Shape,
    operands: readonly Operand[],
    scoring: Scoring,
    copied: number,
    work: (part: Run, scores: PlacedScores) => number,
  ): boolean {
    const { staging } = this;
    const { mask, bias, keyLengths } = scoring;
    const leads: Shape[] = operands.map(({ source }) => source.shape.slice(0, -2));
    for (const addend of [mask, bias]) {
      leads.push(addend ? addend.shape.slice(0, addend.hasHeads ? -3 : -2) : []);
    }
    leads.push(keyLengths?.shape ?? []);
    const n = operands.length;
    const perItem = operands.reduce((sum, operand) => sum + itemBytes(operand), Math.max(1, copied));
    let status = 0;
    for (const run of runs(lead, leads)) {
      for (const part of parts(run, Math.max(1, Math.floor((2 * this.window) / perItem)))) {
        status |= work(part, {
          mask: mask && staging.placeAddend(mask, part, n, true),
          bias: bias && staging.placeAddend(bias, part, n + 1, false),
          lengths: keyLengths ? staging.placeLengths(keyLengths, part, n + 2) : 0,
        });
      }
    }
    staging.trim();
    return status === 0 || !scoring.checkFinite;
  }
}
