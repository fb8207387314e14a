// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] = [
  {
    name: "hyperbolic",
    class: "HyperbolicAttention",
    methods: [
      "attention_weights",
      "backward",
      "compute_with_temperature",
      "forward",
      "forward_batch",
      "from_poincare",
      "get_config",
      "load_state_dict",
      "mobius_add",
      "num_parameters",
      "parameters",
      "poincare_distance",
      "project_to_ball",
      "reset",
      "state_dict",
      "to_poincare",
    ],
    config: [
      { name: "dim", type: "int", required: true, default: null, at_least: 1 },
      { name: "curvature", type: "float", required: false, default: -1.0 },
      { name: "model", type: "str", required: false, default: "poincare", choices: ["poincare", "lorentz"] },
      {
        name: "aggregation",
        type: "str",
        required: false,
        default: "gyromidpoint",
        choices: ["gyromidpoint", "frechet", "tangent"],
      },
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
      { name: "keys", axes: ["...", "n_key", "dim"], optional: false },
      { name: "values", axes: ["...", "n_key", "dim_value"], optional: false },
    ],
  },
];
