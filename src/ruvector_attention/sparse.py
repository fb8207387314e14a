"""Attention over lists of keys (CSR rows): the engine's call where few of the pairs exist.

``indptr (n_query + 1)`` and ``indices (n_edges)`` are scipy.sparse's: query i attends to
``indices[indptr[i]:indptr[i + 1]]``. Time and memory follow the edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .finite import raise_non_finite
from .layout import Axes, leading_strides, size_of, walk
from .problem import Gradients
from .products import FLOAT32, QUERY_BLOCK, contiguous
from .recompute import backward_kernel
from .scoring import Edges

__all__ = ["Edges", "attend_sparse", "attend_sparse_backward"]

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


def attend_sparse(
    query: Array,
    keys: Array,
    values: Array,
    edges: Edges,
    *,
    scale: float,
    bias: Array | None = None,
    num_heads: int = 1,
    num_kv_heads: int = 1,
    check_finite: bool = True,
    return_lse: bool = False,
    max_threads: int | None = None,
) -> Any:
    """out_i = sum over i's edges of softmax(scale * <q_i, k_j> + bias_edge) v_j

    Shapes as in ``engine.attend``; bias (n_edges). A query without edges gives zeros.
    """
    problem = _Problem(query, keys, values, edges, bias, num_heads, num_kv_heads)
    out = np.empty((*problem.lead, query.shape[-2], num_heads * problem.dim_value), FLOAT32)
    lse = np.empty((*problem.lead, num_heads, query.shape[-2]), FLOAT32)
    status = 0
    for part in problem.parts(out, lse):

        def call(start: int, stop: int, *, part: _Part = part) -> int:
            buffers, numbers = part
            return int(kernels.active.attention_sparse(*buffers, *numbers, start, stop, scale))

        tasks = part.numbers[0] * num_heads * -(-query.shape[-2] // QUERY_BLOCK)
        work = part.numbers[0] * num_heads * edges.indices.size * (problem.dim + problem.dim_value)
        status |= threads.run(call, tasks, work, max_threads)
    if status and check_finite:
        raise_non_finite(query=query, keys=keys, values=values, bias=bias)
    return (out, lse) if return_lse else out


def attend_sparse_backward(
    query: Array,
    keys: Array,
    values: Array,
    edges: Edges,
    out: Array,
    lse: Array,
    grad_out: Array,
    *,
    scale: float,
    bias: Array | None = None,
    num_heads: int = 1,
    num_kv_heads: int = 1,
) -> Gradients:
    """The gradients of ``attend_sparse``'s inputs from that of its output; ``out`` and ``lse`` are what it returned."""
    backward = backward_kernel("attention_sparse_backward", lse, edges.indices.size * num_heads)
    problem = _Problem(query, keys, values, edges, bias, num_heads, num_kv_heads)
    inputs = (problem.query, problem.keys, problem.values)
    grads = [np.zeros(array.shape, FLOAT32) for array in inputs]
    of_bias = None if bias is None else np.zeros(edges.indices.size, FLOAT32)
    for part in problem.parts(contiguous(out), contiguous(grad_out), contiguous(lse), *grads):
        tasks = part.numbers[0] * num_kv_heads
        backward(*part.buffers, of_bias, *part.numbers, 0, tasks, scale)
    return Gradients(grads[0], grads[1], grads[2], of_bias)


class _Part(NamedTuple):
    buffers: list[Array | None]
    numbers: tuple[int, ...]


class _Problem:
    """One call's arrays, contiguous, and their walk over leading axes; heads are groups of channels."""

    def __init__(
        self, query: Array, keys: Array, values: Array, edges: Edges, bias: Array | None, heads: int, kv_heads: int
    ) -> None:
        self.query, self.keys, self.values = contiguous(query), contiguous(keys), contiguous(values)
        self.edges = Edges(*(contiguous(part, np.int64) for part in edges))
        self.heads, self.kv_heads = heads, kv_heads
        self.bias = None if bias is None else contiguous(bias)
        self.lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2], values.shape[:-2])
        self.dim, self.dim_value = query.shape[-1] // heads, values.shape[-1] // kv_heads

    def parts(self, out: Array, *more: Array) -> Iterator[_Part]:
        """A kernel call for each leftover leading index. ``out`` and each of ``more`` go behind the inputs, walked by
        the leading axes of their own shapes."""
        arrays = [self.query, self.keys, self.values, out, *more]
        strides = [leading_strides(a.shape[:-2], size_of(a.shape[-2:]), self.lead) for a in arrays]
        rows = (self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim_value)
        widths = (self.dim, self.dim, self.dim_value, self.dim_value)
        for offsets, axes in walk(Axes(self.lead, tuple(strides)), 1):
            starts = [a.reshape(-1)[o:] if o else a for a, o in zip(arrays, offsets, strict=True)]
            numbers: list[int] = [axes.sizes[0], self.heads, self.kv_heads, self.query.shape[-2], self.keys.shape[-2]]
            numbers += [self.edges.indices.size, self.dim, self.dim_value]
            for step, width, row in zip(axes.strides, widths, (*rows, self.heads * self.dim_value), strict=False):
                numbers += [step[0], width, row]
            numbers += [0, self.edges.indptr.shape[-1] if self.edges.indptr.ndim > 1 else 0]
            buffers: list[Array | None] = [*starts[:3], self.edges.indptr, self.edges.indices, self.bias, *starts[3:]]
            yield _Part(buffers, tuple(numbers))
