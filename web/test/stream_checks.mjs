/** Streams and signals, in this thread and in a worker, whatever the runtime: [what, check(ra, api)] pairs. */
import { assert, close, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const streamChecks = [];
const check = (what, body) => streamChecks.push([what, body]);

const queries = random([10, 4], 1);
const [keys, values] = [random([7, 4], 2), random([7, 3], 3)];
const expected = attention(queries, keys, values).output;
const part = (first, count, shape) => ({ data: expected.data.slice(3 * first, 3 * (first + count)), shape });
const row = (i) => queries.data.slice(4 * i, 4 * i + 4);

check("a stream gives the rows of a matrix, or chunks of them", async (ra, { tensor }) => {
  const flash = await ra.create("flash", { dim: 4 });
  const before = (await ra.describe()).handles;
  for (const matrix of [
    queries,
    tensor(queries.data.slice(), [10, 4]),
    Array.from({ length: 10 }, (_, i) => row(i)),
  ]) {
    let i = 0;
    for await (const output of flash.forwardStream(matrix, keys, values)) close(output, part(i++, 1, [3]));
    assert(i === 10, `${i} rows came`);
    for await (const output of flash.forwardStream(matrix, keys, values, { chunk: 4 })) {
      const count = Math.min(4, 20 - i);
      close(output, part(i - 10, count, [count, 3]));
      i += count;
    }
    assert(i === 20, `${i - 10} rows came in chunks`);
  }
  assert((await ra.describe()).handles === before, "the stream left keys and values behind");
});

check("a stream takes queries as they come, and a memory", async (ra, api) => {
  const flash = await ra.create("flash", { dim: 4 });
  const bank = await ra.memory(keys, values);
  let given = 0;
  async function* source() {
    while (given < 6) yield row(given++);
  }
  let i = 0;
  for await (const output of flash.forwardStream(source(), bank)) {
    close(output, part(i, 1, [3]));
    assert(given <= i + 1, "the stream reads ahead of its reader");
    if (++i === 4) break;
  }
  assert(bank.length === 7, "the stream took the memory along");
  close(await flash.forward(row(0), bank), part(0, 1, [3]));
  const drain = async (...args) => {
    for await (const _ of flash.forwardStream(...args)) i++;
  };
  await throws(() => drain(queries, keys, values, { chunk: 0 }), api.UnsupportedError, /^chunk is 0/);
  await throws(() => drain(7, keys, values), api.UnsupportedError, /^queries is a number/);
  await throws(() => drain(queries, keys, values, { maks: 1 }), api.UnsupportedError, /maks/);
  await bank.dispose();
});

check("a signal stops calls, streams and batches", async (ra, api) => {
  const flash = await ra.create("flash", { dim: 4 });
  const aborted = AbortSignal.abort(new Error("enough"));
  await throws(() => flash.forward(queries, keys, values, { signal: aborted }), Error, /^enough$/);
  close(await flash.forward(queries, keys, values, { signal: new AbortController().signal }), expected);

  const stop = new AbortController();
  let i = 0;
  const drain = async () => {
    for await (const _ of flash.forwardStream(queries, keys, values, { signal: stop.signal })) {
      if (++i === 3) stop.abort(new Error("three will do"));
    }
  };
  await throws(drain, Error, /^three will do$/);
  assert(i === 3, `${i} rows came`);

  // Long enough that the timer comes in between, however fast the machine is.
  const large = random([256, 4], 5);
  const items = Array.from({ length: 5000 }, () => [large, large, large]);
  const later = new AbortController();
  setTimeout(() => later.abort(new Error("too long")), 30);
  const started = performance.now();
  await throws(() => flash.forwardBatch(items, { signal: later.signal }), Error, /^too long$/);
  const short = items.slice(0, 3);
  const outputs = await flash.forwardBatch(short, { signal: new AbortController().signal });
  assert(outputs.length === 3 && performance.now() > started, "expected three outputs");
  close(outputs[2], attention(large, large, large).output);
  short[1] = [[[1, 2]], large, large];
  const error = await throws(
    () => flash.forwardBatch(short, { signal: new AbortController().signal }),
    api.DimensionMismatchError,
    /^item 1: query is \(1, 2\)/,
  );
  assert(error.index === 1, `the index is ${error.index}`);
});

check("a signal ends a stream whose source still waits, and must be one", async (ra, api) => {
  const flash = await ra.create("flash", { dim: 4 });
  let ended = false;
  const waiting = {
    [Symbol.asyncIterator]: () => waiting,
    given: 0,
    next: () => (waiting.given++ === 0 ? Promise.resolve({ value: row(0) }) : new Promise(() => {})),
    return: async () => {
      ended = true;
      return { done: true };
    },
  };
  const stop = new AbortController();
  let i = 0;
  const drain = async () => {
    for await (const _ of flash.forwardStream(waiting, keys, values, { signal: stop.signal })) {
      if (++i === 1) setTimeout(() => stop.abort(new Error("nobody came")), 5); // while it waits for the second
    }
  };
  await throws(drain, Error, /^nobody came$/);
  assert(i === 1 && ended, `${i} rows came; expected one, and the end of the source`);
  for (const signal of [5, { aborted: false }]) {
    const message = /^signal is a (number|object); expected an AbortSignal/;
    await throws(() => flash.forward(queries, keys, values, { signal }), api.UnsupportedError, message);
    const stream = flash.forwardStream(queries, keys, values, { signal });
    await throws(() => stream.next(), api.UnsupportedError, message);
  }
  const lying = flash.forwardStream({ data: new Float32Array(7), shape: [2, 4] }, keys, values);
  await throws(() => lying.next(), api.DimensionMismatchError, /^queries has 7 elements; expected 8/);
});

check("a call that was made before its object was disposed is answered", async (ra, api) => {
  const early = async () => {
    const flash = await ra.create("flash", { dim: 4 });
    try {
      return flash.forward(queries, keys, values); // not awaited, as it happens under `await using`
    } finally {
      await flash[Symbol.asyncDispose]();
    }
  };
  close(await early(), expected);
  const flash = await ra.create("flash", { dim: 4 });
  const [first, , second] = [
    flash.forward(queries, keys, values),
    flash.dispose(),
    flash.forward(queries, keys, values).catch((error) => error),
  ];
  close(await first, expected);
  assert((await second) instanceof api.RuntimeLostError, "expected what comes after it to be refused");
});

check("names and options that are none are refused in words", async (ra, api) => {
  const { UnsupportedError, EmptyInputError } = api;
  for (const name of [undefined, null, 5])
    await throws(() => ra.create(name, { dim: 4 }), UnsupportedError, /^the name is .*; expected a string/);
  const flash = await ra.create("flash", { dim: 4 });
  await throws(() => flash.call(undefined), UnsupportedError, /no method 'undefined'/);
  await throws(() => ra.memory(keys, values, { dtype: "int8" }), UnsupportedError, /no option 'dtype'/);
  const { signal } = new AbortController();
  (await ra.memory(keys, values, { signal, capacity: 9 })).dispose();
  const gone = AbortSignal.abort(new Error("gone"));
  await throws(() => ra.memory(keys, values, { signal: gone }), Error, /^gone$/);
  for (const options of [{}, { signal }])
    await throws(() => flash.forwardBatch([], options), EmptyInputError, /^items is empty/);
  const wrong = [[queries, keys, values], [[[1, 2]], keys, values]]; // biome-ignore format: items
  for (const options of [{}, { signal }]) {
    const error = await throws(
      () => flash.forwardBatch(wrong, options),
      api.DimensionMismatchError,
      /^item 1: /,
    );
    assert(error.index === 1, `the index is ${error.index}`);
  }
});
