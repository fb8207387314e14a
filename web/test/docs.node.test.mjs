/** The code in the guides runs as it stands there, in Node: every ```js and ```ts of the pages below. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { transform } from "esbuild";
import * as whole from "../dist/lib/index.js";
import * as kernels from "../dist/lib/wasm.js";
import { indexURL, ROOT, wheel } from "./runtime.mjs";
import { random } from "./wasm_reference.mjs";

const LIB = pathToFileURL(`${ROOT}web/dist/lib/`).href;
const scratch = await mkdtemp(join(tmpdir(), "ruvector-guides-"));
const [runtimes, pools] = [new Map(), []];
after(async () => {
  for (const { close } of runtimes.values()) close();
  for (const pool of pools) pool.close();
  await rm(scratch, { recursive: true, force: true });
});

/** What a page serves under /attention/. */
const assets = { pyodide: pathToFileURL(`${indexURL}/`).href, wheel: pathToFileURL(wheel).href };
await writeFile(join(scratch, "assets.json"), JSON.stringify(assets));

/** Started once for all pages: seconds each. */
function pyodide() {
  if (!runtimes.has("pyodide")) {
    const started = whole.load({ assetBase: scratch });
    runtimes.set("pyodide", { started, close: () => started.then((ra) => ra.close()) });
  }
  return runtimes.get("pyodide").started;
}
/** load() of the whole package, which takes the Python package from there. */
globalThis.loadOnce = (options = {}) => {
  if ((options.runtime ?? "pyodide") !== "pyodide") return whole.load(options);
  assert.equal(options.assetBase, scratch);
  return pyodide();
};

const rows = (n, dim, seed) => whole.tensor(random([n, dim], seed).data, [n, dim]);
const vectors = (n, dim, seed) => Array.from({ length: n }, (_, i) => random([dim], seed + i).data);
/** Names that the code takes for granted. */
const words = (dim) => ({
  query: random([dim], 1).data,
  keys: vectors(2, dim, 2),
  values: vectors(2, dim, 4),
  queries: rows(3, dim, 6),
  matrix: rows(2, dim, 7),
  signal: new AbortController().signal,
  onProgress: () => {},
  items: [[rows(1, dim, 1), rows(4, dim, 2), rows(4, dim, 3)]],
  async *asTheyCome() {
    yield random([dim], 8).data;
  },
  *source() {
    yield [rows(1, dim, 1), rows(4, dim, 2), rows(4, dim, 3)];
  },
  store: async (_, output) => assert.equal(output.length, dim),
  console: { log() {}, warn: (message) => assert.fail(message) },
});

/** A page, and what stands before its code beyond that. */
const PAGES = {
  "README.md": async () => words(64),
  "web/README.md": async () => {
    const ra = await whole.load({ runtime: "wasm" });
    const state = (await ra.create("multi_head", { dim: 128, numHeads: 8 })).stateDictSync();
    const more = { moreKeys: rows(200, 128, 1), moreValues: rows(200, 128, 2) };
    return { ...words(128), ...more, state, single: await ra.create("flash", { dim: 128 }) };
  },
  "docs/javascript/wasm.md": async () => ({ ...words(128), load: kernels.load }),
  "docs/javascript/native.md": async () => words(128),
  "docs/javascript/migration.md": async () => words(128),
  "docs/javascript/workers.md": async () => {
    const ra = await whole.load({ runtime: "wasm" });
    const pool = await whole.openPool({ workers: 1 });
    pools.push(pool);
    // The page speaks of a pool's attention first, and of one without a pool where it comes to streams.
    const attention = await pool.create("flash", { dim: 128 });
    const single = await ra.create("flash", { dim: 128 });
    attention.forwardStream = (...args) => single.forwardStream(...args);
    const queries = whole.tensor(rows(3, 128, 6), [3, 128]);
    queries.map = (each) => vectors(3, 128, 6).map(each);
    return { ...words(128), queries, ra, pool, attention, load: globalThis.loadOnce };
  },
  "docs/javascript/pyodide.md": async () => {
    const ra = await pyodide();
    const [anchor, positives, negatives] = [rows(2, 4, 1), rows(2, 4, 2), vectors(3, 4, 3)];
    const attention = await ra.create("multi_head", { dim: 64, numHeads: 2 });
    const batch = { query: rows(3, 64, 1), keys: rows(4, 64, 2), values: rows(4, 64, 3) };
    const training = { batches: [batch], slopeOf: (output) => output };
    return { ...words(64), ra, attention, ...training, anchor, positives, negatives };
  },
};

for (const [page, setUp] of Object.entries(PAGES)) {
  const text = await readFile(ROOT + page, "utf8");
  const blocks = [...text.matchAll(/^```(?:js|ts)\n(.*?)^```/gms)];
  test(`${page} has code`, () => assert.ok(blocks.length > 0));
  for (const { 1: code, index } of blocks) {
    const line = text.slice(0, index).split("\n").length;
    test(`${page}, line ${line}`, async () => (await compiled(code, await setUp()))());
  }
}

/** The code as a function, its imports from the built package. */
async function compiled(code, given) {
  const imports = [];
  const body = code
    .replaceAll(/"\/(attention|assets)\/"/g, JSON.stringify(scratch))
    .replaceAll(/^import \{ (.*) \} from "ruvector-attention\/?(.*?)";.*$/gm, (_, names, entry) => {
      const others = names.split(", ").filter((name) => entry !== "" || name !== "load");
      imports.push(`import { ${others} } from "${LIB}${entry || "index"}.js";`);
      return others.length < names.split(", ").length ? "const load = globalThis.loadOnce;" : "";
    });
  const source = `${imports.join("\n")}
    export default async ({ ${Object.keys(given)} }) => { {\n${body}\n} };`;
  const { code: script } = await transform(source, { loader: "ts", format: "esm", target: "node20" });
  const url = `data:text/javascript;base64,${Buffer.from(script).toString("base64")}`;
  const { default: run } = await import(url);
  return () => run(given);
}
