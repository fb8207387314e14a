/** Threads on shared memory: only a program that asks for them fetches this. */
import { LoadError } from "../../errors.js";
import { absolute, folder, IN_NODE } from "../../places.js";
import { chooseBackend, compile } from "../module.js";
import type { KernelOptions } from "../types.js";
import { boardWords, Crew, STACK_BYTES, type ThreadScript } from "./crew.js";
import { SharedKernels, type ThreadExports } from "./kernels.js";

const PAGE = 65536;
const MEGABYTE = 1 << 20;
/** What the memory may grow to, in MB: engines reserve addresses for all of it, and not every one has so many. */
const LIMITS = [4096, 2048, 1024, 256];

// Written out, so that bundlers find the files and take them along.
const MODULES: Readonly<Record<string, () => URL>> = {
  "wasm-relaxed-simd": () => new URL("./wasm-relaxed-simd-threads.wasm", import.meta.url),
  "wasm-simd128": () => new URL("./wasm-simd128-threads.wasm", import.meta.url),
};

/** Ends the threads of a runtime that was never closed, some time after its owner forgot it. */
const forgotten = new FinalizationRegistry<Crew>((crew) => crew.close());

/**
 * The kernels with as many threads as `threads` says; undefined where one thread is wanted, or where memory cannot be
 * shared. Raises LoadError for other values, and where a file is not there.
 */
export async function openThreads(options: KernelOptions): Promise<SharedKernels | undefined> {
  const { threads, worker, module, backend } = options;
  if (!Number.isInteger(threads) || (threads as number) < 1) {
    throw new LoadError(`threads is ${String(threads)}; expected an integer of at least 1`);
  }
  if (module) {
    throw new LoadError("module came beside threads, which need another; expected one of them");
  }
  if (worker) {
    throw new LoadError(
      `threads is ${threads} and worker is true; expected one of them: threads compute beside this one, which goes on`,
    );
  }
  const chosen = chooseBackend(backend);
  const place = MODULES[chosen]; // there is none for engines without SIMD: none of them has shared memory
  const shared = (threads as number) > 1 && place ? sharedMemory() : undefined;
  if (!shared || !place) return undefined;
  const { memory, limit } = shared;
  const { assetBase } = options;
  const url =
    assetBase === undefined ? place().href : new URL(`${chosen}-threads.wasm`, folder(assetBase)).href;
  const compiled = await compile(url);
  const { exports } = await WebAssembly.instantiate(compiled, { env: { memory } });
  const kernels = new SharedKernels(exports as unknown as ThreadExports, memory, limit);
  const board = kernels.alloc(4 * boardWords(threads as number));
  kernels.words.fill(0, board >>> 2, (board >>> 2) + boardWords(threads as number));
  const stacks = Array.from({ length: threads as number }, () => kernels.alloc(STACK_BYTES));
  const runner = exports as unknown as ThreadExports;
  const crew = await Crew.start({ module: compiled, memory, board, stacks, runner }, threadScript(options));
  kernels.join(crew);
  forgotten.register(kernels, crew);
  return kernels;
}

/** Memory for all threads, and what it may grow to; undefined where there is none. */
function sharedMemory(): { memory: WebAssembly.Memory; limit: string } | undefined {
  // WebKitGTK has such memory, but not the class of its buffers, and does not let workers have it.
  if (!(IN_NODE || globalThis.crossOriginIsolated) || typeof SharedArrayBuffer === "undefined")
    return undefined;
  for (const limit of LIMITS) {
    try {
      const maximum = (limit * MEGABYTE) / PAGE;
      const memory = new WebAssembly.Memory({ initial: MEGABYTE / PAGE, maximum, shared: true });
      if (memory.buffer instanceof SharedArrayBuffer) {
        return { memory, limit: limit < 1024 ? `${limit} MB` : `${limit / 1024} GB` };
      }
    } catch {
      // fewer, then
    }
  }
  return undefined;
}

/** The threads' script: where it is said to lie, with the other assets, else beside this file. */
function threadScript({ workerURL, assetBase }: KernelOptions): ThreadScript {
  if (workerURL !== undefined) return absolute(workerURL);
  if (assetBase !== undefined) return new URL("wasm_thread.js", folder(assetBase));
  if (IN_NODE) return new URL("./wasm_thread.js", import.meta.url);
  return () => new Worker(new URL("./wasm_thread.js", import.meta.url), { type: "module" });
}
