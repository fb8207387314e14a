/** Starts the kernels as an addon of Node's; without the addon those in WebAssembly, with a warning. */
import { LoadError } from "../errors.js";
import { IN_NODE } from "../places.js";
import { KernelRuntime } from "../wasm/runtime.js";
import type { KernelsHere } from "../wasm/types.js";
import { chooseTarget, findAddon } from "./addon.js";
import { fallBack } from "./fall_back.js";
import { NativeKernels } from "./kernels.js";

/** Options of load({ runtime: "native" }). */
export interface NativeOptions {
  runtime?: "native";
  /** The addon's file, where it is not in the package for this platform: then there is no falling back. */
  binary?: string | URL;
  /** The instruction set: "avx512", "avx2", "sse4", "neon" or "scalar"; left out, the best that this machine has. */
  backend?: string;
  /** Threads that a large asynchronous call may use; left out, one for each processor. libuv has four at most. */
  threads?: number;
}

/** The runtime `native`, or `wasm` where this platform's addon is not installed. */
export async function load(options: NativeOptions = {}): Promise<KernelsHere> {
  const { binary, backend, threads } = options;
  let addon: Awaited<ReturnType<typeof findAddon>>;
  try {
    if (!IN_NODE) throw new LoadError("addons run in Node alone");
    addon = await findAddon(binary);
  } catch (error) {
    if (binary !== undefined) throw error;
    return fallBack((error as Error).message);
  }
  const kernels = new NativeKernels(addon, chooseTarget(addon, backend), await threadsOf(threads));
  const runtime = new KernelRuntime(kernels);
  await runtime.preload("all"); // it lies on the disk
  return runtime as unknown as KernelsHere;
}

async function threadsOf(wanted: unknown): Promise<number> {
  const { availableParallelism } = await import("node:os");
  const count = wanted ?? (Number(process.env.RUVECTOR_ATTENTION_THREADS) || availableParallelism());
  if (!Number.isInteger(count) || (count as number) < 1) {
    throw new LoadError(`threads is ${count}; expected an integer of at least 1`);
  }
  return Math.min(count as number, Number(process.env.UV_THREADPOOL_SIZE) || 4);
}
