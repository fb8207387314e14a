/** The classes by other packages' names, in Node. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as module from "../dist/lib/classes.js";
import { load } from "../dist/lib/index.js";
import { anyChecks, kernelChecks } from "./classes_checks.mjs";
import { pyodideChecks } from "./classes_pyodide_checks.mjs";
import { signatureChecks } from "./classes_signature_checks.mjs";
import { trainingChecks, trainingElsewhereChecks, untrainedChecks } from "./classes_training_checks.mjs";
import { indexURL, wheel } from "./runtime.mjs";

test("a class without a runtime says how to load one", () => {
  assert.throws(() => new module.FlashAttention(8, 16), { name: "LoadError", message: /await init\(\)/ });
});

describe("over the kernels", () => {
  before(() => module.init());
  for (const [what, body] of [...kernelChecks, ...signatureChecks, ...anyChecks, ...untrainedChecks])
    test(what, () => body(module));
});

describe("over Pyodide", () => {
  let ra;
  before(async () => {
    ra = await load({ indexURL, wheel });
    await module.init(ra);
  });
  after(() => ra?.close());
  const training = [...trainingChecks, ...trainingElsewhereChecks];
  for (const [what, body] of [...pyodideChecks, ...anyChecks, ...training]) test(what, () => body(module));
});
