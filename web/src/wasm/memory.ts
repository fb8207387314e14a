/** Keys and values that stay in the kernels' memory: query after query pays for the query alone. */
import {
  EmptyInputError,
  InvalidConfigError,
  OutOfBoundsError,
  RuntimeLostError,
  UnsupportedError,
} from "../errors.js";
import { type Tensor, tensor } from "../tensor.js";
import type { Home } from "./attention.js";
import { Bank } from "./bank.js";
import { BankRows, type Part } from "./bank_rows.js";
import { given, type Numbers, numbers, type Resident, type Shape, sizeOf, written } from "./numbers.js";
import { shown } from "./settings.js";
import { mismatch } from "./signature.js";

export class Memory extends Bank {
  readonly #home: Home;
  readonly #rows: BankRows;
  readonly #lead: Shape;
  readonly #parts: readonly Part[];
  #ids: number[] = [];
  #nextId = 0;
  #disposed = false;

  /** keys (..., n, dim), values (..., n, dimValue); without values the keys are brought back. */
  constructor(home: Home, keys: unknown, values?: unknown, { capacity }: { capacity?: unknown } = {}) {
    super();
    home.check();
    this.#home = home;
    const arrays = [numbers("keys", keys)];
    if (values !== undefined && values !== null) arrays.push(numbers("values", values));
    const { shape } = arrays[0] as Numbers;
    if (shape.length < 2) {
      throw mismatch(`keys is ${written(shape)}; expected (..., n_key, dim)`, 2, shape.length);
    }
    this.#lead = shape.slice(0, -2);
    const names = ["keys", "values"] as const;
    this.#parts = arrays.map((array, i) => ({
      name: names[i] as Part["name"],
      width: array.shape.at(-1) as number,
    }));
    const rows = this.#rowsOf(arrays);
    if (capacity !== undefined && !(Number.isSafeInteger(capacity) && (capacity as number) >= rows)) {
      throw new InvalidConfigError(
        `capacity is ${shown(capacity)}; expected an integer of at least ${rows}, the rows`,
      );
    }
    this.#rows = new BankRows(home, this.#lead, this.#parts);
    home.own(this, this.#rows.release);
    try {
      this.#rows.reserve(Math.max(rows, (capacity as number | undefined) ?? 0));
      this.#append(arrays, rows);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Rows that it holds. */
  get length(): number {
    return this.#ids.length;
  }

  get dim(): number {
    return (this.#parts[0] as Part).width;
  }

  get dimValue(): number {
    return (this.#parts.at(-1) as Part).width;
  }

  /** What append gave the rows, oldest first. */
  get ids(): Int32Array {
    return Int32Array.from(this.#ids);
  }

  /** @internal */
  get keys(): Resident {
    return this.#rows.resident(this.#parts[0] as Part);
  }

  /** @internal */
  get values(): Resident {
    return this.#rows.resident(this.#parts.at(-1) as Part);
  }

  /**
   * Adds rows behind the others; their ids, which rise by one a row and are never given again. Nothing changes where
   * one is refused.
   */
  appendSync(keys: unknown, values?: unknown): Tensor<Int32Array> {
    this.#open();
    const hasValues = values !== undefined && values !== null;
    if (this.#parts.length === 2 && !hasValues) {
      throw new UnsupportedError(
        "values is missing; expected a row for each key, for this memory has values",
      );
    }
    if (this.#parts.length === 1 && hasValues) {
      throw new UnsupportedError("values came; expected none, for in this memory the keys are the values");
    }
    const arrays = (hasValues ? [keys, values] : [keys]).map((value, i) => {
      const array = numbers((this.#parts[i] as Part).name, value);
      return array.shape.length === 1 && this.#lead.length === 0
        ? { ...array, shape: [1, ...array.shape] }
        : array;
    });
    const rows = this.#rowsOf(arrays);
    this.#rows.reserve(this.length + rows);
    return this.#append(arrays, rows);
  }

  /** Drops the rows with these ids, or so many of the oldest; how many went. The others keep their order and ids. */
  evictSync(which: unknown): number {
    this.#open();
    if (typeof which !== "object" || which === null) {
      throw new UnsupportedError(`evict was given ${shown(which)}; expected ids or { oldest: count }`);
    }
    if ("oldest" in which) {
      const oldest = which.oldest as number;
      if (!Number.isInteger(oldest))
        throw new UnsupportedError(`oldest is ${shown(oldest)}; expected an integer`);
      if (oldest < 0 || oldest > this.length) {
        throw new OutOfBoundsError(
          `oldest is ${oldest}; expected 0 to ${this.length}, the rows that there are`,
        );
      }
      this.#rows.drop(oldest);
      this.#ids.splice(0, oldest);
      return oldest;
    }
    const gone = new Set(Array.from(given("ids", which).data));
    const known = new Set(this.#ids);
    for (const id of gone) {
      if (!known.has(id))
        throw new OutOfBoundsError(`ids holds ${id}; expected those of rows that there are`);
    }
    const ids = this.#ids;
    this.#rows.dropWhere((row) => gone.has(ids[row] as number));
    this.#ids = this.#ids.filter((id) => !gone.has(id));
    return gone.size;
  }

  /** Drops all rows. */
  clearSync(): null {
    this.evictSync({ oldest: this.length });
    return null;
  }

  /** Scaled dot-product attention of the query to these rows. */
  attendSync(query: unknown, options: object = {}): Tensor {
    this.#open();
    const { scale = null, temperature = 1, normalize = false, ...rest } = options as Record<string, unknown>;
    const settings = {
      dim: this.dim,
      scale,
      temperature,
      normalize,
      maxSequenceLength: Number.MAX_SAFE_INTEGER,
    };
    const attention = this.#home.create("scaled_dot_product", settings);
    try {
      return attention.forwardSync(query, this, rest);
    } finally {
      attention.free();
    }
  }

  /** Keeps the rows as a mechanism maps them into its heads; its first call does so by itself. */
  projectSync(attention: unknown): null {
    this.#open();
    const { keep } = Object(attention) as { keep?: (memory: Memory) => void };
    if (typeof keep !== "function") {
      throw new UnsupportedError(
        `project was given ${shown(attention)}; expected a mechanism over keys and values`,
      );
    }
    keep.call(attention, this);
    return null;
  }

  /** Copies of keys, values and ids. */
  stateDictSync(): Record<string, Tensor | Tensor<Int32Array>> {
    this.#open();
    const state: Record<string, Tensor | Tensor<Int32Array>> = {};
    for (const part of this.#parts) {
      state[part.name] = tensor(this.#rows.read(part), [...this.#lead, this.length, part.width]);
    }
    return { ...state, ids: tensor(this.ids, [this.length]) };
  }

  async append(keys: unknown, values?: unknown): Promise<Tensor<Int32Array>> {
    return this.appendSync(keys, values);
  }

  async evict(which: unknown): Promise<number> {
    return this.evictSync(which);
  }

  async clear(): Promise<void> {
    this.clearSync();
  }

  async attend(query: unknown, options?: object): Promise<Tensor> {
    return this.#home.engine.kernels.later([query, options] as const, (own, how) =>
      this.attendSync(own, how),
    );
  }

  async project(attention: unknown): Promise<void> {
    this.projectSync(attention);
  }

  async stateDict(): Promise<Record<string, Tensor | Tensor<Int32Array>>> {
    return this.stateDictSync();
  }

  async dispose(): Promise<void> {
    this.free();
  }

  free(): void {
    this.#disposed = true;
    this.#home.disown(this);
  }

  [Symbol.dispose](): void {
    this.free();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Before a call reads it. @internal */
  check(): void {
    this.#open();
    if (this.length === 0) throw new EmptyInputError("the memory holds no rows; expected at least one");
  }

  /** The keys, every group of `width` channels of length 1; made once. @internal */
  unitKeys(width: number): Resident {
    const [unit] = this.derive(`unit ${width}`, () => [this.#home.engine.staging.unitRows(this.keys, width)]);
    return unit as Resident;
  }

  /** What `make` makes of the rows, kept until they change or something else is derived. @internal */
  derive(key: string, make: () => readonly Resident[]): readonly Resident[] {
    return this.#rows.derive(key, make);
  }

  #open(): void {
    this.#home.check();
    if (this.#disposed) throw new RuntimeLostError("Memory was disposed; create another");
  }

  /** How many rows the arrays have, once they are known to fit the bank and each other. */
  #rowsOf(arrays: readonly Numbers[]): number {
    const rows = (arrays[0] as Numbers).shape.at(-2) as number;
    arrays.forEach(({ shape }, i) => {
      const { name, width } = this.#parts[i] as Part;
      const expected = [...this.#lead, rows, width];
      if (sizeOf(shape) === 0) throw new EmptyInputError(`${name} is ${written(shape)}, without elements`);
      if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis])) {
        throw mismatch(`${name} is ${written(shape)}; expected ${written(expected)}`, expected, shape);
      }
    });
    return rows;
  }

  #append(arrays: readonly Numbers[], rows: number): Tensor<Int32Array> {
    this.#rows.append(arrays, rows);
    const ids = Int32Array.from({ length: rows }, (_, i) => this.#nextId + i);
    this.#nextId += rows;
    for (const id of ids) this.#ids.push(id);
    return tensor(ids, [rows]);
  }
}
