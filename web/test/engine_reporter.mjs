/** A line of JSON for everything that node:test reports as passed or failed: what engine_table.mjs counts. */
import { pathToFileURL } from "node:url";

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const { file, name, nesting, details, skip } = data;
    const event = {
      file: file?.startsWith("file:") ? file : file && pathToFileURL(file).href,
      name,
      nesting,
      isSuite: details.type === "suite",
      passed: type === "test:pass",
      skipped: skip === undefined || skip === false ? undefined : String(skip),
      milliseconds: details.duration_ms,
    };
    yield `${JSON.stringify(event)}\n`;
  }
}
