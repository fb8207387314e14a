// Written by build_scripts/make_types.py; do not edit. The mechanisms that the kernels alone compute.

export const VERSION = "0.1.0";

/** By the part that has their code: the mechanisms, and their classes. */
export const PARTS = {
  plain: {
    scaled_dot_product: "ScaledDotProductAttention",
    flash: "FlashAttention",
    local_global: "LocalGlobalAttention",
  },
  heads: {
    multi_head: "MultiHeadAttention",
    self_attention: "SelfAttention",
    cross_attention: "CrossAttention",
  },
  hyperbolic: { hyperbolic: "HyperbolicAttention" },
  linear: { linear: "LinearAttention" },
  edges: { edge_featured: "EdgeFeaturedAttention", graph: "GraphAttention" },
  moe: { moe: "MoEAttention" },
  positions: { graph_rope: "GraphRoPEAttention", temporal: "TemporalAttention" },
  dual_space: { dual_space: "DualSpaceAttention" },
  hierarchical: { hierarchical: "HierarchicalAttention" },
} as const;

/** The names of the classes' mechanisms. */
export interface NameOf {
  CrossAttention: "cross_attention";
  DualSpaceAttention: "dual_space";
  EdgeFeaturedAttention: "edge_featured";
  FlashAttention: "flash";
  GraphAttention: "graph";
  GraphRoPEAttention: "graph_rope";
  HierarchicalAttention: "hierarchical";
  HyperbolicAttention: "hyperbolic";
  LinearAttention: "linear";
  LocalGlobalAttention: "local_global";
  MoEAttention: "moe";
  MultiHeadAttention: "multi_head";
  ScaledDotProductAttention: "scaled_dot_product";
  SelfAttention: "self_attention";
  TemporalAttention: "temporal";
}
