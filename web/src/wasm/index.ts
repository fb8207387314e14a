/** Attention by the kernels alone, without Python: `import { load } from "ruvector-attention/wasm"`. */
export * from "../errors.js";
export type { Progress, TypedArray } from "../protocol.js";
export { type ArrayInput, type MaskInput, type Nested, type Tensor, tensor } from "../tensor.js";
export { load } from "./load.js";
export { type Backend, supportedBackends } from "./module.js";
export type { KernelMemory, KernelOptions, KernelsHere, KernelsInWorker, LocalMemory } from "./types.js";
