/** Streams, signals and the classes by other packages' names in Chromium: the checks run inside of a page. */
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { anyChecks, kernelChecks } from "./classes_checks.mjs";
import { signatureChecks } from "./classes_signature_checks.mjs";
import { trainingChecks, trainingNowChecks, untrainedChecks } from "./classes_training_checks.mjs";
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
    const { untrainedChecks: untrained } = await import("/test/classes_training_checks.mjs");
    const { signatureChecks: signatures } = await import("/test/classes_signature_checks.mjs");
    globalThis.ofClasses = [...kernels, ...signatures, ...any, ...untrained];
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

[...kernelChecks, ...signatureChecks, ...anyChecks, ...untrainedChecks].forEach(([what], i) => {
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

// Python in a worker of the page, then in the page's own thread.
for (const [name, checks] of Object.entries({ trainingChecks, trainingNowChecks })) {
  describe(`training, ${name === "trainingChecks" ? "by promises" : "at once"}`, () => {
    let trained;
    before(async () => {
      trained = await browser.newPage();
      await trained.goto(`${server.url}test/wasm.html`);
      await trained.evaluate(async (worker) => {
        globalThis.classes = await import("/dist/lib/classes.js");
        globalThis.training = await import("/test/classes_training_checks.mjs");
        await globalThis.classes.init({ runtime: "pyodide", assetBase: "/dist/page/", worker });
      }, name === "trainingChecks");
    });
    after(() => trained?.close());
    const run = ([list, index]) => globalThis.training[list][index][1](globalThis.classes);
    checks.forEach(([what], i) => {
      test(what, () => trained.evaluate(run, [name, i]));
    });
  });
}
