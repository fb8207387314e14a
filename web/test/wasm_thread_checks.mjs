/**
 * What the runtime of the kernels must do with threads on shared memory, in Node and in a browser alike: [what, check]
 * pairs, where a check takes a runtime of two threads, one without, and the package.
 */
import { assert, equal, throws } from "./wasm_assert.mjs";
import { random } from "./wasm_reference.mjs";

export const threadChecks = [];
const check = (what, body) => threadChecks.push([what, body]);

/** Has the smallest call go through the threads, in as many parts as there can be, while `body` runs. */
export async function inSmallParts(ra, body) {
  const { kernels } = ra.engine;
  const { worth } = kernels;
  kernels.worth = 1e-9;
  try {
    return await body();
  } finally {
    kernels.worth = worth;
  }
}

/** Bit by bit. */
function same(actual, expected, what) {
  equal(actual.shape, expected.shape, `the shape of ${what}`);
  const bits = (array) => new Int32Array(array.buffer, array.byteOffset, array.length);
  const [a, b] = [bits(actual), bits(expected)];
  const at = a.findIndex((x, i) => x !== b[i]);
  assert(at < 0, `${what}: element ${at} is ${actual[at]}; expected ${expected[at]}, as one thread has it`);
}

const causal = { causal: true };
const long = [0, 1, 2].map((seed) => random([1, 3000, 64], seed)); // more than a window of keys
const items = [0, 1, 2].map((seed) => random([4, 500, 64], seed));
const matrix = [0, 1, 2].map((seed) => random([700, 64], seed));
const mask = {
  data: Uint8Array.from({ length: 500 * 500 }, (_, i) => Number(i % 7 !== 3)),
  shape: [500, 500],
};
const bias = random([500, 500], 9);
/** [mechanism, settings, arguments]: what is large enough for threads. */
const CALLS = [
  ["scaled_dot_product", { dim: 64 }, long],
  ["scaled_dot_product", { dim: 64 }, [...long, causal]],
  ["scaled_dot_product", { dim: 64 }, items],
  ["scaled_dot_product", { dim: 64 }, matrix],
  ["scaled_dot_product", { dim: 64, normalize: true }, long],
  ["flash", { dim: 64 }, [...items, { mask }]],
  ["flash", { dim: 64 }, [...items, { bias, keyLengths: [500, 400, 1, 77] }]],
  ["local_global", { dim: 64, window: 40, globalTokens: 3 }, [...matrix, causal]],
  ["multi_head", { dim: 64, numHeads: 8 }, items],
  ["multi_head", { dim: 64, numHeads: 8, projections: false, normalize: true }, matrix],
  ["self_attention", { dim: 64, numHeads: 4 }, [items[0]]],
  ["cross_attention", { dim: 64, numHeads: 4 }, matrix.slice(0, 2)],
  ["linear", { dim: 64, numFeatures: 64 }, matrix],
  ["linear", { dim: 64, kernel: "elu" }, [...matrix, causal]],
  ["flash", { dim: 64, topK: 9 }, [...items, { bias, keyLengths: [500, 400, 1, 77] }]],
  ["multi_head", { dim: 64, numHeads: 8, topK: 9 }, items],
  ["temporal", { dim: 64, numHeads: 2, topK: 9 }, matrix],
  ["hyperbolic", { dim: 64, curvature: -0.5 }, matrix.map(({ data, shape }) => ({ data: data.map((x) => x / 20), shape }))],
]; // biome-ignore format: a table

check("promises have the bits that one thread computes", async (ra, one) => {
  equal([ra.threads, one.threads], [2, 1], "the threads");
  for (const [name, settings, inputs] of CALLS) {
    const what = `${name} ${JSON.stringify(settings)} of ${inputs[0].shape}`;
    const [many, alone] = [await ra.create(name, settings), await one.create(name, settings)];
    const expected = alone.forwardSync(...inputs);
    same(await many.forward(...inputs), expected, what);
    same(many.forwardSync(...inputs), expected, `${what}, at once`);
    await inSmallParts(ra, async () =>
      same(await many.forward(...inputs), expected, `${what}, in small parts`),
    );
    many.free();
    alone.free();
  }
});

check("arguments may change once the call is made, whichever class they are of", async (ra, one) => {
  class Sharing extends Uint8Array {
    slice(...range) {
      return this.subarray(...range); // as Node's Buffer does
    }
  }
  const allowed = Sharing.from(mask.data);
  const [many, alone] = [await ra.create("flash", { dim: 64 }), await one.create("flash", { dim: 64 })];
  const expected = alone.forwardSync(...items, { mask });
  const query = { data: items[0].data.slice(), shape: items[0].shape };
  const promise = many.forward(query, items[1], items[2], { mask: { data: allowed, shape: mask.shape } });
  allowed.fill(0);
  query.data.fill(0);
  same(await promise, expected, "what the arguments were");
  many.free();
  alone.free();
});

check("weights have them too, and batches of few items and of many", async (ra, one) => {
  const [many, alone] = await Promise.all(
    [ra, one].map((each) => each.create("multi_head", { dim: 64, numHeads: 8 })),
  );
  const [q, k] = items;
  const weights = alone.attentionWeightsSync(q, k);
  same(await many.attentionWeights(q, k), weights, "the weights");
  for (const count of [1, 3, 9]) {
    const batch = Array.from({ length: count }, (_, i) => [random([100 + i, 64], i), matrix[1], matrix[2]]);
    const expected = alone.forwardBatchSync(batch);
    for (const run of [
      () => many.forwardBatch(batch),
      () => inSmallParts(ra, () => many.forwardBatch(batch)),
    ]) {
      const outputs = await run();
      equal(outputs.length, count);
      for (const [i, output] of outputs.entries()) same(output, expected[i], `item ${i} of ${count}`);
    }
  }
  await Promise.all([many.dispose(), alone.dispose()]);
});

check("forty calls at the same time, more than have a place, answer each its own", async (ra, one) => {
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const inputs = Array.from({ length: 40 }, (_, i) => [random([64 + 5 * i, 64], i), matrix[1], matrix[2]]);
  const outputs = await inSmallParts(ra, () => Promise.all(inputs.map((each) => many.forward(...each))));
  for (const [i, output] of outputs.entries()) same(output, alone.forwardSync(...inputs[i]), `call ${i}`);
  await Promise.all([many.dispose(), alone.dispose()]);
});

check(
  "a memory lies there once, for all threads, and a call sees the rows of its beginning",
  async (ra, one) => {
    const [many, alone] = await Promise.all(
      [ra, one].map((each) => each.create("multi_head", { dim: 64, numHeads: 4 })),
    );
    const [bank, other] = await Promise.all([ra, one].map((each) => each.memory(matrix[1], matrix[2])));
    const [query] = matrix;
    const expected = alone.forwardSync(query, other);
    await inSmallParts(ra, async () => {
      same(await many.forward(query, bank), expected, "the output");
      same(await bank.attend(query), other.attendSync(query), "what it attends to by itself");
      const begun = [many.forward(query, bank), bank.attend(query)];
      bank.evictSync([0, 5, 699]);
      bank.appendSync(random([300, 64], 7), random([300, 64], 8));
      same(await begun[0], expected, "what was begun before rows went");
      same(await begun[1], other.attendSync(query), "the same of the memory itself");
      other.evictSync([0, 5, 699]);
      other.appendSync(random([300, 64], 7), random([300, 64], 8));
      same(await many.forward(query, bank), alone.forwardSync(query, other), "the output of other rows");
    });
    for (const each of [bank, other, many, alone]) each.free();
  },
);

check("arguments are read at once: they may change right afterwards", async (ra, one) => {
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const copies = matrix.map(({ data, shape }) => ({ data: data.slice(), shape }));
  await inSmallParts(ra, async () => {
    const begun = many.forward(...copies);
    for (const { data } of copies) data.fill(Number.NaN);
    same(await begun, alone.forwardSync(...matrix), "the output");
  });
  await Promise.all([many.dispose(), alone.dispose()]);
});

check("a number in the last part that is not finite is named, and the others go on", async (ra, one, api) => {
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const bad = { data: matrix[0].data.slice(), shape: [700, 64] };
  bad.data[699 * 64 + 3] = Number.NaN;
  await inSmallParts(ra, async () => {
    const calls = [many.forward(...matrix), many.forward(bad, matrix[1], matrix[2]), many.forward(...matrix)];
    await throws(() => calls[1], api.NumericalInstabilityError, /^query holds nan at index \(699, 3\)/);
    const expected = alone.forwardSync(...matrix);
    same(await calls[0], expected, "the call before it");
    same(await calls[2], expected, "the call behind it");
    const unchecked = await many.forward(bad, matrix[1], matrix[2], { checkFinite: false });
    same(unchecked.subarray(0, 192 * 64), expected.subarray(0, 192 * 64), "what was not to be checked");
    await throws(() => many.forward(matrix[0], matrix[1]), api.UnsupportedError, /^values is missing/);
    await throws(
      () => many.forwardBatch([matrix, [bad, matrix[1], matrix[2]]]),
      api.NumericalInstabilityError,
      /^item 1: query holds nan/,
    );
  });
  await Promise.all([many.dispose(), alone.dispose()]);
});

check("a signal ends the waiting at once, and leaves nothing", async (ra) => {
  const flash = await ra.create("flash", { dim: 64 });
  await flash.forward(...long);
  const { used } = await settled(ra);
  const abort = new AbortController();
  const calls = Array.from({ length: 5 }, () => flash.forward(...long, { signal: abort.signal }));
  abort.abort(new Error("no longer wanted"));
  const ends = await Promise.allSettled(calls);
  equal(ends.map(({ status, reason }) => status === "rejected" && reason.message), Array(5).fill("no longer wanted"));
  await throws(() => flash.forward(...long, { signal: abort.signal }), Error, /no longer wanted/);
  equal((await settled(ra)).used, used, "the memory in use");
  const stop = new AbortController();
  const batch = flash.forwardBatch(Array(50).fill(long), { signal: stop.signal });
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await throws(() => batch, Error, /enough/);
  equal((await flash.forwardBatch([matrix], { signal: new AbortController().signal }))[0].shape, [700, 64]);
  equal((await settled(ra)).used, used, "the memory in use after a batch");
  await flash.dispose();
}); // biome-ignore format: compact

/** The memory, when nothing runs any longer and no thread holds what ran; this thread alone holds nothing. */
async function settled(ra) {
  const { kernels } = ra.engine;
  const isSettled = () => kernels.isSettled ?? !kernels.isBusy;
  for (let tries = 0; tries < 6000 && !isSettled(); tries++)
    await new Promise((done) => setTimeout(done, 10));
  assert(isSettled(), "calls, or threads that look for more, never end");
  return ra.heap;
}

check("call after call leaves memory and objects as they were", async (ra) => {
  const heads = await ra.create("multi_head", { dim: 64, numHeads: 4 });
  const bank = await ra.memory(matrix[1], matrix[2]);
  const small = [0, 1, 2].map((seed) => random([40, 64], seed));
  const round = () =>
    inSmallParts(ra, () =>
      Promise.all([
        heads.forward(...small),
        heads.forward(small[0], bank),
        heads.forwardBatch([small, small]),
        heads.forward({ data: new Float32Array(64).fill(Number.NaN), shape: [1, 64] }, bank).catch(() => {}),
        heads.forward([[1]], bank).catch(() => {}),
      ]),
    );
  for (let i = 0; i < 20; i++) await round();
  const before = [await settled(ra), ra.handles];
  for (let i = 0; i < 200; i++) await round();
  equal([await settled(ra), ra.handles], before, "memory and objects");
  heads.free();
  bank.free();
});

check("the memory grows under calls that are under way", async (_, one, api) => {
  const ra = await api.load({ backend: one.backend, threads: 2, preload: "all" });
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const { bytes } = ra.heap;
  const begun = many.forward(...long);
  const banks = Array.from({ length: 20 }, (_, i) => ra.memorySync(random([10_000, 8], i)));
  const more = many.forward(...long);
  const expected = alone.forwardSync(...long);
  same(await begun, expected, "what was begun before");
  same(await more, expected, "what was begun after");
  assert(ra.heap.bytes >= bytes + 20 * 320_000, `the memory has ${ra.heap.bytes} bytes; it had ${bytes}`);
  for (const bank of banks) bank.free();
  ra.close();
});

check("what does not fit the shared memory as a whole is computed here, in windows", async (ra, one, api) => {
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const { kernels } = ra.engine;
  const { used } = await settled(ra);
  let refused = 0;
  kernels.alloc = function (bytes) {
    if (!this.isPlanning || bytes < 500_000) return Object.getPrototypeOf(this).alloc.call(this, bytes);
    refused++;
    throw new api.InputTooLargeError("the memory of the kernels is full");
  };
  try {
    same(await many.forward(...long), alone.forwardSync(...long), "the output");
  } finally {
    delete kernels.alloc;
  }
  assert(refused > 0, "everything found a place");
  same(await many.forward(...long), alone.forwardSync(...long), "the output, with room again");
  const { used: after } = await settled(ra);
  assert(after - used < 2e6, `${after - used} bytes more are in use`); // the places of windows, which are kept
  await Promise.all([many.dispose(), alone.dispose()]);
});

check("a stream of queries comes in their order", async (ra, one) => {
  const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
  const [query, keys, values] = matrix;
  await inSmallParts(ra, async () => {
    let at = 0;
    for await (const rows of many.forwardStream(query, keys, values, { chunk: 200 })) {
      const chunk = {
        data: query.data.slice(64 * at, 64 * (at + 200)),
        shape: [Math.min(200, 700 - at), 64],
      };
      same(rows, alone.forwardSync(chunk, keys, values), `rows from ${at} on`);
      at += 200;
    }
    equal(at, 800, "the end of the last chunk");
  });
  await Promise.all([many.dispose(), alone.dispose()]);
});

check("a runtime that is closed rejects what waits, and makes nothing more", async (_, __, api) => {
  const ra = await api.load({ threads: 2 });
  const flash = await ra.create("flash", { dim: 64 });
  const waiting = flash.forward(...long);
  ra[Symbol.dispose]();
  await throws(() => waiting, api.RuntimeLostError, /the runtime was closed/);
  await throws(() => flash.forward(...long), api.RuntimeLostError, /the runtime was closed/);
});

check("one thread is this one, and what is no number of threads is refused", async (_, __, api) => {
  const one = await api.load({ threads: 1 });
  equal(one.threads, 1, "the threads");
  one.close();
  for (const threads of [0, -1, 1.5, "2", null, Number.NaN])
    await throws(
      () => api.load({ threads }),
      api.LoadError,
      /^threads is .*; expected an integer of at least 1$/,
    );
  await throws(
    () => api.load({ threads: 2, worker: true }),
    api.LoadError,
    /^threads is 2 and worker is true; expected one of them/,
  );
  const module = await WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  await throws(() => api.load({ threads: 2, module }), api.LoadError, /^module came beside threads/);
  await throws(() => api.load({ threads: 2, assetBase: "/nowhere" }), api.LoadError, /nowhere/);
  const workerURL = new URL("nowhere.js", import.meta.url);
  await throws(
    () => api.load({ threads: 2, workerURL }),
    api.LoadError,
    /^a thread of the kernels does not start/,
  );
});

for (const die of ["error", "silent"])
  for (const who of ["0", "1", undefined])
    check(`a thread's end (${die}, ${who ?? "of all"}) holds up no call`, async (_, one, api) => {
      const workerURL = new URL("mortal_thread.mjs", import.meta.url);
      workerURL.search = new URLSearchParams({ die, after: "3", ...(who === undefined ? {} : { who }) });
      const ra = await api.load({ backend: one.backend, threads: 2, workerURL });
      const [many, alone] = await Promise.all([ra, one].map((each) => each.create("flash", { dim: 64 })));
      const expected = alone.forwardSync(...items);
      await inSmallParts(ra, async () => {
        const outputs = await Promise.all(Array.from({ length: 8 }, () => many.forward(...items)));
        for (const output of outputs) same(output, expected, "the output");
        for (let tries = 0; tries < 200 && ra.threads > 1; tries++) {
          same(await many.forward(...items), expected, "a later output");
          await new Promise((done) => setTimeout(done, 10));
        }
      });
      equal(ra.threads, 1, "the threads that are left");
      same(await many.forward(...items), expected, "the last output");
      ra.close();
    });
