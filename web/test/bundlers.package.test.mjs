/** Pages that users build with the packed package: each is built, and run in Chromium. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launch, missingChromium } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { FIXTURES, install, pack, run, SCRATCH, WEB } from "./packed.mjs";

/** What a page needs that runs compiled kernels and nothing that is made of text. */
const STRICT =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src data:";
const bin = (name) => join(FIXTURES, "node_modules/.bin", name);
let expected;
let tolerance;
let browser;

before(async () => {
  if (missingChromium) return;
  const { tarball } = await pack();
  await install(tarball, ["app", "vite", "webpack", "esbuild", "next"]);
  const [golden] = JSON.parse(await readFile(join(WEB, "../tests/vectors/flash.json"), "utf8")).cases;
  expected = golden.expected.output.data;
  tolerance = golden.tolerance;
  const { config, inputs } = golden;
  const given = { config, inputs: Object.values(inputs) };
  const lines = Object.entries(given).map(
    ([name, value]) => `export const ${name} = ${JSON.stringify(value)};\n`,
  );
  await writeFile(join(SCRATCH, "app/golden.mjs"), lines.join(""));
  browser = await launch();
});
after(() => browser?.close());

function near(output, what) {
  assert.equal(output.length, expected.length, `${what} has another size`);
  const top = Math.max(...expected.map(Math.abs));
  output.forEach((value, i) => {
    const bound = tolerance * (1 + top);
    assert(
      Math.abs(value - expected[i]) <= bound,
      `${what}: element ${i} is ${value}; expected ${expected[i]}`,
    );
  });
}

/** Runs a built page. */
async function check(folder, headers = {}) {
  const server = await serve(folder, 0, headers);
  try {
    await checkAt(server.url, 2); // the server isolates its pages
  } finally {
    server.close();
  }
}

/** Opens a page and checks what it computed: in the page, in a worker, by the whole package, with so many threads. */
async function checkAt(url, threads) {
  const page = await browser.newPage();
  const complaints = [];
  let complain;
  const complained = new Promise((resolve) => {
    complain = (words) => resolve(complaints.push(words));
  });
  page.on("pageerror", (error) => complain(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complain(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) complain(`asked for ${request.url()}`);
  });
  try {
    await page.goto(url);
    const answered = page.waitForFunction(() => globalThis.answers !== undefined).catch(() => {});
    await Promise.race([answered, complained]);
    assert.deepEqual(complaints, []);
    const { numThreads, ...answers } = await page.evaluate(() => globalThis.answers);
    assert.equal(numThreads, threads);
    assert.deepEqual(Object.keys(answers), ["here", "worker", "whole", "threads"]);
    for (const [where, output] of Object.entries(answers)) near(output, where);
    assert.deepEqual(complaints, []);
  } finally {
    await page.close();
  }
}

const strict = { "Content-Security-Policy": STRICT };
const rendered = (html) => JSON.parse(html.match(/<output>(.*?)<\/output>/)[1]);

describe("Vite", { skip: missingChromium }, () => {
  const cwd = join(SCRATCH, "vite");
  test("builds a page that runs under a strict policy", async () => {
    await run(bin("vite"), ["build"], { cwd });
    await check(join(cwd, "out"), strict);
  });
  test("serves a page while it is written", async () => {
    const { createServer } = await import(
      pathToFileURL(join(FIXTURES, "node_modules/vite/dist/node/index.js"))
    );
    const server = await createServer({ root: cwd, server: { port: 0, host: "127.0.0.1", hmr: false } });
    await server.listen();
    try {
      await checkAt(`http://127.0.0.1:${server.httpServer.address().port}/`, 1);
    } finally {
      await server.close();
    }
  });
  test("renders on the server", async () => {
    await run(bin("vite"), ["build", "--ssr", "server.mjs", "--outDir", "server"], { cwd });
    const { render } = await import(pathToFileURL(join(cwd, "server/server.js")));
    near(rendered(await render()), "what was rendered");
  });
});

test("webpack builds a page that runs under a strict policy", { skip: missingChromium }, async () => {
  const cwd = join(SCRATCH, "webpack");
  await run(process.execPath, ["build.mjs"], { cwd });
  await check(join(cwd, "out"), strict);
});

test("esbuild builds a page that runs under a strict policy, its assets found by assetBase", {
  skip: missingChromium,
}, async () => {
  const cwd = join(SCRATCH, "esbuild");
  await run(process.execPath, ["build.mjs"], { cwd });
  await check(join(cwd, "out"), strict);
});

test("Next builds a page that was rendered in Node and computes in the browser", {
  skip: missingChromium,
}, async () => {
  const cwd = join(SCRATCH, "next");
  await run(bin("next"), ["build"], { cwd, env: { NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" } });
  near(rendered(await readFile(join(cwd, "out/index.html"), "utf8")), "what was rendered");
  await check(join(cwd, "out")); // its pages hold scripts in their text, which a strict policy refuses
});
