/** The types of the kernels' runtime: those of the generated classes, with a synchronous twin of every method. */
import type { Client, MechanismClass } from "../client.js";
import type { Mechanisms, MechanismsByName } from "../mechanisms.gen.js";
import type { Progress } from "../protocol.js";
import type { ArrayInput, MaskInput, Tensor } from "../tensor.js";
import type { Memory } from "./memory.js";
import type { Backend } from "./module.js";
import type { RemoteMemory } from "./remote.js";
import type { KernelRuntime } from "./runtime.js";

export interface KernelOptions {
  runtime?: "wasm";
  /** false: the kernels run in this thread (default). true: in a worker of their own. */
  worker?: boolean;
  /** The folder of the compiled modules, where a bundler or another origin moved them: a URL, or a path in Node. */
  assetBase?: string | URL;
  /** Where the worker's script is, if it was moved. */
  workerURL?: string | URL;
  /** The instruction set; left out, the best that this engine runs. */
  backend?: Backend;
  onProgress?: (progress: Progress) => void;
}

/** The classes and names that this runtime has. */
type ClassName =
  | "CrossAttention"
  | "FlashAttention"
  | "MultiHeadAttention"
  | "ScaledDotProductAttention"
  | "SelfAttention";
type Name = "cross_attention" | "flash" | "multi_head" | "scaled_dot_product" | "self_attention";

/** Options of a call, beside a memory. */
export interface ScoreOptions {
  mask?: MaskInput | null;
  bias?: ArrayInput | null;
  causal?: boolean | null;
  checkFinite?: boolean;
}

/** A memory in the place of keys and values. */
interface WithMemory<M> {
  forward(query: ArrayInput, memory: M, options?: ScoreOptions): Promise<Tensor>;
  attentionWeights(query: ArrayInput, memory: M, options?: ScoreOptions): Promise<Tensor>;
}
interface WithMemorySync<M> {
  forwardSync(query: ArrayInput, memory: M, options?: ScoreOptions): Tensor;
  attentionWeightsSync(query: ArrayInput, memory: M, options?: ScoreOptions): Tensor;
}

/** forwardSync for forward, and so on. */
type Synchronous<T> = {
  [K in keyof T as T[K] extends (...args: never[]) => Promise<unknown>
    ? `${Exclude<K, "dispose" | symbol> & string}Sync`
    : never]: T[K] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : never;
};

type Here<T> = T & WithMemory<Memory> & Synchronous<T> & WithMemorySync<Memory> & { free(): void };
type InWorker<T> = T & WithMemory<RemoteMemory>;

type InstanceOf<Class> = Class extends MechanismClass<infer _, infer Instance> ? Instance : never;
type ConfigOf<Class> = Class extends MechanismClass<infer Config, infer _> ? Config : never;

type ClassesHere = {
  readonly [K in ClassName]: MechanismClass<ConfigOf<Mechanisms[K]>, Here<InstanceOf<Mechanisms[K]>>>;
};
type ClassesInWorker = {
  readonly [K in ClassName]: MechanismClass<ConfigOf<Mechanisms[K]>, InWorker<InstanceOf<Mechanisms[K]>>>;
};

type CreateHere = {
  create<N extends Name>(
    name: N,
    config: MechanismsByName[N]["config"],
  ): Promise<Here<MechanismsByName[N]["instance"]>>;
  createSync<N extends Name>(
    name: N,
    config: MechanismsByName[N]["config"],
  ): Here<MechanismsByName[N]["instance"]>;
};
type CreateInWorker = {
  create<N extends Name>(
    name: N,
    config: MechanismsByName[N]["config"],
  ): Promise<InWorker<MechanismsByName[N]["instance"]>>;
};

interface MemoryHere {
  memory(keys: ArrayInput, values?: ArrayInput | null): Promise<Memory>;
  memorySync(keys: ArrayInput, values?: ArrayInput | null): Memory;
}
interface MemoryInWorker {
  memory(keys: ArrayInput, values?: ArrayInput | null): Promise<RemoteMemory>;
}

/** A loaded runtime in this thread. */
export type KernelsHere = CreateHere &
  MemoryHere &
  ClassesHere &
  Omit<KernelRuntime, "create" | "createSync" | "memory" | "memorySync">;

/** A loaded runtime in a worker. */
export type KernelsInWorker = CreateInWorker & MemoryInWorker & ClassesInWorker & Omit<Client, "create">;

export type KernelMemory = Memory | RemoteMemory;
