/** Functions of vectors: sums of float64, results of float32. They need no runtime. */
import {
  DimensionMismatchError,
  EmptyInputError,
  InvalidConfigError,
  NumericalInstabilityError,
  UnsupportedError,
} from "../errors.js";
import { told } from "./rows.js";

/** A vector: a typed array, or numbers in an array. */
export type Vector = ArrayLike<number>;

/** exp(x_i) / sum_j exp(x_j). The argument stays as it is. */
export function softmax(x: Vector): Float32Array {
  return attentionWeights(x);
}

/** The weights that scores give: softmax(scores / temperature). -Infinity is a score that gets none. */
export function attentionWeights(scores: Vector, temperature = 1): Float32Array {
  if (!(Number.isFinite(temperature) && temperature > 0)) {
    const given = typeof temperature === "number" ? temperature : told(temperature);
    throw new NumericalInstabilityError(`temperature is ${given}; expected a number above 0`);
  }
  check("scores", scores, (x) => x < Infinity, "finite numbers or -Infinity");
  const top = Array.prototype.reduce.call(scores, (a, b) => Math.max(a as number, b), -Infinity) as number;
  const weights = new Float64Array(scores.length);
  if (top > -Infinity) {
    for (let i = 0; i < weights.length; i++)
      weights[i] = Math.exp(((scores[i] as number) - top) / temperature);
  }
  const sum = weights.reduce((a, b) => a + b, 0);
  return Float32Array.from(weights, (weight) => (sum > 0 ? weight / sum : 0));
}

/** The length of a vector. */
export function l2Norm(x: Vector): number {
  check("x", x);
  return Math.hypot(...blocks(x));
}

/** The vector with length 1; zeros stay zeros. */
export function normalize(x: Vector): Float32Array {
  const norm = l2Norm(x);
  return Float32Array.from(x, (item) => (norm > 0 ? item / norm : 0));
}

/** <a, b> / (|a| |b|); 0 where one of them is zeros. */
export function cosineSimilarity(a: Vector, b: Vector): number {
  check("a", a);
  check("b", b);
  if (a.length !== b.length) throw lengths("b", b.length, a.length, "a");
  const [normA, normB] = [l2Norm(a), l2Norm(b)];
  if (normA === 0 || normB === 0) return 0;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) / normA) * ((b[i] as number) / normB);
  return Math.max(-1, Math.min(1, sum));
}

/** Every channel over the vectors: (x - mean) / sqrt(variance + epsilon), one vector after the other in one array. */
export function batchNormalize(vectors: readonly Vector[], epsilon = 1e-5): Float32Array {
  if (!Array.isArray(vectors))
    throw new UnsupportedError(`vectors is ${told(vectors)}; expected an array of vectors`);
  if (!(Number.isFinite(epsilon) && epsilon >= 0)) {
    const given = typeof epsilon === "number" ? epsilon : told(epsilon);
    throw new InvalidConfigError(`epsilon is ${given}; expected a finite number of at least 0`);
  }
  const [first] = vectors as readonly Vector[];
  if (vectors.length === 0) throw new EmptyInputError("vectors is empty; expected at least one vector");
  const width = first?.length ?? 0;
  vectors.forEach((vector, i) => {
    check(`vectors[${i}]`, vector);
    if (vector.length !== width) throw lengths(`vectors[${i}]`, vector.length, width, "vectors[0]");
  });
  const out = new Float32Array(vectors.length * width);
  for (let channel = 0; channel < width; channel++) {
    const column = vectors.map((vector) => vector[channel] as number);
    const mean = column.reduce((a, b) => a + b, 0) / column.length;
    const variance = column.reduce((sum, x) => sum + (x - mean) ** 2, 0) / column.length;
    const deviation = Math.sqrt(variance + epsilon);
    column.forEach((x, i) => {
      out[i * width + channel] = deviation > 0 ? (x - mean) / deviation : 0;
    });
  }
  return out;
}

/** Lengths of blocks of a vector, whose own length is the vector's: hypot takes so many arguments and no more. */
function blocks(x: Vector): number[] {
  const found: number[] = [];
  for (let at = 0; at < x.length; at += 1024)
    found.push(Math.hypot(...Array.prototype.slice.call(x, at, at + 1024)));
  return found;
}

function check(
  name: string,
  x: Vector,
  passes: (item: number) => boolean = Number.isFinite,
  expected = "finite numbers",
): void {
  const isTyped = ArrayBuffer.isView(x) && !(x instanceof DataView);
  if (!(isTyped || Array.isArray(x)))
    throw new UnsupportedError(`${name} is ${told(x)}; expected a typed array, or an array of numbers`);
  if (x.length === 0) throw new EmptyInputError(`${name} is empty; expected at least one number`);
  for (let i = 0; i < x.length; i++) {
    const item = x[i] as number;
    if (typeof item !== "number")
      throw new UnsupportedError(`${name}[${i}] is ${told(item)}; expected a number`);
    if (!passes(item)) throw new NumericalInstabilityError(`${name}[${i}] is ${item}; expected ${expected}`);
  }
}

function lengths(name: string, actual: number, expected: number, from: string): DimensionMismatchError {
  const error = new DimensionMismatchError(
    `${name} has ${actual} elements; expected ${expected}, as ${from} has`,
  );
  return Object.assign(error, { expected, actual });
}
