/** The pool of workers in Chromium: the checks run inside of a page. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { poolChecks } from "./pool_checks.mjs";

let browser;
let server;
let page;

before(async () => {
  browser = await launch();
  server = await serve(fileURLToPath(new URL("..", import.meta.url)));
  page = await browser.newPage();
  await page.goto(`${server.url}test/wasm.html`);
  await page.evaluate(async () => {
    globalThis.api = await import("/dist/lib/index.js");
    globalThis.own = await import("/test/pool_checks.mjs");
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

poolChecks.forEach(([what], i) => {
  test(what, () => page.evaluate((index) => globalThis.own.poolChecks[index][1](globalThis.api), i));
});

test("100 workers that closed themselves, of which no event tells, lose no task", async () => {
  const seconds = await page.evaluate(() => globalThis.own.loseNothing(globalThis.api, 100, 4));
  console.log(`100 workers ended and were replaced in ${seconds.toFixed(1)} s`);
  assert.ok(seconds > 0);
});

test("a worker's script of another origin is a LoadError that says where it lies", async () => {
  const message = await page.evaluate(() =>
    globalThis.api
      .load({ runtime: "wasm", worker: true, workerURL: "https://elsewhere.invalid/worker.js" })
      .then(() => "it loaded")
      .catch(({ name, message }) => `${name}: ${message}`),
  );
  assert.match(message, /^LoadError: no worker can be started of https:\/\/elsewhere\.invalid\/worker\.js: /);
});
