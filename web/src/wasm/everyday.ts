/** The call that most programs make again and again: matrices of float32 without a mask, in as few steps as it has. */
import { type Tensor, tensor } from "../tensor.js";
import { UNLIMITED } from "./addends.js";
import { Bank } from "./bank.js";
import { type Engine, QUERY_BLOCK } from "./engine.js";
import type { Resident, Shape } from "./numbers.js";
import type { Settings } from "./settings.js";

/**
 * softmax(scale * q kT) v for one head without an axis of items, of matrices or of a query and a Memory; undefined where
 * the arguments are others, where they do not fit each other or the window, or where a number was met that is not
 * finite: the longer way tells.
 */
export function attendPlain(
  engine: Engine,
  args: readonly unknown[],
  settings: Settings,
  scale: number,
): Tensor | undefined {
  const query = args[0];
  const memory = args[1];
  const isMemory = memory instanceof Bank;
  if (args.length !== (isMemory ? 2 : 3)) return undefined;
  if (settings.normalize || settings.top_k || settings.window !== undefined) return undefined;
  if (isMemory) memory.check();
  const keys = isMemory ? memory.keys : memory;
  const values = isMemory ? memory.values : args[2];
  const ofQuery = shapeOf(query);
  const ofKeys = shapeOf(keys);
  const ofValues = shapeOf(values);
  if (!ofQuery || !ofKeys || !ofValues) return undefined;
  const nQuery = ofQuery[0] as number;
  const nKey = ofKeys[0] as number;
  const dimValue = ofValues[1] as number;
  const dim = settings.dim as number;
  if (
    ofQuery[1] !== dim ||
    ofKeys[1] !== dim ||
    ofValues[0] !== nKey ||
    nKey > (settings.max_sequence_length as number)
  )
    return undefined;
  const sizeQuery = nQuery * dim;
  const sizeKeys = nKey * dim;
  const sizeValues = nKey * dimValue;
  const size = nQuery * dimValue;
  const copied = isMemory ? 0 : sizeKeys + sizeValues;
  if (4 * copied > engine.window || 4 * (sizeQuery + size) > engine.window) return undefined;
  const { kernels, everyday: call } = engine;
  const { areas } = engine.staging;
  const { slots } = call;
  const queryData = dataOf(query, sizeQuery);
  if (!queryData) return undefined;
  if (isMemory) {
    kernels.buffer(slots.keys, (keys as Resident).pointer, sizeKeys);
    kernels.buffer(slots.values, (values as Resident).pointer, sizeValues);
  } else {
    const keyData = dataOf(keys, sizeKeys);
    const valueData = dataOf(values, sizeValues);
    if (!keyData || !valueData) return undefined;
    kernels.give(slots.keys, areas.keys, keyData, sizeKeys);
    kernels.give(slots.values, areas.values, valueData, sizeValues);
  }
  kernels.give(slots.query, areas.query, queryData, sizeQuery);
  const { words } = kernels; // after all that may have made the memory grow
  words[slots.batch] = words[slots.heads] = words[slots.kv_heads] = 1;
  words[slots.n_query] = nQuery;
  words[slots.n_key] = nKey;
  words[slots.dim] = words[slots.query_row] = words[slots.key_row] = dim;
  words[slots.behind] = UNLIMITED;
  words[slots.ahead] = settings.causal ? 0 : UNLIMITED;
  words[slots.stop] = Math.ceil(nQuery / QUERY_BLOCK);
  words[slots.dim_value] = words[slots.value_row] = words[slots.out_row] = dimValue;
  kernels.f64[slots.scale >>> 1] = scale;
  const out = kernels.answer(call, slots.out, areas.out, size, nQuery * nKey * (dim + dimValue));
  return out && tensor(out, [nQuery, dimValue]);
}

/** Of a matrix. */
function shapeOf(value: unknown): Shape | undefined {
  const shape = (value as { shape?: Shape } | null | undefined)?.shape;
  return shape?.length === 2 ? shape : undefined;
}

/** Of a Float32Array with a shape, or of { data, shape }. */
function dataOf(value: unknown, size: number): Float32Array | undefined {
  const data = value instanceof Float32Array ? value : (value as { data?: unknown }).data;
  return data instanceof Float32Array && data.length === size && size > 0 ? data : undefined;
}
