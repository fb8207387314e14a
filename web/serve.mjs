/**
 * Serves a folder on 127.0.0.1: `node serve.mjs [--folder dist/page] [--port 8000]`, or serve() from a script.
 */
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".py": "text/x-python; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm", // any other type would keep the browser from compiling while it loads
  ".whl": "application/zip",
  ".zip": "application/zip",
};

export const PAGE = fileURLToPath(new URL("dist/page", import.meta.url));

/** Resolves to { url, close } once it listens; port 0 takes a free one. Headers go with every answer. */
export async function serve(folder = PAGE, port = 0, headers = {}) {
  const root = await realpath(resolve(folder));
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    void answer(root, request, response);
  });
  await new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", listening);
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

async function answer(root, request, response) {
  // Isolation gives the page a clock fine enough to time a query; caching is left to the validator.
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  response.setHeader("Cache-Control", "no-cache");
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (request.method !== "GET" && request.method !== "HEAD") return end(response, 405);
  try {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const file = await realpath(join(root, path.endsWith("/") ? `${path}index.html` : path));
    if (!file.startsWith(root + sep)) return end(response, 404);
    const { size, mtimeMs, isFile } = await information(file);
    if (!isFile) return end(response, 404);
    const etag = `"${size}-${mtimeMs}"`;
    response.setHeader("ETag", etag);
    if (request.headers["if-none-match"] === etag) return end(response, 304);
    response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
    response.setHeader("Content-Length", size);
    response.writeHead(200);
    if (request.method === "HEAD") response.end();
    else createReadStream(file).pipe(response);
  } catch {
    end(response, 404);
  }
}

async function information(file) {
  const found = await stat(file);
  return { size: found.size, mtimeMs: found.mtimeMs, isFile: found.isFile() };
}

function end(response, status) {
  response.writeHead(status).end();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { folder: { type: "string", default: PAGE }, port: { type: "string", default: "8000" } },
  });
  const { url } = await serve(values.folder, Number(values.port));
  console.log(url);
}
