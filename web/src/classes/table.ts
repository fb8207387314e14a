/** THE table of the classes that other packages have: which mechanism each is, and how its constructor is written. */
import { widthOf } from "./rows.js";

export interface Spec {
  readonly mechanism: string;
  /** What the constructor takes one by one; where it takes an object, that has these keys and others. */
  readonly args: readonly string[];
  /** Constructors whose number of arguments says that they mean something else. */
  readonly counted?: Readonly<Record<number, readonly string[]>>;
  /** Their keys that are called something else here; "" where nothing depends on it, over there as well. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Settings that make the class what it is over there. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** What it tells of itself, by the keys of its constructor. */
  readonly tells?: readonly string[];
  /** Static makers: their arguments, the first of these lists that is long enough. */
  readonly makers?: Readonly<Record<string, readonly (readonly string[])[]>>;
  readonly statics?: Readonly<Record<string, (...args: never[]) => unknown>>;
  /** Methods that the mechanism has under the same name. */
  readonly own?: readonly string[];
  /** Results of those methods as they come over there. */
  readonly answers?: Readonly<Record<string, (found: never) => unknown>>;
  /** What compute takes, where it is not query, keys and values. */
  readonly computes?: "structure";
  /** Settings that the arguments of compute tell, where the constructor has not. */
  readonly learns?: (...args: never[]) => Record<string, unknown>;
}

const HEADED = {
  args: ["dim", "numHeads"],
  renamed: { hiddenDim: "dim", useBias: "bias" },
  tells: ["dim", "hiddenDim", "numHeads", "headDim", "dropout"],
} as const;
const POINCARE = ["poincareDistance", "toPoincare", "fromPoincare", "mobiusAdd", "projectToBall"];
/** One config serves all classes over there; what a class has no use for, it does not look at. */
const SINGLE = {
  args: ["dim"],
  renamed: { hiddenDim: "dim", numHeads: "", headDim: "", useBias: "" },
  tells: ["dim"],
} as const;

export const TABLE = {
  ScaledDotProductAttention: { mechanism: "scaled_dot_product", ...SINGLE },
  DotProductAttention: { mechanism: "scaled_dot_product", ...SINGLE },
  // The packages that have it split the channels and map nothing.
  MultiHeadAttention: {
    mechanism: "multi_head",
    ...HEADED,
    counted: { 3: ["numHeads", "hiddenDim", "dropout"] },
    fixed: { projections: false },
    makers: { fromParams: [["numHeads", "hiddenDim", "dropout"]] },
  },
  SelfAttention: { mechanism: "self_attention", ...HEADED },
  CrossAttention: { mechanism: "cross_attention", ...HEADED },
  FlashAttention: { mechanism: "flash", args: ["dim", "blockSize"], tells: ["dim", "blockSize"] },
  LinearAttention: { mechanism: "linear", args: ["dim", "numFeatures"], tells: ["dim", "numFeatures"] },
  LocalGlobalAttention: {
    mechanism: "local_global",
    args: ["dim", "localWindow", "globalTokens"],
    renamed: { localWindow: "window" },
    tells: ["dim", "localWindow", "globalTokens"],
  },
  HyperbolicAttention: {
    mechanism: "hyperbolic",
    args: ["dim", "curvature"],
    counted: { 1: ["curvature"] },
    tells: ["dim", "curvature"],
    makers: { withConfig: [["dim", "curvature", "adaptiveCurvature", "temperature"]] },
    own: [...POINCARE, "computeWithTemperature"],
  },
  MoEAttention: {
    mechanism: "moe",
    args: ["dim", "numExperts", "topK"],
    renamed: { expertCapacity: "capacityFactor", loadBalanceWeight: "auxLossWeight" },
    tells: ["dim", "numExperts", "topK"],
    makers: { simple: [["dim", "numExperts", "topK"]] },
    own: ["computeWithAuxLoss", "getExpertUsage", "resetRoutingStats"],
  },
  EdgeFeaturedAttention: {
    mechanism: "edge_featured",
    args: ["nodeDim", "edgeDim", "numHeads"],
    renamed: { nodeDim: "dim" },
    tells: ["nodeDim", "edgeDim", "numHeads"],
    makers: { simple: [["nodeDim", "edgeDim", "numHeads"]] },
    own: ["computeWithEdges"],
    computes: "structure",
  },
  GraphRoPEAttention: {
    mechanism: "graph_rope",
    args: ["dim", "maxPosition"],
    renamed: { scalingFactor: "scaling" },
    tells: ["dim", "maxPosition"],
    makers: { simple: [["dim", "maxPosition"]] },
    own: ["computeWithPositions", "applyRotary"],
    statics: {
      distanceToPosition: (distance: number, maxDistance: number) => Math.min(distance, maxDistance),
    },
  },
  DualSpaceAttention: {
    mechanism: "dual_space",
    args: ["dim", "curvature"],
    // @ruvector/attention's has no heads, and asks for both weights.
    fixed: { numHeads: 1 },
    tells: [
      "dim",
      "curvature",
      "euclideanDim",
      "hyperbolicDim",
      "numHeads",
      "euclideanWeight",
      "hyperbolicWeight",
    ],
    makers: {
      simple: [
        ["dim", "curvature"],
        ["euclideanDim", "hyperbolicDim", "numHeads", "curvature"],
      ],
      simpleFused: [["dim", "numHeads", "curvature", "fusionWeight"]],
      withWeights: [["dim", "curvature", "euclideanWeight", "hyperbolicWeight"]],
    },
    own: ["getSpaceContributions"],
    answers: {
      getSpaceContributions: ([euclideanScores, hyperbolicScores]: unknown[]) => ({
        euclideanScores,
        hyperbolicScores,
      }),
    },
  },
  GraphAttention: {
    mechanism: "graph",
    args: ["dim", "numHeads"],
    renamed: HEADED.renamed,
    computes: "structure",
    learns: (_: unknown, graph?: { edgeFeatures?: unknown } | null) =>
      graph?.edgeFeatures == null ? {} : { edgeDim: widthOf(graph.edgeFeatures, "edgeFeatures") },
  },
  TemporalAttention: {
    mechanism: "temporal",
    args: ["dim"],
    renamed: { ...HEADED.renamed, useBias: "" },
    computes: "structure",
  },
  HierarchicalAttention: {
    mechanism: "hierarchical",
    args: ["dim"],
    renamed: { ...SINGLE.renamed, dropout: "" },
    computes: "structure",
  },
} as const satisfies Readonly<Record<string, Spec>>;

export type ClassName = keyof typeof TABLE;
