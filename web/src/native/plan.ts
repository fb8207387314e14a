/** The kernel calls of one asynchronous call on libuv's threads. */
import { Plan, type Planned, rangesOf, WORTH_A_THREAD } from "../wasm/plan.js";
import type { Step, Target } from "./addon.js";

export interface NativeStep extends Planned {
  readonly step: Step;
  /** Where its block says at which task to begin and to stop; -1 where it has no tasks. */
  readonly start: number;
  readonly stop: number;
}

export class NativePlan extends Plan<NativeStep> {
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
export async function execute(plan: NativePlan, target: Target, threads: number): Promise<number> {
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
async function executeChain(chain: readonly NativeStep[], target: Target, threads: number): Promise<number> {
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

/** A call as several over parts of its tasks. */
export function split(planned: NativeStep, threads: number): Step[] {
  const { step, start, stop } = planned;
  if (start < 0 || stop < 0) return [step];
  const [kernel, block, ...buffers] = step;
  const ranges = rangesOf(planned, Number(block[start]), Number(block[stop]), threads);
  if (ranges.length < 2) return [step];
  return ranges.map(([from, to]) => {
    const own = block.slice();
    own[start] = BigInt(from);
    own[stop] = BigInt(to);
    return [kernel, own, ...buffers];
  });
}

/** The chains in `count` runs of about equal work. */
function sharesOf(chains: readonly NativeStep[][], count: number): NativeStep[][][] {
  const works = chains.map((chain) => chain.reduce((sum, { work }) => sum + work, 1));
  const total = works.reduce((sum, work) => sum + work, 0);
  const shares: NativeStep[][][] = Array.from({ length: count }, () => []);
  let done = 0;
  chains.forEach((chain, i) => {
    const work = works[i] as number;
    const middle = (done + work / 2) / total;
    (shares[Math.min(count - 1, Math.floor(middle * count))] as NativeStep[][]).push(chain);
    done += work;
  });
  return shares.filter((share) => share.length > 0);
}
