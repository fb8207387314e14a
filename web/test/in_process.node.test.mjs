import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as module from "../dist/lib/classes.js";
import { bridgeTests } from "./bridge.suite.mjs";
import { trainingNowChecks } from "./classes_training_checks.mjs";

describe("Pyodide in this thread", () =>
  bridgeTests({ worker: false }, (client) => {
    test("what is made at once is called at once, between calls that wait", async () => {
      const ra = client();
      const attention = ra.createSync("scaled_dot_product", { dim: 2 });
      const waiting = attention.forward([[1, 0]], [[1, 0]], [[3, 4]]);
      assert.deepEqual(Array.from(attention.callSync("forward", [[1, 0]], [[1, 0]], [[5, 6]])), [5, 6]);
      assert.deepEqual(Array.from(await waiting), [3, 4]);
      assert.throws(() => attention.callSync("forward", [[1]], [[1, 0]], [[5, 6]]), {
        name: "DimensionMismatchError",
      });
      assert.throws(() => ra.createSync("flash", { dim: 0 }), { name: "InvalidConfigError" });
      await attention.dispose();
      assert.throws(() => attention.callSync("reset"), { name: "RuntimeLostError" });
    });

    for (const [what, body] of trainingNowChecks) {
      test(what, async () => {
        await module.init(client());
        await body(module);
      });
    }
  }));
