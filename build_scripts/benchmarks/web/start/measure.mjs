/**
 * What a page fetches, and how long it waits for its first result, by library: JSON on stdout.
 *
 *   node measure.mjs --lib FOLDER --page FOLDER --peers FOLDER --rounds 9 --known FILE
 *
 * Every start is in a browser context of its own, so nothing is cached; the libraries take turns. Of one that keeps its start,
 * the next start in the same context is a row of its own. Answers come from the
 * server's memory over the loopback as they are; sizes are those of the same bytes compressed by Brotli at its best, which
 * takes half a minute for the large ones: FILE keeps them, by what was compressed.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync } from "node:zlib";
import { launch } from "../../../../web/drive.mjs";
import { AGAIN, engines, expected } from "./engines.mjs";

const { values: options } = parseArgs({
  options: {
    lib: { type: "string" },
    page: { type: "string" },
    peers: { type: "string" },
    rounds: { type: "string", default: "9" },
    known: { type: "string" },
  },
});
const FOLDERS = {
  lib: resolve(options.lib),
  page: resolve(options.page),
  peers: resolve(options.peers),
  own: fileURLToPath(new URL(".", import.meta.url)),
};
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

const server = createServer(async (request, response) => {
  const path = decodeURIComponent(request.url.slice(1).split("?")[0]);
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin"); // for a fine clock
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  response.setHeader("Cache-Control", "no-store");
  if (path === "") {
    response.setHeader("Content-Type", "text/html");
    response.end('<!doctype html><meta charset="utf-8"><title>start</title><link rel="icon" href="data:,">');
    return;
  }
  try {
    const body = await bytesOf(path);
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    response.end(request.method === "HEAD" ? undefined : body);
  } catch {
    response.writeHead(404).end();
  }
});

/** The file behind an address; the server is reached by the browser that is started here alone. */
function fileOf(path) {
  const [name, ...rest] = path.split("/");
  if (!(name in FOLDERS) || rest.includes("..")) throw new Error(`no file for ${path}`);
  return join(FOLDERS[name], ...rest);
}

/** Read once: how long a disk takes is no library's doing. */
const read = new Map();
async function bytesOf(path) {
  if (!read.has(path)) read.set(path, await readFile(fileOf(path)));
  return read.get(path);
}

const known = existsSync(options.known ?? "") ? JSON.parse(readFileSync(options.known, "utf8")) : {};
async function sizeOf(path) {
  const bytes = await bytesOf(path);
  if (/\.(whl|zip)$/.test(path)) return bytes.length; // archives, which no server compresses again
  const hash = createHash("sha256").update(bytes).digest("hex");
  known[hash] ??= brotliCompressSync(bytes).length;
  return known[hash];
}

/** Starts in one context, [name, milliseconds, paths of what was fetched]: one, or where that is kept, another one. */
async function starts(browser, url, name) {
  const context = await browser.newContext();
  try {
    const first = await start(context, url, name, name in AGAIN);
    const found = [[name, ...first]];
    if (name in AGAIN) found.push([AGAIN[name], ...(await start(context, url, name, false))]);
    return found;
  } finally {
    await context.close();
  }
}

async function start(context, url, name, untilKept) {
  const paths = new Set();
  const note = (response) => {
    const path = new URL(response.url()).pathname.slice(1);
    if (path !== "" && !path.startsWith("own/")) paths.add(path);
  };
  context.on("response", note);
  try {
    const page = await context.newPage();
    await page.goto(url);
    await page.evaluate(async () => {
      globalThis.engines = (await import("/own/engines.mjs")).engines;
    });
    const { milliseconds, output } = await page.evaluate(async (which) => {
      const started = performance.now();
      const result = await globalThis.engines[which]();
      return { milliseconds: performance.now() - started, output: [...result] };
    }, name);
    const wanted = expected();
    const error = Math.max(...wanted.map((x, i) => Math.abs(x - output[i])));
    if (!(error < 1e-5) || output.length !== wanted.length) throw new Error(`${name} is off by ${error}`);
    if (untilKept) await page.evaluate(() => globalThis.kept);
    await page.close();
    return [milliseconds, paths];
  } finally {
    context.off("response", note);
  }
}

/** Milliseconds of starts after which a library takes no further turn. */
const LONG = 15_000;
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

await new Promise((done) => server.listen(0, "127.0.0.1", done));
const browser = await launch();
try {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const found = new Map();
  for (let round = 0; round < Number(options.rounds); round++)
    for (const name of Object.keys(engines)) {
      const before = found.get(name)?.times ?? [];
      if (before.reduce((sum, time) => sum + time, 0) > LONG) continue; // seconds each, and steady
      for (const [row, milliseconds, paths] of await starts(browser, url, name)) {
        if (!found.has(row)) found.set(row, { times: [], paths: new Set() });
        found.get(row).times.push(milliseconds);
        for (const path of paths) found.get(row).paths.add(path);
      }
    }
  const rows = [];
  for (const [name, { times, paths }] of found) {
    const sizes = { script: 0, wasm: 0, other: 0 };
    for (const path of paths) {
      const kind = path.endsWith(".wasm") ? "wasm" : /\.m?js$/.test(path) ? "script" : "other";
      sizes[kind] += await sizeOf(path);
    }
    rows.push({ name, ...sizes, files: paths.size, milliseconds: median(times), best: Math.min(...times) });
  }
  if (options.known) writeFileSync(options.known, JSON.stringify(known));
  console.log(JSON.stringify({ browser: browser.version(), rounds: Number(options.rounds), rows }));
} finally {
  await browser.close();
  server.close();
}
