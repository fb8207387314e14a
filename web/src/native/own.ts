/** Arguments of an asynchronous call that are the call's own: copied, or taken over where the caller says so. */
import { tensor } from "../tensor.js";

type View = Exclude<ArrayBufferView, DataView> & {
  readonly shape?: readonly number[];
  readonly length: number;
};
type ViewClass = new (buffer: ArrayBufferLike, offset: number, length: number) => View;

export function ownArguments<A extends readonly unknown[]>(args: A): A {
  const options = args.at(-1);
  const transfer = isPlain(options) && !("shape" in options) && options.transfer === true;
  const own = new Map<View, unknown>();
  mapped(args, (view) => {
    own.set(view, view);
    return view;
  });
  if (transfer) takeOver(own);
  else for (const view of own.keys()) own.set(view, isShared(view) ? view : copied(view));
  return mapped(args, (view) => own.get(view)) as A;
}

/** Views of the same memory stay views of the same memory; its length and place are gone once it is taken. */
function takeOver(own: Map<View, unknown>): void {
  const places = [...own.keys()].map((view) => {
    const { buffer, byteOffset, length, shape } = view;
    return { view, buffer, byteOffset, length, shape };
  });
  const taken = new Map<ArrayBufferLike, ArrayBufferLike>();
  for (const { view, buffer, byteOffset, length, shape } of places) {
    if (isShared(view)) continue;
    const mine = taken.get(buffer) ?? structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    taken.set(buffer, mine);
    own.set(view, shaped(new (view.constructor as ViewClass)(mine, byteOffset, length), shape));
  }
}

/** One that was detached stays as it is: the checks of the call say what is wrong with it. */
const copied = (view: View): unknown =>
  view.length === 0 ? view : shaped((view as unknown as { slice(): View }).slice(), view.shape);

const shaped = (view: View, shape: readonly number[] | undefined): unknown =>
  shape ? tensor(view as never, shape) : view;

/** Memory that several threads share cannot be detached, and whoever shares it knows that others read it. */
const isShared = ({ buffer }: View): boolean =>
  typeof SharedArrayBuffer !== "undefined" && buffer instanceof SharedArrayBuffer;

/** Plain data with every typed array in it replaced; lists of numbers are copied, objects of the runtime stay. */
function mapped(value: unknown, replace: (view: View) => unknown): unknown {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return replace(value as View);
  if (Array.isArray(value)) {
    return typeof value[0] === "number" ? value.slice() : value.map((item) => mapped(item, replace));
  }
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, mapped(item, replace)]));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
