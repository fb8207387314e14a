/**
 * The runtime on a processor that is emulated: golden vectors with every instruction set, here and on threads.
 *
 *   node emulated.mjs BINARY    prints a line a backend: its name, and how many cases
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { load } from "../dist/lib/native.js";
import { vectorFiles } from "./vectors.mjs";
import { checkVectors } from "./wasm_golden.mjs";
import { random } from "./wasm_reference.mjs";

const [binary] = process.argv.slice(2);
for (const backend of createRequire(import.meta.url)(binary).targets()) {
  const ra = await load({ binary, backend, threads: 3 });
  assert.equal(ra.backend, backend);
  let cases = 0;
  for (const file of vectorFiles())
    cases += checkVectors(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
  const heads = ra.createSync("multi_head", { dim: 32, numHeads: 2 });
  const inputs = [random([600, 32], 1), random([500, 32], 2), random([500, 32], 3)];
  const expected = heads.forwardSync(...inputs);
  assert.deepEqual(await heads.forward(...inputs), expected);
  await assert.rejects(() => heads.forward([[1, 2]], ...inputs.slice(1)), { name: "DimensionMismatchError" });
  console.log(process.arch, backend, cases);
}
