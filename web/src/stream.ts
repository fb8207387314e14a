/** One call after the other over queries that stand in a matrix or arrive in time. */
import { heeded, untilAborted } from "./abort.js";
import { DimensionMismatchError, UnsupportedError } from "./errors.js";
import { type ArrayInput, type Tensor, tensor } from "./tensor.js";

/** Options of forwardStream; those of the call may stand beside them. */
export interface StreamOptions {
  /** Rows of a matrix that one call computes; 1 gives vectors, more give matrices. */
  chunk?: number;
  /** Aborted, the stream ends with its reason, though its source may still be waiting. */
  signal?: AbortSignal;
}

/** Queries of a stream: the rows of a matrix, or whatever an iterable brings, each of any form that forward takes. */
export type Queries = ArrayInput | Iterable<ArrayInput> | AsyncIterable<ArrayInput>;

/** What a stream asks of a runtime. */
export interface StreamSource {
  /** Keeps keys and values in the runtime, so that they cross once. */
  keep(keys: unknown, values: unknown): Promise<{ dispose(): Promise<void> }>;
  isMemory(keys: unknown): boolean;
  forward(query: unknown, bank: object, options: object): Promise<Tensor>;
}

/** The outputs of the queries in their order. Each is a call of its own: causal, for example, puts it at the end. */
export async function* forwardStream(
  source: StreamSource,
  queries: unknown,
  keys: unknown,
  values: unknown,
  options: StreamOptions & Record<string, unknown> = {},
): AsyncGenerator<Tensor, void, undefined> {
  const { chunk = 1, ...call } = options;
  if (!Number.isInteger(chunk) || chunk < 1) {
    throw new UnsupportedError(`chunk is ${chunk}; expected an integer of at least 1`);
  }
  const isKept = source.isMemory(keys);
  const signal = heeded(call.signal);
  const bank = isKept ? (keys as { dispose(): Promise<void> }) : await source.keep(keys, values);
  try {
    for await (const query of untilAborted(pieces(queries, chunk), signal)) {
      yield await source.forward(query, bank, call);
    }
  } finally {
    if (!isKept) await bank.dispose();
  }
}

type Typed = Float32Array;

function pieces(queries: unknown, chunk: number): Iterable<unknown> | AsyncIterable<unknown> {
  if (Array.isArray(queries)) return groups(queries, chunk);
  if (typeof queries === "object" && queries !== null) {
    const { data, shape } = queries as { data?: unknown; shape?: readonly number[] };
    if (shape) return rows((data ?? queries) as Typed, shape, chunk);
    if (ArrayBuffer.isView(queries)) return [queries]; // a vector
    if (Symbol.asyncIterator in queries || Symbol.iterator in queries) return queries as Iterable<unknown>;
  }
  throw new UnsupportedError(`queries is a ${typeof queries}; expected a matrix or an iterable of queries`);
}

function* groups(list: readonly unknown[], chunk: number): Generator<unknown> {
  if (typeof list[0] === "number") yield list;
  else if (chunk === 1) yield* list;
  else for (let at = 0; at < list.length; at += chunk) yield list.slice(at, at + chunk);
}

function* rows(data: Typed, shape: readonly number[], chunk: number): Generator<unknown> {
  if (shape.length !== 2) {
    throw new UnsupportedError(`queries is (${shape.join(", ")}); expected a matrix, (n_query, dim)`);
  }
  const [count, width] = shape as [number, number];
  if (data.length !== count * width) {
    throw new DimensionMismatchError(
      `queries has ${data.length} elements; expected ${count * width} for its shape (${count}, ${width})`,
    );
  }
  for (let at = 0; at < count; at += chunk) {
    const size = Math.min(chunk, count - at);
    const part = data.slice(at * width, (at + size) * width);
    if (!ArrayBuffer.isView(part)) yield { data: part, shape: chunk === 1 ? [width] : [size, width] };
    else yield tensor(part, chunk === 1 ? [width] : [size, width]);
  }
}
