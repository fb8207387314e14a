/** What threads are to do of a plan: its calls as parts that may run side by side, in waves one after the other. */
import { type Plan, type Planned, rangesOf } from "../plan.js";

/** Bytes from … to that a call reads or writes. */
export type Span = readonly [from: number, to: number];

/** A call that is written down. */
export interface PlannedCall extends Planned {
  readonly kernel: number;
  /** A copy of its rv_call. */
  readonly block: Uint8Array;
  readonly reads: readonly Span[];
  readonly writes: readonly Span[];
  /** Where the block names the scratch memory, in words, and bytes of it; 0 where it needs none. */
  readonly scratchAt: number;
  readonly scratch: number;
  /** Where the block says at which task to begin and to stop, in words; -1 where it has no tasks. */
  readonly start: number;
  readonly stop: number;
}

/** A part: calls that one thread makes one after the other. */
export type Part = readonly PlannedCall[];

/** Parts for one thread: so many that all are busy to the end, however the work falls. */
const SHARES = 3;

/** The waves of a plan for so many threads; `worth`: multiply-adds that make a part. */
export function wavesOf({ chains }: Plan<PlannedCall>, threads: number, worth: number): Part[][] {
  // Many chains are a part each: nothing has to be waited for.
  if (chains.length >= 2 * threads) return [together(chains, worth)];
  return independent(chains.flat()).map((calls) => partsOf(calls, threads, worth));
}

/** Chains in a row as one part until they are worth a thread. */
function together(chains: readonly PlannedCall[][], worth: number): Part[] {
  const parts: PlannedCall[][] = [];
  let room = 0;
  for (const chain of chains) {
    if (chain.length === 0) continue;
    if (room <= 0) {
      parts.push([]);
      room = worth;
    }
    (parts.at(-1) as PlannedCall[]).push(...chain);
    room -= chain.reduce((sum, { work }) => sum + work, 0);
  }
  return parts;
}

/** Calls in runs, none of which reads or writes what another of its run writes. */
function independent(calls: readonly PlannedCall[]): PlannedCall[][] {
  const runs: PlannedCall[][] = [];
  for (const call of calls) {
    const run = runs.at(-1);
    if (run && run.length < 64 && !run.some((other) => conflict(other, call))) run.push(call);
    else runs.push([call]);
  }
  return runs;
}

const conflict = (a: PlannedCall, b: PlannedCall): boolean =>
  meet(a.writes, b.reads) || meet(a.writes, b.writes) || meet(a.reads, b.writes);

const meet = (some: readonly Span[], others: readonly Span[]): boolean =>
  some.some(([from, to]) => others.some((other) => from < other[1] && other[0] < to));

/** The calls of a wave: the large ones cut, small ones in a row as one part. */
function partsOf(calls: readonly PlannedCall[], threads: number, worth: number): Part[] {
  const parts: Part[] = [];
  const small: PlannedCall[][] = [];
  for (const call of calls) {
    const cut = split(call, SHARES * threads, worth);
    if (cut.length > 1) parts.push(...cut.map((part) => [part]));
    else small.push([call]);
  }
  return [...parts, ...together(small, worth)];
}

/** A call as several over ranges of its tasks. */
function split(call: PlannedCall, most: number, worth: number): PlannedCall[] {
  const { block, start, stop } = call;
  if (start < 0 || stop < 0) return [call];
  const words = new Int32Array(block.buffer);
  const ranges = rangesOf(call, words[start] as number, words[stop] as number, most, worth);
  if (ranges.length < 2) return [call];
  return ranges.map(([from, to]) => {
    const own = block.slice();
    const ownWords = new Int32Array(own.buffer);
    ownWords[start] = from;
    ownWords[stop] = to;
    return { ...call, block: own };
  });
}
