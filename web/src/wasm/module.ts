/** Which of the compiled modules this engine can run, and how one is fetched and started. */
import { LoadError } from "../errors.js";
import { IN_NODE } from "../places.js";

/** The instruction sets, best first. */
export const BACKENDS = ["wasm-relaxed-simd", "wasm-simd128", "wasm-scalar"] as const;
/** An instruction set of WebAssembly. */
export type Backend = (typeof BACKENDS)[number];

/** What bindings/wasm.c exports. */
export interface KernelExports {
  readonly memory: WebAssembly.Memory;
  rv_describe(): number;
  rv_alloc(bytes: number): number;
  rv_free(pointer: number): void;
  rv_bytes_used(): number;
  rv_call_kernel(index: number, call: number): number;
}

/** A module of one function () -> v128 with this body: it validates where the engine knows its instructions. */
const probe = (...body: number[]): Uint8Array<ArrayBuffer> =>
  // biome-ignore format: a line is a section: magic, type () -> v128, one function of it, its code
  Uint8Array.from([
    0, 97, 115, 109, 1, 0, 0, 0,
    1, 5, 1, 96, 0, 1, 123,
    3, 2, 1, 0,
    10, body.length + 4, 1, body.length + 2, 0, ...body, 11,
  ]);
const SPLAT = [65, 0, 253, 15]; // i32.const 0, i8x16.splat
const PROBES: Record<Backend, Uint8Array<ArrayBuffer>> = {
  // i8x16.relaxed_swizzle (0x100)
  "wasm-relaxed-simd": probe(...SPLAT, ...SPLAT, 253, 128, 2),
  "wasm-simd128": probe(...SPLAT, 253, 98), // i8x16.popcnt, which the earliest drafts lacked
  "wasm-scalar": Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0]),
};

/** The backends that this engine can run, best first. */
export function supportedBackends(): Backend[] {
  return BACKENDS.filter((backend) => WebAssembly.validate(PROBES[backend]));
}

/** The backend that is asked for, else the best. */
export function chooseBackend(wanted?: string): Backend {
  const supported = supportedBackends();
  const [best] = supported;
  if (best === undefined) throw new LoadError("this engine has no WebAssembly that validates");
  if (wanted === undefined) return best;
  const found = supported.find((backend) => backend === wanted);
  if (found) return found;
  throw new LoadError(`backend is '${wanted}'; expected one that this engine runs: ${supported.join(", ")}`);
}

// Written out, so that bundlers find the files and take them along.
const MODULES: Record<Backend, () => URL> = {
  "wasm-relaxed-simd": () => new URL("./wasm-relaxed-simd.wasm", import.meta.url),
  "wasm-simd128": () => new URL("./wasm-simd128.wasm", import.meta.url),
  "wasm-scalar": () => new URL("./wasm-scalar.wasm", import.meta.url),
};

/** Where a backend's module lies: in the folder that is given, else beside this file. */
export function moduleURL(backend: Backend, folder?: string): string {
  return folder === undefined ? MODULES[backend]().href : new URL(`${backend}.wasm`, folder).href;
}

/** Starts a module, which is fetched and compiled where only its address is given. */
export async function instantiate(module: string | WebAssembly.Module): Promise<KernelExports> {
  const compiled = typeof module === "string" ? await compile(module) : module;
  return (await WebAssembly.instantiate(compiled, {})).exports as unknown as KernelExports;
}

/** Fetches and compiles a module. */
export async function compile(url: string): Promise<WebAssembly.Module> {
  try {
    return await (IN_NODE && url.startsWith("file:") ? fromFile(url) : fromServer(url));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LoadError(`${url} cannot be loaded: ${reason}`);
  }
}

async function fromFile(url: string): Promise<WebAssembly.Module> {
  const { readFile } = await import("node:fs/promises");
  return WebAssembly.compile((await readFile(new URL(url))) as Uint8Array<ArrayBuffer>);
}

async function fromServer(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  // Compiled while it arrives, where the server knows the type.
  if (response.headers.get("Content-Type")?.startsWith("application/wasm")) {
    return WebAssembly.compileStreaming(response);
  }
  return WebAssembly.compile(await response.arrayBuffer());
}
