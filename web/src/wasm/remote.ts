/** The kernels in a worker: the client that Pyodide has too, and memories that live over there. */
import { Attention, Client } from "../client.js";

/** Keys and values that stay in the worker; pass it in their place. */
export class RemoteMemory extends Attention {
  #length: number | undefined;

  /** Rows that it holds, once `ready`. */
  get length(): number {
    this.#length ??= this.config.length as number;
    return this.#length;
  }

  get dim(): number {
    return this.config.dim as number;
  }

  get dimValue(): number {
    return this.config.dimValue as number;
  }

  /** Adds rows behind the others; their ids. */
  async append(keys: unknown, values?: unknown): Promise<Int32Array> {
    const ids = (await this.call("append", keys, values)) as Int32Array;
    this.#length = this.length + ids.length;
    return ids;
  }

  /** Removes the oldest rows, or those of these ids; how many they were. */
  async evict(which: number | ArrayLike<number>): Promise<number> {
    const gone = (await this.call(
      "evict",
      typeof which === "number" ? which : Int32Array.from(which),
    )) as number;
    this.#length = this.length - gone;
    return gone;
  }
}

export class RemoteClient extends Client {
  /** Keys and values, copied into the worker once. */
  async memory(keys: unknown, values?: unknown): Promise<RemoteMemory> {
    return new RemoteMemory(this, "memory", { keys, values }).ready;
  }
}
