/**
 * The kernels as a Node-API addon: they read typed arrays where they are and write into the results themselves. A
 * pointer is the number of an array times SPACE, plus a byte within it.
 */
import { AttentionError, InputTooLargeError, RuntimeLostError } from "../errors.js";
import { LentMemory } from "../lent_memory.js";
import { type Area, BAD_ARGUMENT, KernelCall, type Kernels } from "../wasm/kernels.js";
import type { NumberArray } from "../wasm/numbers.js";
import { WORTH_A_THREAD } from "../wasm/plan.js";
import type { Addon, KernelSpec, Target } from "./addon.js";
import { Arguments } from "./own.js";
import { execute, NativePlan } from "./plan.js";

/** Bytes that an array may have; 2^53 / SPACE arrays may be alive. */
const SPACE = 2 ** 34;
/** Elements whose strides fit the arguments' lower halves. */
const MOST_ELEMENTS = 2 ** 31 - 1;
/** Room for the argument blocks of all calls; what is never touched costs nothing. */
const BLOCKS = 1 << 20;
/** Bytes that wait for the copies of the next call. */
const KEPT_COPIES = 32 << 20;

type Held = Float32Array | Float64Array | Uint8Array | BigInt64Array;

/** A block of arguments, as the addon takes them. */
class NativeCall<Name extends string> extends KernelCall<Name> {
  constructor(
    spec: KernelSpec,
    index: number,
    at: number,
    slots: Readonly<Record<Name, number>>,
    readonly buffers: (Held | undefined)[],
    readonly block: BigInt64Array,
    /** Where the block says at which task to begin and to stop; -1 where the kernel has no tasks. */
    readonly start: number,
    readonly stop: number,
  ) {
    super(spec.name, index, at, slots, {
      buffers: spec.buffers.map(({ name }) => name),
      ints: spec.integers,
    });
  }
}

/** An array of its own for each use that needs one, or the caller's. */
class Place implements Area {
  #own: Float32Array | undefined;

  constructor(
    private readonly kernels: NativeKernels,
    readonly number: number,
  ) {}

  take(bytes: number): number {
    const count = Math.ceil(bytes / 4);
    if (this.#own === undefined || this.#own.length < count || this.kernels.isPlanning) {
      this.#own = new Float32Array(count);
    }
    return this.kernels.hold(this.number, this.#own);
  }

  trim(most: number): void {
    if (this.kernels.isPlanning || (this.#own?.byteLength ?? 0) > most) this.#own = undefined;
    this.kernels.drop(this.number);
  }
}

export class NativeKernels implements Kernels {
  readonly backend: string;
  readonly window = Number.POSITIVE_INFINITY;
  readonly words: Int32Array;
  readonly f64: Float64Array;
  readonly #target: Target;
  readonly #specs: readonly KernelSpec[];
  /** Of every array that a pointer may mean: the array, and bytes of an element. */
  readonly #arrays: (Held | undefined)[] = [undefined];
  readonly #sizes: number[] = [1];
  readonly #unused: number[] = [];
  /** By the number of a span: the list of buffers that it belongs to, and where in it. */
  readonly #lists: (Held | undefined)[][] = [];
  readonly #positions: number[] = [];
  #used = 0;
  #blocks = 0;
  #running = 0;
  #plan: NativePlan | undefined;
  readonly #lent = new LentMemory(KEPT_COPIES);

  constructor(
    addon: Addon,
    target: string,
    /** How many threads a large asynchronous call may use. */
    readonly threads: number,
  ) {
    this.backend = target;
    this.#target = addon.open(target);
    this.#specs = addon.kernels();
    const blocks = new ArrayBuffer(BLOCKS);
    this.words = new Int32Array(blocks);
    this.f64 = new Float64Array(blocks);
  }

  get isBusy(): boolean {
    return this.#running > 0;
  }

  get isPlanning(): boolean {
    return this.#plan !== undefined;
  }

  /** Bytes of the resident arrays: there is no memory beside them. */
  get heap(): { bytes: number; used: number } {
    return { bytes: this.#used, used: this.#used };
  }

  call<Name extends string>(kernel: string, names: readonly Name[]): KernelCall<Name> {
    const index = this.#specs.findIndex(({ name }) => name === kernel);
    const spec = this.#specs[index];
    if (!spec) throw new AttentionError(`the addon has no kernel ${kernel}`);
    const buffers = spec.buffers.filter(({ role }) => role !== "scratch").map(({ name }) => name);
    const spansAt = this.#blocks;
    const intsAt = spansAt + 16 * buffers.length;
    const floatsAt = intsAt + 8 * spec.integers.length;
    this.#blocks = Math.ceil((floatsAt + 8 * spec.floats.length) / 16) * 16;
    if (this.#blocks > BLOCKS) throw new AttentionError("there are too many calls of kernels");
    const list: (Held | undefined)[] = buffers.map(() => undefined);
    buffers.forEach((_, i) => {
      this.#lists[spansAt / 16 + i] = list;
      this.#positions[spansAt / 16 + i] = i;
    });
    const slot = (name: string): number => {
      for (const [known, start, step] of [
        [buffers, spansAt, 16],
        [spec.integers, intsAt, 8],
        [spec.floats, floatsAt, 8],
      ] as const) {
        const position = known.indexOf(name);
        if (position >= 0) return (start + position * step) / 4;
      }
      throw new AttentionError(`the kernel ${kernel} has no argument ${name}`);
    };
    const slots = Object.fromEntries(names.map((name) => [name, slot(name)])) as Record<Name, number>;
    const block = new BigInt64Array(
      this.words.buffer,
      spansAt,
      2 * buffers.length + spec.integers.length + spec.floats.length,
    );
    const [start, stop] = ["start", "stop"].map((name) =>
      spec.integers.includes(name) ? 2 * buffers.length + spec.integers.indexOf(name) : -1,
    ) as [number, number];
    return new NativeCall(spec, index, spansAt, slots, list, block, start, stop);
  }

  buffer(slot: number, pointer: number, count: number): void {
    const number = Math.floor(pointer / SPACE);
    const begin = (pointer - number * SPACE) / (this.#sizes[number] as number);
    this.#set(slot, this.#arrays[number], begin, count);
  }

  #set(slot: number, array: Held | undefined, begin: number, count: number): void {
    const { words } = this;
    (this.#lists[slot >>> 2] as (Held | undefined)[])[this.#positions[slot >>> 2] as number] = array;
    words[slot] = begin;
    words[slot + 1] = begin / 2 ** 32;
    words[slot + 2] = count;
    words[slot + 3] = count / 2 ** 32;
  }

  run(call: KernelCall<string>, work = 0, grain = 1): number {
    const { index, block, buffers, start, stop } = call as NativeCall<string>;
    if (this.#plan) {
      this.#plan.add({ step: [index, block.slice(), ...buffers], work, grain, start, stop });
      buffers.fill(undefined);
      return 0;
    }
    try {
      const status = this.#target.call(index, block, ...buffers);
      if (status < BAD_ARGUMENT) return status;
    } catch (error) {
      throw known(error);
    } finally {
      for (let i = 0; i < buffers.length; i++) buffers[i] = undefined; // the caller's arrays are not held any longer
    }
    throw new AttentionError(`${call.kernel}: the integers contradict one another`);
  }

  alloc(bytes: number): number {
    const count = Math.ceil(bytes / 4);
    if (count > MOST_ELEMENTS) throw tooLarge(count);
    const number = this.#unused.pop() ?? this.#arrays.length;
    if ((number + 1) * SPACE > Number.MAX_SAFE_INTEGER)
      throw new InputTooLargeError("too many arrays are alive");
    const array = allocated(count);
    this.#used += array.byteLength;
    return this.hold(number, array);
  }

  free(pointer: number): void {
    const number = Math.floor(pointer / SPACE);
    this.#used -= this.#arrays[number]?.byteLength ?? 0;
    this.drop(number);
    this.#unused.push(number);
  }

  write(pointer: number, data: NumberArray): void {
    const [array, at] = this.#found(pointer);
    array.set(data, at);
  }

  fill(pointer: number, count: number, value: number): void {
    const [array, at] = this.#found(pointer);
    array.fill(value, at, at + count);
  }

  read(pointer: number, count: number): Float32Array {
    const [array, at] = this.#found(pointer);
    return array.slice(at, at + count);
  }

  move(to: number, from: number, count: number): void {
    const [target, at] = this.#found(to);
    const [source, start] = this.#found(from);
    target.set(source.subarray(start, start + count), at);
  }

  area(): Area {
    const number = this.#arrays.length;
    this.hold(number, undefined);
    return new Place(this, number);
  }

  stage(area: Area, data: NumberArray, first: number, count: number): number {
    const { number } = area as Place;
    if (data.length > MOST_ELEMENTS) throw tooLarge(data.length);
    if (data instanceof Float32Array) return this.hold(number, data) + 4 * first;
    return this.hold(number, Float32Array.from(data.subarray(first, first + count)));
  }

  stageBytes(area: Area, data: NumberArray, first: number, count: number): number {
    const { number } = area as Place;
    if (data instanceof Uint8Array) return this.hold(number, data, 1) + first;
    return this.hold(number, Uint8Array.from(data.subarray(first, first + count)), 1);
  }

  stageIntegers(area: Area, data: ArrayLike<number>): number {
    return this.hold((area as Place).number, BigInt64Array.from(data as number[], BigInt), 8);
  }

  stageDoubles(area: Area, data: ArrayLike<number>): number {
    return this.hold((area as Place).number, Float64Array.from(data), 8);
  }

  give(slot: number, _area: Area, data: Float32Array, count: number): void {
    if (data.length > MOST_ELEMENTS) throw tooLarge(data.length);
    this.#set(slot, data, 0, count);
  }

  answer(
    call: KernelCall<string>,
    slot: number,
    _area: Area,
    count: number,
    work: number,
  ): Float32Array | undefined {
    const out = new Float32Array(count);
    this.#set(slot, out, 0, count);
    return this.run(call, work) === 0 ? out : undefined;
  }

  begin(area: Area, count: number, out?: Float32Array, at = 0): number {
    return this.hold((area as Place).number, out ?? new Float32Array(count)) + 4 * at;
  }

  finish(pointer: number, count: number, out?: Float32Array, at = 0): Float32Array {
    const [array, start] = this.#found(pointer);
    if (out === undefined || array === out) return array;
    out.set(array.subarray(start, start + count), at);
    return out;
  }

  /**
   * Little work is done here and now, on the arguments where they are; more on libuv's threads, on copies: nothing keeps
   * a caller from detaching an array that a thread still reads. What was handed over is not copied.
   */
  async later<A extends readonly unknown[], R>(args: A, body: (...args: A) => R): Promise<R> {
    const given = new Arguments(args, this.#lent);
    const plan = new NativePlan();
    const result = this.#with(plan, () => body(...given.here));
    // where a number was met that is not finite, the call in this thread judges it, and names it
    if (plan.work < WORTH_A_THREAD) return this.#runHere(plan) === 0 ? result : body(...given.here);
    const own = given.copied();
    plan.replace(given.own);
    this.#running++;
    try {
      if ((await execute(plan, this.#target, this.threads)) === 0) {
        given.done();
        return result;
      }
    } catch (error) {
      throw known(error);
    } finally {
      this.#running--;
    }
    return body(...own);
  }

  #runHere(plan: NativePlan): number {
    try {
      return plan.runHere(this.#target);
    } catch (error) {
      throw known(error);
    }
  }

  next(): void {
    this.#plan?.next();
  }

  now<R>(body: () => R): R {
    return this.#with(undefined, body);
  }

  #with<R>(plan: NativePlan | undefined, body: () => R): R {
    const before = this.#plan;
    this.#plan = plan;
    try {
      return body();
    } finally {
      this.#plan = before;
    }
  }

  /** @internal */
  hold(number: number, array: Held | undefined, size = 4): number {
    this.#arrays[number] = array;
    this.#sizes[number] = size;
    return number * SPACE;
  }

  /** @internal */
  drop(number: number): void {
    this.#arrays[number] = undefined;
  }

  #found(pointer: number): [Float32Array, number] {
    const number = Math.floor(pointer / SPACE);
    const array = this.#arrays[number];
    if (!(array instanceof Float32Array)) throw new RuntimeLostError("an array of the runtime was freed");
    return [array, (pointer - number * SPACE) / 4];
  }
}

function allocated(count: number): Float32Array {
  try {
    return new Float32Array(count);
  } catch {
    throw tooLarge(count);
  }
}

const tooLarge = (count: number): InputTooLargeError =>
  new InputTooLargeError(`there is no memory for an array of ${count} numbers`);

/** An error of the addon's as one of the package's. */
function known(error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (code === "RV_NO_MEMORY") return new InputTooLargeError(message);
  return typeof code === "string" && code.startsWith("RV_") ? new AttentionError(message) : error;
}
