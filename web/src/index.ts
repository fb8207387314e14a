/** Attention mechanisms over SIMD kernels, from JavaScript. Importing this module does nothing by itself. */
export type { AutoMemory, AutoOptions, AutoRuntime } from "./auto.js";
export type { Client } from "./client.js";
export type { Description, Field, InputSpec, MechanismDescription, PartDescription } from "./description.js";
export * from "./errors.js";
export { Attention, type CallOptions } from "./instance.js";
export { type LoadOptions, load, type RuvectorAttention } from "./load.js";
export type * from "./mechanisms.gen.js";
export { type AttendOptions, Memory, type MemoryOptions, type MemoryState } from "./memory.js";
export type { NativeOptions } from "./native/load.js";
export {
  type BatchOptions,
  type BatchProgress,
  type MapOptions,
  type MapResult,
  openPool,
  type PooledAttention,
  type PoolItem,
  type PoolMemory,
  type PoolOptions,
  type WorkerPool,
} from "./pool.js";
export type { Progress, TypedArray } from "./protocol.js";
export { clearCache } from "./start_store.js";
export type { Queries, StreamOptions } from "./stream.js";
export {
  type ArrayInput,
  type MaskConfig,
  type MaskInput,
  type Nested,
  type Tensor,
  tensor,
} from "./tensor.js";
export type * from "./training.gen.js";
export type { Backend } from "./wasm/module.js";
export type { KernelMemory, KernelOptions, KernelsHere, KernelsInWorker, LocalMemory } from "./wasm/types.js";
