// The kernels as an addon of Node's: synchronous calls in this thread, or promises that compute on several of libuv's.
import { Unavailable } from "./unavailable.mjs";

const opened = new Map();

export async function oursNative(workload, arrays, host, message) {
  if (!host.library || !host.addon) throw new Unavailable("the addon was not built");
  if (workload.kind !== "attention") throw new Unavailable("timed for plain attention");
  const { threads } = message;
  if (!opened.has(threads)) {
    const { load } = await import(host.library.replace(/index\.js$/, "native.js"));
    opened.set(threads, await load({ binary: host.addon, threads }));
  }
  const attention = opened.get(threads).createSync("scaled_dot_product", { dim: workload.dim, causal: workload.causal });
  const inputs = ["q", "k", "v"].map((name) => ({ data: arrays[name], shape: workload.inputs[name] }));
  const call = threads > 1 ? () => attention.forward(...inputs) : () => attention.forwardSync(...inputs);
  return { call, answer: (result) => result, release: () => attention.free() };
}
