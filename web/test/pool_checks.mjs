/** What a pool of workers must do, in Node and in a browser alike: [what, check] pairs; a check gets the package. */
import { assert, close, throws } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

export const poolChecks = [];
const check = (what, body) => poolChecks.push([what, body]);

const MORTAL = { workerURL: new URL("mortal_worker.mjs", import.meta.url) };
const keys = random([7, 4], 2);
const values = random([7, 3], 3);

/** A query that says its number, and the item that asks with it. */
const queryOf = (i) => {
  const query = random([2, 4], 10 + i);
  query.data[0] = i;
  return query;
};
const itemOf = (i) => [queryOf(i), keys, values];
const expected = (i, options) => attention(queryOf(i), keys, values, options).output;
const same = (a, b) => close(a, { data: b, shape: b.shape }, 0);
const count = (n) => Array.from({ length: n }, (_, i) => i);

/**
 * Has workers die of calls: `deathOf(number of the query)` says how, or nothing. Messages are marked on their way, so
 * that the worker dies of its own, in the middle of its work. Answers what ends it.
 */
async function mortality(deathOf) {
  const node = typeof process === "object" && process.versions?.node !== undefined;
  const Worker = node ? (await import("node:worker_threads")).Worker : globalThis.Worker;
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function (message, transfer) {
    const query = message.verb === "call" ? message.args.args[0]?.$array : undefined;
    const death = query && deathOf(query[0]);
    return postMessage.call(this, death ? { ...message, death } : message, transfer);
  };
  return () => {
    Worker.prototype.postMessage = postMessage;
  };
}

/** Does the body while workers are mortal, with a pool of them. */
async function withMortals(api, options, deathOf, body) {
  const immortalise = await mortality(deathOf);
  const pool = await api.openPool({ ...MORTAL, ...options });
  try {
    await body(pool, await pool.create("flash", { dim: 4 }));
  } finally {
    pool.close();
    immortalise();
  }
}

/** Has timers of so many milliseconds ring when the test says so: how fast the machine is then does not matter. */
function heldClocks(milliseconds) {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const bodies = new Map();
  globalThis.setTimeout = (body, wait, ...rest) => {
    if (wait !== milliseconds) return set(body, wait, ...rest);
    const clock = {};
    bodies.set(clock, body);
    return clock;
  };
  globalThis.clearTimeout = (clock) => {
    if (!bodies.delete(clock)) clear(clock);
  };
  return {
    rung: 0,
    get running() {
      return bodies.size;
    },
    ring() {
      const [[clock, body]] = bodies;
      bodies.delete(clock);
      this.rung++;
      body();
    },
    release() {
      Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
    },
  };
}

/** Every item ends one worker; `deaths` of them at `workers` places. How long it took, in seconds. */
export async function loseNothing(api, deaths, workers) {
  const started = performance.now();
  const fallen = new Set();
  const dieOnce = (i) => {
    if (fallen.has(i)) return undefined;
    fallen.add(i);
    return "exit";
  };
  // One task at a time for each worker: the others would go on to the next one, marked or not.
  await withMortals(api, { workers, inFlight: 1 }, dieOnce, async (pool, flash) => {
    const outputs = await flash.forwardBatch(count(deaths).map(itemOf));
    assert(pool.state.lost === deaths, `${pool.state.lost} workers were lost; expected ${deaths}`);
    outputs.forEach((output, i) => {
      close(output, expected(i));
    });
    assert(outputs.length === deaths, `${outputs.length} outputs came`);
  });
  return (performance.now() - started) / 1000;
}

check("a batch comes in the order of its items, from all workers", async (api) => {
  const pool = await api.openPool({ workers: 2 });
  const flash = await pool.create("flash", { dim: 4, causal: true });
  assert(flash.config.causal === true && flash.config.dim === 4, "expected the completed config");
  const told = [];
  const outputs = await flash.forwardBatch(count(40).map(itemOf), { onProgress: (p) => told.push(p) });
  outputs.forEach((output, i) => {
    close(output, expected(i, { causal: true }));
  });
  assert(
    told.map(({ done }) => done).join() ===
      count(40)
        .map((i) => i + 1)
        .join(),
    "expected every step",
  );
  assert(told[39].total === 40 && told[39].failed === 0, "expected the total");
  assert(pool.state.running === 0 && pool.state.waiting === 0, "tasks are left");
  const byName = await flash.forwardBatch([{ query: queryOf(3), keys, values, causal: false }]);
  close(byName[0], expected(3));
  close(await flash.forward(...itemOf(4)), expected(4, { causal: true }));
  await flash.dispose();
  await throws(() => flash.forward(...itemOf(4)), api.RuntimeLostError, /disposed/);
  pool.close();
  await throws(() => pool.create("flash", { dim: 4 }), api.RuntimeLostError, /closed/);
});

check("a memory is sent to each worker once; parameters reach all of them", async (api) => {
  const pool = await api.openPool({ workers: 2 });
  const bank = await pool.memory(keys, values);
  assert(bank.length === 7 && bank.dim === 4 && bank.dimValue === 3, "the memory has another size");
  const flash = await pool.create("flash", { dim: 4 });
  const outputs = await flash.forwardBatch(count(20).map((i) => [queryOf(i), bank]));
  outputs.forEach((output, i) => {
    close(output, expected(i));
  });
  await bank.dispose();
  const source = await api.load({ runtime: "wasm" });
  const taught = await source.create("multi_head", { dim: 4, numHeads: 2, seed: 5 });
  const heads = await pool.create("multi_head", { dim: 4, numHeads: 2 });
  await heads.loadStateDict(taught.stateDictSync());
  const items = count(8).map((i) => [queryOf(i), keys, keys]);
  (await heads.forwardBatch(items)).forEach((output, i) => {
    same(output, taught.forwardSync(...items[i]));
  });
  pool.close();
});

check("a source is read no further than there is room, and results come as they are done", async (api) => {
  const pool = await api.openPool({ workers: 2, inFlight: 2 });
  const flash = await pool.create("flash", { dim: 4 });
  let read = 0;
  let ended = false;
  async function* source() {
    try {
      while (true) yield itemOf(read++);
    } finally {
      ended = true;
    }
  }
  const taken = [];
  for await (const { index, output } of flash.map(source())) {
    close(output, expected(index));
    taken.push(index);
    assert(read - taken.length <= 8, `${read} items were read, ${taken.length} results taken`);
    if (taken.length === 30) break;
  }
  assert(taken.join() === count(30).join(), "expected the order of the items");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(ended, "the source was not told that nobody reads it any more");
  const seen = new Set();
  for await (const { index } of flash.map(count(20).map(itemOf), { order: "done" })) seen.add(index);
  assert(seen.size === 20, `${seen.size} of 20 results came`);
  // A source that waits for a result before it gives its next item.
  let release;
  async function* waiting() {
    yield itemOf(0);
    await new Promise((resolve) => {
      release = resolve;
    });
    yield itemOf(1);
  }
  const answers = [];
  for await (const { index } of flash.map(waiting())) {
    answers.push(index);
    release?.();
  }
  assert(answers.join() === "0,1", `results ${answers} came`);
  pool.close();
});

check("an error says which item it is about, and the others go on where it is asked for", async (api) => {
  const pool = await api.openPool({ workers: 2 });
  const flash = await pool.create("flash", { dim: 4 });
  const items = count(6).map(itemOf);
  items[4] = [[[1, 2]], keys, values];
  const error = await throws(
    () => flash.forwardBatch(items),
    api.DimensionMismatchError,
    /^item 4: query is \(1, 2\)/,
  );
  assert(
    error.index === 4 && error.expected === 4 && error.actual === 2,
    "expected the figures of the error",
  );
  let failed = 0;
  for await (const result of flash.map(items, { failures: "report" })) {
    if (result.error === undefined) close(result.output, expected(result.index));
    else {
      failed++;
      assert(result.index === 4 && result.error.index === 4, `item ${result.index} failed`);
    }
  }
  assert(failed === 1, `${failed} items failed; expected 1`);
  await throws(
    () => flash.forwardBatch(items, { transfer: true }),
    api.UnsupportedError,
    /^transfer is no option/,
  );
  await throws(() => pool.create("flsh", { dim: 4 }), api.InvalidConfigError, /did you mean 'flash'/);
  await throws(() => api.openPool({ workers: 0 }), api.InvalidConfigError, /^workers is 0/);
  await throws(() => api.openPool({ runtime: "cobol" }), api.InvalidConfigError, /^runtime is 'cobol'/);
  const nowhere = { workerURL: new URL("nowhere.mjs", import.meta.url) };
  await throws(() => api.openPool(nowhere), api.LoadError, /nowhere|cannot load/);
  pool.close();
});

check("a signal stops a batch between its items", async (api) => {
  const pool = await api.openPool({ workers: 2 });
  const flash = await pool.create("flash", { dim: 4 });
  const stop = new AbortController();
  let done = 0;
  const onProgress = () => {
    if (++done === 5) stop.abort(new Error("enough"));
  };
  await throws(
    () => flash.forwardBatch(count(500).map(itemOf), { signal: stop.signal, onProgress }),
    Error,
    /^enough$/,
  );
  assert(done < 20, `${done} items were done after the signal`);
  await throws(() => flash.forward(...itemOf(1), { signal: stop.signal }), Error, /^enough$/);
  close(await flash.forward(...itemOf(2)), expected(2)); // the pool goes on
  pool.close();
});

check(
  "a signal ends a batch whose source waits; what is no option, item or bank of it is refused",
  async (api) => {
    const { UnsupportedError, InvalidConfigError } = api;
    const pool = await api.openPool({ workers: 1 });
    const flash = await pool.create("flash", { dim: 4 });
    async function* source() {
      yield itemOf(0);
      await new Promise(() => {});
    }
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("nobody came")), 30);
    await throws(() => flash.forwardBatch(source(), { signal: stop.signal }), Error, /^nobody came$/);
    const refused = (body, message, Class = UnsupportedError) => throws(body, Class, message);
    for (const items of [undefined, null, 5, "ab"])
      await refused(() => flash.forwardBatch(items), /^items is .*; expected an array, or an iterable/);
    const items = [itemOf(0)];
    await refused(
      () => flash.map(items, { order: "dome" }).next(),
      /^order is 'dome'; expected 'input' or 'done'/,
    );
    await refused(() => flash.map(items, { failures: "skip" }).next(), /^failures is 'skip'/);
    await refused(() => flash.forwardBatch(items, { signal: 5 }), /^signal is a number/);
    await refused(() => flash.forward(...items[0], { signal: 5 }), /^signal is a number/);
    await refused(
      () => flash.forwardBatch(items, { onProgress: 5 }),
      /^onProgress is 5; expected a function/,
    );
    await refused(() => flash.forward(...items[0], { transfer: true }), /^transfer is no option of a pool/);
    await refused(() => pool.create(undefined), /^the name is undefined/);
    await refused(() => api.openPool({ onWorkerLost: 5 }), /^onWorkerLost is 5/);
    await refused(() => api.openPool({ workers: 0 }), /^workers is 0/, InvalidConfigError);
    const other = await api.openPool({ workers: 1 });
    const bank = await other.memory(keys, values);
    await refused(() => flash.forward(queryOf(0), bank), /^the memory is of another pool/);
    const eager = { query: queryOf(0), keys, values, transfer: true };
    await refused(() => flash.forwardBatch([eager]), /^item 0: transfer is no option/);
    close(await flash.forward(...items[0]), expected(0));
    for (const each of [pool, other]) each.close();
  },
);

check("a task that ends two workers is reported with its index, and the others are not lost", async (api) => {
  const poison = (i) => (i === 5 ? "error" : undefined);
  await withMortals(api, { workers: 2 }, poison, async (pool, flash) => {
    const error = await throws(
      () => flash.forwardBatch(count(12).map(itemOf)),
      api.PoisonedTaskError,
      /^item 5 ended two workers/,
    );
    assert(error.index === 5, `the index is ${error.index}`);
    let good = 0;
    for await (const { index, output, error } of flash.map(count(12).map(itemOf), { failures: "report" })) {
      if (index === 5) assert(error instanceof api.PoisonedTaskError, `item 5 gave ${error ?? "a result"}`);
      else {
        close(output, expected(index));
        good++;
      }
    }
    assert(good === 11, `${good} items came through; expected 11`);
    // Two each time, and at most one more where its neighbour was suspected first, whose answer came after the death.
    const { lost } = pool.state;
    assert(lost >= 4 && lost <= 6, `${lost} workers were lost; expected 4 to 6`);
  });
});

check("a worker that hangs is replaced after the time it was given", async (api) => {
  const hung = new Set();
  const hangOnce = (i) => (i === 3 && !hung.has(i) && hung.add(i) ? "hang" : undefined);
  const timeout = 1_234_567;
  const clocks = heldClocks(timeout);
  try {
    await withMortals(api, { workers: 2, timeout }, hangOnce, async (pool, flash) => {
      const seen = new Set();
      for await (const { index, output } of flash.map(count(8).map(itemOf), { order: "done" })) {
        close(output, expected(index));
        seen.add(index);
        // The time is up when there is nothing left but that item, and what waits behind it.
        const isAlone = clocks.running === 1 && pool.state.waiting === 0 && !seen.has(3);
        if (isAlone && [0, 1, 2].every((i) => seen.has(i))) clocks.ring();
      }
      assert(seen.size === 8, `${seen.size} of 8 results came`);
      assert(
        hung.has(3) && clocks.rung === 1,
        `${clocks.rung} clocks rang; expected that of the one that hung`,
      );
      assert(pool.state.lost === 1, `${pool.state.lost} workers were lost; expected the one that hung`);
      assert(clocks.running === 0, `${clocks.running} clocks run on for nothing`);
    });
  } finally {
    clocks.release();
  }
});

check("whatever a worker holds when it dies is done by another", async (api) => {
  const fallen = new Set();
  const dieOnce = (i) => (fallen.has(i) || i % 3 > 0 ? undefined : fallen.add(i) && "exit");
  await withMortals(api, { workers: 2, inFlight: 4 }, dieOnce, async (pool, flash) => {
    const outputs = await flash.forwardBatch(count(30).map(itemOf));
    outputs.forEach((output, i) => {
      close(output, expected(i));
    });
    assert(pool.state.lost > 1, `${pool.state.lost} workers were lost`);
  });
});

check("the successor of a worker has its parameters; deaths are told", async (api) => {
  const told = [];
  const immortalise = await mortality((i) => (i === 9 ? "exit" : undefined));
  const pool = await api.openPool({ ...MORTAL, workers: 1, onWorkerLost: (error) => told.push(error) });
  const source = await api.load({ runtime: "wasm" });
  const taught = await source.create("multi_head", { dim: 4, numHeads: 2, seed: 5 });
  const heads = await pool.create("multi_head", { dim: 4, numHeads: 2 });
  await heads.loadStateDict(taught.stateDictSync());
  await throws(
    () => heads.forward(queryOf(9), keys, keys),
    api.PoisonedTaskError,
    /^item 0 ended two workers/,
  );
  assert(told.length === 2 && told[0] instanceof api.RuntimeLostError, `${told.length} deaths were told`);
  same(await heads.forward(queryOf(1), keys, keys), taught.forwardSync(queryOf(1), keys, keys));
  pool.close();
  immortalise();
});
