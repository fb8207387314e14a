/**
 * The kernels on a memory that several threads share. A promise's calls are written down first, on copies of their
 * arguments that are made once; threads make them in parts, and their results are copied out.
 */
import { abortable } from "../../abort.js";
import { InputTooLargeError } from "../../errors.js";
import { type Area, type KernelCall, ModuleKernels } from "../kernels.js";
import type { KernelExports } from "../module.js";
import type { NumberArray } from "../numbers.js";
import { mapped, plainCopy, shaped, type View } from "../own.js";
import { Plan, WORTH_A_THREAD } from "../plan.js";
import type { Crew } from "./crew.js";
import { CANCELLED, type Runner } from "./job.js";
import { type PlannedCall, type Span, wavesOf } from "./program.js";
import { layOut } from "./write.js";

export interface ThreadExports extends KernelExports, Runner {
  readonly __stack_pointer: WebAssembly.Global;
  rv_check_call(index: number, call: number): number;
}

const DTYPE_BYTES = [4, 1, 4, 8, 8]; // enum rv_dtype
const OUT = 2; // enum rv_role: outputs are this and the next, scratch is behind them
const SCRATCH = 4;

/** So many times what a part is worth must be there to do, or handing it over and waiting takes longer. */
const WORTH_HANDING_OVER = 8;

/** A kernel's arguments, as far as calls side by side must know them. */
interface Shape {
  readonly buffers: readonly { readonly size: number; readonly role: number }[];
  readonly start: number;
  readonly stop: number;
}

/** What one promise needs until it is kept. */
class Writing extends Plan<PlannedCall> {
  /** Where arrays of JavaScript lie in the kernels' memory. */
  readonly places = new Map<object, number>();
  /** Arguments and what stands for them. */
  readonly own = new Map<object, NumberArray>();
  readonly held: number[] = [];
  readonly areas = new Map<Area, readonly [pointer: number, bytes: number]>();
  /** What is copied out when all is done. */
  readonly results: (readonly [pointer: number, count: number, out: Float32Array, at: number])[] = [];

  constructor(readonly id: number) {
    super();
  }
}

/** A place that is kept for the calls of this thread, and lent for those that are written down. */
class PlannedArea implements Area {
  constructor(
    private readonly kernels: SharedKernels,
    private readonly kept: Area,
  ) {}

  take(bytes: number, ofKernels = false): number {
    return this.kernels.lend(this, bytes, ofKernels) ?? this.kept.take(bytes);
  }

  trim(most: number): void {
    if (!this.kernels.isPlanning) this.kept.trim(most);
  }
}

export class SharedKernels extends ModuleKernels {
  /** Multiply-adds that make a part; tests make it small. */
  worth = WORTH_A_THREAD;
  readonly #own: ThreadExports;
  readonly #shapes = new Map<string, Shape>();
  #crew: Crew | undefined;
  #plan: Writing | undefined;
  /** For calls that are made here. */
  #block = 0;
  #lastId = 0;
  /** Promises that are not kept yet. */
  readonly #running = new Set<number>();
  /** What is to be freed once no promise up to that one is left. */
  #retired: { pointer: number; id: number }[] = [];

  constructor(
    exports: ThreadExports,
    memory: WebAssembly.Memory,
    private readonly most: string,
  ) {
    super(exports, memory);
    this.#own = exports;
  }

  /** @internal */
  join(crew: Crew): void {
    this.#crew = crew;
  }

  /** The threads that run, else this one. */
  get threads(): number {
    return Math.max(1, this.#crew?.size ?? 1);
  }

  override get heap(): { bytes: number; used: number } {
    this.#sweep();
    return super.heap;
  }

  override get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** Whether no promise is left, and no thread looks for more at what one had: the memory in use is then for good. */
  get isSettled(): boolean {
    this.#sweep();
    return this.#running.size === 0 && this.#retired.length === 0;
  }

  get isPlanning(): boolean {
    return this.#plan !== undefined;
  }

  override run(call: KernelCall<string>, work = 0, grain = 1): number {
    if (!this.#plan) return super.run(call);
    const refused = this.#own.rv_check_call(call.index, call.pointer);
    if (this.hasGrown) this.refresh();
    this.judged(call, refused);
    const { buffers, start, stop } = this.#shapeOf(call);
    const block = this.u8.slice(call.pointer, call.pointer + this.blocks.bytes);
    const words = new Int32Array(block.buffer);
    const [reads, writes]: [Span[], Span[]] = [[], []];
    let [scratchAt, scratch] = [0, 0];
    buffers.forEach(({ size, role }, i) => {
      const from = (words[4 * i] as number) >>> 0;
      const bytes = size * (words[4 * i + 2] as number);
      if (role === SCRATCH) [scratchAt, scratch] = [4 * i, bytes];
      else if (from !== 0) (role < OUT ? reads : writes).push([from, from + bytes]);
    });
    this.#plan.add({
      kernel: call.index, block, reads, writes, scratchAt, scratch, start, stop, work, grain,
    }); // biome-ignore format: one call
    return 0;
  }

  override alloc(bytes: number): number {
    try {
      return super.alloc(bytes);
    } catch (error) {
      (error as Error).message = (error as Error).message.replace("4 GB", this.most);
      throw error;
    }
  }

  override free(pointer: number): void {
    if (this.#running.size === 0) super.free(pointer);
    else this.#retired.push({ pointer, id: this.#lastId });
  }

  /** Engines copy out of shared memory with `set` several times as fast as with `slice`. */
  override read(pointer: number, count: number): Float32Array {
    const copy = new Float32Array(count);
    copy.set(this.f32.subarray(pointer >>> 2, (pointer >>> 2) + count));
    return copy;
  }

  override area(): Area {
    return new PlannedArea(this, super.area());
  }

  override stage(area: Area, data: NumberArray, first: number, count: number): number {
    if (!this.#plan) return super.stage(area, data, first, count);
    const place = () => {
      const pointer = this.#hold(4 * data.length);
      this.write(pointer, data);
      return pointer;
    };
    return this.#placed(data, place) + 4 * first;
  }

  override stageBytes(area: Area, data: NumberArray, first: number, count: number): number {
    if (!this.#plan) return super.stageBytes(area, data, first, count);
    const place = () => {
      const pointer = this.#hold(data.length);
      this.u8.set(data, pointer);
      return pointer;
    };
    return this.#placed(data, place) + first;
  }

  override begin(area: Area, count: number, out?: Float32Array, at = 0): number {
    if (!this.#plan) return super.begin(area, count);
    if (out) return this.#placed(out, () => this.#hold(4 * out.length)) + 4 * at;
    return this.#hold(4 * count);
  }

  override finish(pointer: number, count: number, out?: Float32Array, at = 0): Float32Array {
    if (!this.#plan) return super.finish(pointer, count, out, at);
    const result = out ?? new Float32Array(count);
    // A kernel that reads the result finds it where it was written.
    if (!out) this.#plan.places.set(result, pointer);
    this.#plan.results.push([pointer, count, result, at]);
    return result;
  }

  override async later<A extends readonly unknown[], R>(args: A, body: (...args: A) => R): Promise<R> {
    const plan = new Writing(++this.#lastId);
    this.#running.add(plan.id);
    let own: A;
    let result: R;
    try {
      own = this.#with(plan, () => mapped(args, (view) => this.#ownView(plan, view)) as A);
      result = this.#with(plan, () => body(...own));
    } catch (error) {
      this.#release(plan);
      // There is room for windows of the arguments, if not for all of them.
      if (error instanceof InputTooLargeError) return body(...args);
      throw error;
    }
    if (plan.work < WORTH_HANDING_OVER * this.worth || !this.#crew) {
      try {
        const status = this.#runHere(plan);
        return status === 0 ? this.#collected(plan, result) : body(...own);
      } finally {
        this.#release(plan);
      }
    }
    const { signal } = (Object(args.at(-1)) as { signal?: AbortSignal | null }) ?? {};
    return abortable(
      this.#runThere(plan, result, () => body(...own), signal ?? undefined),
      signal ?? undefined,
    );
  }

  override next(): void {
    this.#plan?.next();
    this.#plan?.areas.clear(); // what is independent shares no place
  }

  override now<R>(body: () => R): R {
    return this.#with(undefined, body);
  }

  close(): void {
    this.#crew?.close();
  }

  /** Where an area lies for the call that is being written down; undefined where none is. @internal */
  lend(area: Area, bytes: number, ofKernels: boolean): number | undefined {
    if (!this.#plan) return undefined;
    const [pointer, size] = this.#plan.areas.get(area) ?? [0, -1];
    if (ofKernels && size === bytes) return pointer;
    const fresh = this.#hold(bytes);
    if (ofKernels) this.#plan.areas.set(area, [fresh, bytes]);
    return fresh;
  }

  /** A shared buffer never shrinks and is never detached: the old one goes on, the new one is longer. */
  protected override get hasGrown(): boolean {
    return this.f32.buffer !== this.memory.buffer;
  }

  async #runThere<R>(plan: Writing, result: R, again: () => R, signal?: AbortSignal): Promise<R> {
    const crew = this.#crew as Crew;
    let stop: (() => void) | undefined;
    try {
      const waves = wavesOf(plan, this.threads, this.worth);
      const layout = layOut(plan.id, waves, this.blocks.bytes, crew.hands);
      const job = { id: plan.id, pointer: this.#hold(layout.bytes, plan) };
      layout.write(job.pointer, this.words, this.u8);
      stop = () => crew.cancel(job);
      signal?.addEventListener("abort", stop, { once: true });
      const status = await crew.run(job);
      if (status === 0) return this.#collected(plan, result);
      if (status === CANCELLED) return result; // nobody hears it
      return again(); // it met a number that is not finite: the call in this thread judges it, and names it
    } finally {
      if (stop) signal?.removeEventListener("abort", stop);
      this.#release(plan);
    }
  }

  /** All calls in this thread; the first status that is not 0. */
  #runHere({ chains }: Writing): number {
    this.#block ||= this.alloc(this.blocks.bytes);
    for (const { kernel, block } of chains.flat()) {
      this.u8.set(block, this.#block);
      const status = this.exports.rv_call_kernel(kernel, this.#block);
      if (status !== 0) return status;
    }
    return 0;
  }

  #collected<R>(plan: Writing, result: R): R {
    for (const [pointer, count, out, at] of plan.results) super.finish(pointer, count, out, at);
    return result;
  }

  #with<R>(plan: Writing | undefined, body: () => R): R {
    const before = this.#plan;
    this.#plan = plan;
    try {
      return body();
    } finally {
      this.#plan = before;
    }
  }

  /** An argument as the call's own: numbers as the kernels read them lie in their memory from here on. */
  #ownView(plan: Writing, view: View): unknown {
    if (view.length === 0) return view;
    const known = plan.own.get(view);
    if (known) return known;
    const { shape } = view;
    let own: NumberArray;
    if (view instanceof Float32Array) {
      const pointer = this.#hold(view.byteLength, plan);
      this.write(pointer, view);
      own = new Float32Array(this.memory.buffer, pointer, view.length);
      plan.places.set(own, pointer);
      own = shaped(own as unknown as View, shape) as unknown as NumberArray;
    } else own = plainCopy(view) as unknown as NumberArray;
    plan.own.set(view, own);
    return own;
  }

  #placed(array: object, place: () => number): number {
    const { places } = this.#plan as Writing;
    const known = places.get(array);
    if (known !== undefined) return known;
    const pointer = place();
    places.set(array, pointer);
    return pointer;
  }

  /** Memory until the promise is kept. */
  #hold(bytes: number, plan = this.#plan as Writing): number {
    const pointer = this.alloc(bytes);
    plan.held.push(pointer);
    return pointer;
  }

  #release(plan: Writing): void {
    this.#running.delete(plan.id);
    for (const pointer of plan.held) this.#retired.push({ pointer, id: 0 });
    this.#sweep();
  }

  /** Frees what no promise and no thread has need of any longer. */
  #sweep(): void {
    const oldest = Math.min(...this.#running);
    this.#retired = this.#retired.filter(({ pointer, id }) => {
      if (oldest <= id || this.#crew?.isLookedAt(pointer)) return true;
      super.free(pointer);
      return false;
    });
  }

  #shapeOf({ kernel, names }: KernelCall<string>): Shape {
    let shape = this.#shapes.get(kernel);
    if (!shape) {
      const { spec } = this.table.get(kernel) as { spec: number };
      const bufferBytes = this.words[(this.exports.rv_describe() >>> 2) + 4] as number;
      const list = this.words[spec + 4] as number;
      // rv_buffer_spec: the name, and a byte each for the type and the role
      const buffers = names.buffers.map((_, i) => {
        const [dtype, role] = this.u8.subarray(list + i * bufferBytes + 4, list + i * bufferBytes + 6);
        return { size: DTYPE_BYTES[dtype as number] as number, role: role as number };
      });
      const [start, stop] = ["start", "stop"].map((name) => {
        const at = names.ints.indexOf(name);
        return at < 0 ? -1 : (this.blocks.ints + 8 * at) / 4;
      }) as [number, number];
      shape = { buffers, start, stop };
      this.#shapes.set(kernel, shape);
    }
    return shape;
  }
}
