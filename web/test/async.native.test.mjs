/** Asynchronous calls of the addon: on other threads, on arrays of their own, with the results of synchronous ones. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import * as api from "../dist/lib/native.js";
import { BINARY } from "./native_binary.mjs";
import { close, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

const THREADS = 3; // whatever this machine has: the split is what is tested
let ra;
before(async () => {
  ra = await api.load({ binary: BINARY, threads: THREADS });
});
after(() => ra.close());

const same = (actual, expected) => {
  assert.deepEqual(actual.shape, expected.shape);
  assert.ok(actual.every((x, i) => Object.is(x, expected[i])));
};
const copy = ({ data, shape }) => api.tensor(Float32Array.from(data), shape);
const shared = ({ data, shape }) => {
  const array = new Float32Array(new SharedArrayBuffer(4 * data.length));
  array.set(data);
  return api.tensor(array, shape);
};
// More than a million multiply-adds: worth a thread.
const large = { query: random([2, 500, 32], 1), keys: random([400, 32], 2), values: random([2, 400, 16], 3) };

describe("results do not depend on threads", () => {
  const calls = {
    scaled_dot_product: [{ dim: 32 }, [large.query, large.keys, large.values]],
    multi_head: [{ dim: 32, numHeads: 4 }, [large.query, large.keys, random([2, 400, 32], 4)]],
    self_attention: [{ dim: 32, numHeads: 2, causal: true }, [large.query]],
    cosine: [{ dim: 32, normalize: true }, [large.query, large.keys, large.values]],
    flash: [{ dim: 32, topK: 7 }, [large.query, large.keys, large.values]],
    graph_rope: [{ dim: 32, numHeads: 2, topK: 7 }, [large.query, large.keys, large.values]],
  };
  const mask = { data: Array.from({ length: 400 }, (_, i) => i % 3 !== 1), shape: [400] };
  for (const [name, [config, inputs]] of Object.entries(calls)) {
    test(name, async () => {
      const mechanism = ra.createSync(name === "cosine" ? "scaled_dot_product" : name, config);
      const options = name === "scaled_dot_product" ? [{ mask }] : [];
      const expected = mechanism.forwardSync(...inputs, ...options);
      same(await mechanism.forward(...inputs, ...options), expected);
      const weights = name === "self_attention" ? inputs : inputs.slice(0, 2);
      same(await mechanism.attentionWeights(...weights), mechanism.attentionWeightsSync(...weights));
      mechanism.free();
    });
  }

  test("one thread and several give the same bits", async () => {
    const alone = await api.load({ binary: BINARY, threads: 1 });
    const config = { dim: 32, numHeads: 2, seed: 5 };
    for (const rows of [191, 193, 577, 1153]) {
      const x = random([rows, 32], rows);
      const outputs = [];
      for (const runtime of [alone, ra])
        outputs.push(await runtime.createSync("self_attention", config).forward(x));
      same(outputs[1], outputs[0]);
    }
    alone.close();
  });

  test("a batch is spread item by item, and comes in order", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const items = Array.from({ length: 7 }, (_, i) => [
      random([90 + i, 32], i),
      large.keys,
      random([400, 5], i),
    ]);
    const expected = flash.forwardBatchSync(items);
    (await flash.forwardBatch(items)).forEach((output, i) => {
      same(output, expected[i]);
    });
  });
});

test("the event loop goes on while a long call runs", async () => {
  const flash = ra.createSync("flash", { dim: 64 });
  const inputs = [random([3000, 64], 1), random([6000, 64], 2), random([6000, 64], 3)].map(copy);
  const result = flash.forward(...inputs, { transfer: true });
  let turns = 0; // of the loop before the answer; computed on this thread, it would be there before the first
  let turn = setImmediate(function again() {
    turns++;
    turn = setImmediate(again);
  });
  await result;
  clearImmediate(turn);
  assert.ok(turns >= 3, `the loop went round ${turns} times`);
});

describe("arrays of a call", () => {
  const expected = attention(large.query, large.keys, large.values).output;

  // of the second kind are calls that are computed before they return, since they are not worth a thread
  const few = { query: random([40, 32], 1), keys: random([50, 32], 2), values: random([50, 16], 3) };
  for (const [size, from] of [
    ["large", large],
    ["small", few],
  ]) {
    test(`they are read at once: what becomes of them later changes nothing (${size})`, async () => {
      const flash = ra.createSync("flash", { dim: 32 });
      const expected = flash.forwardSync(from.query, from.keys, from.values);
      const inputs = [from.query, from.keys, from.values].map(copy);
      const waiting = flash.forward(...inputs);
      inputs[0].fill(Number.NaN);
      structuredClone(inputs[1].buffer, { transfer: [inputs[1].buffer] });
      same(await waiting, expected);
      assert.equal(inputs[2].length, from.values.data.length);
    });

    test(`what is not finite was so when the call was made (${size})`, async () => {
      const flash = ra.createSync("flash", { dim: 32 });
      const inputs = [from.query, from.keys, from.values].map(copy);
      inputs[2][16 * 7 + 3] = Number.NaN;
      const waiting = flash.forward(...inputs);
      inputs[2].fill(0);
      await throws(() => waiting, api.NumericalInstabilityError, /^values holds nan at index \((0, )?7, 3\)/);
    });
  }

  test("only what another thread reads is copied, and only if it may be taken away", async (context) => {
    const own = await api.load({ binary: BINARY, threads: THREADS });
    const flash = own.createSync("flash", { dim: 32 });
    const copies = context.mock.method(Object.getPrototypeOf(Float32Array.prototype), "slice");
    const call = async (from, how, options = {}) => {
      const inputs = [from.query, from.keys, from.values].map(how);
      const expected = flash.forwardSync(...inputs);
      copies.mock.resetCalls();
      const output = await flash.forward(...inputs, options);
      const copied = copies.mock.calls.map(({ this: array }) => array);
      same(output, expected);
      return copied.filter((array) => inputs.includes(array)).length;
    };
    assert.equal(await call(few, copy), 0);
    assert.equal(await call(large, shared), 0);
    assert.equal(await call(large, copy, { transfer: true }), 0);
    assert.equal(await call(large, copy), 3);
    assert.equal(await call(large, copy), 2); // the query into the memory of that one; the others are too small to be kept
    own.close();
  });

  test("memory of copies serves one call at a time", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const calls = Array.from({ length: 12 }, (_, i) =>
      [large.query, large.keys, large.values].map(({ shape }, j) => random(shape, 10 * i + j)),
    );
    const expected = calls.map((inputs) => flash.forwardSync(...inputs));
    for (let round = 0; round < 3; round++) {
      const outputs = await Promise.all(calls.map((inputs) => flash.forward(...inputs)));
      outputs.forEach((output, i) => {
        same(output, expected[i]);
      });
    }
  });

  test("parts of one array are copied as parts", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const all = Float32Array.from(random([3000, 32], 4).data);
    const [query, keys, values] = [0, 1, 2].map((i) =>
      api.tensor(all.subarray(32_000 * i, 32_000 * (i + 1)), [1000, 32]),
    );
    const expected = flash.forwardSync(query, keys, values);
    const waiting = flash.forward(query, keys, values);
    all.fill(1);
    same(await waiting, expected);
  });

  test("they are taken over where the caller says so", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const inputs = [large.query, large.keys, large.values].map(copy);
    const waiting = flash.forward(...inputs, { transfer: true });
    assert.deepEqual(
      inputs.map(({ length }) => length),
      [0, 0, 0],
    );
    close(await waiting, expected);
    const both = copy(random([500, 32], 5));
    const alone = flash.forwardSync(both, both, both);
    same(await flash.forward(both, both, both, { transfer: true }), alone);
    await throws(() => flash.forward(both, both, both), api.DimensionMismatchError, /^query has 0 elements/);
  });

  test("shared memory is read where it is", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const inputs = [large.query, large.keys, large.values].map(shared);
    close(await flash.forward(...inputs), expected);
    close(flash.forwardSync(...inputs), expected);
  });

  test("a synchronous call copies nothing", () => {
    const flash = ra.createSync("flash", { dim: 64 });
    const [keys, values] = [1, 2].map(() =>
      api.tensor(new Float32Array(64 * 80_000).fill(0.5), [80_000, 64]),
    );
    const query = random([1, 64], 1);
    flash.forwardSync(query, random([9, 64], 1), random([9, 64], 2));
    const before = process.resourceUsage().maxRSS;
    assert.ok(Math.abs(flash.forwardSync(query, keys, values)[0] - 0.5) < 1e-6);
    const more = process.resourceUsage().maxRSS - before;
    assert.ok(more < 8000, `${more} kB more were in use; the arrays have 40 000`);
  });
});

describe("errors arrive as promises that reject", () => {
  test("a number that is not finite is found by a thread, and named", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const values = { ...large.values, data: large.values.data.slice() };
    values.data[6400 + 16 * 7 + 3] = Number.NaN;
    const message = /^values holds nan at index \(1, 7, 3\); expected finite numbers$/;
    await throws(
      () => flash.forward(large.query, large.keys, values),
      api.NumericalInstabilityError,
      message,
    );
    const taken = [large.query, large.keys, values].map(copy);
    const waiting = flash.forward(...taken, { transfer: true });
    await throws(() => waiting, api.NumericalInstabilityError, message);
    const output = await flash.forward(large.query, large.keys, values, { checkFinite: false });
    assert.ok(Number.isNaN(output[8000 + 3]) && Number.isFinite(output[0]));
  });

  test("bad shapes and options", async () => {
    const flash = ra.createSync("flash", { dim: 32 });
    const waiting = flash.forward(large.query, large.keys, random([3, 2], 1));
    assert.ok(waiting instanceof Promise);
    await throws(() => waiting, api.DimensionMismatchError, /^values is \(3, 2\)/);
    await throws(
      () => flash.forward(large.query, large.keys, large.values, { maks: 1 }),
      api.UnsupportedError,
      /did you mean 'mask'/,
    );
    await throws(
      () => api.load({ binary: "nowhere.node" }),
      api.LoadError,
      /nowhere\.node, which cannot be loaded/,
    );
    await throws(
      () => api.load({ binary: BINARY, backend: "mmx" }),
      api.LoadError,
      /^backend is 'mmx'; expected one that/,
    );
    await throws(() => api.load({ binary: BINARY, threads: 0 }), api.LoadError, /^threads is 0/);
  });
});

describe("rows and parameters that a call reads do not change under it", () => {
  const answers = async (change) => {
    const flash = ra.createSync("flash", { dim: 32 });
    const [keys, values] = [random([2000, 32], 8), random([2000, 16], 9)];
    const query = random([2000, 32], 7);
    const bank = ra.memorySync(keys, values);
    const expected = flash.forwardSync(query, bank);
    const waiting = flash.forward(query, bank);
    change(bank);
    await wait(0);
    same(await waiting, expected);
    bank.free();
  };
  test("rows are dropped from the middle", () =>
    answers((bank) => bank.evictSync(Array.from({ length: 999 }, (_, i) => 2 * i))));
  test("the oldest are dropped, and others take their place", () =>
    answers((bank) => {
      bank.evictSync({ oldest: 1500 });
      bank.appendSync(random([1500, 32], 1), random([1500, 16], 1));
    }));
  test("the memory is freed", () => answers((bank) => bank.free()));
  test("parameters are loaded", async () => {
    const heads = ra.createSync("multi_head", { dim: 32, numHeads: 2, seed: 1 });
    const x = random([600, 32], 1);
    const expected = heads.forwardSync(x, x, x);
    const waiting = heads.forward(x, x, x);
    heads.loadStateDictSync(ra.createSync("multi_head", { dim: 32, numHeads: 2, seed: 2 }).stateDictSync());
    same(await waiting, expected);
    assert.notEqual(heads.forwardSync(x, x, x)[0], expected[0]);
  });
});

test("calls that follow one another share what a memory keeps", async () => {
  const heads = ra.createSync("multi_head", { dim: 32, numHeads: 2, seed: 1, normalize: true });
  const bank = ra.memorySync(random([900, 32], 1), random([900, 32], 2));
  const query = random([400, 32], 3);
  const outputs = await Promise.all([1, 2, 3].map(() => heads.forward(query, bank)));
  const expected = heads.forwardSync(query, bank);
  for (const output of outputs) same(output, expected);
  same(await bank.attend(query, { causal: true }), bank.attendSync(query, { causal: true }));
  bank.free();
});

test("asynchronous calls leave nothing behind", async () => {
  const own = await api.load({ binary: BINARY, threads: THREADS });
  const heads = own.createSync("multi_head", { dim: 32, numHeads: 2 });
  const x = random([300, 32], 1);
  await heads.forward(x, x, x);
  const { used } = own.heap;
  for (let i = 0; i < 200; i++) await heads.forward(x, x, x);
  assert.equal(own.heap.used, used);
  own.close();
});
