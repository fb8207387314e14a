/** One call of a mixture: its rows in groups, each computed by one expert in one call, and what that is told to see. */
import { type Addend, type Addends, type Band, steps, UNLIMITED } from "./addends.js";
import type { KernelAttention } from "./attention.js";
import { type Shape, sizeOf } from "./numbers.js";
import type { Routing } from "./routes.js";

/** Rows of a call whose mask is written out at a time. */
const PIECE = 256;

export interface Expert {
  readonly name: string;
  readonly attention: KernelAttention;
  /** By its own settings. */
  readonly isCausal: boolean;
  /**
   * How it is told what a query sees. "rows": by a mask with a row for each. "times": and when the query is, its place
   * among the keys. "places": by where the query stands, so that it computes all of them. "sums": one mask for all
   * queries; causal it passes by every one.
   */
  readonly told: "rows" | "times" | "places" | "sums";
}

/** Rows that one expert computes in one call. */
export interface Group {
  readonly expert: Expert;
  readonly index: number;
  /** Whose keys they see; undefined: all items share theirs. */
  readonly item: number | undefined;
  /** Places in the routing: row * topK + slot, rising. */
  readonly choices: readonly number[];
  /** All rows of the item are computed, of which these are some. */
  readonly isWhole: boolean;
  /** Keys that any of them may see, the first ones. */
  readonly seen: number;
  readonly options: Readonly<Record<string, unknown>>;
}

interface Mask {
  readonly $array: Uint8Array | Float32Array;
  readonly shape: Shape;
  readonly dtype: "bool" | "float32";
}

export class MixtureCall {
  readonly #items: number;
  /** Items whose keys and masks are the same arrays are one call. */
  readonly #isShared: boolean;
  /** A window, of which nothing but causality is left where experts are told it as `causal`. */
  readonly #isWindow: boolean;
  readonly #isCausal: boolean;
  readonly #array: Addend | undefined;

  constructor(
    private readonly experts: readonly Expert[],
    private readonly lead: Shape,
    private readonly nQuery: number,
    private readonly nKey: number,
    private readonly addends: Addends & Band,
    private readonly checkFinite: boolean,
    keysAreShared: boolean,
  ) {
    this.#items = sizeOf(lead);
    this.#array = addends.mask ?? addends.bias;
    this.#isShared = keysAreShared && !addends.keyLengths && (this.#array?.shape.length ?? 2) === 2;
    this.#isCausal = addends.ahead === 0;
    this.#isWindow = addends.behind < UNLIMITED || addends.globals > 0;
  }

  /** In the order of the experts, of their rows. */
  *groups({ experts, topK }: Routing): Generator<Group> {
    const chosen: number[][] = this.experts.map(() => []);
    experts.forEach((expert, choice) => {
      if (expert >= 0) (chosen[expert] as number[]).push(choice);
    });
    for (const [index, choices] of chosen.entries()) {
      if (choices.length === 0) continue;
      const expert = this.experts[index] as Expert;
      const isWhole = this.#computesAllRows(expert);
      const isApart = isWhole || expert.told === "times"; // times rise
      if (this.#items === 1 || (this.#isShared && !isApart)) {
        yield* this.#pieces(index, this.#items === 1 ? 0 : undefined, choices, topK, isWhole);
        continue;
      }
      const ofItem: number[][] = Array.from({ length: this.#items }, () => []);
      for (const choice of choices) ofItem[Math.floor(choice / (topK * this.nQuery))]?.push(choice);
      for (const [item, own] of ofItem.entries()) {
        if (own.length > 0) yield* this.#pieces(index, item, own, topK, isWhole);
      }
    }
  }

  /** The rows of a group in the calls that they need. */
  *#pieces(
    index: number,
    item: number | undefined,
    choices: readonly number[],
    topK: number,
    isWhole: boolean,
  ): Generator<Group> {
    const expert = this.experts[index] as Expert;
    const group = { expert, index, item, choices, isWhole, seen: this.nKey };
    const common = { checkFinite: this.checkFinite, ...this.#lengthOf(item, this.nKey) };
    const isCausal = this.#isCausal || expert.isCausal;
    const places = choices.map((choice) => Math.floor(choice / topK) % this.nQuery);
    if (this.#isByRow && expert.told === "sums") {
      for (const [mask, own] of this.#alike(item, places, isCausal)) {
        const some = own.map((at) => choices[at] as number);
        yield { ...group, choices: some, options: { ...common, mask, causal: false } };
      }
      return;
    }
    const isInPlace = item !== undefined && (isWhole || choices.length === this.nQuery);
    if (isInPlace) {
      const options = { ...this.#timesOf(expert, places), ...this.#inPlace(expert, item, isCausal) };
      yield { ...group, options: { ...common, ...options } };
      return;
    }
    const isWritten = isCausal || this.#isByRow;
    const most = isWritten ? PIECE : choices.length;
    for (let from = 0; from < choices.length; from += most) {
      const some = places.slice(from, from + most);
      // Rows of several items do not rise.
      const last = item === undefined ? this.nQuery : (some.at(-1) as number) + 1;
      const seen = isCausal ? Math.min(Math.max(last + this.nKey - this.nQuery, 1), this.nKey) : this.nKey;
      const mask = this.#maskOf(item, some, isCausal, seen);
      const times = this.#timesOf(expert, some);
      const options = { ...common, ...this.#lengthOf(item, seen), ...times, mask, causal: false };
      yield { ...group, choices: choices.slice(from, from + most), seen, options };
    }
  }

  /** Whether queries differ in what they see, beside by where they stand. */
  get #isByRow(): boolean {
    return this.#isWindow || (this.#array?.shape.at(-2) ?? 1) > 1;
  }

  #computesAllRows({ told, isCausal }: Expert): boolean {
    return told === "places" || (told === "sums" && (this.#isCausal || isCausal) && !this.#isByRow);
  }

  #lengthOf(item: number | undefined, most: number): { keyLengths?: number } {
    const { keyLengths } = this.addends;
    if (!keyLengths) return {};
    const own = ownItem(keyLengths.shape, this.lead, item ?? 0);
    return { keyLengths: Math.min(keyLengths.data[own] as number, most) };
  }

  /** When queries are, for an expert that asks: keys are at 0, 1, 2, … */
  #timesOf({ told }: Expert, places: readonly number[]): { queryTimes?: Float64Array } {
    if (told !== "times") return {};
    return { queryTimes: Float64Array.from(places, (place) => place + this.nKey - this.nQuery) };
  }

  /** For an expert that is given all queries of an item. */
  #inPlace({ told }: Expert, item: number, isCausal: boolean): { mask?: unknown; causal: boolean } {
    if (!this.#isWindow)
      return { mask: this.#array && this.#maskOf(item, undefined, false, this.nKey), causal: isCausal };
    if (told === "rows") {
      const { behind, globals } = this.addends;
      const mask = { type: "window", window: behind, globalTokens: globals, causal: this.#isCausal };
      return { mask, causal: isCausal };
    }
    const all = Array.from({ length: this.nQuery }, (_, place) => place);
    return { mask: this.#maskOf(item, all, isCausal, this.nKey), causal: isCausal && told !== "times" };
  }

  /** What the queries at these places see of the first keys; undefined: everything. Without places: as it was given. */
  #maskOf(
    item: number | undefined,
    places: readonly number[] | undefined,
    isCausal: boolean,
    seen: number,
  ): Mask | undefined {
    const array = this.#array;
    const isBanded = places !== undefined && (isCausal || this.#isWindow);
    if (!array && !isBanded) return undefined;
    const given = array && matrix(array, ownItem(array.shape.slice(0, -2), this.lead, item ?? 0));
    const isFloat = this.addends.bias !== undefined;
    const dtype = isFloat ? ("float32" as const) : ("bool" as const);
    if (given && !isBanded && (places === undefined || given.rows === 1) && seen === this.nKey) {
      const data = given.data as Uint8Array | Float32Array;
      return { $array: data, shape: [given.rows, given.columns], dtype };
    }
    const rows = places as readonly number[];
    const out = new (isFloat ? Float32Array : Uint8Array)(rows.length * seen);
    rows.forEach((place, row) => {
      const from = given && given.rows > 1 ? place * given.columns : 0;
      for (let key = 0; key < seen; key++) {
        const own = given ? (given.data[from + (given.columns > 1 ? key : 0)] as number) : 1;
        const isSeen = !isBanded || this.#sees(place, key, isCausal);
        out[row * seen + key] = isSeen ? own : isFloat ? -Infinity : 0;
      }
    });
    return { $array: out, shape: [rows.length, seen], dtype };
  }

  #sees(place: number, key: number, isCausal: boolean): boolean {
    const { behind, ahead, globals } = this.addends;
    const position = place + this.nKey - this.nQuery;
    if (isCausal && key > position) return false;
    if (key < globals || (position >= 0 && position < globals)) return true;
    return key >= position - behind && key <= position + ahead;
  }

  /** Masks of one row, and which of the places see that. */
  #alike(
    item: number | undefined,
    places: readonly number[],
    isCausal: boolean,
  ): Iterable<readonly [Mask, number[]]> {
    const kinds = new Map<string, readonly [Mask, number[]]>();
    places.forEach((place, at) => {
      const mask = this.#maskOf(item, [place], isCausal, this.nKey) as Mask;
      const key = mask.$array.join();
      const kind = kinds.get(key) ?? ([mask, []] as const);
      kind[1].push(at);
      kinds.set(key, kind);
    });
    return kinds.values();
  }
}

/** Which of the items of an array with this leading shape belongs to an item of the result. */
export function ownItem(own: Shape, lead: Shape, item: number): number {
  const strides = steps(own, lead);
  let rest = item;
  let at = 0;
  for (let axis = lead.length - 1; axis >= 0; axis--) {
    at += (rest % (lead[axis] as number)) * (strides[axis] as number);
    rest = Math.floor(rest / (lead[axis] as number));
  }
  return at;
}

function matrix({ data, shape }: Addend, item: number) {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return { data: data.subarray(item * rows * columns, (item + 1) * rows * columns), rows, columns };
}
