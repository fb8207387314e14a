/** Masks, biases and key lengths: which query may attend to which key, and what is added to its score. */
import { EmptyInputError, InvalidConfigError, OutOfBoundsError, UnsupportedError } from "../errors.js";
import { mapKeys, snake } from "../naming.js";
import { isSameShape } from "../tensor.js";
import { given, indexOf, type Numbers, refuse, type Shape, sizeOf, written } from "./numbers.js";
import { broadcast, mismatch } from "./signature.js";
import { didYouMean } from "./suggest.js";

/** Of a reach; kernels.def's integers have 64 bits, whose upper halves stay 0. */
export const UNLIMITED = 2 ** 31 - 1;

/** The shape of a call's scores. heads: the mechanism has a head axis, which a mask may have too. */
export interface ScoreShape {
  readonly lead: Shape;
  readonly nQuery: number;
  readonly nKey: number;
  readonly heads?: number;
}

/** Fitted to the scores: (..., rows, columns), or (..., heads, rows, columns) where `hasHeads`. */
export interface Addend extends Numbers {
  readonly hasHeads: boolean;
}

/** How far a query sees from its place, and how many keys from the first on all see. */
export interface Band {
  readonly behind: number;
  readonly ahead: number;
  readonly globals: number;
}

/** How many keys each item has; broadcasts to the leading dimensions. */
export interface KeyLengths {
  readonly data: ArrayLike<number>;
  readonly shape: Shape;
}

export interface Addends {
  /** Bytes, other than 0 where a query may attend. */
  readonly mask?: Addend;
  readonly bias?: Addend;
  readonly keyLengths?: KeyLengths;
}

/** The options of a call that say what its scores are. */
export interface ScoreOptions {
  readonly mask: unknown;
  readonly bias: unknown;
  readonly keyLengths: unknown;
  readonly causal: boolean;
  readonly checkFinite: boolean;
  /** A rule that the mechanism itself has; an array of a mask counts inside of it. */
  readonly pattern?: { readonly type: unknown } | undefined;
}

/** They, checked; a mask of numbers is one more bias, a rule a band. */
export function addends(options: ScoreOptions, scores: ScoreShape): Addends & Band {
  const { mask, bias, keyLengths, causal, checkFinite, pattern } = options;
  let band: Band = pattern
    ? bandOf(pattern, causal)
    : { behind: UNLIMITED, ahead: causal ? 0 : UNLIMITED, globals: 0 };
  const result: { mask?: Addend; bias?: Addend; keyLengths?: KeyLengths } = {};
  if (isRule(mask)) {
    if (pattern) {
      throw new UnsupportedError(
        "a mask's type beside the window of the mechanism needs load({ runtime: 'pyodide' })",
      );
    }
    band = bandOf(mask, causal);
  } else if (mask !== undefined && mask !== null) {
    const array = given("mask", mask);
    if (array.dtype === "bool") result.mask = fitted("mask", array, scores);
    else if (array.dtype.startsWith("float")) result.bias = addend("mask", array, scores, checkFinite);
    else {
      throw new UnsupportedError(
        `mask is an array of ${array.dtype}; expected bool (true = may attend) or float (added to the scores)`,
      );
    }
  }
  if (bias !== undefined && bias !== null) {
    const array = given("bias", bias);
    if (array.dtype === "bool") {
      throw new UnsupportedError("bias is an array of bool; expected real numbers, added to the scores");
    }
    const found = addend("bias", array, scores, checkFinite);
    result.bias = result.bias ? sum(result.bias, found) : found;
  }
  if (keyLengths !== undefined && keyLengths !== null) result.keyLengths = lengths(keyLengths, scores);
  return { ...result, ...band };
}

function isRule(mask: unknown): mask is { readonly type: unknown } {
  return typeof mask === "object" && mask !== null && "type" in mask && !("shape" in mask);
}

/** { type: "causal" } and { type: "window", window, globalTokens, causal }: masks.WindowMask and its like. */
function bandOf(rule: { readonly type: unknown }, causal: boolean): Band {
  const { type, ...settings } = mapKeys(rule, snake);
  const usual: Record<string, unknown> =
    type === "causal" ? {} : { window: undefined, global_tokens: 0, causal: false };
  if (type !== "causal" && type !== "window") {
    throw new UnsupportedError(
      `a mask's type is '${type}'; expected 'causal' or 'window' here: others need load({ runtime: 'pyodide' })`,
    );
  }
  for (const name of Object.keys(settings)) {
    if (!(name in usual)) {
      throw new InvalidConfigError(
        `a ${type} mask has no setting '${name}'${didYouMean(name, Object.keys(usual))}`,
      );
    }
  }
  if (type === "causal") return { behind: UNLIMITED, ahead: 0, globals: 0 };
  const { window, global_tokens: globals, causal: own } = { ...usual, ...settings };
  for (const [name, value] of [
    ["window", window],
    ["global_tokens", globals],
  ] as const) {
    if (!Number.isInteger(value) || (value as number) < 0) {
      throw new InvalidConfigError(`${name} is ${value}; expected an integer of at least 0`);
    }
  }
  const reach = Math.min(window as number, UNLIMITED);
  const looksAhead = !causal && own !== true;
  if (looksAhead && reach === 0 && globals !== 0) {
    throw new UnsupportedError("global tokens beside a window of 0 need load({ runtime: 'pyodide' })");
  }
  return { behind: reach, ahead: looksAhead ? reach : 0, globals: Math.min(globals as number, UNLIMITED) };
}

function lengths(value: unknown, { lead, nKey }: ScoreShape): KeyLengths {
  const { data, shape, dtype } = given("key_lengths", value);
  if (!dtype.includes("int"))
    throw new UnsupportedError(`key_lengths is an array of ${dtype}; expected integers`);
  const joined = broadcast(shape, lead);
  if (!isSameShape(joined, lead)) {
    const expected = `${written(lead)}, the leading dimensions`;
    throw mismatch(`key_lengths is ${written(shape)}; expected ${expected}`, lead, shape);
  }
  const bad = data.findIndex((length) => length < 0 || length > nKey);
  if (bad >= 0) {
    const place = written(indexOf(bad, shape));
    throw new OutOfBoundsError(
      `key_lengths holds ${data[bad]} at index ${place}; expected 0 to n_key = ${nKey}`,
    );
  }
  return { data, shape };
}

/** One head of a mask. */
export function ofHead(array: Addend | undefined, head: number): Addend | undefined {
  if (!array?.hasHeads) return array;
  const heads = array.shape.at(-3) as number;
  const size = sizeOf(array.shape.slice(-2));
  const shape = [...array.shape.slice(0, -3), ...array.shape.slice(-2)];
  const items = array.data.length / (heads * size);
  const data = new (array.data.constructor as new (n: number) => Float32Array)(items * size);
  const which = Math.min(head, heads - 1);
  for (let i = 0; i < items; i++) {
    const at = (i * heads + which) * size;
    data.set(array.data.subarray(at, at + size), i * size);
  }
  return { data, shape, hasHeads: false };
}

function addend(name: string, array: Numbers, scores: ScoreShape, checkFinite: boolean): Addend {
  const data = array.data instanceof Float32Array ? array.data : Float32Array.from(array.data);
  if (checkFinite) refuse(name, { ...array, data }, (x) => x < Infinity, "finite numbers or -inf");
  return fitted(name, { ...array, data }, scores);
}

function fitted(name: string, { data, shape }: Numbers, scores: ScoreShape): Addend {
  const { lead, nQuery, nKey, heads } = scores;
  let target = [...lead, nQuery, nKey];
  if (data.length === 0) {
    throw new EmptyInputError(
      `${name} is ${written(shape)}, without elements; expected to broadcast to ${written(target)}`,
    );
  }
  const hasHeads = heads !== undefined && shape.length > 2;
  let full = shape;
  if (hasHeads) {
    // As many dimensions as the scores: one of them is the heads'. Fewer: it holds for every head.
    if (shape.length <= target.length) full = [...shape.slice(0, -2), 1, ...shape.slice(-2)];
    target = [...lead, heads, nQuery, nKey];
  }
  const joined = broadcast(full, target);
  if (full.length === 0 || !isSameShape(joined, target)) {
    throw mismatch(
      `${name} is ${written(shape)}; expected a shape that broadcasts to ${written(target)}`,
      target,
      shape,
    );
  }
  return { data, shape: full.length > 1 ? full : [1, ...full], hasHeads };
}

function sum(a: Addend, b: Addend): Addend {
  const hasHeads = a.hasHeads || b.hasHeads;
  const withHeads = ({ shape, hasHeads: own }: Addend): Shape =>
    hasHeads && !own ? [...shape.slice(0, -2), 1, ...shape.slice(-2)] : shape;
  const [shapeA, shapeB] = [withHeads(a), withHeads(b)];
  const shape = broadcast(shapeA, shapeB) as Shape;
  const data = new Float32Array(sizeOf(shape));
  const index = shape.map(() => 0);
  const [stepsA, stepsB] = [steps(shapeA, shape), steps(shapeB, shape)];
  for (let i = 0, x = 0, y = 0; i < data.length; i++) {
    data[i] = (a.data[x] as number) + (b.data[y] as number);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = shape[axis] as number;
      x += stepsA[axis] as number;
      y += stepsB[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < size) break;
      x -= (stepsA[axis] as number) * size;
      y -= (stepsB[axis] as number) * size;
      index[axis] = 0;
    }
  }
  return { data, shape, hasHeads };
}

/** Elements from one index to the next along every axis of `common`; 0 where the array is repeated. */
export function steps(shape: Shape, common: Shape): number[] {
  const missing = common.length - shape.length;
  return common.map((_, axis) => {
    const own = axis - missing;
    return own < 0 || shape[own] === 1 ? 0 : sizeOf(shape.slice(own + 1));
  });
}
