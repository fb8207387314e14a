/**
 * A pool of workers, each with a runtime of its own: batches and streams of calls over all of them. A worker that dies is
 * replaced, and what it was at is done by another.
 */

import { heeded } from "./abort.js";
import { ofItem } from "./batches.js";
import type { Client } from "./client.js";
import { InvalidConfigError, UnsupportedError } from "./errors.js";
import type { Attention } from "./instance.js";
import type { LoadOptions } from "./load.js";
import type { MechanismsByName } from "./mechanisms.gen.js";
import type { Memory, MemoryOptions } from "./memory.js";
import { type EitherName, isPlainObject, mapKeys, registryName, snake } from "./naming.js";
import { Copies } from "./pool/copies.js";
import { Crew } from "./pool/crew.js";
import { cores, opener } from "./pool/open.js";
import { throughWindow } from "./pool/order.js";
import type { ArrayInput, Tensor } from "./tensor.js";
import type { KernelOptions } from "./wasm/types.js";

/** Options of openPool. */
export interface PoolOptions {
  /** What the workers run: "wasm", the kernels alone (default), or "pyodide", the Python package. */
  runtime?: "wasm" | "pyodide";
  /** How many; left out, as many as there are cores, at most 8. */
  workers?: number;
  /** Tasks that a worker holds at most, the one it works on among them: 2 keep it from waiting. */
  inFlight?: number;
  /** Milliseconds that a task may take; a worker that takes longer counts as dead. Left out, as long as it likes. */
  timeout?: number;
  /** Where a worker's files are, as load() has it. */
  assetBase?: string | URL;
  workerURL?: string | URL;
  /** Of the kernels: the instruction set. */
  backend?: KernelOptions["backend"];
  /** Of Pyodide: as load() has them. */
  indexURL?: LoadOptions["indexURL"];
  wheel?: LoadOptions["wheel"];
  modules?: LoadOptions["modules"];
  cache?: LoadOptions["cache"];
  /** Told of every worker that died. */
  onWorkerLost?: (error: Error) => void;
}

/** How far a batch is. */
export interface BatchProgress {
  /** Items that have a result or failed. */
  done: number;
  failed: number;
  /** Of how many; undefined where the source does not say. */
  total: number | undefined;
}

/** Options of forwardBatch; those of the call may stand beside them. */
export interface BatchOptions {
  /** Aborted, the batch rejects with its reason: what has not begun does not begin any more. */
  signal?: AbortSignal;
  onProgress?: (progress: BatchProgress) => void;
}

/** Options of map. */
export interface MapOptions extends BatchOptions {
  /** "input": results in the order of the items (default). "done": each as soon as it is there. */
  order?: "input" | "done";
  /** "throw": the first error ends it (default). "report": errors come as results, and the others go on. */
  failures?: "throw" | "report";
}

/** A result of `map`: `output`, or, where failures are reported, `error`. */
export type MapResult =
  | { readonly index: number; readonly output: Tensor; readonly error?: undefined }
  | { readonly index: number; readonly output?: undefined; readonly error: unknown };

/** One item: the inputs in their order, or an object of them, which may hold options of its own. */
export type PoolItem =
  | readonly (ArrayInput | PoolMemory | null | undefined)[]
  | Readonly<Record<string, unknown>>;

/** Starts a pool; resolves when its first worker runs. The others start when there is work for them. */
export async function openPool(options: PoolOptions = {}): Promise<WorkerPool> {
  const pool = new WorkerPool({ workers: await cores(), ...options });
  try {
    await pool.start();
    return pool;
  } catch (error) {
    pool.close();
    throw error;
  }
}

/** Workers, each with a runtime of its own. openPool() starts one. */
export class WorkerPool {
  readonly #crew: Crew<Client>;
  readonly #window: number;
  #first: Client | undefined;

  /** @internal */
  constructor(options: PoolOptions) {
    const { workers: size = 1, inFlight = 2, timeout, onWorkerLost } = options;
    checkFunction("onWorkerLost", onWorkerLost);
    for (const [name, value] of Object.entries({ workers: size, inFlight, timeout: timeout ?? 1 })) {
      if (!(Number.isInteger(value) && value >= 1)) {
        throw new InvalidConfigError(`${name} is ${value}; expected an integer of at least 1`);
      }
    }
    this.#window = 2 * size * inFlight;
    this.#crew = new Crew({
      size,
      inFlight,
      timeout,
      open: opener(options),
      onLost: (error) => onWorkerLost?.(error),
    });
  }

  /** @internal */
  async start(): Promise<void> {
    this.#first = await this.#crew.start();
  }

  /** The version of the package. */
  get version(): string {
    return (this.#first as Client).version;
  }

  /** Which kernels run. */
  get backend(): string {
    return (this.#first as Client).backend;
  }

  /** Tasks that wait, tasks that workers hold, workers that run, and workers that died so far. */
  get state(): { waiting: number; running: number; workers: number; lost: number } {
    return this.#crew.state;
  }

  /** A mechanism that every worker makes for itself when it needs it; the same seed makes the same parameters. */
  create<Name extends keyof EitherName<MechanismsByName>>(
    name: Name,
    config: EitherName<MechanismsByName>[Name]["config"],
  ): Promise<PooledAttention>;
  create(name: string, config?: object): Promise<PooledAttention>;
  async create(name: string, config: object = {}): Promise<PooledAttention> {
    const id = registryName(name);
    const known = (this.#first as Client).description.mechanisms.find((mechanism) => mechanism.name === id);
    const inputs = known?.inputs.map((input) => input.name) ?? [];
    const copies = new Copies<Attention>((client) => client.create(name, config));
    const accepted = await this.#crew.run(async (client) => (await copies.of(client)).config);
    return new PooledAttention(this.#crew, this.#window, inputs, { ...accepted }, copies);
  }

  /**
   * A bank of keys and values, sent to every worker once and then kept there: items hold it in the place of both. The
   * arrays are kept here too, for workers to come; leave them as they are.
   */
  async memory(
    keys: ArrayInput,
    values?: ArrayInput | null,
    options: MemoryOptions = {},
  ): Promise<PoolMemory> {
    const copies = new Copies<Memory>((client) => client.memory(keys, values, options));
    const size = await this.#crew.run(async (client) => {
      const { length, dim, dimValue } = await copies.of(client);
      return { length, dim, dimValue };
    });
    return new PoolMemory(this.#crew, copies, size);
  }

  /** Ends all workers. Whatever still waits rejects with RuntimeLostError. */
  close(): void {
    this.#crew.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Keys and values that every worker of a pool holds. */
export class PoolMemory {
  readonly length: number;
  readonly dim: number;
  readonly dimValue: number;
  readonly #crew: Crew<Client>;
  readonly #copies: Copies<Memory>;

  /** @internal */
  constructor(
    crew: Crew<Client>,
    copies: Copies<Memory>,
    size: { length: number; dim: number; dimValue: number },
  ) {
    this.#crew = crew;
    this.#copies = copies;
    this.length = size.length;
    this.dim = size.dim;
    this.dimValue = size.dimValue;
  }

  /** @internal That of a worker of this crew. */
  of(client: Client, crew: Crew<Client>): Promise<Memory> {
    if (crew !== this.#crew)
      throw new UnsupportedError("the memory is of another pool; expected one of this pool");
    return this.#copies.of(client);
  }

  /** Frees what the workers hold. */
  dispose(): Promise<void> {
    return this.#copies.dispose(this.#crew.workers);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** A mechanism in every worker of a pool. */
export class PooledAttention {
  /** The config with everything that was left out. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly #crew: Crew<Client>;
  readonly #window: number;
  readonly #inputs: readonly string[];
  #copies: Copies<Attention>;

  /** @internal */
  constructor(
    crew: Crew<Client>,
    window: number,
    inputs: readonly string[],
    config: Record<string, unknown>,
    copies: Copies<Attention>,
  ) {
    this.#crew = crew;
    this.#window = window;
    this.#inputs = inputs;
    this.config = config;
    this.#copies = copies;
  }

  /** The output of one call, from whichever worker has room. Arguments as those of any forward. */
  async forward(...args: unknown[]): Promise<Tensor> {
    return (await this.call("forward", ...args)) as Tensor;
  }

  /** Calls a method that changes nothing in one of the workers. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    const last = args.at(-1);
    try {
      if (!isPlainObject(last) || "shape" in last) return this.#run(method, args, 0);
      refuseTransfer(last);
      return this.#run(method, args, 0, heeded(last.signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Takes over parameters, in every worker, those to come among them. */
  async loadStateDict(state: Readonly<Record<string, ArrayInput>>): Promise<void> {
    const before = this.#copies;
    const copies = before.changed(async (attention) => {
      await attention.call("load_state_dict", { ...state });
      return attention;
    });
    await this.#crew.run((client) => copies.of(client));
    this.#copies = copies;
    await before.dispose(this.#crew.workers);
  }

  /** The outputs of many items in their order. The first error ends it; its `index` says which item it is about. */
  async forwardBatch(
    items: Iterable<PoolItem> | AsyncIterable<PoolItem>,
    options: BatchOptions & Record<string, unknown> = {},
  ): Promise<Tensor[]> {
    const outputs: Tensor[] = [];
    for await (const { index, output } of this.map(items, { ...options, order: "done" })) {
      outputs[index] = output as Tensor;
    }
    return outputs;
  }

  /**
   * The outputs of items that may come one by one: as many are read as the workers have room for. Options of the call
   * hold for all items.
   */
  async *map(
    items: Iterable<PoolItem> | AsyncIterable<PoolItem>,
    options: MapOptions & Record<string, unknown> = {},
  ): AsyncGenerator<MapResult, void, undefined> {
    const { signal: given, onProgress, order = "input", failures = "throw", ...call } = options;
    checkChoices({ order, failures });
    checkFunction("onProgress", onProgress);
    refuseTransfer(call);
    if (!isIterable(items))
      throw new UnsupportedError(`items is ${shown(items)}; expected an array, or an iterable of items`);
    const signal = heeded(given);
    const over = new AbortController(); // the caller has had enough: what has not begun is forgotten
    const stop = (): void => over.abort(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    const total = Array.isArray(items) ? items.length : undefined;
    let [done, failed] = [0, 0];
    const work = async (item: PoolItem, index: number): Promise<unknown> =>
      this.#run("forward", this.#arguments(item, call), index, over.signal);
    try {
      const window = { size: this.#window, inOrder: order === "input", signal: over.signal };
      for await (const { index, value, error } of throughWindow(items, window, work)) {
        done++;
        if (error !== undefined) {
          failed++;
          ofItem(error, index);
          if (failures === "throw") throw error;
        }
        onProgress?.({ done, failed, total });
        yield error === undefined ? { index, output: value as Tensor } : { index, error };
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      over.abort();
    }
  }

  /** @internal Items that go to one worker together; `first` is the place of the first of them. */
  async runBatch(items: readonly unknown[], first: number, signal?: AbortSignal): Promise<unknown> {
    try {
      return await this.#run("forward_batch", [items], first, signal);
    } catch (error) {
      const place = error instanceof Error ? /^item (\d+): /.exec(error.message) : null;
      throw place ? ofItem(error, first + Number(place[1])) : error;
    }
  }

  /** Frees it in all workers. */
  dispose(): Promise<void> {
    return this.#copies.dispose(this.#crew.workers);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #run(method: string, args: unknown[], index: number, signal?: AbortSignal): Promise<unknown> {
    const copies = this.#copies;
    return this.#crew.run(
      async (client) => {
        const attention = await copies.of(client);
        const own = args.map((arg) => (arg instanceof PoolMemory ? arg.of(client, this.#crew) : arg));
        return attention.call(method, ...(await Promise.all(own)));
      },
      index,
      signal,
    );
  }

  /** The arguments of forward for one item. */
  #arguments(item: PoolItem, options: Record<string, unknown>): unknown[] {
    if (Array.isArray(item) && !item.every((x) => typeof x === "number")) return [...item, options];
    const isObject = typeof item === "object" && item !== null && !("shape" in item);
    if (!isObject || ArrayBuffer.isView(item) || Array.isArray(item)) return [item, options];
    refuseTransfer(item);
    const given = mapKeys(item, snake);
    const inputs = this.#inputs.map((name) => given[name]);
    for (const name of this.#inputs) delete given[name];
    while (inputs.length > 0 && inputs.at(-1) === undefined) inputs.pop();
    return [...inputs, { ...options, ...given }];
  }
}

const CHOICES = { order: ["input", "done"], failures: ["throw", "report"] } as const;

function checkChoices(given: Readonly<Record<keyof typeof CHOICES, string>>): void {
  for (const [name, known] of Object.entries(CHOICES)) {
    const choice = given[name as keyof typeof CHOICES];
    if (!(known as readonly string[]).includes(choice))
      throw new UnsupportedError(`${name} is ${shown(choice)}; expected '${known.join("' or '")}'`);
  }
}

function checkFunction(name: string, given: unknown): void {
  if (given !== undefined && typeof given !== "function")
    throw new UnsupportedError(`${name} is ${shown(given)}; expected a function`);
}

function refuseTransfer(options: object): void {
  if ((options as { transfer?: unknown }).transfer)
    throw new UnsupportedError("transfer is no option of a pool, which may have to send an array again");
}

function isIterable(value: unknown): boolean {
  return (
    typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
  );
}

function shown(value: unknown): string {
  if (typeof value === "string") return `'${value}'`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
