"""Masks as objects: which query may see which key, said by a rule or by a list instead of an n_query x n_key array."""

from .base import AttentionMask, Plan, Tile
from .combined import IntersectionMask, UnionMask
from .given import BlockSparseMask, COOMask, CSRMask, DenseMask
from .patterns import CausalMask, StridedMask, WindowMask

__all__ = [
    "AttentionMask",
    "BlockSparseMask",
    "COOMask",
    "CSRMask",
    "CausalMask",
    "DenseMask",
    "IntersectionMask",
    "Plan",
    "StridedMask",
    "Tile",
    "UnionMask",
    "WindowMask",
]
