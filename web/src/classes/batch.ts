/** Batches over workers, and a bank that grows, as other packages have them. */
import { InvalidConfigError, UnsupportedError } from "../errors.js";
import { camel, snake } from "../naming.js";
import { openPool, type PoolOptions, type WorkerPool } from "../pool.js";
import type { Tensor } from "../tensor.js";
import { backing } from "./current.js";
import { isFlat, readInputs } from "./rows.js";
import { type Spec, TABLE } from "./table.js";
import type { RowsInput, VectorInput } from "./types.js";

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

export interface ProcessOptions {
  signal?: AbortSignal;
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** Many calls, each with its own keys and values, over all cores. */
export class BatchProcessor {
  readonly #options: BatchProcessorOptions;
  #pool: Promise<WorkerPool> | undefined;
  #items = 0;
  #seconds = 0;

  constructor(options: BatchProcessorOptions) {
    const { batchSize } = options;
    if (!(Number.isInteger(batchSize) && batchSize >= 1)) {
      throw new InvalidConfigError(`batchSize is ${batchSize}; expected an integer of at least 1`);
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
    const items = queries.map((query, i) => readInputs(query, keys[i], values[i], []));
    const [first] = items;
    if (!first) return [];
    const { attentionType = "dot-product", config, batchSize } = this.#options;
    const pool = await this.#open();
    const attention = await pool.create(mechanismOf(attentionType), {
      ...fixedOf(attentionType),
      dim: first.dim,
      ...config,
    });
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
  readonly dim: number;
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
    if (this.isFull) return false;
    const rows = [key, value].map((row) => (isFlat(row) ? [row] : row));
    const { memorySync } = backing();
    if (this.#bank) this.#bank.appendSync(rows[0], rows[1]);
    else {
      if (!memorySync)
        throw new UnsupportedError("StreamProcessor needs a runtime in this thread, as init() loads it");
      const options = { capacity: this.capacity };
      this.#bank = memorySync.call(backing(), rows[0] as never, rows[1] as never, options as never) as Bank;
    }
    return true;
  }

  /** The output of a query over the rows that are there; zeros before the first. */
  process(query: VectorInput): Tensor | Float32Array {
    return this.#bank && this.#bank.length > 0 ? this.#bank.attendSync(query) : new Float32Array(this.dim);
  }

  get size(): number {
    return this.#bank?.length ?? 0;
  }

  get isFull(): boolean {
    return this.size >= this.capacity;
  }

  clear(): void {
    this.#bank?.clearSync();
  }

  free(): void {
    this.#bank?.free();
    this.#bank = undefined;
  }

  [Symbol.dispose](): void {
    this.free();
  }
}

/** The name of a mechanism, however it is written: "dot-product", "MultiHead", "multi_head". */
function mechanismOf(type: string): string {
  const id = snake(camel(type.replaceAll("-", "_")).replace(/^[A-Z]/, (letter) => letter.toLowerCase()));
  return id === "dot_product" ? "scaled_dot_product" : id.replace(/^mo_e$/, "moe");
}

/** What a class of that mechanism is over there, beyond its name. */
function fixedOf(type: string): object {
  const spec = Object.values(TABLE as Record<string, Spec>).find(
    ({ mechanism }) => mechanism === mechanismOf(type),
  );
  return spec?.fixed ?? {};
}
