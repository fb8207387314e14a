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

export type ScaledDotProductAttention = PairAttention;
export type DotProductAttention = PairAttention;
export type MultiHeadAttention = HeadedAttention;
export type SelfAttention = HeadedAttention;
export type CrossAttention = HeadedAttention;
export type FlashAttention = PairAttention & { readonly blockSize: number };
export type LinearAttention = PairAttention & { readonly numFeatures: number };
export type LocalGlobalAttention = PairAttention & {
  readonly localWindow: number;
  readonly globalTokens: number;
};
export type HyperbolicAttention = HyperbolicObject;
export type MoEAttention = MoEObject;
export type EdgeFeaturedAttention = EdgeFeaturedObject;
export type GraphRoPEAttention = GraphRoPEObject;
export type DualSpaceAttention = DualSpaceObject;
export type GraphAttention = GraphObject;
export type TemporalAttention = TemporalObject;
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

export type ScaledDotProduct = ScaledDotProductAttention;
export type MultiHead = MultiHeadAttention;
export type Hyperbolic = HyperbolicAttention;
export type GraphRoPeAttention = GraphRoPEAttention;
export type WasmScaledDotProduct = ScaledDotProductAttention;
export type WasmMultiHeadAttention = MultiHeadAttention;
export type WasmFlashAttention = FlashAttention;
export type WasmHyperbolicAttention = HyperbolicAttention;
export type WasmLinearAttention = LinearAttention;
export type WasmLocalGlobalAttention = LocalGlobalAttention;
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

export type AdamOptimizer = OptimizerObject;
export type AdamWOptimizer = OptimizerObject & { readonly weightDecay: number };
export type SGDOptimizer = OptimizerObject;
export type SgdOptimizer = OptimizerObject;
export type InfoNCELoss = ContrastiveObject;
export type LocalContrastiveLoss = ContrastiveObject;
export type SpectralRegularization = SpectralObject;
export type LearningRateScheduler = LearningRateSchedulerObject;
export type TemperatureAnnealing = TemperatureAnnealingObject;
export type CurriculumScheduler = CurriculumObject;
export type HardNegativeMiner = HardNegativeMinerObject;
export type InBatchMiner = InBatchMinerObject;
export type InfoNceLoss = InfoNCELoss;
export type WasmAdam = InPlaceOptimizerObject;
export type WasmAdamW = InPlaceOptimizerObject & { readonly weight_decay: number };
export type WasmSGD = InPlaceOptimizerObject;
export type WasmInfoNCELoss = InfoNCELoss;
export type WasmLocalContrastiveLoss = LocalContrastiveLoss;
export type WasmSpectralRegularization = SpectralRegularization;
export type WasmLRScheduler = LearningRateScheduler;
export type WasmTemperatureAnnealing = TemperatureAnnealing;
export type WasmCurriculumScheduler = CurriculumScheduler;
export type WasmHardNegativeMiner = HardNegativeMiner;
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
