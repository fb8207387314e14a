// A page that fetches requests and posts replies (browser.py). Addresses are file paths: the server hands out a few folders.
import { Session } from "./session.mjs";

const configuration = await (await fetch("/configuration")).json();
const folder = (path) => `${configuration.peers}/node_modules/${path}`;

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.arrayBuffer();
}

function script(path) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement("script"), { src: path, onload: resolve });
    element.onerror = () => reject(new Error(`${path} does not load`));
    document.head.append(element);
  });
}

const session = new Session({
  read,
  folder,
  peer: folder,
  write: (path, array) => fetch(path, { method: "POST", body: array }),
  tfjs: async () => {
    await script(folder("@tensorflow/tfjs-core/dist/tf-core.min.js"));
    await script(folder("@tensorflow/tfjs-backend-cpu/dist/tf-backend-cpu.min.js"));
    await script(folder("@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js"));
    return { tf: globalThis.tf, wasm: globalThis.tf.wasm };
  },
  memory: async () => null,
  library: configuration.library && `${configuration.library}/index.js`,
  pyodide: configuration.pyodide && { ...configuration.pyodide, module: `${configuration.pyodide.index}/pyodide.mjs` },
});

for (;;) {
  const text = await (await fetch("/next")).text();
  if (!text) break;
  let reply;
  try {
    reply = await session.handle(JSON.parse(text));
  } catch (error) {
    reply = { error: String(error?.message ?? error).slice(0, 300) };
  }
  await fetch("/reply", { method: "POST", body: JSON.stringify(reply) });
}
