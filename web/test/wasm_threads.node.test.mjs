/** The runtime of the kernels with threads on shared memory, in Node. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import * as api from "../dist/lib/wasm.js";
import { vectorFiles } from "./vectors.mjs";
import { assert } from "./wasm_assert.mjs";
import { checks } from "./wasm_checks.mjs";
import { checkPromises } from "./wasm_golden.mjs";
import { inSmallParts, threadChecks } from "./wasm_thread_checks.mjs";

// Node 20 has relaxed SIMD behind a flag, which counts from the next module on.
if (!api.supportedBackends().includes("wasm-relaxed-simd"))
  setFlagsFromString("--experimental-wasm-relaxed-simd");

for (const backend of ["wasm-relaxed-simd", "wasm-simd128"]) {
  const missing =
    !api.supportedBackends().includes(backend) && `this Node does not run ${backend}; Node 21 does`;
  describe(backend, { skip: missing }, () => {
    let ra;
    let one;
    before(async () => {
      [ra, one] = await Promise.all([api.load({ backend, threads: 2 }), api.load({ backend })]);
    });
    after(() => ra?.close());

    test("golden vectors", async () => {
      let cases = 0;
      await inSmallParts(ra, async () => {
        for (const file of vectorFiles())
          cases += await checkPromises(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
      });
      assert(cases >= 40, `${cases} cases; expected tests/vectors to hold more`);
    });
    if (backend === "wasm-simd128")
      for (const [what, body] of threadChecks) test(what, () => body(ra, one, api));
  });
}

describe("what one thread does", () => {
  let ra;
  before(async () => {
    ra = await api.load({ backend: "wasm-simd128", threads: 2 });
  });
  after(() => ra?.close());
  for (const [what, body] of checks)
    if (!/100 000|a call that copies/.test(what)) test(what, () => body(ra, api, "wasm-simd128"));
});

const byFlags = { skip: "Deno" in globalThis && "the program is started by Node's own flags" };

/** What a program of its own prints. */
function run(program, ...flags) {
  const words = [...flags, "--input-type=module", "-e", program];
  const cwd = new URL("..", import.meta.url);
  const { stdout, stderr, status } = spawnSync(process.execPath, words, {
    cwd,
    encoding: "utf8",
    timeout: 300_000,
  });
  assert(status === 0, `the program ended with ${status}: ${stderr}`);
  return stdout.trim();
}

test("idle threads do not keep the program alive, a call that is under way does", byFlags, () => {
  const program = `
    import { load } from "./dist/lib/wasm.js";
    const ra = await load({ threads: 2 });
    const flash = ra.createSync("flash", { dim: 64 });
    const x = { data: new Float32Array(4 * 500 * 64).fill(2), shape: [4, 500, 64] };
    flash.forward(x, x, x).then((output) => console.log(output.every((each) => each === 2)));`;
  assert(run(program) === "true", "expected every value to be the only one");
});

test("the threads of a runtime that was forgotten are ended by the garbage collector", byFlags, () => {
  const program = `
    import threads from "node:worker_threads";
    import { load } from "./dist/lib/wasm.js";
    let ended = 0;
    const { terminate } = threads.Worker.prototype;
    threads.Worker.prototype.terminate = function () {
      ended++;
      return terminate.call(this);
    };
    await (async () => {
      const ra = await load({ threads: 2 });
      await ra.createSync("flash", { dim: 1 }).forward([[1]], [[1]], [[5]]);
    })();
    for (let i = 0; i < 6000 && ended < 2; i++) {
      await new Promise((done) => setTimeout(done, 10));
      gc();
    }
    console.log(ended >= 2);`;
  assert(run(program, "--expose-gc") === "true", "expected two threads to be ended");
});
