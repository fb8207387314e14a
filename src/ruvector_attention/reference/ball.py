"""Hyperbolic attention of a few queries, as wasm_kernels/kernels/ball.c."""

from __future__ import annotations

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
