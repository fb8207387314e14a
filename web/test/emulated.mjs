/**
 * The runtime on another system or processor: golden vectors with every instruction set, here and on threads.
 *
 *   node emulated.mjs BINARY    prints a line a backend: the system, the processor, its name, and how many cases
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { load } from "../dist/lib/native.js";
import { vectorFiles } from "./vectors.mjs";
import { checkVectors } from "./wasm_golden.mjs";
import { random } from "./wasm_reference.mjs";

const binary = resolve(process.argv[2]);
const system = process.platform === "linux" ? libc() : process.platform;
const threads = 3;

// by its path, as the system writes it, and by what else names it
for (const place of [
  binary,
  relative(process.cwd(), binary),
  pathToFileURL(binary),
  pathToFileURL(binary).href,
])
  await load({ binary: place, threads });

for (const backend of createRequire(import.meta.url)(binary).targets()) {
  const ra = await load({ binary, backend, threads });
  assert.equal(ra.backend, backend);
  let cases = 0;
  for (const file of vectorFiles())
    cases += checkVectors(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
  const heads = ra.createSync("multi_head", { dim: 32, numHeads: 2 });
  const inputs = [random([600, 32], 1), random([500, 32], 2), random([500, 32], 3)];
  const expected = heads.forwardSync(...inputs);
  assert.deepEqual(await heads.forward(...inputs), expected);
  await assert.rejects(() => heads.forward([[1, 2]], ...inputs.slice(1)), { name: "DimensionMismatchError" });
  console.log(system, process.arch, backend, cases);
}

function libc() {
  return process.report.getReport().header.glibcVersionRuntime ? "glibc" : "musl";
}
