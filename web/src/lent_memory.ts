/**
 * Copies of a caller's arrays for another thread, and of a worker's results for the caller. The memory of the first comes
 * back when the other thread has done with them, a worker's with its answer, and the next copies are made in it; that of
 * the second is found between two calls: memory that the system has to find anew costs several times what the copy does.
 */
import type { TypedArray } from "./protocol.js";

/** Bytes of memory that is found faster than it travels. */
export const WORTH_RETURNING = 64 << 10;
/** Bytes that wait for the next call, where nobody says how many. */
const KEPT_BYTES = 4 << 20;

/** Those of a call's buffers that a worker returns. */
export function worthReturning(buffers: readonly ArrayBuffer[]): ArrayBuffer[] {
  let bytes = 0;
  return buffers.filter(({ byteLength }) => {
    if (byteLength < WORTH_RETURNING || bytes + byteLength > KEPT_BYTES) return false;
    bytes += byteLength;
    return true;
  });
}

/** Bytes that are found together, or more. */
const PAGE = 4096;

type ArrayClass = new (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray;

export class LentMemory {
  constructor(private readonly most = KEPT_BYTES) {}

  /** The longest unused first. */
  readonly #kept: ArrayBuffer[] = [];
  #bytes = 0;

  /**
   * What a worker may read while the caller goes on: a copy, but of memory that threads share the same elements; whoever
   * shares it knows that others read it.
   */
  readonly copyOf = (array: TypedArray): TypedArray => {
    const { buffer, byteOffset, byteLength, length } = array;
    const ArrayType = array.constructor as ArrayClass;
    // Of this length for good, should the memory grow meanwhile.
    if (canShare(buffer)) return new ArrayType(buffer, byteOffset, length);
    const at = this.#kept.findIndex((kept) => kept.byteLength === byteLength);
    const [kept] = at < 0 ? [] : this.#kept.splice(at, 1);
    if (!kept) return array.slice() as TypedArray;
    this.#bytes -= byteLength;
    const copy = new ArrayType(kept, 0, length);
    copy.set(array as never);
    return copy;
  };

  /** Takes memory back that the other thread has done with. */
  readonly takeBack = (buffers: readonly ArrayBuffer[]): void => {
    for (const buffer of buffers) {
      this.#kept.push(buffer);
      this.#bytes += buffer.byteLength;
    }
    while (this.#bytes > this.most) this.#bytes -= (this.#kept.shift() as ArrayBuffer).byteLength;
  };
}

/** Memory for results as large as the last ones were, which the caller keeps. */
export class SpareMemory {
  /** The longest unused first. */
  readonly #spare: ArrayBuffer[] = [];
  #bytes = 0;
  readonly #taken: number[] = [];

  readonly copyOf = (array: TypedArray): TypedArray => {
    const { byteLength, length } = array;
    if (byteLength < WORTH_RETURNING || byteLength > KEPT_BYTES) return array.slice() as TypedArray;
    this.#taken.push(byteLength);
    const at = this.#spare.findIndex((spare) => spare.byteLength === byteLength);
    if (at < 0) return array.slice() as TypedArray;
    this.#bytes -= byteLength;
    const copy = new (array.constructor as ArrayClass)(
      this.#spare.splice(at, 1)[0] as ArrayBuffer,
      0,
      length,
    );
    copy.set(array as never);
    return copy;
  };

  /** Finds memory in the place of what was taken, when nobody waits for it. */
  prepare(): void {
    for (const size of this.#taken.splice(0)) {
      const found = new Uint8Array(size);
      for (let i = 0; i < size; i += PAGE) found[i] = 0; // only what is written is really found
      this.#spare.push(found.buffer);
      this.#bytes += size;
    }
    while (this.#bytes > KEPT_BYTES) this.#bytes -= (this.#spare.shift() as ArrayBuffer).byteLength;
  }
}

/** A page must be isolated to send memory that it shares; Node always is. */
function canShare(buffer: ArrayBufferLike): boolean {
  const isShared = typeof SharedArrayBuffer !== "undefined" && buffer instanceof SharedArrayBuffer;
  return isShared && (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;
}
