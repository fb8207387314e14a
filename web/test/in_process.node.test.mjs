import { describe, test } from "node:test";
import * as module from "../dist/lib/classes.js";
import { bridgeTests } from "./bridge.suite.mjs";
import { trainingNowChecks } from "./classes_training_checks.mjs";

describe("Pyodide in this thread", () =>
  bridgeTests({ worker: false }, (client) => {
    for (const [what, body] of trainingNowChecks) {
      test(what, async () => {
        await module.init(client());
        await body(module);
      });
    }
  }));
