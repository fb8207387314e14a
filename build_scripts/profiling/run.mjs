/**
 * node run.mjs JSON: measures in Node, or in Chromium where the JSON names one; prints what parts.mjs gives.
 * The JSON: { modules: [FILE], cases: {...}, chromium: FILE or absent }
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { measure } from "./parts.mjs";

const { modules, cases, chromium } = JSON.parse(process.argv[2]);
const found = chromium
  ? await inChromium()
  : await measure(await Promise.all(modules.map((file) => readFile(file))), cases);
console.log(JSON.stringify(found));

async function inChromium() {
  const sources = fileURLToPath(new URL(".", import.meta.url));
  const names = modules.map((_, index) => `/${index}.wasm`);
  const page = `<script type="module">
    try {
      const { measure } = await import("/parts.mjs");
      const bytes = await Promise.all(${JSON.stringify(names)}.map(async (name) => (await fetch(name)).arrayBuffer()));
      await fetch("/found", { method: "POST", body: JSON.stringify(await measure(bytes, ${JSON.stringify(cases)})) });
    } catch (error) {
      await fetch("/failed", { method: "POST", body: String(error.stack) });
    }
  </script>`;
  // Only an isolated page has a clock that is fine enough.
  const headers = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  };
  let settle;
  const answer = new Promise((resolve, reject) => {
    settle = { "/found": (text) => resolve(JSON.parse(text)), "/failed": (text) => reject(new Error(text)) };
  });
  const server = createServer(async (request, response) => {
    const { method, url } = request;
    if (method === "POST") {
      let text = "";
      for await (const part of request) text += part;
      response.writeHead(204, headers).end();
      settle[url](text);
    } else if (url === "/") {
      response.writeHead(200, { ...headers, "Content-Type": "text/html" }).end(page);
    } else if (names.includes(url)) {
      response.writeHead(200, headers).end(await readFile(modules[names.indexOf(url)]));
    } else if (/^\/\w+\.mjs$/.test(url)) {
      response
        .writeHead(200, { ...headers, "Content-Type": "text/javascript" })
        .end(await readFile(join(sources, url)));
    } else {
      response.writeHead(404, headers).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const profile = await mkdtemp(join(tmpdir(), "profile-chromium-"));
  const flags = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-gpu",
  ];
  const address = `http://127.0.0.1:${server.address().port}/`;
  const browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, address], { stdio: "ignore" });
  const ended = new Promise((resolve) => browser.on("exit", resolve));
  try {
    return await Promise.race([answer, ended.then(() => Promise.reject(new Error("the browser ended")))]);
  } finally {
    browser.kill();
    await ended;
    server.close();
    server.closeAllConnections();
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}
