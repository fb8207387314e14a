/** Attention whose scores are distances, over arrays that lie in the kernels' memory already. */
import {
  type Engine,
  isResidentOutput,
  type Output,
  type PlacedScores,
  type Scoring,
  SHARED,
  VALUES,
} from "./engine.js";
import type { Area, KernelCall } from "./kernels.js";
import type { Run } from "./layout.js";
import type { Resident, Shape } from "./numbers.js";
import type { Placed } from "./staging.js";

const SCORES = [
  "n_segments", "query_aux_batch", "query_aux_row", "key_aux_batch", "key_aux_row",
  "segments", "spaces", "query_aux", "key_aux",
] as const; // biome-ignore format: in the order of kernels.def

type Weighing = KernelCall<(typeof SHARED)[number] | (typeof SCORES)[number]>;
type Attending = KernelCall<(typeof SHARED)[number] | (typeof VALUES)[number] | (typeof SCORES)[number]>;

/** enum of kernels/geometry.h. */
export const KINDS = { poincare: 2, lorentz: 3 } as const;

/** Rows as points of a space of curvature -c, and one number for each. */
export interface Points {
  readonly rows: Resident;
  /** (..., n, 1) */
  readonly aux: Resident;
}

export interface Space {
  readonly kind: keyof typeof KINDS;
  readonly c: number;
}

/** The calls of one engine: their blocks are kept. */
export class Scored {
  static readonly #known = new WeakMap<Engine, Scored>();
  readonly #attend: Attending;
  readonly #weigh: Weighing;
  readonly #aux: KernelCall<"rows" | "dim" | "n_segments" | "x" | "segments" | "spaces" | "out">;
  readonly #segments: Area;
  readonly #spaces: Area;

  private constructor(private readonly engine: Engine) {
    const { kernels } = engine;
    this.#attend = kernels.call("attention_scored", [...SHARED, ...VALUES, ...SCORES]);
    this.#weigh = kernels.call("attention_weights", [...SHARED, ...SCORES]);
    this.#aux = kernels.call("space_aux", ["rows", "dim", "n_segments", "x", "segments", "spaces", "out"]);
    this.#segments = kernels.area();
    this.#spaces = kernels.area();
  }

  static of(engine: Engine): Scored {
    const known = Scored.#known.get(engine) ?? new Scored(engine);
    Scored.#known.set(engine, known);
    return known;
  }

  /** What distances need of each row: out (..., n, 1). */
  aux(rows: Resident, space: Space, out: Resident): void {
    const { kernels } = this.engine;
    const dim = rows.shape.at(-1) as number;
    const { slots } = this.#aux;
    this.engine.rowByRow(rows, 1, out, (from, count, to) => {
      this.#place(slots, dim, space);
      kernels.words[slots.rows] = count;
      kernels.words[slots.dim] = dim;
      kernels.buffer(slots.x, from, count * dim);
      kernels.buffer(slots.out, to, count);
      return kernels.run(this.#aux);
    });
  }

  /** out = softmax(-scale distance + bias) values; false where a number that is not finite was met. */
  attend(
    query: Points,
    keys: Points,
    values: Resident,
    space: Space,
    lead: Shape,
    how: Scoring,
    out: Output,
  ): boolean {
    const { engine } = this;
    const { kernels, staging } = engine;
    const [nQuery, nKey, width] = [query.rows.shape.at(-2), keys.rows.shape.at(-2), values.shape.at(-1)] as [
      number,
      number,
      number,
    ];
    const row = nQuery * width;
    const operands = [query.rows, keys.rows, query.aux, keys.aux, values];
    const copied = isResidentOutput(out) ? 0 : 4 * row;
    const { slots } = this.#attend;
    return this.#over(operands, lead, how, copied, (part, placed, scores) => {
      const to = isResidentOutput(out)
        ? out.pointer + 4 * part.at * row
        : kernels.begin(staging.areas.out, part.count * row, out, part.at * row);
      this.#set(this.#attend, part.count, how, nQuery, nKey, placed, scores, space);
      const { step, pointer, count } = placed[4] as Placed;
      const { words } = kernels;
      words[slots.dim_value] = words[slots.value_row] = words[slots.out_row] = width;
      words[slots.value_batch] = step;
      words[slots.out_batch] = row;
      kernels.buffer(slots.values, pointer, count);
      kernels.buffer(slots.out, to, part.count * row);
      const status = kernels.run(this.#attend, part.count * nKey * nQuery * (how.width + width));
      if (!isResidentOutput(out)) kernels.finish(to, part.count * row, out, part.at * row);
      return status;
    });
  }

  /**
   * The weights (items, n_query, n_key), part by part at the places that `at` names, where `use` finds them; `beside`:
   * an array that it reads too.
   */
  weigh(
    query: Points,
    keys: Points,
    space: Space,
    lead: Shape,
    how: Scoring,
    at: (part: Run, count: number) => number,
    use: (part: Run, weights: number, beside: Placed | undefined) => void,
    beside?: Resident,
  ): boolean {
    const { kernels } = this.engine;
    const [nQuery, nKey] = [query.rows.shape.at(-2), keys.rows.shape.at(-2)] as [number, number];
    const size = nQuery * nKey;
    const operands = [query.rows, keys.rows, query.aux, keys.aux, ...(beside ? [beside] : [])];
    return this.#over(operands, lead, how, 4 * size, (part, placed, scores) => {
      const to = at(part, part.count * size);
      this.#set(this.#weigh, part.count, how, nQuery, nKey, placed, scores, space);
      kernels.buffer(this.#weigh.slots.out, to, part.count * size);
      const status = kernels.run(this.#weigh, part.count * size * how.width);
      use(part, to, placed[4]);
      return status;
    });
  }

  #over(
    arrays: readonly Resident[],
    lead: Shape,
    how: Scoring,
    copied: number,
    work: (part: Run, placed: readonly Placed[], scores: PlacedScores) => number,
  ): boolean {
    const operands = arrays.map((source) => ({ source, width: source.shape.at(-1) as number }));
    return this.engine.over(lead, operands, how, copied, (part, scores) => {
      const placed = operands.map((operand, i) =>
        this.engine.staging.place(
          "values",
          operand,
          part,
          i,
          0,
          operand.source.shape.at(-2) as number,
          false,
        ),
      );
      return work(part, placed, scores);
    });
  }

  #set(
    call: Attending | Weighing,
    batch: number,
    how: Scoring,
    nQuery: number,
    nKey: number,
    [query, keys, queryAux, keyAux]: readonly Placed[],
    scores: PlacedScores,
    space: Space,
  ): void {
    const { kernels } = this.engine;
    this.engine.setShared(
      call as Weighing,
      batch,
      how,
      nQuery,
      nKey,
      query as Placed,
      keys as Placed,
      scores,
    );
    const { slots } = call as Weighing;
    this.#place(slots, how.width, space);
    const { words } = kernels;
    for (const [name, { step, pointer, count }] of [
      ["query", queryAux as Placed],
      ["key", keyAux as Placed],
    ] as const) {
      words[slots[`${name}_aux_batch`]] = step;
      words[slots[`${name}_aux_row`]] = 1;
      kernels.buffer(slots[`${name}_aux`], pointer, count);
    }
  }

  /** All channels as one segment. */
  #place(
    slots: Readonly<Record<"n_segments" | "segments" | "spaces", number>>,
    dim: number,
    { kind, c }: Space,
  ): void {
    const { kernels } = this.engine;
    const segments = kernels.stageIntegers(this.#segments, [0, dim, KINDS[kind], 1]);
    const spaces = kernels.stageDoubles(this.#spaces, [1, c]);
    kernels.words[slots.n_segments] = 1;
    kernels.buffer(slots.segments, segments, 4);
    kernels.buffer(slots.spaces, spaces, 2);
  }
}
