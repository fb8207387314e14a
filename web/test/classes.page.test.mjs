/** Streams, signals and the classes by other packages' names in Chromium: the checks run inside of a page. */
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { anyChecks, kernelChecks } from "./classes_checks.mjs";
import { streamChecks } from "./stream_checks.mjs";

let browser;
let server;
let page;

before(async () => {
  browser = await launch();
  server = await serve(fileURLToPath(new URL("..", import.meta.url)));
  page = await browser.newPage();
  await page.goto(`${server.url}test/wasm.html`);
  await page.evaluate(async () => {
    globalThis.api = await import("/dist/lib/wasm.js");
    globalThis.classes = await import("/dist/lib/classes.js");
    await globalThis.classes.init();
    globalThis.streams = (await import("/test/stream_checks.mjs")).streamChecks;
    const { kernelChecks: kernels, anyChecks: any } = await import("/test/classes_checks.mjs");
    globalThis.ofClasses = [...kernels, ...any];
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

[...kernelChecks, ...anyChecks].forEach(([what], i) => {
  test(what, () => page.evaluate((index) => globalThis.ofClasses[index][1](globalThis.classes), i));
});

for (const worker of [false, true]) {
  describe(worker ? "in a worker" : "in this thread", () => {
    streamChecks.forEach(([what], i) => {
      const run = async ([index, inWorker]) => {
        const ra = await globalThis.api.load({ worker: inWorker });
        await globalThis.streams[index][1](ra, globalThis.api);
        ra.close();
      };
      test(what, () => page.evaluate(run, [i, worker]));
    });
  });
}
