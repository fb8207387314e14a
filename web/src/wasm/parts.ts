/** The code of mechanisms, in parts: what no program of a page asks for, it does not fetch. */
import type { Rules } from "../description.js";
import type { Home, KernelAttention } from "./attention.js";
import type { PARTS } from "./mechanisms.gen.js";

/** A class over the kernels; the runtime makes one of it for every mechanism that it serves. */
export type Body = new (home: Home, mechanism: Rules, config: object) => KernelAttention;

export interface Part {
  readonly RULES: readonly Rules[];
  /** By the names of the mechanisms. */
  readonly BODIES: Readonly<Record<string, Body>>;
}

/** Every part but the one that is there from the start. build.mjs makes a file of each. */
export const FETCH: Readonly<Record<Exclude<keyof typeof PARTS, "plain">, () => Promise<Part>>> = {
  heads: () => import("./heads.js"),
  hyperbolic: () => import("./hyperbolic.js"),
  linear: () => import("./linear.js"),
  edges: () => import("./edges.js"),
  moe: () => import("./moe.js"),
  dual_space: () => import("./dual_space.js"),
  hierarchical: () => import("./hierarchical.js"),
  positions: () => import("./positions.js"),
};
