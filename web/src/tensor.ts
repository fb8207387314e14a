/** Arrays as JavaScript has them, to and from flat typed arrays with a shape. */
import { DimensionMismatchError, UnsupportedError } from "./errors.js";
import { isWireArray, type TypedArray, type Wire, type WireArray } from "./protocol.js";

/** A flat array that knows its shape; what every mechanism returns. */
export type Tensor<T extends TypedArray = Float32Array> = T & { readonly shape: readonly number[] };

/** Arrays in arrays, as deep as there are dimensions. */
export type Nested<T> = readonly T[] | readonly Nested<T>[];

/**
 * What every mechanism accepts: numbers nested in arrays, rows as typed arrays, one flat typed array (a vector
 * unless it has a `shape`), or `{ data, shape }`.
 */
export type ArrayInput =
  | Nested<number>
  | Nested<TypedArray>
  | TypedArray
  | Tensor<TypedArray>
  | { readonly data: TypedArray | readonly number[]; readonly shape: readonly number[] };

/** A rule or a list instead of an array, by the settings of its class in Python: `{ type: "window", window: 4 }`. */
export interface MaskConfig {
  readonly type: string;
  readonly [setting: string]: unknown;
}

/** A mask: booleans (true = may attend) or numbers that are added to the scores. A Uint8Array counts as booleans. */
export type MaskInput =
  | MaskConfig
  | ArrayInput
  | Nested<boolean>
  | { readonly data: Uint8Array | readonly boolean[]; readonly shape: readonly number[] };

/** The last shape that an array was given, and its elements: call after call results have the same. */
let known: readonly number[] = Object.freeze([]);
let count = 1;

/** Gives a flat array its shape. */
export function tensor<T extends TypedArray>(data: T, shape: readonly number[]): Tensor<T> {
  if (data.length !== count || !isSameShape(shape, known)) {
    checkShape(data.length, shape);
    known = Object.freeze([...shape]);
    count = data.length;
  }
  Object.defineProperty(data, "shape", { value: known, configurable: true });
  return data as Tensor<T>;
}

/** A loop, for every() is slow over frozen arrays. */
export function isSameShape(a: readonly number[] | undefined, b: readonly number[]): boolean {
  let same = a?.length === b.length;
  for (let axis = 0; same && axis < b.length; axis++) same = (a as readonly number[])[axis] === b[axis];
  return same;
}

const DTYPES: Readonly<Record<string, string>> = {
  Float32Array: "float32",
  Float64Array: "float64",
  Int8Array: "int8",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
  Int16Array: "int16",
  Uint16Array: "uint16",
  Int32Array: "int32",
  Uint32Array: "uint32",
  BigInt64Array: "int64",
  BigUint64Array: "uint64",
};

export interface Encoding {
  /** The receiver gets the caller's buffers themselves (which are then detached) instead of copies. */
  transfer: boolean;
  /** What another thread may read; left out where the host reads the arrays in this one before the call returns. */
  copy?: ((array: TypedArray) => TypedArray) | undefined;
  /** The handle of an object that lives in the runtime; undefined for any other. */
  handleOf?: (value: object) => number | undefined;
}

/**
 * A value as it crosses. `name` is the parameter it is for, in errors and for masks. What cannot be an array is
 * passed on as it is: Python knows what each parameter may be and says what is wrong with it.
 */
export function encode(value: unknown, name: string, how: Encoding): Wire {
  if (value === null || value === undefined) return undefined; // None: Pyodide makes a JsNull of null
  if (typeof value === "boolean" || typeof value === "number" || typeof value === "string") return value;
  if (ArrayBuffer.isView(value)) return encodeTyped(value, shapeOf(value), name, how);
  if (Array.isArray(value)) return encodeList(value, name, how);
  if (typeof value === "object") {
    const handle = how.handleOf?.(value);
    if (handle !== undefined) return { $handle: handle };
    if ("data" in value && "shape" in value) return encodeShaped(value, name, how);
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item, key, how)]));
    }
  }
  const what =
    typeof value === "object" ? `a ${value.constructor?.name ?? "foreign object"}` : `a ${typeof value}`;
  throw new UnsupportedError(`${name} is ${what}; expected an array, a number, a string or a plain object`);
}

function encodeTyped(
  view: ArrayBufferView,
  shape: readonly number[] | undefined,
  name: string,
  how: Encoding,
): WireArray {
  const kind = kindOf(view);
  let dtype = DTYPES[kind];
  if (dtype === undefined)
    throw new UnsupportedError(`${name} is a ${kind}; expected a typed array of numbers`);
  if (kind === "Uint8Array" && name === "mask") dtype = "bool";
  let array = plain(view, kind);
  if (shape) checkShape(array.length, shape, name); // an array that was transferred keeps its shape, but has nothing
  const owned = array.buffer instanceof ArrayBuffer && array.byteLength === array.buffer.byteLength;
  // A view on a larger buffer would drag the whole buffer along, so it is copied even for a transfer.
  if (how.copy && !(how.transfer && owned)) array = how.copy(array);
  return { $array: array, shape: [...(shape ?? [array.length])], dtype };
}

/** What it is, whichever class of a program or of Node's has been derived from that: a Buffer is a Uint8Array. */
function kindOf(view: ArrayBufferView): string {
  return (view as ArrayBufferView & { readonly [Symbol.toStringTag]: string })[Symbol.toStringTag];
}

/** The same elements in an array of the language's own class: others have a slice() that need not copy. */
function plain(view: ArrayBufferView, kind: string): TypedArray {
  const array = view as TypedArray;
  if (view.constructor.name === kind) return array;
  type Class = new (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray;
  const Plain = (globalThis as unknown as Record<string, Class>)[kind] as Class;
  return new Plain(view.buffer, view.byteOffset, array.length);
}

function encodeShaped(value: object, name: string, how: Encoding): WireArray {
  const { data, shape } = value as { data: unknown; shape: unknown };
  if (!Array.isArray(shape))
    throw new UnsupportedError(`${name}.shape is ${describe(shape)}; expected an array of sizes`);
  if (ArrayBuffer.isView(data)) return encodeTyped(data, shape, name, how);
  const flat = Array.isArray(data) ? pack(data, name) : undefined;
  if (flat?.shape.length !== 1) {
    throw new UnsupportedError(
      `${name}.data is ${describe(data)}; expected a typed array or a flat array of numbers`,
    );
  }
  checkShape(flat.$array.length, shape, name);
  return { ...flat, shape: [...(shape as number[])] };
}

function encodeList(list: readonly unknown[], name: string, how: Encoding): Wire {
  // Arrays that carry their own shape are a list of arrays (a batch), rows that do not are one matrix.
  const batch =
    list.length > 0 && list.every((item) => typeof item === "object" && item !== null && "shape" in item);
  const packed = batch ? undefined : pack(list, name);
  return packed ?? Array.from(list, (item, i) => encode(item, `${name}[${i}]`, how));
}

/** NumPy has as many dimensions; an array that holds itself would have no end. */
const MOST_DIMENSIONS = 64;

/** Numbers or booleans, nested regularly, as one flat array; undefined where they are not. */
function pack(list: readonly unknown[], name: string): WireArray | undefined {
  const shape: number[] = [];
  let probe: unknown = list;
  while (Array.isArray(probe)) {
    if (shape.length === MOST_DIMENSIONS)
      throw new UnsupportedError(
        `${name} is nested more than ${MOST_DIMENSIONS} arrays deep; expected fewer`,
      );
    shape.push(probe.length);
    probe = probe[0];
  }
  const rows = ArrayBuffer.isView(probe); // the innermost dimension is a typed array
  if (rows) {
    if (!isNumeric(probe as ArrayBufferView)) return undefined;
    shape.push((probe as TypedArray).length);
  }
  const scalar = rows ? "number" : typeof probe;
  if (probe !== undefined && scalar !== "number" && scalar !== "boolean") return undefined;
  if (probe === undefined && shape.at(-1) !== 0) return undefined;
  const flat = new Float64Array(shape.reduce((a, b) => a * b, 1));
  let at = 0;
  const fill = (level: unknown, depth: number): boolean => {
    const size = shape[depth];
    // Some rows may be typed arrays, and others not.
    if (depth === shape.length - 1 && ArrayBuffer.isView(level)) {
      if (scalar !== "number" || !isNumeric(level) || (level as TypedArray).length !== size) return false;
      flat.set(level as unknown as ArrayLike<number>, at);
      at += size as number;
      return true;
    }
    if (depth === shape.length) {
      if (typeof level !== scalar) return false;
      flat[at++] = Number(level);
      return true;
    }
    if (!Array.isArray(level) || level.length !== size) return false;
    for (let i = 0; i < size; i++) if (!fill(level[i], depth + 1)) return false; // every() would skip a hole
    return true;
  };
  if (!fill(list, 0)) return undefined;
  if (scalar === "boolean") return { $array: Uint8Array.from(flat), shape, dtype: "bool" };
  // Whole numbers stay whole (indices) but in a mask, which takes addends; others take the precision of the kernels, but
  // where that would not tell one from the next (timestamps).
  const largest = flat.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return name !== "mask" && flat.length > 0 && largest < 2 ** 31 && flat.every(Number.isInteger)
    ? { $array: Int32Array.from(flat), shape, dtype: "int32" }
    : largest > 2 ** 24 && largest < Infinity
      ? { $array: flat, shape, dtype: "float64" }
      : { $array: Float32Array.from(flat), shape, dtype: "float32" };
}

/** A reply as the caller sees it: arrays with a shape, None as null. */
export function decode(value: Wire): unknown {
  if (value === undefined || value === null) return null;
  if (isWireArray(value)) return tensor(value.$array, value.shape);
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
  }
  return value;
}

function isNumeric(view: ArrayBufferView): boolean {
  const kind = kindOf(view);
  return kind in DTYPES && !kind.startsWith("Big");
}

function shapeOf(view: object): readonly number[] | undefined {
  const shape = "shape" in view ? view.shape : undefined;
  return Array.isArray(shape) ? shape : undefined;
}

function checkShape(length: number, shape: readonly unknown[], name = "data"): void {
  const sizes = shape.every((size) => Number.isInteger(size) && (size as number) >= 0);
  const wanted = sizes ? (shape as number[]).reduce((a, b) => a * b, 1) : Number.NaN;
  if (wanted !== length) {
    const error = new DimensionMismatchError(
      sizes
        ? `${name} has ${length} elements; expected ${wanted} for its shape (${shape.join(", ")})`
        : `${name}.shape is (${shape.join(", ")}); expected whole numbers from 0 up`,
    );
    error.expected = wanted;
    error.actual = length;
    throw error;
  }
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "an array that is not flat numbers";
  return `a ${typeof value}`;
}
