/** bindings/node.c by itself: nothing unfit reaches a kernel, in this thread or in another. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { addon, BINARY } from "./native_binary.mjs";

const KERNELS = addon.kernels();
const { call, callAsync } = addon.open(addon.targets()[0]);

/** [kernel, block, ...buffers] of a call with these integers, the whole of each buffer, or these spans. */
function step(name, integers, buffers, spans = buffers.flatMap((array) => [0, array?.length ?? 0])) {
  const index = KERNELS.findIndex((kernel) => kernel.name === name);
  assert.ok(index >= 0, `there is no kernel ${name}`);
  assert.equal(KERNELS[index].integers.length, integers.length);
  return [index, BigInt64Array.from([...spans, ...integers].map(BigInt)), ...buffers];
}
const ones = (count) => new Float32Array(count).fill(1);
function detached(array) {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

test("the table tells of every kernel", () => {
  const { buffers, integers } = KERNELS.find(({ name }) => name === "normalize_rows");
  assert.deepEqual(integers, ["rows", "dim"]);
  assert.deepEqual(buffers, [
    { name: "x", dtype: "Float32Array", role: "in" },
    { name: "out", dtype: "Float32Array", role: "out" },
  ]);
  assert.deepEqual(KERNELS.find(({ name }) => name === "attention").floats, ["scale"]);
  assert.throws(
    () => addon.open("mmx"),
    /^RangeError: instruction set 'mmx' is not compiled in or not on this machine$/,
  );
});

test("a call that fits runs, and finds what is not finite", async () => {
  const x = ones(100);
  assert.equal(call(...step("all_finite", [100], [x])), 0);
  x[99] = Number.NaN;
  assert.equal(call(...step("all_finite", [100], [x])), 1);
  assert.equal(call(...step("all_finite", [99], [x], [0, 99])), 0);
  assert.equal(call(...step("all_finite", [1], [x], [99, 1])), 1);
  assert.equal(await callAsync([step("all_finite", [100], [x])]), 1);
  const out = ones(4);
  const steps = [step("normalize_rows", [1, 4], [ones(4), out]), step("all_finite", [4], [out])];
  assert.equal(await callAsync(steps), 0);
  assert.deepEqual([...out], [0.5, 0.5, 0.5, 0.5]);
  assert.equal(await callAsync([]), 0);
});

test("what does not fit is refused in words", () => {
  const [x, out] = [ones(100), ones(100)];
  const cases = [
    ["no kernel below 0", [-1, new BigInt64Array(3), x], RangeError, /no such kernel; expected an index from 0 to/],
    ["no kernel behind the last", [KERNELS.length, new BigInt64Array(3), x], RangeError, /no such kernel/],
    ["no number", ["all_finite", new BigInt64Array(3), x], RangeError, /no such kernel/],
    ["nothing", [], RangeError, /no such kernel/],
    ["no block", [step("all_finite", [1], [x])[0]], TypeError, /^all_finite: its block is no BigInt64Array of 3 elements/],
    ["a block of another type", [step("all_finite", [1], [x])[0], new Float64Array(3), x], TypeError, /block/],
    ["a short block", [step("all_finite", [1], [x])[0], new BigInt64Array(2), x], TypeError, /block/],
    ["a negative integer", step("all_finite", [-1], [x]), RangeError, /^all_finite: count is -1; expected at least 0$/],
    ["the second integer", step("normalize_rows", [10, -10], [x, out]), RangeError, /dim is -10/],
    ["a missing buffer", step("all_finite", [100], [undefined]), TypeError, /x is missing; expected a Float32Array/],
    ["a missing output", step("normalize_rows", [10, 10], [x, null]), TypeError, /out is missing/],
    ["a list", step("all_finite", [3], [[1, 2, 3]]), TypeError, /x is missing; expected a Float32Array/],
    ["another type", step("all_finite", [3], [new Float64Array(3)]), TypeError, /another type; expected a Float32Array/],
    ["a DataView", step("all_finite", [3], [new DataView(new ArrayBuffer(16))], [0, 3]), TypeError, /missing/],
    ["a short buffer", step("all_finite", [101], [x]), RangeError, /x has 100 elements; expected at least 101/],
    ["a short output", step("normalize_rows", [10, 10], [x, ones(99)]), RangeError, /out has 99 elements/],
    ["sizes whose product overflows", step("normalize_rows", [2 ** 40, 2 ** 40], [x, out]), RangeError, /expected at least/],
    ["a span beyond the end", step("all_finite", [100], [x], [1, 100]), RangeError, /x holds 100 elements; expected at least 100 from 1 on/],
    ["a span that wraps", step("all_finite", [100], [x], [2n ** 62n, 2n ** 62n]), RangeError, /x holds 100 elements/],
    ["a negative span", step("all_finite", [100], [x], [-100, 100]), RangeError, /x holds 100 elements/],
    ["a negative count", step("all_finite", [0], [x], [0, -1]), RangeError, /x holds 100 elements/],
    ["a detached buffer", step("all_finite", [100], [detached(ones(100))], [0, 100]), RangeError, /x holds 0 elements \(it is detached\)/],
    ["an output over an input", step("normalize_rows", [10, 10], [x, x]), RangeError, /output out overlaps x/],
    ["an output that touches an input", step("normalize_rows", [5, 10], [x, x], [0, 50, 49, 50]), RangeError, /overlaps/],
  ]; // biome-ignore format: a table
  for (const [what, arguments_, Expected, message] of cases) {
    const expected = (error) => error instanceof Expected && message.test(error.message);
    assert.throws(() => call(...arguments_), expected, what);
    assert.throws(() => callAsync([arguments_]), expected, `${what}, asynchronously`);
  }
  assert.equal(call(...step("normalize_rows", [5, 10], [x, x], [0, 50, 50, 50])), 0, "an output right behind its input");
  assert.throws(() => callAsync(5), /takes an array of calls/);
  assert.throws(() => callAsync([5]), /no such kernel/);
}); // biome-ignore format: a table

test("a getter that detaches what was checked before is found out", () => {
  const x = ones(64);
  const evil = step("normalize_rows", [8, 8], [x, ones(64)]);
  Object.defineProperty(evil, 3, { get: () => detached(x) && ones(64) });
  assert.throws(() => callAsync([evil]), RangeError);
  const y = ones(64);
  const late = step("all_finite", [64], [ones(64)]);
  Object.defineProperty(late, 0, { get: () => detached(y) && step("all_finite", [64], [y])[0] });
  assert.throws(() => callAsync([step("all_finite", [64], [y]), late]), /cannot be queued/);
});

test("an array that is detached while a thread has it makes the promise reject", async () => {
  const x = ones(1 << 20);
  const [moved] = [x].map(({ buffer }) => buffer);
  const waiting = callAsync([step("all_finite", [x.length], [x])]);
  const kept = structuredClone(moved, { transfer: [moved] }); // alive, so that the thread may read it
  await assert.rejects(waiting, /an array was detached while a kernel used it/);
  assert.equal(kept.byteLength, 4 << 20);
});

const WORKER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const addon = require(workerData.binary);
  const { call, callAsync } = addon.open(addon.targets()[0]);
  const index = addon.kernels().findIndex(({ name }) => name === "normalize_rows");
  const rows = workerData.rows;
  const block = BigInt64Array.from([0, rows * 64, 0, rows * 64, rows, 64].map(BigInt));
  const [x, out] = [1, 2].map(() => new Float32Array(rows * 64).fill(workerData.seed));
  if (workerData.endless) for (let i = 0; i < 8; i++) callAsync(Array(50).fill([index, block, x, out]));
  else {
    for (let i = 0; i < 500; i++) call(index, block, x, out);
    callAsync([[index, block, x, out]]).then((status) => parentPort.postMessage([status, out[5]]));
  }
  parentPort.postMessage("started");
`;
const worker = (data) =>
  new Worker(WORKER, { eval: true, workerData: { binary: BINARY, rows: 100, seed: 3, ...data } });

test("threads of JavaScript have scratch memory and results of their own", async () => {
  const answers = await Promise.all(
    [1, 2, 3, 4].map(
      (seed) =>
        new Promise((resolve, reject) => {
          worker({ seed, rows: 64 * seed })
            .on("error", reject)
            .on("message", (answer) => {
              if (answer !== "started") resolve(answer);
            });
        }),
    ),
  );
  for (const [status, first] of answers) assert.deepEqual([status, first], [0, 0.125]);
});

test("a thread that is ended while its calls run takes nothing with it", async () => {
  for (let i = 0; i < 5; i++) {
    const ended = worker({ endless: true, rows: 20_000 });
    await new Promise((resolve, reject) => ended.once("message", resolve).once("error", reject));
    assert.equal(await ended.terminate(), 1);
  }
  assert.equal(await callAsync([step("all_finite", [100], [ones(100)])]), 0);
});
