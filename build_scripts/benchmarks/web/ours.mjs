// The library through its own npm package and Pyodide: JavaScript calls on typed arrays, in this thread.
import { Unavailable } from "./unavailable.mjs";

let opened = null;

export async function ours(workload, arrays, host) {
  if (!host.library) throw new Unavailable("the npm package was not built");
  if (!host.pyodide?.wheel) throw new Unavailable("the Pyodide wheel was not built");
  opened ??= open(host);
  const ra = await opened;
  if (workload.kind === "window") throw new Unavailable("the npm package has no window mask yet");
  if (workload.kind === "backward") throw new Unavailable("the npm package has no backward yet");
  if (workload.kind === "layer") throw new Unavailable("the npm package sets no projection weights yet");
  return { call: await calls(ra, workload, arrays), answer: (result) => result };
}

async function calls(ra, workload, arrays) {
  const attention = await ra.create("scaled_dot_product", { dim: workload.dim });
  const inputs = ["q", "k", "v"].map((name) => ({ data: arrays[name], shape: workload.inputs[name] }));
  if (workload.causal) inputs.push({ causal: true });
  return () => attention.call("forward", ...inputs);
}

async function open(host) {
  try {
    const { load } = await import(host.library);
    const place = host.pyodide && { indexURL: `${host.pyodide.index}/`, wheel: host.pyodide.wheel };
    return await load({ worker: false, ...place });
  } catch (error) {
    throw new Unavailable(`does not load: ${String(error?.message ?? error).replace(/\S{60,}/g, "…").slice(0, 160)}`);
  }
}
