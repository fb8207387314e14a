/** Starts of Pyodide in Chromium from what an earlier one kept in the Cache API, under a strict policy. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { wheel } from "./runtime.mjs";
import { assertGolden, changed, golden, KEPT, READING, sha256, startAndCompute } from "./start_checks.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'";

let browser;
let server;
before(async () => {
  browser = await launch();
  server = await serve(DIST, 0, { "Content-Security-Policy": POLICY });
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** A start in a new page of the context: its stages, its outputs, and the files that anything in the page asked for. */
async function start(context, options = {}, cases = golden) {
  const page = await context.newPage();
  const files = [];
  const note = (request) => files.push(new URL(request.url()).pathname.split("/").at(-1));
  const complaints = [];
  context.on("request", note);
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  try {
    await page.goto(`${server.url}lib/wasm.js`); // a document under the policy
    const run = `(${startAndCompute.toString()})`;
    const given = JSON.stringify([{ assetBase: "/page/", ...options }, cases]);
    const result = await page.evaluate(
      `import("/lib/browser/index.js").then((library) => ${run}(library, ...${given}))`,
    );
    return { ...result, files, complaints };
  } finally {
    context.off("request", note);
    await page.close();
  }
}

const packages = (files) => files.filter((name) => /\.(whl|zip)$/.test(name));

describe("starts of one browser profile", () => {
  let context;
  before(async () => {
    context = await browser.newContext();
  });
  after(() => context?.close());

  test("the first fetches NumPy, the wheel and the library once each, and is kept", async () => {
    const { stages, outputs, files, complaints } = await start(context);
    assertGolden(outputs);
    assert.equal(stages.at(-1), KEPT);
    assert.deepEqual(
      packages(files)
        .map((name) => name.split("-")[0])
        .sort(),
      ["numpy", "python_stdlib.zip", "ruvector_attention"],
    );
    assert.deepEqual(complaints, []);
  });

  for (const worker of [true, false])
    test(`the next, ${worker ? "in a worker" : "in the page's thread"}, fetches none of them`, async () => {
      const { stages, outputs, files, complaints } = await start(context, { worker });
      assertGolden(outputs);
      assert.deepEqual(stages, [READING, "Starting Python", "Importing", "Ready"]);
      assert.deepEqual(packages(files), []);
      assert.deepEqual(complaints, []);
    });

  test("a wheel that was changed is not answered from it", async () => {
    const other = changed(readFileSync(wheel));
    const manifest = JSON.parse(readFileSync(`${DIST}/page/assets.json`, "utf8"));
    let isServed = false;
    await context.route("**/assets.json", (route) =>
      route.fulfill({ json: { ...manifest, sha256: sha256(other) } }),
    );
    await context.route("**/ruvector_attention-*.whl", (route) => {
      isServed = true;
      return route.fulfill({ body: other });
    });
    const { stages } = await start(context, {}, []);
    assert.ok(isServed);
    assert.equal(stages.at(-1), KEPT);
    assert.equal(stages.includes(READING), true, "there was one to look at");
    assert.ok(stages.includes("Loading NumPy"), stages.join());
    assert.equal((await start(context, {}, [])).stages[1], "Starting Python", "its own start is kept now");
  });

  test("a wheel that is not that of assets.json is refused", async () => {
    await context.unroute("**/assets.json");
    await assert.rejects(start(context, { cache: "elsewhere" }, []), /has the SHA-256 .* assets\.json says/);
    await context.unroute("**/ruvector_attention-*.whl");
  });

  test("clearCache forgets it", async () => {
    const page = await context.newPage();
    await page.goto(`${server.url}lib/wasm.js`);
    const cleared = await page.evaluate(async () => {
      const { clearCache } = await import("/lib/browser/index.js");
      return [await clearCache(), await clearCache(), (await caches.keys()).length];
    });
    assert.deepEqual(cleared, [true, false, 1]); // "elsewhere" was opened
    await page.close();
  });
});

for (const [what, script, last] of [
  [
    "is full",
    'Cache.prototype.put = () => Promise.reject(new DOMException("no room", "QuotaExceededError"))',
    /^Not kept: QuotaExceededError: no room$/,
  ],
  ["is blocked", 'caches.open = () => Promise.reject(new DOMException("no", "SecurityError"))', /^Ready$/],
])
  test(`a page whose storage ${what} starts as ever`, async () => {
    const context = await browser.newContext();
    await context.addInitScript(script);
    const { stages, outputs } = await start(context, { worker: false });
    assertGolden(outputs);
    assert.match(stages.at(-1), last);
    await context.close();
  });
