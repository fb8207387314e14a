/** The threads of one runtime, and the jobs that they are at. A thread that ends is made up for: no job waits for it. */
import { LoadError, RuntimeLostError } from "../../errors.js";
import { IN_NODE } from "../../places.js";
import { CANCELLED, Hand, LOOKING, MOST_JOBS, type Runner, SLOTS, STATUS, WAVE, WAVES } from "./job.js";
import type { Said, Start } from "./thread.js";

/** Where the script lies, or what starts it: bundlers look for `new Worker(new URL(…, import.meta.url))`. */
export type ThreadScript = string | URL | (() => Worker);

/** A started worker, in whichever engine. */
interface Thread {
  send(start: Start): void;
  /** Whether it keeps a program alive that has nothing else to do. */
  keep(alive: boolean): void;
  end(): void;
}

interface Events {
  onSaid(said: Said): void;
  onLost(reason: string): void;
}

export interface Job {
  readonly id: number;
  /** In the shared memory, laid out as job.ts has it. */
  readonly pointer: number;
}

interface Active extends Job {
  /** Its slot, once it has one. */
  slot: number;
  resolve(status: number): void;
  reject(error: Error): void;
}

export const STACK_BYTES = 64 << 10;
/** Words that job.ts's board has. */
export const boardWords = (threads: number): number => LOOKING + threads + 1;

export interface Place {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Byte where the board is, zeroed. */
  readonly board: number;
  /** Where the stacks of the threads begin. */
  readonly stacks: readonly number[];
  readonly runner: Runner;
}

export class Crew {
  readonly #threads: (Thread | undefined)[] = [];
  readonly #jobs = new Map<number, Active>();
  readonly #waiting: Active[] = [];
  readonly #place: Place;
  readonly #board: number;
  /** The host, where it must lend a hand itself. */
  readonly #host: Hand;
  #closed = false;

  /** Resolves when all have started; rejects, and leaves none, where one does not. */
  static async start(place: Place, script: ThreadScript): Promise<Crew> {
    const crew = new Crew(place);
    try {
      await Promise.all(place.stacks.map((_, number) => crew.#start(number, script)));
    } catch (error) {
      crew.close();
      throw error;
    }
    return crew;
  }

  private constructor(place: Place) {
    this.#place = place;
    this.#board = place.board >>> 2;
    const { runner, memory, stacks } = place;
    this.#host = new Hand(runner, memory, this.#board, stacks.length, (id) => this.#ended(id));
  }

  /** Threads that run. */
  get size(): number {
    return this.#threads.reduce((count, thread) => count + Number(thread !== undefined), 0);
  }

  /** Threads there were, and the host: each needs scratch memory of its own. */
  get hands(): number {
    return this.#place.stacks.length + 1;
  }

  /** The job's status, once nothing of it runs any longer. */
  run(job: Job): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(closed());
      const active: Active = { ...job, slot: -1, resolve, reject };
      this.#jobs.set(job.id, active);
      this.#waiting.push(active);
      this.#keep();
      this.#seat();
    });
  }

  /** What has not begun of a job is left out. */
  cancel({ pointer, id }: Job): void {
    if (this.#jobs.has(id))
      Atomics.compareExchange(this.#words(pointer), (pointer >>> 2) + STATUS, 0, CANCELLED);
  }

  /** Whether a thread may still look at the memory of a job that has ended. */
  isLookedAt(pointer: number): boolean {
    const words = this.#words(this.#place.board);
    for (let hand = 0; hand <= this.#place.stacks.length; hand++)
      if (Atomics.load(words, this.#board + LOOKING + hand) === (pointer | 0)) return true;
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const thread of this.#threads) thread?.end();
    this.#threads.fill(undefined);
    for (const job of this.#jobs.values()) job.reject(closed());
    this.#jobs.clear();
  }

  async #start(number: number, script: ThreadScript): Promise<void> {
    const { module, memory, stacks } = this.#place;
    const lock = IN_NODE || !navigator.locks ? undefined : `ruvector-attention ${crypto.randomUUID()}`;
    await new Promise<void>((resolve, reject) => {
      const lost = (reason: string): void => {
        thread?.end();
        reject(unstarted(reason));
        this.#lose(number, thread);
      };
      const onSaid = (said: Said): void => {
        if ("ended" in said) this.#ended(said.ended);
        else if ("failed" in said) lost(said.failed);
        else {
          this.#threads[number] = thread;
          // The lock is free again when the thread has ended, of which a browser does not always tell.
          if (lock) void navigator.locks.request(lock, () => lost("it ended"));
          if (this.#closed) thread?.end();
          resolve();
        }
      };
      let thread: Thread | undefined;
      const begin = (started: Thread): void => {
        thread = started;
        const stack = (stacks[number] as number) + STACK_BYTES;
        thread.send({ module, memory, stack, board: this.#board, number, lock });
      };
      startWorker(script, { onSaid, onLost: lost })
        .then(begin)
        .catch((error) => lost(String(error)));
    });
    this.#keep();
  }

  #ended(id: number): void {
    const job = this.#jobs.get(id);
    if (!job) return;
    this.#jobs.delete(id);
    const words = this.#words(job.pointer);
    if (job.slot >= 0) Atomics.store(words, job.slot, 0);
    this.#seat();
    this.#keep();
    job.resolve(Atomics.load(words, (job.pointer >>> 2) + STATUS));
  }

  /** Gives jobs that wait a place where the threads find them. */
  #seat(): void {
    const words = this.#words(this.#place.board);
    let isNew = false;
    for (let slot = this.#board + SLOTS; slot < this.#board + SLOTS + MOST_JOBS; slot++) {
      if (this.#waiting.length === 0) break;
      if (Atomics.load(words, slot) !== 0) continue;
      const job = this.#waiting.shift() as Active;
      job.slot = slot;
      Atomics.store(words, slot, job.pointer);
      isNew = true;
    }
    if (isNew) this.#host.wake();
    if (isNew && this.size === 0) this.#lendAHand();
  }

  /** A thread has ended: what it had taken is for the others to do, and for the host where there are none. */
  #lose(number: number, thread: Thread | undefined): void {
    if (this.#closed || thread === undefined || this.#threads[number] !== thread) return;
    this.#threads[number] = undefined;
    const words = this.#words(this.#place.board);
    Atomics.store(words, this.#board + LOOKING + number, 0);
    for (const job of [...this.#jobs.values()]) {
      if (job.slot < 0) continue;
      this.#host.takeBack(job.pointer, number);
      const at = job.pointer >>> 2;
      const of = this.#words(job.pointer); // a thread that ended it may have told nobody
      if (Atomics.load(of, at + WAVE) === Atomics.load(of, at + WAVES)) this.#ended(job.id);
    }
    this.#host.wake();
    if (this.size === 0) this.#lendAHand();
  }

  #lendAHand(): void {
    try {
      this.#host.work();
    } catch (error) {
      const lost = new RuntimeLostError(`the kernels stopped: ${error}`);
      for (const job of this.#jobs.values()) job.reject(lost);
      this.#jobs.clear();
    }
  }

  /** Only what is under way keeps a program alive. */
  #keep(): void {
    for (const thread of this.#threads) thread?.keep(this.#jobs.size > 0);
  }

  #words(pointer: number): Int32Array {
    return this.#host.words((pointer >>> 2) + boardWords(this.#place.stacks.length));
  }
}

const unstarted = (reason: string): LoadError =>
  new LoadError(`a thread of the kernels does not start: ${reason}`);

const closed = (): RuntimeLostError => new RuntimeLostError("the runtime was closed");

async function startWorker(script: ThreadScript, events: Events): Promise<Thread> {
  return IN_NODE ? startInNode(script as string | URL, events) : startInPage(script, events);
}

function startInPage(script: ThreadScript, { onSaid, onLost }: Events): Thread {
  const worker = typeof script === "function" ? script() : new Worker(script, { type: "module" });
  const place = typeof script === "function" ? "its script" : script;
  worker.addEventListener("message", ({ data }: MessageEvent<Said>) => onSaid(data));
  worker.addEventListener("error", ({ message }) => onLost(message || `cannot load ${place}`));
  worker.addEventListener("messageerror", () => onLost("it sent a message that cannot be read"));
  return {
    send: (start) => worker.postMessage(start),
    keep: () => {},
    end: () => worker.terminate(),
  };
}

async function startInNode(script: string | URL, { onSaid, onLost }: Events): Promise<Thread> {
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(new URL(script), { execArgv: [] });
  worker.on("message", onSaid);
  worker.on("messageerror", (error) => onLost(String(error)));
  worker.on("error", (error) => onLost(error.message));
  worker.on("exit", (code) => onLost(`it ended with code ${code}`));
  return {
    send: (start) => worker.postMessage(start),
    keep: (alive) => (alive ? worker.ref() : worker.unref()),
    end: () => void worker.terminate(),
  };
}
