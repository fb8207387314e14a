// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] = [
  {
    name: "dual_space",
    class: "DualSpaceAttention",
    methods: [
      "attention_weights",
      "backward",
      "forward",
      "forward_batch",
      "get_config",
      "get_space_contributions",
      "load_state_dict",
      "num_parameters",
      "parameters",
      "reset",
      "state_dict",
    ],
    config: [
      { name: "dim", type: "int", required: true, default: null, at_least: 1 },
      { name: "num_heads", type: "int", required: false, default: 8, at_least: 1, at_most: 64 },
      { name: "euclidean_dim", type: "int | None", required: false, default: null, at_least: 1 },
      { name: "hyperbolic_dim", type: "int | None", required: false, default: null, at_least: 1 },
      { name: "curvature", type: "float", required: false, default: -1.0 },
      { name: "fusion_weight", type: "float", required: false, default: 0.5, at_least: 0, at_most: 1 },
      { name: "adaptive_curvature", type: "bool", required: false, default: false },
      { name: "seed", type: "int", required: false, default: 0, at_least: 0 },
      { name: "max_sequence_length", type: "int", required: false, default: 100000, at_least: 1 },
      { name: "temperature", type: "float", required: false, default: 1.0, above: 0 },
      { name: "causal", type: "bool", required: false, default: false },
      { name: "top_k", type: "int | None", required: false, default: null, at_least: 1 },
      { name: "dropout", type: "float", required: false, default: 0.0, at_least: 0, below: 1 },
    ],
    inputs: [
      { name: "query", axes: ["...", "n_query", "dim"], optional: false },
      { name: "keys", axes: ["...", "n_key", "kdim"], optional: false },
      { name: "values", axes: ["...", "n_key", "vdim"], optional: false },
    ],
  },
];
