/** Arrays as the packages take them from which this one's users come: flat, with their rows one after the other. */
import { DimensionMismatchError, OutOfBoundsError, UnsupportedError } from "../errors.js";

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
    else if (typeof item === "object") options = { ...options, ...item };
    else
      throw new UnsupportedError(`a ${typeof item} came; expected a number of neighbours, a mask or options`);
  }
  const { neighbors, ...others } = options as { neighbors?: number };
  const [k, nKey] = toRows("keys", keys, dim, undefined, count ?? neighbors);
  const [v] = toRows("values", values, undefined, nKey, count ?? neighbors);
  return { query, keys: k, values: v, dim, options: others };
}

/** Channels of a vector or of the rows of a matrix. */
export function widthOf(query: unknown): number {
  if (isFlat(query)) return query.length;
  const { shape } = (query ?? {}) as { shape?: readonly number[] };
  if (shape) return shape.at(-1) ?? 0;
  if (Array.isArray(query) && query.length > 0) return widthOf(query[0]);
  throw new UnsupportedError(`query is ${told(query)}; expected a vector or a matrix`);
}

/** One number after the other, without a shape. */
export function isFlat(value: unknown): value is ArrayLike<number> & { length: number } {
  if (ArrayBuffer.isView(value)) return !("shape" in value);
  return Array.isArray(value) && typeof value[0] === "number";
}

/** Rows of so many channels, or so many rows; what has its own rows is taken as it is. Also how many came. */
function toRows(
  name: string,
  value: unknown,
  width: number | undefined,
  count: number | undefined,
  wanted: number | undefined,
): [unknown, number] {
  if (!isFlat(value)) return firstRows(name, value, wanted);
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
  return firstRows(name, { data, shape: [rows, columns] }, wanted);
}

function firstRows(name: string, value: unknown, wanted: number | undefined): [unknown, number] {
  const { shape, data } = value as { shape?: readonly number[]; data?: unknown };
  const rows = shape ? (shape.at(-2) ?? 1) : (value as { length?: number }).length;
  if (rows === undefined) throw new UnsupportedError(`${name} is ${told(value)}; expected rows`);
  if (wanted === undefined) return [value, rows];
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > rows) {
    throw new OutOfBoundsError(`numNeighbors is ${wanted}; expected 1 to ${rows}, the rows that ${name} has`);
  }
  if (wanted === rows) return [value, rows];
  if (!shape) return [(value as unknown[]).slice(0, wanted), rows];
  if (shape.length !== 2) throw new UnsupportedError(`numNeighbors needs ${name} as a matrix`);
  const columns = shape[1] as number;
  const part = ((data ?? value) as Float32Array).slice(0, wanted * columns);
  return [{ data: part, shape: [wanted, columns] }, rows];
}

function maskOf(mask: ArrayLike<unknown> | ArrayBufferView): unknown {
  if (!Array.isArray(mask) || typeof mask[0] !== "boolean") return mask;
  return { data: mask, shape: [mask.length] };
}

function told(value: unknown): string {
  return value === null || value === undefined ? String(value) : `a ${typeof value}`;
}
