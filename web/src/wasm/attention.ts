/** What the attention classes of this runtime share: settings, the ends of their lives, batches, options. */
import { heeded } from "../abort.js";
import type { Rules } from "../description.js";
import {
  AttentionError,
  EmptyInputError,
  InvalidConfigError,
  LoadError,
  NumericalInstabilityError,
  RuntimeLostError,
  UnsupportedError,
} from "../errors.js";
import { camel, mapKeys, snake } from "../naming.js";
import { type Tensor, tensor } from "../tensor.js";
import { addends, type KeyLengths, type ScoreOptions } from "./addends.js";
import { Bank } from "./bank.js";
import type { Engine, Scoring } from "./engine.js";
import { isResident, refuse, type Shape, sizeOf } from "./numbers.js";
import { type Settings, settle, shown, written } from "./settings.js";
import { type Binding, Signature } from "./signature.js";
import { didYouMean } from "./suggest.js";

/** What an object needs of the runtime that made it. */
export interface Home {
  readonly engine: Engine;
  /** Raises RuntimeLostError once the runtime is closed. */
  check(): void;
  /** Calls `release` when the owner is disposed or was forgotten; it must not refer to the owner. */
  own(owner: object, release: () => void): void;
  disown(owner: object): void;
  create(name: string, config: object): KernelAttention;
  /** Fetches the code of mechanisms, so that create finds it. */
  fetch(names: readonly string[]): Promise<void>;
  /** The names that create takes. */
  readonly mechanisms: readonly string[];
}

const OPTIONS = ["mask", "bias", "keyLengths", "causal", "training", "checkFinite", "transfer", "signal"];
/** The setting whose code is fetched where it is set. */
export const TOP_K = "top_k";
export const absent = (id: string, first: string): LoadError =>
  new LoadError(`${id} is not loaded; expected \`await ${first}\` before, or load({ preload: ["${id}"] })`);

/** An attention mechanism. Every method exists twice: forwardSync gives the result, forward a promise of it. */
export abstract class KernelAttention {
  /** Rejects with InvalidConfigError where the config was not accepted; so do all calls. */
  readonly ready: Promise<this>;
  protected readonly home: Home;
  protected readonly mechanism: Rules;
  protected readonly settings: Settings;
  protected readonly signature: Signature;
  #failure: Error | undefined;

  constructor(home: Home, mechanism: Rules, config: object) {
    this.home = home;
    this.mechanism = mechanism;
    let settings: Settings = {};
    try {
      home.check();
      settings = settle(mechanism, config);
      this.checkSettings(settings);
      // a mixture's is the number of experts
      if (settings[TOP_K] && !home.engine.best && mechanism.name !== "moe")
        throw absent(TOP_K, `create("${mechanism.name}", …)`);
    } catch (error) {
      this.#failure = error as Error;
    }
    this.settings = settings;
    const limit = settings.max_sequence_length as number;
    this.signature = new Signature(
      written(mechanism, settings),
      mechanism.inputs,
      this.fixedAxes(settings),
      limit,
    );
    this.ready = this.#made(this.#failure);
    this.ready.catch(() => {});
    // Without memory of its own there is nothing to free: it counts as alive until it is disposed or forgotten.
    home.own(this, () => {});
  }

  async #made(failure: Error | undefined): Promise<this> {
    if (failure instanceof LoadError) {
      await this.home.fetch([TOP_K]);
      if (this.#failure === failure) this.#failure = undefined; // not disposed meanwhile
    }
    if (this.#failure) throw this.#failure;
    return this;
  }

  /** The config with everything that was left out. */
  get config(): Readonly<Record<string, unknown>> {
    return mapKeys(this.getConfigSync(), camel);
  }

  /** Options of a call that only this mechanism has. */
  protected ownOptions(): readonly string[] {
    return [];
  }
  /** Rules between settings. */
  protected checkSettings(_settings: Settings): void {}
  protected abstract fixedAxes(settings: Settings): Record<string, number>;

  abstract forwardSync(...args: unknown[]): Tensor;

  forwardBatchSync(items: unknown, options: object = {}): Tensor[] {
    this.open();
    if (!Array.isArray(items))
      throw new UnsupportedError(`items is ${shown(items)}; expected an array of inputs`);
    if (items.length === 0) throw new EmptyInputError("items is empty; expected at least one list of inputs");
    return items.map((item: unknown, index) => {
      try {
        this.engine.kernels.next();
        return this.#forwardItem(item, options);
      } catch (error) {
        if (error instanceof AttentionError) {
          error.message = `item ${index}: ${error.message}`;
          error.index = index;
        }
        throw error;
      }
    });
  }

  #forwardItem(item: unknown, options: object): Tensor {
    const inputs = this.mechanism.inputs;
    const wanted = `(${inputs.map(({ name }) => name).join(", ")})`;
    const isShaped = typeof item === "object" && item !== null && "shape" in item;
    const isObject =
      typeof item === "object" && item !== null && !Array.isArray(item) && !ArrayBuffer.isView(item);
    if (isObject && !isShaped && !("$array" in item)) {
      const given = mapKeys(item, snake);
      const arrays = inputs.map(({ name, optional }) => {
        const isHeld = name === "values" && given.keys instanceof Bank;
        if (!optional && !isHeld && !(name in given)) {
          throw new UnsupportedError(`${name} is missing; expected ${wanted}`);
        }
        return given[name];
      });
      for (const { name } of inputs) delete given[name];
      while (arrays.length > 0 && arrays.at(-1) === undefined) arrays.pop();
      return this.forwardSync(...arrays, { ...options, ...mapKeys(given, camel) });
    }
    if (inputs.length === 1) return this.forwardSync(item, options);
    if (!Array.isArray(item)) throw new UnsupportedError(`${shown(item)} came; expected a list ${wanted}`);
    return this.forwardSync(...item, options);
  }

  getConfigSync(): Record<string, unknown> {
    return { type: this.mechanism.name, ...this.settings };
  }

  backwardSync(): never {
    throw new UnsupportedError(
      "gradients need load({ runtime: 'pyodide' }); this runtime computes forward only",
    );
  }

  resetSync(): null {
    this.open();
    return null;
  }

  numParametersSync(): number {
    return Object.values(this.stateDictSync()).reduce((sum, { length }) => sum + length, 0);
  }

  parametersSync(): Record<string, Tensor> {
    return this.stateDictSync();
  }

  stateDictSync(): Record<string, Tensor> {
    this.open();
    return {};
  }

  loadStateDictSync(state: object): null {
    this.open();
    const unknown = Object.keys(state);
    if (unknown.length > 0) this.refuseState([], unknown);
    return null;
  }

  /** What a Memory's rows are for this object is made now, where it is not as they are. @internal */
  keep(_memory: Bank): void {
    this.open();
    if (this.mechanism.inputs.length > 1) return;
    throw new UnsupportedError(
      `${this.mechanism.class} cannot read a memory; expected a mechanism over keys and values`,
    );
  }

  /** The outputs of queries one after the other; keys and values stay in the kernels' memory until the last. */
  async *forwardStream(...args: unknown[]): AsyncGenerator<Tensor, void, undefined> {
    yield* (await import("./batching.js")).stream(this, this.home, args);
  }

  /** Calls a method by its Python or JavaScript name. */
  async call(method: string, ...args: unknown[]): Promise<unknown> {
    const signal = heeded((args.at(-1) as { signal?: unknown } | null | undefined)?.signal);
    if (signal && snake(method) === "forward_batch") {
      return (await import("./batching.js")).batch(this, this.home, args[0], {
        ...(args[1] as object),
        signal,
      });
    }
    return this.home.engine.kernels.later(args, (...own) => this.callSync(method, ...own));
  }

  callSync(method: string, ...args: unknown[]): unknown {
    if (!this.mechanism.methods.includes(snake(method))) {
      throw new UnsupportedError(`${this.mechanism.class} has no method '${method}'`);
    }
    const body = (this as unknown as Record<string, unknown>)[`${camel(snake(method))}Sync`];
    if (typeof body !== "function") {
      throw new UnsupportedError(
        `${method} needs load({ runtime: 'pyodide' }); this runtime computes forward only`,
      );
    }
    return body.apply(this, args);
  }

  /** Frees what the object holds. Further calls fail; a second dispose does nothing. */
  async dispose(): Promise<void> {
    this.free();
  }

  free(): void {
    this.home.disown(this);
    this.#failure = new RuntimeLostError(`${this.mechanism.class} was disposed; create another`);
  }

  [Symbol.dispose](): void {
    this.free();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The first line of every method. */
  protected open(): void {
    this.home.check();
    if (this.#failure) throw this.#failure;
  }

  /** The inputs of a call by name, a Memory as keys and values, and its options. */
  protected read(args: readonly unknown[], names: readonly string[]): [[string, unknown][], ScoreOptions] {
    const positional = [...args];
    let options: Record<string, unknown> = {};
    const last = positional.at(-1);
    if (isOptions(last)) {
      options = last;
      positional.pop();
    }
    for (const name of Object.keys(options)) {
      if (name === "position" && "window" in this.settings) {
        throw new UnsupportedError("position needs load({ runtime: 'pyodide' })");
      }
      if (OPTIONS.includes(name)) continue;
      const own = this.ownOptions();
      if (!own.includes(name))
        throw new UnsupportedError(`unknown option '${name}'${didYouMean(name, [...OPTIONS, ...own])}`);
    }
    if (options.training === true) {
      throw new UnsupportedError(
        "training needs load({ runtime: 'pyodide' }); this runtime computes forward only",
      );
    }
    while (positional.length > 0 && positional.at(-1) === undefined) positional.pop();
    if (positional.length > names.length) {
      throw new UnsupportedError(`${positional.length} inputs came; expected (${names.join(", ")})`);
    }
    const inputs: [string, unknown][] = [];
    positional.forEach((value, i) => {
      const name = names[i] as string;
      if (!(value instanceof Bank)) inputs.push([name, value]);
      else if (name !== "keys")
        throw new UnsupportedError(`${name} is a Memory; expected it in the place of keys`);
      else {
        value.check();
        inputs.push(["keys", value.keys]);
        if (names.includes("values")) inputs.push(["values", value.values]);
      }
    });
    const { mask, bias, keyLengths, checkFinite = true } = options;
    const causal = Boolean(options.causal ?? this.settings.causal);
    return [inputs, { mask, bias, keyLengths, causal, checkFinite: Boolean(checkFinite) }];
  }

  protected require(inputs: readonly (readonly [string, unknown])[], names: readonly string[]): void {
    for (const name of names) {
      if (!inputs.some(([given]) => given === name)) {
        throw new UnsupportedError(`${name} is missing; expected (${names.join(", ")})`);
      }
    }
    const twice = inputs.find(([name], i) => inputs.findIndex(([other]) => other === name) !== i);
    if (twice)
      throw new UnsupportedError(
        `${twice[0]} came beside a Memory, which holds them; expected one of the two`,
      );
  }

  /** How the engine makes the scores of a call. */
  protected scoring(binding: Binding, options: ScoreOptions, channels: number, heads?: number): Scoring {
    const { settings } = this;
    const { n_query: nQuery, n_key: nKey } = binding.sizes as { n_query: number; n_key: number };
    const shape = { lead: binding.lead, nQuery, nKey, ...(heads === undefined ? {} : { heads }) };
    const { window, global_tokens } = settings;
    const pattern = window === undefined ? undefined : { type: "window", window, global_tokens };
    return {
      ...addends({ ...options, pattern }, shape),
      scale: this.scale(channels),
      normalize: settings.normalize as boolean,
      topK: settings[TOP_K] as number | null,
      checkFinite: options.checkFinite,
      heads: 1,
      kvHeads: 1,
      width: channels,
    };
  }

  /** On the dot products of `channels` products; contains the temperature. */
  protected scale(channels: number): number {
    const { scale, temperature } = this.settings as { scale: number | null; temperature: number };
    return (scale ?? channels ** -0.5) / temperature;
  }

  /** The result's own shape: without the row axis that a bare vector had not. */
  protected restore(data: Float32Array, binding: Binding, shape: Shape): Tensor {
    return tensor(data, binding.isVector ? [...shape.slice(0, -2), ...shape.slice(-1)] : shape);
  }

  /** Names the input that brought a number which is not finite; keys that are not read do not count. */
  protected blame(binding: Binding, keyLengths?: KeyLengths): never {
    const { arrays, names, shapes } = binding;
    arrays.forEach((array, i) => {
      if (isResident(array)) return;
      const shape = shapes[i] as Shape;
      const [n, width] = array.shape.slice(-2) as [number, number];
      const items = array.data.length / (n * width);
      const isRead = (at: number): boolean => {
        if (!keyLengths || names[i] === "query") return true;
        const { data } = keyLengths;
        const own =
          data.length === items ? data[Math.floor(at / (n * width))] : Math.max(...Array.from(data));
        return Math.floor(at / width) % n < (own as number);
      };
      const passes = (x: number, at: number): boolean => Number.isFinite(x) || !isRead(at);
      refuse(names[i] as string, { data: array.data, shape }, passes, "finite numbers");
    });
    throw new NumericalInstabilityError(
      `the result overflows float32 although ${names.join(", ")} are finite; expected inputs of smaller magnitude`,
    );
  }

  protected refuseState(missing: readonly string[], unknown: readonly string[]): never {
    const parts = [
      ...(missing.length > 0 ? [`lacks ${missing.join(", ")}`] : []),
      ...(unknown.length > 0 ? [`has unknown ${unknown.join(", ")}`] : []),
    ];
    const owner = written(this.mechanism, this.settings);
    throw new InvalidConfigError(`the state for ${owner} ${parts.join(" and ")}`);
  }

  protected get engine(): Engine {
    return this.home.engine;
  }
}

export const newOutput = (shape: Shape): Float32Array => new Float32Array(sizeOf(shape));

export function isOptions(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || "shape" in value || "$array" in value) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
