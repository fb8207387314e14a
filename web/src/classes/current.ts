/** The runtime behind the classes: they are made without one, by names that a program imports. */
import { LoadError, UnsupportedError } from "../errors.js";
import { type LoadOptions, load } from "../load.js";
import type { KernelOptions } from "../wasm/types.js";

/** What a mechanism is here, in this thread or in a worker. */
export interface Core {
  call(method: string, ...args: unknown[]): Promise<unknown>;
  /** Where the runtime is in this thread. */
  callSync?(method: string, ...args: unknown[]): unknown;
  dispose(): Promise<void>;
  /** The config with everything that was left out; in another thread it is there some time later. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

/** What the classes need of a runtime that load() gave. */
export interface Backing {
  readonly version: string;
  readonly backend: string;
  readonly mechanisms: readonly string[];
  create(name: string, config: never): Promise<unknown>;
  createSync?(name: string, config: never): unknown;
  preload?(what: "all"): Promise<void>;
  memorySync?(keys: never, values?: never, options?: never): unknown;
  close(): void;
  /** Where it has parts of training. */
  readonly training?: object;
  /** Of runtime "auto": the runtime that has all, once it has started. */
  readonly complete?: Promise<Backing>;
}

/** What load() takes; the kernels in this thread where it is left out. */
export type InitOptions = LoadOptions | (KernelOptions & { runtime: "wasm" });

let current: Backing | undefined;

/**
 * Loads the runtime of the classes, once for a program: the kernels in this thread, whose calls are synchronous too, or
 * what load()'s options say. A runtime that is loaded already may be given instead.
 */
export async function init(runtime: InitOptions | Backing = { runtime: "wasm" }): Promise<void> {
  if ("create" in runtime) {
    await runtime.preload?.("all");
    current = runtime;
  } else {
    // Constructors answer at once: what they make is to be there.
    const options = runtime.runtime === "wasm" ? { preload: "all", ...runtime } : runtime;
    current = await load(options as LoadOptions);
  }
}

/** @internal */
export function backing(): Backing {
  if (!current) throw new LoadError("no runtime is loaded; expected `await init()` before");
  return current;
}

/** The version of the package. */
export function getVersion(): string {
  return backing().version;
}

/** The mechanisms that the loaded runtime has, by the names that create() takes. */
export function getSupportedFeatures(): string[] {
  return [...backing().mechanisms];
}

/** What the runtime runs on: its instruction set, and whether it answers at once. */
export function getFeatures(): string[] {
  const { backend, createSync } = backing();
  return [backend, ...(createSync ? ["sync"] : []), "async"];
}

/** @internal A mechanism; in another thread it is ready some time later, and calls wait for it. */
export function makeCore(owner: string, mechanism: string, config: object): Core {
  const runtime = backing();
  if (!runtime.mechanisms.includes(mechanism)) {
    throw new UnsupportedError(
      `${owner} needs init({ runtime: 'pyodide' }); this runtime has ${runtime.mechanisms.join(", ")}`,
    );
  }
  if (runtime.createSync) {
    const core = runtime.createSync(mechanism, config as never) as Core;
    core.callSync?.("reset"); // raises what is wrong with the config
    return core;
  }
  return later(runtime.create(mechanism, config as never) as Promise<Core>);
}

/** An object that another thread makes; its calls wait for it. */
function later(making: Promise<Core>): Core {
  let made: Core | undefined;
  making.then(
    (core) => {
      made = core;
    },
    () => {}, // whoever calls meets it
  );
  return {
    get config() {
      return made?.config;
    },
    call: async (...args) => (await making).call(...args),
    dispose: async () => (await making.catch(() => undefined))?.dispose(),
  };
}

/** @internal A part of training, as makeCore makes mechanisms; its errors come at once where the runtime is here. */
export function makePart(owner: string, part: string, config: object): Core {
  const runtime = backing();
  if (!runtime.training && !runtime.complete) {
    throw new UnsupportedError(
      `${owner} needs init({ runtime: "pyodide" }); this runtime has no parts of training`,
    );
  }
  if (runtime.training && runtime.createSync) return runtime.createSync(part, config as never) as Core;
  const whole = Promise.resolve(runtime.training ? runtime : (runtime.complete as Promise<Backing>));
  return later(whole.then((python) => python.create(part, config as never)) as Promise<Core>);
}
