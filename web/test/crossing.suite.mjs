/** What crosses to Python and back arrives as it was, and stays what it was whatever comes after. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InputTooLargeError, tensor, UnsupportedError } from "../dist/lib/index.js";

/** A module to load, `crossing`. */
export const CROSSING = `
import math
import numpy as np

class Keeper:
    def keep(self, array):
        self.kept = array
    def get(self):
        return self.kept
    def echo(self, value):
        return value
    def spelled(self, value):
        return [type(value).__name__, str(value)]
    def numbers(self):
        return [math.nan, -math.inf, math.inf, 2**60, np.float32("nan"), {"within": -math.inf}]
    def odd(self):
        bytes = np.arange(9, dtype=np.uint8)
        return [bytes[1:].view("<f4"), np.array([1, 2], ">f4"), np.arange(6)[::2], np.float16([0.5])]
    def grown(self, array, megabytes):
        self.ballast = np.ones(megabytes << 20, np.uint8)
        return array + np.float32(1)
    def drop(self):
        self.ballast = None
    def memory(self):
        from pyodide_js import _module
        return _module.HEAPU8.length
    def again(self, array):
        import js
        js.again()
        return array
`;

/** `client` gives a runtime that was loaded with the module; `inThisThread` whether it is here. */
export function crossingTests(client, inThisThread) {
  const made = () => client().create("crossing:Keeper");
  // Node's comparison of millions of elements takes minutes.
  const equal = (actual, expected) => {
    assert.deepEqual([actual.constructor, actual.shape], [expected.constructor, expected.shape]);
    const at = actual.findIndex((x, i) => x !== expected[i]);
    assert.equal(at, -1, `element ${at} is ${actual[at]}; expected ${expected[at]}`);
  };
  const count = (n, from = 0) =>
    tensor(
      Float32Array.from({ length: n }, (_, i) => from + i),
      [n],
    );

  test("numbers that JSON lacks cross both ways, and whole ones stay whole", async () => {
    const keeper = await made();
    const found = await keeper.call("numbers");
    assert.deepEqual(found, [Number.NaN, -Infinity, Infinity, 2n ** 60n, Number.NaN, { within: -Infinity }]);
    const spelled = (value) => keeper.call("spelled", value);
    assert.deepEqual(await spelled(Number.NaN), ["float", "nan"]);
    assert.deepEqual(await spelled(-Infinity), ["float", "-inf"]);
    assert.deepEqual(await spelled(3), ["int", "3"]);
    assert.deepEqual(await spelled(0.5), ["float", "0.5"]);
    assert.deepEqual(await spelled(true), ["bool", "True"]);
    assert.deepEqual(await spelled(null), ["NoneType", "None"]);
    await keeper.dispose();
  });

  test("texts cross as they are", async () => {
    const keeper = await made();
    for (const text of ["", 'say "so"\n\\', "ångström ∞ 🙂", "\u2028\0\u007f", '{"$array":0}'])
      assert.equal(await keeper.call("echo", text), text);
    await keeper.dispose();
  });

  test("arrays of every type cross both ways, none of them and many at once", async () => {
    const keeper = await made();
    for (const ArrayClass of [
      Float32Array,
      Float64Array,
      Int8Array,
      Uint8Array,
      Int16Array,
      Uint16Array,
      Int32Array,
      Uint32Array,
    ]) {
      const array = tensor(ArrayClass.from([1, 2, 250, 4, 5, 6]), [2, 3]); // biome-ignore format: a list
      const back = await keeper.call("echo", array);
      assert.deepEqual([back.constructor, [...back], back.shape], [ArrayClass, [...array], [2, 3]]);
      assert.equal((await keeper.call("echo", tensor(new ArrayClass(0), [0, 3]))).length, 0);
    }
    assert.deepEqual(
      [...(await keeper.call("echo", BigInt64Array.of(1n, -(2n ** 40n))))],
      [1n, -(2n ** 40n)],
    );
    const many = Array.from({ length: 50 }, (_, i) => count(i + 1, i));
    const back = await keeper.call("echo", many);
    assert.deepEqual(
      back.map((array) => [...array]),
      many.map((array) => [...array]),
    );
    await keeper.dispose();
  });

  test("results that no typed array can lie over are made such", async () => {
    const keeper = await made();
    const [misaligned, turned, strided, half] = await keeper.call("odd");
    assert.deepEqual([...new Uint8Array(misaligned.buffer)], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.deepEqual([[...turned], [...strided], [...half]], [[1, 2], [0, 2, 4], [0.5]]); // biome-ignore format: short
    await keeper.dispose();
  });

  test("what Python keeps of one call is not written by the next", async () => {
    const keeper = await made();
    for (const length of [10, 40_000, 1_200_000]) {
      await keeper.call("keep", count(length));
      for (let i = 1; i < 4; i++) await keeper.call("echo", count(length, i));
      equal(await keeper.call("get"), count(length));
    }
    await keeper.dispose();
  });

  test("a result is the caller's own, memory and all, whatever is called after", async () => {
    const keeper = await made();
    for (const length of [10, 40_000, 1_200_000]) {
      const first = await keeper.call("echo", count(length));
      const rest = [];
      for (let i = 1; i < 4; i++) rest.push(await keeper.call("echo", count(length, i)));
      equal(first, count(length));
      assert.equal(new Set([first, ...rest].map(({ buffer }) => buffer)).size, 4);
      for (const { buffer, byteLength } of [first, ...rest]) assert.equal(buffer.byteLength, byteLength);
      first.fill(-1); // and is not Python's
      equal(rest[0], count(length, 1));
    }
    await keeper.dispose();
  });

  test("memory may grow in the middle of a call", async () => {
    const keeper = await made();
    const before = await keeper.call("memory");
    for (const megabytes of [70, 150]) {
      equal(await keeper.call("grown", count(1000), megabytes), count(1000, 1));
      equal(await keeper.call("echo", count(1000)), count(1000));
    }
    assert.ok((await keeper.call("memory")) > before);
    await keeper.call("drop");
    await keeper.dispose();
  });

  test("thousands of calls leave Python's memory as large as it was", async () => {
    const keeper = await made();
    const array = count(20_000);
    await keeper.call("echo", array);
    const before = await keeper.call("memory");
    for (let i = 0; i < 2000; i++) await keeper.call("echo", array); // 160 MB there and back
    assert.equal(await keeper.call("memory"), before);
    await keeper.dispose();
  });

  test("what cannot be sent back leaves the next call as it is", async () => {
    const keeper = await made();
    await assert.rejects(keeper.call("echo", count(3), count(4)), /echo/);
    await assert.rejects(
      client()
        .create("builtins:complex")
        .then((z) => z.call("conjugate")),
      UnsupportedError,
    );
    equal(await keeper.call("echo", count(3)), count(3));
    await keeper.dispose();
  });

  if (!inThisThread) return;

  test("arrays that memory does not hold are told, and the next call is as it is", async () => {
    const keeper = await made();
    const array = tensor(new Float64Array(2 ** 27), [2 ** 27]); // 1 GB, of which nothing is touched before Python refuses
    const four = Array(4).fill(array);
    await assert.rejects(keeper.call("echo", four), InputTooLargeError);
    equal(await keeper.call("echo", count(3)), count(3));
    await keeper.dispose();
  });

  test("a call that Python makes in the middle of one has room of its own", async () => {
    const [outer, inner] = [client().createSync("crossing:Keeper"), client().createSync("crossing:Keeper")];
    globalThis.again = () => equal(inner.callSync("echo", count(40_000, 7)), count(40_000, 7));
    try {
      equal(outer.callSync("again", count(40_000)), count(40_000));
      equal(outer.callSync("echo", count(40_000, 1)), count(40_000, 1));
    } finally {
      delete globalThis.again;
    }
    await Promise.all([outer.dispose(), inner.dispose()]);
  });
}
