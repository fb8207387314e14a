/**
 * The kernels as the engine calls them, whoever hosts them: a pointer is a number that stands for a place where they can
 * read, 0 for none. This file is the WebAssembly module, into whose memory arrays are copied.
 */
import { AttentionError, InputTooLargeError } from "../errors.js";
import type { KernelExports } from "./module.js";
import type { NumberArray } from "./numbers.js";

/** enum rv_status. */
export const NON_FINITE = 1;
export const BAD_ARGUMENT = 2;

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
  /** Where its rv_kernel_spec lies. */
  spec: number;
  buffers: string[];
  ints: string[];
  floats: string[];
}

/** What the engine asks of its kernels. */
export interface Kernels {
  /** The instruction set that they were compiled for: "wasm-simd128", "avx2" … */
  readonly backend: string;
  /** How many threads a large asynchronous call may use; left out, one. */
  readonly threads?: number;
  /** Bytes of keys and values that are worth copying at a time; Infinity where nothing is copied. */
  readonly window: number;
  /** Whether calls are under way that read what is resident: then it is replaced, never altered. */
  readonly isBusy: boolean;
  /** Bytes of the memory for resident arrays, and those of them in use. */
  readonly heap: { bytes: number; used: number };
  /** Arguments of calls, at the slots that `call` gave; an integer's upper half is the next word. */
  readonly words: Int32Array;
  readonly f64: Float64Array;
  /** A block for calls of a kernel in which these arguments are set. */
  call<Name extends string>(kernel: string, names: readonly Name[]): KernelCall<Name>;
  /** Sets a buffer for the next run: where it is and how many elements it has; pointer 0 is none. */
  buffer(slot: number, pointer: number, count: number): void;
  /**
   * Runs the kernel; NON_FINITE is for the caller to judge, everything else is thrown. `work` says how many
   * multiply-adds that is; a host with threads may split it where its integer `stop` is a multiple of `grain`.
   */
  run(call: KernelCall<string>, work?: number, grain?: number): number;
  /** Memory for resident arrays of float32, 64-byte aligned, with arbitrary contents. */
  alloc(bytes: number): number;
  free(pointer: number): void;
  write(pointer: number, data: NumberArray): void;
  fill(pointer: number, count: number, value: number): void;
  /** A copy. */
  read(pointer: number, count: number): Float32Array;
  move(to: number, from: number, count: number): void;
  /** A place for what calls read or write one after the other. */
  area(): Area;
  /** Where the kernels can read these elements as float32, bytes or int64; valid until the area is used again. */
  stage(area: Area, data: NumberArray, first: number, count: number): number;
  stageBytes(area: Area, data: NumberArray, first: number, count: number): number;
  stageIntegers(area: Area, data: ArrayLike<number>): number;
  /** Float64 where the kernels can read it. */
  stageDoubles(area: Area, data: ArrayLike<number>): number;
  /** Where a kernel writes `count` elements: those of `out` from `at` on, or of a new array. */
  begin(area: Area, count: number, out?: Float32Array, at?: number): number;
  /** Sets a buffer for the next run: the first `count` elements of an array. */
  give(slot: number, area: Area, data: Float32Array, count: number): void;
  /** Runs the kernel with a new array as its output: that, or undefined where its status is NON_FINITE. */
  answer(
    call: KernelCall<string>,
    slot: number,
    area: Area,
    count: number,
    work: number,
  ): Float32Array | undefined;
  /** What it wrote there, as `begin` was told. */
  finish(pointer: number, count: number, out?: Float32Array, at?: number): Float32Array;
  /** A promise of what `body` computes of these arguments, which are read at once. */
  later<A extends readonly unknown[], R>(args: A, body: (...args: A) => R): Promise<R>;
  /** Inside of `later`: what follows needs nothing of what went before. */
  next(): void;
  /** Computes before it returns, inside of `later` too. */
  now<R>(body: () => R): R;
  /** Ends the threads, where there are some; no call is made after it. */
  close?(): void;
}

/** Memory that is kept between calls and grows as it must. */
export interface Area {
  /**
   * At least so many bytes; what they hold is lost when they grow. Where the kernels alone write there (`ofKernels`), a
   * call that is written down first has the same place again.
   */
  take(bytes: number, ofKernels?: boolean): number;
  /** Gives back what is above `most` bytes. */
  trim(most: number): void;
}

/** One instance of a module. Memory may grow in `alloc` and `run`: views are taken anew from here after both. */
export class ModuleKernels implements Kernels {
  /** What the module was compiled for: "wasm-simd128" … */
  readonly backend: string;
  readonly window = 512 << 10;
  f32!: Float32Array;
  u8!: Uint8Array;
  words!: Int32Array;
  f64!: Float64Array;
  protected readonly table = new Map<string, Entry>();
  /** Bytes of a block, and where its integers and floats begin. */
  protected readonly blocks: { readonly bytes: number; readonly ints: number; readonly floats: number };

  constructor(
    protected readonly exports: KernelExports,
    protected readonly memory = exports.memory,
  ) {
    this.refresh();
    const at = exports.rv_describe() >>> 2;
    const [target, kernels, count, kernelBytes, bufferBytes, bytes, ints, floats] = this.words.subarray(
      at,
      at + 8,
    );
    this.backend = this.#text(target as number);
    this.blocks = { bytes: bytes as number, ints: ints as number, floats: floats as number };
    for (let index = 0; index < (count as number); index++) {
      const spec = ((kernels as number) + index * (kernelBytes as number)) >>> 2;
      // rv_kernel_spec: name, three counts, then three lists of as many names
      const [name, nBuffers, nInts, nFloats, buffers, intNames, floatNames] = this.words.subarray(
        spec,
        spec + 7,
      );
      this.table.set(this.#text(name as number), {
        index,
        spec,
        buffers: this.#texts(buffers as number, nBuffers as number, bufferBytes as number),
        ints: this.#texts(intNames as number, nInts as number, 4),
        floats: this.#texts(floatNames as number, nFloats as number, 4),
      });
    }
  }

  get isBusy(): boolean {
    return false;
  }

  get heap(): { bytes: number; used: number } {
    return { bytes: this.u8.length, used: this.exports.rv_bytes_used() >>> 0 };
  }

  call<Name extends string>(kernel: string, names: readonly Name[]): KernelCall<Name> {
    const entry = this.table.get(kernel);
    if (!entry) throw new AttentionError(`the module has no kernel ${kernel}`);
    const pointer = this.alloc(this.blocks.bytes);
    this.u8.fill(0, pointer, pointer + this.blocks.bytes);
    const slot = (name: string): number => {
      for (const [list, start, step] of [
        [entry.buffers, 0, 16],
        [entry.ints, this.blocks.ints, 8],
        [entry.floats, this.blocks.floats, 8],
      ] as const) {
        const position = list.indexOf(name);
        if (position >= 0) return (pointer + start + position * step) >>> 2;
      }
      throw new AttentionError(`the kernel ${kernel} has no argument ${name}`);
    };
    const slots = Object.fromEntries(names.map((name) => [name, slot(name)])) as Record<Name, number>;
    return new KernelCall(kernel, entry.index, pointer, slots, entry);
  }

  buffer(slot: number, pointer: number, count: number): void {
    this.words[slot] = pointer;
    this.words[slot + 2] = count;
  }

  run(call: KernelCall<string>, _work?: number): number {
    const status = this.exports.rv_call_kernel(call.index, call.pointer);
    if (this.hasGrown) this.refresh(); // for the call's scratch
    return this.judged(call, status);
  }

  alloc(bytes: number): number {
    const pointer = bytes < 2 ** 32 ? this.exports.rv_alloc(bytes) >>> 0 : 0;
    if (this.hasGrown) this.refresh();
    if (pointer === 0) throw full(bytes);
    return pointer;
  }

  free(pointer: number): void {
    this.exports.rv_free(pointer);
  }

  write(pointer: number, data: NumberArray): void {
    this.f32.set(data, pointer >>> 2);
  }

  fill(pointer: number, count: number, value: number): void {
    this.f32.fill(value, pointer >>> 2, (pointer >>> 2) + count);
  }

  read(pointer: number, count: number): Float32Array {
    return this.f32.slice(pointer >>> 2, (pointer >>> 2) + count);
  }

  move(to: number, from: number, count: number): void {
    this.f32.copyWithin(to >>> 2, from >>> 2, (from >>> 2) + count);
  }

  area(): Area {
    return new KeptMemory(this);
  }

  stage(area: Area, data: NumberArray, first: number, count: number): number {
    const pointer = area.take(4 * count);
    const whole = first === 0 && count === data.length;
    this.f32.set(whole ? data : data.subarray(first, first + count), pointer >>> 2);
    return pointer;
  }

  stageBytes(area: Area, data: NumberArray, first: number, count: number): number {
    const pointer = area.take(count);
    this.u8.set(data.subarray(first, first + count), pointer);
    return pointer;
  }

  stageIntegers(area: Area, data: ArrayLike<number>): number {
    const pointer = area.take(8 * data.length);
    for (let i = 0, at = pointer >>> 2; i < data.length; i++, at += 2) {
      this.words[at] = data[i] as number;
      this.words[at + 1] = 0;
    }
    return pointer;
  }

  stageDoubles(area: Area, data: ArrayLike<number>): number {
    const pointer = area.take(8 * data.length);
    this.f64.set(data, pointer >>> 3);
    return pointer;
  }

  give(slot: number, area: Area, data: Float32Array, count: number): void {
    this.buffer(slot, this.stage(area, data, 0, count), count);
  }

  answer(
    call: KernelCall<string>,
    slot: number,
    area: Area,
    count: number,
    work: number,
  ): Float32Array | undefined {
    const out = this.begin(area, count);
    this.buffer(slot, out, count);
    return this.run(call, work) === 0 ? this.finish(out, count) : undefined;
  }

  begin(area: Area, count: number): number {
    return area.take(4 * count);
  }

  finish(pointer: number, count: number, out?: Float32Array, at = 0): Float32Array {
    if (!out) return this.read(pointer, count);
    out.set(this.f32.subarray(pointer >>> 2, (pointer >>> 2) + count), at);
    return out;
  }

  async later<A extends readonly unknown[], R>(args: A, body: (...args: A) => R): Promise<R> {
    return body(...args);
  }

  next(): void {}

  now<R>(body: () => R): R {
    return body();
  }

  /** Views are detached when memory grows. */
  protected get hasGrown(): boolean {
    return this.f32.length === 0;
  }

  protected refresh(): void {
    const { buffer } = this.memory;
    this.f32 = new Float32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** The status, or what is wrong with the call. */
  protected judged(call: KernelCall<string>, status: number): number {
    if (status < 0 || status >= BAD_ARGUMENT) throw this.#fault(call, status);
    return status;
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
    return READER.decode(this.u8.slice(pointer, this.u8.indexOf(0, pointer)));
  }

  #texts(list: number, count: number, step: number): string[] {
    return Array.from({ length: count }, (_, i) => this.#text(this.words[(list + i * step) >>> 2] as number));
  }
}

function full(bytes: number): InputTooLargeError {
  const more = bytes > 0 ? `${bytes} bytes more were asked for` : "more was asked for";
  return new InputTooLargeError(`the memory of the kernels is full: ${more}; it holds at most 4 GB`);
}

class KeptMemory implements Area {
  #pointer = 0;
  #bytes = 0;

  constructor(private readonly kernels: ModuleKernels) {}

  take(bytes: number): number {
    if (bytes > this.#bytes) {
      const wanted = Math.ceil(bytes / 4096) * 4096;
      this.#release();
      this.#pointer = this.kernels.alloc(wanted);
      this.#bytes = wanted;
    }
    return this.#pointer;
  }

  trim(most: number): void {
    if (this.#bytes > most) this.#release();
  }

  #release(): void {
    if (this.#pointer !== 0) this.kernels.free(this.#pointer);
    this.#pointer = this.#bytes = 0;
  }
}
