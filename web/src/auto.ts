/**
 * Both runtimes: the kernels, which answer in milliseconds, and Pyodide, which starts behind them and does what they cannot.
 */
import type { Client } from "./client.js";
import { UnsupportedError } from "./errors.js";
import type { Attention } from "./instance.js";
import type { LoadOptions, RuvectorAttention } from "./load.js";
import type { MechanismsByName } from "./mechanisms.gen.js";
import type { MemoryOptions, Memory as RemoteMemory } from "./memory.js";
import { type EitherName, snake } from "./naming.js";
import type { Queries, StreamOptions } from "./stream.js";
import type { ArrayInput, Tensor } from "./tensor.js";
import type { KernelOptions, KernelsHere, LocalMemory } from "./wasm/types.js";

/** Options of load({ runtime: "auto" }): those of Pyodide, and the kernels' own. */
export interface AutoOptions extends Omit<LoadOptions, "runtime"> {
  runtime: "auto";
  /** Of the kernels: where they are, which instruction set. They run in this thread. */
  kernels?: Omit<KernelOptions, "runtime" | "worker">;
}

/** What the kernels say of everything that they leave to the other runtime. */
const LEFT_TO_PYTHON = /runtime: 'pyodide'|^unknown mechanism/;

/** What an instance is in either runtime. */
interface Body {
  readonly config: Readonly<Record<string, unknown>>;
  call(method: string, ...args: unknown[]): Promise<unknown>;
  dispose(): Promise<void>;
}

/** A loaded runtime "auto". */
export class AutoRuntime {
  /** The whole package, once Pyodide has started; rejects with LoadError where it does not. */
  readonly complete: Promise<RuvectorAttention>;
  readonly #kernels: KernelsHere;
  #python: RuvectorAttention | undefined;

  /** @internal */
  constructor(kernels: KernelsHere, complete: Promise<RuvectorAttention>) {
    this.#kernels = kernels;
    this.complete = complete;
    complete.then(
      (python) => {
        this.#python = python;
      },
      () => {}, // whoever needs it meets the error
    );
  }

  get version(): string {
    return this.#kernels.version;
  }

  /** Which kernels answer at once. */
  get backend(): string {
    return this.#kernels.backend;
  }

  /** Whether Pyodide has started. */
  get isComplete(): boolean {
    return this.#python !== undefined;
  }

  /** The names that create() takes; until Pyodide has started, those of the kernels alone. */
  get mechanisms(): string[] {
    return this.#python?.mechanisms ?? this.#kernels.mechanisms;
  }

  /**
   * A mechanism of the kernels where they have it with these settings; else one of Pyodide, once it has started. What a
   * call asks beyond the kernels, gradients above all, moves the object over there, its parameters with it.
   */
  create<Name extends keyof EitherName<MechanismsByName>>(
    name: Name,
    config: EitherName<MechanismsByName>[Name]["config"],
  ): Promise<EitherName<MechanismsByName>[Name]["instance"]>;
  create(name: string, config?: object): Promise<Attention>;
  async create(name: string, config: object = {}): Promise<Attention> {
    let body: Body | undefined;
    try {
      body = (await this.#kernels.create(name as never, config as never)) as unknown as Body;
    } catch (error) {
      if (!isLeft(error)) throw error;
    }
    const moved = async (): Promise<Body> => (await this.complete).create(name, config);
    return wrap(new Movable(body ?? (await moved()), body ? moved : undefined)) as unknown as Attention;
  }

  /** Keys and values that stay in the runtime, for objects of either. */
  async memory(
    keys: ArrayInput,
    values?: ArrayInput | null,
    options: MemoryOptions = {},
  ): Promise<AutoMemory> {
    return new AutoMemory(await this.#kernels.memory(keys, values, options), this.complete);
  }

  /** Ends both. */
  close(): void {
    this.#kernels.close();
    this.complete.then(
      (python) => python.close(),
      () => {},
    );
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Keys and values in the kernels' memory, copied to Pyodide when an object there reads them. */
export class AutoMemory {
  readonly #own: LocalMemory;
  readonly #python: Promise<Client>;
  #copy: Promise<RemoteMemory> | undefined;

  /** @internal */
  constructor(own: LocalMemory, python: Promise<Client>) {
    this.#own = own;
    this.#python = python;
  }

  get length(): number {
    return this.#own.length;
  }
  get dim(): number {
    return this.#own.dim;
  }
  get dimValue(): number {
    return this.#own.dimValue;
  }

  /** @internal As an object of that runtime takes it. */
  for(isPython: boolean): Promise<object> | object {
    if (!isPython) return this.#own;
    this.#copy ??= (async () => {
      const { keys, values } = this.#own.stateDictSync();
      return (await this.#python).memory(keys, values);
    })();
    return this.#copy;
  }

  append(keys: ArrayInput, values?: ArrayInput | null): Promise<Tensor<Int32Array>> {
    return this.#changed(this.#own.append(keys, values));
  }

  evict(which: ArrayInput | { readonly oldest: number }): Promise<number> {
    return this.#changed(this.#own.evict(which));
  }

  async clear(): Promise<void> {
    await this.#changed(this.#own.clear());
  }

  /** Scaled dot-product attention of the query to these rows. */
  attend(query: ArrayInput): Promise<Tensor> {
    return this.#own.attend(query);
  }

  async dispose(): Promise<void> {
    await this.#changed(this.#own.dispose());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #changed<T>(change: Promise<T>): Promise<T> {
    const copy = this.#copy;
    this.#copy = undefined;
    void copy?.then((memory) => memory.dispose()).catch(() => {});
    return change;
  }
}

/** An object that is one of the kernels' until a call needs the other runtime, and that one's from then on. */
class Movable {
  #body: Body;
  #move: (() => Promise<Body>) | undefined;
  #moving: Promise<void> | undefined;

  constructor(body: Body, move: (() => Promise<Body>) | undefined) {
    this.#body = body;
    this.#move = move;
  }

  get config(): Readonly<Record<string, unknown>> {
    return this.#body.config;
  }

  get runtime(): "wasm" | "pyodide" {
    return this.#move ? "wasm" : "pyodide";
  }

  async call(method: string, ...args: unknown[]): Promise<unknown> {
    if (this.#moving) await this.#moving;
    try {
      return await this.#call(method, args);
    } catch (error) {
      if (!this.#move || !isLeft(error)) throw error;
      this.#moving ??= this.#moveOver(this.#move);
      await this.#moving;
      return this.#call(method, args);
    }
  }

  forwardStream(
    queries: Queries,
    keys: ArrayInput | AutoMemory,
    values?: ArrayInput | null,
    options: StreamOptions & Record<string, unknown> = {},
  ): AsyncGenerator<Tensor, void, undefined> {
    return this.#stream(queries, keys, values, options);
  }

  dispose(): Promise<void> {
    return this.#body.dispose();
  }

  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #call(method: string, args: readonly unknown[]): Promise<unknown> {
    const isPython = this.#move === undefined;
    const own = args.map((arg) => (arg instanceof AutoMemory ? arg.for(isPython) : arg));
    return this.#body.call(method, ...(await Promise.all(own)));
  }

  async *#stream(...args: unknown[]): AsyncGenerator<Tensor, void, undefined> {
    const own = args.map((arg) => (arg instanceof AutoMemory ? arg.for(this.#move === undefined) : arg));
    const given = (await Promise.all(own)) as Parameters<Attention["forwardStream"]>;
    yield* (this.#body as unknown as Attention).forwardStream(...given);
  }

  async #moveOver(move: () => Promise<Body>): Promise<void> {
    try {
      const body = await move();
      const state = (await this.#body.call("state_dict")) as Record<string, Tensor>;
      if (Object.keys(state).length > 0) await body.call("load_state_dict", { ...state });
      const before = this.#body;
      this.#body = body;
      this.#move = undefined;
      await before.dispose();
    } finally {
      this.#moving = undefined;
    }
  }
}

function isLeft(error: unknown): boolean {
  return error instanceof Error && LEFT_TO_PYTHON.test(error.message);
}

/** Its methods by their names: whatever it does not have itself is a call. */
function wrap(object: Movable): Movable {
  const proxy: Movable = new Proxy(object, {
    get(target, key) {
      if (key === "then") return undefined; // no promise
      if (key === "ready") return Promise.resolve(proxy);
      if (key in target || typeof key === "symbol") {
        const found = Reflect.get(target, key, target);
        return typeof found === "function" ? found.bind(target) : found;
      }
      return (...args: unknown[]) => target.call(snake(key), ...args);
    },
    set: (_, key) => {
      throw new UnsupportedError(`${String(key)} cannot be set`);
    },
  });
  return proxy;
}
