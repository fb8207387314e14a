/** Starts the runtime of the kernels alone. */
import type { Description } from "../description.js";
import { AttentionError, LoadError } from "../errors.js";
import { absolute, folder } from "../places.js";
import { decode } from "../tensor.js";
import { chooseBackend, instantiate, moduleURL } from "./module.js";
import { KernelRuntime } from "./runtime.js";
import type { KernelOptions, KernelsHere, KernelsInWorker } from "./types.js";

export async function load(options: KernelOptions & { worker: true }): Promise<KernelsInWorker>;
export async function load(options?: KernelOptions & { worker?: false }): Promise<KernelsHere>;
export async function load(options?: KernelOptions): Promise<KernelsHere | KernelsInWorker>;
export async function load(options: KernelOptions = {}): Promise<KernelsHere | KernelsInWorker> {
  const { assetBase, backend, onProgress } = options;
  const module = moduleURL(chooseBackend(backend), assetBase === undefined ? undefined : folder(assetBase));
  if (options.worker) return loadWorker(module, options);
  onProgress?.({ stage: "Loading the attention kernels", fraction: 0.1 });
  const runtime = new KernelRuntime(await instantiate(module));
  onProgress?.({ stage: "Ready", fraction: 1 });
  return runtime as unknown as KernelsHere;
}

async function loadWorker(module: string, { workerURL, onProgress }: KernelOptions): Promise<KernelsInWorker> {
  const [{ connectWorker }, { RemoteClient }] = await Promise.all([import("../connect.js"), import("./remote.js")]);
  const script = workerURL === undefined ? new URL("./wasm_worker.js", import.meta.url) : absolute(workerURL);
  const connection = await connectWorker(script);
  try {
    const description = decode(await connection.start({ module }, onProgress)) as unknown as Description;
    return new RemoteClient(connection, description, false) as unknown as KernelsInWorker;
  } catch (error) {
    connection.lose(error instanceof AttentionError ? error : new LoadError(String(error)));
    throw error;
  }
}
