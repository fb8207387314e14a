"""The sphere of curvature c: rows of length 1 / sqrt(c)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import ArrayLike
from ._points import TINY, Array, dot, length, number, overflow_is_told, points, positive, ratio, weights_of

MOST_STEPS = 500


@overflow_is_told
def project_to_sphere(x: ArrayLike, curvature: float = 1.0) -> Any:
    """x scaled to length 1 / sqrt(c); a row of zeros, which has no direction, becomes the first pole."""
    c = positive(curvature)
    given = points(x=x)
    return given.answer(_on(given.arrays[0], c))


@overflow_is_told
def project_to_tangent(x: ArrayLike, v: ArrayLike, curvature: float = 1.0) -> Any:
    """The part of v that is tangent at x."""
    c = positive(curvature)
    given = points(x=x, v=v)
    x, v = given.arrays
    return given.answer(_tangent(_on(x, c), v, c))


@overflow_is_told
def inner_product(x: ArrayLike, u: ArrayLike, v: ArrayLike, curvature: float = 1.0) -> Any:
    """Of two tangent vectors at x, (...)."""
    positive(curvature)
    given = points(x=x, u=u, v=v)
    return given.answer(dot(*given.arrays[1:])[..., 0])


@overflow_is_told
def distance(x: ArrayLike, y: ArrayLike, curvature: float = 1.0) -> Any:
    """The angle between x and y, divided by sqrt(c), (...).

    >>> distance([1.0, 0.0], [0.0, 1.0])
    np.float32(1.5707964)
    """
    c = positive(curvature)
    given = points(x=x, y=y)
    x, y = (_on(array, c) for array in given.arrays)
    return given.answer(_distance(x, y, c)[..., 0])


@overflow_is_told
def exp_map(x: ArrayLike, v: ArrayLike, curvature: float = 1.0) -> Any:
    """The point that the great circle from x with velocity v reaches at time 1."""
    c = positive(curvature)
    given = points(x=x, v=v)
    x, v = given.arrays
    return given.answer(_exp(_on(x, c), v, c))


@overflow_is_told
def log_map(x: ArrayLike, y: ArrayLike, curvature: float = 1.0) -> Any:
    """The shortest velocity with which exp_map goes from x to y; of antipodes, between which there are many, 0."""
    c = positive(curvature)
    given = points(x=x, y=y)
    x, y = (_on(array, c) for array in given.arrays)
    return given.answer(_log(x, y, c))


@overflow_is_told
def transport(x: ArrayLike, y: ArrayLike, v: ArrayLike, curvature: float = 1.0) -> Any:
    """The tangent vector v at x carried along the great circle to y; its length stays."""
    c = positive(curvature)
    given = points(x=x, y=y, v=v)
    x, y = (_on(array, c) for array in given.arrays[:2])
    v, both = given.arrays[2], x + y
    # Mirrored on what halves the way: however small that is near the antipode, a mirror keeps lengths.
    return given.answer(v - 2.0 * dot(both, v) / np.maximum(dot(both, both), TINY) * both)


@overflow_is_told
def frechet_mean(
    x: ArrayLike, weights: ArrayLike | None = None, curvature: float = 1.0, tolerance: float = 1e-6
) -> Any:
    """The point with the least sum w d^2 to the rows of x (..., n, dim) with weights (..., n): (..., dim).

    Found from the projected sum downhill, so it is the best of a hemisphere's rows, and may be only locally best of
    rows that are spread wider.
    """
    c, tolerance = positive(curvature), number("tolerance", tolerance, above=0)
    given = points(x=x)
    rows = _on(given.arrays[0], c)
    w = weights_of(weights, rows)
    mean = _on((w * rows).sum(axis=-2), c)
    for _ in range(MOST_STEPS):
        step = (w * _log(mean[..., None, :], rows, c)).sum(axis=-2)
        mean = _exp(mean, step, c)
        if np.sqrt(c) * length(step).max() <= tolerance:
            break
    return given.answer(mean)


# --- in float64


def _on(x: Array, c: float) -> Array:
    norm = length(x)
    pole = np.zeros(x.shape[-1])
    pole[0] = 1.0
    rows: Array = np.where(norm > 0, x / np.maximum(norm, TINY), pole) / np.sqrt(c)
    return rows


def _tangent(x: Array, v: Array, c: float) -> Array:
    part: Array = v - c * dot(x, v) * x
    return part


def _distance(x: Array, y: Array, c: float) -> Array:
    d: Array = 2.0 * np.arctan2(length(x - y), length(x + y)) / np.sqrt(c)  # precise for close points and antipodes
    return d


def _exp(x: Array, v: Array, c: float) -> Array:
    v = _tangent(x, v, c)
    angle = np.sqrt(c) * length(v)
    return _on(np.cos(angle) * x + ratio(np.sin(angle), angle) * v, c)


def _log(x: Array, y: Array, c: float) -> Array:
    gap = y - x
    step = gap + 0.5 * c * dot(gap, gap) * x  # y - cos(d) x
    norm = length(step)
    far = norm < 1e-12 / np.sqrt(c)
    velocity: Array = np.where(far, 0.0, _distance(x, y, c) * step / np.where(far, 1.0, norm))
    return velocity
