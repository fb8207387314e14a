/** A loaded runtime in this thread: the classes over one instance of the kernels. */
import { heeded } from "../abort.js";
import type { Description, Rules } from "../description.js";
import { InvalidConfigError, LoadError, RuntimeLostError, UnsupportedError } from "../errors.js";
import { registryName } from "../naming.js";
import { absent, type Home, type KernelAttention, TOP_K } from "./attention.js";
import { Engine } from "./engine.js";
import type { Kernels } from "./kernels.js";
import { PARTS, VERSION } from "./mechanisms.gen.js";
import type { Memory } from "./memory.js";
import { type Body, FETCH, type Part } from "./parts.js";
import { BODIES, RULES, type ScaledDotProduct } from "./scaled_dot_product.js";
import { didYouMean } from "./suggest.js";

/** Of a memory, unchecked. */
interface MemoryOptions {
  capacity?: unknown;
  signal?: unknown;
}
interface Class {
  new (config?: object): KernelAttention;
  create(config?: object): Promise<KernelAttention>;
}

export class KernelRuntime {
  readonly #kernels: Kernels;
  readonly #engine: Engine;
  /** Of the mechanisms whose code is here. */
  readonly #classes = new Map<string, Class>();
  readonly #partOf = new Map<string, keyof typeof PARTS>();
  #Memory: typeof Memory | undefined;
  #alive = 0;
  #closed = false;
  /** Frees what was never disposed, some time after its owner was forgotten. */
  readonly #forgotten = new FinalizationRegistry<{ release: () => void }>(({ release }) =>
    this.#end(release),
  );
  /** The owners that are alive and what frees them; weakly, so that they can be forgotten. */
  readonly #owned = new WeakMap<object, { release: () => void }>();

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
    this.#engine = new Engine(kernels);
    for (const [part, names] of Object.entries(PARTS)) {
      for (const [name, Class] of Object.entries(names)) {
        this.#partOf.set(name, part as keyof typeof PARTS);
        const get = () => this.#classes.get(name) ?? this.#standIn(name);
        Object.defineProperty(this, Class, { get, enumerable: true });
      }
    }
    this.#add({ RULES, BODIES });
  }

  /** The version of the package. */
  get version(): string {
    return VERSION;
  }

  /** Which kernels run: "wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"; natively "avx512", "avx2", "neon" … */
  get backend(): string {
    return this.#kernels.backend;
  }

  /** How many threads a large asynchronous call may use. */
  get threads(): number {
    return this.#kernels.threads ?? 1;
  }

  /** The names that create() takes. */
  get mechanisms(): string[] {
    return [...this.#partOf.keys()];
  }

  /** Bytes of the kernels' memory, and how many of them are in use. */
  get heap(): { bytes: number; used: number } {
    return this.#kernels.heap;
  }

  /** @internal */
  get engine(): Engine {
    return this.#engine;
  }

  /** How many objects are alive. */
  get handles(): number {
    return this.#alive;
  }

  /** Every mechanism with its settings, inputs and methods, in words; fetched when it is asked for. */
  async describe(): Promise<Description> {
    const { DESCRIPTION } = await import("./description.gen.js");
    return { ...DESCRIPTION, backend: this.backend, handles: this.handles };
  }

  /**
   * Fetches the code of mechanisms, of "memory" and of "top_k", so that createSync(), `new` and memorySync() find it;
   * "all" is all.
   * create() and memory() do so by themselves.
   */
  async preload(what: "all" | readonly string[]): Promise<void> {
    if (what !== "all" && !Array.isArray(what)) {
      throw new UnsupportedError(`preload is ${String(what)}; expected "all", or an array of mechanisms`);
    }
    const names = what === "all" ? [...this.#partOf.keys(), MEMORY, TOP_K] : what.map(registryName);
    await Promise.all(names.map((name) => this.#fetch(name)));
  }

  /** A mechanism by its name: "scaled_dot_product", "scaled-dot-product". Raises where the config is not accepted. */
  async create(name: string, config: object = {}): Promise<KernelAttention> {
    await this.#fetch(registryName(name));
    return this.createSync(name, config).ready;
  }

  /** The same at once; calls raise where the config is not accepted. */
  createSync(name: string, config: object = {}): KernelAttention {
    const id = registryName(name);
    const Class = this.#classes.get(id);
    if (!Class) throw this.#partOf.has(id) ? absent(id, `create("${id}", …)`) : this.#unknown(name);
    return new Class(config);
  }

  /** Keys and values that stay in the kernels' memory; pass the result in their place. */
  async memory(keys: unknown, values?: unknown, options?: MemoryOptions): Promise<Memory> {
    heeded(options?.signal);
    await this.#fetch(MEMORY);
    return this.memorySync(keys, values, options);
  }

  memorySync(keys: unknown, values?: unknown, options?: MemoryOptions): Memory {
    if (!this.#Memory) throw absent(MEMORY, "memory(…)");
    const unknown = Object.keys(options ?? {}).find((name) => !MEMORY_OPTIONS.includes(name));
    if (unknown !== undefined)
      throw new UnsupportedError(`memory has no option '${unknown}'; known: ${MEMORY_OPTIONS.join(", ")}`);
    return new this.#Memory(this.#home(), keys, values, options);
  }

  /** Ends the runtime: everything that it made stops working. */
  close(): void {
    this.#closed = true;
    this.#kernels.close?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #home(): Home {
    const runtime = this;
    return {
      engine: this.#engine,
      check(): void {
        if (runtime.#closed) throw new RuntimeLostError("the runtime was closed");
      },
      own(owner: object, release: () => void): void {
        const known = runtime.#owned.get(owner);
        if (known) {
          known.release = release;
          return;
        }
        const record = { release };
        runtime.#owned.set(owner, record);
        runtime.#forgotten.register(owner, record, owner);
        runtime.#alive++;
      },
      create: (name: string, config: object) => runtime.createSync(name, config),
      fetch: (names: readonly string[]) => runtime.preload(names),
      mechanisms: this.mechanisms,
      disown(owner: object): void {
        const record = runtime.#owned.get(owner);
        if (!record) return;
        runtime.#owned.delete(owner);
        runtime.#forgotten.unregister(owner);
        runtime.#end(record.release);
      },
    };
  }

  #end(release: () => void): void {
    this.#alive--;
    release();
  }

  async #fetch(id: string): Promise<void> {
    if (this.#classes.has(id) || (id === MEMORY && this.#Memory)) return;
    const part = this.#partOf.get(id);
    if (!part && id !== MEMORY && id !== TOP_K) throw this.#unknown(id);
    try {
      if (id === MEMORY) this.#Memory = (await import("./memory.js")).Memory;
      else if (id === TOP_K) (await import("./top_k.js")).prepare(this.#engine);
      else this.#add(await FETCH[part as keyof typeof FETCH]());
    } catch (error) {
      throw new LoadError(`the code of ${id} cannot be loaded: ${(error as Error).message}`);
    }
  }

  #add({ RULES, BODIES }: Part): void {
    for (const mechanism of RULES) {
      const { name } = mechanism;
      if (!this.#classes.has(name)) this.#classes.set(name, this.#makeClass(mechanism, BODIES[name] as Body));
    }
  }

  #unknown(name: string): InvalidConfigError {
    return new InvalidConfigError(
      `unknown mechanism '${name}'${didYouMean(registryName(name), this.mechanisms)}`,
    );
  }

  /** The class of a mechanism until its code is here. */
  #standIn(name: string): Class {
    const runtime = this;
    return class {
      static create(config?: object): Promise<KernelAttention> {
        return runtime.create(name, config);
      }
      constructor(config?: object) {
        // biome-ignore lint/correctness/noConstructorReturn: what comes is of the class that was fetched meanwhile
        return runtime.createSync(name, config);
      }
    } as unknown as Class;
  }

  #makeClass(mechanism: Rules, Body: Body): Class {
    const home = this.#home();
    const Class = class extends (Body as typeof ScaledDotProduct) {
      static async create(config: object = {}): Promise<KernelAttention> {
        return new Class(config).ready;
      }
      constructor(config: object = {}) {
        const prototype =
          typeof config === "object" && config !== null ? Object.getPrototypeOf(config) : undefined;
        if (prototype !== null && prototype !== Object.prototype) {
          throw new UnsupportedError(
            `the config of ${mechanism.class} is a ${typeof config}; expected an object, like { dim: 64 }`,
          );
        }
        super(home, mechanism, config);
      }
    };
    Object.defineProperty(Class, "name", { value: mechanism.class });
    for (const method of mechanism.methods) defineAsync(Class.prototype, method);
    return Class;
  }
}

const MEMORY = "memory";
const MEMORY_OPTIONS = ["capacity", "transfer", "signal"];

/** forward beside forwardSync: the arguments are read at once, errors reject. */
function defineAsync(prototype: KernelAttention, method: string): void {
  const name = method.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  Object.defineProperty(prototype, name, {
    value(this: KernelAttention, ...args: unknown[]) {
      return this.call(method, ...args);
    },
  });
}
