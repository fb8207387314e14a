/** The pool of workers in Node. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import * as api from "../dist/lib/index.js";
import { loseNothing, poolChecks } from "./pool_checks.mjs";
import { indexURL, ROOT, wheel } from "./runtime.mjs";

for (const [what, body] of poolChecks) test(what, () => body(api));

test("1 000 killed workers lose no task", async () => {
  console.log(`1 000 workers died and were replaced in ${(await loseNothing(api, 1000, 4)).toFixed(1)} s`);
});

test("workers of Pyodide compute what only Python has", async () => {
  const pool = await api.openPool({ runtime: "pyodide", workers: 1, indexURL, wheel });
  const hyperbolic = await pool.create("hyperbolic", { dim: 2 });
  const items = [1, 2, 3].map((i) => [[[0.1, 0.2]], [[0.3, 0.1]], [[0.1 * i, 0.2]]]);
  const outputs = await hyperbolic.forwardBatch(items);
  outputs.forEach((output, i) => {
    // Of one key, its value.
    assert.ok(Math.abs(output[0] - 0.1 * (i + 1)) < 1e-6 && Math.abs(output[1] - 0.2) < 1e-6);
  });
  await assert.rejects(hyperbolic.forwardBatch([items[0], [[[1, 2, 3]], [[1]], [[1]]]]), (error) => {
    return error instanceof api.DimensionMismatchError && error.index === 1;
  });
  pool.close();
});

test("an idle pool does not keep the program alive", () => {
  const program = `
    import { openPool } from "./dist/lib/index.js";
    const pool = await openPool({ workers: 2 });
    const flash = await pool.create("flash", { dim: 1 });
    console.log((await flash.forwardBatch([[[[1]], [[1]], [[5]]], [[[1]], [[1]], [[6]]]])).map(([x]) => x).join());`;
  const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: `${ROOT}web`,
    encoding: "utf8",
    timeout: 300_000,
  });
  assert.deepEqual([stdout.trim(), status], ["5,6", 0]);
});
