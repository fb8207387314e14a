/** The part of THE table (table.ts) for training: which part each class is, and how its constructor is written. */

export interface PartSpec {
  readonly part: string;
  readonly kind: "optimizer" | "loss" | "schedule" | "curriculum" | "hard_miner" | "batch_miner";
  /** What the constructor takes one by one, by our names of settings; where it takes an object, that has these keys. */
  readonly args: readonly string[];
  /**
   * Where the first argument is a whole number, as the published packages have it: the number of parameters, then these.
   * "always": their classes have no other constructor.
   */
  readonly counted?: readonly string[];
  readonly alwaysCounted?: boolean;
  /** Keys of an object that are called something else here. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Static makers: their arguments, by our names. */
  readonly makers?: Readonly<Record<string, readonly string[]>>;
  /** What it tells of itself, by the names of settings. */
  readonly tells?: readonly string[];
  /** `step` changes the parameters that it is given. */
  readonly inPlace?: boolean;
}

/** The number of parameters, which the published packages ask for. */
export const COUNT = "paramCount";
const ADAM = {
  part: "adam",
  kind: "optimizer",
  args: ["learningRate", "beta1", "beta2", "epsilon"],
  counted: ["learningRate"],
  makers: {
    withBetas: [COUNT, "learningRate", "beta1", "beta2"],
    withConfig: [COUNT, "learningRate", "beta1", "beta2", "epsilon", "weightDecay"],
  },
} as const satisfies PartSpec;
const ADAMW = {
  part: "adamw",
  kind: "optimizer",
  args: ["learningRate", "weightDecay", "beta1", "beta2"],
  counted: ["learningRate", "weightDecay"],
  makers: { withBetas: [COUNT, "learningRate", "weightDecay", "beta1", "beta2"] },
  tells: ["weightDecay"],
} as const satisfies PartSpec;
const SGD = {
  part: "sgd",
  kind: "optimizer",
  args: ["learningRate", "momentum", "dampening", "nesterov"],
  makers: {
    withMomentum: [COUNT, "learningRate", "momentum"],
    withWeightDecay: [COUNT, "learningRate", "momentum", "weightDecay"],
  },
} as const satisfies PartSpec;
const RATE = {
  part: "learning_rate",
  kind: "schedule",
  args: ["learningRate", "warmupSteps", "totalSteps", "minimum"],
  renamed: { baseLearningRate: "learningRate", initialLr: "learningRate", minLearningRate: "minimum" },
  makers: { withMinLr: ["learningRate", "warmupSteps", "totalSteps", "minimum"] },
} as const satisfies PartSpec;

export const TRAINING_TABLE = {
  AdamOptimizer: ADAM,
  AdamWOptimizer: ADAMW,
  SGDOptimizer: SGD,
  SgdOptimizer: { ...SGD, counted: ["learningRate"], alwaysCounted: true },
  WasmAdam: { ...ADAM, alwaysCounted: true, inPlace: true },
  WasmAdamW: { ...ADAMW, alwaysCounted: true, inPlace: true },
  WasmSGD: { ...SGD, counted: ["learningRate", "momentum"], alwaysCounted: true, inPlace: true },
  InfoNCELoss: {
    part: "info_nce",
    kind: "loss",
    args: ["temperature"],
    tells: ["temperature"],
  },
  LocalContrastiveLoss: {
    part: "local_contrastive",
    kind: "loss",
    args: ["margin"],
    tells: ["margin"],
  },
  SpectralRegularization: {
    part: "spectral_regularization",
    kind: "loss",
    args: ["weight"],
    tells: ["weight"],
  },
  LearningRateScheduler: RATE,
  TemperatureAnnealing: {
    part: "temperature",
    kind: "schedule",
    args: ["initial", "final", "totalSteps", "decay"],
    renamed: { initialTemp: "initial", finalTemp: "final", decayType: "decay" },
    makers: { withDecay: ["initial", "final", "totalSteps", "decay"] },
  },
  CurriculumScheduler: { part: "curriculum", kind: "curriculum", args: ["stages"] },
  HardNegativeMiner: {
    part: "hard_negative",
    kind: "hard_miner",
    args: ["strategy", "margin"],
    makers: { withMargin: ["strategy", "margin"], withTemperature: ["strategy", "temperature"] },
  },
  InBatchMiner: {
    part: "in_batch",
    kind: "batch_miner",
    args: ["excludePositive"],
  },
} as const satisfies Readonly<Record<string, PartSpec>>;

export type PartName = keyof typeof TRAINING_TABLE;

/** The choices of HardNegativeMiner's strategy as @ruvector/attention names them. */
export const MiningStrategy = {
  Random: "Random",
  HardNegative: "HardNegative",
  SemiHard: "SemiHard",
  DistanceWeighted: "DistanceWeighted",
} as const;
/** The choices of TemperatureAnnealing's decay as @ruvector/attention names them. */
export const DecayType = {
  Linear: "Linear",
  Exponential: "Exponential",
  Cosine: "Cosine",
  Step: "Step",
} as const;
