/** What a test file says of the engine that it runs: $RUVECTOR_ENGINE_LOG is where test/run.mjs reads it. */
import { appendFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/**
 * `version` is the engine's name and version. `within` are tests that this engine ran in one of the file's own:
 * { passed, failed, skipped }.
 */
export function logEngine(engine, version, within = {}) {
  const log = process.env.RUVECTOR_ENGINE_LOG;
  if (!log) return;
  const file = pathToFileURL(process.argv[1]).href;
  appendFileSync(log, `${JSON.stringify({ file, engine, version, within })}\n`);
}
