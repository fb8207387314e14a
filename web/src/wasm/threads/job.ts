/**
 * A job in the memory that all threads share: kernel calls in parts, which threads take one by one, and the parts in
 * waves, each of which begins when the one before it is done. Whoever finishes a wave's last part begins the next.
 *
 * Words of a job from its pointer on: the ones named here, `waves + 1` numbers of parts, the parts, the calls; behind
 * them the blocks of the calls. No thread's end can harm it: what a dead one had taken is given back, and that a wave is
 * done is read from its parts.
 */

/** Words of the memory by which threads and their host find each other. */
export const EPOCH = 0; // grows whenever there may be something to do
export const SLOTS = 1; // pointers of jobs, 0 for none
export const MOST_JOBS = 16;
/** Behind the slots: the job that each thread looks at, whose memory must stay. */
export const LOOKING = SLOTS + MOST_JOBS;

/** Words of a job. */
export const WAVE = 0; // the one that runs; as many as there are once the job is done
export const WAVES = 1;
export const STATUS = 2; // the first that was not 0: what has not begun is left out
export const ID = 3;
export const SCRATCH = 4; // of the first thread; bytes from one to the next
export const SCRATCH_STEP = 5;
export const BLOCKS = 6; // of the first call; bytes from one to the next
export const BLOCK_STEP = 7;
export const HEAD = 8;

/** A part: its state, and its calls from … to. */
export const PART_WORDS = 3;
export const FREE = 0; // else the number of a thread plus 1
export const DONE = -1;
/** A call: its kernel, and where its block names the scratch memory, in words; 0 where it needs none. */
export const CALL_WORDS = 2;

/** A status beyond those of kernels: nobody wants the result any longer. */
export const CANCELLED = 1 << 8;

export interface Runner {
  rv_run_kernel(index: number, call: number): number;
}

/** One who takes parts: a thread, or the host where there is no thread left. */
export class Hand {
  #words: Int32Array;

  constructor(
    private readonly runner: Runner,
    private readonly memory: WebAssembly.Memory,
    /** Where EPOCH is. */
    private readonly board: number,
    readonly number: number,
    /** Told of every job that ends here. */
    private readonly onEnd: (id: number) => void,
  ) {
    this.#words = new Int32Array(memory.buffer);
  }

  /** The memory up to here at least; it only grows, and what was taken of it stays good. */
  words(end: number): Int32Array {
    if (4 * end > this.#words.byteLength) this.#words = new Int32Array(this.memory.buffer);
    return this.#words;
  }

  /** Does what there is to do; whether there was something. */
  work(): boolean {
    const board = this.words(this.board + LOOKING + this.number + 1);
    const looking = this.board + LOOKING + this.number;
    let hasWorked = false;
    for (let slot = this.board + SLOTS; slot < this.board + LOOKING; slot++) {
      const job = Atomics.load(board, slot);
      if (job === 0) continue;
      Atomics.store(board, looking, job);
      // Only what still is in its slot after that is not freed meanwhile.
      while (Atomics.load(board, slot) === job && this.#takePart(job >>> 2)) hasWorked = true;
      Atomics.store(board, looking, 0);
    }
    return hasWorked;
  }

  /** For ever. */
  serve(): never {
    const board = this.words(this.board + 1);
    for (;;) {
      const seen = Atomics.load(board, this.board + EPOCH);
      if (!this.work()) Atomics.wait(board, this.board + EPOCH, seen);
    }
  }

  /** Gives back what a thread had taken when it ended. */
  takeBack(pointer: number, thread: number): void {
    const job = pointer >>> 2;
    const [words, parts, , all] = this.#layout(job);
    for (let part = 0; part < all; part++)
      Atomics.compareExchange(words, parts + part * PART_WORDS, thread + 1, FREE);
    this.#advance(job, Atomics.load(words, job + WAVE));
  }

  /** Tells threads that there may be something to do. */
  wake(): void {
    const board = this.words(this.board + 1);
    Atomics.add(board, this.board + EPOCH, 1);
    Atomics.notify(board, this.board + EPOCH);
  }

  /** Words; where the parts begin and the calls; how many parts there are. */
  #layout(job: number): [words: Int32Array, parts: number, calls: number, all: number] {
    let words = this.words(job + HEAD);
    const waves = words[job + WAVES] as number;
    words = this.words(job + HEAD + waves + 1);
    const all = words[job + HEAD + waves] as number;
    const parts = job + HEAD + waves + 1;
    const calls = parts + all * PART_WORDS;
    return [this.words((words[job + BLOCKS] as number) >>> 2), parts, calls, all];
  }

  #takePart(job: number): boolean {
    const [words, parts, calls] = this.#layout(job);
    const wave = Atomics.load(words, job + WAVE);
    if (wave >= (words[job + WAVES] as number)) return false;
    const [first, end] = [words[job + HEAD + wave] as number, words[job + HEAD + wave + 1] as number];
    for (let part = first; part < end; part++) {
      const at = parts + part * PART_WORDS;
      if (Atomics.load(words, at) !== FREE) continue;
      if (Atomics.compareExchange(words, at, FREE, this.number + 1) !== FREE) continue;
      this.#run(job, calls, words[at + 1] as number, words[at + 2] as number);
      Atomics.store(words, at, DONE);
      this.#advance(job, wave);
      return true;
    }
    return false;
  }

  #run(job: number, calls: number, from: number, to: number): void {
    const head = this.words(job + HEAD);
    const [blocks, step] = [(head[job + BLOCKS] as number) >>> 0, head[job + BLOCK_STEP] as number];
    const scratch = head[job + SCRATCH] as number;
    const ownScratch = scratch + this.number * (head[job + SCRATCH_STEP] as number);
    for (let call = from; call < to; call++) {
      if (Atomics.load(head, job + STATUS) !== 0) return;
      const block = blocks + call * step;
      const words = this.words((block + step) >>> 2);
      const at = calls + call * CALL_WORDS;
      const place = words[at + 1] as number;
      if (place !== 0) words[(block >>> 2) + place] = ownScratch;
      const status = this.runner.rv_run_kernel(words[at] as number, block);
      if (status !== 0) Atomics.compareExchange(words, job + STATUS, 0, status);
    }
  }

  /** The next wave, where this one is done. */
  #advance(job: number, wave: number): void {
    const [words, parts] = this.#layout(job);
    const waves = words[job + WAVES] as number;
    if (wave >= waves) return;
    const end = words[job + HEAD + wave + 1] as number;
    for (let part = words[job + HEAD + wave] as number; part < end; part++)
      if (Atomics.load(words, parts + part * PART_WORDS) !== DONE) return;
    const next = Atomics.load(words, job + STATUS) === 0 ? wave + 1 : waves;
    const id = words[job + ID] as number; // once it is done, its memory may be freed
    const isMany = next < waves && (words[job + HEAD + next + 1] as number) - end > 1;
    if (Atomics.compareExchange(words, job + WAVE, wave, next) !== wave) return;
    if (next === waves) this.onEnd(id);
    else if (isMany) this.wake();
  }
}
