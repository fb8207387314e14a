/** The kernels of positions and times: sines of them, rows turned by them, rows added to rows. */
import { type Engine, isResidentOutput, type Output } from "./engine.js";
import type { Area, KernelCall } from "./kernels.js";
import { isResident, type Resident, type Source, sizeOf } from "./numbers.js";

const WAVES = ["n", "count", "lines", "x", "frequencies", "phases", "cosines", "sines"] as const;
const TURN = [
  "batch", "n", "heads", "dim", "pairs", "interleaved", "x", "cosines", "sines", "out",
] as const; // biome-ignore format: in the order of kernels.def
const AREAS = ["x", "frequencies", "phases", "cosines", "sines"] as const;
/** An area that took more than this is given back after the call. */
const KEPT_BYTES = 4 << 20;

/** How pairs of channels are turned: pair i by position * frequencies[i]. */
export interface Turn {
  readonly heads: number;
  /** Channels of a head. */
  readonly width: number;
  readonly frequencies: Float64Array;
  readonly interleaved: boolean;
}

export class Waves {
  static readonly #known = new WeakMap<Engine, Waves>();
  readonly #waves: KernelCall<(typeof WAVES)[number]>;
  readonly #turn: KernelCall<(typeof TURN)[number]>;
  readonly #add: KernelCall<"batch" | "count" | "x" | "y" | "out">;
  readonly #areas: Readonly<Record<(typeof AREAS)[number], Area>>;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#waves = kernels.call("waves", WAVES);
    this.#turn = kernels.call("rotate_rows", TURN);
    this.#add = kernels.call("add_rows", ["batch", "count", "x", "y", "out"]);
    this.#areas = Object.fromEntries(AREAS.map((name) => [name, kernels.area()])) as Record<
      (typeof AREAS)[number],
      Area
    >;
  }

  static of(engine: Engine): Waves {
    const known = Waves.#known.get(engine) ?? new Waves(engine);
    Waves.#known.set(engine, known);
    return known;
  }

  /** Sines (n, count) of x times frequencies plus phases, the first column the angle itself; the kernel's status. */
  sines(x: Float64Array, frequencies: Float32Array, phases: Float32Array, out: Resident): number {
    return this.#run(x, Float64Array.from(frequencies), phases, 1, 0, out.pointer);
  }

  /**
   * Rows (..., n, heads * width) of x turned by the positions of its rows (n), or by those of every item (items * n); the
   * status of the kernels.
   */
  turn(x: Source, positions: Float64Array, how: Turn, out: Output): number {
    const { kernels, staging } = this.engine;
    const { heads, width, frequencies } = how;
    const pairs = frequencies.length;
    const n = x.shape.at(-2) as number;
    const size = n * heads * width;
    const count = positions.length * pairs;
    const [cosines, sines] = [this.#areas.cosines.take(4 * count), this.#areas.sines.take(4 * count)];
    let status = this.#run(positions, frequencies, undefined, 0, cosines, sines);
    const { slots } = this.#turn;
    for (let item = 0; item < sizeOf(x.shape.slice(0, -2)); item++) {
      const from = isResident(x)
        ? x.pointer + 4 * item * x.step
        : kernels.stage(staging.areas.query, x.data, item * size, size);
      const to = isResidentOutput(out)
        ? out.pointer + 4 * item * size
        : kernels.begin(staging.areas.out, size, out, item * size);
      const table = positions.length > n ? 4 * item * n * pairs : 0;
      const { words } = kernels;
      words[slots.batch] = 1;
      words[slots.n] = n;
      words[slots.heads] = heads;
      words[slots.dim] = width;
      words[slots.pairs] = pairs;
      words[slots.interleaved] = Number(how.interleaved);
      kernels.buffer(slots.x, from, size);
      kernels.buffer(slots.cosines, cosines + table, n * pairs);
      kernels.buffer(slots.sines, sines + table, n * pairs);
      kernels.buffer(slots.out, to, size);
      status |= kernels.run(this.#turn, 2 * size);
      if (!isResidentOutput(out)) kernels.finish(to, size, out, item * size);
    }
    this.#trim();
    return status;
  }

  /** x (..., n, dim) + y (n, dim). */
  add(x: Source, y: Resident, out: Resident): void {
    const { kernels, staging } = this.engine;
    const size = sizeOf(y.shape);
    const { slots } = this.#add;
    for (let item = 0; item < sizeOf(x.shape.slice(0, -2)); item++) {
      const from = isResident(x)
        ? x.pointer + 4 * item * x.step
        : kernels.stage(staging.areas.query, x.data, item * size, size);
      kernels.words[slots.batch] = 1;
      kernels.words[slots.count] = size;
      kernels.buffer(slots.x, from, size);
      kernels.buffer(slots.y, y.pointer, size);
      kernels.buffer(slots.out, out.pointer + 4 * item * size, size);
      kernels.run(this.#add, size);
    }
    this.#trim();
  }

  #run(
    x: Float64Array,
    frequencies: Float64Array,
    phases: Float32Array | undefined,
    lines: number,
    cosines: number,
    sines: number,
  ): number {
    const { kernels } = this.engine;
    const { slots } = this.#waves;
    const [n, count] = [x.length, frequencies.length];
    const placed = [
      kernels.stageDoubles(this.#areas.x, x),
      kernels.stageDoubles(this.#areas.frequencies, frequencies),
      phases ? kernels.stageDoubles(this.#areas.phases, phases) : 0,
    ] as const;
    const { words } = kernels; // after all that may have made the memory grow
    words[slots.n] = n;
    words[slots.count] = count;
    words[slots.lines] = lines;
    kernels.buffer(slots.x, placed[0], n);
    kernels.buffer(slots.frequencies, placed[1], count);
    kernels.buffer(slots.phases, placed[2], phases ? count : 0);
    kernels.buffer(slots.cosines, cosines, cosines === 0 ? 0 : n * count);
    kernels.buffer(slots.sines, sines, n * count);
    return kernels.run(this.#waves, 32 * n * count);
  }

  #trim(): void {
    for (const name of AREAS) this.#areas[name].trim(KEPT_BYTES);
    this.engine.staging.trim();
  }
}
