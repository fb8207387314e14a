/** The attention mechanisms as JavaScript objects: classes made from describe(), instances that hold a handle. */

import { abortable } from "./abort.js";
import { batchInWorker } from "./batches.js";
import type { Description, MechanismDescription, PartDescription } from "./description.js";
import { RuntimeLostError, UnsupportedError } from "./errors.js";
import { LentMemory } from "./lent_memory.js";
import { Memory, type MemoryOptions } from "./memory.js";
import { camel, mapKeys, mapSettings, snake } from "./naming.js";
import { buffersOf, type Connection, type Wire } from "./protocol.js";
import { forwardStream, type Queries, type StreamOptions } from "./stream.js";
import { type ArrayInput, decode, type Encoding, encode, type Tensor } from "./tensor.js";
import type { Training } from "./training.gen.js";

export interface CallOptions {
  /**
   * Hand the arrays' buffers over to the worker instead of copying them; the caller's arrays are then detached. Memory that
   * threads share (a SharedArrayBuffer) is read where it is, without being asked for: leave it alone until the call is done.
   */
  transfer?: boolean;
  /**
   * Aborted, the promise rejects with its reason. What the runtime computes already, it computes to its end, unheard, but
   * Python in a worker where `canInterrupt`, which stops between two of its instructions. A batch stops between its
   * items, of which at most one was sent ahead, so leave their arrays alone until it is done.
   */
  signal?: AbortSignal;
}

/** What an instance of any mechanism is. The methods of each class stand in mechanisms.gen.ts. */
export class Attention {
  /** Resolves when Python has accepted the config, rejects with InvalidConfigError and the like. */
  readonly ready: Promise<this>;
  #handle = 0;
  #disposed = false;
  #config: Record<string, unknown> = {};
  readonly #client: Client;
  readonly #label: string;
  readonly #inputs: readonly string[];

  /** @internal */
  constructor(client: Client, name: string, config: object, inputs: readonly string[] = [], now = false) {
    this.#client = client;
    this.#label = new.target === Attention ? name.replace(/^.*:/, "") : new.target.name;
    this.#inputs = inputs;
    const opened = ({ handle, config: accepted }: Opened): this => {
      this.#handle = handle;
      this.#config = mapSettings(accepted, camel);
      client.track(this, handle);
      return this;
    };
    this.ready = now
      ? Promise.resolve(opened(client.openSync(name, config)))
      : client.open(name, config).then(opened);
    // Whoever awaits `ready` or calls a method meets the error; nobody else needs to.
    this.ready.catch(() => {});
  }

  /** The config as Python completed it, once `ready`. */
  get config(): Readonly<Record<string, unknown>> {
    return this.#config;
  }

  /** Calls any method by its Python or JavaScript name. A plain object at the end holds keyword arguments. */
  async call(method: string, ...args: unknown[]): Promise<unknown> {
    // The arguments are read now: a caller may reuse its arrays as soon as it has the promise.
    const name = snake(method);
    const { signal, ...request } = splitSignal(args);
    signal?.throwIfAborted();
    if (signal && name === "forward_batch" && Array.isArray(request.args[0])) {
      const [items, ...rest] = request.args;
      const one = async (item: unknown) => ((await this.call(name, [item], ...rest)) as unknown[])[0];
      return batchInWorker(items as unknown[], one, signal);
    }
    const encoded = this.#client.encodeCall(name, request.args, this.#inputs);
    return abortable(this.#send(encoded, signal), signal);
  }

  /** The same at once, where the runtime is in this thread. */
  callSync(method: string, ...args: unknown[]): unknown {
    this.#checkAlive();
    return this.#client.sendSync(
      this.handleFor(this.#client),
      this.#client.encodeCall(snake(method), args, this.#inputs),
    );
  }

  /** With a signal or without, in as many steps: calls stay in their order. */
  async #send(encoded: EncodedCall, signal: AbortSignal | undefined): Promise<unknown> {
    await this.ready;
    signal?.throwIfAborted();
    this.#checkAlive();
    return this.#client.send(this.#handle, encoded, signal);
  }

  /**
   * The outputs of many queries, one after the other: `for await (const row of attention.forwardStream(…))`. Keys and
   * values cross once and stay until the last; a Memory takes the place of both.
   */
  forwardStream(
    queries: Queries,
    keys: ArrayInput | Memory,
    values?: ArrayInput | null,
    options: StreamOptions & Record<string, unknown> = {},
  ): AsyncGenerator<Tensor, void, undefined> {
    const source = {
      keep: (k: unknown, v: unknown) => this.#client.memory(k as ArrayInput, v as ArrayInput),
      isMemory: (k: unknown) => k instanceof Memory,
      forward: (query: unknown, bank: object, call: object) =>
        this.call("forward", query, bank, call) as Promise<Tensor>,
    };
    return forwardStream(source, queries, keys, values, options);
  }

  /** @internal The handle by which a call of this client may take the object as an argument. */
  handleFor(client: Client): number {
    if (client !== this.#client) {
      throw new UnsupportedError(`${this.#label} lives in another runtime; expected one of this runtime`);
    }
    this.#checkAlive();
    if (this.#handle === 0) throw new UnsupportedError(`${this.#label} is not ready; await its ready first`);
    return this.#handle;
  }

  #checkAlive(): void {
    if (this.#disposed) throw new RuntimeLostError(`${this.#label} was disposed; create another`);
  }

  /** Frees the Python object. Further calls fail; a second dispose does nothing. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.ready.then(
      () => this.#client.release(this, this.#handle),
      () => {},
    );
  }

  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** An instance as the generated types see it. */
export interface AttentionObject<Config> extends Omit<Attention, "ready" | "config"> {
  readonly ready: Promise<this>;
  /** The config as Python completed it, once `ready`. */
  readonly config: Readonly<Required<Config>>;
}

/** A class of a loaded runtime. */
export interface MechanismClass<Config, Instance> {
  /** Usable at once: calls wait until Python has accepted the config. */
  new (config: Config): Instance;
  /** Waits for that, and rejects where it is not. */
  create(config: Config): Promise<Instance>;
}

/** The signal among the options of a call, and the arguments without it. */
function splitSignal(args: readonly unknown[]): { signal: AbortSignal | undefined; args: unknown[] } {
  const last = args.at(-1);
  if (!isPlainObject(last) || !("signal" in last)) return { signal: undefined, args: [...args] };
  const { signal, ...rest } = last;
  if (signal != null && !(signal instanceof AbortSignal)) {
    throw new UnsupportedError(`signal is a ${typeof signal}; expected an AbortSignal`);
  }
  return { signal: signal ?? undefined, args: [...args.slice(0, -1), rest] };
}

interface Opened {
  handle: number;
  config: Record<string, unknown>;
}

interface EncodedCall {
  method: string;
  args: Wire[];
  kwargs: { [key: string]: Wire };
  transfer: boolean;
}

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
  readonly #classes = new Map<string, new (config?: object, now?: boolean) => Attention>();
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
    const id = name.includes(":") ? name : name.replaceAll("-", "_");
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

function makeClass(client: Client, described: MechanismDescription | PartDescription) {
  const { class: className, name, methods } = described;
  const inputs = "inputs" in described ? described.inputs.map((input) => input.name) : [];
  const taken = "parameters" in described ? described.parameters : {};
  const Class = class extends Attention {
    static create(config: object = {}): Promise<Attention> {
      return new Class(config).ready;
    }
    constructor(config: object = {}, now = false) {
      if (!isPlainObject(config)) {
        throw new UnsupportedError(
          `the config of ${className} is a ${typeof config}; expected an object, like { dim: 64 }`,
        );
      }
      super(client, name, config, inputs, now);
    }
  };
  Object.defineProperty(Class, "name", { value: className });
  for (const method of methods) {
    const jsName = camel(method);
    if (jsName in Attention.prototype) continue;
    Object.defineProperty(Class.prototype, jsName, {
      value(this: Attention, ...args: unknown[]) {
        return this.call(method, ...asArguments(args, taken[method]));
      },
    });
  }
  return Class;
}

/** Arguments of a method that takes these names: an object at the place of one is that argument, not options. */
function asArguments(args: readonly unknown[], names: readonly string[] = []): readonly unknown[] {
  const last = args.at(-1);
  if (args.length > names.length || !isPlainObject(last)) return args;
  const options = ["transfer", "signal", ...names.map(camel)];
  return Object.keys(last).every((key) => options.includes(key)) ? args : [...args, {}];
}

/** The config of a mask object with Python's names: {"type": "window", "globalTokens": 2}, masks inside of masks too. */
function maskConfig(config: unknown): unknown {
  if (Array.isArray(config) && config.some(isPlainObject)) return config.map(maskConfig);
  if (!isPlainObject(config) || ("data" in config && "shape" in config)) return config;
  return Object.fromEntries(Object.entries(config).map(([key, item]) => [snake(key), maskConfig(item)]));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
