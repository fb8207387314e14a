// Every JavaScript engine: (workload, arrays, host, message) -> { call, answer }, or it throws Unavailable with a phrase
// for the table. `call` is what is timed, `answer` turns its result into one Float32Array.
import { ours } from "./ours.mjs";
import { oursNative } from "./ours_native.mjs";
import { oursPool, oursResident, oursThreads, oursWasm } from "./ours_wasm.mjs";
import { Unavailable } from "./unavailable.mjs";

export { Unavailable };

export const engines = {
  "ruvector-attention-js-wasm": oursWasm,
  "ruvector-attention-js-resident": oursResident,
  "ruvector-attention-js-pool": oursPool,
  "ruvector-attention-js-threads": oursThreads,
  "ruvector-attention-js-native": oursNative,
  "ruvector-attention-js": ours,
  "onnxruntime-web": (...given) => onnx("matmul", ...given),
  "onnxruntime-web-attention": (...given) => onnx("attention", ...given),
  "tfjs-wasm": tfjs,
  "@ruvector/attention": ruvectorNative,
  "ruvector-attention-wasm": ruvectorWasm,
};

async function onnx(form, workload, arrays, host, message) {
  if (workload.kind === "window" || workload.kind === "backward") throw new Unavailable("no ONNX graph of this form");
  const ort = await import(host.peer("onnxruntime-web/dist/ort.wasm.bundle.min.mjs"));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = host.peer("onnxruntime-web/dist/");
  ort.env.logLevel = "error";
  const model = new Uint8Array(await host.read(`${message.models}/${workload.name}.${form}.onnx`));
  let session;
  try {
    session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Unavailable(`refuses the graph: ${String(error.message ?? error).split("\n")[0].slice(0, 120)}`);
  }
  const feeds = {};
  for (const name of session.inputNames) {
    const shape = workload.inputs[name];
    const dims = workload.kind === "layer" ? shape : [1, workload.heads, ...shape.slice(-2)];
    feeds[name] = new ort.Tensor("float32", arrays[name], dims);
  }
  return { call: () => session.run(feeds), answer: (result) => result.out.data };
}

async function tfjs(workload, arrays, host) {
  if (workload.kind === "window") throw new Unavailable("tfjs has no windowed attention");
  if (workload.kind === "backward") throw new Unavailable("tfjs-wasm has no gradient kernels of its own");
  const tf = await openTfjs(host);
  const tensor = (name, shape) => tf.tensor(arrays[name], shape ?? workload.inputs[name]);
  const scale = workload.dim ** -0.5;
  const { heads, n_query: n, dim } = workload;
  const attend = (q, k, v, hidden) => {
    let scores = tf.matMul(tf.mul(q, scale), k, false, true);
    if (hidden) scores = tf.add(scores, hidden);
    return tf.matMul(tf.softmax(scores), v);
  };
  const finish = (result) => {
    const data = result.dataSync();
    result.dispose();
    return data;
  };
  if (workload.kind === "layer") {
    const weights = Object.fromEntries(Object.keys(arrays).map((name) => [name, tensor(name)]));
    const project = (x, part) => tf.add(tf.matMul(x, weights[`w${part}`], false, true), weights[`b${part}`]);
    const split = (part) => tf.transpose(tf.reshape(project(weights.x, part), [n, heads, dim]), [1, 0, 2]);
    const call = () =>
      finish(
        tf.tidy(() => {
          const mixed = attend(split("q"), split("k"), split("v"));
          return project(tf.reshape(tf.transpose(mixed, [1, 0, 2]), [n, heads * dim]), "o");
        }),
      );
    return { call, answer: (data) => data };
  }
  const [q, k, v] = ["q", "k", "v"].map((name) => tensor(name));
  let hidden = null;
  if (workload.causal) {
    const future = new Float32Array(n * n);
    for (let i = 0; i < n; i++) future.fill(-1e30, i * n + i + 1, (i + 1) * n);
    hidden = tf.tensor(future, [n, n]);
  }
  return { call: () => finish(tf.tidy(() => attend(q, k, v, hidden))), answer: (data) => data };
}

let openedTfjs = null;

async function openTfjs(host) {
  openedTfjs ??= (async () => {
    const { tf, wasm } = await host.tfjs();
    wasm.setWasmPaths(host.folder("@tensorflow/tfjs-backend-wasm/dist/"));
    wasm.setThreadsCount(1);
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    if (!(await tf.setBackend("wasm"))) throw new Unavailable("the wasm backend of tfjs does not start");
    return tf;
  })();
  return openedTfjs;
}

async function ruvectorNative(workload, arrays, host, message) {
  if (!host.require) throw new Unavailable("a Node addon");
  let native;
  try {
    native = host.require("@ruvector/attention");
  } catch (error) {
    throw new Unavailable(`does not load: ${String(error.message).split("\n")[0].slice(0, 120)}`);
  }
  const attention = new native.DotProductAttention(workload.dim);
  return perQuery(workload, arrays, (query, keys, values) => attention.compute(query, keys, values), message.limit);
}

let openedRuvectorWasm = null;

async function ruvectorWasm(workload, arrays, host, message) {
  openedRuvectorWasm ??= (async () => {
    const module = await import(host.peer("ruvector-attention-wasm/ruvector_attention_wasm.js"));
    const bytes = await host.read(host.folder("ruvector-attention-wasm/ruvector_attention_wasm_bg.wasm"));
    await module.default({ module_or_path: bytes });
    return module;
  })();
  const module = await openedRuvectorWasm;
  return perQuery(workload, arrays, (query, keys, values) => module.scaled_dot_attention(query, keys, values), message.limit);
}

/** Attention by an engine that takes one query at a time, with keys and values as arrays of rows (made once, untimed). */
function perQuery(workload, arrays, attend, limit) {
  const { heads, n_query: n, n_key: m, dim, kind } = workload;
  if (kind === "backward" || kind === "layer") throw new Unavailable("takes one query at a time, forward only");
  const rows = (array, head, count) =>
    Array.from({ length: count }, (_, i) => array.subarray((head * count + i) * dim, (head * count + i + 1) * dim));
  const banks = Array.from({ length: heads }, (_, head) =>
    Object.fromEntries([["q", n], ["k", m], ["v", m]].map(([name, count]) => [name, rows(arrays[name], head, count)])),
  );
  const half = workload.window >> 1;
  const visible = (i, bank) => {
    if (!workload.causal && !workload.window) return [bank.k, bank.v];
    const low = workload.window ? Math.max(0, i - half) : 0;
    const high = workload.window ? Math.min(m, i + half + 1) : i + 1;
    return [bank.k.slice(low, high), bank.v.slice(low, high)];
  };
  const out = new Float32Array(heads * n * dim);
  const one = (head, i) => out.set(attend(banks[head].q[i], ...visible(i, banks[head])), (head * n + i) * dim);
  const probes = Math.min(n, 3);
  one(0, n >> 1);
  const start = performance.now();
  for (let i = 0; i < probes; i++) one(0, (n >> 1) + (i % Math.max(1, n >> 1)));
  const estimate = (((performance.now() - start) / 1e3) * heads * n) / probes;
  if (estimate > limit) throw new Unavailable(`too slow to time: about ${estimate.toFixed(0)} s a call`);
  const call = () => {
    for (let head = 0; head < heads; head++) for (let i = 0; i < n; i++) one(head, i);
    return out;
  };
  return { call, answer: (result) => result };
}
