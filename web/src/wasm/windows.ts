/**
 * Attention whose keys and values do not fit the window: block of queries by block of keys, each copied when its turn
 * comes, so that extra memory stays a window's. A block leaves its output and its log-sum-exp; the result is
 * softmax(log-sum-exps) over the blocks' outputs, which the attention kernel computes like any other: keys of
 * zeros, the log-sum-exps as bias, the outputs as values.
 */
import { UNLIMITED } from "./addends.js";
import {
  type Engine,
  isResidentOutput,
  type Output,
  type PlacedScores,
  type Problem,
  QUERY_BLOCK,
} from "./engine.js";
import { NON_FINITE } from "./kernels.js";
import type { Run } from "./layout.js";
import { isResident } from "./numbers.js";
import type { Operand, Placed } from "./staging.js";

const KEY_TILE = 128; // RV_KEY_TILE

/** A range of rows. */
interface Rows {
  readonly from: number;
  readonly count: number;
}

/** One part of the items (several where they are small); the kernels' status. */
export function attendInWindows(
  engine: Engine,
  problem: Problem,
  part: Run,
  scores: PlacedScores,
  out: Output,
): number {
  const { scoring, nQuery, nKey } = problem;
  const { behind, ahead, globals, heads } = scoring;
  const row = heads * problem.values.width;
  // What is laid out for all queries and keys is read as a whole.
  const whole =
    (scores.mask ?? scores.bias) !== undefined || scores.lengths > 0 || globals > 0 || part.count > 1;
  const keyBytes = copiedRow(problem.keys) + copiedRow(problem.values);
  const keysAtOnce =
    whole || keyBytes === 0 || behind < UNLIMITED ? nKey : blockOf(engine.window / keyBytes, KEY_TILE, nKey);
  // Beside its query a row needs its output, or those of at least four blocks of keys.
  const outputs = keysAtOnce < nKey ? 4 : isResidentOutput(out) ? 0 : 1;
  const queryBytes = copiedRow(problem.query) + 4 * outputs * (row + heads);
  const queriesAtOnce =
    whole || queryBytes === 0 ? nQuery : blockOf(engine.window / queryBytes, QUERY_BLOCK, nQuery);
  let status = 0;
  for (let from = 0; from < nQuery; from += queriesAtOnce) {
    const queries = { from, count: Math.min(queriesAtOnce, nQuery - from) };
    // The keys that some of these queries see.
    const first = from + nKey - nQuery;
    const begin = whole ? 0 : Math.max(0, first - behind);
    const end = whole ? nKey : Math.min(nKey, first + queries.count + ahead);
    const at = part.at * nQuery * row + from * row;
    const size = part.count * queries.count * row;
    if (end <= begin) {
      clear(engine, out, at, size);
      continue;
    }
    const query = engine.staging.place(
      "query",
      problem.query,
      part,
      0,
      from,
      queries.count,
      scoring.normalize,
    );
    const block = { engine, problem, part, scores, queries, query, end, row };
    const pointer = isResidentOutput(out) ? out.pointer + 4 * at : 0;
    let result: { pointer: number; status: number };
    if (end - begin <= keysAtOnce) {
      const to =
        pointer ||
        engine.kernels.begin(engine.staging.areas.out, size, isResidentOutput(out) ? undefined : out, at);
      result = { pointer: to, status: attendBlock(block, { from: begin, count: end - begin }, to, 0) };
    } else {
      result = attendByKeys(block, keysAtOnce, pointer);
    }
    status |= result.status;
    if (!isResidentOutput(out)) engine.kernels.finish(result.pointer, size, out, at);
  }
  return status;
}

interface Block {
  readonly engine: Engine;
  readonly problem: Problem;
  readonly part: Run;
  readonly scores: PlacedScores;
  readonly queries: Rows;
  readonly query: Placed;
  /** The keys that some of the queries see end here. */
  readonly end: number;
  /** Elements of a row of output. */
  readonly row: number;
}

/** One block of queries against one block of keys. */
function attendBlock(block: Block, keys: Rows, out: number, lse: number): number {
  const { engine, problem, part, queries, query, row } = block;
  const { scoring, nQuery, nKey } = problem;
  const { kernels, attention, staging } = engine;
  const placedKeys = staging.place("keys", problem.keys, part, 1, keys.from, keys.count, scoring.normalize);
  const values = staging.place("values", problem.values, part, 2, keys.from, keys.count, false);
  if (!engine.looksFinite(scoring, queries.count, query, placedKeys, values)) return NON_FINITE;
  engine.setShared(
    attention,
    part.count,
    scoring,
    queries.count,
    keys.count,
    query,
    placedKeys,
    block.scores,
  );
  const { words } = kernels;
  const { slots } = attention;
  // The kernel stands the last query at the last key: how far that is from its place, the band makes up for.
  const moved = queries.from + queries.count + nKey - nQuery - keys.from - keys.count;
  if (scoring.ahead < UNLIMITED) words[slots.ahead] = scoring.ahead + moved;
  if (scoring.behind < UNLIMITED) words[slots.behind] = scoring.behind - moved;
  words[slots.dim_value] = words[slots.value_head] = words[slots.out_head] = problem.values.width;
  words[slots.value_batch] = values.step;
  words[slots.value_row] = values.row;
  words[slots.out_batch] = queries.count * row;
  words[slots.out_row] = row;
  kernels.buffer(slots.values, values.pointer, values.count);
  kernels.buffer(slots.out, out, part.count * queries.count * row);
  kernels.buffer(slots.lse, lse, lse === 0 ? 0 : part.count * scoring.heads * queries.count);
  const work =
    part.count * queries.count * keys.count * scoring.heads * (scoring.width + problem.values.width);
  return kernels.run(attention, work);
}

/** All blocks of keys; their outputs lie in slots, from which they are merged whenever no slot is free. */
function attendByKeys(block: Block, keysAtOnce: number, target: number): { pointer: number; status: number } {
  const { engine, problem, queries, end } = block;
  const size = queries.count * block.row;
  const sums = queries.count * problem.scoring.heads;
  const blocks = Math.ceil(end / keysAtOnce);
  const affordable = Math.floor(engine.window / (4 * (size + sums))) - 1;
  const most = Math.min(blocks, Math.max(3, affordable));
  const out = engine.staging.areas.out.take(4 * size * (most + 1));
  const lse = engine.staging.areas.lse.take(4 * (sums * (most + 1) + 1));
  const slotAt = (slot: number): Slot => ({ out: out + 4 * size * slot, lse: lse + 4 * sums * slot });
  const zero = lse + 4 * sums * (most + 1);
  let status = 0;
  // Slots 0 … most fill upwards, their merger goes to the last; from there they fill downwards, and it goes to 0.
  let upwards = true;
  let used = 0;
  for (let done = 0; ; done++) {
    const slot = slotAt(upwards ? used : most - used);
    const from = done * keysAtOnce;
    status |= attendBlock(block, { from, count: Math.min(keysAtOnce, end - from) }, slot.out, slot.lse);
    used++;
    const isLast = done === blocks - 1;
    if (used < most && !isLast) continue;
    const free = slotAt(upwards ? most : 0);
    const to = isLast && target !== 0 ? { ...free, out: target } : free;
    merge(block, used, slotAt(upwards ? 0 : most - used + 1), to, zero);
    if (isLast) return { pointer: to.out, status };
    upwards = !upwards;
    used = 1;
  }
}

/** A block's output (queries, heads * width) and its log-sum-exps (heads, queries). */
interface Slot {
  readonly out: number;
  readonly lse: number;
}

/** softmax over the log-sum-exps of `count` slots from `first` on, times their outputs. `zero` is room for a number. */
function merge(
  { engine, problem, queries, row }: Block,
  count: number,
  first: Slot,
  to: Slot,
  zero: number,
): void {
  const { kernels, merging } = engine;
  const { heads } = problem.scoring;
  const n = queries.count;
  const { width } = problem.values;
  const { words, f64 } = kernels;
  const { slots } = merging;
  kernels.fill(zero, 1, 0);
  // A query is an item, the slots are its keys.
  words[slots.batch] = words[slots.stop] = n;
  words[slots.heads] =
    words[slots.kv_heads] =
    words[slots.n_query] =
    words[slots.dim] =
    words[slots.bias_batch] =
      1;
  words[slots.n_key] = count;
  words[slots.bias_col] = heads * n;
  words[slots.behind] = words[slots.ahead] = UNLIMITED;
  words[slots.dim_value] = width;
  words[slots.value_batch] = words[slots.out_batch] = words[slots.out_row] = row;
  words[slots.value_row] = n * row;
  f64[slots.scale >>> 1] = 1;
  for (let head = 0; head < heads; head++) {
    kernels.buffer(slots.query, zero, 1);
    kernels.buffer(slots.keys, zero, 1);
    kernels.buffer(slots.bias, first.lse + 4 * head * n, (count * heads - head) * n);
    kernels.buffer(slots.values, first.out + 4 * head * width, count * n * row - head * width);
    kernels.buffer(slots.out, to.out + 4 * head * width, n * row - head * width);
    kernels.buffer(slots.lse, to.lse + 4 * head * n, n);
    kernels.run(merging);
  }
}

/** As many as fit, whole tiles of them, at least one; all where that is no more. */
function blockOf(fitting: number, tile: number, all: number): number {
  return Math.min(all, Math.max(tile, Math.floor(fitting / tile) * tile));
}

function clear(engine: Engine, out: Output, at: number, size: number): void {
  if (!isResidentOutput(out)) out.fill(0, at, at + size);
  else engine.kernels.fill(out.pointer + 4 * at, size, 0);
}

/** Bytes of a row that must be copied. */
const copiedRow = ({ source }: Operand): number =>
  isResident(source) ? 0 : 4 * (source.shape.at(-1) as number);
