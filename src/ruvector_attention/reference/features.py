"""What linear attention makes of rows before its sums, as wasm_kernels/kernels/features.c."""

from __future__ import annotations

import numpy as np

from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body

LOWEST = -5e29  # of a logarithm of a feature that is not 0


@body
def feature_logs(x: Array, addend: Array | None, out: Array, rows: int, dim: int, map: int, factor: float) -> int:
    """Of s = factor x: -|s|^2 / 2 + addend row by row; log(elu(s) + 1); log(max(s, 0)); s."""
    if map > 3:
        return BAD_ARGUMENT
    s = x.reshape(-1)[: rows * dim].reshape(rows, dim).astype(np.float64) * factor
    if map == 0:
        found = -0.5 * (s * s).sum(axis=-1)
    else:
        above = np.maximum(s, 0.0)
        found = (np.minimum(s, 0.0) + np.log1p(above), np.log(above), s)[map - 1]
    told = found.astype(np.float32)
    lowest = -np.inf if map > 1 else LOWEST
    finite = ((told >= lowest) & (told < np.inf)).all() and (map != 3 or np.isfinite(told).all())
    out.reshape(-1)[: told.size] = (told if addend is None else told + addend.reshape(-1)[:rows]).reshape(-1)
    return OK if finite and (map != 2 or np.isfinite(s.astype(np.float32)).all()) else NON_FINITE


@body
def orthogonal_rows(x: Array, lengths: Array, out: Array, count: int, dim: int) -> int:
    """Columns of x orthonormal in turn, as rows, each as long as its row of ``lengths``."""
    if count > dim:
        return BAD_ARGUMENT
    directions, corner = np.linalg.qr(x.reshape(-1)[: dim * dim].reshape(dim, dim))
    units = (directions * np.sign(np.diag(corner))).T[:count]
    stretch = np.linalg.norm(lengths.reshape(-1)[: count * dim].reshape(count, dim), axis=1, keepdims=True)
    out.reshape(-1)[: count * dim] = (units * stretch).reshape(-1)
    return OK
