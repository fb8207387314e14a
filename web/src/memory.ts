/** Resident memory: keys and values that stay in the runtime, so that a call sends its query alone. */
import { abortable, heeded } from "./abort.js";
import type { Client } from "./client.js";
import { UnsupportedError } from "./errors.js";
import type { Attention, CallOptions } from "./instance.js";
import type { ArrayInput, MaskInput, Tensor } from "./tensor.js";

/** Options of memory(). */
export interface MemoryOptions {
  /** Rows for which there is room from the start; more is made when it is needed. */
  capacity?: number;
}

/** How `attend` scores: scaled dot-product attention. */
export interface AttendOptions extends CallOptions {
  scale?: number | null;
  temperature?: number;
  /** Cosine attention; the keys are scaled to length 1 once. */
  normalize?: boolean;
  mask?: MaskInput | null;
  bias?: ArrayInput | null;
  keyLengths?: ArrayInput | number | null;
  checkFinite?: boolean;
}

/** What a memory is made of, in `stateDict`. */
export interface MemoryState {
  keys: Tensor;
  /** Missing where the keys are the values. */
  values?: Tensor;
  ids: Tensor<Int32Array>;
}

/** A bank of keys and values, given to any mechanism in the place of both. `ra.memory(keys, values)` makes one. */
export class Memory {
  /** @internal */
  readonly object: Attention;
  #length: number;
  /** Channels of a key. */
  readonly dim: number;
  /** Channels of a value. */
  readonly dimValue: number;

  private constructor(object: Attention) {
    const { rows, dim, dimValue } = object.config as { rows: number; dim: number; dimValue: number };
    this.object = object;
    this.#length = rows;
    this.dim = dim;
    this.dimValue = dimValue;
  }

  /** @internal */
  static async open(
    client: Client,
    keys: ArrayInput,
    values: ArrayInput | null | undefined,
    options: MemoryOptions & CallOptions,
  ): Promise<Memory> {
    const { signal: given, ...others } = options;
    const signal = heeded(given);
    const settings = { ...others, keys, ...(values == null ? {} : { values }) };
    const made = client.create("ruvector_attention:Memory", settings).then((object) => new Memory(object));
    return abortable(made, signal);
  }

  /** Rows, as of the last append, evict or clear that was answered. */
  get length(): number {
    return this.#length;
  }

  /** Adds rows behind the others; their ids, which rise by one a row and are never given again. */
  async append(
    keys: ArrayInput,
    values?: ArrayInput | null,
    options: CallOptions = {},
  ): Promise<Tensor<Int32Array>> {
    const ids = (await this.object.call("append", keys, values, options)) as Tensor<Int32Array>;
    this.#length += ids.length;
    return ids;
  }

  /** Drops the rows with these ids, or so many of the oldest; how many went. The others keep their order and ids. */
  async evict(which: ArrayInput | { readonly oldest: number }): Promise<number> {
    if (typeof which !== "object" || which === null) {
      throw new UnsupportedError(`evict was given ${which}; expected ids or { oldest: count }`);
    }
    const gone = (await this.object.call("evict", which)) as number;
    this.#length -= gone;
    return gone;
  }

  /** Drops all rows. */
  async clear(): Promise<void> {
    await this.object.call("clear");
    this.#length = 0;
  }

  /** Scaled dot-product attention of the query to these rows. */
  attend(query: ArrayInput, options: AttendOptions = {}): Promise<Tensor> {
    return this.object.call("attend", query, options) as Promise<Tensor>;
  }

  /**
   * Keeps the rows as a multi-head mechanism maps them into its heads, so that its calls need not map them again.
   * After its parameters have changed, call it again.
   */
  async project(attention: Attention | object): Promise<void> {
    await this.object.call("project", attention, {});
  }

  /** Copies of keys, values and ids. */
  async stateDict(): Promise<MemoryState> {
    return (await this.object.call("state_dict")) as MemoryState;
  }

  /** Frees the rows. Further calls fail; a second dispose does nothing. */
  dispose(): Promise<void> {
    return this.object.dispose();
  }

  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
