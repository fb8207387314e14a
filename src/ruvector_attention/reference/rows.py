"""Products and single rows, as wasm_kernels/kernels/gemm.c, rows.c and measure.c."""

from __future__ import annotations

import numpy as np

from . import geometry
from ._table import NON_FINITE, OK, Array, body, strided


@body
def gemm(
    a: Array, b: Array, bias: Array | None, out: Array,
    m: int, n: int, k: int, a_row: int, a_col: int, b_row: int, b_col: int, start: int, stop: int,
) -> int:  # fmt: skip
    """out (m, n) = a (m, k) b (k, n) + bias (n)."""
    left = strided(a, (m, k), (a_row, a_col))[start:stop].astype(np.float64)
    product = left @ strided(b, (k, n), (b_row, b_col)).astype(np.float64)
    strided(out, (m, n), (n, 1))[start:stop] = product if bias is None else product + bias.reshape(-1)[:n]
    return OK


@body
def tanh(x: Array, out: Array, count: int) -> int:
    """out = tanh(x)."""
    out.reshape(-1)[:count] = np.tanh(x.reshape(-1)[:count].astype(np.float64))
    return OK


@body
def normalize_rows(x: Array, out: Array, rows: int, dim: int) -> int:
    """out = x / |x|, row by row."""
    wide = strided(x, (rows, dim), (dim, 1)).astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    strided(out, (rows, dim), (dim, 1))[:] = wide / np.where(length == 0, 1.0, length)
    return OK


@body
def normalize_rows_backward(x: Array, grad_out: Array, grad_x: Array, rows: int, dim: int) -> int:
    """grad_x += (grad_out - y <y, grad_out>) / |x|, y = x / |x|."""
    wide, grads = (strided(a, (rows, dim), (dim, 1)).astype(np.float64) for a in (x, grad_out))
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    safe = np.where(length == 0, 1.0, length)
    unit = wide / safe
    turned = (grads - unit * (unit * grads).sum(axis=-1, keepdims=True)) / safe
    strided(grad_x, (rows, dim), (dim, 1))[:] += np.where(length == 0, 0.0, turned)
    return OK


@body
def all_finite(x: Array, count: int) -> int:
    """NON_FINITE if x holds NaN or infinity."""
    return OK if np.isfinite(x.reshape(-1)[:count]).all() else NON_FINITE


@body
def peak(out: Array, rounds: int) -> int:
    """Multiply-adds at the speed of NumPy: 4 096 lanes a round."""
    factor, term = (np.float32(number) for number in out[:2])
    lanes = np.ones(4096, np.float32)
    for _ in range(rounds):
        lanes = lanes * factor + term
    out[:2] = lanes.sum(), lanes.size
    return OK


@body
def space_aux(x: Array, segments: Array, spaces: Array, out: Array, rows: int, dim: int, n_segments: int) -> int:
    """out (rows, n_segments): 1 / (1 - c |x|^2) in the ball, sqrt(1 / c + |x|^2) on the hyperboloid, else 0."""
    points = strided(x, (rows, dim), (dim, 1)).astype(np.float64)
    target = strided(out, (rows, n_segments), (n_segments, 1))
    for index, space in enumerate(geometry.spaces_of(segments, spaces, n_segments)):
        square = (points[:, space.channels] ** 2).sum(axis=-1)
        target[:, index] = geometry.aux(space, square)
    return OK


@body
def space_aux_backward(
    x: Array, segments: Array, spaces: Array, grad_aux: Array, grad_x: Array, grad_curvature: Array,
    rows: int, dim: int, n_segments: int,
) -> int:  # fmt: skip
    """Added to grad_x (rows, dim) and grad_curvature (n_segments)."""
    points = strided(x, (rows, dim), (dim, 1)).astype(np.float64)
    target = strided(grad_x, (rows, dim), (dim, 1))
    grads = strided(grad_aux, (rows, n_segments), (n_segments, 1)).astype(np.float64)
    for index, space in enumerate(geometry.spaces_of(segments, spaces, n_segments)):
        square = (points[:, space.channels] ** 2).sum(axis=-1)
        by_square, by_curvature = geometry.aux_slopes(space, square)
        target[:, space.channels] += (2 * grads[:, index] * by_square)[:, None] * points[:, space.channels]
        grad_curvature.reshape(-1)[index] += (grads[:, index] * by_curvature).sum()
    return OK


@body
def rotate_rows(
    x: Array, cosines: Array, sines: Array, out: Array,
    batch: int, n: int, heads: int, dim: int, pairs: int, table_batch: int, interleaved: int, inverse: int,
) -> int:  # fmt: skip
    """Pairs of channels as complex numbers, times exp(i angle), or exp(-i angle) if inverse."""
    shape = (batch, n, heads, dim)
    rows = x.reshape(-1)[: batch * n * heads * dim].reshape(shape).astype(np.float64)
    tables = [strided(t, (batch, n, 1, pairs), (table_batch, pairs, 0, 1)) for t in (cosines, sines)]
    first = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    second = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    turned = (rows[..., first] + 1j * rows[..., second]) * (tables[0] + (-1j if inverse else 1j) * tables[1])
    rows[..., first], rows[..., second] = turned.real, turned.imag
    out.reshape(-1)[: rows.size] = rows.reshape(-1)
    return OK
