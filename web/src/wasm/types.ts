/** The types of the kernels' runtime: the generated configs, and methods of which each exists twice in this thread. */
import type { Client } from "../client.js";
import type { CallOptions, MechanismClass } from "../instance.js";
import type { Mechanisms, MechanismsByName } from "../mechanisms.gen.js";
import type { AttendOptions, MemoryOptions, MemoryState, Memory as RemoteMemory } from "../memory.js";
import type { EitherName } from "../naming.js";
import type { Progress } from "../protocol.js";
import type { Queries, StreamOptions } from "../stream.js";
import type { ArrayInput, MaskInput, Tensor } from "../tensor.js";
import type { NameOf } from "./mechanisms.gen.js";
import type { Backend } from "./module.js";
import type { KernelRuntime } from "./runtime.js";

/** Options of load({ runtime: "wasm" }). */
export interface KernelOptions {
  runtime?: "wasm";
  /** false: the kernels run in this thread (default). true: in a worker of their own. */
  worker?: boolean;
  /**
   * The folder of the compiled modules, of wasm_worker.js and wasm_thread.js, where they do not lie beside this file: a
   * URL, or a path in Node.
   */
  assetBase?: string | URL;
  /** Where the script of the worker, or of the threads, is, if it lies elsewhere again. */
  workerURL?: string | URL;
  /**
   * Threads that a large call which gives a promise may use, beside this one, on a memory that all of them share; left
   * out, or where memory cannot be shared (a page that is not cross-origin isolated), this one alone: `threads` of the
   * runtime tells.
   */
  threads?: number;
  /** The instruction set; left out, the best that this engine runs. */
  backend?: Backend;
  /** A module that was compiled already, in the place of one to be found and fetched. */
  module?: WebAssembly.Module;
  /**
   * Whose code is fetched before load() answers, beside that of scaled_dot_product, flash and local_global; "all" is all,
   * and what Node has anyway. create() and memory() fetch what they need; createSync(), `new` and memorySync() cannot.
   */
  preload?: "all" | readonly (Name | "memory" | "top_k")[];
  onProgress?: (progress: Progress) => void;
  /** @internal */
  watch?: boolean;
}

type ClassName = keyof NameOf & keyof Mechanisms;
type Name = NameOf[ClassName] & keyof MechanismsByName;
/** Names with underscores or hyphens, each with its own name. */
type Either = EitherName<{ readonly [N in Name]: N }>;
type Config<N extends Name> = MechanismsByName[N]["config"];

/** Options of a call. */
export interface KernelCallOptions extends CallOptions {
  mask?: MaskInput | null;
  bias?: ArrayInput | null;
  keyLengths?: ArrayInput | number | null;
  causal?: boolean | null;
  checkFinite?: boolean;
}

type Sequence = [query: ArrayInput, options?: KernelCallOptions];
type Keyed = [query: ArrayInput, keys: ArrayInput | KernelMemory, options?: KernelCallOptions];
type Inputs =
  | [query: ArrayInput, keys: ArrayInput, values: ArrayInput, options?: KernelCallOptions]
  | [query: ArrayInput, memory: KernelMemory, options?: KernelCallOptions];
type CrossInputs =
  | Inputs
  | [query: ArrayInput, keys: ArrayInput, values?: ArrayInput | null, options?: KernelCallOptions];
type Items = [
  items: readonly (readonly (ArrayInput | KernelMemory)[] | Record<string, unknown> | ArrayInput)[],
  options?: KernelCallOptions,
];
type State = Record<string, Tensor>;

/** Arguments and result of every method: `In` are those of forward, `Weighed` those of attentionWeights. */
interface Methods<In extends unknown[], Weighed extends unknown[]> {
  forward: [In, Tensor];
  attentionWeights: [Weighed, Tensor];
  forwardBatch: [Items, Tensor[]];
  getConfig: [[], Record<string, unknown>];
  stateDict: [[], State];
  parameters: [[], State];
  numParameters: [[], number];
  loadStateDict: [[state: Record<string, ArrayInput>], null];
  reset: [[], null];
}
interface HeadMethods<In extends unknown[], Weighed extends unknown[]> extends Methods<In, Weighed> {
  headAttentionWeights: [Weighed, Tensor];
  headOutput: [[head: number, ...inputs: In], Tensor];
}
interface BallMethods {
  computeWithTemperature: [
    [
      query: ArrayInput,
      keys: ArrayInput,
      values: ArrayInput,
      temperature: number,
      options?: KernelCallOptions,
    ],
    Tensor,
  ];
  poincareDistance: [[x: ArrayInput, y: ArrayInput], Tensor | number];
  toPoincare: [[x: ArrayInput], Tensor];
  fromPoincare: [[x: ArrayInput], Tensor];
  mobiusAdd: [[x: ArrayInput, y: ArrayInput], Tensor];
  projectToBall: [[x: ArrayInput, eps?: number | null], Tensor];
}
type EdgesInput = ArrayInput | { readonly edges: ArrayInput };
type Graph = [nodes: ArrayInput, edgeIndex: EdgesInput, edgeAttr?: ArrayInput | null, options?: EdgeOptions];
type EdgeOptions = CallOptions & { checkFinite?: boolean };
type EdgeMethods = Methods<Graph | [nodes: ArrayInput, edgeIndex: EdgesInput, options?: EdgeOptions], Graph>;
interface EdgeFeaturedMethods {
  compute: [[query: ArrayInput, keys: ArrayInput, values: ArrayInput, options?: EdgeOptions], Tensor];
  computeWithEdges: [
    [
      query: ArrayInput,
      keys: ArrayInput,
      values: ArrayInput,
      edgeFeatures?: ArrayInput | null,
      options?: EdgeOptions,
    ],
    Tensor,
  ];
}
interface GraphMethods {
  compute: [
    [
      nodeFeatures: ArrayInput,
      graph: EdgesInput & { readonly numNodes?: number; readonly edgeFeatures?: ArrayInput },
    ],
    Answer,
  ];
}
interface MixtureMethods extends Methods<Inputs, Keyed> {
  computeWithAuxLoss: [Inputs, { output: Tensor; aux_loss: number; z_loss: number }];
  /** (..., n_query, top_k); an expert of -1 is an empty slot. */
  getRouting: [[query: ArrayInput], { experts: Tensor<Int32Array>; weights: Tensor }];
  getExpertUsage: [[], Tensor];
  resetRoutingStats: [[], null];
}
type With<Own> = KernelCallOptions & Own;
type KeyedWith<Own> = [query: ArrayInput, keys: ArrayInput | KernelMemory, options?: With<Own>];
type InputsWith<Own> =
  | [query: ArrayInput, keys: ArrayInput, values: ArrayInput, options?: With<Own>]
  | [query: ArrayInput, memory: KernelMemory, options?: With<Own>];
type Keeps<Own> = Methods<InputsWith<Own>, KeyedWith<Own>>;
interface Positions {
  queryPositions?: ArrayInput | number | null;
  keyPositions?: ArrayInput | number | null;
}
interface RotaryMethods {
  applyRotary: [[x: ArrayInput, positions: ArrayInput | number], Tensor];
  compute: [
    [query: ArrayInput, keys: ArrayInput, values: ArrayInput] | [query: ArrayInput, memory: KernelMemory],
    Tensor,
  ];
  computeWithPositions: [
    [
      query: ArrayInput,
      keys: ArrayInput,
      values: ArrayInput,
      queryPosition: ArrayInput | number,
      keyPositions: ArrayInput | number,
    ],
    Tensor,
  ];
  distanceToPosition: [[distance: ArrayInput | number, maxDistance: number], Tensor | number];
}
interface Timestamps {
  queryTimes?: ArrayInput | null;
  keyTimes?: ArrayInput | null;
}
interface Answer {
  values: Tensor;
  weights: Tensor;
  metadata: Record<string, unknown>;
}
interface TemporalMethods {
  compute: [[sequence: ArrayInput, timestamps?: ArrayInput | null], Answer];
}
interface SpaceMethods {
  getSpaceContributions: [[query: ArrayInput, keys: ArrayInput | KernelMemory], [Tensor, Tensor]];
}
type Levels = [items: ArrayInput, levels: ArrayInput, options?: LevelOptions];
type LevelOptions = CallOptions & { levelWeights?: ArrayInput | null; checkFinite?: boolean };
interface LevelMethods {
  compute: [
    [hierarchicalFeatures: ArrayInput | readonly ArrayInput[], levelWeights?: ArrayInput | null],
    { values: Tensor; weights: Tensor[]; metadata: Record<string, unknown> },
  ];
}
interface MethodsOf {
  cross_attention: HeadMethods<CrossInputs, Keyed>;
  dual_space: Methods<Inputs, Keyed> & SpaceMethods;
  edge_featured: EdgeMethods & EdgeFeaturedMethods;
  flash: Methods<Inputs, Keyed>;
  graph: EdgeMethods & GraphMethods;
  graph_rope: Keeps<Positions> & RotaryMethods;
  hierarchical: Methods<Levels, Levels> & LevelMethods;
  hyperbolic: Methods<Inputs, Keyed> & BallMethods;
  linear: Methods<Inputs, Keyed>;
  local_global: Methods<Inputs, Keyed>;
  moe: MixtureMethods;
  multi_head: HeadMethods<Inputs, Keyed>;
  scaled_dot_product: Methods<Inputs, Keyed>;
  self_attention: HeadMethods<Sequence, Sequence>;
  temporal: Keeps<Timestamps> & TemporalMethods;
}
interface MemoryMethods {
  append: [[keys: ArrayInput, values?: ArrayInput | null], Tensor<Int32Array>];
  evict: [[which: ArrayInput | { readonly oldest: number }], number];
  attend: [[query: ArrayInput, options?: AttendOptions], Tensor];
  project: [[attention: object], null];
  stateDict: [[], MemoryState];
  clear: [[], null];
}

type Promised<M> = {
  readonly [K in keyof M]: M[K] extends [infer A extends unknown[], infer R]
    ? (...args: A) => Promise<R>
    : never;
};
type Immediate<M> = {
  readonly [K in keyof M as `${K & string}Sync`]: M[K] extends [infer A extends unknown[], infer R]
    ? (...args: A) => R
    : never;
};

interface Disposed {
  /** Frees what the object holds. Further calls fail; a second dispose does nothing. */
  dispose(): Promise<void>;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An attention object, in whichever thread it lives. */
export interface KernelObject<Settings> extends Disposed {
  readonly ready: Promise<this>;
  /** The config with everything that was left out, once `ready`. */
  readonly config: Readonly<Required<Settings>>;
  /** Calls any method by its Python or JavaScript name. */
  call(method: string, ...args: unknown[]): Promise<unknown>;
  /**
   * The outputs of many queries, one after the other: `for await (const row of attention.forwardStream(…))`. Keys and
   * values cross once and stay until the last; a memory takes the place of both.
   */
  forwardStream(
    queries: Queries,
    keys: ArrayInput | KernelMemory,
    values?: ArrayInput | null,
    options?: StreamOptions & KernelCallOptions,
  ): AsyncGenerator<Tensor, void, undefined>;
}

type InWorker<N extends Name> = KernelObject<Config<N>> & Promised<MethodsOf[N]>;
type Here<N extends Name> = InWorker<N> &
  Immediate<MethodsOf[N]> & { callSync(method: string, ...args: unknown[]): unknown; free(): void };

/** Keys and values that stay in the kernels' memory of this thread. */
export interface LocalMemory extends Disposed, Promised<MemoryMethods>, Immediate<MemoryMethods> {
  /** Rows that it holds. */
  readonly length: number;
  readonly ids: Int32Array;
  readonly dim: number;
  readonly dimValue: number;
  free(): void;
}
/** Keys and values that stay in the runtime, in this thread or in a worker. */
export type KernelMemory = LocalMemory | RemoteMemory;

/** A loaded runtime in this thread. */
export type KernelsHere = Omit<
  KernelRuntime,
  "create" | "createSync" | "memory" | "memorySync" | "engine"
> & {
  readonly [K in ClassName]: MechanismClass<Config<NameOf[K]>, Here<NameOf[K]>>;
} & {
  /** A mechanism by its registry name; rejects where the config is not accepted. */
  create<N extends keyof Either>(name: N, config: Config<Either[N]>): Promise<Here<Either[N]>>;
  /** The same at once; calls raise where the config is not accepted. */
  createSync<N extends keyof Either>(name: N, config: Config<Either[N]>): Here<Either[N]>;
  /** A bank of keys and values that stays in the runtime; without values the keys are brought back themselves. */
  memory(keys: ArrayInput, values?: ArrayInput | null, options?: MemoryOptions): Promise<LocalMemory>;
  memorySync(keys: ArrayInput, values?: ArrayInput | null, options?: MemoryOptions): LocalMemory;
};

/** A loaded runtime in a worker. */
export type KernelsInWorker = Omit<Client, "create"> & {
  readonly [K in ClassName]: MechanismClass<Config<NameOf[K]>, InWorker<NameOf[K]>>;
} & {
  /** A mechanism by its registry name; rejects where the config is not accepted. */
  create<N extends keyof Either>(name: N, config: Config<Either[N]>): Promise<InWorker<Either[N]>>;
};
