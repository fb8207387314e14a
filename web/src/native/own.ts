/** Arguments of an asynchronous call that are the call's own: copied, or taken over where the caller says so. */
import { type Tensor, tensor } from "../tensor.js";

type View = Exclude<ArrayBufferView, DataView> & {
  readonly shape?: readonly number[];
  readonly length: number;
};
type ViewClass = new (buffer: ArrayBufferLike, offset: number, length: number) => View;

/** Memory that several threads share cannot be detached, and whoever shares it knows that others read it. */
const isShared = ({ buffer }: View): boolean =>
  typeof SharedArrayBuffer !== "undefined" && buffer instanceof SharedArrayBuffer;

export function ownArguments<A extends readonly unknown[]>(args: A): A {
  const taken = new Map<ArrayBufferLike, ArrayBufferLike>();
  const options = args.at(-1);
  const transfer = isPlain(options) && !("shape" in options) && options.transfer === true;
  const own = (value: unknown): unknown => {
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return ownView(value as View);
    if (Array.isArray(value)) return typeof value[0] === "number" ? value.slice() : value.map(own);
    if (!isPlain(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, own(item)]));
  };
  const ownView = (view: View): unknown => {
    if (isShared(view)) return view;
    const Class = view.constructor as ViewClass;
    let copy: View;
    if (transfer) {
      const buffer =
        taken.get(view.buffer) ?? structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
      taken.set(view.buffer, buffer);
      copy = new Class(buffer, view.byteOffset, view.length);
    } else {
      copy = (view as unknown as { slice(): View }).slice();
    }
    return view.shape ? (tensor(copy as never, view.shape) as Tensor) : copy;
  };
  return args.map(own) as unknown as A;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
