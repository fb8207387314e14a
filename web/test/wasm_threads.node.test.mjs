/** The runtime of the kernels with threads on shared memory, in Node. */
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
