/** The parts that need no Python. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

const bundle = await build({
  stdin: {
    contents: `export * from "./src/naming.ts"; export * from "./demo/digitize.ts"; export * from "./demo/examples.ts"; export * from "./src/lent_memory.ts";`,
    resolveDir: new URL("..", import.meta.url).pathname,
    loader: "ts",
  },
  bundle: true,
  format: "esm",
  write: false,
});
const { camel, snake, digitize, example, SpareMemory } = await import(
  `data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].text).toString("base64")}`
);

test("names go to camelCase and back", () => {
  for (const [python, javascript] of [
    ["num_heads", "numHeads"],
    ["head_attention_weights", "headAttentionWeights"],
    ["dim", "dim"],
    ["max_sequence_length", "maxSequenceLength"],
    ["top_2", "top2"],
  ]) {
    assert.equal(camel(python), javascript);
    if (!/\d/.test(python)) assert.equal(snake(javascript), python);
  }
});

test("a drawing becomes 64 counts from 0 to 16 with the ink of the data set", () => {
  for (let digit = 0; digit < 10; digit++) {
    const counts = digitize(example(digit));
    assert.equal(counts.length, 64);
    assert.ok(counts.every((count) => Number.isInteger(count) && count >= 0 && count <= 16));
    const ink = counts.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(ink - 313) < 45, `a ${digit} has ${ink} dark pixels`);
  }
});

test("size and place of a drawing do not matter", () => {
  const moved = example(5).map((stroke) => stroke.map(({ x, y }) => ({ x: x * 0.4 + 50, y: y * 0.4 + 7 })));
  const [a, b] = [digitize(example(5)), digitize(moved)];
  assert.ok(a.every((count, i) => Math.abs(count - b[i]) <= 2));
});

test("nothing drawn is nothing to read, a dot is something", () => {
  assert.equal(digitize([]), undefined);
  assert.equal(digitize([[]]), undefined);
  assert.ok(digitize([[{ x: 5, y: 5 }]]).some((count) => count > 0));
});

test("memory for a result is there when one as large was before, and is given away", () => {
  const spare = new SpareMemory();
  const result = Float32Array.from({ length: 40_000 }, (_, i) => i);
  const copies = [0, 1, 2].map(() => {
    const copy = spare.copyOf(result);
    spare.prepare();
    return copy;
  });
  for (const copy of copies) assert.deepEqual(copy, result);
  assert.equal(new Set([result, ...copies].map(({ buffer }) => buffer)).size, 4);
  assert.deepEqual(spare.copyOf(new Int16Array([1, 2])), new Int16Array([1, 2]));
  assert.deepEqual(spare.copyOf(new Float64Array(20_000)), new Float64Array(20_000)); // as large, of another kind
  const larger = spare.copyOf(new Uint8Array(5 << 20).fill(3));
  assert.equal(larger.findIndex((x) => x !== 3), -1); // biome-ignore format: short
});
