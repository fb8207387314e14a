"""Hyperbolic attention of a few queries, and points row by row, as wasm_kernels/kernels/ball.c and points.c."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body

BALL_EPS = 1e-6  # of the radius


@body
def ball_attention(
    query: Array, keys: Array, values: Array, out: Array,
    n_query: int, n_key: int, dim: int, dim_value: int, scale: float, curvature: float,
) -> int:  # fmt: skip
    """out = A / (B + sqrt(B^2 - c |A|^2)): A = sum w lambda v, B = sum w (lambda - 1), w = softmax(-scale distance)."""
    if not curvature > 0 or n_key == 0:
        return BAD_ARGUMENT
    sizes = ((query, n_query, dim), (keys, n_key, dim), (values, n_key, dim_value))
    q, k, v = (x.reshape(-1)[: rows * width].reshape(rows, width).astype(np.float64) for x, rows, width in sizes)
    gaps = [1.0 - curvature * (x * x).sum(axis=-1) for x in (q, k, v)]
    if not all((gap >= BALL_EPS * (2 - BALL_EPS)).all() for gap in gaps):
        return NON_FINITE
    for row in range(n_query):
        apart = ((q[row] - k) ** 2).sum(axis=-1)
        t = 2.0 * curvature * apart / (gaps[0][row] * gaps[1])
        scores = -scale * np.log1p(t + np.sqrt(t * (t + 2.0))) / np.sqrt(curvature)
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        factors = 2.0 / gaps[2]
        a, b = (weights * factors) @ v, (weights * (factors - 1.0)).sum()
        left = b * b - curvature * (a @ a)
        if not left >= 2.5e-3 * b * b:
            return NON_FINITE
        out.reshape(-1)[row * dim_value : (row + 1) * dim_value] = a / (b + max(np.sqrt(left), 1.0))
    return OK


def _inside(x: Array, c: float, eps: float) -> Array:
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True) * c)
    return np.where(length > 1 - eps, x * ((1 - eps) / np.maximum(length, 1 - eps)), x)


def _radial(x: Array, c: float, function: Any) -> Array:
    r = np.sqrt(c * (x * x).sum(axis=-1, keepdims=True))
    return np.asarray(np.where(r < 1e-8, 1.0, function(r) / np.maximum(r, 1e-8)) * x)


def _midpoint(sums: Array, c: float) -> tuple[Array, Array]:
    spatial, time = sums[:, :-1], sums[:, -1:]
    left = time * time - c * (spatial * spatial).sum(axis=-1, keepdims=True)
    return spatial / (time + np.sqrt(np.maximum(left, 1.0))), (left < 2.5e-3 * time * time) & (time > 1e-3)


def _extended(x: Array, c: float) -> Array:
    factor = 2.0 / (1.0 - c * (x * x).sum(axis=-1, keepdims=True))
    return np.concatenate([factor * x, factor - 1.0], axis=-1)


def _distance(x: Array, y: Array, c: float) -> Array:
    gaps = [1.0 - c * (point * point).sum(axis=-1) for point in (x, y)]
    return np.asarray(2.0 * np.arcsinh(np.sqrt(c * ((x - y) ** 2).sum(axis=-1) / (gaps[0] * gaps[1]))) / np.sqrt(c))


def _sum(x: Array, y: Array, c: float) -> Array:
    xx, yy, xy = ((a * b).sum(axis=-1, keepdims=True) for a, b in ((x, x), (y, y), (x, y)))
    return np.asarray(((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy))


@body
def ball_rows(
    x: Array, y: Array | None, out: Array, rows: int, dim: int, operation: int, curvature: float, eps: float
) -> int:
    """Row by row: inside, lambda x, (lambda x, lambda - 1), log_0, exp_0, midpoints of sums, distance, x (+) y."""
    c = curvature
    if not c > 0 or operation > 7 or (operation > 5 and y is None):
        return BAD_ARGUMENT
    row = dim + (operation == 5)
    p = x.reshape(-1)[: rows * row].reshape(rows, row).astype(np.float64)
    q = p if y is None else y.reshape(-1)[: rows * dim].reshape(rows, dim).astype(np.float64)
    status = OK
    if operation == 5:
        found, lost = _midpoint(p, c)
        found, status = _inside(found, c, eps), NON_FINITE if lost.any() else OK
    else:
        bodies: list[Callable[[], Array]] = [
            lambda: _inside(p, c, eps), lambda: _extended(p, c)[:, :-1], lambda: _extended(p, c),
            lambda: _radial(p, c, np.arctanh), lambda: _inside(_radial(p, c, np.tanh), c, eps), lambda: p,
            lambda: _distance(p, q, c), lambda: _inside(_sum(p, q, c), c, eps),
        ]  # fmt: skip
        found = bodies[operation]()
    out.reshape(-1)[: found.size] = found.reshape(-1)
    return status


@body
def ball_midpoints(
    weights: Array, values: Array, out: Array, n_query: int, n_key: int, dim: int, curvature: float, eps: float
) -> int:
    """Midpoints by these weights; keys of weight 0 may hold anything."""
    if not curvature > 0:
        return BAD_ARGUMENT
    w = weights.reshape(-1)[: n_query * n_key].reshape(n_query, n_key).astype(np.float64)
    v = values.reshape(-1)[: n_key * dim].reshape(n_key, dim).astype(np.float64)
    for row in range(n_query):
        seen = w[row] != 0
        sums = (w[row, seen, None] * _extended(v[seen], curvature)).sum(axis=0, keepdims=True)
        out.reshape(-1)[row * dim : (row + 1) * dim] = _inside(_midpoint(sums, curvature)[0], curvature, eps)[0]
    return OK
