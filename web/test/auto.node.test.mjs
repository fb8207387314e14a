/** Both runtimes at once, and the interruption of Python, in Node. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as classes from "../dist/lib/classes.js";
import * as api from "../dist/lib/index.js";
import { indexURL, wheel } from "./runtime.mjs";

const { load } = api;
const query = [[1, 0]];
const [keys, values] = [[[1, 0], [0, 1]], [[3], [5]]]; // biome-ignore format: a matrix each

test("the kernels answer while Pyodide starts, which takes over what they cannot do", async () => {
  const stages = [];
  const ra = await load({
    runtime: "auto",
    indexURL,
    wheel,
    onProgress: ({ stage, fraction }) => stages.push([stage, fraction]),
  });
  assert.equal(ra.isComplete, false);
  assert.ok(ra.mechanisms.includes("hyperbolic") && !ra.mechanisms.includes("learned_routing"));
  const flash = await ra.create("flash", { dim: 2 });
  const bank = await ra.memory(keys, values);
  const output = await flash.forward(query, keys, values);
  const expected = (3 * Math.exp(Math.SQRT1_2) + 5) / (Math.exp(Math.SQRT1_2) + 1);
  assert.ok(Math.abs(output[0] - expected) < 1e-5);
  assert.deepEqual(await flash.forward(query, bank), output);
  for await (const row of flash.forwardStream(query, bank)) assert.equal(row[0], output[0]);
  await assert.rejects(flash.forward([[1, 2, 3]], keys, values), api.DimensionMismatchError);
  await assert.rejects(ra.create("flash", { dim: 0 }), api.InvalidConfigError);
  assert.equal(ra.isComplete, false); // all of that came before Python was there
  assert.equal(flash.runtime, "wasm");

  const heads = await ra.create("multi_head", { dim: 2, numHeads: 1, seed: 3 });
  const before = await heads.forward(query, keys, keys);
  // Beyond the kernels: a setting, and gradients, for which the object moves with its parameters.
  const hyperbolic = await ra.create("hyperbolic", { dim: 2, aggregation: "frechet" });
  assert.equal(hyperbolic.runtime, "pyodide");
  const moe = await ra.create("moe", { dim: 2, experts: "flash, auto", topK: 1 }); // an expert of Python's
  assert.equal(moe.runtime, "pyodide");
  await moe.dispose();
  assert.equal(ra.isComplete, true);
  assert.ok(ra.mechanisms.includes("learned_routing"));
  await heads.forward(query, keys, keys, { training: true });
  const gradients = await heads.backward([[1, 1]]);
  assert.ok("query" in gradients);
  assert.equal(heads.runtime, "pyodide");
  const after = await heads.forward(query, keys, keys);
  after.forEach((x, i) => {
    assert.ok(Math.abs(x - before[i]) < 1e-6, `${x} after, ${before[i]} before`);
  });
  await flash.forward(query, keys, values, { training: true });
  assert.ok(Math.abs((await flash.forward(query, bank))[0] - expected) < 1e-5); // the memory came along
  await bank.append([[1, 1]], [[7]]);
  assert.ok((await flash.forward(query, bank))[0] > output[0]);
  await classes.init(ra); // classes of training are in the runtime that started behind
  const adam = new classes.AdamOptimizer(0.5);
  assert.deepEqual(Array.from(await adam.stepAsync(Float32Array.of(1), Float32Array.of(3))), [0.5]);
  await assert.rejects(new classes.InfoNCELoss(-1).computeAsync([1], [1], [[1]]), api.InvalidConfigError);
  await adam.dispose();
  const fractions = stages.map(([, fraction]) => fraction);
  assert.deepEqual(fractions, [...fractions].sort());
  assert.deepEqual(stages.at(-1), ["Ready", 1]);
  await Promise.all([flash, heads, hyperbolic, bank].map((object) => object.dispose()));
  ra.close();
});

test("without Pyodide the kernels go on, and say what is missing", async () => {
  const ra = await load({ runtime: "auto", assetBase: new URL("nowhere/", import.meta.url) });
  const flash = await ra.create("flash", { dim: 2 });
  assert.equal((await flash.forward(query, [[1, 0]], [[9]]))[0], 9);
  await assert.rejects(ra.create("learned_routing", { dim: 2 }), { name: "LoadError", message: /nowhere/ });
  await assert.rejects(flash.forward(query, keys, values, { training: true }), api.LoadError);
  assert.equal((await flash.forward(query, [[1, 0]], [[9]]))[0], 9);
  ra.close();
});

test("a signal interrupts Python in the middle of a call, which then goes on with the next", async () => {
  const source = `
class Busy:
    def __init__(self):
        self.count = 0

    def forward(self):
        from js import BroadcastChannel
        while True:
            self.count += 1
            if self.count == 1000:
                BroadcastChannel.new("busy").postMessage("in the middle")

    def counted(self):
        return self.count
`;
  const ra = await load({ indexURL, wheel, modules: { busy: source } });
  assert.equal(ra.canInterrupt, true);
  const busy = await ra.create("busy:Busy", {});
  const stop = new AbortController();
  const channel = new BroadcastChannel("busy");
  channel.onmessage = () => stop.abort(new Error("enough"));
  const endless = busy.call("forward", { signal: stop.signal });
  const next = busy.call("counted");
  await assert.rejects(endless, /^Error: enough$/);
  channel.close();
  assert.ok((await next) >= 1000);
  // A signal that comes after its call is done, and one of a call that waits, stop no other.
  const late = new AbortController();
  await busy.call("counted", { signal: late.signal });
  late.abort();
  assert.ok((await busy.call("counted")) > 0);
  ra.close();
});
