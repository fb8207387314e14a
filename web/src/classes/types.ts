/** The types of the classes. */
import type { ArrayInput, MaskInput, Tensor } from "../tensor.js";
import type { AttentionOutput, OutputMetadata } from "./facade.js";

/** One vector. */
export type VectorInput = Float32Array | Float64Array | readonly number[];
/** Rows: flat, one after the other, or each for itself. */
export type RowsInput = VectorInput | ArrayInput;
/** A matrix with rows of its own. */
export type MatrixInput =
  | readonly (readonly number[] | Float32Array)[]
  | { readonly data: Float32Array; readonly shape: readonly number[] };

/** Options of a call. */
export interface SeedOptions {
  /** Keys to attend to at most, the first ones; all where it is left out. */
  neighbors?: number;
  /** Booleans, one for each key: true is seen. Numbers are added to the scores. */
  mask?: MaskInput | readonly boolean[] | null;
  /** Of a call by promise: aborted, it rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Any other option of the mechanism's forward. */
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
  /** Channels of a query, as the constructor was told. */
  readonly dim: number;
  /** The output of a query, (dim_value,), or of a matrix of them. */
  forward(query: RowsInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor;
  /** The same by a promise, in every runtime. */
  forwardAsync(query: RowsInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Promise<Tensor>;
  /** One output for each query; they share keys and values. */
  forwardBatch(queries: readonly VectorInput[], keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor[];
  /** The same by a promise. */
  forwardBatchAsync(
    queries: readonly VectorInput[],
    keys: RowsInput,
    values: RowsInput,
    ...rest: Rest
  ): Promise<Tensor[]>;
  /** A vector for a vector; { values, weights, metadata } for a matrix. */
  compute(query: VectorInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Tensor;
  compute(query: MatrixInput, keys: RowsInput, values: RowsInput, ...rest: Rest): AttentionOutput;
  /** The same by a promise. */
  computeAsync(query: VectorInput, keys: RowsInput, values: RowsInput, ...rest: Rest): Promise<Tensor>;
  computeAsync(
    query: MatrixInput,
    keys: RowsInput,
    values: RowsInput,
    ...rest: Rest
  ): Promise<AttentionOutput>;
  /** compute for the keys that the mask has as true. */
  computeWithMask(query: VectorInput, keys: RowsInput, values: RowsInput, mask?: readonly boolean[]): Tensor;
  /** The same by a promise. */
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
  /** The same by a promise, all items under way at once: over threads, where the runtime has them. */
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

/**
 * One config for all of the classes: each reads what it has a use for. A setting of the mechanism may stand beside these;
 * one that it does not have is an InvalidConfigError.
 */
export interface HeadedConfig {
  /** Channels of a query; left out, numHeads * headDim, else what the first call brings. */
  dim?: number;
  /** Another name of `dim`. */
  hiddenDim?: number;
  /** Heads, where the class has them. Default: 8. */
  numHeads?: number;
  /** Channels of a head, in the place of `dim`. */
  headDim?: number;
  /** Share of weights dropped when training. */
  dropout?: number;
  /** Whether learned maps add a bias. */
  useBias?: boolean;
  /** Factor on the dot products. Default: 1 / sqrt(channels of a head). */
  scale?: number | null;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}
/** Attention in heads. */
export interface HeadedAttention extends PairAttention {
  /** How many heads there are. */
  readonly numHeads: number;
  /** Another name of `dim`. */
  readonly hiddenDim: number;
  /** Channels of a head. */
  readonly headDim: number;
}

/** Attention by distance in the Poincaré ball, and the ball's maps. */
export type HyperbolicObject = PairAttention & {
  /** As the constructor was told, with its sign. */
  readonly curvature: number;
} & Twice<{
    /** compute with another temperature, which divides the scores. */
    computeWithTemperature(
      query: ArrayInput,
      keys: ArrayInput,
      values: ArrayInput,
      temperature: number,
    ): Tensor;
    /** The distance of two points of the ball. */
    poincareDistance(x: VectorInput, y: VectorInput): number;
    /** A vector of any length as a point of the ball. */
    toPoincare(x: VectorInput): Tensor;
    /** The vector of which toPoincare makes this point. */
    fromPoincare(x: VectorInput): Tensor;
    /** x ⊕ y, the ball's own addition. */
    mobiusAdd(x: VectorInput, y: VectorInput): Tensor;
    /** The nearest point inside of the ball, where x is not. */
    projectToBall(x: VectorInput): Tensor;
  }>;

/** Settings of MoEAttention. */
export interface MoEConfig {
  /** Channels of queries and keys. */
  dim: number;
  /** Experts that there are. Default: 4. */
  numExperts?: number;
  /** Experts that a query goes to. Default: 2. */
  topK?: number;
  /** What an expert takes at most, in even shares of a call's queries; all that come where it is left out. */
  expertCapacity?: number;
  /** Weight of the load-balance loss. */
  loadBalanceWeight?: number;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}
/** Experts of which a router picks some for every query. */
export type MoEObject = PairAttention & { readonly numExperts: number; readonly topK: number } & Twice<{
    /** The output, and what the router's imbalance costs. */
    computeWithAuxLoss(query: ArrayInput, keys: ArrayInput, values: ArrayInput): unknown;
    /** The share of queries that each expert had so far. */
    getExpertUsage(): Tensor;
    /** Forgets them. */
    resetRoutingStats(): null;
  }>;
/** Settings of EdgeFeaturedAttention. */
export interface EdgeFeaturedConfig {
  /** Channels of a node. */
  nodeDim?: number;
  /** Channels of an edge's features; edges have none where it is left out. */
  edgeDim?: number;
  /** Heads. Default: 1. */
  numHeads?: number;
  /** Heads side by side; false: their mean. Default: true. */
  concatHeads?: boolean;
  /** Every node attends to itself, too. Default: true. */
  addSelfLoops?: boolean;
  /** Slope of the LeakyReLU below 0. Default: 0.2. */
  negativeSlope?: number;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}
/** A node that attends to its neighbours along edges that have features. */
export type EdgeFeaturedObject = Freed & {
  /** Channels of a node. */
  readonly nodeDim: number;
  /** Channels of an edge. */
  readonly edgeDim: number;
  /** How many heads there are. */
  readonly numHeads: number;
} & Twice<{
    /** Of neighbours without features of their edges. */
    compute(query: VectorInput, keys: ArrayInput, values: ArrayInput): Tensor;
    /** Of neighbours, one row of features for the edge to each. */
    computeWithEdges(
      query: VectorInput,
      keys: ArrayInput,
      values: ArrayInput,
      edgeFeatures: ArrayInput,
    ): Tensor;
  }>;
/** Settings of GraphRoPEAttention. */
export interface RoPEConfig {
  /** Channels of queries and keys. */
  dim: number;
  /** The largest position that a call may have; any where it is left out. */
  maxPosition?: number;
  /** Base of the angles. Default: 10000. */
  base?: number;
  /** Divides positions. Default: 1. */
  scalingFactor?: number;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}
/** Attention that turns queries and keys by their positions. */
export type GraphRoPEObject = PairAttention & {
  /** The largest position that a call may have. */
  readonly maxPosition: number;
} & Twice<{
    /** compute with a position for the query and one for each key. */
    computeWithPositions(
      query: VectorInput,
      keys: ArrayInput,
      values: ArrayInput,
      queryPosition: number,
      keyPositions: readonly number[],
    ): Tensor;
    /** Rows turned by their positions. */
    applyRotary(x: ArrayInput, positions: ArrayInput): Tensor;
  }>;
/** Settings of DualSpaceAttention. */
export interface DualSpaceConfig {
  /** Channels of queries and keys; left out, those of both spaces. */
  dim?: number;
  /** Channels of the Euclidean space. Default: half of `dim`. */
  euclideanDim?: number;
  /** Channels of the hyperbolic space. Default: half of `dim`. */
  hyperbolicDim?: number;
  /** Heads. Default: 1. */
  numHeads?: number;
  /** Of the hyperbolic space, with either sign. Default: 1. */
  curvature?: number;
  /** Share of the hyperbolic part in the scores. Default: 0.5. */
  fusionWeight?: number;
  /** Factor on the Euclidean scores; with hyperbolicWeight, in the place of fusionWeight. */
  euclideanWeight?: number;
  /** Factor on the hyperbolic scores. */
  hyperbolicWeight?: number;
  /** Any other setting of the mechanism. */
  [setting: string]: unknown;
}
/** Scores of two spaces, Euclidean and hyperbolic, added up. */
export type DualSpaceObject = PairAttention & {
  /** As the constructor was told, with its sign. */
  readonly curvature: number;
  /** Channels of the Euclidean space. */
  readonly euclideanDim: number;
  /** Channels of the hyperbolic space. */
  readonly hyperbolicDim: number;
  /** How many heads there are. */
  readonly numHeads: number;
  /** Factor on the Euclidean scores, before training. */
  readonly euclideanWeight: number;
  /** Factor on the hyperbolic scores, before training. */
  readonly hyperbolicWeight: number;
} & Twice<{
    /** The scores of each space, (n_heads, n_query, n_key), before they are weighed and added. */
    getSpaceContributions(query: ArrayInput, keys: ArrayInput): SpaceContributions;
  }>;
/** Scores of both spaces. */
export interface SpaceContributions {
  euclideanScores: Tensor;
  hyperbolicScores: Tensor;
}

/** Which nodes are joined. */
export interface GraphStructure {
  /** [source, target] of every edge. */
  edges: readonly (readonly number[])[];
  /** Nodes that there are; as many as have features where it is left out. */
  numNodes?: number;
  /** A row for each edge. */
  edgeFeatures?: readonly (readonly number[])[];
}
/** Nodes of a graph that attend to their neighbours. */
export type GraphObject = Freed &
  Twice<{
    /** New features of every node. */
    compute(nodeFeatures: ArrayInput, graph: GraphStructure): AttentionOutput;
  }>;
/** A sequence whose items lie in time. */
export type TemporalObject = Freed &
  Twice<{
    /** Every item over those of its own time and before; without timestamps they come one after the other. */
    compute(sequence: ArrayInput, timestamps?: readonly number[]): AttentionOutput;
  }>;
/** What levels are answered with. */
export interface LevelsOutput {
  /** One vector, (dim,). */
  readonly values: Tensor;
  /** Of each level the weights of its items. */
  readonly weights: readonly Tensor[];
  readonly metadata: OutputMetadata;
}
/** Items on several levels, brought together in one vector. */
export type HierarchicalObject = Freed &
  Twice<{
    /** Of each level its items; weights of the levels in the place of the learned ones. */
    compute(features: readonly ArrayInput[], levelWeights?: readonly number[]): LevelsOutput;
  }>;

/** A class, and what it makes. */
export type Made<Args extends readonly unknown[], Instance, Makers = unknown> = Makers & {
  new (...args: Args): Instance;
};
type Dim = [dim: number] | [config?: Record<string, unknown>];
type Headed = [dim: number, numHeads: number] | [config?: HeadedConfig];

/** Every class of the table. */
export interface Classes {
  ScaledDotProductAttention: Made<[dim: number] | [config?: HeadedConfig], PairAttention>;
  DotProductAttention: Made<[dim: number] | [config?: HeadedConfig], PairAttention>;
  MultiHeadAttention: Made<
    Headed | [numHeads: number, hiddenDim: number, dropout: number],
    HeadedAttention,
    { fromParams(numHeads: number, hiddenDim: number, dropout?: number): HeadedAttention }
  >;
  SelfAttention: Made<Headed, HeadedAttention>;
  CrossAttention: Made<Headed, HeadedAttention>;
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
    HyperbolicObject,
    {
      withConfig(
        dim: number,
        curvature: number,
        adaptiveCurvature?: boolean,
        temperature?: number,
      ): HyperbolicObject;
    }
  >;
  MoEAttention: Made<
    [dim: number, numExperts: number, topK: number] | [dim: number] | [config: MoEConfig],
    MoEObject,
    { simple(dim: number, numExperts: number, topK: number): MoEObject }
  >;
  EdgeFeaturedAttention: Made<
    [nodeDim: number, edgeDim: number, numHeads: number] | [config?: EdgeFeaturedConfig],
    EdgeFeaturedObject,
    { simple(nodeDim: number, edgeDim: number, numHeads: number): EdgeFeaturedObject }
  >;
  GraphRoPEAttention: Made<
    [dim: number, maxPosition: number] | [dim: number] | [config: RoPEConfig],
    GraphRoPEObject,
    {
      simple(dim: number, maxPosition: number): GraphRoPEObject;
      /** A distance in a graph as a position: maxDistance where it is larger, or infinite. */
      distanceToPosition(distance: number, maxDistance: number): number;
    }
  >;
  DualSpaceAttention: Made<
    [dim: number, curvature: number] | [dim: number] | [config?: DualSpaceConfig],
    DualSpaceObject,
    {
      /** Halves of the channels for each space, one head. */
      simple(dim: number, curvature: number): DualSpaceObject;
      simple(
        euclideanDim: number,
        hyperbolicDim: number,
        numHeads: number,
        curvature: number,
      ): DualSpaceObject;
      /** Halves of the channels for each space; fusionWeight is the hyperbolic share of the scores. */
      simpleFused(dim: number, numHeads: number, curvature: number, fusionWeight: number): DualSpaceObject;
      /** Halves of the channels for each space, one head, and a factor on the scores of each. */
      withWeights(
        dim: number,
        curvature: number,
        euclideanWeight: number,
        hyperbolicWeight: number,
      ): DualSpaceObject;
    }
  >;
  GraphAttention: Made<Headed, GraphObject>;
  TemporalAttention: Made<[dim: number] | [config?: HeadedConfig], TemporalObject>;
  HierarchicalAttention: Made<[dim: number] | [config?: HeadedConfig], HierarchicalObject>;
}
