/** The checks of the kernels' runtime in three browser engines, under a strict policy; Pyodide in the second as well. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";
import { launch, missingChromium, PATIENCE } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { logEngine } from "./engine_log.mjs";
import { launchWebKit } from "./webdriver.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const STRICT =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src data:";
const { FIREFOX, WEBKIT_DRIVER, WEBKIT_BROWSER, WEBKIT_DISPLAY } = process.env;

const engines = {
  Chromium: {
    backend: "wasm-relaxed-simd",
    missing: missingChromium,
    pyodide: true,
    async launch() {
      const browser = await launch();
      const page = await browser.newPage();
      return {
        version: `Chromium ${browser.version()}`,
        open: (url) => page.goto(url),
        evaluate: (expression) => page.evaluate(expression),
        close: () => browser.close(),
        cdp: () => page.context().newCDPSession(page),
      };
    },
    async heap(session) {
      const devtools = await session.cdp();
      return async () => {
        await devtools.send("HeapProfiler.collectGarbage");
        return (await devtools.send("Runtime.getHeapUsage")).usedSize;
      };
    },
  },
  Firefox: {
    backend: "wasm-relaxed-simd",
    missing: !FIREFOX && "no Firefox; build_scripts/toolchain.py firefox fetches one, $FIREFOX names it",
    pyodide: true,
    async launch() {
      const browser = await puppeteer.launch({
        browser: "firefox",
        executablePath: FIREFOX,
        headless: true,
        timeout: PATIENCE,
        protocolTimeout: PATIENCE,
      });
      const page = await browser.newPage();
      page.setDefaultTimeout(PATIENCE);
      return {
        version: `Firefox ${(await browser.version()).split("/").at(-1)}`,
        open: (url) => page.goto(url),
        evaluate: (expression) => page.evaluate(expression),
        close: () => browser.close(),
      };
    },
  },
  WebKit: {
    backend: "wasm-simd128", // it has no relaxed SIMD, like Safari
    threads: 1, // its workers cannot be sent shared memory, unlike Safari's
    missing:
      !(WEBKIT_DRIVER && WEBKIT_BROWSER) && "no WebKitGTK; build_scripts/toolchain.py webkit fetches it",
    launch: () =>
      launchWebKit({
        driver: WEBKIT_DRIVER,
        browser: WEBKIT_BROWSER,
        display: WEBKIT_DISPLAY ? WEBKIT_DISPLAY.split(" ") : [],
      }),
  },
};

const STUCK = 300; // seconds for one check, or for a start: how long all of them take is the machine's affair

/** What the page reports when it has come to its end. */
async function reportOf(session, url) {
  await session.open(url);
  let [count, since] = [-1, performance.now()];
  while (performance.now() - since < 1000 * STUCK) {
    if (await session.evaluate("globalThis.report?.done === true"))
      return JSON.parse(await session.evaluate("JSON.stringify(globalThis.report)"));
    const now = await session.evaluate("globalThis.report?.results?.length ?? 0");
    if (now !== count) [count, since] = [now, performance.now()];
    await new Promise((done) => setTimeout(done, 200));
  }
  const so_far = await session.evaluate("JSON.stringify(globalThis.report?.results?.at(-1) ?? null)");
  throw new Error(`${url} does not go on; the last check was ${so_far}`);
}

let server;
before(async () => {
  server = await serve(ROOT, 0, { "Content-Security-Policy": STRICT });
});
after(() => server?.close());

for (const [name, engine] of Object.entries(engines)) {
  describe(name, { skip: engine.missing || false }, () => {
    let session;
    before(async () => {
      session = await engine.launch();
      logEngine(name, session.version);
    });
    after(() => session?.close());

    test("the kernels' runtime", async (t) => {
      const started = performance.now();
      const report = await reportOf(session, `${server.url}web/test/engine.html`);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const { backend, supported, startMilliseconds, results } = report;
      console.log(
        `${session.version}: ${results.length} checks in ${seconds} s, ${backend}, started in ${startMilliseconds.toFixed(0)} ms`,
      );
      for (const { what, error } of results) await t.test(what, () => assert.equal(error, undefined));
      assert.equal(backend, engine.backend);
      assert.equal(supported.includes("wasm-relaxed-simd"), backend === "wasm-relaxed-simd");
      assert(results.length > 100, `${results.length} checks ran; expected those of every instruction set`);
    });

    if (engine.heap)
      test("what was disposed leaves nothing in JavaScript's heap either", async () => {
        const used = await engine.heap(session);
        await session.evaluate("globalThis.makeAndDispose(20000)");
        const before = await used();
        await session.evaluate("globalThis.makeAndDispose(50000)");
        const after = await used();
        assert(after - before < 200_000, `${after - before} bytes are left of 100 000 objects`);
      });

    test("threads on shared memory", async (t) => {
      const started = performance.now();
      const report = await reportOf(session, `${server.url}web/test/engine.html?suite=threads`);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(`${session.version}: ${report.results.length} checks of threads in ${seconds} s`);
      for (const { what, error } of report.results) await t.test(what, () => assert.equal(error, undefined));
      assert.equal(report.threads, engine.threads ?? 2);
      assert(report.results.length >= (report.threads > 1 ? 20 : 10), `${report.results.length} checks ran`);
    });

    test("a pool of workers, streams, and the classes by other packages' names", async (t) => {
      const started = performance.now();
      const report = await reportOf(session, `${server.url}web/test/engine.html?suite=pool`);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(
        `${session.version}: ${report.results.length} checks of the pool and what is around in ${seconds} s`,
      );
      for (const { what, error } of report.results) await t.test(what, () => assert.equal(error, undefined));
      assert(report.results.length > 20, `${report.results.length} checks ran`);
    });

    if (engine.pyodide)
      test("Pyodide", async (t) => {
        const started = performance.now();
        const report = await reportOf(session, `${server.url}web/test/engine.html?suite=pyodide`);
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        console.log(`${session.version}: Pyodide and a golden vector in ${seconds} s, ${report.backend}`);
        for (const { what, error } of report.results)
          await t.test(what, () => assert.equal(error, undefined));
        assert.equal(report.results.length, 3);
      });
  });
}
