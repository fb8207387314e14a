/** How long a worker is left alive: one that keeps its start for the next may end that first, where nothing else runs. */
import type { Progress } from "./protocol.js";

/** Milliseconds that it gets for that. */
const GRACE = 30_000;

export class WorkerLife {
  readonly #terminate: () => void;
  readonly #hold: (isNeeded: boolean) => void;
  #waiting = false;
  #keeping = false;
  #grace: ReturnType<typeof setTimeout> | undefined;

  /** `hold` is told whether the program has to go on for its sake. */
  constructor(terminate: () => void, hold: (isNeeded: boolean) => void = () => {}) {
    this.#terminate = terminate;
    this.#hold = hold;
  }

  /** Whether a request is on its way. */
  busy(waiting: boolean): void {
    this.#waiting = waiting;
    this.#hold(waiting || this.#keeping);
  }

  heard({ keeping }: Progress): void {
    if (keeping === undefined) return;
    this.#keeping = keeping;
    if (!keeping && this.#grace !== undefined) this.#end();
    else this.#hold(this.#waiting || keeping);
  }

  /** Nobody needs it any more. */
  end(): void {
    // Requests on their way may be what has to be stopped.
    if (!this.#keeping || this.#waiting) this.#end();
    else this.#grace ??= setTimeout(() => this.#end(), GRACE);
  }

  #end(): void {
    clearTimeout(this.#grace);
    this.#terminate();
  }
}
