/**
 * The runtimes that need no addon, on another system, from files by their paths there.
 *
 *   node other_runtimes.mjs    prints a line for each: the system, the runtime, where it runs
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { load, tensor } from "../dist/lib/index.js";
import { close } from "./wasm_assert.mjs";
import { attention, random } from "./wasm_reference.mjs";

const RUNS = [
  ["wasm", false, "lib"],
  ["wasm", true, "lib"],
  ["pyodide", true, "page"],
];
const inputs = [random([9, 8], 1), random([7, 8], 2), random([7, 3], 3)];
const expected = attention(...inputs).output;

for (const [runtime, worker, folder] of RUNS) {
  const assetBase = fileURLToPath(new URL(`../dist/${folder}`, import.meta.url)); // as this system writes it
  const ra = await load({ runtime, worker, assetBase });
  const flash = await ra.create("flash", { dim: 8 });
  close(await flash.forward(...inputs.map(({ data, shape }) => tensor(data, shape))), expected);
  await assert.rejects(async () => flash.forward([[1]], [[2]], [[3]]), { name: "DimensionMismatchError" });
  await ra.close();
  console.log(process.platform, runtime, worker ? "worker" : "here");
}
