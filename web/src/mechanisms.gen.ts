// Written by build_scripts/make_types.py from describe(); do not edit. A mechanism appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./instance.js";
import type { Memory } from "./memory.js";
import type { ArrayInput, MaskInput, Tensor } from "./tensor.js";

/** Settings of AutoAttention. */
export interface AutoAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** random features, where linear attention is picked. Default: 256. */
  numFeatures?: number;
  /** relative error of linear attention; 0: never pick it. Default: 0.05. */
  tolerance?: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
}

/** out = that of the mechanism picked for these inputs: by edges, tree-likeness, length, and a measured error. Holland et al., 2002, 10.1093/oxfordjournals.molbev.a004030, for tree-likeness. */
export interface AutoAttention extends AttentionObject<AutoAttentionConfig> {
  /** The weights of the mechanism that is picked, (..., n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      edgeIndex?: ArrayInput | null;
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** What a forward of the same arguments picks, and why; without values, as if these lay inside the unit ball. */
  explain(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      edgeIndex?: ArrayInput | null;
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
    } & CallOptions,
  ): Promise<unknown>;
  explain(
    query: ArrayInput,
    keys: Memory,
    options?: {
      edgeIndex?: ArrayInput | null;
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
    } & CallOptions,
  ): Promise<unknown>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      edgeIndex?: ArrayInput | null;
      mask?: MaskInput | null;
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
      edgeIndex?: ArrayInput | null;
      mask?: MaskInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of CrossSpaceAttention. */
export interface CrossSpaceAttentionConfig {
  /** channels of nodes and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 1. */
  numHeads?: number;
  /** factor on the dot products; None: 1 / sqrt(dim / num_heads). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** latent neighbours of a node without latent_index. Default: 8. */
  numNeighbors?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node attends to itself too, by one edge in place of those given from a node to itself. Default: true. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** g = Attn(h, N_graph), l = Attn(h, N_latent), x = Attn(g, N_latent), out = W_o (a_g g + a_l l + a_x x). after Wang et al., 2020, arXiv:2007.02265. */
export interface CrossSpaceAttention extends AttentionObject<CrossSpaceAttentionConfig> {
  /** The weights of the caller's edges of the graph in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs of all nodes, (..., n_node, dim). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., dim), that attends to every node from which it is reached within k edges of the graph, each once, and to its latent neighbours. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., dim): what forward gives for it, at the cost of its edges in both spaces. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** How much of g, l and x each node takes, (..., n_node, 3). */
  gates(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** edge_index (2, n_node * num_neighbors), from the nodes of the highest cosine similarity to each of them. */
  latentNeighbors(nodes: ArrayInput, options?: CallOptions): Promise<unknown>;
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
  /** The weights in the graph of every head by (source, target), as GraphAttention has them. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    latentIndex?: ArrayInput | { edges: ArrayInput },
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
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
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** O = concat_h(softmax(S_h / temperature + bias) V W_v^h) W_o, S_h = w_e <q_e, k_e> / sqrt(Euclidean channels of a head) - w_h d(exp_0(q_h), exp_0(k_h)). Gulcehre et al., 2019, arXiv:1805.09786; Vaswani et al., 2017, arXiv:1706.03762. */
export interface DualSpaceAttention extends AttentionObject<DualSpaceAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. A mechanism that has heads gives those of every head, (..., num_heads, n_query, n_key). */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of DynamicHeadAttention. */
export interface DynamicHeadAttentionConfig {
  /** channels of queries, keys, values and outputs, over all heads. */
  dim: number;
  /** heads there are; divides dim. Default: 8. */
  numHeads?: number;
  /** heads whose gate is not above it are not computed. Default: 0.5. */
  threshold?: number;
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

/** O = sum over heads h with g_h > threshold of g_h * head_h(Q, K, V) Wo_h, plus bo; g = sigmoid(mean(Q) Wg + bg). after Voita et al., 2019, arXiv:1905.09418. */
export interface DynamicHeadAttention extends AttentionObject<DynamicHeadAttentionConfig> {
  /** Which heads these queries use, (..., num_heads). */
  activeHeads(query: ArrayInput, options?: CallOptions): Promise<unknown>;
  /** The weights of every head, (..., num_heads, n_query, n_key), zeros for heads that are not in use. */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The gate of every head, (..., num_heads). */
  headGates(query: ArrayInput, options?: CallOptions): Promise<Tensor>;
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

/** Settings of EdgeFeaturedAttention. */
export interface EdgeFeaturedAttentionConfig {
  /** channels of a node's features. */
  dim: number;
  /** channels of an edge's features; None: edges have none. Default: null. */
  edgeDim?: number | null;
  /** heads. Default: 1. */
  numHeads?: number;
  /** channels of a head; None: dim / num_heads where heads are concatenated, else dim. Default: null. */
  headDim?: number | null;
  /** where the LeakyReLU stands: before the product with the attention vector, or behind. Default: "gatv2". */
  variant?: "gatv2" | "gat";
  /** outputs of heads side by side; False: their mean. Default: true. */
  concatHeads?: boolean;
  /** gatv2: one map for sources and targets. Default: false. */
  shareWeights?: boolean;
  /** slope of the LeakyReLU below 0. Default: 0.2. */
  negativeSlope?: number;
  /** the outputs, and the maps of gatv2, add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node attends to itself too, by one edge in place of those given from a node to itself. Default: true. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** h_i' = sum over edges (j, i) of softmax_j(s_ij) W h_j, with s_ij = a^T LeakyReLU(W_t h_i + W h_j + W_e e_ij). Veličković et al., 2018, arXiv:1710.10903; Brody et al., 2022, arXiv:2105.14491. */
export interface EdgeFeaturedAttention extends AttentionObject<EdgeFeaturedAttentionConfig> {
  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The output of one node, (dim_out,): query (dim,) are its features, keys (n_key, dim) those of its neighbours, values (n_key, dim) what it gathers from them in place of these, through the same map. */
  compute(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The same with the features of the edges, (n_key, edge_dim). */
  computeWithEdges(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    edgeFeatures: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of all nodes, (..., n_node, channels). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., channels), that attends to every node from which it is reached within k edges, each once. Features of edges are those of its own edges; nodes further away bring zeros in their place. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., channels): what forward gives for it, at the cost of its own edges. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** The weights of every head by (source, target), self loops that the settings add among them; nodes by their own names where edge_index is a networkx graph. Parallel edges are one entry, their sum. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of GINAttention. */
export interface GINAttentionConfig {
  /** channels of nodes and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 1. */
  numHeads?: number;
  /** factor on the dot products; None: 1 / sqrt(dim / num_heads). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** channels of an edge's features; None: edges have none. Default: null. */
  edgeDim?: number | null;
  /** channels between the two layers; None: dim. Default: null. */
  mlpDim?: number | null;
  /** start value of epsilon, by which a node counts more than a neighbour. Default: 0.0. */
  eps?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node is a neighbour of itself too, by one edge in place of those from a node to itself. Default: false. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** h_i' = MLP((1 + epsilon) h_i + sum over edges (j, i) of softmax_j(scale <W_q h_i, W_k h_j> + W_e e_ij) h_j). Xu et al., 2019, arXiv:1810.00826. */
export interface GINAttention extends AttentionObject<GINAttentionConfig> {
  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs of all nodes, (..., n_node, channels). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., channels), that attends to every node from which it is reached within k edges, each once. Features of edges are those of its own edges; nodes further away bring zeros in their place. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., channels): what forward gives for it, at the cost of its own edges. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** The weights of every head by (source, target), self loops that the settings add among them; nodes by their own names where edge_index is a networkx graph. Parallel edges are one entry, their sum. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
}

/** Settings of GraphAttention. */
export interface GraphAttentionConfig {
  /** channels of nodes and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 1. */
  numHeads?: number;
  /** factor on the dot products; None: 1 / sqrt(dim / num_heads). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** channels of an edge's features; None: edges have none. Default: null. */
  edgeDim?: number | null;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node attends to itself too, by one edge in place of those given from a node to itself. Default: true. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** h_i' = W_o sum over edges (j, i) of softmax_j((scale <W_q h_i, W_k h_j> + W_e e_ij) / temperature) W_v h_j. Shi et al., 2021, arXiv:2009.03509. */
export interface GraphAttention extends AttentionObject<GraphAttentionConfig> {
  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** {"values": the outputs, "weights": those of the edges, "metadata"}, of node features (n_node, dim) and a graph: {"edges": pairs, "num_nodes"?, "edge_features"?}, or edges in any other form. */
  compute(
    nodeFeatures: ArrayInput,
    graph: ArrayInput | { edges: ArrayInput },
    options?: CallOptions,
  ): Promise<Record<string, unknown>>;
  /** The outputs of all nodes, (..., n_node, channels). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., channels), that attends to every node from which it is reached within k edges, each once. Features of edges are those of its own edges; nodes further away bring zeros in their place. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., channels): what forward gives for it, at the cost of its own edges. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** The weights of every head by (source, target), self loops that the settings add among them; nodes by their own names where edge_index is a networkx graph. Parallel edges are one entry, their sum. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
}

/** Settings of GraphRoPEAttention. */
export interface GraphRoPEAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** the largest position, without its sign, that a call may have; None: any. Default: null. */
  maxPosition?: number | null;
  /** pair i of a head turns by position / scaling / base^(2i / dim). Default: 10000.0. */
  base?: number;
  /** divides positions. Default: 1.0. */
  scaling?: number;
  /** pairs are channels (2i, 2i + 1); False: (i, i + dim / 2). Default: false. */
  interleaved?: boolean;
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
  /** groups of channels that attend apart; divides dim and dim_value. Default: 1. */
  numHeads?: number;
}

/** out_i = sum_j softmax_j(scale * <R(p_i) q_i, R(p_j) k_j> / temperature + bias_ij) v_j. Su et al., 2021, arXiv:2104.09864. */
export interface GraphRoPEAttention extends AttentionObject<GraphRoPEAttentionConfig> {
  /** Rows (..., n, dim), or one, turned by positions (..., n): what a query or key becomes. */
  applyRotary(x: ArrayInput, positions: ArrayInput, options?: CallOptions): Promise<Tensor>;
  /** The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      queryPositions?: ArrayInput | number | null;
      keyPositions?: ArrayInput | number | null;
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** forward without positions, by the name under which other packages have it. */
  compute(query: ArrayInput, keys: ArrayInput, values: ArrayInput, options?: CallOptions): Promise<Tensor>;
  compute(query: ArrayInput, keys: Memory, options?: CallOptions): Promise<Tensor>;
  /** forward with positions, by the name under which other packages have it. */
  computeWithPositions(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    queryPosition: ArrayInput,
    keyPositions: ArrayInput,
    options?: CallOptions,
  ): Promise<Tensor>;
  computeWithPositions(
    query: ArrayInput,
    keys: Memory,
    queryPosition: ArrayInput,
    keyPositions: ArrayInput,
    options?: CallOptions,
  ): Promise<Tensor>;
  /** Distances in a graph as positions: max_distance where a node is further away, or not reached (infinity). */
  distanceToPosition(maxDistance: number, options?: CallOptions): Promise<unknown>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      queryPositions?: ArrayInput | number | null;
      keyPositions?: ArrayInput | number | null;
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
      queryPositions?: ArrayInput | number | null;
      keyPositions?: ArrayInput | number | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of HierarchicalAttention. */
export interface HierarchicalAttentionConfig {
  /** channels of items and of the output. */
  dim: number;
  /** divides the scores. Default: 1.0. */
  temperature?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
}

/** s_l = sum over items i of level l of softmax_i(<tanh(W h_i + b), u> / temperature) h_i, out = sum_l a_l s_l. Yang et al., 2016, aclanthology.org/N16-1174. */
export interface HierarchicalAttention extends AttentionObject<HierarchicalAttentionConfig> {
  /** The weight of every item in the output, (..., n_item): that inside its level times that of the level. */
  attentionWeights(
    items: ArrayInput,
    levels: ArrayInput,
    options?: { levelWeights?: ArrayInput | null; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** {"values": the output (dim,), "weights": a list of those of each level's items, "metadata"} of features [level][item][channel], of which each level may have as many items as it likes. */
  compute(
    hierarchicalFeatures: unknown,
    levelWeights?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, unknown>>;
  /** The output, (..., dim). */
  forward(
    items: ArrayInput,
    levels: ArrayInput,
    options?: { levelWeights?: ArrayInput | null; training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of HNSWAwareAttention. */
export interface HNSWAwareAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** layers of the index, each with a bias of its own. Default: 8. */
  numLayers?: number;
  /** a learned multiple of the Euclidean distance is taken from the score. Default: false. */
  distance?: boolean;
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
  /** groups of channels that attend apart; divides dim and dim_value. Default: 1. */
  numHeads?: number;
}

/** out_i = sum_j softmax_j((scale * <q_i, k_j> - w |q_i - k_j|) / temperature + b_layer(j) + bias_ij) v_j. Malkov & Yashunin, 2018, arXiv:1603.09320. */
export interface HNSWAwareAttention extends AttentionObject<HNSWAwareAttentionConfig> {
  /** The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      layers?: ArrayInput | null;
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
      layers?: ArrayInput | null;
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
      layers?: ArrayInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of LearnedRoutingAttention. */
export interface LearnedRoutingAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** mechanisms by name, with commas between them, or a JSON list of their configs; None: as num_experts says. Default: null. */
  experts?: string | null;
  /** how many; None: as experts lists, or 4. Default: null. */
  numExperts?: number | null;
  /** divides the numbers that the router compares. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** mechanisms with a smaller share are not computed, but for the best. Default: 0.1. */
  threshold?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
}

/** O = sum over mechanisms e of p_e * attention_e(Q, K, V), p = softmax((mean(Q) W + b) / temperature). after Jordan & Jacobs, 1994, 10.1162/neco.1994.6.2.181. */
export interface LearnedRoutingAttention extends AttentionObject<LearnedRoutingAttentionConfig> {
  /** The weights of the experts, summed as their outputs are, (..., n_query, n_key); of heads, their mean. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The share that each mechanism has in the output, (..., num_experts); zeros for those not computed. */
  getRouting(query: ArrayInput, options?: CallOptions): Promise<Tensor>;
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

/** Settings of LinearAttention. */
export interface LinearAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** random features of the favor kernel. Default: 256. */
  numFeatures?: number;
  /** favor estimates softmax attention; elu and relu are maps of their own. Default: "favor". */
  kernel?: "favor" | "elu" | "relu";
  /** factor on the dot products; None: 1 / sqrt(dim) for favor, 1 for elu and relu. Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** scale queries and keys to length 1 first: cosine attention. Default: false. */
  normalize?: boolean;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
}

/** out_i = sum_j <f(q_i), f(k_j)> v_j / sum_j <f(q_i), f(k_j)>, in time and memory linear in n_query and n_key. Choromanski et al., 2021, arXiv:2009.14794; Katharopoulos et al., 2020, arXiv:2006.16236. */
export interface LinearAttention extends AttentionObject<LinearAttentionConfig> {
  /** The weights that the outputs are sums with, (..., n_query, n_key): what forward never makes. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** A recurrent state: keys and values are taken in one after another, and none is kept. */
  stream(dimValue: number, lead?: number[], options?: CallOptions): Promise<unknown>;
}

/** Settings of LocalGlobalAttention. */
export interface LocalGlobalAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** keys that a token sees on either side of itself. Default: 256. */
  window?: number;
  /** first tokens, which see all keys and which all see. Default: 1. */
  globalTokens?: number;
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

/** out_i = sum over j near i, and over global j, of softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j. Beltagy et al., 2020, arXiv:2004.05150. */
export interface LocalGlobalAttention extends AttentionObject<LocalGlobalAttentionConfig> {
  /** The weights, (..., n_query, n_key), zeros outside of the pattern. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      position?: ArrayInput | null;
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs, (..., n_query, dim_value). A mask or a bias counts inside the pattern. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      position?: ArrayInput | null;
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
      position?: ArrayInput | null;
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
  /** The pattern over n tokens as a mask object, planned for n; of one query at ``position``, its row (n,). */
  getAttentionMask(n: number, options?: { position?: number | null } & CallOptions): Promise<unknown>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j w_ij v_j, or the mean of values that are points: the point with the least sum_j w_ij d(., v_j)^2; w_ij = softmax_j(-sum_s a_s d_s(q_i, k_j)^power / temperature + bias_ij). Gulcehre et al., 2019, arXiv:1805.09786; Gu et al., 2019, ICLR. */
export interface ManifoldAttention extends AttentionObject<ManifoldAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. A mechanism that has heads gives those of every head, (..., num_heads, n_query, n_key). */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
}

/** out_i = sum_j softmax_j(-sum_s w_s d_s(q_i, k_j)^2 / temperature + bias_ij) v_j. Gu et al., 2019, ICLR. */
export interface MixedCurvatureAttention extends AttentionObject<MixedCurvatureAttentionConfig> {
  /** The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. A mechanism that has heads gives those of every head, (..., num_heads, n_query, n_key). */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of MoEAttention. */
export interface MoEAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** mechanisms by name, with commas between them, or a JSON list of their configs; None: as num_experts says. Default: null. */
  experts?: string | null;
  /** how many; None: as experts lists, or 4. Default: null. */
  numExperts?: number | null;
  /** divides the numbers that the router compares. Default: 1.0. */
  temperature?: number;
  /** query i sees keys j <= i + (n_key - n_query). Default: false. */
  causal?: boolean;
  /** experts that a query goes to. Default: 2. */
  topK?: number;
  /** an expert takes at most this times its even share of a call's queries; None: all that come. Default: null. */
  capacityFactor?: number | null;
  /** of the load-balance loss in backward. Default: 0.01. */
  auxLossWeight?: number;
  /** of the router's z-loss in backward. Default: 0.001. */
  zLossWeight?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
}

/** out_t = sum over the top_k experts e of w_te * expert_e(q_t, K, V), w_t = softmax of their z_t = (q_t W + b) / T. Shazeer et al., 2017, arXiv:1701.06538; Fedus et al., 2021, arXiv:2101.03961. */
export interface MoEAttention extends AttentionObject<MoEAttentionConfig> {
  /** One more expert, used as it is; the router chooses it as often as chance has it, until it is trained. */
  addExpert(expert: unknown, options?: CallOptions): Promise<null>;
  /** The weights of the experts, summed as their outputs are, (..., n_query, n_key); of heads, their mean. */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** forward, and two losses: experts * sum_e f_e P_e, f_e the share of choices and P_e the mean probability of expert e (1 where all are even), and the mean square of log sum_e exp z_te. */
  computeWithAuxLoss(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<unknown>;
  computeWithAuxLoss(
    query: ArrayInput,
    keys: Memory,
    options?: {
      mask?: MaskInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      training?: boolean;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<unknown>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      mask?: MaskInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The share of all choices since ``reset_routing_stats`` that each expert was, (num_experts,); zeros before. */
  getExpertUsage(): Promise<Tensor>;
  /** The experts (..., n_query, top_k) that queries go to, best first, -1 where none had room, and the weights. */
  getRouting(query: ArrayInput, options?: CallOptions): Promise<unknown>;
  /** Take over parameters; nothing is changed unless all fit. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** How many numbers the parameters hold. */
  numParameters(): Promise<number>;
  /** The learned arrays by name; they are the object's own, so writing into them changes it. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Back to the state in which the object was made, parameters excepted: dropout starts again from its seed. */
  reset(): Promise<null>;
  /** Count the choices anew. */
  resetRoutingStats(): Promise<null>;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of SAGEAttention. */
export interface SAGEAttentionConfig {
  /** channels of nodes and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 1. */
  numHeads?: number;
  /** factor on the dot products; None: 1 / sqrt(dim / num_heads). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** channels of an edge's features; None: edges have none. Default: null. */
  edgeDim?: number | null;
  /** scale outputs to length 1. Default: false. */
  normalize?: boolean;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node is a neighbour of itself too, by one edge in place of those from a node to itself. Default: false. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** h_i' = W_s h_i + W_n sum over edges (j, i) of softmax_j(scale <W_q h_i, W_k h_j> + W_e e_ij) h_j + b. Hamilton et al., 2017, arXiv:1706.02216. */
export interface SAGEAttention extends AttentionObject<SAGEAttentionConfig> {
  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs of all nodes, (..., n_node, channels). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., channels), that attends to every node from which it is reached within k edges, each once. Features of edges are those of its own edges; nodes further away bring zeros in their place. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., channels): what forward gives for it, at the cost of its own edges. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** The weights of every head by (source, target), self loops that the settings add among them; nodes by their own names where edge_index is a networkx graph. Parallel edges are one entry, their sum. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    edgeAttr?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** Settings of StructuralAttention. */
export interface StructuralAttentionConfig {
  /** channels of nodes and outputs, over all heads. */
  dim: number;
  /** heads; divides dim. Default: 1. */
  numHeads?: number;
  /** factor on the dot products; None: 1 / sqrt(dim / num_heads). Default: null. */
  scale?: number | null;
  /** divides the scores, after the scale. Default: 1.0. */
  temperature?: number;
  /** the learned maps add a bias. Default: true. */
  bias?: boolean;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** structural features of a node. Default: 4. */
  numFeatures?: number;
  /** seed of the initial parameters and of dropout. Default: 0. */
  seed?: number;
  /** keys that one call may have; more is an InputTooLargeError. Default: 100000. */
  maxSequenceLength?: number;
  /** every node attends to itself too, by one edge in place of those given from a node to itself. Default: true. */
  addSelfLoops?: boolean;
  /** what a node without edges into it attends to: nothing, or itself. Default: "zeros". */
  isolated?: "zeros" | "self";
}

/** h_i' = W_o sum over edges (j, i) of softmax_j(s_ij / temperature) W_v h_j with s_ij = scale <W_q h_i, W_k h_j> + <u, f_j> + <w, f_i * f_j>. Ying et al., 2021, arXiv:2106.05234. */
export interface StructuralAttention extends AttentionObject<StructuralAttentionConfig> {
  /** The weights of the caller's edges in his order, (..., n_edges, num_heads). */
  attentionWeights(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    features?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** The outputs of all nodes, (..., n_node, dim). */
  forward(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    features?: ArrayInput,
    options?: { training?: boolean; checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The outputs of many items whose shapes may differ; ``options`` hold for all of them. */
  forwardBatch(
    items: (ArrayInput[] | Record<string, unknown>)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<Tensor[]>;
  /** The output of one node, (..., dim), that attends to every node from which it is reached within k edges, each once. */
  forwardKHop(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    k: number,
    features?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** The output of one node, (..., dim): what forward gives for it, at the cost of its own edges. */
  forwardNeighborhood(
    node: number,
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    features?: ArrayInput,
    options?: { checkFinite?: boolean } & CallOptions,
  ): Promise<Tensor>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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
  /** (n_node, 4): log(1 + degree) in and out, n_node * PageRank, clustering coefficient. */
  structuralFeatures(nNode: number, options?: CallOptions): Promise<Tensor>;
  /** The weights of every head by (source, target), as GraphAttention has them. */
  weightsByEdge(
    nodes: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    features?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, Tensor>>;
}

/** Settings of TemporalAttention. */
export interface TemporalAttentionConfig {
  /** channels of queries and keys. */
  dim: number;
  /** how time enters: a score that decays with the gap, or learned waves added to queries and keys. Default: "decay". */
  encoding?: "decay" | "time2vec";
  /** start value of the factor before exp(-gap / theta). Default: 1.0. */
  decay?: number;
  /** start value of the gap after which the decay has fallen to 1/e. Default: 1.0. */
  theta?: number;
  /** channels of the waves: one is linear, the others are sines. Default: 8. */
  timeDim?: number;
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
  /** a query sees keys of its own time and before. Default: true. */
  causal?: boolean;
  /** keys of a query that count, those of the highest scores. Default: null. */
  topK?: number | null;
  /** share of weights dropped when training. Default: 0.0. */
  dropout?: number;
  /** groups of channels that attend apart; divides dim and dim_value. Default: 1. */
  numHeads?: number;
}

/** out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + a exp(-|t_i - t_j| / theta) + bias_ij) v_j. Kazemi et al., 2019, arXiv:1907.05321 (Time2Vec). */
export interface TemporalAttention extends AttentionObject<TemporalAttentionConfig> {
  /** The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key). */
  attentionWeights(
    query: ArrayInput,
    keys: ArrayInput | Memory,
    options?: {
      queryTimes?: ArrayInput | null;
      keyTimes?: ArrayInput | null;
      mask?: MaskInput | null;
      bias?: ArrayInput | null;
      keyLengths?: ArrayInput | null;
      causal?: boolean | null;
      checkFinite?: boolean;
    } & CallOptions,
  ): Promise<Tensor>;
  /** The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask that was given, and of every parameter; each has the shape of what it is the gradient of. */
  backward(gradOutput: ArrayInput, options?: CallOptions): Promise<Record<string, Tensor>>;
  /** {"values": the outputs, "weights", "metadata"} of a sequence (n, dim) that attends to itself, with its timestamps (n,) or 0, 1, 2, ... */
  compute(
    sequence: ArrayInput,
    timestamps?: ArrayInput,
    options?: CallOptions,
  ): Promise<Record<string, unknown>>;
  /** The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values. */
  forward(
    query: ArrayInput,
    keys: ArrayInput,
    values: ArrayInput,
    options?: {
      queryTimes?: ArrayInput | null;
      keyTimes?: ArrayInput | null;
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
      queryTimes?: ArrayInput | null;
      keyTimes?: ArrayInput | null;
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
  /** Plain JSON values from which ``from_config`` makes the same object again. */
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

/** The classes on a loaded runtime. */
export interface Mechanisms {
  readonly AutoAttention: MechanismClass<AutoAttentionConfig, AutoAttention>;
  readonly CrossAttention: MechanismClass<CrossAttentionConfig, CrossAttention>;
  readonly CrossSpaceAttention: MechanismClass<CrossSpaceAttentionConfig, CrossSpaceAttention>;
  readonly DualSpaceAttention: MechanismClass<DualSpaceAttentionConfig, DualSpaceAttention>;
  readonly DynamicHeadAttention: MechanismClass<DynamicHeadAttentionConfig, DynamicHeadAttention>;
  readonly EdgeFeaturedAttention: MechanismClass<EdgeFeaturedAttentionConfig, EdgeFeaturedAttention>;
  readonly FlashAttention: MechanismClass<FlashAttentionConfig, FlashAttention>;
  readonly GINAttention: MechanismClass<GINAttentionConfig, GINAttention>;
  readonly GraphAttention: MechanismClass<GraphAttentionConfig, GraphAttention>;
  readonly GraphRoPEAttention: MechanismClass<GraphRoPEAttentionConfig, GraphRoPEAttention>;
  readonly HierarchicalAttention: MechanismClass<HierarchicalAttentionConfig, HierarchicalAttention>;
  readonly HNSWAwareAttention: MechanismClass<HNSWAwareAttentionConfig, HNSWAwareAttention>;
  readonly HyperbolicAttention: MechanismClass<HyperbolicAttentionConfig, HyperbolicAttention>;
  readonly LearnedRoutingAttention: MechanismClass<LearnedRoutingAttentionConfig, LearnedRoutingAttention>;
  readonly LinearAttention: MechanismClass<LinearAttentionConfig, LinearAttention>;
  readonly LocalGlobalAttention: MechanismClass<LocalGlobalAttentionConfig, LocalGlobalAttention>;
  readonly ManifoldAttention: MechanismClass<ManifoldAttentionConfig, ManifoldAttention>;
  readonly MixedCurvatureAttention: MechanismClass<MixedCurvatureAttentionConfig, MixedCurvatureAttention>;
  readonly MoEAttention: MechanismClass<MoEAttentionConfig, MoEAttention>;
  readonly MultiHeadAttention: MechanismClass<MultiHeadAttentionConfig, MultiHeadAttention>;
  readonly SAGEAttention: MechanismClass<SAGEAttentionConfig, SAGEAttention>;
  readonly ScaledDotProductAttention: MechanismClass<
    ScaledDotProductAttentionConfig,
    ScaledDotProductAttention
  >;
  readonly SelfAttention: MechanismClass<SelfAttentionConfig, SelfAttention>;
  readonly StructuralAttention: MechanismClass<StructuralAttentionConfig, StructuralAttention>;
  readonly TemporalAttention: MechanismClass<TemporalAttentionConfig, TemporalAttention>;
}

/** The same by registry name, for create(). */
export interface MechanismsByName {
  auto: { config: AutoAttentionConfig; instance: AutoAttention };
  cross_attention: { config: CrossAttentionConfig; instance: CrossAttention };
  cross_space: { config: CrossSpaceAttentionConfig; instance: CrossSpaceAttention };
  dual_space: { config: DualSpaceAttentionConfig; instance: DualSpaceAttention };
  dynamic_head: { config: DynamicHeadAttentionConfig; instance: DynamicHeadAttention };
  edge_featured: { config: EdgeFeaturedAttentionConfig; instance: EdgeFeaturedAttention };
  flash: { config: FlashAttentionConfig; instance: FlashAttention };
  gin: { config: GINAttentionConfig; instance: GINAttention };
  graph: { config: GraphAttentionConfig; instance: GraphAttention };
  graph_rope: { config: GraphRoPEAttentionConfig; instance: GraphRoPEAttention };
  hierarchical: { config: HierarchicalAttentionConfig; instance: HierarchicalAttention };
  hnsw_aware: { config: HNSWAwareAttentionConfig; instance: HNSWAwareAttention };
  hyperbolic: { config: HyperbolicAttentionConfig; instance: HyperbolicAttention };
  learned_routing: { config: LearnedRoutingAttentionConfig; instance: LearnedRoutingAttention };
  linear: { config: LinearAttentionConfig; instance: LinearAttention };
  local_global: { config: LocalGlobalAttentionConfig; instance: LocalGlobalAttention };
  manifold: { config: ManifoldAttentionConfig; instance: ManifoldAttention };
  mixed_curvature: { config: MixedCurvatureAttentionConfig; instance: MixedCurvatureAttention };
  moe: { config: MoEAttentionConfig; instance: MoEAttention };
  multi_head: { config: MultiHeadAttentionConfig; instance: MultiHeadAttention };
  sage: { config: SAGEAttentionConfig; instance: SAGEAttention };
  scaled_dot_product: { config: ScaledDotProductAttentionConfig; instance: ScaledDotProductAttention };
  self_attention: { config: SelfAttentionConfig; instance: SelfAttention };
  structural: { config: StructuralAttentionConfig; instance: StructuralAttention };
  temporal: { config: TemporalAttentionConfig; instance: TemporalAttention };
}
