"""Scaled dot-product attention in float64, written from its definition and from nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TOLERANCE = 2e-6  # of 1 + the largest output
LARGE_SCORE = 32  # from here on a float32 score is itself rounded by 2e-6 and more: the tolerance grows with it


def attention(
    query: Array,
    keys: Array,
    values: Array,
    *,
    scale: float | None = None,
    temperature: float = 1.0,
    normalize: bool = False,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
) -> tuple[Array, Array]:
    """(output, weights) of arrays (..., n, d) that broadcast."""
    query, keys, values = (np.asarray(array, np.float64) for array in (query, keys, values))
    if normalize:
        query, keys = (array / np.linalg.norm(array, axis=-1, keepdims=True) for array in (query, keys))
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = factor / temperature * query @ keys.swapaxes(-1, -2)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask
    n_query, n_key = scores.shape[-2:]
    if causal:
        reach = np.arange(n_query)[:, None] + n_key - n_query
        scores = np.where(np.arange(n_key) <= reach, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    weights = exponentials / np.where(total == 0, 1, total)
    return weights @ values, weights


def assert_close(actual: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * (1 + np.abs(expected).max())
