// A process that answers requests (session.mjs) as JSON lines on standard input and output.
//   node node_worker.mjs CONFIGURATION.json
import { readFile, writeFile } from "node:fs/promises";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Session } from "./session.mjs";

const configuration = JSON.parse(readFileSync(process.argv[2], "utf8"));
const modules = `${configuration.peers}/node_modules`;
const require = createRequire(`${configuration.peers}/package.json`);
// Libraries print to the console; standard output belongs to the conversation.
for (const level of ["log", "info", "warn", "debug"]) console[level] = (...words) => console.error(...words);

async function read(path) {
  const bytes = await readFile(path);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

function status(field) {
  const line = readFileSync("/proc/self/status", "utf8").split("\n").find((text) => text.startsWith(field));
  return Number(line.split(/\s+/)[1]) * 1024;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const session = new Session({
  read,
  require,
  peer: (path) => pathToFileURL(`${modules}/${path}`).href,
  folder: (path) => `${modules}/${path}`,
  write: (path, array) => writeFile(path, new Uint8Array(array.buffer, array.byteOffset, array.byteLength)),
  tfjs: async () => ({
    tf: require("@tensorflow/tfjs-core"),
    wasm: require("@tensorflow/tfjs-backend-wasm"),
  }),
  async memory(call, answer) {
    // What reading the arrays left behind is not the call's; threads of the engine free it, in more than one go.
    for (let round = 0; round < 4; round++) {
      collect();
      await new Promise((done) => setTimeout(done, 100));
    }
    try {
      writeFileSync("/proc/self/clear_refs", "5");
      const before = status("VmRSS");
      const result = await call();
      return (status("VmHWM") - before - answer(result).byteLength) / 1e6;
    } catch (error) {
      if (error.code === "ENOENT" || error.code === "EACCES") return null;
      throw error;
    }
  },
  library: configuration.library && pathToFileURL(`${configuration.library}/index.js`).href,
  addon: configuration.addon,
  pyodide: configuration.pyodide && {
    ...configuration.pyodide,
    module: pathToFileURL(`${configuration.pyodide.index}/pyodide.mjs`).href,
  },
});

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = await session.handle(JSON.parse(line));
  } catch (error) {
    console.error(error);
    reply = { error: String(error?.message ?? error).slice(0, 300) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
process.exit(0);
