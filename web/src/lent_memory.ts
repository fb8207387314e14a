/**
 * Copies of a caller's arrays for another thread. Their memory comes back when that has done with them, a worker's with
 * its answer, and the next copies are made in it: memory that the system has to find anew costs several times what the
 * copy does.
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

/** A page must be isolated to send memory that it shares; Node always is. */
function canShare(buffer: ArrayBufferLike): boolean {
  const isShared = typeof SharedArrayBuffer !== "undefined" && buffer instanceof SharedArrayBuffer;
  return isShared && (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;
}
