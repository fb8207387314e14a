/** The runtime of the kernels in Node, once with each instruction set that it can run. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import * as whole from "../dist/lib/index.js";
import * as api from "../dist/lib/wasm.js";
import { memoryTests } from "./memory.suite.mjs";
import { once } from "./once.mjs";
import { vectorFiles } from "./vectors.mjs";
import { assert, close } from "./wasm_assert.mjs";
import { checks } from "./wasm_checks.mjs";
import { checkVectors } from "./wasm_golden.mjs";
import { attention, random } from "./wasm_reference.mjs";
import { workerChecks } from "./wasm_worker_checks.mjs";

// Node 20 has relaxed SIMD behind a flag, which counts from the next module on.
if (!api.supportedBackends().includes("wasm-relaxed-simd"))
  setFlagsFromString("--experimental-wasm-relaxed-simd");

for (const backend of ["wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"]) {
  const missing =
    !api.supportedBackends().includes(backend) && `this Node does not run ${backend}; Node 21 does`;
  describe(backend, { skip: missing }, () => {
    let ra;
    before(async () => {
      ra = await api.load({ backend });
    });
    after(() => ra.close());

    for (const [what, body] of checks)
      if (backend === "wasm-simd128" || !once(what)) test(what, () => body(ra, api, backend));
    test("golden vectors", () => {
      const files = vectorFiles();
      let cases = 0;
      for (const file of files)
        cases += checkVectors(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
      assert(cases >= 40, `${cases} cases in ${files.length} files; expected tests/vectors to hold more`);
    });
  });
}

describe("a worker thread", () => {
  let ra;
  before(async () => {
    ra = await api.load({ worker: true });
  });
  after(() => ra?.close());
  for (const [what, body] of workerChecks) test(what, () => body(ra, api));
});

describe("the package's own tests of a memory, in a worker thread", () => {
  let ra;
  before(async () => {
    ra = await whole.load({ runtime: "wasm", worker: true });
  });
  after(() => ra?.close());
  const [query, keys, values] = [
    [5, 8],
    [7, 8],
    [7, 3],
  ].map((shape, i) => rowsOf(random(shape, i + 1)));
  const flat = (rows) => whole.tensor(Float32Array.from(rows.flat()), [rows.length, rows[0].length]);
  const formula = (q, k, v, scale, allowed = () => true) => {
    const mask = { data: q.flatMap((_, i) => k.map((_, j) => allowed(i, j))), shape: [q.length, k.length] };
    const shaped = (rows) => ({ data: rows.flat(), shape: [rows.length, rows[0].length] });
    return rowsOf(attention(shaped(q), shaped(k), shaped(v), { scale, mask }).output);
  };
  const near = (actual, expected, tolerance = 2e-6) => {
    const data = expected.flat(Infinity);
    close(actual, { data, shape: actual.shape }, tolerance);
  };
  const given = { runtime: () => ra, query, keys, values, reference: formula, close: near, flat };
  memoryTests(given, { worker: true });
});

/** A matrix as an array of arrays. */
function rowsOf({ data, shape: [n, width] }) {
  return Array.from({ length: n }, (_, i) => [...data.slice(i * width, (i + 1) * width)]);
}

test("the whole package loads the same runtime, with its own errors", async () => {
  const ra = await whole.load({ runtime: "wasm" });
  const flash = ra.createSync("flash", { dim: 2 });
  assert(flash.forwardSync([[1, 0]], [[1, 0]], [[5]])[0] === 5, "expected the only value");
  try {
    flash.forwardSync([[1]], [[1, 0]], [[5]]);
  } catch (error) {
    assert(error instanceof whole.DimensionMismatchError, `${error.name} of another module`);
    return;
  }
  throw new Error("no error");
});

test("a call that copies its arrays in windows takes little memory, however long they are", async () => {
  const ra = await api.load();
  const flash = ra.createSync("flash", { dim: 32 });
  const long = random([1, 8192, 32], 1);
  const { used } = ra.heap;
  const output = flash.forwardSync(long, long, long);
  const taken = ra.heap.used - used; // 1 MB each are queries, keys, values and output
  assert(taken > 0 && taken <= 1.3e6, `${taken} bytes of the kernels' memory; expected at most 1.3 MB`);
  const bank = { data: long.data, shape: [8192, 32] };
  const rowOf = (data) => data.slice(32 * 8000, 32 * 8001);
  const expected = attention({ data: rowOf(long.data), shape: [1, 32] }, bank, bank).output;
  close(api.tensor(rowOf(output), [1, 32]), expected);
});

/** What a program of its own prints. */
function run(program, ...flags) {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...flags, "--input-type=module", "-e", program],
    {
      cwd: new URL("..", import.meta.url),
      encoding: "utf8",
      timeout: 60_000,
    },
  );
  assert(status === 0, `the program ended with ${status}: ${stderr}`);
  return stdout.trim();
}

test("describe tells of every class in words, without that the runtime holds them", async () => {
  const ra = await api.load();
  const { mechanisms, backend, version } = await ra.describe();
  assert(backend === ra.backend && version === ra.version, `${backend} ${version}`);
  for (const mechanism of mechanisms) {
    assert(typeof ra[mechanism.class] === "function", `there is no ${mechanism.class}`);
    assert(
      mechanism.config.every(({ doc }) => doc.length > 0),
      `${mechanism.name} has a setting without words`,
    );
  }
  const names = mechanisms.map(({ name }) => name);
  assert(names.sort().join() === [...ra.mechanisms].sort().join(), `described are ${names}`);
});

const byFlags = { skip: "Deno" in globalThis && "the program is started by Node's own flags" };

test("an idle worker does not keep the program alive", byFlags, () => {
  const program = `
    import { load } from "./dist/lib/wasm.js";
    const ra = await load({ worker: true });
    const flash = await ra.create("flash", { dim: 1 });
    console.log((await flash.forward([[1]], [[1]], [[5]]))[0]);`;
  assert(run(program) === "5", "expected 5");
});

test("what was forgotten is freed by the garbage collector", byFlags, () => {
  const program = `
    import { load } from "./dist/lib/wasm.js";
    const ra = await load();
    const heads = ra.createSync("multi_head", { dim: 8, numHeads: 2 });
    heads.forwardSync([[1,2,3,4,5,6,7,8]], [[1,2,3,4,5,6,7,8]], [[1,2,3,4,5,6,7,8]]);
    const { used } = ra.heap;
    (() => {
      for (let i = 0; i < 50; i++) {
        const bank = ra.memorySync(new Array(100).fill([1, 2, 3, 4, 5, 6, 7, i]));
        heads.forwardSync([[1,2,3,4,5,6,7,8]], bank);
        ra.createSync("self_attention", { dim: 8, numHeads: 2 }).forwardSync([[1,2,3,4,5,6,7,8]]);
      }
    })();
    const held = ra.heap.used;
    for (let i = 0; i < 20 && ra.heap.used > used; i++) {
      await new Promise((done) => setTimeout(done, 10));
      gc();
    }
    console.log(held - used > 50 * 6400, ra.heap.used - used, ra.handles);`;
  const printed = run(program, "--expose-gc");
  assert(printed === "true 0 1", `more was held, bytes still held, objects: ${printed}; expected true 0 1`);
});
