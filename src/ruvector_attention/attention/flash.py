"""Flash attention (Dao et al., 2022, arXiv:2205.14135; online softmax, Milakov & Gimelshein, arXiv:1805.02867)."""

from __future__ import annotations

from dataclasses import dataclass

from ..registry import register
from .scaled_dot_product import ScaledDotProductAttention, ScaledDotProductConfig


@dataclass(frozen=True)
class FlashConfig(ScaledDotProductConfig):
    pass


@register
class FlashAttention(ScaledDotProductAttention):
    """out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j, tile by tile

    >>> attention = FlashAttention(dim=2)
    >>> attention([[1, 0]], [[1, 0]], [[3, 4]])
    array([[3., 4.]], dtype=float32)
    """

    name = "flash"
    Config = FlashConfig
    paper = "Dao et al., 2022, arXiv:2205.14135"
