"""The mechanisms, one file each; importing this registers them all."""

from .cross import CrossAttention
from .edge_featured import EdgeFeaturedAttention
from .flash import FlashAttention
from .multi_head import MultiHeadAttention
from .scaled_dot_product import ScaledDotProductAttention
from .self_attention import SelfAttention

__all__ = [
    "CrossAttention",
    "EdgeFeaturedAttention",
    "FlashAttention",
    "MultiHeadAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
]
