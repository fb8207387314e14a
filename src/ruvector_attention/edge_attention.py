"""Attention along the edges of a graph: between a mechanism and the kernel. Time and memory follow the edges.

The kernel wants heads as the last axis of every row, and a power of two of them: ``as_lanes`` makes that of rows in
which one head follows another, and of maps that give such rows; ``from_lanes`` is the way back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .graph import Fans
from .layout import size_of
from .products import FLOAT32, QUERY_BLOCK, contiguous

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


def lane_heads(num_heads: int) -> int:
    """How many heads the kernel is told: a power of two, the last ones empty.

    >>> [lane_heads(heads) for heads in (1, 2, 3, 8, 12)]
    [1, 2, 4, 8, 16]
    """
    return 1 << (num_heads - 1).bit_length()


def as_lanes(array: Array, num_heads: int) -> Float32Array:
    """(..., num_heads * width) to (..., width * lane_heads).

    >>> as_lanes(np.arange(4), 2).tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    split = array.reshape(*array.shape[:-1], num_heads, -1).swapaxes(-1, -2)
    lanes = np.zeros((*split.shape[:-1], lane_heads(num_heads)), FLOAT32)
    lanes[..., :num_heads] = split
    return lanes.reshape(*array.shape[:-1], -1)


def from_lanes(array: Array, num_heads: int) -> Float32Array:
    """(..., width * lane_heads) to (..., num_heads * width)."""
    split = array.reshape(*array.shape[:-1], -1, lane_heads(num_heads))[..., :num_heads]
    return contiguous(split.swapaxes(-1, -2)).reshape(*array.shape[:-1], -1)


class EdgeGradients(NamedTuple):
    """Of the arrays of an ``EdgeCall``, each with its array's shape; ``edge`` is None where there was none."""

    source: Float32Array
    target: Float32Array
    values: Float32Array
    attention: Float32Array
    edge: Float32Array | None


class EdgeCall:
    """One call: score_e = sum_t attention_t LeakyReLU(source_t + target_t + edge_t), softmax over the edges into a
    node, and the sum of the values at their other ends.

    source (..., n_source, terms * heads), target (..., n_target, terms * heads), values (..., n_source,
    dim_value * heads), attention (terms, heads); edge (n_rows, terms * heads), or with leading axes of its own; all
    with the same leading axes otherwise. ``keep`` (..., edges, heads) multiplies the weights.
    """

    def __init__(
        self, source: Array, target: Array, values: Array, attention: Array, fans: Fans, *,
        slope: float, edge: Array | None = None, keep: Array | None = None,
    ) -> None:  # fmt: skip
        self.fans, self.slope = fans.wide(), slope
        self.source, self.target, self.values = contiguous(source), contiguous(target), contiguous(values)
        self.attention = contiguous(attention)
        self.lead = self.source.shape[:-2]
        self.edge = None if edge is None else contiguous(edge)
        if self.edge is not None and self.edge.ndim > 2:
            self.edge = contiguous(np.broadcast_to(self.edge, (*self.lead, *self.edge.shape[-2:])))
        self.keep = None if keep is None else contiguous(keep)
        terms, heads = attention.shape
        self.batch, self.heads, self.n_target = size_of(self.lead), heads, self.target.shape[-2]
        self.dim_value = self.values.shape[-1] // heads
        self.edge_batch = 0 if self.edge is None or self.edge.ndim == 2 else size_of(self.edge.shape[-2:])
        self._sizes = (
            self.batch, heads, self.source.shape[-2], self.n_target, fans.sources.size, fans.n_rows, terms,
            self.dim_value, self.edge_batch,
        )  # fmt: skip
        self._work = self.batch * heads * fans.sources.size * (2 * terms + self.dim_value)

    @property
    def _buffers(self) -> tuple[Array | None, ...]:
        fans = self.fans
        return (
            self.source, self.target, self.edge, self.attention, self.values, fans.indptr, fans.sources, fans.rows,
            self.keep,
        )  # fmt: skip

    def forward(self) -> tuple[int, Float32Array, Float32Array]:
        """A status, the output (..., n_target, dim_value * heads), and the weights (..., edges, heads)."""
        out = np.empty((*self.lead, self.n_target, self.dim_value * self.heads), FLOAT32)
        weights = np.empty((*self.lead, self.fans.sources.size, self.heads), FLOAT32)

        def call(start: int, stop: int) -> int:
            return int(
                kernels.active.edge_attention(*self._buffers, out, weights, *self._sizes, start, stop, self.slope)
            )

        tasks = self.batch * -(-self.n_target // QUERY_BLOCK)
        return threads.run(call, tasks, self._work, None), out, weights

    def backward(self, weights: Array, grad_out: Array) -> EdgeGradients:
        """From the gradient of the output; ``weights`` are what ``forward`` gave."""
        source, target, values = (np.zeros(x.shape, FLOAT32) for x in (self.source, self.target, self.values))
        attention = np.zeros((self.batch, *self.attention.shape), FLOAT32)
        edge = None if self.edge is None else np.zeros(self.edge.shape, FLOAT32)
        buffers = (*self._buffers, weights, contiguous(grad_out), source, target, edge, attention, values)

        def call(start: int, stop: int) -> int:
            return int(kernels.active.edge_attention_backward(*buffers, *self._sizes, start, stop, self.slope))

        shared = edge is not None and not self.edge_batch  # tasks that add to the same gradient
        threads.run(call, self.batch, 3 * self._work, 1 if shared else None)
        return EdgeGradients(source, target, values, attention.sum(axis=0), edge)
