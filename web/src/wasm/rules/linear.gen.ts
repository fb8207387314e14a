// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] = [
  {
    name: "linear",
    class: "LinearAttention",
    methods: [
      "attention_weights",
      "backward",
      "forward",
      "forward_batch",
      "get_config",
      "load_state_dict",
      "num_parameters",
      "parameters",
      "reset",
      "state_dict",
      "stream",
    ],
    config: [
      { name: "dim", type: "int", required: true, default: null, at_least: 1 },
      { name: "num_features", type: "int", required: false, default: 256, at_least: 1 },
      { name: "kernel", type: "str", required: false, default: "favor", choices: ["favor", "elu", "relu"] },
      { name: "scale", type: "float | None", required: false, default: null, above: 0 },
      { name: "temperature", type: "float", required: false, default: 1.0, above: 0 },
      { name: "normalize", type: "bool", required: false, default: false },
      { name: "causal", type: "bool", required: false, default: false },
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
