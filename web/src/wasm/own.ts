/** The arrays in the arguments of a call, one by one: an asynchronous call has its own, or copies. */
import { tensor } from "../tensor.js";

/** Arrays and objects within one another, beyond any that a call takes. */
const DEEPEST = 80;

export type View = Exclude<ArrayBufferView, DataView> & {
  readonly shape?: readonly number[];
  readonly length: number;
};

export const shaped = (view: View, shape: readonly number[] | undefined): View =>
  shape ? (tensor(view as never, shape) as unknown as View) : view;

const kindOf = (view: View): string =>
  (view as unknown as { [Symbol.toStringTag]: string })[Symbol.toStringTag];

/** Of a class made from the language's own: slice() of a Buffer shares its memory. */
export const isDerived = (view: View): boolean => view.constructor.name !== kindOf(view);

/** A copy of such a one, in the language's own class. */
export function plainCopy(view: View): View {
  type Class = new (from: View) => View;
  const Plain = (globalThis as unknown as Record<string, Class>)[kindOf(view)] as Class;
  return shaped(new Plain(view), view.shape);
}

/** Memory that several threads share cannot be detached, and whoever shares it knows that others read it. */
export const isShared = ({ buffer }: View): boolean =>
  typeof SharedArrayBuffer !== "undefined" && buffer instanceof SharedArrayBuffer;

/** Plain data with every typed array in it replaced; lists of numbers are copied, objects of the runtime stay. */
export function mapped(value: unknown, replace: (view: View) => unknown, depth = 0): unknown {
  if (depth > DEEPEST) return value; // the checks of the call refuse it
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return replace(value as View);
  if (Array.isArray(value)) {
    return typeof value[0] === "number"
      ? value.slice()
      : value.map((item) => mapped(item, replace, depth + 1));
  }
  if (!isPlain(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, mapped(item, replace, depth + 1)]),
  );
}

export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
