/** The tests of a run, counted by engine and suite. */
import { existsSync, readFileSync } from "node:fs";

const HERE = `Node ${process.versions.node}`;
const COUNTS = ["passed", "failed", "skipped"];

/** What engine_reporter.mjs and engine_log.mjs have written. */
export function readLines(file) {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

const emptyRow = (engine, suite) => ({
  engine,
  suite,
  passed: 0,
  failed: 0,
  skipped: 0,
  seconds: 0,
  reasons: [],
});

/** A suite that this machine cannot run. */
export function skippedRow(suite, reason) {
  return { ...emptyRow("none", suite), skipped: 1, reasons: [reason] };
}

/**
 * A row an engine. The suite `engines` names every outermost test after its engine; in the others a file's tests belong
 * to the engine that the file has logged, else to the Node that runs this.
 */
export function rowsOf(suite, events, log) {
  const rows = new Map();
  const rowOf = (engine) => {
    if (!rows.has(engine)) rows.set(engine, emptyRow(engine, suite));
    return rows.get(engine);
  };
  const engineOf = (file, outermost) => {
    const logged = log.filter((entry) => entry.file === file);
    if (suite === "engines") return logged.find(({ engine }) => engine === outermost)?.version ?? outermost;
    return logged[0]?.version ?? HERE;
  };
  const waiting = new Map(); // a test is reported after all that is inside of it, in every file
  for (const event of events) {
    const inside = waiting.get(event.file) ?? [];
    waiting.set(event.file, event.nesting === 0 ? [] : [...inside, event]);
    if (event.nesting > 0) continue;
    const row = rowOf(engineOf(event.file, event.name));
    row.seconds += event.milliseconds / 1000;
    for (const each of [...inside, event]) count(row, each);
    if (event.isSuite && !event.passed && inside.every(({ passed }) => passed)) row.failed++; // before its tests, or after
  }
  for (const { version, within } of log)
    for (const what of COUNTS) if (within[what]) rowOf(version)[what] += within[what];
  return [...rows.values()];
}

/** As node:test counts: a suite is no test, unless it was skipped with all that is in it. */
function count(row, { isSuite, passed, skipped }) {
  if (skipped !== undefined) {
    row.skipped++;
    if (skipped && !row.reasons.includes(skipped)) row.reasons.push(skipped);
  } else if (!isSuite) row[passed ? "passed" : "failed"]++;
}

/** The rows, a line each, and why something was skipped. */
export function table(rows) {
  const [engines, suites] = [rows.map(({ engine }) => engine), rows.map(({ suite }) => suite)];
  const [first, second] = [width(["engine", ...engines]), width(["suite", ...suites])];
  const lines = [`${"engine".padEnd(first)}  ${"suite".padEnd(second)}  passed  failed  skipped  seconds`];
  for (const { engine, suite, seconds, reasons, ...counts } of rows) {
    const numbers = COUNTS.map((what) => String(counts[what]).padStart(what.length)).join("  ");
    const said = reasons.length > 0 ? `  skipped: ${reasons.join("; ")}` : "";
    lines.push(
      `${engine.padEnd(first)}  ${suite.padEnd(second)}  ${numbers}  ${seconds.toFixed(1).padStart(7)}${said}`,
    );
  }
  return lines.join("\n");
}

const width = (words) => Math.max(...words.map(({ length }) => length));
