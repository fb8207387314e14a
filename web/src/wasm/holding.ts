/** Arrays in the kernels' memory that last as long as a call. */
import type { Engine } from "./engine.js";
import type { Resident, Shape } from "./numbers.js";

export type Hold = (shape: Shape) => Resident;

/** What was made for this call is freed after it. */
export function holding(engine: Engine, work: (hold: Hold) => void): void {
  const held: number[] = [];
  try {
    work((shape) => {
      const array = engine.staging.hold(shape);
      held.push(array.pointer);
      return array;
    });
  } finally {
    for (const pointer of held) engine.kernels.free(pointer);
  }
}
