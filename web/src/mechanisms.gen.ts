// Written by build_scripts/make_types.py from describe(); do not edit. A mechanism appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./client.js";
import type { Memory } from "./memory.js";
import type { ArrayInput, MaskInput, Tensor } from "./tensor.js";

/** Settings of CrossAttention. */
export interface CrossAttentionConfig {
  /** channels of queries and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 8. */
  numHeads?: number;
  /** heads of keys and values, each shared by num_heads / num_kv_heads; None: num_heads. Default: null. */
  numKvHeads?: number | null;
  /** learned maps into the heads and out; False: channels are split as they are. Default: true. */
  projections?: boolean;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** channels of keys; None: as the heads need them. Default: null. */
  kdim?: number | null;
  /** channels of values; None: those of keys. Default: null. */
  vdim?: number | null;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** factor on the dot products; None: 1 / sqrt(channels of a head). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** O = MultiHead(X, Y, Y): every row of the query attends to the rows of another sequence. Vaswani et al., 2017, arXiv:1706.03762; Ainslie et al., 2023, arXiv:2305.13245. */
export interface CrossAttention extends AttentionObject<CrossAttentionConfig> {
  /** The weights of every head, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** As everywhere; keys that stood in for the values get both gradients. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values?: ArrayInput | null,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** attention_weights by the name under which other packages have it. */
  headAttentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor>;
  /** The output of one head before the map out, (..., n_query, dim / num_heads). */
  headOutput(
    head: number,
    query: ArrayInput,
    keys: ArrayInput,
    values?: ArrayInput | null,
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor>;
  headOutput(
    head: number,
    query: ArrayInput,
    keys: Memory,
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of DualSpaceAttention. */
export interface DualSpaceAttentionConfig {
  /** channels of queries, keys, values and outputs. */
  dim: number;
  /** heads; divides dim and the channels of both spaces. Default: 8. */
  numHeads?: number;
  /** channels of the Euclidean space, over all heads; None: half of dim. Default: null. */
  euclideanDim?: number | null;
  /** channels of the hyperbolic space, over all heads; None: half of dim. Default: null. */
  hyperbolicDim?: number | null;
  /** of the hyperbolic space, below 0. Default: -1.0. */
  curvature?: number;
  /** share of the hyperbolic part in the scores at first. Default: 0.5. */
  fusionWeight?: number;
  /** the curvature is a parameter that is trained. Default: false. */
  adaptiveCurvature?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** O = concat_h(softmax(S_h / temperature + bias) V W_v^h) W_o, S_h = w_e <q_e, k_e> / sqrt(Euclidean channels of a head) - w_h d(exp_0(q_h), exp_0(k_h)). Gulcehre et al., 2019, arXiv:1805.09786; Vaswani et al., 2017, arXiv:1706.03762. */
export interface DualSpaceAttention extends AttentionObject<DualSpaceAttentionConfig> {
  /** The weights of every head, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The two parts of the scores before the temperature, each (..., num_heads, n_query, n_key): w_e <q, k> / sqrt(channels), and -w_h d. */
  getSpaceContributions(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: CallOptions,
  ): Promise<[Tensor, Tensor]>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of FlashAttention. */
export interface FlashAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** rows of a tile in packages that leave this to the caller; the engine sizes its own. Default: null. */
  blockSize?: number | null;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** factor on the dot products; None: 1 / sqrt(channels of a head). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j, tile by tile. Dao et al., 2022, arXiv:2205.14135. */
export interface FlashAttention extends AttentionObject<FlashAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of HyperbolicAttention. */
export interface HyperbolicAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** of the space, below 0. Default: -1.0. */
  curvature?: number;
  /** which coordinates distances are computed in; inputs and outputs are points of the ball in both. Default: "poincare". */
  model?: "poincare" | "lorentz";
  /** mean of the values: gyromidpoint and tangent in one pass, frechet exact and iterated. Default: "gyromidpoint". */
  aggregation?: "gyromidpoint" | "frechet" | "tangent";
  /** the curvature is a parameter that is trained. Default: false. */
  adaptiveCurvature?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = mean_j(w_ij, v_j) in the ball, w_ij = softmax_j(-d(q_i, k_j) / temperature + bias_ij). Gulcehre et al., 2019, arXiv:1805.09786. */
export interface HyperbolicAttention extends AttentionObject<HyperbolicAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** ``forward`` with another temperature for this call; ``options`` are those of ``forward``. */
  computeWithTemperature(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    temperature: number,
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor>;
  /** The outputs, (..., n_query, dim_value), points of the ball. A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The vectors from which to_poincare makes these points: log_0(x). */
  fromPoincare(x: ArrayInput, options?: CallOptions): Promise<Tensor>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** x (+) y in the ball. */
  mobiusAdd(x: ArrayInput, y: ArrayInput, options?: CallOptions): Promise<Tensor>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** The distance of two points of the ball, or of rows of them, (...). */
  poincareDistance(x: ArrayInput, y: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** x where it is inside, scaled to (1 - eps) of the radius where it is not. */
  projectToBall(x: ArrayInput, eps?: number | null, options?: CallOptions): Promise<Tensor>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
  /** Vectors of any length as points of the ball: exp_0(x). */
  toPoincare(x: ArrayInput, options?: CallOptions): Promise<Tensor>;
}

/** Settings of ManifoldAttention. */
export interface ManifoldAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** hyperbolic, spherical, euclidean, or a product with the channels and the curvature of each, 'euclidean:4, hyperbolic:8:-0.5'; own: an object, as ManifoldAttention.over takes it. Default: "hyperbolic". */
  space?: string;
  /** of a space that does not say; None: -1 or 1. Default: null. */
  curvature?: number | null;
  /** scores are -d^power; 1 for a single space only. Default: 2. */
  power?: number;
  /** sum: values of any kind; mean: values are points of the space, and the output is their Fréchet mean. Default: "sum". */
  aggregation?: "sum" | "mean";
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j w_ij v_j, or the mean of values that are points: the point with the least sum_j w_ij d(., v_j)^2; w_ij = softmax_j(-d(q_i, k_j)^power / temperature + bias_ij). Gulcehre et al., 2019, arXiv:1805.09786; Gu et al., 2019, ICLR. */
export interface ManifoldAttention extends AttentionObject<ManifoldAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of MixedCurvatureAttention. */
export interface MixedCurvatureAttentionConfig {
  /** channels of queries and keys: Euclidean, hyperbolic, spherical. */
  dim: number;
  /** channels of the hyperbolic part; None: dim // 3. Default: null. */
  hyperbolicDim?: number | null;
  /** channels of the spherical part; None: dim // 3. Default: null. */
  sphericalDim?: number | null;
  /** of the hyperbolic part, below 0. Default: -1.0. */
  hyperbolicCurvature?: number;
  /** of the spherical part, above 0. Default: 1.0. */
  sphericalCurvature?: number;
  /** distance: -sum w d^2; scores: w <q, k> / sqrt(channels) - w d - w d. Default: "distance". */
  fusion?: "distance" | "scores";
  /** sum: values of any kind; product: values are points of the same product, averaged in each part. Default: "sum". */
  aggregation?: "sum" | "product";
  /** the curvatures are parameters that are trained. Default: false. */
  adaptiveCurvature?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j softmax_j(-sum_s w_s d_s(q_i, k_j)^2 / temperature + bias_ij) v_j. Gu et al., 2019, ICLR. */
export interface MixedCurvatureAttention extends AttentionObject<MixedCurvatureAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of MultiHeadAttention. */
export interface MultiHeadAttentionConfig {
  /** channels of queries and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 8. */
  numHeads?: number;
  /** heads of keys and values, each shared by num_heads / num_kv_heads; None: num_heads. Default: null. */
  numKvHeads?: number | null;
  /** learned maps into the heads and out; False: channels are split as they are. Default: true. */
  projections?: boolean;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** channels of keys; None: as the heads need them. Default: null. */
  kdim?: number | null;
  /** channels of values; None: as the heads need them. Default: null. */
  vdim?: number | null;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** factor on the dot products; None: 1 / sqrt(channels of a head). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** O = concat_h(SDPA(Q Wq_h, K Wk_h, V Wv_h)) Wo, with biases. Vaswani et al., 2017, arXiv:1706.03762; Ainslie et al., 2023, arXiv:2305.13245. */
export interface MultiHeadAttention extends AttentionObject<MultiHeadAttentionConfig> {
  /** The weights of every head, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** attention_weights by the name under which other packages have it. */
  headAttentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor>;
  /** The output of one head before the map out, (..., n_query, dim / num_heads). */
  headOutput(
    head: number,
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  headOutput(
    head: number,
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of ScaledDotProductAttention. */
export interface ScaledDotProductAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** factor on the dot products; None: 1 / sqrt(channels of a head). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j. Vaswani et al., 2017, arXiv:1706.03762. */
export interface ScaledDotProductAttention extends AttentionObject<ScaledDotProductAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  forward(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of SelfAttention. */
export interface SelfAttentionConfig {
  /** channels of queries and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 8. */
  numHeads?: number;
  /** heads of keys and values, each shared by num_heads / num_kv_heads; None: num_heads. Default: null. */
  numKvHeads?: number | null;
  /** learned maps into the heads and out; False: channels are split as they are. Default: true. */
  projections?: boolean;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** factor on the dot products; None: 1 / sqrt(channels of a head). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** O = MultiHead(X, X, X): every row of the query attends to all rows of it. Vaswani et al., 2017, arXiv:1706.03762; Ainslie et al., 2023, arXiv:2305.13245. */
export interface SelfAttention extends AttentionObject<SelfAttentionConfig> {
  /** The weights of every head, (..., num_heads, n_key, n_key). */
  attentionWeights(
    query: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_key, dim). */
  forward(
    query: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``Attention.from_config`` makes the same mechanism again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** attention_weights by the name under which other packages have it. */
  headAttentionWeights(query: ArrayInput, options?: CallOptions & Record<string, unknown>): Promise<Tensor>;
  /** The output of one head before the map out, (..., n_key, dim / num_heads). */
  headOutput(
    head: number,
    query: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** The classes on a loaded runtime. */
export interface Mechanisms {
  readonly CrossAttention: MechanismClass<CrossAttentionConfig, CrossAttention>;
  readonly DualSpaceAttention: MechanismClass<DualSpaceAttentionConfig, DualSpaceAttention>;
  readonly FlashAttention: MechanismClass<FlashAttentionConfig, FlashAttention>;
  readonly HyperbolicAttention: MechanismClass<HyperbolicAttentionConfig, HyperbolicAttention>;
  readonly ManifoldAttention: MechanismClass<ManifoldAttentionConfig, ManifoldAttention>;
  readonly MixedCurvatureAttention: MechanismClass<MixedCurvatureAttentionConfig, MixedCurvatureAttention>;
  readonly MultiHeadAttention: MechanismClass<MultiHeadAttentionConfig, MultiHeadAttention>;
  readonly ScaledDotProductAttention: MechanismClass<
    ScaledDotProductAttentionConfig,
    ScaledDotProductAttention
  >;
  readonly SelfAttention: MechanismClass<SelfAttentionConfig, SelfAttention>;
}

/** The same by registry name, for create(). */
export interface MechanismsByName {
  cross_attention: { config: CrossAttentionConfig; instance: CrossAttention };
  dual_space: { config: DualSpaceAttentionConfig; instance: DualSpaceAttention };
  flash: { config: FlashAttentionConfig; instance: FlashAttention };
  hyperbolic: { config: HyperbolicAttentionConfig; instance: HyperbolicAttention };
  manifold: { config: ManifoldAttentionConfig; instance: ManifoldAttention };
  mixed_curvature: { config: MixedCurvatureAttentionConfig; instance: MixedCurvatureAttention };
  multi_head: { config: MultiHeadAttentionConfig; instance: MultiHeadAttention };
  scaled_dot_product: { config: ScaledDotProductAttentionConfig; instance: ScaledDotProductAttention };
  self_attention: { config: SelfAttentionConfig; instance: SelfAttention };
}
