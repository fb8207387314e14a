/** The kernel calls of one asynchronous call, written down first and then made on libuv's threads. */
import type { Step, Target } from "./addon.js";

/** Multiply-adds below which a thread costs more than it saves: handing a call over takes some 30 µs. */
export const WORTH_A_THREAD = 1_000_000;

export interface Planned {
  readonly step: Step;
  readonly work: number;
  /** Where its tasks may be cut: multiples of this. */
  readonly grain: number;
  /** Where its block says at which task to begin and to stop; -1 where it has no tasks. */
  readonly start: number;
  readonly stop: number;
}

export class Plan {
  work = 0;
  /** Calls that need each other's results one after the other; chains need nothing of one another. */
  readonly chains: Planned[][] = [[]];

  add(planned: Planned): void {
    this.work += planned.work;
    (this.chains.at(-1) as Planned[]).push(planned);
  }

  /** What is added from here on needs nothing of what was added before. */
  next(): void {
    if ((this.chains.at(-1) as Planned[]).length > 0) this.chains.push([]);
  }

  /** Gives the calls these arrays instead of theirs. */
  replace(own: <V>(array: V) => V): void {
    for (const chain of this.chains)
      for (const { step } of chain) for (let i = 2; i < step.length; i++) step[i] = own(step[i]) as never;
  }

  /** All calls in this thread; the first status that is not 0. */
  runHere(target: Target): number {
    for (const chain of this.chains) {
      for (const { step } of chain) {
        const status = target.call(...step);
        if (status !== 0) return status;
      }
    }
    return 0;
  }
}

/** All calls on other threads; a status that is not 0, if there was one. */
export async function execute(plan: Plan, target: Target, threads: number): Promise<number> {
  const { chains } = plan;
  if (chains.length < threads) {
    for (const chain of chains) {
      const status = await executeChain(chain, target, threads);
      if (status !== 0) return status;
    }
    return 0;
  }
  const shares = sharesOf(chains, Math.min(threads, Math.ceil(plan.work / WORTH_A_THREAD)));
  return all(shares.map((share) => target.callAsync(share.flat().map(({ step }) => step))));
}

/** One after the other, each split where that is worth it. */
async function executeChain(chain: readonly Planned[], target: Target, threads: number): Promise<number> {
  let together: Step[] = [];
  const flush = async (): Promise<number> => {
    const steps = together;
    together = [];
    return steps.length > 0 ? target.callAsync(steps) : 0;
  };
  for (const planned of chain) {
    const parts = split(planned, threads);
    if (parts.length === 1) {
      together.push(planned.step);
      continue;
    }
    const status = (await flush()) || (await all(parts.map((part) => target.callAsync([part]))));
    if (status !== 0) return status;
  }
  return flush();
}

/** All are waited for, whatever fails: none may run on when the call has ended. */
async function all(running: readonly Promise<number>[]): Promise<number> {
  const ends = await Promise.allSettled(running);
  const failed = ends.find((end) => end.status === "rejected");
  if (failed) throw failed.reason;
  return ends.reduce((most, end) => Math.max(most, end.status === "fulfilled" ? end.value : 0), 0);
}

/** A call as several over parts of its tasks, as many as its work deserves; results do not depend on it. */
export function split({ step, work, grain, start, stop }: Planned, threads: number): Step[] {
  const [kernel, block, ...buffers] = step;
  if (start < 0 || stop < 0) return [step];
  const [first, last] = [Number(block[start]), Number(block[stop])];
  const blocks = Math.floor((last - first) / grain); // whole ones: what is left over stays with the last
  const count = Math.min(threads, blocks, Math.floor(work / WORTH_A_THREAD));
  if (count < 2) return [step];
  const bounds = Array.from({ length: count }, (_, i) => first + Math.floor((blocks * i) / count) * grain);
  return bounds.map((begin, i) => {
    const own = block.slice();
    own[start] = BigInt(begin);
    own[stop] = BigInt(bounds[i + 1] ?? last);
    return [kernel, own, ...buffers];
  });
}

/** The chains in `count` runs of about equal work. */
function sharesOf(chains: readonly Planned[][], count: number): Planned[][][] {
  const works = chains.map((chain) => chain.reduce((sum, { work }) => sum + work, 1));
  const total = works.reduce((sum, work) => sum + work, 0);
  const shares: Planned[][][] = Array.from({ length: count }, () => []);
  let done = 0;
  chains.forEach((chain, i) => {
    const work = works[i] as number;
    const middle = (done + work / 2) / total;
    (shares[Math.min(count - 1, Math.floor(middle * count))] as Planned[][]).push(chain);
    done += work;
  });
  return shares.filter((share) => share.length > 0);
}
