/** The runtime of the addon, once with each instruction set that this machine has: what wasm must do, and more. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import * as native from "../dist/lib/native.js";
import { addon, BINARY } from "./native_binary.mjs";
import { once } from "./once.mjs";
import { vectorFiles } from "./vectors.mjs";
import { assert } from "./wasm_assert.mjs";
import { checks } from "./wasm_checks.mjs";
import { checkVectors } from "./wasm_golden.mjs";

const load = (options = {}) => native.load({ binary: BINARY, ...options });

for (const backend of addon.targets()) {
  describe(backend, () => {
    let ra;
    before(async () => {
      ra = await load({ backend });
    });
    after(() => ra.close());

    test("the backend is told", () => assert(ra.backend === backend, `it is ${ra.backend}`));
    for (const [what, body] of checks)
      if (backend === addon.targets()[0] || !once(what))
        test(what, () => body(ra, { ...native, load }, backend));
    test("golden vectors", () => {
      let cases = 0;
      for (const file of vectorFiles())
        cases += checkVectors(ra, basename(file), JSON.parse(readFileSync(file, "utf8")));
      assert(cases >= 40, `${cases} cases; expected tests/vectors to hold more`);
    });
  });
}
