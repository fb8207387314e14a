"""Hyperbolic geometry in float64, written from its definitions and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def in_ball(*shape: int, c: float = 1.3, reach: float = 0.9, seed: int = 0) -> Array:
    random = np.random.default_rng([seed, *shape])
    x = random.standard_normal(shape)
    radii = random.random((*shape[:-1], 1)) * reach / np.sqrt(c)
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True) * radii).astype(np.float32)


def factor(x: Array, c: float) -> Array:
    return np.asarray(2 / (1 - c * (x**2).sum(axis=-1, keepdims=True)))


def distances(q: Array, k: Array, c: float) -> Array:
    """arcosh(1 + z), for which the definition's own form is too coarse where z is small."""
    gaps = (1 - c * (q**2).sum(-1))[..., :, None] * (1 - c * (k**2).sum(-1))[..., None, :]
    z = 2 * c * ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1) / gaps
    return np.asarray(np.log1p(z + np.sqrt(z * (z + 2))) / np.sqrt(c))


def add(x: Array, y: Array, c: float) -> Array:
    xy, xx, yy = ((a * b).sum(axis=-1, keepdims=True) for a, b in ((x, y), (x, x), (y, y)))
    return np.asarray(((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy))


def log_map(x: Array, y: Array, c: float) -> Array:
    step = add(-x, y, c)
    norm = np.sqrt(c) * np.linalg.norm(step, axis=-1, keepdims=True)
    return np.asarray(2 / factor(x, c) * np.arctanh(norm) * step / np.maximum(norm, 1e-300))


def exp_map(x: Array, v: Array, c: float) -> Array:
    norm = np.sqrt(c) * np.linalg.norm(v, axis=-1, keepdims=True)
    return add(x, np.tanh(factor(x, c) * norm / 2) * v / np.maximum(norm, 1e-300), c)


def mean(weights: Array, values: Array, c: float, aggregation: str) -> Array:
    """Of rows of weights and values (n, d), as the definition has it."""
    zero = np.zeros(values.shape[-1])
    if aggregation == "tangent":
        return exp_map(zero, weights @ log_map(zero, values, c), c)
    lam = factor(values, c)
    whole = (weights @ (lam * values)) / np.maximum(weights @ (lam - 1), 1e-300)
    norm = np.sqrt(c) * np.linalg.norm(whole, axis=-1, keepdims=True)
    midpoint = np.tanh(np.arctanh(norm) / 2) * whole / np.maximum(norm, 1e-300)
    if aggregation == "frechet":
        for _ in range(200):
            logs = log_map(midpoint[:, None], values[None], c)
            d = np.sqrt(c) * factor(midpoint, c) * np.linalg.norm(logs, axis=-1) + 1e-9
            bound = (weights * d / np.tanh(d)).sum(axis=1, keepdims=True)
            step = (weights[..., None] * logs).sum(axis=1) / np.maximum(bound, 1e-300)
            midpoint = exp_map(midpoint, step, c)
            if np.abs(step).max() < 1e-13:
                break
    return midpoint


def softmax(scores: Array) -> Array:
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.asarray(exponentials / np.where(total == 0, 1, total))


def assert_close(found: Array, expected: Array, tolerance: float = 4e-6) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * (1 + np.abs(expected).max())


def numerical(loss: Callable[[], float], array: Array, step: float) -> Array:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        array[index] = kept + step
        above = loss()
        array[index] = kept - step
        gradient[index] = (above - loss()) / (2 * step)
        array[index] = kept
    return gradient
