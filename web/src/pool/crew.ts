/**
 * Workers that may die at any time, and tasks that outlive them.
 *
 * A worker works through its tasks in their order, so the oldest of a dead one is the suspect: it runs once more, alone
 * on another worker. If that one dies too, the task is to blame. The tasks behind it go back into the queue as they were.
 */
import { PoisonedTaskError, RuntimeLostError } from "../errors.js";

/** What a worker must be. */
export interface Lasting {
  /** Called once when it is gone, before what it still has to answer rejects. */
  onLost: ((error: Error) => void) | undefined;
  readonly isLost: boolean;
  /** Ends it. */
  close(): void;
}

export interface CrewOptions<W extends Lasting> {
  readonly size: number;
  /** Tasks that a worker holds at most, the one that it works on among them. */
  readonly inFlight: number;
  /** Milliseconds for a task; a worker that takes longer is as good as dead. */
  readonly timeout: number | undefined;
  readonly open: () => Promise<W>;
  readonly onLost: (error: Error) => void;
}

interface Task<W> {
  readonly index: number;
  readonly run: (worker: W) => Promise<unknown>;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
  isSuspect: boolean;
}

/** The place of a worker; when it dies, the next one takes it. */
interface Seat<W> {
  worker: W | undefined;
  isOpening: boolean;
  /** In the order in which they were given to it. */
  tasks: Task<W>[];
  clock: ReturnType<typeof setTimeout> | undefined;
}

const MOST_FAILURES = 3; // workers in a row that do not start: the next would not either

export class Crew<W extends Lasting> {
  readonly #options: CrewOptions<W>;
  readonly #seats: Seat<W>[];
  readonly #queue: Task<W>[] = [];
  /** Tasks by their signal, until they are done. */
  readonly #heeded = new WeakMap<AbortSignal, Set<Task<W>>>();
  #failures = 0;
  #lost = 0;
  #closed = false;

  constructor(options: CrewOptions<W>) {
    this.#options = options;
    this.#seats = Array.from({ length: options.size }, () => newSeat());
  }

  /** Tasks that wait, tasks that workers hold, workers that run, and those that died so far. */
  get state(): { waiting: number; running: number; workers: number; lost: number } {
    const running = this.#seats.reduce((sum, { tasks }) => sum + tasks.length, 0);
    const workers = this.#seats.filter(({ worker }) => worker).length;
    return { waiting: this.#queue.length, running, workers, lost: this.#lost };
  }

  /** The workers that run. */
  get workers(): W[] {
    return this.#seats.flatMap(({ worker }) => (worker ? [worker] : []));
  }

  /** Starts a worker that is not running yet; rejects where it does not start. */
  async start(): Promise<W> {
    const seat = this.#seats.find(({ worker, isOpening }) => !worker && !isOpening) as Seat<W>;
    const failure = await this.#fill(seat);
    if (failure) throw failure;
    return seat.worker as W;
  }

  /** The task's result, from whichever worker lives long enough. Its index is what an error tells of it. */
  run<R>(run: (worker: W) => Promise<R>, index = 0, signal?: AbortSignal): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new RuntimeLostError("the pool was closed"));
      if (signal?.aborted) return reject(signal.reason);
      const task: Task<W> = { index, run, resolve, reject, signal, isSuspect: false };
      if (signal) this.#heed(signal).add(task);
      this.#queue.push(task);
      this.#assign();
    });
  }

  /** The tasks of a signal; one listener does for all of them. */
  #heed(signal: AbortSignal): Set<Task<W>> {
    let tasks = this.#heeded.get(signal);
    if (!tasks) {
      tasks = new Set();
      this.#heeded.set(signal, tasks);
      const stop = () => {
        for (const task of this.#heeded.get(signal) ?? []) {
          const at = this.#queue.indexOf(task);
          if (at >= 0) this.#queue.splice(at, 1);
          task.reject(signal.reason); // a worker that has it already answers unheard
        }
      };
      signal.addEventListener("abort", stop, { once: true });
    }
    return tasks;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const seat of this.#seats) {
      clearTimeout(seat.clock);
      seat.worker?.close();
      for (const task of seat.tasks.splice(0)) this.#fail(task, new RuntimeLostError("the pool was closed"));
      seat.worker = undefined;
    }
    for (const task of this.#queue.splice(0)) this.#fail(task, new RuntimeLostError("the pool was closed"));
  }

  /** Gives waiting tasks to workers with room, the emptiest first, and starts workers while tasks are left over. */
  #assign(): void {
    while (this.#queue.length > 0) {
      const [task] = this.#queue as [Task<W>];
      const seat = this.#roomFor(task);
      if (!seat) break;
      this.#queue.shift();
      this.#give(seat, task);
    }
    if (this.#failures >= MOST_FAILURES && this.workers.length > 0) return; // make do with those that run
    let wanted = this.#queue.length - this.#seats.filter(({ isOpening }) => isOpening).length;
    for (const seat of this.#seats) {
      if (wanted <= 0) return;
      if (seat.worker || seat.isOpening) continue;
      wanted--;
      void this.#fill(seat);
    }
  }

  #roomFor(task: Task<W>): Seat<W> | undefined {
    const most = task.isSuspect ? 0 : this.#options.inFlight - 1;
    let best: Seat<W> | undefined;
    for (const seat of this.#seats) {
      if (!seat.worker || seat.tasks.length > most || seat.tasks.some(({ isSuspect }) => isSuspect)) continue;
      if (!best || seat.tasks.length < best.tasks.length) best = seat;
    }
    // A second task for a worker waits there: rather start another worker, while there is one to start.
    const isSpare = ({ worker, isOpening }: Seat<W>): boolean => !worker && !isOpening;
    if (best && best.tasks.length > 0 && this.#failures < MOST_FAILURES && this.#seats.some(isSpare)) {
      void this.#fill(this.#seats.find(isSpare) as Seat<W>);
    }
    return best;
  }

  #give(seat: Seat<W>, task: Task<W>): void {
    const worker = seat.worker as W;
    seat.tasks.push(task);
    if (seat.tasks.length === 1) this.#watch(seat);
    const settle = (done: () => void): void => {
      if (seat.worker !== worker) return; // it died in between: #bury has dealt with the task
      seat.tasks.splice(seat.tasks.indexOf(task), 1);
      this.#watch(seat);
      done();
      this.#assign();
    };
    task.run(worker).then(
      (value) =>
        settle(() => {
          this.#forget(task);
          task.resolve(value as never);
        }),
      (error: unknown) => settle(() => this.#fail(task, error)),
    );
  }

  /** Measures the time of the task that a worker is at. */
  #watch(seat: Seat<W>): void {
    const { timeout } = this.#options;
    if (timeout === undefined) return;
    clearTimeout(seat.clock);
    const { worker } = seat;
    if (!worker || seat.tasks.length === 0) return;
    seat.clock = setTimeout(() => {
      this.#bury(seat, worker, new RuntimeLostError(`a worker took more than ${timeout} ms for a task`));
      worker.close();
    }, timeout);
  }

  #bury(seat: Seat<W>, worker: W, error: Error): void {
    if (seat.worker !== worker || this.#closed) return;
    clearTimeout(seat.clock);
    seat.worker = undefined;
    const [suspect, ...others] = seat.tasks.splice(0);
    this.#lost++;
    this.#queue.unshift(...others.filter(({ signal }) => !signal?.aborted));
    if (suspect && !suspect.signal?.aborted) {
      if (suspect.isSuspect) this.#fail(suspect, new PoisonedTaskError(suspect.index, error));
      else {
        suspect.isSuspect = true;
        this.#queue.unshift(suspect);
      }
    }
    this.#assign();
    this.#options.onLost(error); // the caller's code, which may raise
  }

  /** Starts a worker for a seat; answers what kept it from starting. */
  async #fill(seat: Seat<W>): Promise<unknown> {
    seat.isOpening = true;
    try {
      const worker = await this.#options.open();
      if (this.#closed) worker.close();
      else if (worker.isLost) throw new RuntimeLostError("a worker ended as soon as it had started");
      else {
        seat.worker = worker;
        worker.onLost = (error) => this.#bury(seat, worker, error);
      }
      this.#failures = 0;
      return undefined;
    } catch (error) {
      // Nothing runs or starts that could do what waits, and it would go on like this.
      const isLast = this.#seats.every((other) => other === seat || !(other.worker || other.isOpening));
      if (++this.#failures >= MOST_FAILURES && isLast) {
        for (const task of this.#queue.splice(0)) this.#fail(task, error);
        this.#failures = 0;
      }
      return error;
    } finally {
      seat.isOpening = false;
      this.#assign();
    }
  }

  #forget(task: Task<W>): void {
    if (task.signal) this.#heeded.get(task.signal)?.delete(task);
  }

  #fail(task: Task<W>, error: unknown): void {
    this.#forget(task);
    task.reject(error);
  }
}

function newSeat<W>(): Seat<W> {
  return { worker: undefined, isOpening: false, tasks: [], clock: undefined };
}
