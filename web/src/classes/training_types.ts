/** The types of the classes of training. They need a runtime with Python: `await init({ runtime: "pyodide" })`. */
import type { ArrayInput, Tensor } from "../tensor.js";
import type { CurriculumStage } from "../training.gen.js";
import type { Freed, Made, Twice, VectorInput } from "./types.js";

export type { CurriculumStage } from "../training.gen.js";

/** One array, or a list of them. */
export type ArraysInput = VectorInput | readonly (Float32Array | Float64Array)[];
type Changed<A> = A extends VectorInput ? Tensor : Tensor[];

/** What all optimizers have. */
export interface LearningRate {
  /** How far a step goes. It is checked and kept here, and so never waits. */
  learningRate: number;
  getLearningRate(): number;
  setLearningRate(learningRate: number): void;
  /** Forgets all steps. */
  reset(): void;
}
/** Steps that change their argument. */
export interface InPlace {
  /** Changes the parameters that it is given. */
  stepInPlace(
    parameters: Float32Array | Float64Array | readonly (Float32Array | Float64Array)[],
    gradients: ArraysInput,
  ): void;
}
/** What has no `Async` needs a runtime in this thread. */
export type OptimizerObject = Freed &
  LearningRate &
  Twice<InPlace> & {
    /**
     * The parameters after a step, in new arrays. Of gradients alone: what to add to the parameters, which an optimizer
     * with weight decay cannot say.
     */
    step<A extends ArraysInput>(parameters: A, gradients: A): Changed<A>;
    step<A extends ArraysInput>(gradients: A): Changed<A>;
    stepAsync<A extends ArraysInput>(parameters: A, gradients: A): Promise<Changed<A>>;
    stepAsync<A extends ArraysInput>(gradients: A): Promise<Changed<A>>;
  };
/** As ruvector-attention-wasm has it: `step` changes the parameters that it is given. */
export type InPlaceOptimizerObject = Freed &
  LearningRate &
  Twice<InPlace & { step: InPlace["stepInPlace"] }> & { learning_rate: number };

/** A loss, and how it changes with its arguments. */
export interface LossWithGradients {
  /** The loss itself. */
  loss: number;
  /** Of the first argument, the anchor. */
  gradients: Tensor;
  /** Of every argument. */
  gradientsByName: Record<string, Tensor>;
}
/** A loss of an anchor, what belongs to it, and what does not. */
export type ContrastiveObject = Freed &
  Twice<{
    compute(anchor: VectorInput, positive: ArrayInput, negatives: ArrayInput): number;
    computeWithGradients(anchor: VectorInput, positive: ArrayInput, negatives: ArrayInput): LossWithGradients;
  }>;
/** A penalty for rows that resemble one another. */
export type SpectralObject = Freed & { readonly weight: number } & Twice<{
    /** Of rows, or of several matrices of equal shape, the mean. */
    compute(weights: ArrayInput): number;
    computeBatch(rows: ArrayInput): number;
    computeWithGradients(weights: ArrayInput): LossWithGradients;
  }>;

/** Where a schedule is. */
export interface ScheduleStatus<V> {
  current_step: number;
  total_steps: number;
  progress: number;
  is_complete: boolean;
  value: V;
}
type Steps<V> = Twice<{
  /** The value of the current step, or of the one given, and on to the one after it. */
  step(currentStep?: number): V;
  /** All that the properties tell, which are for a runtime in this thread. */
  status(): ScheduleStatus<V>;
}> & {
  readonly currentStep: number;
  readonly progress: number;
  readonly isComplete: boolean;
  /** Back to step 0. */
  reset(): void;
};
/** A learning rate that rises at first and then falls. */
export type LearningRateSchedulerObject = Freed &
  Steps<number> &
  Twice<{
    /** What step() gave last; before that, the rate of step 0. */
    getLearningRate(): number;
    /** The rate of the current step, which the next step() gives. */
    getLr(): number;
    get_lr(): number;
  }>;
/** A temperature that falls step by step. */
export type TemperatureAnnealingObject = Freed & Steps<number> & Twice<{ getTemp(): number }>;
/** Stages of rising difficulty. */
export type CurriculumObject = Freed &
  Steps<Required<CurriculumStage>> &
  Twice<{ addStage(stage: CurriculumStage): void; getStage(): Required<CurriculumStage> }> & {
    readonly difficulty: number;
    readonly temperature: number;
    readonly negativeCount: number;
  };
/** Picks negatives that are hard to tell from the anchor. */
export type HardNegativeMinerObject = Freed &
  Twice<{
    /** The indices of `numHard` of the negatives. */
    mine(anchor: VectorInput, positives: ArrayInput, negatives: ArrayInput, numHard?: number): number[];
  }>;
/** Takes the other items of a batch as negatives. */
export type InBatchMinerObject = Freed &
  Twice<{
    /** For each anchor the indices of its negatives among positives and negatives, the nearest ones where numNegatives says how many. */
    mine(
      anchors: ArrayInput,
      positives: ArrayInput,
      negatives?: ArrayInput | null,
      numNegatives?: number,
    ): number[][];
  }> & {
    /** All items of a batch but the anchor and its positive. */
    getNegatives(anchor: number, positive: number, batchSize: number): number[];
  };

type Strategy =
  | "random"
  | "hard"
  | "semi_hard"
  | "distance_weighted"
  | "degree"
  | "mixed"
  | "Random"
  | "HardNegative"
  | "SemiHard"
  | "DistanceWeighted";
type Decay = "linear" | "exponential" | "cosine" | "step" | "Linear" | "Exponential" | "Cosine" | "Step";
type Config = [config: Record<string, unknown>];
type AdamMakers<O> = {
  withBetas(paramCount: number, learningRate: number, beta1: number, beta2: number): O;
  withConfig(
    paramCount: number,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    weightDecay: number,
  ): O;
};
type AdamWMakers<O> = {
  withBetas(paramCount: number, learningRate: number, weightDecay: number, beta1: number, beta2: number): O;
};
type SGDMakers<O> = {
  withMomentum(paramCount: number, learningRate: number, momentum: number): O;
  withWeightDecay(paramCount: number, learningRate: number, momentum: number, weightDecay: number): O;
};
type RateMakers = {
  withMinLr(
    learningRate: number,
    warmupSteps: number,
    totalSteps: number,
    minLearningRate: number,
  ): LearningRateSchedulerObject;
};

/** Every class of training_table.ts. */
export interface TrainingClasses {
  AdamOptimizer: Made<
    | [learningRate?: number, beta1?: number, beta2?: number, epsilon?: number]
    | [paramCount: number, learningRate: number]
    | Config,
    OptimizerObject,
    AdamMakers<OptimizerObject>
  >;
  AdamWOptimizer: Made<
    | [learningRate?: number, weightDecay?: number, beta1?: number, beta2?: number]
    | [paramCount: number, learningRate: number, weightDecay: number]
    | Config,
    OptimizerObject & { readonly weightDecay: number },
    AdamWMakers<OptimizerObject>
  >;
  SGDOptimizer: Made<
    [learningRate?: number, momentum?: number, dampening?: number, nesterov?: boolean] | Config,
    OptimizerObject,
    SGDMakers<OptimizerObject>
  >;
  SgdOptimizer: Made<
    [paramCount: number, learningRate: number] | Config,
    OptimizerObject,
    SGDMakers<OptimizerObject>
  >;
  WasmAdam: Made<
    [paramCount: number, learningRate: number],
    InPlaceOptimizerObject,
    AdamMakers<InPlaceOptimizerObject>
  >;
  WasmAdamW: Made<
    [paramCount: number, learningRate: number, weightDecay: number],
    InPlaceOptimizerObject & { readonly weight_decay: number },
    AdamWMakers<InPlaceOptimizerObject>
  >;
  WasmSGD: Made<
    [paramCount: number, learningRate: number, momentum?: number | null],
    InPlaceOptimizerObject,
    SGDMakers<InPlaceOptimizerObject>
  >;
  InfoNCELoss: Made<[temperature?: number] | Config, ContrastiveObject & { readonly temperature: number }>;
  LocalContrastiveLoss: Made<[margin?: number] | Config, ContrastiveObject & { readonly margin: number }>;
  SpectralRegularization: Made<[weight?: number] | Config, SpectralObject>;
  LearningRateScheduler: Made<
    [learningRate: number, warmupSteps: number, totalSteps: number, minLearningRate?: number] | Config,
    LearningRateSchedulerObject,
    RateMakers
  >;
  TemperatureAnnealing: Made<
    [initialTemp: number, finalTemp: number, totalSteps: number, decayType?: Decay] | Config,
    TemperatureAnnealingObject,
    {
      withDecay(
        initialTemp: number,
        finalTemp: number,
        totalSteps: number,
        decayType: Decay,
      ): TemperatureAnnealingObject;
    }
  >;
  CurriculumScheduler: Made<
    [stages?: readonly CurriculumStage[]] | Config,
    CurriculumObject,
    { defaultCurriculum(totalSteps: number): CurriculumObject }
  >;
  HardNegativeMiner: Made<
    [strategy?: Strategy, margin?: number] | Config,
    HardNegativeMinerObject,
    {
      withMargin(strategy: Strategy, margin: number): HardNegativeMinerObject;
      withTemperature(strategy: Strategy, temperature: number): HardNegativeMinerObject;
    }
  >;
  InBatchMiner: Made<
    [excludePositive?: boolean] | Config,
    InBatchMinerObject,
    { includePositive(): InBatchMinerObject }
  >;
}
