// Written by build_scripts/make_types.py from describe(); do not edit. A part appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./client.js";
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

/** Settings of CurriculumScheduler. */
export interface CurriculumSchedulerConfig {
  /** the stages in their order. */
  stages: CurriculumStage[];
}

/** stage = the first whose end, the sum of the durations up to it, lies beyond the step; after all, the last. Bengio et al., 2009. */
export interface CurriculumScheduler extends AttentionObject<CurriculumSchedulerConfig> {
  /** The value for step ``step``, from 0; what comes after the last step is as the last. */
  at(step: number, options?: CallOptions): Promise<CurriculumStage>;
  /** Plain JSON values from which ``from_config`` makes the same object again. */
  getConfig(): Promise<Record<string, unknown>>;
  /** The same as ``value``. */
  getValue(): Promise<CurriculumStage>;
  /** Back to step 0. */
  reset(): Promise<null>;
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<CurriculumStage>;
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
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<number>;
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
  /** The value for the current step, or for the one given, and on to the one after it. */
  step(currentStep?: number | null, options?: CallOptions): Promise<number>;
}

/** The classes on a loaded runtime's `training`. */
export interface Training {
  readonly Adam: MechanismClass<AdamConfig, Adam>;
  readonly AdamW: MechanismClass<AdamWConfig, AdamW>;
  readonly CurriculumScheduler: MechanismClass<CurriculumSchedulerConfig, CurriculumScheduler>;
  readonly LearningRateSchedule: MechanismClass<LearningRateScheduleConfig, LearningRateSchedule>;
  readonly RiemannianAdam: MechanismClass<RiemannianAdamConfig, RiemannianAdam>;
  readonly SGD: MechanismClass<SGDConfig, SGD>;
  readonly TemperatureAnnealing: MechanismClass<TemperatureAnnealingConfig, TemperatureAnnealing>;
}

/** The same by registry name, for create(). */
export interface PartsByName {
  adam: { config: AdamConfig; instance: Adam };
  adamw: { config: AdamWConfig; instance: AdamW };
  curriculum: { config: CurriculumSchedulerConfig; instance: CurriculumScheduler };
  learning_rate: { config: LearningRateScheduleConfig; instance: LearningRateSchedule };
  riemannian_adam: { config: RiemannianAdamConfig; instance: RiemannianAdam };
  sgd: { config: SGDConfig; instance: SGD };
  temperature: { config: TemperatureAnnealingConfig; instance: TemperatureAnnealing };
}
