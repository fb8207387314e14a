"""Flash attention (Dao et al., 2022, arXiv:2205.14135; online softmax, Milakov & Gimelshein, arXiv:1805.02867)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..config import Setting
from ..registry import register
from .scaled_dot_product import ScaledDotProductAttention, ScaledDotProductConfig


@dataclass(frozen=True)
class FlashConfig(ScaledDotProductConfig):
    block_size: Annotated[
        int | None,
        Setting("rows of a tile in packages that leave this to the caller; the engine sizes its own", at_least=1),
    ] = None


@register
class FlashAttention(ScaledDotProductAttention):
    """out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j, tile by tile

    Exactly scaled dot-product attention, and the same engine: each query row keeps a running maximum, a running sum
    and its output while keys stream past, so extra memory is O(tile * dim) and no n_query x n_key array exists.
    ``block_size`` is accepted so that programs written for other packages run; any value gives the same bits.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: none
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = FlashAttention(dim=2)
    >>> attention([[1, 0]], [[1, 0]], [[3, 4]])
    array([[3., 4.]], dtype=float32)
    """

    name = "flash"
    Config = FlashConfig
    complexity = "O(n_query * n_key * dim) time, O(tile * dim) extra memory"
    paper = "Dao et al., 2022, arXiv:2205.14135"
