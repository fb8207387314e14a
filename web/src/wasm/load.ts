/** Starts the runtime of the kernels alone. */
import { absolute, folder } from "../places.js";
import { chooseBackend, instantiate, moduleURL } from "./module.js";
import { KernelRuntime } from "./runtime.js";
import type { KernelOptions, KernelsHere, KernelsInWorker } from "./types.js";

export async function load(options: KernelOptions & { worker: true }): Promise<KernelsInWorker>;
export async function load(options?: KernelOptions & { worker?: false }): Promise<KernelsHere>;
export async function load(options?: KernelOptions): Promise<KernelsHere | KernelsInWorker>;
export async function load(options: KernelOptions = {}): Promise<KernelsHere | KernelsInWorker> {
  const { assetBase, backend, worker, workerURL, onProgress } = options;
  const module = moduleURL(chooseBackend(backend), assetBase === undefined ? undefined : folder(assetBase));
  if (worker) {
    const script =
      workerURL === undefined ? new URL("./wasm_worker.js", import.meta.url) : absolute(workerURL);
    const { loadWorker } = await import("./worker_client.js");
    return (await loadWorker(script, module, onProgress)) as unknown as KernelsInWorker;
  }
  onProgress?.({ stage: "Loading the attention kernels", fraction: 0.1 });
  const runtime = new KernelRuntime(await instantiate(module));
  onProgress?.({ stage: "Ready", fraction: 1 });
  return runtime as unknown as KernelsHere;
}
