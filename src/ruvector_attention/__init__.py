"""Attention mechanisms for embeddings, graphs and vector search: C kernels under Python.

>>> import ruvector_attention as ra
>>> attention = ra.ScaledDotProductAttention(dim=2)
>>> attention([[1, 0]], [[1, 0], [1, 0]], [[1, 2], [3, 4]])
array([[2., 3.]], dtype=float32)
"""

from typing import Any

from . import datasets, geometry
from .attention import (
    AutoAttention,
    CrossAttention,
    CrossSpaceAttention,
    DualSpaceAttention,
    DynamicHeadAttention,
    EdgeFeaturedAttention,
    FlashAttention,
    GINAttention,
    GraphAttention,
    GraphRoPEAttention,
    HierarchicalAttention,
    HNSWAwareAttention,
    HyperbolicAttention,
    LearnedRoutingAttention,
    LinearAttention,
    LocalGlobalAttention,
    ManifoldAttention,
    MixedCurvatureAttention,
    MoEAttention,
    MultiHeadAttention,
    SAGEAttention,
    ScaledDotProductAttention,
    SelfAttention,
    StructuralAttention,
    TemporalAttention,
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
from .graph import Graph
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
    "CrossSpaceAttention",
    "DenseMask",
    "DimensionMismatchError",
    "DualSpaceAttention",
    "DynamicHeadAttention",
    "EdgeFeaturedAttention",
    "EmptyInputError",
    "FlashAttention",
    "GINAttention",
    "Graph",
    "GraphAttention",
    "GraphRoPEAttention",
    "HNSWAwareAttention",
    "HierarchicalAttention",
    "HyperbolicAttention",
    "InputTooLargeError",
    "IntersectionMask",
    "InvalidConfigError",
    "LearnedRoutingAttention",
    "LinearAttention",
    "LocalGlobalAttention",
    "ManifoldAttention",
    "Memory",
    "MixedCurvatureAttention",
    "MoEAttention",
    "MultiHeadAttention",
    "NumericalInstabilityError",
    "OutOfBoundsError",
    "RLNavigator",
    "SAGEAttention",
    "ScaledDotProductAttention",
    "SelfAttention",
    "Setting",
    "StridedMask",
    "StructuralAttention",
    "TemporalAttention",
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
    "geometry",
    "mechanisms",
    "register",
    "set_threads",
    "stats",
    "training",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # on demand: reading package metadata would take longer than all other imports
        from .registry import version

        return version()
    if name == "training":  # on demand: most programs only compute
        from importlib import import_module

        return import_module(f"{__name__}.training")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
