/** The table at the end of `npm test`: what node:test reports is counted once, by engine, and nothing is lost. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readLines, rowsOf, skippedRow, table } from "./engine_table.mjs";

const TEST = fileURLToPath(new URL(".", import.meta.url));
const LOG = new URL("engine_log.mjs", import.meta.url).href;
let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "ruvector-table-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** The rows of one file of tests, as test/run.mjs makes them. */
function rowsFor(suite, source) {
  const [file, results, log] = ["some.test.mjs", "results.jsonl", "log.jsonl"].map((name) =>
    join(folder, name),
  );
  for (const old of [results, log]) rmSync(old, { force: true });
  writeFileSync(
    file,
    `import { describe, test } from "node:test"; import { logEngine } from "${LOG}";\n${source}`,
  );
  const reporter = [
    `--test-reporter=${join(TEST, "engine_reporter.mjs")}`,
    `--test-reporter-destination=${results}`,
  ];
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined, RUVECTOR_ENGINE_LOG: log };
  const { status } = spawnSync(process.execPath, ["--test", ...reporter, file], { env });
  return { status, rows: rowsOf(suite, readLines(results), readLines(log)) };
}

const figures = ({ engine, passed, failed, skipped }) => [engine, passed, failed, skipped];

test("tests are counted as node:test counts them, for the Node that runs them", () => {
  const source = `
    test("passes", () => {});
    describe("a suite", () => { test("inside", () => {}); test("fails", () => { throw new Error("no"); }); });
    test("left out", { skip: "no such thing here" }, () => {});
    test("with parts", async (t) => { await t.test("a part", () => {}); });`;
  const { status, rows } = rowsFor("node", source);
  assert.equal(status, 1);
  assert.deepEqual(rows.map(figures), [[`Node ${process.versions.node}`, 4, 1, 1]]);
  assert.deepEqual(rows[0].reasons, ["no such thing here"]);
});

test("a file's tests are those of the engine that it logs", () => {
  const { rows } = rowsFor("page", `logEngine("Chromium", "Chromium 1.2"); test("passes", () => {});`);
  assert.deepEqual(rows.map(figures), [["Chromium 1.2", 1, 0, 0]]);
});

test("engines have a row each: one that failed to start, and one that is not there, too", () => {
  const source = `
    describe("One", () => { test("passes", () => logEngine("One", "One 3.0", { passed: 40, skipped: 2 })); });
    describe("Two", () => { test("starts", () => { throw new Error("it does not"); }); });
    describe("Three", { skip: "no Three; fetch it" }, () => { test("never runs", () => {}); });`;
  const { rows } = rowsFor("engines", source);
  assert.deepEqual(rows.map(figures), [
    ["One 3.0", 41, 0, 2],
    ["Two", 0, 1, 0],
    ["Three", 0, 0, 1],
  ]);
  assert.match(table(rows), /^Three +engines +0 +0 +1 +\d+\.\d +skipped: no Three; fetch it$/m);
});

test("a suite that fails before its tests, or after them, is a failure", () => {
  const source = `describe("a suite", () => { after(() => { throw new Error("no"); }); test("passes", () => {}); });`;
  const { status, rows } = rowsFor("node", `import { after } from "node:test";${source}`);
  assert.equal(status, 1);
  assert.deepEqual(rows.map(figures), [[`Node ${process.versions.node}`, 1, 1, 0]]);
});

test("a file that ends before its tests is a failure", () => {
  const { status, rows } = rowsFor("node", "process.exit(3);");
  assert.equal(status, 1);
  assert.equal(rows.length, 1);
  assert.equal(rows[0].failed, 1);
});

test("a suite that cannot run here is in the table, with why", () => {
  assert.match(
    table([skippedRow("page", "no Chromium")]),
    /^none +page +0 +0 +1 +0\.0 +skipped: no Chromium$/m,
  );
});

test("every test file belongs to a suite of suites.json, and every suite has files", () => {
  const suites = Object.keys(JSON.parse(readFileSync(join(TEST, "suites.json"), "utf8")));
  const found = readdirSync(TEST).filter((name) => name.endsWith(".test.mjs"));
  const named = found.map((name) => name.split(".").at(-3));
  assert.deepEqual([...new Set(named)].sort(), suites.toSorted());
});

test("a suite that there is not is told by name", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(TEST, "run.mjs"), "pages"], {
    encoding: "utf8",
  });
  assert.equal(status, 1);
  assert.match(stderr, /^there is no suite pages; expected some of node, native, page, package, engines$/m);
});

test("what sets the tests up is told where it does not run", () => {
  const env = { ...process.env, PYTHON: "/nowhere/python", RUVECTOR_PREPARED: undefined };
  const { status, stderr } = spawnSync(process.execPath, [join(TEST, "run.mjs"), "node"], {
    encoding: "utf8",
    env,
  });
  assert.equal(status, 1);
  assert.match(stderr, /^the tests are set up by Python 3\.11 or newer; \/nowhere\/python does not run: /m);
});
