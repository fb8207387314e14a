/** Streams and signals in Node: the kernels in this thread and in a worker. */
import { describe, test } from "node:test";
import * as api from "../dist/lib/wasm.js";
import { streamChecks } from "./stream_checks.mjs";
import { throws } from "./wasm_assert.mjs";

for (const worker of [false, true]) {
  describe(worker ? "in a worker" : "in this thread", () => {
    for (const [what, body] of streamChecks) {
      test(what, async () => {
        const ra = await api.load({ worker });
        await body(ra, api);
        ra.close();
      });
    }
  });
}

test("a worker's script of another release is told by both versions", () =>
  throws(
    () => api.load({ worker: true, workerURL: new URL("old_worker.mjs", import.meta.url) }),
    api.LoadError,
    /^the worker's script is of version 0\.0\.1; expected \d+\.\d+\.\d+, as this one/,
  ));
