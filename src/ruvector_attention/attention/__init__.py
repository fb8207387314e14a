"""The mechanisms, one file each; importing this registers them all."""

from .cross import CrossAttention
from .dual_space import DualSpaceAttention
from .flash import FlashAttention
from .hyperbolic import HyperbolicAttention
from .manifold import ManifoldAttention
from .mixed_curvature import MixedCurvatureAttention
from .multi_head import MultiHeadAttention
from .scaled_dot_product import ScaledDotProductAttention
from .self_attention import SelfAttention

__all__ = [
    "CrossAttention",
    "DualSpaceAttention",
    "FlashAttention",
    "HyperbolicAttention",
    "ManifoldAttention",
    "MixedCurvatureAttention",
    "MultiHeadAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
]
