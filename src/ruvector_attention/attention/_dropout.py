"""Inverted dropout on attention weights (Srivastava et al., 2014), and the way back through it.

Dropout needs the weights themselves, (..., heads, n_query, n_key), so this path holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import engine
from ..arrays import Float32Array, require_finite
from ..gradients import summed_to

ZERO = np.float32(0)


def attend_with_dropout(
    query: Float32Array,
    keys: Float32Array,
    values: Float32Array,
    scale: float,
    rate: float,
    random: np.random.Generator,
    score_options: dict[str, Any],
) -> tuple[Float32Array, Callable[[Float32Array], engine.Gradients]]:
    """(dropped weights) v: a weight is dropped with probability ``rate``, what stays is scaled by 1 / (1 - rate)."""
    if score_options["check_finite"]:
        require_finite("values", values)  # the engine sees the weights alone
    heads = score_options.get("num_heads", 1)
    kv_heads = score_options.get("num_kv_heads", 1)
    options = dict(score_options)
    normalize = options.pop("normalize", False)
    dim = query.shape[-1] // heads
    read_query = engine.normalize_rows(query, dim) if normalize else query
    read_keys = engine.normalize_rows(keys, dim) if normalize else keys
    weights = engine.weights(read_query, read_keys, scale=scale, **options)
    if heads == 1:
        weights = weights[..., None, :, :]
    kept = np.where(random.random(weights.shape, dtype=np.float32) < 1.0 - rate, np.float32(1.0 / (1.0 - rate)), ZERO)
    output = _joined((weights * kept) @ _split(values, kv_heads, heads))

    def backward(grad: Float32Array) -> engine.Gradients:
        q, k, v = _split(read_query, heads, heads), _split(read_keys, kv_heads, heads), _split(values, kv_heads, heads)
        g, factor = _split(grad, heads, heads), np.float32(scale)
        of_weights = (g @ v.swapaxes(-1, -2)) * kept
        of_scores = weights * (of_weights - (of_weights * weights).sum(axis=-1, keepdims=True))
        of_query = summed_to(_joined(factor * (of_scores @ k)), query.shape)
        of_keys = summed_to(_joined(_grouped(factor * (of_scores.swapaxes(-1, -2) @ q), kv_heads)), keys.shape)
        of_values = summed_to(_joined(_grouped((weights * kept).swapaxes(-1, -2) @ g, kv_heads)), values.shape)
        if normalize:
            of_query = engine.normalize_rows_backward(query, of_query, dim)
            of_keys = engine.normalize_rows_backward(keys, of_keys, dim)
        has_addend = "bias" in options or _is_float(options.get("mask"))
        of_bias = (of_scores[..., 0, :, :] if heads == 1 else of_scores) if has_addend else None
        return engine.Gradients(of_query, of_keys, of_values, of_bias)

    return output, backward


def _is_float(mask: Any) -> bool:
    return mask is not None and mask.dtype.kind == "f"


def _split(array: Float32Array, groups: int, heads: int) -> Float32Array:
    """(..., n, groups * channels) -> (..., heads, n, channels), a group for each of its heads."""
    grouped = array.reshape(*array.shape[:-1], groups, -1).swapaxes(-3, -2)
    return np.repeat(grouped, heads // groups, axis=-3)


def _joined(array: Float32Array) -> Float32Array:
    """(..., heads, n, channels) -> (..., n, heads * channels)."""
    swapped = array.swapaxes(-3, -2)
    return np.ascontiguousarray(swapped).reshape(*swapped.shape[:-2], -1)


def _grouped(array: Float32Array, groups: int) -> Float32Array:
    """(..., heads, n, channels) summed to (..., groups, n, channels)."""
    *lead, heads, n, channels = array.shape
    summed: Float32Array = array.reshape(*lead, groups, heads // groups, n, channels).sum(axis=-3)
    return summed
