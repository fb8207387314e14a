/** The runtime of the kernels in Chromium: the checks run inside of a page, one test each. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { launch } from "../drive.mjs";
import { serve } from "../serve.mjs";
import { once } from "./once.mjs";
import { vectorFiles } from "./vectors.mjs";
import { checks } from "./wasm_checks.mjs";
import { transferChecks } from "./wasm_transfer_checks.mjs";
import { workerChecks } from "./wasm_worker_checks.mjs";

const WEB = fileURLToPath(new URL("..", import.meta.url));
let browser;
let server;
let page;
const complaints = [];

before(async () => {
  browser = await launch();
  server = await serve(WEB);
  page = await browser.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`${server.url}test/wasm.html`);
  await page.evaluate(async () => {
    globalThis.api = await import("/dist/lib/wasm.js");
    globalThis.own = await import("/test/wasm_checks.mjs");
    globalThis.golden = await import("/test/wasm_golden.mjs");
    globalThis.ofWorker = await import("/test/wasm_worker_checks.mjs");
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

for (const backend of ["wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"]) {
  describe(backend, () => {
    before(() =>
      page.evaluate(async (wanted) => {
        globalThis.ra = await globalThis.api.load({ backend: wanted, preload: "all" });
      }, backend),
    );
    checks.forEach(([what], i) => {
      if (backend !== "wasm-relaxed-simd" && once(what)) return;
      test(what, () =>
        page.evaluate(
          ([index, wanted]) => globalThis.own.checks[index][1](globalThis.ra, globalThis.api, wanted),
          [i, backend],
        ),
      );
    });
    for (const file of vectorFiles()) {
      test(`golden vectors of ${basename(file)}`, async () => {
        const vectors = JSON.parse(readFileSync(file, "utf8"));
        const passed = await page.evaluate(
          ([name, given]) => globalThis.golden.checkVectors(globalThis.ra, name, given),
          [basename(file), vectors],
        );
        assert.equal(passed, vectors.cases.length);
      });
    }
  });
}

describe("a worker", () => {
  before(() =>
    page.evaluate(async () => {
      globalThis.ra = await globalThis.api.load({ worker: true });
    }),
  );
  workerChecks.forEach(([what], i) => {
    test(what, () =>
      page.evaluate((index) => globalThis.ofWorker.workerChecks[index][1](globalThis.ra, globalThis.api), i),
    );
  });
});

test("a page that is not isolated copies what it shares, and has one thread", async () => {
  const own = await browser.newPage();
  try {
    await own.route("**/*", async (route) => {
      const response = await route.fetch();
      const { "cross-origin-embedder-policy": _, ...headers } = response.headers();
      await route.fulfill({ response, headers });
    });
    await own.goto(`${server.url}test/wasm.html`);
    assert.equal(await own.evaluate(() => globalThis.crossOriginIsolated), false);
    const passed = await own.evaluate(async () => {
      const api = await import("/dist/lib/wasm.js");
      const { transferChecks } = await import("/test/wasm_transfer_checks.mjs");
      const ra = await api.load({ worker: true });
      for (const [, body] of transferChecks) await body(ra, api);
      const one = await api.load({ threads: 2 });
      const flash = await one.create("flash", { dim: 1 });
      return [transferChecks.length, one.threads, (await flash.forward([[1]], [[1]], [[5]]))[0]];
    });
    assert.deepEqual(passed, [transferChecks.length, 1, 5]);
  } finally {
    await own.close();
  }
});

test("Chromium takes relaxed SIMD by itself", async () => {
  assert.equal(await page.evaluate(async () => (await globalThis.api.load()).backend), "wasm-relaxed-simd");
});

/** Compressed as a server does it, in bytes: what the first result may cost a page. How long it takes, bench.py tells. */
const HEAVIEST = { "wasm.js": 15_000, "wasm-relaxed-simd.wasm": 45_000 };

test("the first result of a fresh page needs two files, which weigh no more than they may", async () => {
  const context = await browser.newContext(); // an empty cache
  const fresh = await context.newPage();
  await fresh.goto(`${server.url}test/wasm.html`);
  const fetched = {};
  fresh.on("response", async (response) => {
    const [name] = new URL(response.url()).pathname.split("/").slice(-1);
    fetched[name] = response.body();
  });
  const value = await fresh.evaluate(async () => {
    const { load } = await import("/dist/lib/browser/wasm.js");
    const ra = await load();
    return ra.createSync("flash", { dim: 2 }).forwardSync([[1, 0]], [[1, 0]], [[5]])[0];
  });
  assert.equal(value, 5);
  assert.deepEqual(Object.keys(fetched).sort(), Object.keys(HEAVIEST).sort());
  for (const [name, body] of Object.entries(fetched)) {
    const bytes = brotliCompressSync(await body).length;
    assert(bytes > 1000 && bytes <= HEAVIEST[name], `${name} has ${bytes} bytes of ${HEAVIEST[name]}`);
  }
  await context.close();
});

test("a page fetches the code of what it makes, and no other", async () => {
  const context = await browser.newContext();
  const fresh = await context.newPage();
  const fetched = [];
  fresh.on("request", (request) => fetched.push(new URL(request.url()).pathname.split("/").at(-1)));
  await fresh.goto(`${server.url}test/wasm.html`);
  const scripts = () => fetched.filter((name) => name.startsWith("wasm") && name.endsWith(".js")).sort();
  const refused = await fresh.evaluate(async () => {
    globalThis.api = await import("/dist/lib/browser/wasm.js");
    globalThis.ra = await globalThis.api.load();
    globalThis.early = globalThis.ra.MultiHeadAttention;
    const found = [];
    const config = { dim: 4, numHeads: 2 };
    for (const body of [
      () => globalThis.ra.createSync("multi-head", config),
      () => new globalThis.early(config),
      () => globalThis.ra.memorySync([[1]]),
      () => globalThis.ra.createSync("multi_hed", config),
    ])
      try {
        body();
      } catch ({ name, message }) {
        found.push(`${name}: ${message}`);
      }
    globalThis.ra.createSync("scaled_dot_product", { dim: 1 }).forwardSync([[1]], [[1]], [[5]]);
    return found;
  });
  assert.deepEqual(scripts(), ["wasm.js"]);
  const [bySync, byClass, byMemory, byTypo] = refused;
  const absent =
    /^LoadError: multi_head is not loaded; expected `await create\("multi_head", …\)` before, or load/;
  assert.match(bySync, absent);
  assert.match(byClass, absent);
  assert.match(byMemory, /^LoadError: memory is not loaded; expected `await memory\(…\)` before/);
  assert.match(byTypo, /^InvalidConfigError: unknown mechanism 'multi_hed'; did you mean 'multi_head'\?/);
  const made = await fresh.evaluate(async () => {
    const { ra, early } = globalThis;
    const config = { dim: 4, numHeads: 2 };
    const heads = [await ra.create("multi_head", config), ra.createSync("self_attention", config)];
    heads.push(new early(config), new ra.MultiHeadAttention(config), await ra.CrossAttention.create(config));
    await ra.preload(["memory"]);
    ra.memorySync([[1]]).free();
    return heads.map((each) => each.constructor.name);
  });
  const all = [
    "MultiHeadAttention",
    "SelfAttention",
    "MultiHeadAttention",
    "MultiHeadAttention",
    "CrossAttention",
  ];
  assert.deepEqual(made, all);
  assert.deepEqual(scripts(), ["wasm.js", "wasm_heads.js", "wasm_memory.js"]);
  // A mixture fetches the code of the experts that its config names.
  const experts = JSON.stringify([{ type: "moe", experts: "linear", top_k: 1 }, "flash"]);
  const shape = await fresh.evaluate(async (experts) => {
    const moe = await globalThis.ra.create("moe", { dim: 1, experts });
    return moe.forwardSync([[1]], [[1]], [[5]]).shape;
  }, experts);
  assert.deepEqual(shape, [1, 1]);
  assert.deepEqual(scripts(), [
    "wasm.js",
    "wasm_heads.js",
    "wasm_linear.js",
    "wasm_memory.js",
    "wasm_moe.js",
  ]);
  const [first] = await fresh.evaluate(async () => {
    const few = await globalThis.ra.create("flash", { dim: 1, topK: 1 });
    return few.forwardSync([[1]], [[1], [2], [0]], [[5], [7], [9]]);
  });
  assert.equal(first, 7);
  assert.equal(scripts().at(-1), "wasm_top_k.js");
  const preload = (what) =>
    fresh.evaluate((names) => globalThis.api.load({ preload: names }).catch(String), what);
  assert.match(await preload(["multi_hed"]), /InvalidConfigError: unknown mechanism 'multi_hed'/);
  assert.match(await preload("heads"), /UnsupportedError: preload is heads; expected "all"/);
  await context.close();
});

test("nothing went wrong unseen", () => assert.deepEqual(complaints, []));
