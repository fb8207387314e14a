/** A loaded runtime in this thread: the classes over one instance of the kernels. */
import type { Description, Rules } from "../description.js";
import { InvalidConfigError, RuntimeLostError, UnsupportedError } from "../errors.js";
import type { Home, KernelAttention } from "./attention.js";
import { Engine } from "./engine.js";
import { Headed } from "./heads.js";
import type { Kernels } from "./kernels.js";
import { Memory } from "./memory.js";
import { RULES, VERSION } from "./rules.gen.js";
import { ScaledDotProduct } from "./scaled_dot_product.js";
import { didYouMean } from "./suggest.js";

type Class = new (config?: object) => KernelAttention;

const BODIES: Readonly<Record<string, typeof ScaledDotProduct | typeof Headed>> = {
  scaled_dot_product: ScaledDotProduct,
  flash: ScaledDotProduct,
  local_global: ScaledDotProduct, // inside of a window, which is a setting
  multi_head: Headed,
  self_attention: Headed,
  cross_attention: Headed,
};

export class KernelRuntime {
  readonly #kernels: Kernels;
  readonly #engine: Engine;
  readonly #classes = new Map<string, Class>();
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
    for (const mechanism of RULES) {
      const Class = this.#makeClass(mechanism);
      this.#classes.set(mechanism.name, Class);
      Object.defineProperty(this, mechanism.class, { value: Class, enumerable: true });
    }
  }

  /** The version of the package. */
  get version(): string {
    return VERSION;
  }

  /** Which kernels run: "wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"; natively "avx512", "avx2", "neon" … */
  get backend(): string {
    return this.#kernels.backend;
  }

  /** The names that create() takes. */
  get mechanisms(): string[] {
    return [...this.#classes.keys()];
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

  /** A mechanism by its name: "scaled_dot_product", "scaled-dot-product". Raises where the config is not accepted. */
  async create(name: string, config: object = {}): Promise<KernelAttention> {
    return this.createSync(name, config).ready;
  }

  /** The same at once; calls raise where the config is not accepted. */
  createSync(name: string, config: object = {}): KernelAttention {
    const id = name.replaceAll("-", "_");
    const Class = this.#classes.get(id);
    if (!Class) {
      const known = [...this.#classes.keys()];
      throw new InvalidConfigError(`unknown mechanism '${name}'${didYouMean(id, known)}`);
    }
    return new Class(config);
  }

  /** Keys and values that stay in the kernels' memory; pass the result in their place. */
  async memory(keys: unknown, values?: unknown, options?: { capacity?: unknown }): Promise<Memory> {
    return this.memorySync(keys, values, options);
  }

  memorySync(keys: unknown, values?: unknown, options?: { capacity?: unknown }): Memory {
    return new Memory(this.#home(), keys, values, options);
  }

  /** Ends the runtime: everything that it made stops working. */
  close(): void {
    this.#closed = true;
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

  #makeClass(mechanism: Rules): Class {
    const home = this.#home();
    const Body = BODIES[mechanism.name];
    if (!Body) throw new UnsupportedError(`the kernels' runtime has no class for ${mechanism.name}`);
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

/** forward beside forwardSync: the arguments are read at once, errors reject. */
function defineAsync(prototype: KernelAttention, method: string): void {
  const name = method.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  Object.defineProperty(prototype, name, {
    value(this: KernelAttention, ...args: unknown[]) {
      return this.call(method, ...args);
    },
  });
}
