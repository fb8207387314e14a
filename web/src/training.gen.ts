// Written by build_scripts/make_types.py from describe(); do not edit. A part appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./instance.js";
import type { ArrayInput, Tensor } from "./tensor.js";

/** Settings of CurriculumStage. */
export interface CurriculumStage {
  /** what it is called. */
  name: string;
  /** steps. */
  duration: number;
  /** share of what is difficult, 0 to 1. Default: 1.0. */
  difficulty?: number;
  /** temperature of the loss. Default: 1.0. */
  temperature?: number;
  /** negatives of each anchor. Default: 10. */
  negativeCount?: number;
}

/** Settings of Adam. */
export interface AdamConfig {
  /** how far a step goes. Default: 0.001. */
  learningRate?: number;
  /** share of the mean of gradients that a step keeps. Default: 0.9. */
  beta1?: number;
  /** the same of the mean of their squares. Default: 0.999. */
  beta2?: number;
  /** added to the root that is divided by. Default: 1e-08. */
  epsilon?: number;
  /** divide by the largest mean of squares so far (Reddi et al., 2018). Default: false. */
  amsgrad?: boolean;
  /** pull towards 0: weight_decay * parameter is added to the gradient. Default: 0.0. */
  weightDecay?: number;
  /** length that all gradients together are clipped to; None: as they are. Default: null. */
  maxGradNorm?: number | null;
}

/** parameter -= learning_rate * m / (sqrt(v) + epsilon), with m and v the running means of gradients and squares. Kingma & Ba, 2015. */
export interface Adam extends AttentionObject<AdamConfig> {
  /** Hold these arrays, float32 or float64, as one more group of parameters to change in place. */
  add(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<null>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``learning_rate``. */
  getLearningRate(): Promise<number>;
  /** Go on from what state_dict told; nothing is changed unless all fits. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** The arrays that are held, by name. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Forget all steps: back to the learning rate of the settings, and to no moments. Parameters stay. */
  reset(): Promise<null>;
  /** The same as setting ``learning_rate``. */
  setLearningRate(learningRate: number, options?: CallOptions): Promise<null>;
  /** A copy of what it remembers, as arrays by name: the learning rate, and for each parameter its steps and moments, ``{"learning_rate": ..., "weight.step": ..., "weight.exp_avg": ...}``. */
  stateDict(): Promise<Record<string, Tensor>>;
  /** Change the parameters that are held, by one gradient for each; nothing is changed unless all fit. */
  step(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<null>;
  /** New parameters, in the form of those given, which stay as they are; for those who hold them themselves. */
  updated(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
  /** What to add to parameters, in the form of the gradients, where the parameters are not at hand. */
  updates(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
}

/** Settings of AdamW. */
export interface AdamWConfig {
  /** how far a step goes. Default: 0.001. */
  learningRate?: number;
  /** share of the mean of gradients that a step keeps. Default: 0.9. */
  beta1?: number;
  /** the same of the mean of their squares. Default: 0.999. */
  beta2?: number;
  /** added to the root that is divided by. Default: 1e-08. */
  epsilon?: number;
  /** divide by the largest mean of squares so far (Reddi et al., 2018). Default: false. */
  amsgrad?: boolean;
  /** pull towards 0: a step multiplies parameters by 1 - learning_rate * this. Default: 0.01. */
  weightDecay?: number;
  /** length that all gradients together are clipped to; None: as they are. Default: null. */
  maxGradNorm?: number | null;
}

/** parameter = (1 - learning_rate * weight_decay) * parameter - the step of Adam. Loshchilov & Hutter, 2019. */
export interface AdamW extends AttentionObject<AdamWConfig> {
  /** Hold these arrays, float32 or float64, as one more group of parameters to change in place. */
  add(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<null>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``learning_rate``. */
  getLearningRate(): Promise<number>;
  /** Go on from what state_dict told; nothing is changed unless all fits. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** The arrays that are held, by name. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Forget all steps: back to the learning rate of the settings, and to no moments. Parameters stay. */
  reset(): Promise<null>;
  /** The same as setting ``learning_rate``. */
  setLearningRate(learningRate: number, options?: CallOptions): Promise<null>;
  /** A copy of what it remembers, as arrays by name: the learning rate, and for each parameter its steps and moments, ``{"learning_rate": ..., "weight.step": ..., "weight.exp_avg": ...}``. */
  stateDict(): Promise<Record<string, Tensor>>;
  /** Change the parameters that are held, by one gradient for each; nothing is changed unless all fit. */
  step(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<null>;
  /** New parameters, in the form of those given, which stay as they are; for those who hold them themselves. */
  updated(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
  /** What to add to parameters, in the form of the gradients, where the parameters are not at hand. */
  updates(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
}

/** Settings of AttentionDistillationLoss. */
export interface AttentionDistillationLossConfig {
  /** kl: KL(teacher || student); mse: mean squared difference. Default: "kl". */
  divergence?: "kl" | "mse";
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = sum_j t_ij log(t_ij / s_ij) of rows of attention weights, or with divergence="mse" mean_j (s_ij - t_ij)^2. Wang et al., 2020, arXiv:2002.10957; mse: Jiao et al., 2020, arXiv:1909.10351. */
export interface AttentionDistillationLoss extends AttentionObject<AttentionDistillationLossConfig> {
  /** The value alone. */
  compute(student: ArrayInput, teacher: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    student: ArrayInput,
    teacher: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of CurriculumScheduler. */
export interface CurriculumSchedulerConfig {
  /** the stages in their order. Default: []. */
  stages?: CurriculumStage[];
  /** instead of stages: of the default ones, a quarter of the steps each. Default: null. */
  totalSteps?: number | null;
}

/** stage = the first whose end, the sum of the durations up to it, lies beyond the step; after all, the last. Bengio et al., 2009. */
export interface CurriculumScheduler extends AttentionObject<CurriculumSchedulerConfig> {
  /** One more stage, behind the others; its settings are those of CurriculumStage. */
  addStage(options?: CallOptions & Record<string, unknown>): Promise<null>;
  /** The value for step ``step``, from 0; what comes after the last step is as the last. */
  at(step: number, options?: CallOptions): Promise<CurriculumStage>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``value``. */
  getValue(): Promise<CurriculumStage>;
  /** Back to step 0. */
  reset(): Promise<null>;
  /** All of this at once: current_step, total_steps, progress, is_complete, value. */
  status(): Promise<Record<string, unknown>>;
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<CurriculumStage>;
}

/** Settings of DistillationLoss. */
export interface DistillationLossConfig {
  /** what logits are divided by. Default: 2.0. */
  temperature?: number;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = temperature^2 KL(softmax(teacher / temperature) || softmax(student / temperature)) of logits. Hinton et al., 2015, arXiv:1503.02531. */
export interface DistillationLoss extends AttentionObject<DistillationLossConfig> {
  /** The value alone. */
  compute(student: ArrayInput, teacher: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    student: ArrayInput,
    teacher: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of EWCLoss. */
export interface EWCLossConfig {
  /** lambda: how much the earlier task counts. Default: 1.0. */
  weight?: number;
}

/** L = weight / 2 * sum_i F_i (theta_i - theta*_i)^2: elastic weight consolidation. Kirkpatrick et al., 2017, arXiv:1612.00796. */
export interface EWCLoss extends AttentionObject<EWCLossConfig> {
  /** The value alone. */
  compute(parameters: Record<string, ArrayInput>, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    parameters: Record<string, ArrayInput>,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Keep copies of the parameters, and the mean of the squares of ``gradients``, a mapping for each example. */
  consolidate(
    parameters: Record<string, ArrayInput>,
    gradients: Record<string, ArrayInput>[],
    options?: CallOptions,
  ): Promise<null>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over what state_dict gave. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** Copies of what is kept: "<name>.kept" and "<name>.fisher" for each parameter. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of HardNegativeMiner. */
export interface HardNegativeMinerConfig {
  /** which negatives are chosen. Default: "semi_hard". */
  strategy?: "random" | "hard" | "semi_hard" | "distance_weighted" | "degree" | "mixed";
  /** semi_hard: how much farther than the positive they may be. Default: 0.2. */
  margin?: number;
  /** what logarithms of weights of draws are divided by. Default: 1.0. */
  temperature?: number;
  /** of the draws. Default: 0. */
  seed?: number;
}

/** argmin_n d_n, d_n = |anchor - n|, or indices chosen otherwise: the negatives to learn from, none of them twice. Wu et al., 2017, arXiv:1706.07567. */
export interface HardNegativeMiner extends AttentionObject<HardNegativeMinerConfig> {
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The indices of ``num_negatives`` of the negatives for each anchor. */
  mine(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives: ArrayInput,
    numNegatives?: number,
    options?: { degrees?: ArrayInput | null; anchorDegree?: ArrayInput | null } & CallOptions,
  ): Promise<Tensor>;
  /** Draws start again from the seed. */
  reset(): Promise<null>;
}

/** Settings of InBatchMiner. */
export interface InBatchMinerConfig {
  /** an anchor's own positive is none of its negatives. Default: true. */
  excludePositive?: boolean;
}

/** negatives of anchor_i = all positives_j with j != i, and those that are given to all. Karpukhin et al., 2020, arXiv:2004.04906. */
export interface InBatchMiner extends AttentionObject<InBatchMinerConfig> {
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The indices of ``num_negatives`` candidates for each anchor; None: of all. */
  mine(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives?: ArrayInput | null,
    numNegatives?: number | null,
    options?: CallOptions,
  ): Promise<Tensor>;
}

/** Settings of InfoNCELoss. */
export interface InfoNCELossConfig {
  /** what cosines are divided by. Default: 0.07. */
  temperature?: number;
  /** each: each positive against the negatives; together: against the other positives too (SupCon). Default: "each". */
  several?: "each" | "together";
  /** without negatives a row is told from all: all other rows of both arguments (NT-Xent); across: those of the other argument (CLIP). Default: "all". */
  inBatch?: "all" | "across";
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = -log(exp(s_p) / (exp(s_p) + sum_n exp(s_n))), s = cosine(anchor, .) / temperature, averaged over positives p. van den Oord et al., 2018, arXiv:1807.03748. */
export interface InfoNCELoss extends AttentionObject<InfoNCELossConfig> {
  /** The value alone. */
  compute(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives?: ArrayInput | null,
    options?: CallOptions,
  ): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives?: ArrayInput | null,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of LearningRateSchedule. */
export interface LearningRateScheduleConfig {
  /** the highest rate, after the warm-up. Default: 0.001. */
  learningRate?: number;
  /** steps in which the rate rises to it, in equal parts. Default: 0. */
  warmupSteps?: number;
  /** steps after which it stays at the minimum. Default: 1000. */
  totalSteps?: number;
  /** what it falls to. Default: 0.0. */
  minimum?: number;
  /** how it falls after the warm-up. Default: "cosine". */
  decay?: "cosine" | "linear" | "constant" | "step";
  /** for decay 'step': steps from one fall to the next. Default: 100. */
  stepSize?: number;
  /** for decay 'step': factor of each fall. Default: 0.1. */
  gamma?: number;
}

/** rate = learning_rate * (step + 1) / warmup_steps, then down to the minimum: by a cosine, a line, in falls, or not. Loshchilov & Hutter, 2017; Goyal et al., 2017. */
export interface LearningRateSchedule extends AttentionObject<LearningRateScheduleConfig> {
  /** The value for step ``step``, from 0; what comes after the last step is as the last. */
  at(step: number, options?: CallOptions): Promise<number>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``value``. */
  getValue(): Promise<number>;
  /** Back to step 0. */
  reset(): Promise<null>;
  /** All of this at once: current_step, total_steps, progress, is_complete, value. */
  status(): Promise<Record<string, unknown>>;
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<number>;
}

/** Settings of LocalContrastiveLoss. */
export interface LocalContrastiveLossConfig {
  /** distance that those which are not neighbours are to have. Default: 1.0. */
  margin?: number;
  /** what cosines are divided by; None: distances and the margin count. Default: null. */
  temperature?: number | null;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = mean_p |x - p|^2 + mean_n max(0, margin - |x - n|)^2 over the neighbours p of x and others n. Hadsell et al., 2006, 10.1109/CVPR.2006.100. */
export interface LocalContrastiveLoss extends AttentionObject<LocalContrastiveLossConfig> {
  /** The value alone. */
  compute(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives: ArrayInput,
    options?: CallOptions,
  ): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    anchor: ArrayInput,
    positives: ArrayInput,
    negatives: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The loss of every node of a graph: value (n_node,) with reduction="none", gradients of embeddings. */
  onGraph(
    embeddings: ArrayInput,
    edgeIndex: ArrayInput | { edges: ArrayInput },
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
}

/** Settings of MultiObjectiveLoss. */
export interface MultiObjectiveLossConfig {
  /** factors of the losses, in their order. */
  weights: number[];
  /** fixed: as given; uncertainty, gradnorm: learned from there. Default: "fixed". */
  weighting?: "fixed" | "uncertainty" | "gradnorm";
  /** gradnorm: how much slower objectives gain over faster ones. Default: 1.5. */
  alpha?: number;
}

/** L = sum_i w_i L_i of the results L_i of other losses, their gradients added by name. Kendall et al., 2018, arXiv:1705.07115; Chen et al., 2018, arXiv:1711.02257. */
export interface MultiObjectiveLoss extends AttentionObject<MultiObjectiveLossConfig> {
  /** The value alone. */
  compute(
    results:
      | { value: number | Tensor; gradients: Record<string, Tensor> }[]
      | Record<string, { value: number | Tensor; gradients: Record<string, Tensor> }>,
    shared?: string[] | null,
    options?: CallOptions,
  ): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    results:
      | { value: number | Tensor; gradients: Record<string, Tensor> }[]
      | Record<string, { value: number | Tensor; gradients: Record<string, Tensor> }>,
    shared?: string[] | null,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** Take over what state_dict gave. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** The learned arrays by name, which an optimizer writes into. */
  parameters(): Promise<Record<string, Tensor>>;
  /** A copy of all that distinguishes this object from a new one with the same settings. */
  stateDict(): Promise<Record<string, Tensor>>;
}

/** Settings of NormPenalty. */
export interface NormPenaltyConfig {
  /** factor of the value and its gradients. Default: 1.0. */
  weight?: number;
  /** length that rows are to have. Default: 1.0. */
  targetNorm?: number;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = weight * mean_i (|x_i| - target_norm)^2. */
export interface NormPenalty extends AttentionObject<NormPenaltyConfig> {
  /** The value alone. */
  compute(embeddings: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    embeddings: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of OrthogonalityRegularization. */
export interface OrthogonalityRegularizationConfig {
  /** factor of the value and its gradients. Default: 1.0. */
  weight?: number;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = weight * |X^T X / n - I|^2, squared and summed over all entries: channels without correlation, of variance 1. Brock et al., 2017, arXiv:1609.07093. */
export interface OrthogonalityRegularization extends AttentionObject<OrthogonalityRegularizationConfig> {
  /** The value alone. */
  compute(embeddings: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    embeddings: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of RelationDistillationLoss. */
export interface RelationDistillationLossConfig {
  /** what relations are divided by. Default: 1.0. */
  temperature?: number;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = KL(softmax(T T^T / r_T) || softmax(S S^T / r_S)) of rows, with r = sqrt(dim) * temperature of each. Wang et al., 2020, arXiv:2002.10957. */
export interface RelationDistillationLoss extends AttentionObject<RelationDistillationLossConfig> {
  /** The value alone. */
  compute(student: ArrayInput, teacher: ArrayInput, options?: CallOptions): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    student: ArrayInput,
    teacher: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of RiemannianAdam. */
export interface RiemannianAdamConfig {
  /** how far a step goes. Default: 0.001. */
  learningRate?: number;
  /** share of the mean of gradients that a step keeps. Default: 0.9. */
  beta1?: number;
  /** the same of the mean of their squares. Default: 0.999. */
  beta2?: number;
  /** added to the root that is divided by. Default: 1e-08. */
  epsilon?: number;
  /** curvature of the space, below 0. Default: -1.0. */
  curvature?: number;
  /** pull towards 0: weight_decay * parameter is added to the gradient. Default: 0.0. */
  weightDecay?: number;
  /** length that all gradients together are clipped to; None: as they are. Default: null. */
  maxGradNorm?: number | null;
}

/** x = exp_x(-learning_rate * m / (sqrt(v) + epsilon)), with m in the tangent space and v one number for a point. Bécigneul & Ganea, 2019. */
export interface RiemannianAdam extends AttentionObject<RiemannianAdamConfig> {
  /** Hold these arrays, float32 or float64, as one more group of parameters to change in place. */
  add(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<null>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``learning_rate``. */
  getLearningRate(): Promise<number>;
  /** Go on from what state_dict told; nothing is changed unless all fits. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** The arrays that are held, by name. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Forget all steps: back to the learning rate of the settings, and to no moments. Parameters stay. */
  reset(): Promise<null>;
  /** The same as setting ``learning_rate``. */
  setLearningRate(learningRate: number, options?: CallOptions): Promise<null>;
  /** A copy of what it remembers, as arrays by name: the learning rate, and for each parameter its steps and moments, ``{"learning_rate": ..., "weight.step": ..., "weight.exp_avg": ...}``. */
  stateDict(): Promise<Record<string, Tensor>>;
  /** Change the parameters that are held, by one gradient for each; nothing is changed unless all fit. */
  step(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<null>;
  /** New parameters, in the form of those given, which stay as they are; for those who hold them themselves. */
  updated(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
  /** What to add to parameters, in the form of the gradients, where the parameters are not at hand. */
  updates(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
}

/** Settings of SGD. */
export interface SGDConfig {
  /** how far a step goes. Default: 0.01. */
  learningRate?: number;
  /** share of the last step that goes on. Default: 0.0. */
  momentum?: number;
  /** share of a gradient that momentum leaves out. Default: 0.0. */
  dampening?: number;
  /** the gradient of where momentum leads, approximately. Default: false. */
  nesterov?: boolean;
  /** pull towards 0: weight_decay * parameter is added to the gradient. Default: 0.0. */
  weightDecay?: number;
  /** length that all gradients together are clipped to; None: as they are. Default: null. */
  maxGradNorm?: number | null;
}

/** v = momentum * v + (1 - dampening) * g; parameter -= learning_rate * v, with g the gradient + decay * parameter. Sutskever et al., 2013. */
export interface SGD extends AttentionObject<SGDConfig> {
  /** Hold these arrays, float32 or float64, as one more group of parameters to change in place. */
  add(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions & Record<string, unknown>,
  ): Promise<null>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``learning_rate``. */
  getLearningRate(): Promise<number>;
  /** Go on from what state_dict told; nothing is changed unless all fits. */
  loadStateDict(state: Record<string, ArrayInput>, options?: CallOptions): Promise<null>;
  /** The arrays that are held, by name. */
  parameters(): Promise<Record<string, Tensor>>;
  /** Forget all steps: back to the learning rate of the settings, and to no moments. Parameters stay. */
  reset(): Promise<null>;
  /** The same as setting ``learning_rate``. */
  setLearningRate(learningRate: number, options?: CallOptions): Promise<null>;
  /** A copy of what it remembers, as arrays by name: the learning rate, and for each parameter its steps and moments, ``{"learning_rate": ..., "weight.step": ..., "weight.exp_avg": ...}``. */
  stateDict(): Promise<Record<string, Tensor>>;
  /** Change the parameters that are held, by one gradient for each; nothing is changed unless all fit. */
  step(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<null>;
  /** New parameters, in the form of those given, which stay as they are; for those who hold them themselves. */
  updated(
    parameters: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
  /** What to add to parameters, in the form of the gradients, where the parameters are not at hand. */
  updates(
    gradients: ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[],
    options?: CallOptions,
  ): Promise<Tensor | Record<string, Tensor> | Tensor[]>;
}

/** Settings of SpectralRegularization. */
export interface SpectralRegularizationConfig {
  /** factor of the value and its gradients. Default: 1.0. */
  weight?: number;
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = weight * sum over edges (i, j) of w_ij |x_i - x_j|^2 = weight * tr(X^T L X), L the Laplacian of the graph. Belkin & Niyogi, 2003, 10.1162/089976603321780317. */
export interface SpectralRegularization extends AttentionObject<SpectralRegularizationConfig> {
  /** The value alone. */
  compute(
    embeddings: ArrayInput,
    edgeIndex?: ArrayInput | { edges: ArrayInput } | null,
    edgeWeight?: ArrayInput | null,
    options?: CallOptions,
  ): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    embeddings: ArrayInput,
    edgeIndex?: ArrayInput | { edges: ArrayInput } | null,
    edgeWeight?: ArrayInput | null,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** Settings of TemperatureAnnealing. */
export interface TemperatureAnnealingConfig {
  /** temperature of step 0. Default: 1.0. */
  initial?: number;
  /** temperature of step total_steps, and of all after it. Default: 0.1. */
  final?: number;
  /** steps from one to the other. Default: 1000. */
  totalSteps?: number;
  /** the way from one to the other. Default: "linear". */
  decay?: "linear" | "exponential" | "cosine" | "step";
  /** for decay 'step': in how many falls, by equal factors. Default: 4. */
  numStairs?: number;
}

/** temperature = final + (initial - final) * left, with what is left of the way: 1 - t, (1 + cos(pi t)) / 2. */
export interface TemperatureAnnealing extends AttentionObject<TemperatureAnnealingConfig> {
  /** The value for step ``step``, from 0; what comes after the last step is as the last. */
  at(step: number, options?: CallOptions): Promise<number>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``value``. */
  getValue(): Promise<number>;
  /** Back to step 0. */
  reset(): Promise<null>;
  /** All of this at once: current_step, total_steps, progress, is_complete, value. */
  status(): Promise<Record<string, unknown>>;
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<number>;
}

/** Settings of TripletLoss. */
export interface TripletLossConfig {
  /** how much farther the negative is to be. Default: 1.0. */
  margin?: number;
  /** d(a, b); cosine is 1 - <a, b> / (|a| |b|). Default: "euclidean". */
  distance?: "euclidean" | "squared_euclidean" | "cosine";
  /** of the losses of the items of a batch. Default: "mean". */
  reduction?: "mean" | "sum" | "none";
}

/** L = max(0, d(anchor, positive) - d(anchor, negative) + margin). Schroff et al., 2015, arXiv:1503.03832. */
export interface TripletLoss extends AttentionObject<TripletLossConfig> {
  /** The value alone. */
  compute(
    anchor: ArrayInput,
    positive: ArrayInput,
    negative: ArrayInput,
    options?: CallOptions,
  ): Promise<number | Tensor>;
  /** The same as calling it, for languages in which objects are not called. */
  computeWithGradients(
    anchor: ArrayInput,
    positive: ArrayInput,
    negative: ArrayInput,
    options?: CallOptions,
  ): Promise<{ value: number | Tensor; gradients: Record<string, Tensor> }>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
}

/** The classes on a loaded runtime's `training`. */
export interface Training {
  readonly Adam: MechanismClass<AdamConfig, Adam>;
  readonly AdamW: MechanismClass<AdamWConfig, AdamW>;
  readonly AttentionDistillationLoss: MechanismClass<
    AttentionDistillationLossConfig,
    AttentionDistillationLoss
  >;
  readonly CurriculumScheduler: MechanismClass<CurriculumSchedulerConfig, CurriculumScheduler>;
  readonly DistillationLoss: MechanismClass<DistillationLossConfig, DistillationLoss>;
  readonly EWCLoss: MechanismClass<EWCLossConfig, EWCLoss>;
  readonly HardNegativeMiner: MechanismClass<HardNegativeMinerConfig, HardNegativeMiner>;
  readonly InBatchMiner: MechanismClass<InBatchMinerConfig, InBatchMiner>;
  readonly InfoNCELoss: MechanismClass<InfoNCELossConfig, InfoNCELoss>;
  readonly LearningRateSchedule: MechanismClass<LearningRateScheduleConfig, LearningRateSchedule>;
  readonly LocalContrastiveLoss: MechanismClass<LocalContrastiveLossConfig, LocalContrastiveLoss>;
  readonly MultiObjectiveLoss: MechanismClass<MultiObjectiveLossConfig, MultiObjectiveLoss>;
  readonly NormPenalty: MechanismClass<NormPenaltyConfig, NormPenalty>;
  readonly OrthogonalityRegularization: MechanismClass<
    OrthogonalityRegularizationConfig,
    OrthogonalityRegularization
  >;
  readonly RelationDistillationLoss: MechanismClass<RelationDistillationLossConfig, RelationDistillationLoss>;
  readonly RiemannianAdam: MechanismClass<RiemannianAdamConfig, RiemannianAdam>;
  readonly SGD: MechanismClass<SGDConfig, SGD>;
  readonly SpectralRegularization: MechanismClass<SpectralRegularizationConfig, SpectralRegularization>;
  readonly TemperatureAnnealing: MechanismClass<TemperatureAnnealingConfig, TemperatureAnnealing>;
  readonly TripletLoss: MechanismClass<TripletLossConfig, TripletLoss>;
}

/** The same by registry name, for create(). */
export interface PartsByName {
  adam: { config: AdamConfig; instance: Adam };
  adamw: { config: AdamWConfig; instance: AdamW };
  attention_distillation: { config: AttentionDistillationLossConfig; instance: AttentionDistillationLoss };
  curriculum: { config: CurriculumSchedulerConfig; instance: CurriculumScheduler };
  distillation: { config: DistillationLossConfig; instance: DistillationLoss };
  ewc: { config: EWCLossConfig; instance: EWCLoss };
  hard_negative: { config: HardNegativeMinerConfig; instance: HardNegativeMiner };
  in_batch: { config: InBatchMinerConfig; instance: InBatchMiner };
  info_nce: { config: InfoNCELossConfig; instance: InfoNCELoss };
  learning_rate: { config: LearningRateScheduleConfig; instance: LearningRateSchedule };
  local_contrastive: { config: LocalContrastiveLossConfig; instance: LocalContrastiveLoss };
  multi_objective: { config: MultiObjectiveLossConfig; instance: MultiObjectiveLoss };
  norm_penalty: { config: NormPenaltyConfig; instance: NormPenalty };
  orthogonality: { config: OrthogonalityRegularizationConfig; instance: OrthogonalityRegularization };
  relation_distillation: { config: RelationDistillationLossConfig; instance: RelationDistillationLoss };
  riemannian_adam: { config: RiemannianAdamConfig; instance: RiemannianAdam };
  sgd: { config: SGDConfig; instance: SGD };
  spectral_regularization: { config: SpectralRegularizationConfig; instance: SpectralRegularization };
  temperature: { config: TemperatureAnnealingConfig; instance: TemperatureAnnealing };
  triplet: { config: TripletLossConfig; instance: TripletLoss };
}
