// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] = [
  {
    name: "moe",
    class: "MoEAttention",
    methods: [
      "add_expert",
      "attention_weights",
      "backward",
      "compute_with_aux_loss",
      "forward",
      "forward_batch",
      "get_config",
      "get_expert_usage",
      "get_routing",
      "load_state_dict",
      "num_parameters",
      "parameters",
      "reset",
      "reset_routing_stats",
      "state_dict",
    ],
    config: [
      { name: "dim", type: "int", required: true, default: null, at_least: 1 },
      { name: "experts", type: "str | None", required: false, default: null },
      { name: "num_experts", type: "int | None", required: false, default: null, at_least: 1 },
      { name: "temperature", type: "float", required: false, default: 1.0, above: 0 },
      { name: "causal", type: "bool", required: false, default: false },
      { name: "top_k", type: "int", required: false, default: 2, at_least: 1 },
      { name: "capacity_factor", type: "float | None", required: false, default: null, above: 0 },
      { name: "aux_loss_weight", type: "float", required: false, default: 0.01, at_least: 0 },
      { name: "z_loss_weight", type: "float", required: false, default: 0.001, at_least: 0 },
      { name: "seed", type: "int", required: false, default: 0, at_least: 0 },
      { name: "max_sequence_length", type: "int", required: false, default: 100000, at_least: 1 },
    ],
    inputs: [
      { name: "query", axes: ["...", "n_query", "dim"], optional: false },
      { name: "keys", axes: ["...", "n_key", "dim"], optional: false },
      { name: "values", axes: ["...", "n_key", "dim_value"], optional: false },
    ],
  },
];

/** Mechanisms that the kernels alone do not compute. */
export const ELSEWHERE: readonly string[] = [
  "auto",
  "cross_space",
  "dynamic_head",
  "gin",
  "hnsw_aware",
  "learned_routing",
  "manifold",
  "mixed_curvature",
  "sage",
  "structural",
];
