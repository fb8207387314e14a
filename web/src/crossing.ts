/**
 * How a request gets into Python's memory and its reply out of it: as JSON, its arrays by one copy each. Nothing that
 * Python holds is seen from here longer than the request takes, and no proxy is made for it.
 */
import { InputTooLargeError } from "./errors.js";
import { type Answer, isWireArray, type TypedArray, type Verb, type Verbs, type Wire } from "./protocol.js";

/** What is used of a module of Python's, bridge.py. */
export interface Bridge {
  anchor: { getBuffer(kind: "u8"): { data: Uint8Array; release(): void } };
  room(size: number): number;
  exchange(text: string): string;
  leave(): void;
}

const ALIGNMENT = 64;
/** Bytes of results that Python keeps until the next request: another crossing would cost more. */
const HELD_BYTES = 1 << 20;

const CLASSES: Readonly<
  Record<string, new (buffer: ArrayBuffer, offset: number, length: number) => TypedArray>
> = {
  bool: Uint8Array,
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
};

/** Copies an array to where Python does not reach it any more. */
export type Keep = (array: TypedArray) => TypedArray;

export class Crossing {
  readonly #anchor: Bridge["anchor"];
  // Each of these is a proxy, made once.
  readonly #makeRoom: Bridge["room"];
  readonly #exchange: Bridge["exchange"];
  readonly #leave: Bridge["leave"];
  readonly #keep: Keep;
  #seen: ReturnType<Bridge["anchor"]["getBuffer"]> | undefined;
  /** Where Python has room for the arrays of requests, and how much. */
  #room = { address: 0, size: 0 };
  #isInside = false;
  #bytesRead = 0;

  constructor(bridge: Bridge, keep: Keep = (array) => array.slice()) {
    this.#anchor = bridge.anchor;
    this.#makeRoom = bridge.room;
    this.#exchange = bridge.exchange;
    this.#leave = bridge.leave;
    this.#keep = keep;
  }

  request<V extends Verb>(verb: V, args: Verbs[V]): Answer {
    const arrays: TypedArray[] = [];
    const text = `{"verb":"${verb}","args":${written(args as unknown as Wire, arrays)}}`;
    if (arrays.length > 0) this.#place(arrays);
    const wasInside = this.#isInside;
    this.#isInside = true;
    let keeps = true;
    try {
      const reply = JSON.parse(this.#exchange(text)) as Answer & { keeps?: true };
      ({ keeps = false } = reply);
      const answer = this.#read(reply as unknown as Wire) as unknown as Answer;
      if (this.#bytesRead > HELD_BYTES) this.#leave();
      return answer;
    } finally {
      this.#bytesRead = 0;
      this.#isInside = wasInside;
      if (keeps) this.#room = { address: 0, size: 0 };
    }
  }

  #place(arrays: readonly TypedArray[]): void {
    const size = arrays.reduce((sum, { byteLength }) => sum + aligned(byteLength), 0);
    // A request made while Python is at one finds the room taken.
    if (this.#isInside || size > this.#room.size) {
      const address = this.#makeRoom(size);
      this.#room = { address, size: address && size };
      if (address === 0) {
        throw new InputTooLargeError(
          `the arrays of the call have ${size} bytes; Python has no memory for them`,
        );
      }
    }
    const memory = new Uint8Array(this.#memory);
    let { address } = this.#room;
    for (const { buffer, byteOffset, byteLength } of arrays) {
      memory.set(new Uint8Array(buffer, byteOffset, byteLength), address);
      address += aligned(byteLength);
    }
  }

  /** The same value, its arrays as JavaScript's own. */
  #read(value: Wire): Wire {
    if (typeof value !== "object" || value === null) return value;
    if (isWireArray(value)) {
      const { shape, dtype } = value;
      const address = value.$array as unknown as number;
      const length = shape.reduce((a, b) => a * b, 1);
      const ArrayClass = CLASSES[dtype] as (typeof CLASSES)[string];
      // Python may have an array of nothing anywhere.
      const array = new ArrayClass(this.#memory, length && address, length);
      this.#bytesRead += array.byteLength;
      return { $array: this.#keep(array), shape, dtype };
    }
    if ("$number" in value) return numberFrom(value.$number as string);
    for (const key of Object.keys(value)) {
      const within = value as { [key: string]: Wire };
      within[key] = this.#read(within[key]);
    }
    return value;
  }

  /** Python's memory, which is another buffer after it has grown: the old one then has no bytes. */
  get #memory(): ArrayBuffer {
    if (!this.#seen?.data.length) {
      this.#seen?.release();
      this.#seen = this.#anchor.getBuffer("u8");
    }
    return this.#seen.data.buffer as ArrayBuffer;
  }
}

/** A value as JSON that bridge.py reads; its arrays go to the end of the list, and are told by where they will begin. */
function written(value: Wire, arrays: TypedArray[]): string {
  let begin = 0;
  const write = (value: Wire): string => {
    switch (typeof value) {
      case "number":
        return Number.isFinite(value) ? `${value}` : `{"$number":"${value}"}`;
      case "string":
        return JSON.stringify(value);
      case "boolean":
        return `${value}`;
      case "object": {
        if (value === null) return "null";
        if (Array.isArray(value)) return `[${value.map(write)}]`;
        if (isWireArray(value)) {
          const { $array, shape, dtype } = value;
          const at = begin;
          arrays.push($array);
          begin += aligned($array.byteLength);
          return `{"$array":${at},"shape":[${shape}],"dtype":"${dtype}"}`;
        }
        return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${write(item)}`)}}`;
      }
      default:
        return "null";
    }
  };
  return write(value);
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

/** One that JSON lacks: "nan", "inf", "-inf", or a whole number that only a bigint holds. */
function numberFrom(text: string): Wire {
  const known: Record<string, number> = { nan: Number.NaN, inf: Infinity, "-inf": -Infinity };
  return known[text] ?? (BigInt(text) as unknown as Wire);
}
