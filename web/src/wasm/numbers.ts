/** Whatever holds numbers, as one flat array with a shape: read once, at the door. */
import { DimensionMismatchError, NumericalInstabilityError, UnsupportedError } from "../errors.js";
import { isWireArray, type TypedArray } from "../protocol.js";
import { encode } from "../tensor.js";

export type NumberArray = Exclude<TypedArray, BigInt64Array | BigUint64Array>;
export type Shape = readonly number[];

/** Numbers of JavaScript's, which a call copies into the kernels' memory. */
export interface Numbers {
  readonly data: NumberArray;
  readonly shape: Shape;
}

/** Float32 in the kernels' memory: items (the leading dimensions, one after the other) of contiguous rows. */
export interface Resident {
  readonly pointer: number;
  readonly shape: Shape;
  /** Elements from one item to the next. */
  readonly step: number;
}

export type Source = Numbers | Resident;

export function isResident(source: Source): source is Resident {
  return "pointer" in source;
}

export const sizeOf = (shape: Shape): number => {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
};

/** A shape as the messages of the Python package have it: (5, 3), (3,), (). */
export const written = (shape: Shape): string =>
  shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;

/** Numbers or, for a mask, booleans: `isBool` tells. */
export interface Given extends Numbers {
  readonly dtype: string;
}

/**
 * Any form of an array. `name` is the argument it is for.
 * Raises UnsupportedError for what is none, DimensionMismatchError for ragged lists.
 */
export function given(name: string, value: unknown): Given {
  const wire = isWireArray(value) ? value : encode(value, name, { transfer: false });
  if (isWireArray(wire)) {
    const { $array, shape, dtype } = wire;
    const data = isBig($array) ? Float64Array.from($array, Number) : $array;
    return { data, shape, dtype };
  }
  if (typeof wire === "number") {
    return { data: Float64Array.of(wire), shape: [], dtype: Number.isInteger(wire) ? "int64" : "float64" };
  }
  if (Array.isArray(wire)) {
    if (onlyNumbers(wire))
      throw new DimensionMismatchError(`${name} is a ragged list; expected rows of equal length`);
    throw new UnsupportedError(
      `${name} is a list that holds something else than numbers; expected real numbers`,
    );
  }
  const what = wire === undefined ? "missing" : typeof wire === "object" ? "an object" : `a ${typeof wire}`;
  throw new UnsupportedError(`${name} is ${what}; expected an array or a list of numbers`);
}

/** The same, refusing booleans. */
export function numbers(name: string, value: unknown): Numbers {
  if (value instanceof Float32Array) {
    const shape = (value as { shape?: unknown }).shape;
    if (shape === undefined) return { data: value, shape: [value.length] };
  }
  const found = given(name, value);
  if (found.dtype === "bool") {
    throw new UnsupportedError(
      `${name} is an array of bool; expected real numbers (a mask is passed as an option)`,
    );
  }
  return found;
}

function isBig(array: TypedArray): array is BigInt64Array | BigUint64Array {
  return array instanceof BigInt64Array || array instanceof BigUint64Array;
}

function onlyNumbers(list: readonly unknown[]): boolean {
  return list.every((item) =>
    Array.isArray(item) ? onlyNumbers(item) : typeof item === "number" || isWireArray(item),
  );
}

/** The first element that fails, as float32 has it, named with its index. */
export function refuse(
  name: string,
  { data, shape }: Numbers,
  passes: (x: number, i: number) => boolean,
  expected: string,
): void {
  for (let i = 0; i < data.length; i++) {
    const x = Math.fround(data[i] as number);
    if (passes(x, i)) continue;
    const word = Number.isNaN(x) ? "nan" : String(x).replace("Infinity", "inf");
    throw new NumericalInstabilityError(
      `${name} holds ${word} at index ${written(indexOf(i, shape))}; expected ${expected}`,
    );
  }
}

export function indexOf(flat: number, shape: Shape): number[] {
  let rest = flat;
  return shape.map((_, axis) => {
    const size = sizeOf(shape.slice(axis + 1));
    const index = Math.floor(rest / size);
    rest -= index * size;
    return index;
  });
}
