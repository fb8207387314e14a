/** A loaded runtime as JavaScript sees it: its classes, and what crosses to it and back. */

import type { Description } from "./description.js";
import { RuntimeLostError } from "./errors.js";
import {
  Attention,
  type CallOptions,
  type EncodedCall,
  type MadeClass,
  makeClass,
  type Opened,
} from "./instance.js";
import { LentMemory } from "./lent_memory.js";
import { Memory, type MemoryOptions } from "./memory.js";
import { isPlainObject, mapKeys, mapSettings, registryName, snake } from "./naming.js";
import { buffersOf, type Connection, type Wire } from "./protocol.js";
import { type ArrayInput, decode, type Encoding, encode } from "./tensor.js";
import type { Training } from "./training.gen.js";

/** A loaded runtime. */
export class Client {
  readonly #connection: Connection;
  readonly #sameThread: boolean;
  readonly #lent = new LentMemory();
  #description: Description;
  /** Frees what was never disposed, some time after its owner forgot it. */
  readonly #forgotten = new FinalizationRegistry<number>((handle) => {
    this.#connection.request("release", { handle }).catch(() => {});
  });
  readonly #classes = new Map<string, MadeClass>();
  /** The classes of losses, optimizers, schedules and miners: `new ra.training.Adam({ learningRate: 0.01 })`. */
  readonly training: Training;
  /** A mechanism or a part of training at once, where the runtime is in this thread: `callSync` is for its calls. */
  readonly createSync?: (name: string, config?: object) => Attention;

  constructor(connection: Connection, description: Description, sameThread: boolean) {
    this.#connection = connection;
    this.#sameThread = sameThread;
    if (!sameThread) connection.onReturned = this.#lent.takeBack;
    this.#description = description;
    for (const mechanism of description.mechanisms) {
      this.#classes.set(mechanism.class, makeClass(this, mechanism));
      Object.defineProperty(this, mechanism.class, {
        value: this.#classes.get(mechanism.class),
        enumerable: true,
      });
    }
    const parts = description.training.map((part) => [part.class, makeClass(this, part)] as const);
    for (const [name, Class] of parts) this.#classes.set(name, Class);
    this.training = Object.fromEntries(parts) as unknown as Training;
    if (connection.now) this.createSync = (name, config = {}) => this.#make(name, config, true);
  }

  /** An object of the class with that name, else of what Python finds by it. */
  #make(name: string, config: object, now: boolean): Attention {
    const id = String(name).includes(":") ? name : registryName(name);
    const { mechanisms, training } = this.#description;
    const known = [...mechanisms, ...training].find((each) => each.name === id);
    const Class = known && this.#classes.get(known.class);
    return Class ? new Class(config, now) : new Attention(this, id, config, [], now);
  }

  /** The version of the Python package. */
  get version(): string {
    return this.#description.version;
  }

  /** Which kernels run: "wasm-simd128", "wasm-relaxed-simd", "numpy" … */
  get backend(): string {
    return this.#description.backend;
  }

  /** The names that create() takes. */
  get mechanisms(): string[] {
    return this.#description.mechanisms.map(({ name }) => name);
  }

  /** What describe() answered last, without asking again. */
  get description(): Description {
    return this.#description;
  }

  /** Every mechanism with its config, inputs and methods, asked anew. */
  async describe(): Promise<Description> {
    this.#description = decode(await this.#connection.request("describe", {})) as Description;
    return this.#description;
  }

  /**
   * A mechanism by its registry name ("scaled_dot_product", "scaled-dot-product"), or any class of a module given to
   * load() as "module:Class". Rejects when the config is not accepted.
   */
  create(name: string, config: object = {}): Promise<Attention> {
    return this.#make(name, config, false).ready;
  }

  /**
   * A bank of keys and values that stays in the runtime, checked and laid out once: `attention.forward(query, bank)`
   * then sends the query alone. Without values the keys are brought back themselves.
   */
  memory(
    keys: ArrayInput,
    values?: ArrayInput | null,
    options: MemoryOptions & CallOptions = {},
  ): Promise<Memory> {
    return Memory.open(this, keys, values, options);
  }

  /** Called once when the runtime is gone, closed or dead, before what still waits rejects. */
  get onLost(): ((error: Error) => void) | undefined {
    return this.#connection.onLost;
  }
  set onLost(listener: ((error: Error) => void) | undefined) {
    this.#connection.onLost = listener;
  }

  /** Whether it is gone. */
  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /** Ends the runtime; a worker is terminated. Everything still waiting rejects with RuntimeLostError. */
  close(): void {
    this.#connection.lose(new RuntimeLostError("the runtime was closed"));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  async open(name: string, config: object): Promise<Opened> {
    const encoded = this.#encodeConfig(config);
    const reply = await this.#connection.request("create", { name, config: encoded }, this.#buffers(encoded));
    return decode(reply) as unknown as Opened;
  }

  /** @internal */
  openSync(name: string, config: object): Opened {
    const request = { name, config: this.#encodeConfig(config) };
    return decode(this.#connection.requestSync("create", request)) as unknown as Opened;
  }

  #encodeConfig(config: object): Wire {
    const { transfer = false, ...settings } = config as CallOptions & Record<string, unknown>;
    return encode(mapSettings(settings, snake), "config", this.#encoding(transfer));
  }

  /** @internal */
  encodeCall(method: string, args: readonly unknown[], inputs: readonly string[]): EncodedCall {
    const positional = [...args];
    let options: Record<string, unknown> = {};
    const last = positional.at(-1);
    if (isPlainObject(last) && !("data" in last && "shape" in last)) {
      options = last;
      positional.pop();
    }
    while (positional.length > 0 && positional.at(-1) === undefined) positional.pop();
    const { transfer = false, ...rest } = options as CallOptions & Record<string, unknown>;
    const how = this.#encoding(transfer);
    // Only forward and attention_weights take the inputs in their order; elsewhere an argument has its number.
    const names = method === "forward" || method === "attention_weights" ? inputs : [];
    const encodeOne = (value: unknown, i: number): Wire => {
      const name = names[i] ?? `argument ${i + 1}`;
      return method.endsWith("_batch") && i === 0 ? encodeItems(value, how) : encode(value, name, how);
    };
    const kwargs: { [key: string]: Wire } = {};
    for (const [key, value] of Object.entries(rest)) {
      const name = snake(key);
      if (value !== undefined) kwargs[name] = encode(name === "mask" ? maskConfig(value) : value, name, how);
    }
    return {
      method,
      args: positional.map(encodeOne),
      kwargs,
      transfer,
    };
  }

  /** @internal */
  async send(handle: number, { method, args, kwargs }: EncodedCall, signal?: AbortSignal): Promise<unknown> {
    const transfer = this.#buffers([args, kwargs]);
    const call = { handle, method, args, kwargs };
    return decode(await this.#connection.request("call", call, transfer, signal));
  }

  /** @internal */
  sendSync(handle: number, { method, args, kwargs }: EncodedCall): unknown {
    return decode(this.#connection.requestSync("call", { handle, method, args, kwargs }));
  }

  /** Whether a signal stops Python in the middle of a call: where memory can be shared with its worker. */
  get canInterrupt(): boolean {
    return this.#connection.interrupt !== undefined;
  }

  /** @internal */
  track(owner: Attention, handle: number): void {
    this.#forgotten.register(owner, handle, owner);
  }

  /** @internal */
  async release(owner: Attention, handle: number): Promise<void> {
    this.#forgotten.unregister(owner);
    // A runtime that is gone has freed everything already.
    await this.#connection.request("release", { handle }).catch((error: unknown) => {
      if (!(error instanceof RuntimeLostError)) throw error;
    });
  }

  #encoding(transfer: boolean): Encoding {
    return { transfer, copy: this.#sameThread ? undefined : this.#lent.copyOf, handleOf: this.#handleOf };
  }

  readonly #handleOf = (value: object): number | undefined => {
    const object = value instanceof Memory ? value.object : value;
    return object instanceof Attention ? object.handleFor(this) : undefined;
  };

  #buffers(value: Wire): ArrayBuffer[] {
    return this.#sameThread ? [] : buffersOf(value);
  }
}

/** The items of a batch: lists of inputs or objects of them, never one array, even where all have equal shapes. */
function encodeItems(items: unknown, how: Encoding): Wire {
  if (!Array.isArray(items)) return encode(items, "items", how);
  return items.map((item, i) =>
    Array.isArray(item)
      ? item.map((input, j) => encode(input, `items[${i}][${j}]`, how))
      : encode(isPlainObject(item) ? mapKeys(item, snake) : item, `items[${i}]`, how),
  );
}

/** The config of a mask object with Python's names: {"type": "window", "globalTokens": 2}, masks inside of masks too. */
function maskConfig(config: unknown): unknown {
  if (Array.isArray(config) && config.some(isPlainObject)) return config.map(maskConfig);
  if (!isPlainObject(config) || ("data" in config && "shape" in config)) return config;
  return Object.fromEntries(Object.entries(config).map(([key, item]) => [snake(key), maskConfig(item)]));
}
