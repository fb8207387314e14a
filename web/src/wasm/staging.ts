/** Where arrays lie while a kernel reads them: in the kernels' memory already, or copied into areas that are kept. */
import type { Addend, KeyLengths } from "./addends.js";
import type { Area, KernelCall, Kernels } from "./kernels.js";
import type { Run } from "./layout.js";
import { isResident, type Resident, type Shape, type Source, sizeOf } from "./numbers.js";

/** An area that took more than this is given back after the call. */
const KEPT_BYTES = 4 << 20;
const AREAS = [
  "query", "keys", "values", "mask", "bias", "lengths", "out", "lse", "unit_query", "unit_keys",
] as const; // biome-ignore format: one list

/** An array whose rows hold `width` channels for each head, from channel `at` on. */
export interface Operand {
  readonly source: Source;
  readonly width: number;
  readonly at?: number;
  /** Its rows have length 1 already. */
  readonly isUnit?: boolean;
}

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

export class Staging {
  readonly areas: Readonly<Record<(typeof AREAS)[number], Area>>;
  readonly #normalize: KernelCall<"rows" | "dim" | "x" | "out">;
  readonly #finite: KernelCall<"count" | "x">;

  constructor(readonly kernels: Kernels) {
    this.areas = Object.fromEntries(AREAS.map((name) => [name, kernels.area()])) as typeof this.areas;
    this.#normalize = kernels.call("normalize_rows", ["rows", "dim", "x", "out"]);
    this.#finite = kernels.call("all_finite", ["count", "x"]);
  }

  /** Rows `from` … `from + rows` of the part's items where a kernel can read them, copied only if they must be. */
  place(
    area: "query" | "keys" | "values",
    operand: Operand,
    part: Run,
    which: number,
    from: number,
    rows: number,
    normalize: boolean,
  ): Placed {
    const { source } = operand;
    const row = source.shape.at(-1) as number;
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
      pointer = this.kernels.stage(this.areas[area], source.data, first * size + from * row, count);
    }
    if (normalize && area !== "values" && !operand.isUnit) {
      // Items with room between them are brought together.
      const unit = this.areas[area === "query" ? "unit_query" : "unit_keys"].take(
        4 * items * rows * row,
        true,
      );
      for (let i = 0; i < items; i++) {
        this.normalize(pointer + 4 * i * size, rows * row, operand.width, unit + 4 * i * rows * row);
      }
      pointer = unit;
      size = rows * row;
      count = items * size;
    }
    const channel = operand.at ?? 0;
    return { pointer: pointer + 4 * channel, step: step * size, row, count: count - channel };
  }

  placeAddend({ data, shape, hasHeads }: Addend, part: Run, which: number, isMask: boolean): PlacedAddend {
    const { kernels } = this;
    const size = sizeOf(shape.slice(hasHeads ? -3 : -2));
    const step = part.steps[which] as number;
    const first = (part.first[which] as number) * size;
    const count = step === 0 ? size : part.count * size;
    const pointer = isMask
      ? kernels.stageBytes(this.areas.mask, data, first, count)
      : kernels.stage(this.areas.bias, data, first, count);
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

  /** An int64 for every item of the part. */
  placeLengths({ data }: KeyLengths, part: Run, which: number): number {
    const [first, step] = [part.first[which] as number, part.steps[which] as number];
    const lengths = Array.from({ length: part.count }, (_, i) => data[first + i * step] as number);
    return this.kernels.stageIntegers(this.areas.lengths, lengths);
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

  /** A copy of an array whose every group of `width` channels has length 1; the caller frees it. */
  unitRows(array: Resident, width: number): Resident {
    const unit = this.hold(array.shape);
    const items = sizeOf(array.shape.slice(0, -2));
    for (let item = 0; item < items; item++) {
      const from = array.pointer + 4 * item * array.step;
      this.normalize(from, unit.step, width, unit.pointer + 4 * item * unit.step);
    }
    return unit;
  }

  /** Gives back what an unusually large call took. */
  trim(): void {
    for (const name of AREAS) this.areas[name].trim(KEPT_BYTES);
  }
}

/** Bytes that are copied for one item of an operand. */
export function itemBytes({ source }: Operand): number {
  return isResident(source) ? 0 : 4 * sizeOf(source.shape.slice(-2));
}
