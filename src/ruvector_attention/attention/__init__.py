"""The mechanisms, one file each; importing this registers them all."""

from .cross import CrossAttention
from .edge_featured import EdgeFeaturedAttention
from .flash import FlashAttention
from .gin import GINAttention
from .graph import GraphAttention
from .graph_rope import GraphRoPEAttention
from .hnsw_aware import HNSWAwareAttention
from .multi_head import MultiHeadAttention
from .sage import SAGEAttention
from .scaled_dot_product import ScaledDotProductAttention
from .self_attention import SelfAttention
from .temporal import TemporalAttention

__all__ = [
    "CrossAttention",
    "EdgeFeaturedAttention",
    "FlashAttention",
    "GINAttention",
    "GraphAttention",
    "GraphRoPEAttention",
    "HNSWAwareAttention",
    "MultiHeadAttention",
    "SAGEAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
    "TemporalAttention",
]
