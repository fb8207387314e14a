"""Masks of every kind, and which pairs of query and key they and the other options of a call leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import ruvector_attention as ra

from .draw import Array, Draw


def mask_of(draw: Draw, shape: tuple[int, ...]) -> Any:
    """A mask for scores (*lead, n_query, n_key)."""
    n_query, n_key = shape[-2:]
    kind = draw.random.random()
    if kind < 0.3:
        return draw.booleans(*draw.one_of((shape, shape[-2:], (1, n_key), (n_query, 1), (n_key,))))
    if kind < 0.55:
        added = draw.numbers(*draw.one_of((shape, shape[-2:], (n_key,))))
        added[draw.booleans(*added.shape)] = -np.inf
        return added.astype(np.float64) if draw.chance(0.2) else added
    mask = object_of(draw, n_query, n_key)
    if draw.chance(0.3):
        other = object_of(draw, n_query, n_key)
        mask = mask & other if draw.chance(0.5) else mask | other
    return mask


def object_of(draw: Draw, n_query: int, n_key: int) -> ra.AttentionMask:
    return draw.one_of(OBJECTS)(draw, n_query, n_key)


def _pairs(draw: Draw, n_query: int, n_key: int) -> Array:
    count = draw.between(0, 2 * n_query)
    return np.stack([draw.integers(0, n_query - 1, count), draw.integers(0, n_key - 1, count)], axis=1)


def _csr(draw: Draw, n_query: int, n_key: int) -> ra.AttentionMask:
    counts = draw.integers(0, 3, n_query)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return ra.CSRMask(indptr, draw.integers(0, n_key - 1, int(indptr[-1])))


def _blocks(draw: Draw, n_query: int, n_key: int) -> ra.AttentionMask:
    size = draw.one_of((1, 2, 3, 8, 16, 64))
    ends = [max(1, -(-n // size)) for n in (n_query, n_key)]
    return ra.BlockSparseMask(size, _pairs(draw, *ends))


OBJECTS: tuple[Callable[[Draw, int, int], ra.AttentionMask], ...] = (
    lambda draw, n_query, n_key: ra.CausalMask(),
    lambda draw, n_query, n_key: ra.DenseMask(draw.booleans(n_query, n_key)),
    lambda draw, n_query, n_key: ra.WindowMask(draw.between(0, n_key), draw.between(0, 3), draw.chance(0.5)),
    lambda draw, n_query, n_key: ra.StridedMask(draw.between(0, 9), draw.between(1, 9)),
    lambda draw, n_query, n_key: ra.COOMask(_pairs(draw, n_query, n_key)),
    _csr,
    _blocks,
)


def allowed(options: Mapping[str, Any], shape: tuple[int, ...], causal: bool) -> Array:
    """Which pairs (*lead, n_query, n_key) the options leave; written from their definitions, pair by pair."""
    n_query, n_key = shape[-2:]
    seen = np.ones(shape, bool)
    mask = options.get("mask")
    if isinstance(mask, ra.AttentionMask):
        seen &= mask.to_dense(n_query, n_key)
    elif mask is not None:
        array = np.asarray(mask)
        with np.errstate(over="ignore"):
            seen &= array if array.dtype == np.bool_ else array.astype(np.float32) > -np.inf
    if causal:
        seen &= np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query
    lengths = options.get("key_lengths")
    if lengths is not None:
        seen &= np.arange(n_key) < np.broadcast_to(lengths, shape[:-2])[..., None, None]
    return seen
