/** What load.ts is in a page, where a bundler would stumble over Node's modules. */
import { LoadError } from "../errors.js";
import type { KernelsHere } from "../wasm/types.js";
import { fallBack } from "./fall_back.js";
import type { NativeOptions } from "./load.js";

export type { NativeOptions };

export async function load({ binary }: NativeOptions = {}): Promise<KernelsHere> {
  const reason = "addons run in Node alone";
  if (binary !== undefined) throw new LoadError(reason);
  return fallBack(reason);
}
