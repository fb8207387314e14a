/**
 * Runs the suites of suites.json: sets up what they need, then each of them, and tells by engine what came of it.
 *
 *   npm test                          all of them
 *   npm test -- node page             these
 *   npm test -- --json FILE           and the table as JSON
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readLines, rowsOf, skippedRow, table } from "./engine_table.mjs";

const TEST = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const suites = JSON.parse(readFileSync(join(TEST, "suites.json"), "utf8"));

const { values: options, positionals } = parseArgs({
  options: { json: { type: "string" } },
  allowPositionals: true,
});
const names = positionals.length > 0 ? positionals : Object.keys(suites);
const unknown = names.find((name) => !Object.hasOwn(suites, name));
if (unknown) fail(`there is no suite ${unknown}; expected some of ${Object.keys(suites).join(", ")}`);

const prepared = prepare();
const scratch = mkdtempSync(join(tmpdir(), "ruvector-suites-"));
const rows = [];
let failed = false;
try {
  for (const name of names) {
    const why = prepared.missing[name];
    if (why) rows.push(skippedRow(name, why));
    else failed = !(await run(name)) || failed;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`\n${table(rows)}`);
if (options.json) writeFileSync(options.json, `${JSON.stringify(rows, null, 1)}\n`);
process.exitCode = failed ? 1 : 0;

/** Variables of the tests, and suites that cannot run here. Who has prepared it all by itself says so. */
function prepare() {
  if (process.env.RUVECTOR_PREPARED) return { environment: {}, missing: {} };
  const python = process.env.PYTHON ?? (process.platform === "win32" ? "python" : "python3");
  const words = [join(ROOT, "build_scripts/prepare_javascript.py"), ...names];
  const { error, status, stdout } = spawnSync(python, words, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (error) fail(`the tests are set up by Python 3.11 or newer; ${python} does not run: ${error.message}`);
  if (status !== 0) fail(`${stdout}what the tests need could not be set up`);
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

/** Whether that suite passes. */
async function run(name) {
  const files = readdirSync(TEST).filter((file) => file.endsWith(`.${name}.test.mjs`));
  const [results, log] = ["results", "engines"].map((kind) => join(scratch, `${name}-${kind}.jsonl`));
  // Files wait for workers and browsers more than they compute: two at a time, on one processor as well. One at a time
  // are those that share a folder, or hold a time against a limit.
  const concurrency = suites[name].oneByOne ? 1 : 2;
  console.log(`\n--- ${name}`);
  const child = spawn(
    process.execPath,
    [
      "--test",
      `--test-concurrency=${concurrency}`,
      ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
      ...["--test-reporter=./test/engine_reporter.mjs", `--test-reporter-destination=${results}`],
      ...files.map((file) => `test/${file}`),
    ],
    {
      cwd: join(TEST, ".."),
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...prepared.environment, RUVECTOR_ENGINE_LOG: log },
    },
  );
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  rows.push(...rowsOf(name, readLines(results), readLines(log)));
  return code === 0;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
