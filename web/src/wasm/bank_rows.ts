/** The rows of a Memory where the kernels read them: their places, and what was made of them. */
import type { Home } from "./attention.js";
import { type Numbers, type Resident, refuse, type Shape, sizeOf } from "./numbers.js";

/** One of the two arrays: rows of `width` numbers for every item. */
export interface Part {
  readonly name: "keys" | "values";
  readonly width: number;
}

/** Where they are; apart from the rest, so that those of a forgotten Memory can be freed. */
interface Store {
  keys: number;
  /** Where keys serve as values: the same. */
  values: number;
  derived: { pointers: number[]; arrays: readonly Resident[]; key: string } | undefined;
}

export class BankRows {
  readonly #home: Home;
  readonly #store: Store = { keys: 0, values: 0, derived: undefined };
  readonly #items: number;
  #count = 0;
  #capacity = 0;
  /** Rows before those that count, which were dropped. */
  #first = 0;

  constructor(
    home: Home,
    readonly lead: Shape,
    readonly parts: readonly Part[],
  ) {
    this.#home = home;
    this.#items = sizeOf(lead);
  }

  /** To be called when the Memory is disposed or forgotten. */
  get release(): () => void {
    const home = this.#home;
    const store = this.#store;
    return () => {
      releaseDerived(home, store);
      const { kernels } = home.engine;
      if (store.keys !== 0) kernels.free(store.keys);
      if (store.values !== 0 && store.values !== store.keys) kernels.free(store.values);
      store.keys = store.values = 0;
    };
  }

  resident({ name, width }: Part): Resident {
    const pointer = this.#store[name] + 4 * this.#first * width;
    return { pointer, shape: [...this.lead, this.#count, width], step: this.#capacity * width };
  }

  /** A copy of one of the arrays. */
  read(part: Part): Float32Array {
    const { pointer, step } = this.resident(part);
    const size = this.#count * part.width;
    const data = new Float32Array(this.#items * size);
    for (let item = 0; item < this.#items; item++) {
      data.set(this.#home.engine.kernels.read(pointer + 4 * item * step, size), item * size);
    }
    return data;
  }

  /** Room for so many rows in all; grows by half at least, moves what there is to the front. */
  reserve(rows: number): void {
    if (this.#first + rows <= this.#capacity) return;
    const fits = rows <= this.#capacity && 2 * this.#first >= this.#capacity;
    const grown = this.#capacity === 0 ? rows : Math.max(rows, Math.ceil(1.5 * this.#capacity));
    this.#relocate(fits ? this.#capacity : grown, fits && !this.#home.engine.kernels.isBusy);
  }

  /** Copies rows behind those that are there; they count once all of them are known to be finite. */
  append(arrays: readonly Numbers[], rows: number): void {
    const { engine } = this.#home;
    arrays.forEach((array, i) => {
      const part = this.parts[i] as Part;
      const { pointer, step } = this.resident(part);
      const size = rows * part.width;
      for (let item = 0; item < this.#items; item++) {
        const at = pointer + 4 * (item * step + this.#count * part.width);
        engine.kernels.write(at, array.data.subarray(item * size, (item + 1) * size));
        if (!engine.staging.allFinite(at, size)) refuse(part.name, array, Number.isFinite, "finite numbers");
      }
    });
    this.#changed();
    this.#count += rows;
  }

  /** The first ones. */
  drop(rows: number): void {
    this.#changed();
    this.#first += rows;
    this.#count -= rows;
  }

  /** The others close up, in their order. */
  dropWhere(isGone: (row: number) => boolean): void {
    const rows = Array.from({ length: this.#count }, (_, row) => row).filter((row) => !isGone(row));
    this.#changed();
    const isAltered = rows.length < this.#count;
    if (this.#home.engine.kernels.isBusy && isAltered) this.#relocate(this.#capacity, false);
    rows.forEach((row, kept) => {
      if (kept !== row) this.#move(row, kept);
    });
    this.#count = rows.length;
  }

  /** What `make` makes of the rows, kept until they change or something else is derived. */
  derive(key: string, make: () => readonly Resident[]): readonly Resident[] {
    const store = this.#store;
    if (store.derived?.key !== key) {
      this.#changed();
      const arrays = this.#home.engine.kernels.now(make);
      store.derived = { pointers: arrays.map(({ pointer }) => pointer), arrays, key };
    }
    return store.derived.arrays;
  }

  /** Moves the rows to the front of where they are, or of a new place. */
  #relocate(capacity: number, inPlace: boolean): void {
    const { kernels } = this.#home.engine;
    this.#changed();
    const fresh = { ...this.#store };
    for (const part of this.parts) {
      const { name, width } = part;
      const from = this.resident(part);
      const to = inPlace ? this.#store[name] : kernels.alloc(4 * this.#items * capacity * width);
      for (let item = 0; item < this.#items && this.#count > 0; item++) {
        const target = to + 4 * item * capacity * width;
        kernels.move(target, from.pointer + 4 * item * from.step, this.#count * width);
      }
      if (!inPlace && this.#store[name] !== 0) kernels.free(this.#store[name]);
      fresh[name] = to;
    }
    if (this.parts.length === 1) fresh.values = fresh.keys;
    Object.assign(this.#store, { keys: fresh.keys, values: fresh.values });
    this.#capacity = capacity;
    this.#first = 0;
  }

  #move(from: number, to: number): void {
    for (const part of this.parts) {
      const { pointer, step } = this.resident(part);
      for (let item = 0; item < this.#items; item++) {
        const start = pointer + 4 * item * step;
        const [target, row] = [start + 4 * to * part.width, start + 4 * from * part.width];
        this.#home.engine.kernels.move(target, row, part.width);
      }
    }
  }

  #changed(): void {
    releaseDerived(this.#home, this.#store);
  }
}

function releaseDerived(home: Home, store: Store): void {
  for (const pointer of store.derived?.pointers ?? []) home.engine.kernels.free(pointer);
  store.derived = undefined;
}
