/** What threads are to do of a call that is written down: its waves and parts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

const bundle = await build({
  stdin: {
    contents: `export * from "./src/wasm/plan.ts"; export * from "./src/wasm/threads/program.ts";`,
    resolveDir: new URL("..", import.meta.url).pathname,
    loader: "ts",
  },
  bundle: true,
  format: "esm",
  write: false,
});
const { Plan, rangesOf, wavesOf } = await import(
  `data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].text).toString("base64")}`
);

/** A call that reads and writes these bytes, whose tasks are 0 … tasks. */
const call = (name, reads, writes, { work = 10, tasks = 0, grain = 1 } = {}) => {
  const block = new Uint8Array(Int32Array.of(0, tasks).buffer);
  const [start, stop] = tasks > 0 ? [0, 1] : [-1, -1];
  return { name, reads, writes, work, grain, block, start, stop, kernel: 0, scratchAt: 0, scratch: 0 };
};
const planOf = (...chains) => {
  const plan = new Plan();
  for (const chain of chains) {
    for (const each of chain) plan.add(each);
    plan.next();
  }
  return plan;
};
const names = (waves) => waves.map((wave) => wave.map((part) => part.map(({ name }) => name).join(" ")));

test("what a call reads is written in a wave before it, what it writes is not read after it", () => {
  const a = call("a", [[0, 100]], [[100, 200]]);
  const b = call("b", [[0, 100]], [[200, 300]]);
  const c = call("c", [[150, 160]], [[300, 400]]);
  const d = call("d", [[500, 600]], [[200, 201]]); // where b wrote
  const e = call("e", [[600, 700]], [[590, 600]]); // where d read
  assert.deepEqual(names(wavesOf(planOf([a, b, c, d, e]), 2, 1)), [["a", "b"], ["c", "d"], ["e"]]);
});

test("large calls are cut, small ones go together", () => {
  const large = call("large", [[0, 10]], [[10, 20]], { work: 1000, tasks: 12 });
  const small = [1, 2, 3, 4].map((i) => call(`s${i}`, [[0, 10]], [[100 * i, 100 * i + 10]], { work: 50 }));
  const [wave] = wavesOf(planOf([large, ...small]), 2, 100);
  assert.deepEqual(names([wave]), [[...Array(6).fill("large"), "s1 s2", "s3 s4"]]);
  const ranges = wave.slice(0, 6).map(([{ block }]) => [...new Int32Array(block.buffer)]);
  assert.deepEqual(
    ranges,
    [0, 2, 4, 6, 8, 10].map((from) => [from, from + 2]),
  );
});

test("a batch of many items has one wave, whatever lies where", () => {
  const chains = Array.from({ length: 8 }, (_, i) => [
    call(`x${i}`, [], [[0, 1]]),
    call(`y${i}`, [[0, 1]], []),
  ]);
  const expected = Array.from({ length: 4 }, (_, i) =>
    [2 * i, 2 * i + 1].map((j) => `x${j} y${j}`).join(" "),
  );
  assert.deepEqual(names(wavesOf(planOf(...chains), 2, 40)), [expected]);
});

test("tasks are cut at multiples of the grain, and all of them are done once", () => {
  for (const [work, grain, first, last, most] of [
    [5e6, 1, 0, 7, 3],
    [9e6, 192, 0, 1000, 4],
    [9e6, 192, 192, 500, 4],
    [1e6, 1, 0, 50, 8],
    [0, 1, 0, 50, 8],
    [9e9, 1, 3, 4, 8],
    [9e9, 1, 3, 3, 8],
  ]) {
    const ranges = rangesOf({ work, grain }, first, last, most);
    assert(ranges.length <= Math.max(1, Math.min(most, Math.floor(work / 1e6))), `${ranges.length} ranges`);
    assert.deepEqual([ranges[0][0], ranges.at(-1)[1]], [first, last]);
    ranges.forEach(([from], i) => {
      if (i > 0) assert.equal(from, ranges[i - 1][1]);
      assert.equal((from - first) % grain, 0);
    });
  }
});
