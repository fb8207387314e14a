/**
 * Runs the page's job in headless Chromium and prints what came out as one line of JSON.
 *
 *   node drive.mjs [--digit 3] [--screenshot FILE] [--size 1280x800] [--dark]
 *
 * The browser is $CHROMIUM_PATH, else $CHROMIUM, else Debian's.
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";
import { logEngine } from "./test/engine_log.mjs";

const executablePath = process.env.CHROMIUM_PATH ?? process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Why tests in Chromium are skipped, where they are. */
export const missingChromium =
  !existsSync(executablePath) &&
  "no Chromium; build_scripts/toolchain.py chromium fetches one, $CHROMIUM names it";

/** Milliseconds until what does not come counts as missing. Pyodide alone takes half a minute on a busy machine. */
export const PATIENCE = 300_000;

/** Chromium as every test and the demo start it. */
export async function launch() {
  // the sandbox needs rights that containers lack; the page is our own
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-background-networking"],
    timeout: PATIENCE,
  });
  const { newContext } = browser;
  browser.newContext = async (...options) => {
    const context = await newContext.apply(browser, options);
    context.setDefaultTimeout(PATIENCE);
    return context;
  };
  logEngine("Chromium", `Chromium ${browser.version()}`);
  return browser;
}

/** Waits until the page runs; a page that failed gives its own words. */
export async function untilReady(page) {
  await page.waitForSelector("html:not([data-state=loading])");
  if ((await page.getAttribute("html", "data-state")) === "failed") {
    throw new Error(`the page did not start: ${await page.textContent("#failure-text")}`);
  }
}

/** Has an example drawn with the pointer, stroke by stroke, and waits for its reading. */
export async function drawDigit(page, strokes) {
  await page.click("#clear");
  await page.waitForSelector("#prediction:not([data-digit])");
  const box = await page.locator("#pad").boundingBox();
  const at = ({ x, y }) => [box.x + (x / 100) * box.width, box.y + (y / 100) * box.height];
  for (const stroke of strokes) {
    await page.mouse.move(...at(stroke[0]));
    await page.mouse.down();
    for (const point of stroke.slice(1)) await page.mouse.move(...at(point));
    await page.mouse.up();
  }
  await page.waitForSelector("#prediction[data-settled]");
  return Number(await page.getAttribute("#prediction", "data-digit"));
}

async function main() {
  const { values } = parseArgs({
    options: {
      digit: { type: "string", default: "3" },
      screenshot: { type: "string" },
      size: { type: "string", default: "1280x800" },
      dark: { type: "boolean", default: false },
    },
  });
  const [width, height] = values.size.split("x").map(Number);
  const server = await serve();
  const browser = await launch();
  try {
    const page = await browser.newPage({
      viewport: { width, height },
      colorScheme: values.dark ? "dark" : "light",
      deviceScaleFactor: width < 600 ? 2 : 1,
    });
    const outside = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url)) outside.push(request.url());
    });
    const started = performance.now();
    await page.goto(server.url);
    await untilReady(page);
    const startSeconds = (performance.now() - started) / 1000;
    const strokes = await page.evaluate((digit) => globalThis.demo.example(digit), Number(values.digit));
    const read = await drawDigit(page, strokes);
    const evaluation = await page.evaluate(() => globalThis.demo.evaluate());
    if (values.screenshot) await page.screenshot({ path: values.screenshot, fullPage: true });
    console.log(
      JSON.stringify({
        ...evaluation,
        startSeconds,
        drawn: Number(values.digit),
        read,
        outside,
        browser: browser.version(),
      }),
    );
  } finally {
    await browser.close();
    server.close();
  }
}

if (process.argv[1]?.endsWith("drive.mjs")) await main();
