/** THE table of the classes that other packages have: which mechanism each is, and how its constructor is written. */

export interface Spec {
  readonly mechanism: string;
  /** What the constructor takes one by one; where it takes an object, that has these keys and others. */
  readonly args: readonly string[];
  /** Constructors of fewer arguments that mean something else, by their number. */
  readonly short?: Readonly<Record<number, readonly string[]>>;
  /** Their keys that are called something else here; "" where nothing here depends on it. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Settings that make the class what it is over there. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** What it tells of itself, by the keys of its constructor. */
  readonly tells?: readonly string[];
  /** Static makers: their arguments. */
  readonly makers?: Readonly<Record<string, readonly string[]>>;
  readonly statics?: Readonly<Record<string, (...args: never[]) => unknown>>;
  /** Methods that the mechanism has under the same name. */
  readonly own?: readonly string[];
  /** What compute takes, where it is not query, keys and values. */
  readonly computes?: "structure";
}

const HEADED = {
  args: ["dim", "numHeads"],
  renamed: { hiddenDim: "dim", useBias: "bias" },
  tells: ["dim", "hiddenDim", "numHeads", "headDim", "dropout"],
} as const;
const POINCARE = ["poincareDistance", "toPoincare", "fromPoincare", "mobiusAdd", "projectToBall"];

export const TABLE = {
  ScaledDotProductAttention: { mechanism: "scaled_dot_product", args: ["dim"], tells: ["dim"] },
  DotProductAttention: { mechanism: "scaled_dot_product", args: ["dim"], tells: ["dim"] },
  // The packages that have it split the channels and map nothing.
  MultiHeadAttention: {
    mechanism: "multi_head",
    ...HEADED,
    fixed: { projections: false },
    makers: { fromParams: ["numHeads", "hiddenDim", "dropout"] },
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
    short: { 1: ["curvature"] },
    tells: ["dim", "curvature"],
    own: POINCARE,
  },
  MoEAttention: {
    mechanism: "moe",
    args: ["dim", "numExperts", "topK"],
    renamed: { expertCapacity: "capacityFactor", loadBalanceWeight: "auxLossWeight" },
    tells: ["dim", "numExperts", "topK"],
    makers: { simple: ["dim", "numExperts", "topK"] },
    own: ["computeWithAuxLoss", "getExpertUsage", "resetRoutingStats"],
  },
  EdgeFeaturedAttention: {
    mechanism: "edge_featured",
    args: ["nodeDim", "edgeDim", "numHeads"],
    renamed: { nodeDim: "dim" },
    tells: ["nodeDim", "edgeDim", "numHeads"],
    makers: { simple: ["nodeDim", "edgeDim", "numHeads"] },
    own: ["computeWithEdges"],
    computes: "structure",
  },
  GraphRoPEAttention: {
    mechanism: "graph_rope",
    args: ["dim", "maxPosition"],
    renamed: { scalingFactor: "scaling" },
    tells: ["dim", "maxPosition"],
    makers: { simple: ["dim", "maxPosition"] },
    own: ["computeWithPositions", "applyRotary"],
    statics: {
      distanceToPosition: (distance: number, maxDistance: number) => Math.min(distance, maxDistance),
    },
  },
  DualSpaceAttention: {
    mechanism: "dual_space",
    args: ["dim", "curvature"],
    tells: ["dim", "curvature", "euclideanDim", "hyperbolicDim", "numHeads"],
    makers: { simple: ["euclideanDim", "hyperbolicDim", "numHeads", "curvature"] },
    own: ["getSpaceContributions"],
  },
  GraphAttention: {
    mechanism: "graph",
    args: ["dim", "numHeads"],
    renamed: HEADED.renamed,
    computes: "structure",
  },
  TemporalAttention: { mechanism: "temporal", args: ["dim"], renamed: HEADED.renamed, computes: "structure" },
  HierarchicalAttention: {
    mechanism: "hierarchical",
    args: ["dim"],
    renamed: HEADED.renamed,
    computes: "structure",
  },
} as const satisfies Readonly<Record<string, Spec>>;

export type ClassName = keyof typeof TABLE;
