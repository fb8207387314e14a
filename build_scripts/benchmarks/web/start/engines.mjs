/** Attention of one query over a hundred keys by each library, from its import to the result: [name, what runs, start]. */

const DIM = 64;
const N_KEY = 100;
const KEYS = DIM * N_KEY;
/** Numbers in (-1, 1) that are the same everywhere. */
const numbers = (count, seed) =>
  Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin((i + 1) * (seed + 0.37))));
const [query, keys, values] = [numbers(DIM, 1), numbers(KEYS, 2), numbers(KEYS, 3)];
const rows = (data) => Array.from({ length: N_KEY }, (_, i) => data.subarray(i * DIM, (i + 1) * DIM));

/** The formula, in float64. */
export function expected() {
  const scores = rows(keys).map((row) => row.reduce((sum, x, c) => sum + x * query[c], 0) / Math.sqrt(DIM));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b);
  const bank = rows(values);
  return Array.from({ length: DIM }, (_, c) =>
    bank.reduce((sum, row, j) => sum + (row[c] * weights[j]) / total, 0),
  );
}

async function kernels(options) {
  const { load } = await import("/lib/browser/wasm.js");
  const ra = await load(options);
  const attention = await ra.create("scaled_dot_product", { dim: DIM });
  return attention.forward(query, { data: keys, shape: [N_KEY, DIM] }, { data: values, shape: [N_KEY, DIM] });
}

async function pyodide() {
  const { load } = await import("/lib/browser/index.js");
  globalThis.kept = new Promise((resolve) => {
    const onProgress = ({ keeping }) => keeping === false && resolve();
    globalThis.loading = load({ assetBase: "/page/", worker: false, onProgress });
  });
  const ra = await globalThis.loading;
  const attention = await ra.create("scaled_dot_product", { dim: DIM });
  return attention.forward(query, { data: keys, shape: [N_KEY, DIM] }, { data: values, shape: [N_KEY, DIM] });
}

async function ruvectorWasm() {
  const module = await import("/peers/ruvector-attention-wasm/ruvector_attention_wasm.js");
  await module.default();
  return module.scaled_dot_attention(query, rows(keys), rows(values));
}

// softmax(q kᵀ / 8) v as Transpose, MatMul, Mul, Softmax, MatMul of opset 17, written by the package `onnx`
const GRAPH =
  "CAo66QEKIQoBaxICa3QiCVRyYW5zcG9zZSoNCgRwZXJtQAFAAKABBwoSCgFxCgJrdBIBZCIGTWF0TXVsCg4KAWQKAXMSAWUiA011" +
  "bAolCgFlEgF3IgdTb2Z0bWF4KhQKBGF4aXMY////////////AaABAgoTCgF3CgF2EgNvdXQiBk1hdE11bBIBYSoLEAEiBAAAAD5C" +
  "AXNaEwoBcRIOCgwIARIICgIIAQoCCEBaEwoBaxIOCgwIARIICgIIZAoCCEBaEwoBdhIOCgwIARIICgIIZAoCCEBiFQoDb3V0Eg4K" +
  "DAgBEggKAggBCgIIQEIECgAQEQ==";

async function onnxruntime() {
  const ort = await import("/peers/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/peers/onnxruntime-web/dist/";
  const graph = Uint8Array.from(atob(GRAPH), (letter) => letter.charCodeAt(0));
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  const result = await session.run({
    q: new ort.Tensor("float32", query, [1, DIM]),
    k: new ort.Tensor("float32", keys, [N_KEY, DIM]),
    v: new ort.Tensor("float32", values, [N_KEY, DIM]),
  });
  return result.out.data;
}

function script(src) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement("script"), { src, onload: resolve, async: false });
    element.onerror = () => reject(new Error(`${src} does not load`));
    document.head.append(element);
  });
}

async function tfjs() {
  const names = ["core/dist/tf-core", "backend-cpu/dist/tf-backend-cpu", "backend-wasm/dist/tf-backend-wasm"];
  await Promise.all(names.map((name) => script(`/peers/@tensorflow/tfjs-${name}.min.js`)));
  const { tf } = globalThis;
  tf.wasm.setWasmPaths("/peers/@tensorflow/tfjs-backend-wasm/dist/");
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (!(await tf.setBackend("wasm"))) throw new Error("tfjs starts no wasm backend");
  const [q, k, v] = [
    tf.tensor(query, [1, DIM]),
    tf.tensor(keys, [N_KEY, DIM]),
    tf.tensor(values, [N_KEY, DIM]),
  ];
  return tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), DIM ** -0.5)), v).data();
}

/** What keeps its start for the next one, and what that next one is called. */
export const AGAIN = { "ruvector-attention, `pyodide`": "ruvector-attention, `pyodide`, started before" };

export const engines = {
  "ruvector-attention, `wasm`": () => kernels(),
  "ruvector-attention, `wasm` in a worker": () => kernels({ worker: true }),
  "ruvector-attention, `pyodide`": pyodide,
  "ruvector-attention-wasm": ruvectorWasm,
  "tfjs, wasm": tfjs,
  "onnxruntime-web, wasm": onnxruntime,
};
