/** Finds the assets, opens a connection, and hands out the client. */
import type { AutoOptions, AutoRuntime } from "./auto.js";
import { Client } from "./client.js";
import { connectHere, connectWorker, type WorkerScript } from "./connect.js";
import type { Description } from "./description.js";
import { AttentionError, LoadError } from "./errors.js";
import type { Mechanisms, MechanismsByName } from "./mechanisms.gen.js";
import type { EitherName } from "./naming.js";
import type { NativeOptions } from "./native/load.js";
import { absolute, folder, IN_NODE } from "./places.js";
import { INTERRUPT, type Progress } from "./protocol.js";
import type { PyodideAssets } from "./pyodide_host.js";
import { cacheName } from "./start_store.js";
import { decode } from "./tensor.js";
import type { PartsByName } from "./training.gen.js";
import type { KernelOptions, KernelsHere, KernelsInWorker } from "./wasm/types.js";

/** Options of load() for the Python package. */
export interface LoadOptions {
  runtime?: "pyodide";
  /**
   * Folder with assets.json, which names the Pyodide folder and the wheel: a URL, or a path in Node. Default: the
   * folder `assets` beside this module.
   */
  assetBase?: string | URL;
  /** A Pyodide folder of your own (a CDN, npm's `pyodide`) instead of the one in assets.json. */
  indexURL?: string | URL;
  /** A wheel of your own instead of the one in assets.json. */
  wheel?: string | URL;
  /** true: Pyodide runs in a worker of its own and the page stays responsive (default). false: in this thread. */
  worker?: boolean;
  /** Where the worker's script is, when a bundler or another origin moved it. */
  workerURL?: string | URL;
  /** Python modules to add, name → source: your own mechanisms register themselves when they are imported. */
  modules?: Record<string, string>;
  /**
   * Keeps what a start has unpacked and compiled for the next one: true in the Cache API (the default in pages), a string
   * in a Cache of that name; in Node in that folder. false: keeps nothing, and starts from nothing that was kept.
   */
  cache?: boolean | string;
  /** Told of each stage; with `cache` of the keeping, too, which comes after the start. */
  onProgress?: (progress: Progress) => void;
  /** @internal */
  watch?: boolean;
}

/** A loaded runtime: `ra.create("flash", …)`, `new ra.FlashAttention(…)`, both typed. */
export type RuvectorAttention = TypedCreate & Client & Mechanisms;

interface TypedCreate {
  /** A mechanism by its registry name, "multi_head" or "multi-head"; rejects where the config is not accepted. */
  create<Name extends keyof EitherName<MechanismsByName>>(
    name: Name,
    config: EitherName<MechanismsByName>[Name]["config"],
  ): Promise<EitherName<MechanismsByName>[Name]["instance"]>;
  /** A loss, an optimizer, a schedule or a miner. */
  create<Name extends keyof EitherName<PartsByName>>(
    name: Name,
    config: EitherName<PartsByName>[Name]["config"],
  ): Promise<EitherName<PartsByName>[Name]["instance"]>;
}

/** The kernels as an addon of Node's: the inference classes; `wasm`, with a warning, where it is not installed. */
export async function load(options: NativeOptions & { runtime: "native" }): Promise<KernelsHere>;
/** The kernels alone, without Python: the inference classes, in this thread or in a worker. */
export async function load(
  options: KernelOptions & { runtime: "wasm"; worker: true },
): Promise<KernelsInWorker>;
export async function load(options: KernelOptions & { runtime: "wasm" }): Promise<KernelsHere>;
/** The kernels in this thread at once, and the Python package as soon as it has started behind them. */
export async function load(options: AutoOptions): Promise<AutoRuntime>;
/** The Python package in Pyodide: every class. */
export async function load(options?: LoadOptions): Promise<RuvectorAttention>;
export async function load(
  options:
    | LoadOptions
    | AutoOptions
    | (KernelOptions & { runtime: "wasm" })
    | (NativeOptions & { runtime: "native" }) = {},
): Promise<RuvectorAttention | KernelsHere | KernelsInWorker | AutoRuntime> {
  if (typeof options !== "object" || options === null)
    throw new LoadError(`options is ${options}; expected an object, like { runtime: "wasm" }`);
  if (options.runtime === "native") return (await import("./native/load.js")).load(options);
  if (options.runtime === "wasm") return (await import("./wasm/load.js")).load(options);
  if (options.runtime === "auto") {
    const { kernels, runtime: _, ...python } = options;
    const { AutoRuntime } = await import("./auto.js");
    const here = await load({ ...kernels, runtime: "wasm" });
    return new AutoRuntime(here as KernelsHere, load(python));
  }
  const { runtime = "pyodide", worker = true, modules = {}, onProgress = () => {} } = options;
  if (runtime !== "pyodide")
    throw new LoadError(`runtime is '${runtime}'; expected 'pyodide', 'wasm', 'native' or 'auto'`);
  const cache = cacheName(options.cache);
  const interrupts = worker ? sharedBytes(INTERRUPT.bytes) : undefined;
  const assets: PyodideAssets = { ...(await locate(options)), modules, interrupts, cache };
  const connection = worker
    ? await connectWorker(workerScript(options), options.watch, onProgress)
    : connectHere(onProgress);
  if (interrupts) connection.interrupt = (id) => interrupt(interrupts, id);
  try {
    const description = decode(await connection.start(assets)) as unknown as Description;
    return new Client(connection, description, !worker) as RuvectorAttention;
  } catch (error) {
    connection.lose(error instanceof AttentionError ? error : new LoadError(String(error)));
    throw error;
  }
}

/** Memory that both threads see: in Node, and in pages that are cross-origin isolated. */
function sharedBytes(count: number): SharedArrayBuffer | undefined {
  const isShareable = IN_NODE || globalThis.crossOriginIsolated;
  return isShareable ? new SharedArrayBuffer(count) : undefined;
}

function interrupt(shared: SharedArrayBuffer, id: number): void {
  if (Atomics.load(new Int32Array(shared), INTERRUPT.id) !== id) return;
  Atomics.store(new Uint8Array(shared), INTERRUPT.signal, INTERRUPT.sigint);
}

/** Ours, unless it is said to lie elsewhere. */
function workerScript({ workerURL }: LoadOptions): WorkerScript {
  if (workerURL !== undefined) return workerURL;
  if (IN_NODE) return new URL("./worker.js", import.meta.url);
  return () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

/** What assets.json says; `sha256` is the wheel's. */
interface Manifest {
  pyodide: string;
  wheel: string;
  sha256?: string;
}

async function locate(
  options: LoadOptions,
): Promise<{ indexURL: string; wheel: string; wheelHash?: string | undefined }> {
  const { indexURL, wheel } = options;
  if (indexURL && wheel) return { indexURL: folder(indexURL), wheel: absolute(wheel) };
  const here = new URL(import.meta.url).href; // bundlers would look for a file in new URL("…", import.meta.url)
  const base = folder(options.assetBase ?? new URL("./assets/", here));
  const manifest = await readJson(new URL("assets.json", base));
  for (const [name, own] of Object.entries({ pyodide: indexURL, wheel })) {
    if (own || typeof manifest?.[name as keyof typeof manifest] === "string") continue;
    throw new LoadError(`${base}assets.json does not name ${name}; expected { "pyodide": …, "wheel": … }`);
  }
  return {
    indexURL: indexURL ? folder(indexURL) : new URL(manifest.pyodide, base).href,
    wheel: wheel ? absolute(wheel) : new URL(manifest.wheel, base).href,
    wheelHash: wheel ? undefined : manifest.sha256,
  };
}

async function readJson(url: URL): Promise<Manifest> {
  try {
    if (IN_NODE && url.protocol === "file:") {
      const { readFile } = await import("node:fs/promises");
      return JSON.parse(await readFile(url, "utf8"));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return await response.json();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LoadError(`${url.href} cannot be read: ${reason}; assetBase is the folder that holds it`);
  }
}
