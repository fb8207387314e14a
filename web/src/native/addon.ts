/** The addon of wasm_kernels/bindings/node.c, and where a built one is found. */
import { LoadError } from "../errors.js";
import { absolute } from "../places.js";
import PLATFORMS from "./platforms.json" with { type: "json" };

/**
 * Arguments of one kernel call: its index; of each buffer begin and count, the integers and the floats' bits; the
 * buffers.
 */
export type Step = [kernel: number, block: BigInt64Array, ...buffers: (ArrayBufferView | undefined)[]];

/** A kernel of kernels.def. */
export interface KernelSpec {
  readonly name: string;
  readonly buffers: readonly { readonly name: string; readonly dtype: string; readonly role: string }[];
  readonly integers: readonly string[];
  readonly floats: readonly string[];
}

/** The kernels of one instruction set. */
export interface Target {
  call(...step: Step): number;
  /** Makes the calls one after the other on another thread, up to the first status that is not 0. */
  callAsync(steps: readonly Step[]): Promise<number>;
}

export interface Addon {
  kernels(): KernelSpec[];
  /** Best first. */
  targets(): string[];
  open(target: string): Target;
}

/**
 * Names of the packages that may hold a binary for this platform: on Linux one for each C library. npm installs the
 * right one; where both are, the first that loads is right: glibc's runs on musl too, with the same results, and musl's
 * does not load on glibc.
 */
export function candidates(platform: string, cpu: string): string[] {
  const fitting = PLATFORMS.filter((one) => one.os === platform && one.cpu === cpu);
  return fitting.map(({ name }) => `ruvector-attention-${name}`);
}

/** The addon of a package that is installed, or the file that is named. Raises LoadError. */
export async function findAddon(binary?: string | URL): Promise<Addon> {
  const { createRequire } = await import("node:module");
  const require = createRequire(import.meta.url);
  if (binary !== undefined) {
    const { fileURLToPath } = await import("node:url");
    try {
      return require(fileURLToPath(absolute(binary)));
    } catch (error) {
      throw new LoadError(`binary is ${binary}, which cannot be loaded: ${reasonOf(error)}`);
    }
  }
  const names = candidates(process.platform, process.arch);
  const reasons: string[] = [];
  for (const name of names) {
    try {
      return require(name);
    } catch (error) {
      if ((error as { code?: string }).code !== "MODULE_NOT_FOUND")
        reasons.push(`${name}: ${reasonOf(error)}`);
    }
  }
  if (reasons.length > 0) throw new LoadError(`the addon cannot be loaded: ${reasons.join("; ")}`);
  const place = `${process.platform} ${process.arch}`;
  throw new LoadError(
    names.length > 0
      ? `${names.join(" or ")} is not installed, the package with the addon for ${place}`
      : `there is no addon for ${place}`,
  );
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The instruction set that is asked for, in $RUVECTOR_ATTENTION_BACKEND else, else the best. Raises LoadError. */
export function chooseTarget(addon: Addon, wanted?: string): string {
  const known = addon.targets();
  const forced = process.env.RUVECTOR_ATTENTION_BACKEND;
  const name = wanted ?? (forced || known[0]);
  if (name !== undefined && known.includes(name)) return name;
  const said = wanted === undefined ? "RUVECTOR_ATTENTION_BACKEND" : "backend";
  throw new LoadError(`${said} is '${name}'; expected one that this machine runs: ${known.join(", ")}`);
}
