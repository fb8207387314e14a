/** What lasts longer than a call: keys and values that stay, batches, what is left behind; more of wasm_checks.mjs. */
import { assert, close, equal, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const lastingChecks = [];
const check = (what, body) => lastingChecks.push([what, body]);

const query = random([5, 8], 1);
const keys = random([7, 8], 2);
const values = random([7, 3], 3);

check("a memory answers like its arrays, through appends and evictions", (ra) => {
  const [k, v] = [random([40, 8], 1), random([40, 3], 2)];
  const part = ({ data, shape: [, width] }, from, to) => ({ data: data.slice(from * width, to * width), shape: [to - from, width] });
  const join = (a, b) => ({ data: Float32Array.of(...a.data, ...b.data), shape: [a.shape[0] + b.shape[0], a.shape[1]] });
  const bank = ra.memorySync(part(k, 0, 10), part(v, 0, 10));
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const cosine = ra.createSync("scaled_dot_product", { dim: 8, normalize: true });
  const same = (keys, values, what) => {
    equal(bank.length, keys.shape[0], `the length of ${what}`);
    close(sdpa.forwardSync(query, bank), attention(query, keys, values).output, 2e-6, what);
    close(cosine.forwardSync(query, bank), attention(query, keys, values, { normalize: true }).output, 4e-6, `${what}, cosine`);
    close(sdpa.attentionWeightsSync(query, bank, { causal: true }), {
      ...attention(query, keys, keys, { causal: true }).weights, shape: [5, keys.shape[0]],
    });
  };
  same(part(k, 0, 10), part(v, 0, 10), "ten rows");
  equal([...bank.appendSync(part(k, 10, 30), part(v, 10, 30))], Array.from({ length: 20 }, (_, i) => 10 + i));
  same(part(k, 0, 30), part(v, 0, 30), "thirty rows");
  equal(bank.evictSync({ oldest: 25 }), 25);
  same(part(k, 25, 30), part(v, 25, 30), "the last five");
  bank.appendSync(part(k, 30, 40), part(v, 30, 40));
  same(part(k, 25, 40), part(v, 25, 40), "fifteen, moved to the front");
  equal(bank.evictSync([27, 28, 39]), 3);
  same(join(part(k, 25, 27), part(k, 29, 39)), join(part(v, 25, 27), part(v, 29, 39)), "twelve");
  equal([...bank.ids], [25, 26, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38]);
  equal([...bank.appendSync(k.data.slice(0, 8), v.data.slice(0, 3))], [40], "the id of a bare row");
  bank.free();
}); // biome-ignore format: compact

check(
  "a memory attends by itself, gives copies of its rows, is cleared, and has room from the start",
  (ra) => {
    const bank = ra.memorySync(keys, values, { capacity: 1000 });
    const { bytes } = ra.heap;
    for (let i = 0; i < 100; i++) bank.appendSync(keys, values);
    equal([bank.length, ra.heap.bytes], [707, bytes], "length and heap");
    bank.evictSync({ oldest: 700 });
    close(
      bank.attendSync(query, { scale: 0.5, temperature: 2 }),
      attention(query, keys, values, { scale: 0.25 }).output,
    );
    close(
      bank.attendSync(query, { normalize: true, mask: [true, true, false, true, true, true, true] }),
      attention(query, keys, values, { normalize: true, mask: { data: [1, 1, 0, 1, 1, 1, 1], shape: [7] } })
        .output,
      4e-6,
    );
    const state = bank.stateDictSync();
    equal([...state.keys], [...keys.data]);
    equal([...state.values], [...values.data]);
    equal([state.ids[0], state.ids[6], state.keys.shape, state.values.shape], [700, 706, [7, 8], [7, 3]]);
    bank.clearSync();
    equal([bank.length, [...bank.appendSync(keys.data.slice(0, 8), values.data.slice(0, 3))]], [0, [707]]);
    bank.free();
  },
);

check("a memory has leading dimensions, and may bring back its keys", (ra) => {
  const [k, v, q] = [random([3, 6, 8], 1), random([3, 6, 4], 2), random([2, 3, 5, 8], 3)];
  const bank = ra.memorySync(k, v);
  bank.appendSync(random([3, 2, 8], 4), random([3, 2, 4], 5));
  bank.evictSync([6, 7]);
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  close(sdpa.forwardSync(q, bank), attention(q, k, v).output);
  const alone = ra.memorySync(k);
  close(sdpa.forwardSync(q, alone), attention(q, k, k).output);
  const cosine = ra.createSync("multi_head", { dim: 8, numHeads: 2, projections: false, normalize: true });
  close(cosine.forwardSync(q, alone), attention(q, k, k, { heads: 2, normalize: true }).output, 4e-6);
  alone.free();
  bank.free();
});

check("a batch takes items of different lengths, and tells which one failed", (ra, api) => {
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const part = { data: query.data.slice(8), shape: [4, 8] };
  const outputs = sdpa.forwardBatchSync([[query, keys, values], [part, keys, values], { query, keys, values, causal: true }]);
  equal(outputs.map(({ shape }) => shape), [[5, 3], [4, 3], [5, 3]]);
  close(outputs[2], attention(query, keys, values, { causal: true }).output);
  const self = ra.createSync("self_attention", { dim: 8, numHeads: 2, projections: false });
  equal(self.forwardBatchSync([query, [query]].slice(0, 1), { causal: true })[0].shape, [5, 8]);
  return throws(() => sdpa.forwardBatchSync([[query, keys, values], [query, keys]]), api.UnsupportedError, /^item 1: values is missing/);
}); // biome-ignore format: compact

check("too many keys are refused", (ra, api) => {
  const flash = ra.createSync("flash", { dim: 8, maxSequenceLength: 6 });
  return throws(
    () => flash.forwardSync(query, keys, values),
    api.InputTooLargeError,
    /^keys is \(7, 8\), 7 keys; expected at most 6/,
  );
});

check("the memory grows under calls, and results stay right", async (_, { load }, backend) => {
  const ra = await load({ backend, preload: ["memory"] });
  const before = ra.heap.bytes;
  const sdpa = ra.createSync("scaled_dot_product", { dim: 8 });
  const banks = [];
  for (let i = 0; i < 8; i++) {
    banks.push(ra.memorySync(random([20_000, 8], i), random([20_000, 3], i)));
    close(sdpa.forwardSync(query, keys, values), attention(query, keys, values).output);
  }
  assert(
    ra.heap.bytes > before + 4e6,
    `the memory has ${ra.heap.bytes} bytes; expected growth from ${before}`,
  );
  const output = sdpa.forwardSync(query, banks[0]);
  for (const bank of banks) bank.free();
  equal(output.length, 15, "a result from before"); // a copy: it is not detached by growth
  ra.close();
});

check("100 000 objects made and disposed leave the heap where it was", (ra) => {
  const round = (seed) => {
    const heads = ra.createSync("multi_head", { dim: 4, numHeads: 2, seed });
    if (seed % 50 === 0) heads.forwardSync([[1, 2, 3, 4]], [[1, 2, 3, 4]], [[1, 2, 3, 4]]);
    heads.free();
    const bank = ra.memorySync([[1, 2, 3, 4 + seed]]);
    bank.free();
  };
  for (let i = 0; i < 100; i++) round(i);
  const [{ used, bytes }, handles] = [ra.heap, ra.handles];
  for (let i = 0; i < 50_000; i++) round(i);
  equal(ra.heap, { bytes, used }, "the heap");
  equal(ra.handles, handles, "the number of objects");
});

check("a disposed object and a closed runtime say so", async (_, { load, RuntimeLostError }, backend) => {
  const ra = await load({ backend });
  const flash = await ra.create("flash", { dim: 8 });
  await Promise.all([flash.dispose(), flash.dispose()]);
  await throws(() => flash.forward(query, keys, values), RuntimeLostError, /FlashAttention was disposed/);
  const other = ra.createSync("flash", { dim: 8 });
  other[Symbol.dispose]();
  await throws(() => other.forward(query, keys, values), RuntimeLostError, /disposed/);
  equal(ra.handles, 0, "the number of objects");
  const last = ra.createSync("flash", { dim: 8 });
  ra.close();
  await throws(() => last.forward(query, keys, values), RuntimeLostError, /closed/);
  await throws(() => ra.create("flash", { dim: 8 }), RuntimeLostError, /closed/);
});
