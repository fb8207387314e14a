"""The hyperboloid of curvature -c: rows (time, space) with -time^2 + |space|^2 = -1/c, time > 0 (Nickel & Kiela, 2018).

Points far out, whose images in the ball fall on its boundary in float32, are told apart here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import ArrayLike
from ._points import TINY, Array, dot, negative, overflow_is_told, points, ratio, weights_of

MOST_STEPS = 500


@overflow_is_told
def project_to_hyperboloid(x: ArrayLike, curvature: float = -1.0) -> Any:
    """The point with the spatial coordinates of x (..., 1 + dim)."""
    c = negative(curvature)
    given = points(x=x)
    return given.answer(_on(given.arrays[0], c))


@overflow_is_told
def project_to_tangent(x: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """The part of v that is tangent at x."""
    c = negative(curvature)
    given = points(x=x, v=v)
    x, v = given.arrays
    x = _on(x, c)
    return given.answer(v + c * _minkowski(x, v) * x)


@overflow_is_told
def inner_product(x: ArrayLike, u: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """Of two tangent vectors at x: -u_0 v_0 + <u, v>, (...)."""
    negative(curvature)
    given = points(x=x, u=u, v=v)
    return given.answer(_minkowski(*given.arrays[1:])[..., 0])


@overflow_is_told
def distance(x: ArrayLike, y: ArrayLike, curvature: float = -1.0) -> Any:
    """(1/sqrt(c)) arcosh(-c <x, y>), (...).

    >>> distance([1.0, 0.0], [2.0, 3.0 ** 0.5])
    np.float32(1.316958)
    """
    c = negative(curvature)
    given = points(x=x, y=y)
    x, y = (_on(array, c) for array in given.arrays)
    return given.answer(_distance(x, y, c)[..., 0])


@overflow_is_told
def exp_map(x: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """The point that the geodesic from x with velocity v reaches at time 1."""
    c = negative(curvature)
    given = points(x=x, v=v)
    x, v = given.arrays
    x = _on(x, c)
    v = v + c * _minkowski(x, v) * x
    reach = np.sqrt(c * np.maximum(_minkowski(v, v), 0.0))
    return given.answer(_on(np.cosh(reach) * x + ratio(np.sinh(reach), reach) * v, c))


@overflow_is_told
def log_map(x: ArrayLike, y: ArrayLike, curvature: float = -1.0) -> Any:
    """The velocity with which exp_map goes from x to y."""
    c = negative(curvature)
    given = points(x=x, y=y)
    x, y = (_on(array, c) for array in given.arrays)
    d = _distance(x, y, c)
    root = np.sqrt(c) * d
    gap = y - x  # y - cosh(d) x, from the difference: nothing cancels where the two are close
    return given.answer(ratio(root, np.sinh(root)) * (gap - 0.5 * c * _minkowski(gap, gap) * x))


@overflow_is_told
def transport(x: ArrayLike, y: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """The tangent vector v at x carried along the geodesic to y; its length stays."""
    c = negative(curvature)
    given = points(x=x, y=y, v=v)
    x, y = (_on(array, c) for array in given.arrays[:2])
    v = given.arrays[2]
    return given.answer(v + c * _minkowski(y, v) / (1 - c * _minkowski(x, y)) * (x + y))


@overflow_is_told
def centroid(x: ArrayLike, weights: ArrayLike | None = None, curvature: float = -1.0) -> Any:
    """The weighted sum of rows x (..., n, 1 + dim), brought back to the hyperboloid: the gyromidpoint."""
    c = negative(curvature)
    given = points(x=x)
    rows = _on(given.arrays[0], c)
    total = (weights_of(weights, rows) * rows).sum(axis=-2)
    return given.answer(_on(total / np.sqrt(np.maximum(-c * _minkowski(total, total), TINY)), c))


@overflow_is_told
def to_ball(x: ArrayLike, curvature: float = -1.0) -> Any:
    """The same points in the Poincaré ball, (..., dim)."""
    from .poincare import project_to_ball

    c = negative(curvature)
    given = points(x=x)
    p = _on(given.arrays[0], c)
    return given.answer(project_to_ball((p[..., 1:] / (1 + np.sqrt(c) * p[..., :1])).astype(given.dtype), curvature))


# --- in float64


def _minkowski(x: Array, y: Array) -> Array:
    product: Array = dot(x[..., 1:], y[..., 1:]) - x[..., :1] * y[..., :1]
    return product


def _on(x: Array, c: float) -> Array:
    space = x[..., 1:]
    return np.concatenate([np.sqrt(1.0 / c + dot(space, space)), space], axis=-1)


def _distance(x: Array, y: Array, c: float) -> Array:
    gap = y - x
    d: Array = 2.0 / np.sqrt(c) * np.arcsinh(0.5 * np.sqrt(c * np.maximum(_minkowski(gap, gap), 0.0)))
    return d


def angles(cosh: Array) -> tuple[Array, Array]:
    """d and d / sinh(d) of cosh(d), rounded below 1 or not."""
    above = np.maximum(cosh - 1.0, 0.0)
    sinh = np.sqrt(above * (above + 2.0))
    d = np.log1p(above + sinh)
    return d, ratio(d, sinh)


def mean_of(rows: Array, weights: Array, tolerance: float) -> Array:
    """The Fréchet means, on the unit hyperboloid, of rows (n, 1 + dim) with each of weights (m, n): (m, 1 + dim).

    Steps against the gradient, as long as 1 / sum w d coth(d), which bounds the second derivative from above; 1 bounds
    it from below, so the gradient's length bounds how far the mean still is.
    """
    signs = np.ones(rows.shape[1])
    signs[0] = -1.0
    total = weights @ rows
    mean = _on(total / np.sqrt(np.maximum(-_minkowski(total, total), TINY)), 1.0)
    moving = np.arange(len(mean))
    for _ in range(MOST_STEPS):
        at, shares = mean[moving], weights[moving]
        cosh = -(at * signs) @ rows.T
        d, slope = angles(cosh)
        pull = (shares * slope) @ rows
        pull = pull + _minkowski(at, pull) * at
        bound = (shares * np.maximum(slope * cosh, 1.0)).sum(axis=1, keepdims=True)
        step = pull / np.maximum(bound, TINY)
        reach = np.sqrt(np.maximum(_minkowski(step, step), 0.0))
        # no mean is further away than the rows: what says so is rounding, of coordinates far out
        shorter = np.minimum(1.0, d.max(axis=1, keepdims=True, initial=0.0) / np.maximum(reach, TINY))
        step, reach = step * shorter, reach * shorter
        mean[moving] = _on(np.cosh(reach) * at + ratio(np.sinh(reach), reach) * step, 1.0)
        moving = moving[(reach * bound)[:, 0] > tolerance]
        if not moving.size:
            break
    return mean
