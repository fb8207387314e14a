/** What was made and disposed a hundred thousand times leaves the memory as it was: [what, check] pairs. */
import { assert, equal } from "./wasm_assert.mjs";

export const leakChecks = [];
const check = (what, body) => leakChecks.push([what, body]);

const row = Float32Array.of(1, 2, 3, 4);
const state = (ra) => ({ ...ra.heap, handles: ra.handles });

/** Makes and disposes, and compares the kernels' memory after the first hundred with that after the last. */
function repeat(ra, times, body) {
  for (let i = 0; i < 100; i++) body(i);
  const before = state(ra);
  for (let i = 100; i < times; i++) body(i);
  equal(state(ra), before, `the memory after ${times}`);
  assert(before.bytes < 8 << 20, `${before.bytes} bytes for objects of a few numbers`);
}

check("40 000 attention objects", (ra) =>
  repeat(ra, 40_000, () => {
    const attention = ra.createSync("flash", { dim: 4 });
    attention.forwardSync(row, [row], [row]);
    attention.free();
  }),
);

check("20 000 objects with parameters", (ra) =>
  repeat(ra, 20_000, (seed) => {
    const attention = ra.createSync("multi_head", { dim: 4, numHeads: 2, seed });
    attention.forwardSync(row, [row], [row]);
    attention.free();
  }),
);

check("40 000 memories", (ra) =>
  repeat(ra, 40_000, () => {
    const memory = ra.memorySync([row], [row]);
    memory.appendSync(row, row);
    memory.free();
  }),
);
