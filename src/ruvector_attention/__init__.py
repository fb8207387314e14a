"""Attention mechanisms for embeddings, graphs and vector search: C kernels under Python.

>>> import ruvector_attention as ra
>>> attention = ra.ScaledDotProductAttention(dim=2)
>>> attention([[1, 0]], [[1, 0], [1, 0]], [[1, 2], [3, 4]])
array([[2., 3.]], dtype=float32)
"""

from typing import Any

from . import datasets
from .attention import (
    AutoAttention,
    CrossAttention,
    DynamicHeadAttention,
    FlashAttention,
    LearnedRoutingAttention,
    LinearAttention,
    LocalGlobalAttention,
    MoEAttention,
    MultiHeadAttention,
    ScaledDotProductAttention,
    SelfAttention,
)
from .base import Attention
from .builder import AttentionBuilder
from .config import MAX_SEQUENCE_LENGTH, AttentionConfig, Setting
from .errors import (
    AttentionError,
    DimensionMismatchError,
    EmptyInputError,
    InputTooLargeError,
    InvalidConfigError,
    NumericalInstabilityError,
    OutOfBoundsError,
    UnsupportedError,
)
from .kernels import backend, backends, use_backend
from .masks import (
    AttentionMask,
    BlockSparseMask,
    CausalMask,
    COOMask,
    CSRMask,
    DenseMask,
    IntersectionMask,
    StridedMask,
    UnionMask,
    WindowMask,
)
from .memory import Memory
from .navigator import RLNavigator
from .pool import TensorPool, stats
from .registry import create, describe, mechanisms, register
from .specs import KEYS, OUTPUT, QUERY, VALUES, TensorSpec
from .threads import set_threads

__all__ = [
    "KEYS",
    "MAX_SEQUENCE_LENGTH",
    "OUTPUT",
    "QUERY",
    "VALUES",
    "Attention",
    "AttentionBuilder",
    "AttentionConfig",
    "AttentionError",
    "AttentionMask",
    "AutoAttention",
    "BlockSparseMask",
    "COOMask",
    "CSRMask",
    "CausalMask",
    "CrossAttention",
    "DenseMask",
    "DimensionMismatchError",
    "DynamicHeadAttention",
    "EmptyInputError",
    "FlashAttention",
    "InputTooLargeError",
    "IntersectionMask",
    "InvalidConfigError",
    "LearnedRoutingAttention",
    "LinearAttention",
    "LocalGlobalAttention",
    "Memory",
    "MoEAttention",
    "MultiHeadAttention",
    "NumericalInstabilityError",
    "OutOfBoundsError",
    "RLNavigator",
    "ScaledDotProductAttention",
    "SelfAttention",
    "Setting",
    "StridedMask",
    "TensorPool",
    "TensorSpec",
    "UnionMask",
    "UnsupportedError",
    "WindowMask",
    "backend",
    "backends",
    "create",
    "datasets",
    "describe",
    "mechanisms",
    "register",
    "set_threads",
    "stats",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # on demand: reading package metadata would take longer than all other imports
        from .registry import version

        return version()
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
