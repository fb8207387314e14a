/**
 * Attention whose scores have more than dot products and biases: distances, gaps in time, tiles of keys. Arrays are copied
 * item by item where they do not lie in the kernels' memory already.
 */
import {
  type Engine,
  isResidentOutput,
  type Output,
  type PlacedScores,
  type Scoring,
  SHARED,
  VALUES,
} from "./engine.js";
import { type Area, type KernelCall, NON_FINITE } from "./kernels.js";
import type { Run } from "./layout.js";
import { isResident, type Resident, type Shape, type Source } from "./numbers.js";
import type { Placed } from "./staging.js";
import type { Best, BestCall } from "./top_k.js";

const SCORES = [
  "tile_rows", "n_runs", "n_bits", "n_segments", "query_aux_batch", "query_aux_head", "query_aux_row",
  "key_aux_batch", "key_aux_head", "key_aux_row", "decay", "decay_rate",
  "tile_indptr", "runs", "run_bits", "segments", "spaces", "query_aux", "key_aux", "query_time", "key_time",
] as const; // biome-ignore format: in the order of kernels.def

const PLACES = ["query", "keys"] as const;
const TILES = ["tile_indptr", "runs", "run_bits"] as const;
const AREAS = [
  "segments",
  "spaces",
  "query_time",
  "key_time",
  "until_query",
  "until_keys",
  ...TILES,
] as const;

type Weighing = KernelCall<(typeof SHARED)[number] | (typeof SCORES)[number]>;
type Attending = KernelCall<(typeof SHARED)[number] | (typeof VALUES)[number] | (typeof SCORES)[number]>;
type Choosing = BestCall<(typeof SCORES)[number]>;

/** enum of kernels/geometry.h. */
export const KINDS = { dot: 0, poincare: 2, lorentz: 3 } as const;
/** Queries of a tile row: the bits of a word. */
export const TILE_ROWS = 64;

/** A space of curvature -c over the next `channels` of every head. */
export interface Space {
  readonly kind: keyof typeof KINDS;
  readonly channels: number;
  readonly weight: number;
  readonly c: number;
}

/** Scores as the sum over spaces of weight times a dot product, or minus a distance. */
export interface Spaces {
  readonly list: readonly Space[];
  /** What distances need of each row, (..., n, heads * spaces). */
  readonly query: Resident;
  readonly keys: Resident;
}

/** score += decay exp(-rate |gap|). */
export interface Times {
  readonly query: Float64Array;
  readonly keys: Float64Array;
  readonly decay: number;
  readonly rate: number;
}

/** What calls have beyond the everyday one's. */
export interface More {
  readonly spaces?: Spaces;
  readonly times?: Times;
  /** Times of queries and keys, in order: a query sees the keys of its own time and before. */
  readonly until?: Pick<Times, "query" | "keys">;
}

/** The calls of one engine: their blocks are kept. */
export class Scored {
  static readonly #known = new WeakMap<Engine, Scored>();
  readonly #attend: Attending;
  readonly #weigh: Weighing;
  /** Outputs and weights of the highest scores alone, from the first that are asked for. */
  #best: readonly [attend: Choosing, weigh: Choosing] | undefined;
  readonly #aux: KernelCall<"rows" | "dim" | "n_segments" | "x" | "segments" | "spaces" | "out">;
  readonly #tiles: KernelCall<
    | "n_query"
    | "n_key"
    | "tile_rows"
    | "n_tiles"
    | "query_time"
    | "key_time"
    | "tile_indptr"
    | "runs"
    | "run_bits"
  >;
  readonly #areas: Readonly<Record<(typeof AREAS)[number], Area>>;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#attend = kernels.call("attention_scored", [...SHARED, ...VALUES, ...SCORES]);
    this.#weigh = kernels.call("attention_weights", [...SHARED, ...SCORES]);
    this.#aux = kernels.call("space_aux", ["rows", "dim", "n_segments", "x", "segments", "spaces", "out"]);
    this.#tiles = kernels.call("seen_tiles", [
      "n_query", "n_key", "tile_rows", "n_tiles", "query_time", "key_time", "tile_indptr", "runs", "run_bits",
    ]); // biome-ignore format: in the order of kernels.def
    this.#areas = Object.fromEntries(AREAS.map((name) => [name, kernels.area()])) as Record<
      (typeof AREAS)[number],
      Area
    >;
  }

  static of(engine: Engine): Scored {
    const known = Scored.#known.get(engine) ?? new Scored(engine);
    Scored.#known.set(engine, known);
    return known;
  }

  get #choosing(): readonly [attend: Choosing, weigh: Choosing] {
    const best = this.engine.best as Best;
    this.#best ??= [best.call(SCORES), best.call(SCORES)];
    return this.#best;
  }

  /** What distances in one space, which is all of the rows, need of each row: out (..., n, 1). */
  aux(rows: Resident, space: Space, out: Resident): void {
    const { kernels } = this.engine;
    const dim = rows.shape.at(-1) as number;
    const { slots } = this.#aux;
    this.engine.rowByRow(rows, 1, out, (from, count, to) => {
      this.#placeSpaces(slots, [space]);
      kernels.words[slots.rows] = count;
      kernels.words[slots.dim] = dim;
      kernels.buffer(slots.x, from, count * dim);
      kernels.buffer(slots.out, to, count);
      return kernels.run(this.#aux);
    });
  }

  /** out = softmax(scores) values, heads side by side; false where a number that is not finite was met. */
  attend(
    query: Source,
    keys: Source,
    values: Source,
    more: More,
    lead: Shape,
    how: Scoring,
    out: Output,
  ): boolean {
    const { engine } = this;
    const { kernels, staging } = engine;
    const [nQuery, nKey, width] = [query.shape.at(-2), keys.shape.at(-2), values.shape.at(-1)] as [
      number,
      number,
      number,
    ];
    const row = nQuery * width;
    const call = how.topK ? this.#choosing[0] : this.#attend;
    const { slots } = call;
    return this.#over(
      [query, keys, values],
      more,
      lead,
      how,
      isResidentOutput(out) ? 0 : 4 * row,
      (part, placed, scores) => {
        const to = isResidentOutput(out)
          ? out.pointer + 4 * part.at * row
          : kernels.begin(staging.areas.out, part.count * row, out, part.at * row);
        this.#set(call, part.count, how, nQuery, nKey, placed, scores, more);
        const { step, pointer, count } = placed[2] as Placed;
        const { words } = kernels;
        words[slots.dim_value] = words[slots.value_head] = words[slots.out_head] = width / how.heads;
        words[slots.value_row] = words[slots.out_row] = width;
        words[slots.value_batch] = step;
        words[slots.out_batch] = row;
        kernels.buffer(slots.values, pointer, count);
        kernels.buffer(slots.out, to, part.count * row);
        const status = kernels.run(call, part.count * nKey * nQuery * (how.heads * how.width + width));
        if (!isResidentOutput(out)) kernels.finish(to, part.count * row, out, part.at * row);
        return status;
      },
    );
  }

  /** The weights, out (items, heads, n_query, n_key). */
  weigh(query: Source, keys: Source, more: More, lead: Shape, how: Scoring, out: Float32Array): boolean {
    const { kernels, staging } = this.engine;
    const size = how.heads * (query.shape.at(-2) as number) * (keys.shape.at(-2) as number);
    return this.weighParts(
      query,
      keys,
      more,
      lead,
      how,
      (part, count) => kernels.begin(staging.areas.out, count, out, part.at * size),
      (part, from) => kernels.finish(from, part.count * size, out, part.at * size),
    );
  }

  /** The same part by part at the places that `at` names, where `use` finds them; `beside`: an array that it reads too. */
  weighParts(
    query: Source,
    keys: Source,
    more: More,
    lead: Shape,
    how: Scoring,
    at: (part: Run, count: number) => number,
    use: (part: Run, weights: number, beside: Placed | undefined) => void,
    beside?: Resident,
  ): boolean {
    const { kernels } = this.engine;
    const [nQuery, nKey] = [query.shape.at(-2), keys.shape.at(-2)] as [number, number];
    const size = how.heads * nQuery * nKey;
    const operands = beside ? [query, keys, beside] : [query, keys];
    return this.#over(operands, more, lead, how, 4 * size, (part, placed, scores) => {
      const to = at(part, part.count * size);
      const call = how.topK ? this.#choosing[1] : this.#weigh;
      this.#set(call, part.count, how, nQuery, nKey, placed, scores, more);
      const { slots } = call;
      const target = "weights" in slots ? (slots.weights as number) : slots.out;
      kernels.buffer(target, to, part.count * size);
      const status = kernels.run(call, part.count * size * how.width);
      use(part, to, beside && placed[2]);
      return status;
    });
  }

  /** Part by part: query, keys and what else there is, and behind them what the spaces need of queries and keys. */
  #over(
    arrays: readonly Source[],
    { spaces }: More,
    lead: Shape,
    how: Scoring,
    copied: number,
    work: (part: Run, placed: readonly Placed[], scores: PlacedScores) => number,
  ): boolean {
    const all = spaces ? [...arrays, spaces.query, spaces.keys] : arrays;
    const { staging } = this.engine;
    const operands = all.map((source, i) => ({
      source,
      width: i < 2 ? how.width : (source.shape.at(-1) as number),
    }));
    return this.engine.over(lead, operands, how, copied, (part, scores) => {
      const placed = operands.map((operand, i) => {
        const rows = operand.source.shape.at(-2) as number;
        return staging.place(PLACES[i] ?? "values", operand, part, i, 0, rows, how.normalize);
      });
      const copied = placed.filter((_, i) => !isResident(all[i] as Source));
      const rows = placed.slice(0, arrays.length);
      const areFinite = how.topK
        ? (this.engine.best as Best).areFinite(rows, part, how, all.length + 2)
        : this.engine.looksFinite(how, arrays[0]?.shape.at(-2) as number, ...copied);
      if (!areFinite) return NON_FINITE;
      return work(part, placed, scores);
    });
  }

  #set(
    call: Attending | Weighing | Choosing,
    batch: number,
    how: Scoring,
    nQuery: number,
    nKey: number,
    placed: readonly Placed[],
    scores: PlacedScores,
    { spaces, times, until }: More,
  ): void {
    const { kernels } = this.engine;
    const [query, keys] = placed as [Placed, Placed];
    this.engine.setShared(call as Weighing, batch, how, nQuery, nKey, query, keys, scores);
    const { slots } = call as Weighing;
    this.#placeSpaces(slots, spaces?.list ?? []);
    this.#placeTimes(slots, times);
    this.#placeTiles(slots, until);
    const { words } = kernels;
    if ("top_k" in slots) words[slots.top_k as number] = Math.min(how.topK as number, nKey);
    const aux = spaces ? placed.slice(-2) : [];
    for (const [i, name] of (["query", "key"] as const).entries()) {
      const own = aux[i];
      words[slots[`${name}_aux_batch`]] = own?.step ?? 0;
      words[slots[`${name}_aux_row`]] = own?.row ?? 0;
      words[slots[`${name}_aux_head`]] = spaces?.list.length ?? 0;
      kernels.buffer(slots[`${name}_aux`], own?.pointer ?? 0, own?.count ?? 0);
    }
  }

  /** One behind the other. */
  #placeSpaces(
    slots: Readonly<Record<"n_segments" | "segments" | "spaces", number>>,
    list: readonly Space[],
  ): void {
    const { kernels } = this.engine;
    let at = 0;
    const segments = list.flatMap(({ kind, channels }) => {
      at += channels;
      return [at - channels, at, KINDS[kind], 1];
    });
    const spaces = list.flatMap(({ weight, c }) => [weight, c]);
    kernels.words[slots.n_segments] = list.length;
    const { segments: first, spaces: second } = this.#areas;
    const none = list.length === 0;
    kernels.buffer(slots.segments, none ? 0 : kernels.stageIntegers(first, segments), segments.length);
    kernels.buffer(slots.spaces, none ? 0 : kernels.stageDoubles(second, spaces), spaces.length);
  }

  #placeTimes(slots: Weighing["slots"], times: Times | undefined): void {
    const { kernels } = this.engine;
    const { f64 } = kernels;
    f64[slots.decay >>> 1] = times?.decay ?? 0;
    f64[slots.decay_rate >>> 1] = times?.rate ?? 0;
    const { query_time: first, key_time: second } = this.#areas;
    kernels.buffer(
      slots.query_time,
      times ? kernels.stageDoubles(first, times.query) : 0,
      times?.query.length ?? 0,
    );
    kernels.buffer(
      slots.key_time,
      times ? kernels.stageDoubles(second, times.keys) : 0,
      times?.keys.length ?? 0,
    );
  }

  /** Made by a kernel that runs before. */
  #placeTiles(slots: Weighing["slots"], until: More["until"]): void {
    const { kernels } = this.engine;
    if (!until) {
      kernels.words[slots.tile_rows] = kernels.words[slots.n_runs] = kernels.words[slots.n_bits] = 0;
      for (const name of TILES) kernels.buffer(slots[name], 0, 0);
      return;
    }
    const [nQuery, nKey] = [until.query.length, until.keys.length];
    const n = Math.ceil(nQuery / TILE_ROWS);
    const counts = { tile_indptr: n + 1, runs: 6 * n, run_bits: nKey };
    const pointers = TILES.map((name) =>
      kernels.stageIntegers(this.#areas[name], new Uint8Array(counts[name])),
    );
    const times = [until.query, until.keys].map((list, i) =>
      kernels.stageDoubles(this.#areas[i === 0 ? "until_query" : "until_keys"], list),
    );
    const own = this.#tiles.slots;
    const { words } = kernels; // after all that may have made the memory grow
    words[own.n_query] = nQuery;
    words[own.n_key] = nKey;
    words[own.n_tiles] = n;
    words[own.tile_rows] = words[slots.tile_rows] = TILE_ROWS;
    words[slots.n_runs] = 2 * n;
    words[slots.n_bits] = nKey;
    kernels.buffer(own.query_time, times[0] as number, nQuery);
    kernels.buffer(own.key_time, times[1] as number, nKey);
    TILES.forEach((name, i) => {
      kernels.buffer(own[name], pointers[i] as number, counts[name]);
      kernels.buffer(slots[name], pointers[i] as number, counts[name]);
    });
    kernels.run(this.#tiles);
  }
}
