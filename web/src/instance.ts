/** What JavaScript holds of an object of Python: its handle, its config, and its methods, by class. */

import { abortable, heeded } from "./abort.js";
import { batchInWorker } from "./batches.js";
import type { Client } from "./client.js";
import type { MechanismDescription, PartDescription } from "./description.js";
import { RuntimeLostError, UnsupportedError } from "./errors.js";
import { Memory } from "./memory.js";
import { camel, isPlainObject, mapSettings, snake } from "./naming.js";
import type { Wire } from "./protocol.js";
import { forwardStream, type Queries, type StreamOptions } from "./stream.js";
import type { ArrayInput, Tensor } from "./tensor.js";

/** Options of every call. */
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
    this.#checkAlive();
    const isList = Array.isArray(request.args[0]) && request.args[0].length > 0;
    if (signal && name === "forward_batch" && isList) {
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
    await this.ready; // a dispose() after the call comes after it there as well
    signal?.throwIfAborted();
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
  return { signal: heeded(signal), args: [...args.slice(0, -1), rest] };
}

/** @internal What the runtime answers when it has made the object. */
export interface Opened {
  handle: number;
  config: Record<string, unknown>;
}

/** @internal A call as it crosses. */
export interface EncodedCall {
  method: string;
  args: Wire[];
  kwargs: { [key: string]: Wire };
  transfer: boolean;
}

/** @internal With `now`, the object is made before the constructor returns. */
export type MadeClass = new (config?: object, now?: boolean) => Attention;

/** @internal The class of a mechanism or a part of training, as the runtime described it. */
export function makeClass(client: Client, described: MechanismDescription | PartDescription): MadeClass {
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
