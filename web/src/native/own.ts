/** Arguments of an asynchronous call: read here and now as they are, or the call's own, copied or taken over. */
import { type LentMemory, WORTH_RETURNING } from "../lent_memory.js";
import { isDerived, isPlain, isShared, mapped, plainCopy, shaped, type View } from "../wasm/own.js";

type ViewClass = new (buffer: ArrayBufferLike, offset: number, length: number) => View;

/**
 * The arguments of one call. Another thread may read arrays of the caller's only as copies: nothing in Node-API keeps
 * their memory where it is when JavaScript transfers it, see docs/decisions/0014-what-a-thread-may-read.md. What was
 * handed over, or is shared memory, is nobody's to take away.
 */
export class Arguments<A extends readonly unknown[]> {
  /** As the caller gave them, each looked at once. Whoever reads them now needs no copy. */
  readonly here: A;
  /** The caller's arrays, and once there are some their copies. */
  readonly #copies = new Map<View, View>();
  #buffers: Set<ArrayBufferLike> | undefined;

  constructor(
    args: A,
    private readonly memory: LentMemory,
  ) {
    const options = args.at(-1);
    const transfer = isPlain(options) && !("shape" in options) && options.transfer === true;
    const views = new Map<View, unknown>();
    const found = mapped(args, (view) => {
      views.set(view, view);
      return view;
    }) as A;
    if (transfer) takeOver(views);
    else for (const view of views.keys()) if (!isShared(view)) this.#copies.set(view, view);
    this.here = transfer ? (mapped(found, (view) => views.get(view)) as A) : found;
  }

  /** The same with copies: what the caller does from now on changes nothing in them. */
  copied(): A {
    if (!this.#buffers) {
      this.#buffers = new Set([...this.#copies.keys()].map(({ buffer }) => buffer));
      for (const view of this.#copies.keys()) this.#copies.set(view, this.#copy(view));
    }
    return mapped(this.here, (view) => this.#copies.get(view) ?? view) as A;
  }

  /** The copy of an array of the caller's, or of a part of one; any other array as it is. After `copied`. */
  readonly own = <V>(array: V): V => {
    const view = array as unknown as View;
    const known = this.#copies.get(view);
    if (known || !this.#buffers?.has(view?.buffer)) return (known as V | undefined) ?? array;
    const copy = this.#copy(view);
    this.#copies.set(view, copy);
    return copy as V;
  };

  /** The call has ended, and nobody has these arguments any more: the next copies may lie where theirs are. */
  done(): void {
    if (!this.#buffers) return;
    const made = [...this.#copies].filter(([view, copy]) => copy !== view);
    const copies = new Set(made.map(([, { buffer }]) => buffer as ArrayBuffer));
    this.memory.takeBack([...copies].filter(({ byteLength }) => byteLength >= WORTH_RETURNING));
  }

  /** One that was detached stays as it is: the checks of the call say what is wrong with it. */
  #copy(view: View): View {
    if (view.length === 0) return view;
    if (isDerived(view)) return plainCopy(view);
    return shaped(this.memory.copyOf(view as never) as unknown as View, view.shape);
  }
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
    if (isDerived(view)) {
      own.set(view, plainCopy(view)); // a Buffer lies among others, which are not the caller's to give
      continue;
    }
    const mine = taken.get(buffer) ?? structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    taken.set(buffer, mine);
    own.set(view, shaped(new (view.constructor as ViewClass)(mine, byteOffset, length), shape));
  }
}
