/** The kernels of one module: their table, their memory, and calls whose arguments are set by name. */
import { AttentionError, InputTooLargeError } from "../errors.js";
import type { KernelExports } from "./module.js";

/** enum rv_status. */
export const NON_FINITE = 1;
const BAD_ARGUMENT = 2;

/** enum rv_fault of bindings/wasm.c; an index follows each. */
const FAULTS = [
  "",
  "there is no such kernel",
  "an integer is negative",
  "a buffer is missing",
  "a buffer is too short for the integers",
  "a buffer lies outside of the heap",
  "a buffer is not aligned",
  "an output overlaps another buffer",
  "there is no memory for scratch",
];
const NO_MEMORY = 8;

const READER = new TextDecoder();

/** A kernel's block of arguments. Slots are word indices; what is never set stays 0, or NULL. */
export class KernelCall<Name extends string> {
  constructor(
    readonly kernel: string,
    readonly index: number,
    readonly pointer: number,
    /** Integers and floats by name, the pointer of every buffer; a buffer's count lies two words behind it. */
    readonly slots: Readonly<Record<Name, number>>,
    readonly names: { readonly buffers: readonly string[]; readonly ints: readonly string[] },
  ) {}
}

interface Entry {
  index: number;
  buffers: string[];
  ints: string[];
  floats: string[];
}

/** One instance of a module. Memory may grow in `alloc` and `run`: views are taken anew from here after both. */
export class Kernels {
  /** What the module was compiled for: "wasm-simd128" … */
  readonly backend: string;
  f32!: Float32Array;
  u8!: Uint8Array;
  words!: Int32Array;
  f64!: Float64Array;
  readonly #exports: KernelExports;
  readonly #table = new Map<string, Entry>();
  readonly #blocks = { bytes: 0, ints: 0, floats: 0 };

  constructor(exports: KernelExports) {
    this.#exports = exports;
    this.#refresh();
    const at = exports.rv_describe() >>> 2;
    const [target, kernels, count, kernelBytes, bufferBytes, bytes, ints, floats] = this.words.subarray(
      at,
      at + 8,
    );
    this.backend = this.#text(target as number);
    this.#blocks = { bytes: bytes as number, ints: ints as number, floats: floats as number };
    for (let index = 0; index < (count as number); index++) {
      const spec = ((kernels as number) + index * (kernelBytes as number)) >>> 2;
      // rv_kernel_spec: name, three counts, then three lists of as many names
      const [name, nBuffers, nInts, nFloats, buffers, intNames, floatNames] = this.words.subarray(
        spec,
        spec + 7,
      );
      this.#table.set(this.#text(name as number), {
        index,
        buffers: this.#texts(buffers as number, nBuffers as number, bufferBytes as number),
        ints: this.#texts(intNames as number, nInts as number, 4),
        floats: this.#texts(floatNames as number, nFloats as number, 4),
      });
    }
  }

  /** Bytes of the whole memory, and those of them in use. */
  get heap(): { bytes: number; used: number } {
    return { bytes: this.u8.length, used: this.#exports.rv_bytes_used() >>> 0 };
  }

  /** A block for calls of a kernel in which these arguments are set; kept for as long as the module lives. */
  call<Name extends string>(kernel: string, names: readonly Name[]): KernelCall<Name> {
    const entry = this.#table.get(kernel);
    if (!entry) throw new AttentionError(`the module has no kernel ${kernel}`);
    const pointer = this.alloc(this.#blocks.bytes);
    this.u8.fill(0, pointer, pointer + this.#blocks.bytes);
    const slot = (name: string): number => {
      for (const [list, start, step] of [
        [entry.buffers, 0, 16],
        [entry.ints, this.#blocks.ints, 8],
        [entry.floats, this.#blocks.floats, 8],
      ] as const) {
        const position = list.indexOf(name);
        if (position >= 0) return (pointer + start + position * step) >>> 2;
      }
      throw new AttentionError(`the kernel ${kernel} has no argument ${name}`);
    };
    const slots = Object.fromEntries(names.map((name) => [name, slot(name)])) as Record<Name, number>;
    return new KernelCall(kernel, entry.index, pointer, slots, entry);
  }

  /** Sets a buffer: where it is and how many elements it has; pointer 0 is none. */
  buffer(slot: number, pointer: number, count: number): void {
    this.words[slot] = pointer;
    this.words[slot + 2] = count;
  }

  /** Runs the kernel; NON_FINITE is for the caller to judge, everything else is thrown. */
  run(call: KernelCall<string>): number {
    const status = this.#exports.rv_call_kernel(call.index, call.pointer);
    if (this.f32.length === 0) this.#refresh(); // detached: the call's scratch made the memory grow
    if (status < 0 || status >= BAD_ARGUMENT) throw this.#fault(call, status);
    return status;
  }

  /** Memory, 64-byte aligned, with arbitrary contents. */
  alloc(bytes: number): number {
    const pointer = bytes < 2 ** 32 ? this.#exports.rv_alloc(bytes) >>> 0 : 0;
    if (this.f32.length === 0) this.#refresh();
    if (pointer === 0) throw full(bytes);
    return pointer;
  }

  free(pointer: number): void {
    this.#exports.rv_free(pointer);
  }

  #refresh(): void {
    const { buffer } = this.#exports.memory;
    this.f32 = new Float32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  #fault(call: KernelCall<string>, status: number): AttentionError {
    if (status === BAD_ARGUMENT)
      return new AttentionError(`${call.kernel}: the integers contradict one another`);
    const kind = Math.floor(-status / 64);
    if (kind === NO_MEMORY) return full(0);
    const names = kind === 2 ? call.names.ints : call.names.buffers;
    return new AttentionError(
      `${call.kernel}, ${names[-status % 64] ?? "kernel"}: ${FAULTS[kind] ?? "refused"}`,
    );
  }

  #text(pointer: number): string {
    return READER.decode(this.u8.subarray(pointer, this.u8.indexOf(0, pointer)));
  }

  #texts(list: number, count: number, step: number): string[] {
    return Array.from({ length: count }, (_, i) => this.#text(this.words[(list + i * step) >>> 2] as number));
  }
}

function full(bytes: number): InputTooLargeError {
  const more = bytes > 0 ? `${bytes} bytes more were asked for` : "more was asked for";
  return new InputTooLargeError(`the memory of the kernels is full: ${more}; it holds at most 4 GB`);
}

/** Memory that is kept between calls and grows as it must; what is unusually large is given back after the call. */
export class Area {
  #pointer = 0;
  #bytes = 0;

  constructor(private readonly kernels: Kernels) {}

  /** At least so many bytes; what they hold is lost when they grow. */
  take(bytes: number): number {
    if (bytes > this.#bytes) {
      const wanted = Math.ceil(bytes / 4096) * 4096;
      this.release();
      this.#pointer = this.kernels.alloc(wanted);
      this.#bytes = wanted;
    }
    return this.#pointer;
  }

  /** Gives back what is above `most` bytes. */
  trim(most: number): void {
    if (this.#bytes > most) this.release();
  }

  release(): void {
    if (this.#pointer !== 0) this.kernels.free(this.#pointer);
    this.#pointer = this.#bytes = 0;
  }
}
