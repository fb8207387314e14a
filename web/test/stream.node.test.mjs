/** Streams and signals in Node: the kernels in this thread and in a worker. */
import { describe, test } from "node:test";
import * as api from "../dist/lib/wasm.js";
import { streamChecks } from "./stream_checks.mjs";

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
