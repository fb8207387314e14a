/** Arrays as the packages take them from which this one's users come: flat, with their rows one after the other. */
import { DimensionMismatchError, EmptyInputError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import { isPlainObject } from "../naming.js";

export interface Inputs {
  readonly query: unknown;
  readonly keys: unknown;
  readonly values: unknown;
  /** Channels of the query. */
  readonly dim: number;
  readonly options: Record<string, unknown>;
}

/** Query, keys and values of one call, and what may stand behind them: the number of neighbours, a mask, options. */
export function readInputs(query: unknown, keys: unknown, values: unknown, rest: readonly unknown[]): Inputs {
  const dim = widthOf(query);
  let count: number | undefined;
  let options: Record<string, unknown> = {};
  for (const item of rest) {
    if (item === undefined || item === null) continue;
    if (typeof item === "number") count = item;
    else if (Array.isArray(item) || ArrayBuffer.isView(item)) options.mask = maskOf(item);
    else if (isPlainObject(item)) options = { ...options, ...item };
    else throw new UnsupportedError(`${told(item)} came; expected a number of neighbours, a mask or options`);
  }
  const { neighbors, ...others } = options as { neighbors?: number };
  const allKeys = toRows("keys", keys, dim, undefined);
  const allValues = toRows("values", values, undefined, allKeys.rows);
  // The option is a limit, the argument a number: there must be as many.
  const wanted = count ?? (neighbors === undefined ? undefined : limited(neighbors, allKeys.rows));
  const [k, v] = [firstRows("keys", allKeys, wanted), firstRows("values", allValues, wanted)];
  return { query, keys: k, values: v, dim, options: others };
}

function limited(neighbors: number, rows: number): number {
  if (Number.isInteger(neighbors) && neighbors >= 1) return Math.min(neighbors, rows);
  throw new OutOfBoundsError(`neighbors is ${neighbors}; expected an integer of at least 1`);
}

/** Channels of a vector or of the rows of a matrix. */
export function widthOf(query: unknown, name = "query"): number {
  let first = query;
  for (let depth = 0; Array.isArray(first) && !isFlat(first) && depth < 8; depth++) first = first[0];
  if (isFlat(first)) return first.length;
  const { shape } = (first ?? {}) as { shape?: readonly number[] };
  if (Array.isArray(shape)) return shape.at(-1) ?? 0;
  if (Array.isArray(query) && first === undefined) {
    throw new EmptyInputError(`${name} is an empty array; expected a vector or a matrix`);
  }
  throw new UnsupportedError(`${name} is ${told(query)}; expected a vector or a matrix`);
}

/** One number after the other, without a shape. */
export function isFlat(value: unknown): value is ArrayLike<number> & { length: number } {
  if (ArrayBuffer.isView(value)) return !("shape" in value || value instanceof DataView);
  return Array.isArray(value) && typeof value[0] === "number";
}

interface Rows {
  readonly value: unknown;
  /** How many there are. */
  readonly rows: number;
}

/** Rows of so many channels, or so many rows; what has its own rows is taken as it is. */
function toRows(name: string, value: unknown, width: number | undefined, count: number | undefined): Rows {
  if (!isFlat(value)) {
    const { shape } = (value ?? {}) as { shape?: readonly number[] };
    if (Array.isArray(shape)) return { value, rows: shape.at(-2) ?? 1 };
    if (Array.isArray(value)) return { value, rows: value.length };
    throw new UnsupportedError(`${name} is ${told(value)}; expected rows, or a flat array of them`);
  }
  // Values have as many rows as keys, whatever is left of those.
  const rows = count ?? value.length / (width as number);
  const columns = width ?? value.length / rows;
  if (!Number.isInteger(rows) || !Number.isInteger(columns)) {
    const unit =
      width === undefined ? `${rows} rows, as keys has` : `rows of ${width} channels, as query has`;
    const error = new DimensionMismatchError(`${name} has ${value.length} elements; expected ${unit}`);
    throw Object.assign(error, { expected: width ?? rows, actual: value.length });
  }
  const data = Array.isArray(value) ? Float32Array.from(value) : value;
  return { value: { data, shape: [rows, columns] }, rows };
}

function firstRows(name: string, { value, rows }: Rows, wanted: number | undefined): unknown {
  const { shape, data } = value as { shape?: readonly number[]; data?: unknown };
  if (wanted === undefined) return value;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > rows) {
    throw new OutOfBoundsError(`numNeighbors is ${wanted}; expected 1 to ${rows}, the rows that ${name} has`);
  }
  if (wanted === rows) return value;
  if (!shape) return (value as unknown[]).slice(0, wanted);
  if (shape.length !== 2) throw new UnsupportedError(`numNeighbors needs ${name} as a matrix`);
  const columns = shape[1] as number;
  const part = ((data ?? value) as Float32Array).slice(0, wanted * columns);
  return { data: part, shape: [wanted, columns] };
}

function maskOf(mask: ArrayLike<unknown> | ArrayBufferView): unknown {
  if (!Array.isArray(mask) || typeof mask[0] !== "boolean") return mask;
  return { data: mask, shape: [mask.length] };
}

/** What came, in words. */
export function told(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  const what = typeof value === "object" ? (value.constructor?.name ?? "Object") : typeof value;
  if (what === "Object") return "an object";
  return `${/^[AEIOU]/.test(what) ? "an" : "a"} ${what}`;
}

/** As many keys and values as queries. */
export function checkLists(lists: Readonly<Record<"queries" | "keys" | "values", unknown>>): void {
  for (const [name, list] of Object.entries(lists)) {
    if (!Array.isArray(list))
      throw new UnsupportedError(`${name} is ${told(list)}; expected an array with an item for each query`);
    const [actual, expected] = [list.length, (lists.queries as unknown[]).length];
    if (actual === expected) continue;
    const message = `${name} has ${actual} items; expected ${expected}, as queries has`;
    throw Object.assign(new DimensionMismatchError(message), { expected, actual });
  }
}
