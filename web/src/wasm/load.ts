/** Starts the runtime of the kernels alone. */
import type { WorkerScript } from "../connect.js";
import { absolute, folder, IN_NODE } from "../places.js";
import { ModuleKernels } from "./kernels.js";
import { chooseBackend, instantiate, moduleURL } from "./module.js";
import { KernelRuntime } from "./runtime.js";
import type { KernelOptions, KernelsHere, KernelsInWorker } from "./types.js";

export async function load(options: KernelOptions & { worker: true }): Promise<KernelsInWorker>;
export async function load(options?: KernelOptions & { worker?: false }): Promise<KernelsHere>;
export async function load(options?: KernelOptions): Promise<KernelsHere | KernelsInWorker>;
export async function load(options: KernelOptions = {}): Promise<KernelsHere | KernelsInWorker> {
  const { assetBase, backend, worker, onProgress } = options;
  const kernels =
    options.threads === undefined
      ? undefined
      : await (await import("./threads/index.js")).openThreads(options);
  const module =
    options.module ??
    moduleURL(chooseBackend(backend), assetBase === undefined ? undefined : folder(assetBase));
  if (worker) {
    const { loadWorker } = await import("./worker_client.js");
    const client = await loadWorker(workerScript(options), module, onProgress, options.watch);
    return client as unknown as KernelsInWorker;
  }
  onProgress?.({ stage: "Loading the attention kernels", fraction: 0.1 });
  const runtime = new KernelRuntime(kernels ?? new ModuleKernels(await instantiate(module)));
  await runtime.preload(options.preload ?? (IN_NODE ? "all" : []));
  onProgress?.({ stage: "Ready", fraction: 1 });
  return runtime as unknown as KernelsHere;
}

/** The worker's script: where it is said to lie, with the other assets, else beside this file. */
function workerScript({ workerURL, assetBase }: KernelOptions): WorkerScript {
  if (workerURL !== undefined) return absolute(workerURL);
  if (assetBase !== undefined) return new URL("wasm_worker.js", folder(assetBase));
  if (IN_NODE) return new URL("./wasm_worker.js", import.meta.url);
  return () => new Worker(new URL("./wasm_worker.js", import.meta.url), { type: "module" });
}
