/** Starts of Pyodide in Node from what an earlier one kept in a folder, on every Pyodide that is here. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "esbuild";
import * as library from "../dist/lib/index.js";
import { indexURL, ROOT, wheel } from "./runtime.mjs";
import { assertGolden, changed, golden, KEPT, READING, sha256, startAndCompute } from "./start_checks.mjs";

const { clearCache, load, LoadError } = library;

/** Imported by the start: what it finds is as it is without a cache, except that nothing is compiled. */
const PROBE = `
import inspect, json, sys, traceback
import numpy
import ruvector_attention as ra
assert json.__file__.endswith("json/__init__.pyc"), json.__file__
assert inspect.getsource(json.dumps).startswith("def dumps"), "the library's sources are there"
assert inspect.getsource(ra.FlashAttention).startswith("@register"), "the package's sources are there"
for module in (numpy, ra):
    with open(module.__cached__, "rb") as file:
        head = file.read(8)
    assert head == __import__("importlib.util").util.MAGIC_NUMBER + bytes([1, 0, 0, 0]), head
import html.parser  # nothing of a start: it is compiled as ever
try:
    json.loads("[")
except ValueError as error:
    trace = "".join(traceback.format_exception(error))
assert "raise JSONDecodeError" in trace, trace
`;

let scratch;
before(() => {
  scratch = mkdtempSync(join(tmpdir(), "ruvector-starts-"));
});
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A folder with the files of that Pyodide, which a test may take away. */
function pyodideIn(folder, from) {
  mkdirSync(folder);
  for (const name of readdirSync(from)) symlinkSync(join(from, name), join(folder, name));
  return folder;
}

const current = basename(indexURL);
for (const version of new Set([current, "0.27.8", "314.0.7"])) {
  const origin = join(dirname(indexURL), version);
  const missing = !existsSync(join(origin, "pyodide.mjs")) && `no Pyodide in ${origin}`;
  describe(`Pyodide ${version}`, { skip: missing }, () => {
    let options;
    let cache;
    before(() => {
      const folder = pyodideIn(join(scratch, version), origin);
      cache = join(scratch, `${version} kept`);
      options = { indexURL: folder, wheel, cache };
    });

    test("a start is kept when it has answered", async () => {
      const { stages, outputs } = await startAndCompute(library, options, golden);
      assertGolden(outputs);
      assert.deepEqual(stages.slice(-2), ["Ready", KEPT]);
      assert.equal(readdirSync(cache).length, 1);
    });

    if (version === current)
      test("what is kept is ignored and replaced where a byte of it is another", async () => {
        const file = () => join(cache, readdirSync(cache)[0]);
        const damaged = readFileSync(file());
        damaged[damaged.length >> 1] ^= 1;
        writeFileSync(file(), damaged);
        const { stages, outputs } = await startAndCompute(library, options, golden);
        assertGolden(outputs);
        assert.ok(stages.includes("Loading NumPy"), stages.join());
        assert.equal(stages.at(-1), KEPT);
        const whole = readFileSync(file());
        assert.equal(whole.subarray(8, 40).toString("hex"), sha256(whole.subarray(40)));
      });

    test("the next one needs neither NumPy's wheel nor the library, and computes the same", async () => {
      for (const name of readdirSync(options.indexURL))
        if (/^numpy-|^python_stdlib/.test(name)) rmSync(join(options.indexURL, name));
      const modules = { probe: PROBE };
      for (const worker of [true, false]) {
        const { stages, outputs } = await startAndCompute(library, { ...options, worker, modules }, golden);
        assertGolden(outputs);
        assert.deepEqual(stages, [READING, "Starting Python", "Importing", "Ready"]);
      }
    });
  });
}

describe("what is kept", () => {
  let options;
  let cache;
  before(() => {
    cache = join(scratch, "kept");
    options = { indexURL, wheel: join(scratch, basename(wheel)), cache };
    copyFileSync(wheel, options.wheel);
  });
  const file = () => {
    const files = readdirSync(cache);
    assert.equal(files.length, 1, files.join());
    return join(cache, files[0]);
  };

  test("is not of a wheel that was changed, whose start takes its place", async () => {
    await startAndCompute(library, options, []);
    const before = file();
    writeFileSync(options.wheel, changed(readFileSync(wheel)));
    const { stages } = await startAndCompute(library, options, []);
    assert.ok(stages.includes("Loading NumPy"), stages.join());
    assert.notEqual(file(), before);
    assert.equal((await startAndCompute(library, options, [])).stages[1], "Starting Python");
  });

  test("goes with clearCache", async () => {
    assert.equal(await clearCache(cache), true);
    assert.deepEqual(readdirSync(cache), []);
    assert.equal(await clearCache(cache), false);
    assert.equal(await clearCache(join(scratch, "never made")), false);
  });

  test("is nothing where the folder cannot be made, and the start goes on", async () => {
    const inFile = join(options.wheel, "folder");
    const { stages, outputs } = await startAndCompute(library, { ...options, cache: inFile }, golden);
    assertGolden(outputs);
    assert.match(stages.at(-1), /^Not kept: .*(ENOTDIR|EEXIST)/);
  });

  test("is in a folder that has a name", async () => {
    for (const given of [true, "", 5, null]) {
      await assert.rejects(load({ ...options, cache: given }), (error) => {
        assert.ok(error instanceof LoadError);
        assert.match(error.message, /^cache is .*; expected the path of a folder, or false$/);
        return true;
      });
    }
    await assert.rejects(clearCache(), /cache is true/);
  });
});

const bundle = await build({
  stdin: {
    contents: 'export * from "./src/start_archive.ts"; export * from "./src/worker_life.ts";',
    resolveDir: join(ROOT, "web"),
    loader: "ts",
  },
  bundle: true,
  format: "esm",
  write: false,
});
const { pack, unpack, WorkerLife } = await import(
  `data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].text).toString("base64")}`
);

test("a worker may end what it keeps before it ends itself, unless a call is on its way", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const events = [];
  const life = () =>
    new WorkerLife(
      () => events.push("end"),
      (isNeeded) => events.push(isNeeded ? "hold" : "free"),
    );
  const told = () => events.splice(0).join();

  const plain = life();
  plain.busy(true);
  plain.busy(false);
  plain.end();
  assert.equal(told(), "hold,free,end");

  const keeps = life();
  keeps.busy(true);
  keeps.heard({ keeping: true });
  keeps.heard({ stage: "Ready" });
  keeps.busy(false);
  keeps.end();
  assert.equal(told(), "hold,hold,hold", "held for what it keeps");
  keeps.heard({ keeping: false });
  assert.equal(told(), "end");
  t.mock.timers.tick(60_000);
  assert.equal(told(), "", "and once only");

  const idle = life();
  idle.heard({ keeping: true });
  idle.heard({ keeping: false });
  assert.equal(told(), "hold,free");

  const stuck = life();
  stuck.heard({ keeping: true });
  stuck.busy(true);
  stuck.end();
  assert.equal(told(), "hold,hold,end", "a call that may never end is no reason to wait");

  const slow = life();
  slow.heard({ keeping: true });
  slow.end();
  told();
  t.mock.timers.tick(60_000);
  assert.equal(told(), "end", "it does not get for ever");
});

test("files come back as they were packed, for their key alone, and from whole bytes alone", async () => {
  const files = new Map([
    ["/a/empty", new Uint8Array(0)],
    ["/a/ü.py", Uint8Array.of(1, 2, 3)],
    ["/b", new Uint8Array(70_000).fill(7)],
  ]);
  const packed = await pack("key", files);
  assert.deepEqual(await unpack("key", packed), files);
  const view = new Uint8Array([0, 0, 0, ...packed]).subarray(3);
  assert.deepEqual(await unpack("key", view), files, "a view");
  assert.equal(await unpack("another key", packed), undefined);
  for (const length of [0, 7, 8, 43, 44, 60, packed.length - 1])
    assert.equal(await unpack("key", packed.slice(0, length)), undefined, `${length} bytes`);
  assert.equal(await unpack("key", Buffer.concat([packed, Buffer.alloc(1)])), undefined, "a byte more");
  for (const at of [0, 8, 40, 43, 44, 60, 300, packed.length - 1]) {
    const damaged = packed.slice();
    damaged[at] ^= 128;
    assert.equal(await unpack("key", damaged), undefined, `byte ${at}`);
  }
});
