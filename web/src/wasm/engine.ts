/**
 * The calls of the kernels. Arrays are copied into the kernels' memory in windows that stay in a cache, results out
 * of it; windows.ts goes over what is larger. What is computed, the kernels compute.
 */
import type { Addend, Addends } from "./addends.js";
import { Area, type KernelCall, type Kernels, NON_FINITE } from "./kernels.js";
import { parts, type Run, runs } from "./layout.js";
import { isResident, type Resident, type Shape, type Source, sizeOf } from "./numbers.js";
import { attendInWindows } from "./windows.js";

export const UNLIMITED = 2 ** 31 - 1; // of a reach; kernels.def's integers have 64 bits, whose upper halves stay 0
export const QUERY_BLOCK = 192; // RV_QUERY_BLOCK: queries of one task
/** An area that took more than this is given back after the call. */
const KEPT_BYTES = 4 << 20;

/** How scores are made. */
export interface Scoring extends Addends {
  readonly scale: number;
  readonly causal: boolean;
  readonly normalize: boolean;
  readonly checkFinite: boolean;
  readonly heads: number;
  readonly kvHeads: number;
  /** Channels of a head's queries and keys. */
  readonly width: number;
}

/** An array whose rows hold `width` channels for each head, from channel `at` on. */
export interface Operand {
  readonly source: Source;
  readonly width: number;
  readonly at?: number;
  /** Its rows have length 1 already. */
  readonly isUnit?: boolean;
}

/** Where a result goes: to JavaScript, or to where the next kernel reads it. */
export type Output = Float32Array | Resident;

/** One argument of a kernel call: the bytes' place, and elements from item to item, from row to row and in all. */
export interface Placed {
  readonly pointer: number;
  readonly step: number;
  readonly row: number;
  readonly count: number;
}

/** A mask or a bias: also from head to head and from column to column, 0 where it is repeated. */
export interface PlacedAddend extends Placed {
  readonly head: number;
  readonly column: number;
}

const SHARED = [
  "batch", "heads", "kv_heads", "n_query", "n_key", "dim",
  "query_batch", "query_head", "query_row", "key_batch", "key_head", "key_row",
  "mask_batch", "mask_head", "mask_row", "mask_col", "bias_batch", "bias_head", "bias_row", "bias_col",
  "behind", "ahead", "stop", "scale", "query", "keys", "mask", "bias", "out",
] as const; // biome-ignore format: in the order of kernels.def
const VALUES = [
  "dim_value", "value_batch", "value_head", "value_row", "out_batch", "out_head", "out_row", "values", "lse",
] as const; // biome-ignore format: likewise
const GEMM = ["m", "n", "k", "a_row", "a_col", "b_row", "b_col", "stop", "a", "b", "bias", "out"] as const;

export type SharedCall = KernelCall<(typeof SHARED)[number]>;
export type AttentionCall = KernelCall<(typeof SHARED)[number] | (typeof VALUES)[number]>;

/** The arrays of one call, and where everything about them is known. */
export interface Problem {
  readonly query: Operand;
  readonly keys: Operand;
  readonly values: Operand;
  readonly scoring: Scoring;
  readonly nQuery: number;
  readonly nKey: number;
  /** Elements of a row. */
  readonly rows: {
    readonly query: number;
    readonly keys: number;
    readonly values: number;
    readonly out: number;
  };
}

const AREAS = ["query", "keys", "values", "mask", "bias", "out", "lse", "unit_query", "unit_keys"] as const;

export class Engine {
  /** Bytes of keys and values that are copied at a time; tests make it small. */
  window = 512 << 10;
  readonly areas: Readonly<Record<(typeof AREAS)[number], Area>>;
  readonly attention: AttentionCall;
  readonly #weights: SharedCall;
  readonly #gemm: KernelCall<(typeof GEMM)[number]>;
  readonly #normalize: KernelCall<"rows" | "dim" | "x" | "out">;
  readonly #finite: KernelCall<"count" | "x">;

  constructor(readonly kernels: Kernels) {
    this.areas = Object.fromEntries(AREAS.map((name) => [name, new Area(kernels)])) as typeof this.areas;
    this.attention = kernels.call("attention", [...SHARED, ...VALUES]);
    this.#weights = kernels.call("attention_weights", SHARED);
    this.#gemm = kernels.call("gemm", GEMM);
    this.#normalize = kernels.call("normalize_rows", ["rows", "dim", "x", "out"]);
    this.#finite = kernels.call("all_finite", ["count", "x"]);
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
    const problem: Problem = {
      query,
      keys,
      values,
      scoring,
      nQuery: query.source.shape.at(-2) as number,
      nKey: keys.source.shape.at(-2) as number,
      rows: {
        query: rowOf(query),
        keys: rowOf(keys),
        values: rowOf(values),
        out: scoring.heads * values.width,
      },
    };
    const arrays = [query.source, keys.source, values.source];
    const bytes = [
      itemBytes(query),
      itemBytes(keys),
      itemBytes(values),
      isResidentOutput(out) ? 0 : 4 * problem.nQuery * problem.rows.out,
    ];
    return this.#over(lead, arrays, scoring, bytes, (part, mask, bias) =>
      attendInWindows(this, problem, part, mask, bias, out),
    );
  }

  /** The weights alone: out (items, heads, n_query, n_key). */
  weigh(query: Operand, keys: Operand, lead: Shape, scoring: Scoring, out: Float32Array): boolean {
    const nQuery = query.source.shape.at(-2) as number;
    const nKey = keys.source.shape.at(-2) as number;
    const { heads, causal } = scoring;
    const size = heads * nQuery * nKey;
    const bytes = [itemBytes(query), itemBytes(keys), 4 * size];
    const call = this.#weights;
    return this.#over(lead, [query.source, keys.source], scoring, bytes, (part, mask, bias) => {
      const placedQuery = this.place("query", query, part, 0, 0, nQuery, scoring);
      const placedKeys = this.place("keys", keys, part, 1, 0, nKey, scoring);
      if (!this.looksFinite(scoring, nQuery, placedQuery, placedKeys)) return NON_FINITE;
      const pointer = this.areas.out.take(4 * part.count * size);
      this.setShared(call, part.count, scoring, nQuery, nKey, placedQuery, placedKeys, mask, bias);
      const { kernels } = this;
      kernels.words[call.slots.ahead] = causal ? 0 : UNLIMITED;
      kernels.buffer(call.slots.out, pointer, part.count * size);
      const status = kernels.run(call);
      out.set(kernels.f32.subarray(pointer >>> 2, (pointer >>> 2) + part.count * size), part.at * size);
      return status;
    });
  }

  /** x (..., k) @ weight (k, n) + bias (n), row by row; the weight is (k, weightRow) of which n columns are taken. */
  project(x: Source, weight: number, weightRow: number, bias: number, n: number, out: Output): void {
    const { kernels, areas } = this;
    const k = x.shape.at(-1) as number;
    const items = isResident(x) ? sizeOf(x.shape.slice(0, -2)) : 1;
    const rows = sizeOf(x.shape.slice(0, -1)) / items;
    const rowBytes = 4 * (isResident(x) ? 0 : k) + 4 * (isResidentOutput(out) ? 0 : n);
    const most = rowBytes > 0 ? Math.max(QUERY_BLOCK, Math.floor(this.window / rowBytes)) : rows;
    const { slots } = this.#gemm;
    for (let item = 0; item < items; item++) {
      for (let row = 0; row < rows; row += most) {
        const m = Math.min(most, rows - row);
        const a = isResident(x)
          ? x.pointer + 4 * (item * x.step + row * k)
          : this.#copy(areas.query, x.data, row * k, m * k);
        const at = (item * rows + row) * n;
        const pointer = isResidentOutput(out) ? out.pointer + 4 * at : areas.out.take(4 * m * n);
        const { words: integers } = kernels;
        integers[slots.m] = integers[slots.stop] = m;
        integers[slots.n] = n;
        integers[slots.k] = integers[slots.a_row] = k;
        integers[slots.a_col] = integers[slots.b_col] = 1;
        integers[slots.b_row] = weightRow;
        kernels.buffer(slots.a, a, m * k);
        kernels.buffer(slots.b, weight, (k - 1) * weightRow + n);
        kernels.buffer(slots.bias, bias, bias === 0 ? 0 : n);
        kernels.buffer(slots.out, pointer, m * n);
        kernels.run(this.#gemm);
        if (!isResidentOutput(out)) out.set(kernels.f32.subarray(pointer >>> 2, (pointer >>> 2) + m * n), at);
      }
    }
    this.#trim();
  }

  /** Every group of `width` channels divided by its length. */
  normalize(pointer: number, count: number, width: number, to: number): void {
    const { slots } = this.#normalize;
    this.kernels.words[slots.rows] = count / width;
    this.kernels.words[slots.dim] = width;
    this.kernels.buffer(slots.x, pointer, count);
    this.kernels.buffer(slots.out, to, count);
    this.kernels.run(this.#normalize);
  }

  allFinite(pointer: number, count: number): boolean {
    const { slots } = this.#finite;
    this.kernels.words[slots.count] = count;
    this.kernels.buffer(slots.x, pointer, count);
    return this.kernels.run(this.#finite) === 0;
  }

  /** Room for an array in the kernels' memory; the caller frees its pointer. */
  hold(shape: Shape): Resident {
    const step = sizeOf(shape.slice(-2));
    return { pointer: this.kernels.alloc(4 * sizeOf(shape)), shape, step };
  }

  /** Rows `from` … `from + rows` of the part's items where a kernel can read them, copied only if they must be. */
  place(
    area: "query" | "keys" | "values",
    operand: Operand,
    part: Run,
    which: number,
    from: number,
    rows: number,
    scoring: Scoring,
  ): Placed {
    const { source, width } = operand;
    const row = rowOf(operand);
    const step = part.steps[which] as number;
    const first = part.first[which] as number;
    const items = step === 0 ? 1 : part.count;
    let pointer: number;
    let size: number;
    let count: number;
    if (isResident(source)) {
      size = source.step;
      pointer = source.pointer + 4 * (first * size + from * row);
      count = (items - 1) * size + rows * row;
    } else {
      size = sizeOf(source.shape.slice(-2));
      count = items > 1 ? items * size : rows * row;
      pointer = this.#copy(this.areas[area], source.data, first * size + from * row, count);
    }
    if (scoring.normalize && area !== "values" && !operand.isUnit) {
      // Items with room between them are brought together.
      const unit = this.areas[area === "query" ? "unit_query" : "unit_keys"].take(4 * items * rows * row);
      for (let i = 0; i < items; i++) {
        this.normalize(pointer + 4 * i * size, rows * row, width, unit + 4 * i * rows * row);
      }
      pointer = unit;
      size = rows * row;
      count = items * size;
    }
    const channel = operand.at ?? 0;
    return { pointer: pointer + 4 * channel, step: step * size, row, count: count - channel };
  }

  /** A mask lets whole tiles go unread: then the arrays are looked through first, little beside many queries. */
  looksFinite(scoring: Scoring, nQuery: number, ...placed: Placed[]): boolean {
    if (!scoring.checkFinite || !scoring.mask || nQuery <= 16) return true;
    return placed.every(({ pointer, count }) => this.allFinite(pointer, count));
  }

  /** What the attention kernels have in common, up to where a query may look. */
  setShared(
    call: SharedCall | AttentionCall,
    batch: number,
    scoring: Scoring,
    nQuery: number,
    nKey: number,
    query: Placed,
    keys: Placed,
    mask: PlacedAddend | undefined,
    bias: PlacedAddend | undefined,
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
    words[slots.behind] = UNLIMITED;
    words[slots.stop] = batch * scoring.heads * Math.ceil(nQuery / QUERY_BLOCK);
    kernels.f64[slots.scale >>> 1] = scoring.scale;
    kernels.buffer(slots.query, query.pointer, query.count);
    kernels.buffer(slots.keys, keys.pointer, keys.count);
    kernels.buffer(slots.mask, mask?.pointer ?? 0, mask?.count ?? 0);
    kernels.buffer(slots.bias, bias?.pointer ?? 0, bias?.count ?? 0);
  }

  /** Every part of the items of `lead`, with the mask and the bias placed for it. */
  #over(
    lead: Shape,
    sources: readonly Source[],
    scoring: Scoring,
    bytes: readonly number[],
    work: (part: Run, mask: PlacedAddend | undefined, bias: PlacedAddend | undefined) => number,
  ): boolean {
    const { mask, bias } = scoring;
    const leads = sources.map(({ shape }) => shape.slice(0, -2));
    for (const addend of [mask, bias])
      leads.push(addend ? addend.shape.slice(0, addend.hasHeads ? -3 : -2) : []);
    const perItem = bytes.reduce((sum, b) => sum + b, 0);
    let status = 0;
    for (const run of runs(lead, leads)) {
      for (const part of parts(run, Math.max(1, Math.floor((2 * this.window) / Math.max(1, perItem))))) {
        status |= work(
          part,
          mask && this.#placeAddend(mask, part, sources.length, true),
          bias && this.#placeAddend(bias, part, sources.length + 1, false),
        );
      }
    }
    this.#trim();
    return status === 0 || !scoring.checkFinite;
  }

  #placeAddend({ data, shape, hasHeads }: Addend, part: Run, which: number, isMask: boolean): PlacedAddend {
    const { kernels } = this;
    const size = sizeOf(shape.slice(hasHeads ? -3 : -2));
    const step = part.steps[which] as number;
    const first = (part.first[which] as number) * size;
    const count = step === 0 ? size : part.count * size;
    const pointer = this.areas[isMask ? "mask" : "bias"].take(isMask ? count : 4 * count);
    const from = data.subarray(first, first + count);
    if (isMask) kernels.u8.set(from, pointer);
    else kernels.f32.set(from, pointer >>> 2);
    const [rows, columns] = shape.slice(-2) as [number, number];
    return {
      pointer,
      step: step * size,
      head: hasHeads && shape.at(-3) !== 1 ? rows * columns : 0,
      row: rows === 1 ? 0 : columns,
      column: columns === 1 ? 0 : 1,
      count,
    };
  }

  #copy(
    area: Area,
    data: { subarray(a: number, b: number): ArrayLike<number>; length: number },
    first: number,
    count: number,
  ): number {
    const pointer = area.take(4 * count);
    const whole = first === 0 && count === data.length;
    this.kernels.f32.set(
      whole ? (data as unknown as ArrayLike<number>) : data.subarray(first, first + count),
      pointer >>> 2,
    );
    return pointer;
  }

  #trim(): void {
    for (const name of AREAS) this.areas[name].trim(KEPT_BYTES);
  }
}

/** A copy of an array whose every group of `width` channels has length 1; the caller frees it. */
export function unitRows(engine: Engine, array: Resident, width: number): Resident {
  const unit = engine.hold(array.shape);
  const items = sizeOf(array.shape.slice(0, -2));
  for (let item = 0; item < items; item++) {
    engine.normalize(
      array.pointer + 4 * item * array.step,
      unit.step,
      width,
      unit.pointer + 4 * item * unit.step,
    );
  }
  return unit;
}

export const isResidentOutput = (out: Output): out is Resident => "pointer" in out;

const rowOf = (operand: Operand): number => operand.source.shape.at(-1) as number;

/** Bytes that are copied for one item of an operand. */
function itemBytes({ source }: Operand): number {
  return isResident(source) ? 0 : 4 * sizeOf(source.shape.slice(-2));
}
