/** Batches over workers, and a bank that grows, as other packages have them. */
import { heeded } from "../abort.js";
import { ofItem } from "../batches.js";
import { DimensionMismatchError, InvalidConfigError, UnsupportedError } from "../errors.js";
import { openPool, type PoolOptions, type WorkerPool } from "../pool.js";
import { type Tensor, tensor } from "../tensor.js";
import { backing } from "./current.js";
import { mechanismOf } from "./kinds.js";
import { checkLists, isFlat, readInputs, told } from "./rows.js";
import type { RowsInput, VectorInput } from "./types.js";

/** How a BatchProcessor works. */
export interface BatchProcessorOptions {
  /** Items that go to a worker in one message. */
  batchSize: number;
  /** Workers; as many as there are cores where it is left out. */
  numWorkers?: number;
  /** A worker has its next items before it is done with the last. Default: true. */
  prefetch?: boolean;
  /** "dot-product", "flash", "multi-head" …, or a mechanism's name. Default: "dot-product". */
  attentionType?: string;
  /** Settings of the mechanism; `dim` is that of the first query where it is left out. */
  config?: Record<string, unknown>;
  /** Of the workers: where they are, which runtime they run. */
  pool?: PoolOptions;
}

/** Options of one batch. */
export interface ProcessOptions {
  /** Aborted, the batch rejects with its reason. */
  signal?: AbortSignal;
  /** Told after every message to a worker. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** Many calls, each with its own keys and values, over all cores. */
export class BatchProcessor {
  readonly #options: BatchProcessorOptions;
  #pool: Promise<WorkerPool> | undefined;
  #items = 0;
  #seconds = 0;

  constructor(options: BatchProcessorOptions) {
    const { batchSize, numWorkers = 1 } = options ?? {};
    for (const [name, value] of Object.entries({ batchSize, numWorkers })) {
      if (!(Number.isInteger(value) && value >= 1)) {
        throw new InvalidConfigError(`${name} is ${value}; expected an integer of at least 1`);
      }
    }
    this.#options = options;
  }

  /** The output of every query, in their order. */
  async processBatch(
    queries: readonly VectorInput[],
    keys: readonly RowsInput[],
    values: readonly RowsInput[],
    { signal, onProgress }: ProcessOptions = {},
  ): Promise<Tensor[]> {
    const started = performance.now();
    checkLists({ queries, keys, values });
    heeded(signal);
    const items = queries.map((query, i) => {
      try {
        return readInputs(query, keys[i], values[i], []);
      } catch (error) {
        throw ofItem(error, i);
      }
    });
    const [first] = items;
    if (!first) return [];
    const { attentionType = "dot-product", config, batchSize } = this.#options;
    const { mechanism, fixed } = mechanismOf(attentionType);
    const pool = await this.#open();
    const attention = await pool.create(mechanism, { ...fixed, dim: first.dim, ...config });
    try {
      const outputs: Tensor[] = [];
      let done = 0;
      const starts = Array.from({ length: Math.ceil(items.length / batchSize) }, (_, i) => i * batchSize);
      const run = async (start: number): Promise<void> => {
        const part = items
          .slice(start, start + batchSize)
          .map((item) => [item.query, item.keys, item.values]);
        const found = (await attention.runBatch(part, start, signal)) as Tensor[];
        found.forEach((output, i) => {
          outputs[start + i] = output;
        });
        done += part.length;
        onProgress?.({ done, total: items.length });
      };
      await Promise.all(starts.map(run));
      this.#items += items.length;
      this.#seconds += (performance.now() - started) / 1000;
      return outputs;
    } finally {
      await attention.dispose();
    }
  }

  /** Items a second, over all batches so far. */
  getThroughput(): number {
    return this.#seconds > 0 ? this.#items / this.#seconds : 0;
  }

  /** Ends the workers. */
  async close(): Promise<void> {
    const pool = await this.#pool?.catch(() => undefined);
    this.#pool = undefined;
    pool?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(): Promise<WorkerPool> {
    const { numWorkers, prefetch = true, pool = {} } = this.#options;
    this.#pool ??= openPool({
      ...(numWorkers === undefined ? {} : { workers: numWorkers }),
      inFlight: prefetch ? 2 : 1,
      ...pool,
    });
    this.#pool.catch(() => {
      this.#pool = undefined;
    });
    return this.#pool;
  }
}

/** The output of every query over workers that live for this call; BatchProcessor keeps them. */
export async function parallelAttentionCompute(
  attentionType: string,
  queries: readonly VectorInput[],
  keys: readonly RowsInput[],
  values: readonly RowsInput[],
  numWorkers?: number,
  options: ProcessOptions & Omit<Partial<BatchProcessorOptions>, "attentionType" | "numWorkers"> = {},
): Promise<Tensor[]> {
  const { signal, onProgress, ...others } = options;
  const processor = new BatchProcessor({
    batchSize: 16,
    ...others,
    attentionType,
    ...(numWorkers === undefined ? {} : { numWorkers }),
  });
  try {
    return await processor.processBatch(queries, keys, values, {
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    });
  } finally {
    await processor.close();
  }
}

interface Bank {
  readonly length: number;
  appendSync(keys: unknown, values: unknown): unknown;
  attendSync(query: unknown): Tensor;
  clearSync(): unknown;
  free(): void;
}

/** Keys and values as they come, up to a number of rows, and attention to all that are there. In this thread. */
export class StreamProcessor {
  /** Channels of queries and keys. */
  readonly dim: number;
  /** Rows for which there is room. */
  readonly capacity: number;
  #bank: Bank | undefined;

  constructor(dim: number, capacity: number) {
    for (const [name, value] of Object.entries({ dim, capacity })) {
      if (!(Number.isInteger(value) && value >= 1)) {
        throw new InvalidConfigError(`${name} is ${value}; expected an integer of at least 1`);
      }
    }
    backing();
    this.dim = dim;
    this.capacity = capacity;
  }

  /** Adds a row; false where it is full. */
  push(key: VectorInput, value: VectorInput): boolean {
    this.#check("key", key, this.dim);
    this.#check("value", value);
    if (this.isFull) return false;
    const { memorySync } = backing();
    if (this.#bank) this.#bank.appendSync([key], [value]);
    else {
      if (!memorySync)
        throw new UnsupportedError("StreamProcessor needs a runtime in this thread, as init() loads it");
      const options = { capacity: this.capacity };
      this.#bank = memorySync.call(backing(), [key] as never, [value] as never, options as never) as Bank;
    }
    return true;
  }

  /** The output of a query over the rows that are there; zeros before the first. */
  process(query: VectorInput): Tensor {
    this.#check("query", query, this.dim);
    if (this.#bank && this.#bank.length > 0) return this.#bank.attendSync(query);
    return tensor(new Float32Array(this.dim), [this.dim]);
  }

  /** Rows that are there. */
  get size(): number {
    return this.#bank?.length ?? 0;
  }

  /** Whether the next push is refused. */
  get isFull(): boolean {
    return this.size >= this.capacity;
  }

  /** Drops all rows. */
  clear(): void {
    this.#bank?.clearSync();
  }

  /** Frees the rows' memory; the next push begins anew. */
  free(): void {
    this.#bank?.free();
    this.#bank = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }

  #check(name: string, vector: unknown, expected?: number): void {
    if (!isFlat(vector)) throw new UnsupportedError(`${name} is ${told(vector)}; expected a vector`);
    const { length: actual } = vector;
    if (expected === undefined || actual === expected) return;
    const error = new DimensionMismatchError(`${name} has ${actual} channels; expected dim = ${expected}`);
    throw Object.assign(error, { expected, actual });
  }
}
