/** Whether rows that no kernel may read are numbers: where queries choose their keys, all that may be chosen count. */
import type { Scoring } from "./engine.js";
import type { Run } from "./layout.js";
import type { Placed, Staging } from "./staging.js";

/**
 * Of a part of a call: the first array has queries, the others have keys, those of each item as far as its length, which
 * `lengthsAt` finds among the arrays that the part goes over.
 */
export function areRowsFinite(
  staging: Staging,
  placed: readonly Placed[],
  part: Run,
  scoring: Scoring,
  lengthsAt: number,
): boolean {
  const { checkFinite, keyLengths } = scoring;
  if (!checkFinite) return true;
  if (!keyLengths) return placed.every(({ pointer, count }) => staging.allFinite(pointer, count));
  const [first, step] = [part.first[lengthsAt] as number, part.steps[lengthsAt] as number];
  const lengths = Array.from(
    { length: part.count },
    (_, item) => keyLengths.data[first + item * step] as number,
  );
  const [query, ...rest] = placed as [Placed, ...Placed[]];
  return (
    staging.allFinite(query.pointer, query.count) &&
    rest.every(({ pointer, step, row }) =>
      lengths.every(
        (length, item) => length === 0 || staging.allFinite(pointer + 4 * item * step, length * row),
      ),
    )
  );
}
