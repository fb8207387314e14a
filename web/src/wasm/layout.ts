/** Leading dimensions as runs of items: broadcasting without copies, as layout.py has it. */
import { steps } from "./addends.js";
import { type Shape, sizeOf } from "./numbers.js";

/** `count` items one after the other: for each array the first of its own items, and 1, or 0 where it is repeated. */
export interface Run {
  readonly count: number;
  readonly first: readonly number[];
  readonly steps: readonly number[];
  /** The first item of the result. */
  readonly at: number;
}

/** The items of `lead`, in as few runs as the arrays' own leading dimensions allow. */
export function* runs(lead: Shape, arrays: readonly Shape[]): Generator<Run> {
  if (lead.length === 0) {
    yield { count: 1, first: arrays.map(() => 0), steps: arrays.map(() => 0), at: 0 };
    return;
  }
  const strides = arrays.map((shape) => steps(shape, lead));
  const ofAxis = (axis: number) => strides.map((stride) => stride[axis] as number);
  // Axes join the run from the last on, for as long as one step of an axis is all of the run.
  let axis = lead.length;
  let count = 1;
  let inner = arrays.map(() => 0);
  while (axis > 0) {
    const size = lead[axis - 1] as number;
    const here = ofAxis(axis - 1);
    if (size > 1) {
      const before = count;
      if (count > 1 && here.some((step, i) => step !== (inner[i] as number) * before)) break;
      if (count === 1) inner = here;
      count *= size;
    }
    axis--;
  }
  const outer = lead.slice(0, axis);
  const total = sizeOf(outer);
  for (let i = 0; i < total; i++) {
    const first = arrays.map(() => 0);
    let rest = i;
    for (let a = axis - 1; a >= 0; a--) {
      const index = rest % (outer[a] as number);
      rest = Math.floor(rest / (outer[a] as number));
      ofAxis(a).forEach((step, k) => {
        first[k] = (first[k] as number) + step * index;
      });
    }
    yield { count, first, steps: inner, at: i * count };
  }
}

/** A run in parts of at most `most` items. */
export function* parts(run: Run, most: number): Generator<Run> {
  if (run.count <= most) {
    yield run;
    return;
  }
  for (let done = 0; done < run.count; done += most) {
    yield {
      count: Math.min(most, run.count - done),
      first: run.first.map((item, i) => item + (run.steps[i] as number) * done),
      steps: run.steps,
      at: run.at + done,
    };
  }
}
