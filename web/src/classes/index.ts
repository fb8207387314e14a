/**
 * Classes and functions by the names that @ruvector/attention and ruvector-attention-wasm have:
 * `import { init, MultiHeadAttention } from "ruvector-attention/classes"; await init();`
 */
import { CLASSES } from "./make.js";
import type {
  DualSpaceObject,
  EdgeFeaturedObject,
  GraphObject,
  GraphRoPEObject,
  HeadedAttention,
  HierarchicalObject,
  HyperbolicObject,
  MoEObject,
  PairAttention,
  TemporalObject,
} from "./types.js";

export * from "../errors.js";
export { type ArrayInput, type MaskInput, type Tensor, tensor } from "../tensor.js";
export {
  BatchProcessor,
  type BatchProcessorOptions,
  type ProcessOptions,
  parallelAttentionCompute,
  StreamProcessor,
} from "./batch.js";
export { Attention, AttentionBuilder, type AttentionConfig, AttentionType } from "./builder.js";
export {
  type Backing,
  getFeatures,
  getSupportedFeatures,
  getVersion,
  getVersion as version,
  type InitOptions,
  init,
} from "./current.js";
export type { AttentionOutput } from "./facade.js";
export {
  attentionWeights,
  batchNormalize,
  cosineSimilarity,
  l2Norm,
  normalize,
  softmax,
} from "./functions.js";
export type * from "./types.js";

export type ScaledDotProductAttention = PairAttention;
export type DotProductAttention = PairAttention;
export type MultiHeadAttention = HeadedAttention;
export type SelfAttention = HeadedAttention;
export type CrossAttention = HeadedAttention;
export type FlashAttention = PairAttention & { readonly blockSize: number };
export type HyperbolicAttention = HyperbolicObject;
export type MoEAttention = MoEObject;
export type EdgeFeaturedAttention = EdgeFeaturedObject;
export type GraphRoPEAttention = GraphRoPEObject;
export type DualSpaceAttention = DualSpaceObject;
export type GraphAttention = GraphObject;
export type TemporalAttention = TemporalObject;
export type HierarchicalAttention = HierarchicalObject;

export const {
  ScaledDotProductAttention,
  DotProductAttention,
  MultiHeadAttention,
  SelfAttention,
  CrossAttention,
  FlashAttention,
  LinearAttention,
  LocalGlobalAttention,
  HyperbolicAttention,
  MoEAttention,
  EdgeFeaturedAttention,
  GraphRoPEAttention,
  DualSpaceAttention,
  GraphAttention,
  TemporalAttention,
  HierarchicalAttention,
} = CLASSES;

/** The same by other names; those of ruvector-attention-wasm are freed by hand, as all are. */
export const {
  ScaledDotProductAttention: ScaledDotProduct,
  MultiHeadAttention: MultiHead,
  HyperbolicAttention: Hyperbolic,
  GraphRoPEAttention: GraphRoPeAttention,
  ScaledDotProductAttention: WasmScaledDotProduct,
  MultiHeadAttention: WasmMultiHeadAttention,
  FlashAttention: WasmFlashAttention,
  HyperbolicAttention: WasmHyperbolicAttention,
  LinearAttention: WasmLinearAttention,
  LocalGlobalAttention: WasmLocalGlobalAttention,
  MoEAttention: WasmMoEAttention,
} = CLASSES;
