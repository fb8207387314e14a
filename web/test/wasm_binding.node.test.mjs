/** bindings/wasm.c by itself: nothing unfit reaches a kernel, and its memory joins what is given back. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

const module = new WebAssembly.Module(
  readFileSync(new URL("../dist/lib/wasm-simd128.wasm", import.meta.url)),
);
let wasm;
let layout;

beforeEach(() => {
  wasm = new WebAssembly.Instance(module, {}).exports;
  const at = wasm.rv_describe() >>> 2;
  const [, kernels, count, kernelBytes, , callBytes, intsAt] = words().subarray(at, at + 8);
  layout = { kernels, count, kernelBytes, callBytes, intsAt };
});

const words = () => new Int32Array(wasm.memory.buffer);
const bytes = () => new Uint8Array(wasm.memory.buffer);

function text(pointer) {
  const from = bytes();
  return Buffer.from(from.subarray(pointer, from.indexOf(0, pointer))).toString();
}

function indexOf(kernel) {
  const names = Array.from({ length: layout.count }, (_, i) =>
    text(words()[(layout.kernels + i * layout.kernelBytes) >>> 2]),
  );
  assert.ok(names.includes(kernel), `${names} lacks ${kernel}`);
  return names.indexOf(kernel);
}

/** The status of a call with these integers and [pointer, count] buffers. */
function run(kernel, ints, buffers) {
  const call = wasm.rv_alloc(layout.callBytes);
  bytes().fill(0, call, call + layout.callBytes);
  buffers.forEach(([pointer, count], i) => {
    words().set([pointer, 0, count, 0], (call >>> 2) + 4 * i);
  });
  ints.forEach((value, i) => {
    new BigInt64Array(wasm.memory.buffer)[((call + layout.intsAt) >>> 3) + i] = BigInt(value);
  });
  const status = wasm.rv_call_kernel(typeof kernel === "string" ? indexOf(kernel) : kernel, call);
  wasm.rv_free(call);
  return status;
}

const fault = (kind, index) => -(kind * 64 + index);

test("a call that fits runs, and finds what is not finite", () => {
  const x = wasm.rv_alloc(400);
  new Float32Array(wasm.memory.buffer).fill(1, x >>> 2, (x >>> 2) + 100);
  assert.equal(run("all_finite", [100], [[x, 100]]), 0);
  new Float32Array(wasm.memory.buffer)[(x >>> 2) + 99] = Number.NaN;
  assert.equal(run("all_finite", [100], [[x, 100]]), 1);
  assert.equal(run("all_finite", [99], [[x, 99]]), 0);
});

test("what does not fit is refused with the integer or the buffer that is to blame", () => {
  const x = wasm.rv_alloc(400);
  const out = wasm.rv_alloc(400);
  const size = wasm.memory.buffer.byteLength;
  const cases = [
    ["no kernel below 0", -1, [], [], fault(1, 0)],
    ["no kernel behind the last", layout.count, [], [], fault(1, 0)],
    ["a negative integer", "all_finite", [-1], [[x, 100]], fault(2, 0)],
    ["the second integer", "normalize_rows", [10, -10], [[x, 100], [out, 100]], fault(2, 1)],
    ["a missing buffer", "all_finite", [100], [[0, 0]], fault(3, 0)],
    ["a missing output", "normalize_rows", [10, 10], [[x, 100], [0, 0]], fault(3, 1)],
    ["a short buffer", "all_finite", [101], [[x, 100]], fault(4, 0)],
    ["a short output", "normalize_rows", [10, 10], [[x, 100], [out, 99]], fault(4, 1)],
    ["sizes whose product overflows 64 bits", "normalize_rows", [2 ** 40, 2 ** 40], [[x, 100], [out, 100]], fault(4, 0)],
    ["a buffer beyond the memory", "all_finite", [100], [[size, 100]], fault(5, 0)],
    ["a buffer that ends beyond the memory", "all_finite", [100], [[size - 396, 100]], fault(5, 0)],
    ["a count that wraps around", "all_finite", [100], [[x, 2 ** 31 - 1]], fault(5, 0)],
    ["a buffer among the module's own data", "normalize_rows", [1, 1], [[x, 1], [1024, 1]], fault(5, 1)],
    ["a misaligned buffer", "all_finite", [10], [[x + 2, 10]], fault(6, 0)],
    ["an output over an input", "normalize_rows", [10, 10], [[x, 100], [x, 100]], fault(7, 1)],
    ["an output that touches an input", "normalize_rows", [5, 10], [[x, 50], [x + 196, 50]], fault(7, 1)],
  ]; // biome-ignore format: a table
  for (const [what, kernel, ints, buffers, expected] of cases) {
    assert.equal(run(kernel, ints, buffers), expected, what);
  }
  assert.equal(run("normalize_rows", [5, 10], [[x, 50], [x + 200, 50]]), 0, "an output right behind its input"); // biome-ignore format: one row
});

test("memory that is given back is joined, in whatever order", () => {
  const before = wasm.rv_bytes_used();
  const pieces = Array.from({ length: 40 }, (_, i) => wasm.rv_alloc(1000 * (i + 1)));
  assert.ok(
    pieces.every((pointer) => pointer > 0 && pointer % 64 === 0),
    "not aligned to 64 bytes",
  );
  assert.equal(new Set(pieces).size, 40);
  const size = wasm.memory.buffer.byteLength;
  for (const i of [...pieces.keys()].sort((a, b) => ((a * 7) % 40) - ((b * 7) % 40))) wasm.rv_free(pieces[i]);
  assert.equal(wasm.rv_bytes_used(), before);
  const whole = wasm.rv_alloc(800_000); // what the pieces took fits as one
  assert.ok(whole > 0);
  assert.equal(wasm.memory.buffer.byteLength, size);
  wasm.rv_free(whole);
});

test("where there is no memory left the answer is 0, and the heap goes on", () => {
  assert.equal(wasm.rv_alloc(0xffffffff), 0);
  assert.equal(wasm.rv_alloc(0xffff0000), 0);
  const x = wasm.rv_alloc(400);
  assert.ok(x > 0);
  wasm.rv_free(0); // NULL, as for free()
});

test("instances on one shared memory have the same kernels, one heap and stacks of their own", () => {
  const shared = new WebAssembly.Module(
    readFileSync(new URL("../dist/lib/wasm-simd128-threads.wasm", import.meta.url)),
  );
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536, shared: true });
  const [one, two] = [0, 1].map(() => new WebAssembly.Instance(shared, { env: { memory } }).exports);
  assert.equal(two.__stack_pointer.value, one.__stack_pointer.value);
  const stack = one.rv_alloc(65536) + 65536;
  two.__stack_pointer.value = stack;
  assert.notEqual(one.__stack_pointer.value, stack);
  const used = one.rv_bytes_used();
  const [x, call] = [one.rv_alloc(64), one.rv_alloc(layout.callBytes)];
  assert.equal(two.rv_bytes_used(), one.rv_bytes_used());
  assert.ok(one.rv_bytes_used() >= used + 64 + layout.callBytes);
  const all = new Int32Array(memory.buffer);
  all.fill(0, call >>> 2, (call + layout.callBytes) >>> 2);
  all.set([x, 0, 4, 0], call >>> 2);
  new BigInt64Array(memory.buffer)[(call + layout.intsAt) >>> 3] = 4n;
  new Float32Array(memory.buffer).set([1, 2, 3, Number.NaN], x >>> 2);
  const kernel = indexOf("all_finite");
  assert.equal(one.rv_check_call(kernel, call), 0);
  assert.equal(two.rv_run_kernel(kernel, call), 1);
  all[(call >>> 2) + 2] = 3;
  assert.equal(one.rv_check_call(kernel, call), fault(4, 0)); // too short for its integers
  assert.equal(one.rv_check_call(-1, call), fault(1, 0));
});
