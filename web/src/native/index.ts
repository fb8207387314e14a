/** Attention by the kernels as an addon of Node's: `import { load } from "ruvector-attention/native"`. */
export * from "../errors.js";
export type { TypedArray } from "../protocol.js";
export { type ArrayInput, type MaskInput, type Nested, type Tensor, tensor } from "../tensor.js";
export type { KernelsHere, LocalMemory } from "../wasm/types.js";
export { load, type NativeOptions } from "./load.js";
