/** The call that most programs make again and again: matrices of float32 without a mask, in as few steps as it has. */
import { UNLIMITED } from "./addends.js";
import { type Engine, QUERY_BLOCK } from "./engine.js";
import { isResident, type Resident, type Shape } from "./numbers.js";

/** A float32 matrix. */
export interface Plain {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** A Float32Array with a shape, or { data, shape }; undefined for other forms, which take the longer way. */
export function plainMatrix(value: unknown): Plain | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { shape } = value as { shape?: Shape };
  if (shape?.length !== 2) return undefined;
  const data = value instanceof Float32Array ? value : (value as { data?: unknown }).data;
  if (!(data instanceof Float32Array)) return undefined;
  const [rows, columns] = shape as [number, number];
  return data.length === rows * columns && data.length > 0 ? { data, rows, columns } : undefined;
}

/**
 * softmax(scale * q kT) v for one head without an axis of items; the result, or undefined where a number was met
 * that is not finite or where the arrays do not fit each other or the window: the longer way tells.
 */
export function attendPlain(
  engine: Engine,
  query: Plain,
  keys: Plain | Resident,
  values: Plain | Resident,
  dim: number,
  maxKeys: number,
  scale: number,
  causal: boolean,
): Float32Array | undefined {
  const [nKey, dimKey] = isPlain(keys) ? [keys.rows, keys.columns] : (keys.shape as [number, number]);
  const [nValue, dimValue] = isPlain(values)
    ? [values.rows, values.columns]
    : (values.shape as [number, number]);
  const nQuery = query.rows;
  if (query.columns !== dim || dimKey !== dim || nValue !== nKey || nKey > maxKeys || nKey === 0)
    return undefined;
  const copied = (isPlain(keys) ? nKey * dim : 0) + (isPlain(values) ? nKey * dimValue : 0);
  if (4 * copied > engine.window || 4 * nQuery * (dim + dimValue) > engine.window) return undefined;
  const { kernels } = engine;
  const { areas } = engine.staging;
  const queryAt = kernels.stage(areas.query, query.data, 0, nQuery * dim);
  const keysAt = isPlain(keys) ? kernels.stage(areas.keys, keys.data, 0, nKey * dim) : keys.pointer;
  const valuesAt = isPlain(values)
    ? kernels.stage(areas.values, values.data, 0, nKey * dimValue)
    : values.pointer;
  const size = nQuery * dimValue;
  const out = kernels.begin(areas.out, size);
  const { words } = kernels; // after all that may have made the memory grow
  const call = engine.everyday;
  const { slots } = call;
  words[slots.batch] = words[slots.heads] = words[slots.kv_heads] = 1;
  words[slots.n_query] = nQuery;
  words[slots.n_key] = nKey;
  words[slots.dim] = words[slots.query_row] = words[slots.key_row] = dim;
  words[slots.behind] = UNLIMITED;
  words[slots.ahead] = causal ? 0 : UNLIMITED;
  words[slots.stop] = Math.ceil(nQuery / QUERY_BLOCK);
  words[slots.dim_value] = words[slots.value_row] = words[slots.out_row] = dimValue;
  kernels.f64[slots.scale >>> 1] = scale;
  kernels.buffer(slots.query, queryAt, nQuery * dim);
  kernels.buffer(slots.keys, keysAt, nKey * dim);
  kernels.buffer(slots.values, valuesAt, nKey * dimValue);
  kernels.buffer(slots.out, out, size);
  if (kernels.run(call, nQuery * nKey * (dim + dimValue)) !== 0) return undefined;
  return kernels.finish(out, size);
}

function isPlain(array: Plain | Resident): array is Plain {
  return !isResident(array as unknown as Resident);
}
