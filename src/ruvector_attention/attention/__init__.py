"""The mechanisms, one file each; importing this registers them all."""

from .auto import AutoAttention
from .cross import CrossAttention
from .cross_space import CrossSpaceAttention
from .dual_space import DualSpaceAttention
from .dynamic_head import DynamicHeadAttention
from .edge_featured import EdgeFeaturedAttention
from .flash import FlashAttention
from .gin import GINAttention
from .graph import GraphAttention
from .graph_rope import GraphRoPEAttention
from .hierarchical import HierarchicalAttention
from .hnsw_aware import HNSWAwareAttention
from .hyperbolic import HyperbolicAttention
from .learned_routing import LearnedRoutingAttention
from .linear import LinearAttention
from .local_global import LocalGlobalAttention
from .manifold import ManifoldAttention
from .mixed_curvature import MixedCurvatureAttention
from .moe import MoEAttention
from .multi_head import MultiHeadAttention
from .sage import SAGEAttention
from .scaled_dot_product import ScaledDotProductAttention
from .self_attention import SelfAttention
from .structural import StructuralAttention
from .temporal import TemporalAttention

__all__ = [
    "AutoAttention",
    "CrossAttention",
    "CrossSpaceAttention",
    "DualSpaceAttention",
    "DynamicHeadAttention",
    "EdgeFeaturedAttention",
    "FlashAttention",
    "GINAttention",
    "GraphAttention",
    "GraphRoPEAttention",
    "HNSWAwareAttention",
    "HierarchicalAttention",
    "HyperbolicAttention",
    "LearnedRoutingAttention",
    "LinearAttention",
    "LocalGlobalAttention",
    "ManifoldAttention",
    "MixedCurvatureAttention",
    "MoEAttention",
    "MultiHeadAttention",
    "SAGEAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
    "StructuralAttention",
    "TemporalAttention",
]
