/** The kernel calls of one asynchronous call, written down first and then spread over threads. */

/** Multiply-adds below which a thread costs more than it saves: handing a call over takes some 30 µs. */
export const WORTH_A_THREAD = 1_000_000;

/** A call of a kernel, as far as spreading it is concerned. */
export interface Planned {
  /** Multiply-adds. */
  readonly work: number;
  /** Where its tasks may be cut: multiples of this. */
  readonly grain: number;
}

export class Plan<P extends Planned> {
  work = 0;
  /** Calls that need each other's results one after the other; chains need nothing of one another. */
  readonly chains: P[][] = [[]];

  add(planned: P): void {
    this.work += planned.work;
    (this.chains.at(-1) as P[]).push(planned);
  }

  /** What is added from here on needs nothing of what was added before. */
  next(): void {
    if ((this.chains.at(-1) as P[]).length > 0) this.chains.push([]);
  }
}

/**
 * Tasks `first` … `last` of a call as at most so many ranges of them, as many as its work deserves; results do not
 * depend on it. What is not to be cut is one range.
 */
export function rangesOf(
  { work, grain }: Planned,
  first: number,
  last: number,
  most: number,
  worth = WORTH_A_THREAD,
): readonly (readonly [from: number, to: number])[] {
  const blocks = Math.floor((last - first) / grain); // whole ones: what is left over stays with the last
  const count = Math.max(1, Math.min(most, blocks, Math.floor(work / worth)));
  const bounds = Array.from({ length: count }, (_, i) => first + Math.floor((blocks * i) / count) * grain);
  return bounds.map((from, i) => [from, bounds[i + 1] ?? last]);
}
