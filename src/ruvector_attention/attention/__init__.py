"""The mechanisms, one file each; importing this registers them all."""

from .auto import AutoAttention
from .cross import CrossAttention
from .dynamic_head import DynamicHeadAttention
from .flash import FlashAttention
from .learned_routing import LearnedRoutingAttention
from .linear import LinearAttention
from .local_global import LocalGlobalAttention
from .moe import MoEAttention
from .multi_head import MultiHeadAttention
from .scaled_dot_product import ScaledDotProductAttention
from .self_attention import SelfAttention

__all__ = [
    "AutoAttention",
    "CrossAttention",
    "DynamicHeadAttention",
    "FlashAttention",
    "LearnedRoutingAttention",
    "LinearAttention",
    "LocalGlobalAttention",
    "MoEAttention",
    "MultiHeadAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
]
