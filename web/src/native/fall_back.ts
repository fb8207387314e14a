/** What stands in for an addon that is not there. */
import { IN_NODE } from "../places.js";
import type { KernelsHere } from "../wasm/types.js";

let warned = false;

/** The runtime `wasm`, and the first time a warning that says why. */
export async function fallBack(reason: string): Promise<KernelsHere> {
  const message = `${reason}; the kernels run as WebAssembly instead`;
  if (!warned) {
    warned = true;
    if (IN_NODE) process.emitWarning(message, { type: "RuvectorAttentionWarning", code: "RUVECTOR_NATIVE" });
    else console.warn(message);
  }
  const { load } = await import("../wasm/load.js");
  return load({ preload: "all" });
}
