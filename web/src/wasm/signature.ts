/** The inputs of one call: named axes that bind across the arguments, with the messages of the Python package. */
import type { Rules } from "../description.js";
import { DimensionMismatchError, EmptyInputError, InputTooLargeError } from "../errors.js";
import { isResident, numbers, type Shape, type Source, sizeOf, written } from "./numbers.js";

export interface Binding {
  readonly names: string[];
  /** With the row axis of a bare vector. */
  readonly arrays: Source[];
  /** As they came, for messages. */
  readonly shapes: Shape[];
  readonly sizes: Readonly<Record<string, number>>;
  /** The leading dimensions of the result. */
  readonly lead: Shape;
  readonly isVector: boolean;
}

export class Signature {
  readonly #specs: Map<
    string,
    { readonly axes: readonly string[]; readonly leads: boolean; readonly all: string[] }
  >;

  constructor(
    /** How messages call the object: FlashAttention(dim=8). */
    private readonly owner: string,
    specs: Rules["inputs"],
    private readonly fixed: Readonly<Record<string, number>>,
    private readonly maxKeys: number,
  ) {
    this.#specs = new Map(
      specs.map(({ name, axes }) => [
        name,
        { axes: axes.filter((axis) => axis !== "..."), leads: axes[0] === "...", all: axes },
      ]),
    );
  }

  bind(inputs: readonly (readonly [string, unknown])[]): Binding {
    const sizes: Record<string, number> = { ...this.fixed };
    const bound: Binding & { lead: Shape; isVector: boolean } = {
      names: [],
      arrays: [],
      shapes: [],
      sizes,
      lead: [],
      isVector: false,
    };
    for (const [name, value] of inputs) {
      const source = isSource(value) ? value : numbers(name, value);
      const { shape } = source;
      // A query of one row may come without its row axis.
      const isVector = name === "query" && shape.length === 1;
      const full = isVector ? [1, ...shape] : shape;
      const leading = this.#bindAxes(name, shape, full, sizes, bound);
      if (leading.length > 0) {
        const joined = broadcast(bound.lead, leading);
        if (!joined) this.#refuseLead(name, shape, leading, bound);
        bound.lead = joined;
      }
      bound.isVector ||= isVector;
      bound.names.push(name);
      bound.shapes.push(shape);
      bound.arrays.push(isVector ? { ...source, shape: full } : source);
    }
    return bound;
  }

  #bindAxes(name: string, shape: Shape, full: Shape, sizes: Record<string, number>, before: Binding): Shape {
    const { axes, leads, all } = this.#specs.get(name) as { axes: string[]; leads: boolean; all: string[] };
    const first = full.length - axes.length;
    if (first < 0 || (first > 0 && !leads)) {
      const vector = name === "query" ? ` or (${axes.at(-1)},)` : "";
      throw mismatch(
        `${name} is ${written(shape)}, ${shape.length}-dimensional; expected (${all.join(", ")})${vector}`,
        axes.length,
        shape.length,
      );
    }
    if (sizeOf(shape) === 0) {
      throw new EmptyInputError(
        `${name} is ${written(shape)}, without elements; expected (${all.join(", ")})`,
      );
    }
    axes.forEach((axis, i) => {
      const size = full[first + i] as number;
      sizes[axis] ??= size;
      const expected = sizes[axis];
      if (expected === size) return;
      const source = before.names.findIndex((other) => this.#specs.get(other)?.axes.includes(axis));
      const from =
        source < 0
          ? `the settings of ${this.owner}`
          : `${before.names[source]} ${written(before.shapes[source] as Shape)}`;
      throw mismatch(
        `${name} is ${written(shape)}; expected (${first > 0 ? "..., " : ""}${axes.join(", ")}) with ${axis} = ${expected}, from ${from}`,
        expected,
        size,
      );
    });
    const nKey = sizes.n_key ?? 0;
    if (axes.includes("n_key") && nKey > this.maxKeys) {
      throw new InputTooLargeError(
        `${name} is ${written(shape)}, ${nKey} keys; expected at most ${this.maxKeys} (maxSequenceLength raises the limit)`,
      );
    }
    return full.slice(0, first);
  }

  #refuseLead(name: string, shape: Shape, leading: Shape, before: Binding): never {
    const sources = before.names
      .map((other, i) => `${other} ${written(before.shapes[i] as Shape)}`)
      .join(" and ");
    throw mismatch(
      `${name} is ${written(shape)}; its leading dimensions ${written(leading)} do not broadcast with ${written(before.lead)}, from ${sources}`,
      before.lead,
      leading,
    );
  }
}

/** The common shape, or undefined where there is none. */
export function broadcast(a: Shape, b: Shape): Shape | undefined {
  const length = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let i = 0; i < length; i++) {
    const x = a[i - length + a.length] ?? 1;
    const y = b[i - length + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

function isSource(value: unknown): value is Source {
  return typeof value === "object" && value !== null && isResident(value as Source);
}

export function mismatch(message: string, expected: unknown, actual: unknown): DimensionMismatchError {
  return Object.assign(new DimensionMismatchError(message), { expected, actual });
}
