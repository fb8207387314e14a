/** The types of the classes. */
import type { ArrayInput, MaskInput, Tensor } from "../tensor.js";
import type { AttentionOutput } from "./facade.js";

/** One vector. */
export type VectorInput = Float32Array | Float64Array | readonly number[];
/** Rows: flat, one after the other, or each for itself. */
export type RowsInput = VectorInput | ArrayInput;
/** A matrix with rows of its own. */
export type MatrixInput =
  | readonly (readonly number[] | Float32Array)[]
  | { readonly data: Float32Array; readonly shape: readonly number[] };

export interface SeedOptions {
  /** Keys to attend to, the first ones; all where it is left out. */
  neighbors?: number;
  mask?: MaskInput | readonly boolean[] | null;
  signal?: AbortSignal;
  [option: string]: unknown;
}
/** What may stand behind query, keys and values: the number of neighbours, a mask of the keys, options. */
type Rest = readonly (number | readonly boolean[] | Float32Array | SeedOptions | undefined)[];

/** What every object of these classes has. */
export interface Freed {
  /** Frees what it holds in the runtime; further calls fail. */
  free(): void;
  dispose(): Promise<void>;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Attention of queries to keys and values. What has no `Async` needs a runtime in this thread. */
export interface PairAttention extends Freed {
  readonly dim: number;
  /** The output of a query, (dim_value,), or of a matrix of them. */
  forward(query: RowsInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor;
  forwardAsync(query: RowsInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Promise<Tensor>;
  /** One output for each query; they share keys and values. */
  forwardBatch(queries: readonly VectorInput[], keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor[];
  forwardBatchAsync(
    queries: readonly VectorInput[],
    keys: RowsInput,
    values: RowsInput,
    ...rest: Rest
  ): Promise<Tensor[]>;
  /** A vector for a vector; { values, weights, metadata } for a matrix. */
  compute(query: VectorInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor;
  compute(query: MatrixInput, keys: RowsInput, values: RowsInput, ...rest: Rest): AttentionOutput;
  computeAsync(query: VectorInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Promise<Tensor>;
  computeAsync(
    query: MatrixInput,
    keys: RowsInput,
    values: RowsInput,
    ...rest: Rest
  ): Promise<AttentionOutput>;
  computeWithMask(query: VectorInput, keys: RowsInput, values: RowsInput, mask?: readonly boolean[]): Tensor;
  computeWithMaskAsync(
    query: VectorInput,
    keys: RowsInput,
    values: RowsInput,
    mask?: readonly boolean[],
  ): Promise<Tensor>;
  /** Item by item: queries[i] to keys[i] and values[i]. */
  computeBatch(
    queries: readonly MatrixInput[],
    keys: readonly RowsInput[],
    values: readonly RowsInput[],
    ...rest: Rest
  ): AttentionOutput[];
  computeBatchAsync(
    queries: readonly MatrixInput[],
    keys: readonly RowsInput[],
    values: readonly RowsInput[],
    ...rest: Rest
  ): Promise<AttentionOutput[]>;
}

/** Methods that exist twice, the second time with `Async` at the end of the name. */
export type Twice<M> = M & {
  readonly [K in keyof M as `${K & string}Async`]: M[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<R>
    : never;
};

export interface HeadedConfig {
  dim?: number;
  hiddenDim?: number;
  numHeads?: number;
  headDim?: number;
  dropout?: number;
  [setting: string]: unknown;
}
export interface HeadedAttention extends PairAttention {
  readonly numHeads: number;
  readonly hiddenDim: number;
  readonly headDim: number;
}

export type HyperbolicObject = PairAttention & { readonly curvature: number } & Twice<{
    poincareDistance(x: VectorInput, y: VectorInput): number;
    /** A vector of any length as a point of the ball. */
    toPoincare(x: VectorInput): Tensor;
    fromPoincare(x: VectorInput): Tensor;
    mobiusAdd(x: VectorInput, y: VectorInput): Tensor;
    projectToBall(x: VectorInput): Tensor;
  }>;

export type MoEObject = PairAttention & { readonly numExperts: number; readonly topK: number } & Twice<{
    computeWithAuxLoss(query: ArrayInput, keys: ArrayInput, values: ArrayInput): unknown;
    getExpertUsage(): Tensor;
    resetRoutingStats(): null;
  }>;
export type EdgeFeaturedObject = Freed & {
  readonly nodeDim: number;
  readonly edgeDim: number;
  readonly numHeads: number;
} & Twice<{
    compute(query: VectorInput, keys: ArrayInput, values: ArrayInput): Tensor;
    computeWithEdges(
      query: VectorInput,
      keys: ArrayInput,
      values: ArrayInput,
      edgeFeatures: ArrayInput,
    ): Tensor;
  }>;
export type GraphRoPEObject = PairAttention & { readonly maxPosition: number } & Twice<{
    computeWithPositions(
      query: VectorInput,
      keys: ArrayInput,
      values: ArrayInput,
      queryPosition: number,
      keyPositions: readonly number[],
    ): Tensor;
    applyRotary(x: ArrayInput, positions: ArrayInput): Tensor;
  }>;
export type DualSpaceObject = PairAttention & {
  readonly curvature: number;
  readonly euclideanDim: number;
  readonly hyperbolicDim: number;
  readonly numHeads: number;
} & Twice<{ getSpaceContributions(query: ArrayInput, keys: ArrayInput): [Tensor, Tensor] }>;

export interface GraphStructure {
  edges: readonly (readonly number[])[];
  numNodes?: number;
  edgeFeatures?: readonly (readonly number[])[];
}
export type GraphObject = Freed &
  Twice<{ compute(nodeFeatures: ArrayInput, graph: GraphStructure): AttentionOutput }>;
export type TemporalObject = Freed &
  Twice<{ compute(sequence: ArrayInput, timestamps?: readonly number[]): AttentionOutput }>;
export type HierarchicalObject = Freed &
  Twice<{
    compute(features: readonly ArrayInput[], levelWeights?: readonly number[]): AttentionOutput;
  }>;

/** A class, and what it makes. */
export type Made<Args extends readonly unknown[], Instance, Makers = unknown> = Makers & {
  new (...args: Args): Instance;
};
type Dim = [dim: number] | [config?: Record<string, unknown>];

/** Every class of the table. */
export interface Classes {
  ScaledDotProductAttention: Made<Dim, PairAttention>;
  DotProductAttention: Made<Dim, PairAttention>;
  MultiHeadAttention: Made<
    [dim: number, numHeads: number] | [config?: HeadedConfig],
    HeadedAttention,
    { fromParams(numHeads: number, hiddenDim: number, dropout?: number): HeadedAttention }
  >;
  SelfAttention: Made<[dim: number, numHeads: number] | [config?: HeadedConfig], HeadedAttention>;
  CrossAttention: Made<[dim: number, numHeads: number] | [config?: HeadedConfig], HeadedAttention>;
  FlashAttention: Made<
    [dim: number, blockSize: number] | Dim,
    PairAttention & { readonly blockSize: number }
  >;
  LinearAttention: Made<
    [dim: number, numFeatures: number] | Dim,
    PairAttention & { readonly numFeatures: number }
  >;
  LocalGlobalAttention: Made<
    [dim: number, localWindow: number, globalTokens: number] | Dim,
    PairAttention & { readonly localWindow: number; readonly globalTokens: number }
  >;
  HyperbolicAttention: Made<
    [dim: number, curvature: number] | [curvature: number] | [config?: Record<string, unknown>],
    HyperbolicObject
  >;
  MoEAttention: Made<
    [dim: number, numExperts: number, topK: number] | Dim,
    MoEObject,
    { simple(dim: number, numExperts: number, topK: number): MoEObject }
  >;
  EdgeFeaturedAttention: Made<
    [nodeDim: number, edgeDim: number, numHeads: number] | [config?: Record<string, unknown>],
    EdgeFeaturedObject,
    { simple(nodeDim: number, edgeDim: number, numHeads: number): EdgeFeaturedObject }
  >;
  GraphRoPEAttention: Made<
    [dim: number, maxPosition: number] | Dim,
    GraphRoPEObject,
    {
      simple(dim: number, maxPosition: number): GraphRoPEObject;
      /** A distance in a graph as a position: maxDistance where it is larger, or infinite. */
      distanceToPosition(distance: number, maxDistance: number): number;
    }
  >;
  DualSpaceAttention: Made<
    [dim: number, curvature: number] | Dim,
    DualSpaceObject,
    {
      simple(
        euclideanDim: number,
        hyperbolicDim: number,
        numHeads: number,
        curvature: number,
      ): DualSpaceObject;
    }
  >;
  GraphAttention: Made<[dim: number, numHeads: number] | Dim, GraphObject>;
  TemporalAttention: Made<Dim, TemporalObject>;
  HierarchicalAttention: Made<Dim, HierarchicalObject>;
}
