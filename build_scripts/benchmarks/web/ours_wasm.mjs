// The kernels alone, through their JavaScript runtime: synchronous calls on typed arrays in this thread, keys and values
// copied by every call or resident, or a worker for every half of the heads.
import { Unavailable } from "./unavailable.mjs";

const opened = new Map();

/** One of several identical runtimes, in this thread or in workers; kept for the whole session. */
async function open(host, count, worker) {
  if (!host.library) throw new Unavailable("the npm package was not built");
  const { load } = await import(host.library.replace(/index\.js$/, "wasm.js"));
  for (let i = 0; i < count; i++) {
    const key = `${worker} ${i}`;
    if (!opened.has(key)) opened.set(key, await load({ worker, preload: "all" }));
  }
  return Array.from({ length: count }, (_, i) => opened.get(`${worker} ${i}`));
}

export async function oursWasm(workload, arrays, host, message) {
  if (workload.kind === "backward") throw new Unavailable("computes forward only");
  if (message.threads > 1) return inWorkers(workload, arrays, host, message.threads);
  const [ra] = await open(host, 1, false);
  if (workload.kind === "layer") return layer(ra, workload, arrays);
  const attention = ra.createSync("scaled_dot_product", { dim: workload.dim, causal: workload.causal });
  const [q, k, v] = ["q", "k", "v"].map((name) => ({ data: arrays[name], shape: workload.inputs[name] }));
  if (workload.kind === "window") {
    const mask = { type: "window", window: workload.window >> 1 };
    return { call: () => attention.forwardSync(q, k, v, { mask }), answer: (result) => result };
  }
  return { call: () => attention.forwardSync(q, k, v), answer: (result) => result };
}

/** Keys and values are in the runtime already: a call copies its query in and its output out. */
export async function oursResident(workload, arrays, host) {
  if (workload.kind !== "attention" || (workload.n_query > 1 && !workload.memory)) {
    throw new Unavailable("resident keys and values: timed for single queries");
  }
  const [ra] = await open(host, 1, false);
  const attention = ra.createSync("scaled_dot_product", { dim: workload.dim });
  const [q, k, v] = ["q", "k", "v"].map((name) => ({ data: arrays[name], shape: workload.inputs[name] }));
  const bank = ra.memorySync(k, v);
  return { call: () => attention.forwardSync(q, bank), answer: (result) => result, release: () => bank.free() };
}

/** A promise, over as many threads on shared memory as are asked for; with one, this thread makes it. */
export async function oursThreads(workload, arrays, host, { threads }) {
  if (workload.kind !== "attention") throw new Unavailable("timed for plain attention");
  if (!host.library) throw new Unavailable("the npm package was not built");
  const { load } = await import(host.library.replace(/index\.js$/, "wasm.js"));
  const ra = await load({ threads });
  if (ra.threads !== threads) throw new Unavailable("memory cannot be shared here");
  const attention = await ra.create("scaled_dot_product", { dim: workload.dim, causal: workload.causal });
  const inputs = ["q", "k", "v"].map((name) => ({ data: arrays[name], shape: workload.inputs[name] }));
  return { call: () => attention.forward(...inputs), answer: (result) => result, release: () => ra.close() };
}

/** A batch, an item for every head, over a pool of as many workers as there are threads. */
export async function oursPool(workload, arrays, host, message) {
  if (workload.kind !== "attention" || workload.heads < 16) throw new Unavailable("a pool of workers: timed for batches");
  if (!host.library) throw new Unavailable("the npm package was not built");
  const { openPool } = await import(host.library);
  const pool = await openPool({ workers: message.threads });
  const attention = await pool.create("scaled_dot_product", { dim: workload.dim, causal: workload.causal });
  const items = Array.from({ length: workload.heads }, (_, head) =>
    ["q", "k", "v"].map((name) => {
      const shape = workload.inputs[name].slice(1);
      const size = shape[0] * shape[1];
      return { data: arrays[name].subarray(head * size, (head + 1) * size), shape };
    }),
  );
  return { call: () => attention.forwardBatch(items), answer: joined, release: () => pool.close() };
}

function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

function layer(ra, workload, arrays) {
  const dim = workload.heads * workload.dim;
  const state = {};
  for (const [part, name] of Object.entries({ q: "query", k: "keys", v: "values", o: "output" })) {
    // Weights are (out, in) there and (in, out) in the library.
    const weight = new Float32Array(dim * dim);
    for (let i = 0; i < dim; i++) for (let j = 0; j < dim; j++) weight[j * dim + i] = arrays[`w${part}`][i * dim + j];
    state[`${name}_weight`] = { data: weight, shape: [dim, dim] };
    state[`${name}_bias`] = arrays[`b${part}`];
  }
  const attention = ra.createSync("self_attention", { dim, numHeads: workload.heads });
  attention.loadStateDictSync(state);
  const x = { data: arrays.x, shape: workload.inputs.x };
  return { call: () => attention.forwardSync(x), answer: (result) => result, release: () => attention.free() };
}

/** Heads are spread over workers, each with a runtime of its own; arrays travel there and back with every call. */
async function inWorkers(workload, arrays, host, count) {
  if (workload.kind !== "attention" || workload.heads % count !== 0) throw new Unavailable("heads do not divide");
  const runtimes = await open(host, count, true);
  const heads = workload.heads / count;
  const shares = await Promise.all(
    runtimes.map(async (ra, i) => {
      const inputs = ["q", "k", "v"].map((name) => {
        const shape = [heads, ...workload.inputs[name].slice(1)];
        const size = shape.reduce((a, b) => a * b, 1);
        return { data: arrays[name].subarray(i * size, (i + 1) * size), shape };
      });
      const attention = await ra.create("scaled_dot_product", { dim: workload.dim, causal: workload.causal });
      return () => attention.forward(...inputs);
    }),
  );
  return { call: () => Promise.all(shares.map((forward) => forward())), answer: joined };
}
