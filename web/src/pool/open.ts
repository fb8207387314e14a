/** How the workers of a pool are started, and how many. */
import type { Client } from "../client.js";
import { InvalidConfigError } from "../errors.js";
import { type LoadOptions, load } from "../load.js";
import { folder, IN_NODE } from "../places.js";
import type { PoolOptions } from "../pool.js";
import type { KernelOptions } from "../wasm/types.js";

/** Starts a worker. The kernels' module is compiled once and handed to all. */
export function opener(options: PoolOptions): () => Promise<Client> {
  const { runtime = "wasm", workers, inFlight, timeout, onWorkerLost, ...place } = options;
  if (runtime === "pyodide") {
    return () => load({ ...place, worker: true, watch: true } as LoadOptions);
  }
  if (runtime !== "wasm")
    throw new InvalidConfigError(`runtime is '${runtime}'; expected 'wasm' or 'pyodide'`);
  let module: Promise<WebAssembly.Module> | undefined;
  return async () => {
    const { chooseBackend, compile, moduleURL } = await import("../wasm/module.js");
    const { assetBase, backend } = place;
    const base = assetBase === undefined ? undefined : folder(assetBase);
    module ??= compile(moduleURL(chooseBackend(backend), base));
    module.catch(() => {
      module = undefined;
    });
    const started = { ...place, module: await module, worker: true, watch: true } as const;
    return (await load({ ...started, runtime: "wasm" } as KernelOptions & {
      runtime: "wasm";
      worker: true;
    })) as unknown as Client;
  };
}

export async function cores(): Promise<number> {
  const count = IN_NODE
    ? (await import("node:os")).availableParallelism()
    : globalThis.navigator?.hardwareConcurrency;
  return Math.min(8, count ?? 4);
}
