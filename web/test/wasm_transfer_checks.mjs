/** How arrays get to a worker of the kernels and their memory back from it: [what, check] pairs. */
import { assert, close, equal } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const transferChecks = [];
const check = (what, body) => transferChecks.push([what, body]);

/** Large enough that their memory is worth its way back. */
const shape = [300, 64];
const arrays = [11, 12, 13].map((seed) => random(shape, seed));

/** Typed arrays that were copied into new memory meanwhile. */
async function countingCopies(body) {
  const prototype = Object.getPrototypeOf(Float32Array.prototype);
  const { slice } = prototype;
  let copies = 0;
  prototype.slice = function (...range) {
    copies++;
    return slice.apply(this, range);
  };
  try {
    await body();
  } finally {
    prototype.slice = slice;
  }
  return copies;
}

check("copies are made in the memory of the calls before", async (ra) => {
  const flash = await ra.create("flash", { dim: 64 });
  const expected = attention(...arrays).output;
  const first = await flash.forward(...arrays); // whatever came before: now there is memory for three
  close(first, expected);
  const others = [21, 22, 23].map((seed) => random(shape, seed));
  const copies = await countingCopies(async () => {
    for (let i = 0; i < 3; i++) close(await flash.forward(...others), attention(...others).output);
    close(await flash.forward(...arrays), expected);
  });
  equal(copies, 0, "the number of copies into new memory");
  close(first, expected); // the result of an earlier call is nobody's room
  // No call reads what another one sends: these two are under way together.
  const [one, two] = await Promise.all([flash.forward(...others), flash.forward(...arrays)]);
  close(one, attention(...others).output);
  close(two, expected);
  await flash.dispose();
});

check("a caller's arrays are its own again as soon as it has the promise", async (ra) => {
  const flash = await ra.create("flash", { dim: 64 });
  for (let i = 0; i < 3; i++) {
    const own = arrays.map(({ data }) => ({ data: data.slice(), shape }));
    const waiting = flash.forward(...own);
    for (const { data } of own) data.fill(Number.NaN);
    close(await waiting, attention(...arrays).output);
    assert(
      own.every(({ data }) => data.length === 300 * 64),
      "a caller's array was taken",
    );
  }
  await flash.dispose();
});

check("little memory waits, and that of a call that failed too", async (ra, api) => {
  const flash = await ra.create("flash", { dim: 64 });
  const large = random([20_000, 64], 5); // 5 MB
  const query = random([1, 64], 6);
  const expected = attention(query, large, large).output;
  close(await flash.forward(query, large, large), expected);
  const again = await countingCopies(async () => close(await flash.forward(query, large, large), expected));
  equal(again, 3, "the number of copies into new memory: two of a large array, one of a small one");
  const nan = { data: arrays[0].data.slice().fill(Number.NaN), shape };
  const failing = async () => {
    const error = await flash.forward(...arrays.slice(0, 2), nan).catch((thrown) => thrown);
    assert(error instanceof api.NumericalInstabilityError, `${error}; expected NumericalInstabilityError`);
  };
  await failing();
  equal(await countingCopies(failing), 0, "the number of copies after a call that failed");
  await flash.dispose();
});

check("memory that threads share is read where it is, where it may be sent", async (ra) => {
  // Without the class, as in pages of WebKit, nothing says that memory is shared: then it is copied.
  const mayShare = globalThis.crossOriginIsolated !== false && typeof SharedArrayBuffer !== "undefined";
  const unseen = [301, 64]; // no memory of such arrays waits
  const count = 301 * 64;
  let buffer;
  try {
    ({ buffer } = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }));
  } catch (error) {
    assert(!mayShare, `${error}; expected shared memory in an isolated page`);
    return;
  }
  const given = [31, 32, 33].map((seed) => random(unseen, seed));
  const shared = given.map(({ data }, i) => {
    const view = new Float32Array(buffer, 4 * i * count, count);
    view.set(data);
    return { data: view, shape: unseen };
  });
  const flash = await ra.create("flash", { dim: 64 });
  const expected = attention(...given).output;
  const copies = await countingCopies(async () => {
    close(await flash.forward(...shared), expected);
    close(await flash.forward(...shared, { transfer: true }), expected);
  });
  equal(copies, mayShare ? 0 : 3, "the number of copies into new memory");
  equal(shared[0].data.length, count, "what the caller still has");
  await flash.dispose();
});
