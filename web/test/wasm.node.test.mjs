/** The runtime of the kernels in Node, once with each instruction set that it can run. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import * as api from "../dist/lib/wasm.js";
import { assert, checks, checkVectors } from "./wasm_checks.mjs";
import { vectorFiles } from "./vectors.mjs";

// Node 20 has relaxed SIMD behind a flag, which counts from the next module on.
if (!api.supportedBackends().includes("wasm-relaxed-simd")) setFlagsFromString("--experimental-wasm-relaxed-simd");

for (const backend of ["wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"]) {
  const missing = !api.supportedBackends().includes(backend) && `this Node does not run ${backend}; Node 21 does`;
  describe(backend, { skip: missing }, () => {
    let ra;
    before(async () => {
      ra = await api.load({ backend });
    });
    after(() => ra.close());

    for (const [what, body] of checks) test(what, () => body(ra, api, backend));
    test("golden vectors", () => {
      const files = vectorFiles();
      let cases = 0;
      for (const file of files) cases += checkVectors(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
      assert(cases >= 40, `${cases} cases in ${files.length} files; expected tests/vectors to hold more`);
    });
  });
}
