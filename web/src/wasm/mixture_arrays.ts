/** The arrays of a mixture's call where its experts read them, and what these make of them. */
import { AttentionError, DimensionMismatchError, UnsupportedError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import type { KeyLengths } from "./addends.js";
import { newOutput } from "./attention.js";
import type { Engine } from "./engine.js";
import { type Group, type MixtureCall, ownItem } from "./mixture_call.js";
import { isResident, type Resident, type Shape, type Source, sizeOf } from "./numbers.js";
import { type Computed, Routes, type Routing } from "./routes.js";

export type Hold = (shape: Shape) => Resident;

/** An array in the kernels' memory, one item behind the other; repeated for all of `lead` where that is given. */
export function held(engine: Engine, source: Source, lead: Shape | undefined, hold: Hold): Resident {
  const own = source.shape.slice(0, -2);
  const target = lead ?? own;
  const size = sizeOf(source.shape.slice(-2));
  if (isResident(source) && (!lead || (own.join() === lead.join() && source.step === size))) return source;
  const { kernels } = engine;
  const array = hold([...target, ...source.shape.slice(-2)]);
  for (let item = 0; item < sizeOf(target); item++) {
    const from = ownItem(own, target, item);
    const to = array.pointer + 4 * item * size;
    if (isResident(source)) kernels.move(to, source.pointer + 4 * from * source.step, size);
    else kernels.write(to, source.data.subarray(from * size, (from + 1) * size));
  }
  return array;
}

/** Zeros in the place of keys and values that no item of `lead` reads, which may hold anything. */
export function clearUnread(engine: Engine, array: Resident, lead: Shape, lengths: KeyLengths): void {
  const own = array.shape.slice(0, -2);
  const [n, width] = array.shape.slice(-2) as [number, number];
  const longest = new Array<number>(sizeOf(own)).fill(0);
  for (let item = 0; item < sizeOf(lead); item++) {
    const at = ownItem(own, lead, item);
    const length = lengths.data[ownItem(lengths.shape, lead, item)] as number;
    longest[at] = Math.max(longest[at] as number, length);
  }
  longest.forEach((length, at) => {
    const from = array.pointer + 4 * (at * array.step + length * width);
    if (length < n) engine.kernels.fill(from, (n - length) * width, 0);
  });
}

/** What experts give: outputs, or weights. */
export type Wanted = "forwardSync" | "attentionWeightsSync";

/**
 * The sums of all experts' outputs for query (*lead, n_query, dim), and their columns: `usual` where no expert had room,
 * or as many as each has.
 */
export function summed(
  engine: Engine,
  call: MixtureCall,
  routing: Routing,
  query: Resident,
  rest: readonly Resident[],
  wanted: Wanted,
  usual: number,
): [Float32Array, number] {
  const [nQuery, dim] = query.shape.slice(-2) as [number, number];
  const total = sizeOf(query.shape) / dim;
  const parts: Computed[] = [];
  let columns = wanted === "forwardSync" ? undefined : usual;
  for (const group of call.groups(routing)) {
    const own = group.choices.map((choice) => Math.floor(choice / routing.topK));
    const output = computed(engine, group, own, query, rest, wanted);
    const width = output.shape.at(-1) as number;
    columns ??= width;
    if (wanted === "forwardSync" && width !== columns) {
      const { index, expert } = group;
      const error = new DimensionMismatchError(
        `expert ${index} (${expert.name}) gives ${width} channels; expected ${columns}, as the experts before it`,
      );
      throw Object.assign(error, { expected: columns, actual: width });
    }
    const weights = Float32Array.from(group.choices, (choice) => routing.weights[choice] as number);
    const part = group.isWhole ? spread(group, own, weights, nQuery) : { rows: own, weights };
    parts.push({ ...part, output, width });
  }
  const width = columns ?? usual;
  const out = newOutput([total, width]);
  Routes.of(engine).sum(parts, [total, width], out);
  return [out, width];
}

/** All rows of an item, those that chose another expert with a weight of 0. */
function spread({ item }: Group, own: readonly number[], weights: Float32Array, nQuery: number) {
  const first = (item as number) * nQuery;
  const all = new Float32Array(nQuery);
  own.forEach((row, i) => {
    all[row - first] = weights[i] as number;
  });
  return { rows: Array.from(all, (_, place) => first + place), weights: all };
}

/** One expert's output for the rows of a group. */
function computed(
  engine: Engine,
  { expert, index, item, isWhole, seen, options }: Group,
  own: readonly number[],
  query: Resident,
  rest: readonly Resident[],
  wanted: Wanted,
): Tensor {
  const [nQuery, dim] = query.shape.slice(-2) as [number, number];
  const lead = query.shape.slice(0, -2);
  const rows: Resident = { ...query, shape: [sizeOf(query.shape) / dim, dim] };
  const inputs = rest.map((array) =>
    matrixOf(array, ownItem(array.shape.slice(0, -2), lead, item ?? 0), seen),
  );
  const isAll = own.length === rows.shape[0];
  const gathered = isWhole || isAll ? undefined : Routes.of(engine).gather(rows, own);
  const given = gathered ?? (isAll ? rows : matrixOf(query, item as number, nQuery));
  try {
    const body = (
      expert.attention as unknown as Record<Wanted, ((...args: unknown[]) => Tensor) | undefined>
    )[wanted];
    if (!body) throw new UnsupportedError("it has no weights");
    return body.call(expert.attention, given, ...inputs, options);
  } catch (error) {
    if (error instanceof AttentionError) error.message = `expert ${index} (${expert.name}): ${error.message}`;
    throw error;
  } finally {
    if (gathered) engine.kernels.free(gathered.pointer);
  }
}

/** One item's matrix of an array in the kernels' memory, its first `rows` rows. */
function matrixOf({ pointer, shape, step }: Resident, item: number, rows: number): Resident {
  const width = shape.at(-1) as number;
  return { pointer: pointer + 4 * item * step, shape: [rows, width], step: rows * width };
}
