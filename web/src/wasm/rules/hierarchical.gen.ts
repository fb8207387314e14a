// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] = [
  {
    name: "hierarchical",
    class: "HierarchicalAttention",
    methods: [
      "attention_weights",
      "backward",
      "compute",
      "forward",
      "forward_batch",
      "get_config",
      "load_state_dict",
      "num_parameters",
      "parameters",
      "reset",
      "state_dict",
    ],
    config: [
      { name: "dim", type: "int", required: true, default: null, at_least: 1 },
      { name: "temperature", type: "float", required: false, default: 1.0, above: 0 },
      { name: "seed", type: "int", required: false, default: 0, at_least: 0 },
      { name: "max_sequence_length", type: "int", required: false, default: 100000, at_least: 1 },
    ],
    inputs: [
      { name: "items", axes: ["...", "n_item", "dim"], optional: false },
      { name: "levels", axes: ["n_item"], optional: false },
    ],
  },
];
