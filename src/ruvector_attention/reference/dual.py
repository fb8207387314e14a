"""Rows of a Euclidean and a hyperbolic space, as wasm_kernels/kernels/dual.c."""

from __future__ import annotations

import numpy as np

from ._table import BAD_ARGUMENT, OK, Array, body


def _into_ball(curved: Array, c: float, eps: float) -> tuple[Array, Array]:
    """exp_0 of rows (..., dim), inside by eps, and 1 / (1 - c |x|^2) of where they come to lie, (..., 1)."""
    r = np.sqrt(c * (curved * curved).sum(axis=-1, keepdims=True))
    length = np.minimum(np.tanh(r), 1 - eps)
    factor = np.where(r < 1e-8, 1.0, length / np.maximum(r, 1e-8))
    return factor * curved, np.cosh(np.minimum(r, np.arctanh(1 - eps))) ** 2


@body
def dual_points(
    flat: Array, curved: Array, points: Array, aux: Array,
    rows: int, heads: int, flat_dim: int, curved_dim: int, curvature: float, eps: float,
) -> int:  # fmt: skip
    """Head by head the flat channels and exp_0 of the curved ones; aux is 0 and 1 / (1 - c |x|^2)."""
    if not curvature > 0:
        return BAD_ARGUMENT
    n = rows * heads
    rows_of_curved = curved.reshape(-1)[: n * curved_dim].reshape(n, curved_dim).astype(np.float64)
    own = flat.reshape(-1)[: n * flat_dim].reshape(n, flat_dim)
    inside, factors = _into_ball(rows_of_curved, curvature, eps)
    points.reshape(-1)[: n * (flat_dim + curved_dim)] = np.concatenate([own, inside], axis=1).reshape(-1)
    aux.reshape(-1)[: 2 * n] = np.concatenate([np.zeros_like(factors), factors], axis=1).reshape(-1)
    return OK


@body
def dual_scores(
    query_flat: Array, query_curved: Array, keys_flat: Array, keys_curved: Array, dots: Array, distances: Array,
    n_query: int, n_key: int, heads: int, flat_dim: int, curved_dim: int,
    curvature: float, eps: float, flat_weight: float, curved_weight: float,
) -> int:  # fmt: skip
    """flat_weight <q, k> and -curved_weight d of all pairs, (heads, n_query, n_key)."""
    if not curvature > 0:
        return BAD_ARGUMENT

    def by_head(x: Array, n: int, dim: int) -> Array:
        rows: Array = x.reshape(-1)[: n * heads * dim].reshape(n, heads, dim).swapaxes(0, 1).astype(np.float64)
        return rows

    q, k = by_head(query_flat, n_query, flat_dim), by_head(keys_flat, n_key, flat_dim)
    (x, x_factors), (y, y_factors) = (
        _into_ball(by_head(rows, n, curved_dim), curvature, eps)
        for rows, n in ((query_curved, n_query), (keys_curved, n_key))
    )
    square = ((x[:, :, None] - y[:, None]) ** 2).sum(axis=-1)
    sine = np.sqrt(curvature * square * x_factors * y_factors.swapaxes(-1, -2))
    size = heads * n_query * n_key
    dots.reshape(-1)[:size] = (flat_weight * (q @ k.swapaxes(-1, -2))).reshape(-1)
    distances.reshape(-1)[:size] = (-curved_weight * 2 / np.sqrt(curvature) * np.arcsinh(sine)).reshape(-1)
    return OK
