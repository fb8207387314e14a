/** The demo page in Chromium, as a visitor meets it. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { drawDigit, launch, untilReady } from "../drive.mjs";
import { serve } from "../serve.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
let browser;
let server;
let library;

before(async () => {
  browser = await launch();
  server = await serve();
  library = await serve(DIST);
});
after(async () => {
  await browser?.close();
  server?.close();
  library?.close();
});

describe("a page that runs", () => {
  let page;
  const outside = [];
  const complaints = [];

  before(async () => {
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on("request", (request) => request.url().startsWith(server.url) || outside.push(request.url()));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(server.url);
    await untilReady(page);
  });
  after(() => page?.close());

  const example = (digit) => page.evaluate((d) => globalThis.demo.example(d), digit);

  for (let digit = 0; digit < 10; digit++) {
    test(`a drawn ${digit} is read as ${digit}`, async () => {
      assert.equal(await drawDigit(page, await example(digit)), digit);
    });
  }

  test("probabilities of all ten digits sum to one, ten stored digits are shown by weight", async () => {
    await drawDigit(page, await example(8));
    const shares = (list) =>
      list.evaluateAll((items) =>
        items.map((item) =>
          Number.parseFloat((item.ariaLabel ?? item.textContent.trim()).replace(/^\d\D?\s*/, "")),
        ),
      );
    const probabilities = await shares(page.locator("#bars li"));
    assert.equal(probabilities.length, 10);
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 100) < 1);
    const weights = await shares(page.locator("#nearest li"));
    assert.equal(weights.length, 10);
    assert.deepEqual(
      weights,
      weights.toSorted((a, b) => b - a),
    );
  });

  test("what ran, how long a query took and the accuracy are told", async () => {
    assert.match(await page.textContent("#backend"), /^wasm-/);
    assert.match(await page.textContent("#time"), /^[\d.]+ (µs|ms)$/);
    const { accuracy } = await page.evaluate(() => globalThis.demo.evaluate());
    assert.ok(accuracy >= 0.99);
    assert.match(await page.textContent("#accuracy"), /^29\d of 297/);
  });

  test("a stored digit's picture says what it is", async () => {
    assert.match(await page.locator("#nearest canvas").first().getAttribute("aria-label"), /^a stored \d$/);
  });

  test("every mechanism offered reads the digits, with settings from its schema", async () => {
    const names = await page
      .locator("#mechanism option")
      .evaluateAll((list) => list.map((option) => option.value));
    assert.ok(
      names.includes("scaled_dot_product") && names.includes("flash") && names.includes("multi_head"),
    );
    for (const name of names) {
      await page.selectOption("#mechanism", name);
      await page.waitForFunction(
        async (wanted) => (await globalThis.demo.evaluate()).mechanism === wanted,
        name,
      );
      const { accuracy } = await page.evaluate(() => globalThis.demo.evaluate());
      assert.ok(accuracy > 0.9, `${name} reads ${accuracy}`);
      assert.ok((await page.locator("#options [name=temperature]").count()) === 1);
    }
    await page.click("#defaults");
  });

  test("a setting changes the reading, a refused one says why and the page goes on", async () => {
    await drawDigit(page, await example(3));
    const sure = () => page.textContent("#sure");
    const sharp = await sure();
    await page.fill("[name=temperature]", "1");
    await page.press("[name=temperature]", "Tab");
    await page.waitForFunction((before) => document.querySelector("#sure").textContent !== before, sharp);
    await page.fill("[name=temperature]", "-1");
    await page.press("[name=temperature]", "Tab");
    await page.waitForSelector("#problem:not([hidden])");
    assert.match(await page.textContent("#problem"), /temperature is -1/);
    await page.click("#defaults");
    await page.waitForSelector("#problem", { state: "hidden" });
    await page.waitForFunction((before) => document.querySelector("#sure").textContent === before, sharp);
  });

  test("the keyboard draws examples and clears", async () => {
    await page.focus("#pad");
    await page.keyboard.press("4");
    await page.waitForSelector("#prediction[data-settled][data-digit='4']");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#prediction:not([data-digit])");
    assert.equal(await page.locator("#nearest li").count(), 0);
    await page.getByRole("button", { name: "draw a 6" }).press("Enter");
    await page.waitForSelector("#prediction[data-settled][data-digit='6']");
  });

  test("every control has a name", async () => {
    const nameless = await page
      .locator("button, select, input, canvas")
      .evaluateAll((list) =>
        list
          .filter((item) => !(item.ariaLabel || item.labels?.length || item.textContent.trim()))
          .map((item) => item.outerHTML),
      );
    assert.deepEqual(nameless, []);
  });

  test("nothing came from outside, and nothing complained", () => {
    assert.deepEqual(outside, []);
    assert.deepEqual(complaints, []);
  });
});

describe("a page on a phone", () => {
  test("it fits, and a finger draws", async () => {
    const context = await browser.newContext({
      viewport: { width: 390, height: 844 },
      hasTouch: true,
      isMobile: true,
    });
    const page = await context.newPage();
    await page.goto(server.url);
    await untilReady(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
    await page.getByRole("button", { name: "Clear" }).tap();
    const box = await page.locator("#pad").boundingBox();
    const session = await context.newCDPSession(page);
    const touch = (type, x, y) =>
      session.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: type === "touchEnd" ? [] : [{ x: box.x + box.width * x, y: box.y + box.height * y }],
      });
    await touch("touchStart", 0.5, 0.1);
    for (let y = 0.15; y < 0.9; y += 0.05) await touch("touchMove", 0.5, y);
    await touch("touchEnd");
    await page.waitForSelector("#prediction[data-settled][data-digit='1']");
    await context.close();
  });
});

describe("a page that cannot start", () => {
  let page;
  beforeEach(async () => {
    page = await browser.newPage();
  });
  afterEach(() => page.close());

  test("it names the missing file, and Retry recovers", async () => {
    await page.route("**/ruvector_attention-*.whl", (route) => route.fulfill({ status: 404 }));
    await page.goto(server.url);
    await page.waitForSelector("html[data-state=failed]");
    assert.match(await page.textContent("#failure-text"), /\.whl/);
    await page.unroute("**/ruvector_attention-*.whl");
    await page.click("#retry");
    await untilReady(page);
  });

  test("it shows its progress while it loads", async () => {
    let release;
    const held = new Promise((resolve) => {
      release = resolve;
    });
    await page.route("**/pyodide.asm.wasm", async (route) => {
      await held;
      await route.continue();
    });
    await page.goto(server.url);
    await page.waitForFunction(() => document.querySelector("#stage").textContent === "Starting Python…");
    assert.ok((await page.evaluate(() => document.querySelector("#progress").value)) > 0);
    release();
    await untilReady(page);
  });
});

describe("the package in a page", () => {
  for (const worker of [true, false]) {
    test(`it computes ${worker ? "in a Web Worker" : "in the page's own thread"}`, async () => {
      const page = await browser.newPage();
      await page.goto(`${library.url}page/style.css`); // any document of this origin without a policy of its own
      const result = await page.evaluate(async (inWorker) => {
        const { load, DimensionMismatchError } = await import("/lib/index.js");
        const ra = await load({ assetBase: "/page/", worker: inWorker });
        const attention = await ra.create("scaled_dot_product", { dim: 2 });
        const output = await attention.forward([[1, 0]], [[1, 0]], [[3, 4]]);
        const error = await attention.forward([[1]], [[1, 0]], [[3, 4]]).catch((e) => e);
        await attention.dispose();
        const { handles } = await ra.describe();
        ra.close();
        return {
          output: [...output],
          shape: output.shape,
          typed: error instanceof DimensionMismatchError,
          handles,
        };
      }, worker);
      assert.deepEqual(result, { output: [3, 4], shape: [1, 2], typed: true, handles: 0 });
      await page.close();
    });
  }

  test("a Web Worker of the page's own can load it, too", async () => {
    const page = await browser.newPage();
    await page.goto(`${library.url}page/style.css`);
    const output = await page.evaluate(async () => {
      const source = `
        import { load } from "${location.origin}/lib/index.js";
        const ra = await load({ assetBase: "${location.origin}/page/", worker: false });
        const attention = await ra.create("flash", { dim: 2 });
        postMessage([...await attention.forward([[1, 0]], [[1, 0]], [[3, 4]])]);`;
      const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), {
        type: "module",
      });
      return new Promise((resolve, reject) => {
        worker.onmessage = (event) => resolve(event.data);
        worker.onerror = (event) => reject(new Error(event.message));
      });
    });
    assert.deepEqual(output, [3, 4]);
    await page.close();
  });
});
