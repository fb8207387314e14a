"""Matrix products and single rows: the engine's calls that are no attention."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .errors import DimensionMismatchError
from .layout import size_of

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

QUERY_BLOCK = 192  # rows of one task, RV_QUERY_BLOCK
FLOAT32 = np.dtype(np.float32)


def contiguous(x: Array, dtype: npt.DTypeLike = FLOAT32) -> Array:
    """x as a kernel reads it: this dtype, C order, aligned; x itself where it is so already."""
    if x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned:
        return x
    return np.require(x, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def project(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    out: Array | None = None,
    max_threads: int | None = None,
) -> Float32Array:
    """x (..., k) @ weight (k, n) + bias (n) -> (..., n), float32."""
    if weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise DimensionMismatchError(
            f"weight is {weight.shape}; expected (k, n) with k = {x.shape[-1]}, from x {x.shape}"
        )
    x = contiguous(x)
    weight = contiguous(weight)
    if bias is not None:
        bias = contiguous(bias)
    k, n = weight.shape
    m = size_of(x.shape[:-1])
    if out is None:
        out = np.empty((*x.shape[:-1], n), FLOAT32)
    blocks = -(-m // QUERY_BLOCK)

    def call(start: int, stop: int) -> int:
        first, last = start * QUERY_BLOCK, min(stop * QUERY_BLOCK, m)
        return int(kernels.active.gemm(x, weight, bias, out, m, n, k, k, 1, n, 1, first, last))

    threads.run(call, blocks, m * n * k, max_threads)
    return out


def product(a: Array, b: Array) -> Float32Array:
    """a (m, k) @ b (k, n), each C-contiguous or the transpose of an array that is."""
    (m, k), n = a.shape, b.shape[1]
    out = np.empty((m, n), FLOAT32)
    (a, *a_steps), (b, *b_steps) = _with_steps(a), _with_steps(b)
    kernels.active.gemm(a, b, None, out, m, n, k, *a_steps, *b_steps, 0, m)
    return out


def _with_steps(x: Array) -> tuple[Array, int, int]:
    """A matrix as a contiguous buffer, and the strides of its rows and columns in it."""
    if x.T.flags.c_contiguous and not x.flags.c_contiguous:
        return contiguous(x.T), 1, x.shape[0]
    return contiguous(x), x.shape[1], 1


def project_backward(
    x: Array, weight: Array, grad_out: Array, *, has_bias: bool = True
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The gradients of ``project``: of x (..., k), of weight (k, n) and of bias (n), from grad_out (..., n). Without a
    bias its gradient is not summed: zeros stand in its place."""
    x, weight, grad_out = contiguous(x), contiguous(weight), contiguous(grad_out)
    k, n = weight.shape
    m = size_of(x.shape[:-1])
    grad_x, grad_weight = np.empty((*x.shape[:-1], k), FLOAT32), np.empty((k, n), FLOAT32)
    kernels.active.gemm(grad_out, weight, None, grad_x, m, k, n, n, 1, 1, n, 0, m)
    kernels.active.gemm(x, grad_out, None, grad_weight, k, n, m, 1, k, n, 1, 0, k)
    return grad_x, grad_weight, grad_out.reshape(m, n).sum(axis=0) if has_bias else np.zeros(n, FLOAT32)


def tanh(x: Array) -> Float32Array:
    """The hyperbolic tangent of every number."""
    x = contiguous(x)
    out = np.empty_like(x)
    kernels.active.tanh(x, out, x.size)
    return out


def normalize_rows(x: Array, dim: int) -> Float32Array:
    """Every group of ``dim`` channels of x (..., groups * dim) divided by its length; zeros stay zeros."""
    x = contiguous(x)
    out = np.empty_like(x)
    kernels.active.normalize_rows(x, out, x.size // dim, dim)
    return out


def normalize_rows_backward(x: Array, grad_out: Array, dim: int) -> Float32Array:
    """The gradient of x from that of ``normalize_rows(x, dim)``."""
    x, grad_out = contiguous(x), contiguous(grad_out)
    grad = np.zeros_like(x)
    kernels.active.normalize_rows_backward(x, grad_out, grad, x.size // dim, dim)
    return grad


class Angles(NamedTuple):
    """Cosines and sines of rotary positions, (..., n, pairs)."""

    cosines: Float32Array
    sines: Float32Array
    interleaved: bool

    @classmethod
    def of(cls, positions: Array, dim: int, base: float, interleaved: bool) -> Angles:
        frequencies = base ** (-np.arange(dim // 2) / (dim // 2))
        angles = np.asarray(positions, np.float64)[..., None] * frequencies
        return cls(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32), interleaved)


def rotate_rows(x: Array, angles: Angles, dim: int, *, inverse: bool = False) -> Float32Array:
    """Every group of ``dim`` channels of x (..., n, groups * dim) turned by the angles of its row."""
    x = contiguous(x)
    n, groups, pairs = x.shape[-2], x.shape[-1] // dim, angles.cosines.shape[-1]
    tables: list[Array] = [angles.cosines, angles.sines]
    step = 0
    if angles.cosines.ndim > 2:
        tables = [contiguous(np.broadcast_to(table, (*x.shape[:-2], n, pairs))) for table in tables]
        step = n * pairs
    out = np.empty_like(x)
    batch = size_of(x.shape[:-2])
    kernels.active.rotate_rows(x, *tables, out, batch, n, groups, dim, pairs, step, angles.interleaved, inverse)
    return out
