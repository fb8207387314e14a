/**
 * Classes and functions by the names that @ruvector/attention and ruvector-attention-wasm have:
 * `import { init, MultiHeadAttention } from "ruvector-attention/classes"; await init();`
 */
import { CLASSES } from "./make.js";
import { TRAINING_CLASSES } from "./training.js";
import type {
  ContrastiveObject,
  CurriculumObject,
  HardNegativeMinerObject,
  InBatchMinerObject,
  InPlaceOptimizerObject,
  LearningRateSchedulerObject,
  OptimizerObject,
  SpectralObject,
  TemperatureAnnealingObject,
} from "./training_types.js";
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
export type { AttentionOutput, OutputMetadata } from "./facade.js";
export {
  attentionWeights,
  batchNormalize,
  cosineSimilarity,
  l2Norm,
  normalize,
  softmax,
} from "./functions.js";
export { DecayType, MiningStrategy } from "./training_table.js";
export type * from "./training_types.js";
export type * from "./types.js";

/** softmax(scale * q kᵀ) v for one head. */
export type ScaledDotProductAttention = PairAttention;
/** ScaledDotProductAttention, for matrices. */
export type DotProductAttention = PairAttention;
/** Attention in heads: the channels are split, nothing is mapped. */
export type MultiHeadAttention = HeadedAttention;
/** Attention in heads with learned maps, of a sequence to itself. */
export type SelfAttention = HeadedAttention;
/** Attention in heads with learned maps, of one sequence to another. */
export type CrossAttention = HeadedAttention;
/** ScaledDotProductAttention, computed in blocks of keys; the results are the same. */
export type FlashAttention = PairAttention & { readonly blockSize: number };
/** Softmax attention by random features: time grows with the number of keys alone. */
export type LinearAttention = PairAttention & { readonly numFeatures: number };
/** Attention to a window of keys, and to some that all queries see. */
export type LocalGlobalAttention = PairAttention & {
  readonly localWindow: number;
  readonly globalTokens: number;
};
/** Attention by distance in the Poincaré ball. */
export type HyperbolicAttention = HyperbolicObject;
/** Mixture of experts: a router sends every query to some of several mechanisms. */
export type MoEAttention = MoEObject;
/** Graph attention with features of edges (GATv2). */
export type EdgeFeaturedAttention = EdgeFeaturedObject;
/** Attention that turns queries and keys by positions, such as distances in a graph. */
export type GraphRoPEAttention = GraphRoPEObject;
/** Euclidean and hyperbolic scores, weighed and added. */
export type DualSpaceAttention = DualSpaceObject;
/** Nodes of a graph that attend to their neighbours. */
export type GraphAttention = GraphObject;
/** A sequence whose items lie in time. */
export type TemporalAttention = TemporalObject;
/** Items on several levels, brought together in one vector. */
export type HierarchicalAttention = HierarchicalObject;

/** The classes by the names that both packages give them. */
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

/** ScaledDotProductAttention by another name. */
export type ScaledDotProduct = ScaledDotProductAttention;
/** MultiHeadAttention by another name. */
export type MultiHead = MultiHeadAttention;
/** HyperbolicAttention by another name. */
export type Hyperbolic = HyperbolicAttention;
/** GraphRoPEAttention by another name. */
export type GraphRoPeAttention = GraphRoPEAttention;
/** ScaledDotProductAttention by another name. */
export type WasmScaledDotProduct = ScaledDotProductAttention;
/** MultiHeadAttention by another name. */
export type WasmMultiHeadAttention = MultiHeadAttention;
/** FlashAttention by another name. */
export type WasmFlashAttention = FlashAttention;
/** HyperbolicAttention by another name. */
export type WasmHyperbolicAttention = HyperbolicAttention;
/** LinearAttention by another name. */
export type WasmLinearAttention = LinearAttention;
/** LocalGlobalAttention by another name. */
export type WasmLocalGlobalAttention = LocalGlobalAttention;
/** MoEAttention by another name. */
export type WasmMoEAttention = MoEAttention;

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

/** Adam. */
export type AdamOptimizer = OptimizerObject;
/** Adam with decoupled weight decay. */
export type AdamWOptimizer = OptimizerObject & { readonly weightDecay: number };
/** Gradient descent with momentum. */
export type SGDOptimizer = OptimizerObject;
/** SGDOptimizer, with the number of parameters in front. */
export type SgdOptimizer = OptimizerObject;
/** Cross-entropy of the positive among the negatives. */
export type InfoNCELoss = ContrastiveObject;
/** A margin between the distances to positive and negatives. */
export type LocalContrastiveLoss = ContrastiveObject;
/** A penalty for rows that resemble one another. */
export type SpectralRegularization = SpectralObject;
/** A learning rate with warm-up and cosine decay. */
export type LearningRateScheduler = LearningRateSchedulerObject;
/** A temperature that falls step by step. */
export type TemperatureAnnealing = TemperatureAnnealingObject;
/** Stages of rising difficulty. */
export type CurriculumScheduler = CurriculumObject;
/** Picks negatives that are hard to tell from the anchor. */
export type HardNegativeMiner = HardNegativeMinerObject;
/** Takes the other items of a batch as negatives. */
export type InBatchMiner = InBatchMinerObject;
/** InfoNCELoss by another name. */
export type InfoNceLoss = InfoNCELoss;
/** AdamOptimizer whose `step` changes its argument. */
export type WasmAdam = InPlaceOptimizerObject;
/** AdamWOptimizer whose `step` changes its argument. */
export type WasmAdamW = InPlaceOptimizerObject & { readonly weight_decay: number };
/** SGDOptimizer whose `step` changes its argument. */
export type WasmSGD = InPlaceOptimizerObject;
/** InfoNCELoss by another name. */
export type WasmInfoNCELoss = InfoNCELoss;
/** LocalContrastiveLoss by another name. */
export type WasmLocalContrastiveLoss = LocalContrastiveLoss;
/** SpectralRegularization by another name. */
export type WasmSpectralRegularization = SpectralRegularization;
/** LearningRateScheduler by another name. */
export type WasmLRScheduler = LearningRateScheduler;
/** TemperatureAnnealing by another name. */
export type WasmTemperatureAnnealing = TemperatureAnnealing;
/** CurriculumScheduler by another name. */
export type WasmCurriculumScheduler = CurriculumScheduler;
/** HardNegativeMiner by another name. */
export type WasmHardNegativeMiner = HardNegativeMiner;
/** InBatchMiner by another name. */
export type WasmInBatchMiner = InBatchMiner;

/** Training: in a runtime with Python alone. */
export const {
  AdamOptimizer,
  AdamWOptimizer,
  SGDOptimizer,
  SgdOptimizer,
  WasmAdam,
  WasmAdamW,
  WasmSGD,
  InfoNCELoss,
  LocalContrastiveLoss,
  SpectralRegularization,
  LearningRateScheduler,
  TemperatureAnnealing,
  CurriculumScheduler,
  HardNegativeMiner,
  InBatchMiner,
} = TRAINING_CLASSES;

/** The same by the names of @ruvector/attention and ruvector-attention-wasm. */
export const {
  InfoNCELoss: InfoNceLoss,
  InfoNCELoss: WasmInfoNCELoss,
  LocalContrastiveLoss: WasmLocalContrastiveLoss,
  SpectralRegularization: WasmSpectralRegularization,
  LearningRateScheduler: WasmLRScheduler,
  TemperatureAnnealing: WasmTemperatureAnnealing,
  CurriculumScheduler: WasmCurriculumScheduler,
  HardNegativeMiner: WasmHardNegativeMiner,
  InBatchMiner: WasmInBatchMiner,
} = TRAINING_CLASSES;
