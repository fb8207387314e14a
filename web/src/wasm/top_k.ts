/**
 * The engine's calls where only the highest scores of each query count, a setting that few ask for: one kernel chooses
 * and sums. It needs all scores of a query at once, so that keys and values are copied whole where they must be.
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
import { type KernelCall, NON_FINITE } from "./kernels.js";
import type { Run } from "./layout.js";
import type { Shape } from "./numbers.js";
import type { Operand, Placed } from "./staging.js";

/** Queries from which on a call that skips keys looks through its arrays before: little beside that many. */
const MANY = 16;

type Names = (typeof SHARED)[number] | (typeof VALUES)[number] | "top_k" | "weights";
/** A call of the kernel, which may have arguments beyond those. */
export type BestCall<More extends string = never> = KernelCall<Names | More>;

export class Best {
  /** What each never sets stays absent. */
  readonly #attend: BestCall;
  readonly #weigh: BestCall;

  constructor(private readonly engine: Engine) {
    this.#attend = this.call([]);
    this.#weigh = this.call([]);
  }

  call<More extends string>(more: readonly More[]): BestCall<More> {
    const names = [
      ...SHARED,
      ...VALUES.filter((name) => name !== "lse"),
      "top_k",
      "weights",
      ...more,
    ] as const;
    return this.engine.kernels.call("attention_best", names) as unknown as BestCall<More>;
  }

  /** As the engine's. */
  attend(
    query: Operand,
    keys: Operand,
    values: Operand,
    lead: Shape,
    scoring: Scoring,
    out: Output,
  ): boolean {
    const { kernels, staging } = this.engine;
    const [nQuery, nKey] = [query, keys].map(({ source }) => source.shape.at(-2)) as [number, number];
    const row = scoring.heads * values.width;
    const operands = [query, keys, values];
    const copied = isResidentOutput(out) ? 0 : 4 * nQuery * row;
    return this.engine.over(lead, operands, scoring, copied, (part, scores) => {
      const placed = operands.map((operand, i) => {
        const area = (["query", "keys", "values"] as const)[i] as "query";
        return staging.place(area, operand, part, i, 0, i === 0 ? nQuery : nKey, scoring.normalize);
      });
      if (!this.areFinite(placed, part, scoring, 5)) return NON_FINITE;
      const size = part.count * nQuery * row;
      const at = part.at * nQuery * row;
      const to = isResidentOutput(out)
        ? out.pointer + 4 * at
        : kernels.begin(staging.areas.out, size, out, at);
      this.#set(this.#attend, part.count, scoring, nQuery, nKey, placed, scores);
      const { slots } = this.#attend;
      const { pointer, step, row: valueRow, count } = placed[2] as Placed;
      const { words } = kernels;
      words[slots.dim_value] = words[slots.value_head] = words[slots.out_head] = values.width;
      words[slots.value_batch] = step;
      words[slots.value_row] = valueRow;
      words[slots.out_batch] = nQuery * row;
      words[slots.out_row] = row;
      kernels.buffer(slots.values, pointer, count);
      kernels.buffer(slots.out, to, size);
      const status = kernels.run(this.#attend, part.count * nQuery * nKey * scoring.heads * scoring.width);
      if (!isResidentOutput(out)) kernels.finish(to, size, out, at);
      return status;
    });
  }

  /** Likewise. */
  weigh(query: Operand, keys: Operand, lead: Shape, scoring: Scoring, out: Float32Array): boolean {
    const { kernels, staging } = this.engine;
    const [nQuery, nKey] = [query, keys].map(({ source }) => source.shape.at(-2)) as [number, number];
    const size = scoring.heads * nQuery * nKey;
    return this.engine.over(lead, [query, keys], scoring, 4 * size, (part, scores) => {
      const placed = [
        staging.place("query", query, part, 0, 0, nQuery, scoring.normalize),
        staging.place("keys", keys, part, 1, 0, nKey, scoring.normalize),
      ];
      const isLookedAt = nQuery > MANY && !scoring.keyLengths;
      if (isLookedAt && !this.areFinite(placed, part, scoring, 4)) return NON_FINITE;
      const to = kernels.begin(staging.areas.out, part.count * size, out, part.at * size);
      this.#set(this.#weigh, part.count, scoring, nQuery, nKey, placed, scores);
      kernels.buffer(this.#weigh.slots.weights, to, part.count * size);
      const status = kernels.run(this.#weigh, part.count * size * scoring.width);
      kernels.finish(to, part.count * size, out, part.at * size);
      return status;
    });
  }

  /**
   * Whether rows that no kernel may read are numbers: all that may be chosen count. Of a part of a call; the first array
   * has queries, the others have keys, those of each item as far as its length, which is found at `lengthsAt` among the
   * arrays that the part goes over.
   */
  areFinite(placed: readonly Placed[], part: Run, scoring: Scoring, lengthsAt: number): boolean {
    const { staging } = this.engine;
    const { checkFinite, keyLengths } = scoring;
    if (!checkFinite) return true;
    if (!keyLengths) return placed.every(({ pointer, count }) => staging.allFinite(pointer, count));
    const [first, step] = [part.first[lengthsAt] as number, part.steps[lengthsAt] as number];
    const lengthOf = (_: unknown, item: number) => keyLengths.data[first + item * step] as number;
    const lengths = Array.from({ length: part.count }, lengthOf);
    const [query, ...rest] = placed as [Placed, ...Placed[]];
    const areRead = ({ pointer, step, row }: Placed): boolean =>
      lengths.every((n, item) => n === 0 || staging.allFinite(pointer + 4 * item * step, n * row));
    return staging.allFinite(query.pointer, query.count) && rest.every(areRead);
  }

  #set(
    call: BestCall,
    batch: number,
    scoring: Scoring,
    nQuery: number,
    nKey: number,
    [query, keys]: readonly Placed[],
    scores: PlacedScores,
  ): void {
    this.engine.setShared(call, batch, scoring, nQuery, nKey, query as Placed, keys as Placed, scores);
    this.engine.kernels.words[call.slots.top_k] = Math.min(scoring.topK as number, nKey);
  }
}

/** For the engine of a runtime, once. */
export function prepare(engine: Engine): void {
  engine.best ??= new Best(engine);
}
