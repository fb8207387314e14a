import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { LoadError, load, RuntimeLostError } from "../dist/lib/index.js";
import { bridgeTests } from "./bridge.suite.mjs";
import { indexURL, ROOT, wheel } from "./runtime.mjs";

describe("Pyodide in a worker thread", () => bridgeTests({ worker: true }));

test("a missing asset is a LoadError that names it", async () => {
  await assert.rejects(load({ indexURL: "/nowhere", wheel, worker: true }), (error) => {
    assert.ok(error instanceof LoadError, error.name);
    assert.match(error.message, /nowhere/);
    return true;
  });
  await assert.rejects(load({ indexURL, wheel: "/nowhere.whl", worker: true }), LoadError);
  await assert.rejects(load({ assetBase: "/nowhere" }), /assets\.json/);
  await assert.rejects(load({ runtime: "cobol" }), LoadError);
  for (const options of ["wasm", null, 5])
    await assert.rejects(load(options), { name: "LoadError", message: /^options is .*; expected an object/ });
});

test("a list of assets that lacks one says which", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ruvector-assets-"));
  for (const [listed, missing] of [
    [{}, "pyodide"],
    [{ pyodide: "pyodide/" }, "wheel"],
  ]) {
    await writeFile(join(folder, "assets.json"), JSON.stringify(listed));
    const message = new RegExp(`assets\\.json does not name ${missing}; expected`);
    await assert.rejects(load({ assetBase: folder }), { name: "LoadError", message });
  }
  await rm(folder, { recursive: true });
});

test("a module that does not compile is a LoadError with Python's words", async () => {
  await assert.rejects(
    load({ indexURL, wheel, modules: { broken: "import nothing_of_that_name" } }),
    (error) => {
      assert.ok(error instanceof LoadError, error.name);
      assert.match(error.message, /nothing_of_that_name/);
      return true;
    },
  );
});

test("closing fails what still waits, and everything after", async () => {
  const ra = await load({ indexURL, wheel });
  const attention = await ra.create("flash", { dim: 2 });
  const waiting = attention.forward([[1, 0]], [[1, 0]], [[1]]);
  ra.close();
  await assert.rejects(waiting, RuntimeLostError);
  await assert.rejects(attention.forward([[1, 0]], [[1, 0]], [[1]]), RuntimeLostError);
  await attention.dispose();
});

test("an idle worker does not keep the program alive", () => {
  const program = `
    import { load } from "./dist/lib/index.js";
    const ra = await load(${JSON.stringify({ indexURL, wheel })});
    const attention = new ra.FlashAttention({ dim: 1 });
    console.log((await attention.forward([[1]], [[1]], [[5]]))[0]);`;
  const { stdout, status, error } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: `${ROOT}web`,
    encoding: "utf8",
    timeout: 300_000,
  });
  assert.equal(error, undefined);
  assert.deepEqual([stdout.trim(), status], ["5", 0]);
});
