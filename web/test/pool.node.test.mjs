/** The pool of workers in Node. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import * as api from "../dist/lib/index.js";
import { loseNothing, poolChecks } from "./pool_checks.mjs";
import { ROOT } from "./runtime.mjs";

for (const [what, body] of poolChecks) test(what, () => body(api));

test("1 000 killed workers lose no task", { timeout: 300_000 }, async () => {
  console.log(`1 000 workers died and were replaced in ${(await loseNothing(api, 1000, 4)).toFixed(1)} s`);
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
    timeout: 60_000,
  });
  assert.deepEqual([stdout.trim(), status], ["5,6", 0]);
});
