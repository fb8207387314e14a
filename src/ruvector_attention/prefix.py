"""Attention whose weights are products of features, by running sums over keys: time and memory O(n * m * d).

    out_i = sum_j <f(q_i), f(k_j)> v_j / sum_j <f(q_i), f(k_j)>

Between a mechanism and the kernel. What precedes a query is summed up in a table of m features, which is all that a
stream keeps; features come as their logarithms, -inf for 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .layout import size_of
from .products import FLOAT32, contiguous
from .recompute import backward_kernel

Float32Array = npt.NDArray[np.float32]

BLOCK = 128  # rows whose triangle may be computed whole
NOTHING_SEEN = np.float32(-1e30)  # the logarithm that stands for "no key yet"


class Table(NamedTuple):
    """The keys so far: sums (batch, dim_value + 1, m), feature r in units of exp(peaks[r]), and peaks (batch, m)."""

    sums: Float32Array
    peaks: Float32Array

    @classmethod
    def empty(cls, batch: int, features: int, dim_value: int) -> Table:
        return cls(np.zeros((batch, dim_value + 1, features), FLOAT32), np.full((batch, features), NOTHING_SEEN))


class Features(NamedTuple):
    """Of every item: rows whose features the kernel computes, query (batch, n_query, dim) and keys (batch, n_key, dim).

    The logarithms of a row's features are weight x, weight (m, dim), and for a key its ``addend`` (batch, n_key) more;
    without a weight the rows are these logarithms themselves.
    """

    query: Float32Array
    keys: Float32Array
    addend: Float32Array | None
    weight: Float32Array | None

    @property
    def n_features(self) -> int:
        return self.query.shape[-1] if self.weight is None else len(self.weight)

    def items(self, at: slice) -> Features:
        return Features(self.query[at], self.keys[at], None if self.addend is None else self.addend[at], self.weight)


class Prefix(NamedTuple):
    """One pass: outputs (batch, n_query, dim_value), the logarithms of the denominators (batch, n_query), +inf where no
    feature of a key is met, the table behind it, and whether all outputs are finite."""

    output: Float32Array
    lse: Float32Array
    table: Table
    is_finite: bool


def forward(features: Features, values: Float32Array, *, causal: bool, table: Table | None = None) -> Prefix:
    """All outputs; ``table`` holds keys before the first."""
    batch, n_query, _ = features.query.shape
    dim_value = values.shape[-1]
    output, lse = np.empty((batch, n_query, dim_value), FLOAT32), np.empty((batch, n_query), FLOAT32)
    after = Table(
        np.empty((batch, dim_value + 1, features.n_features), FLOAT32), np.empty((batch, features.n_features), FLOAT32)
    )
    before = (None, None) if table is None else table
    sizes = _sizes(features, values, causal)

    def call(start: int, stop: int) -> int:
        kernel = kernels.active.prefix_attention
        return int(kernel(*_buffers(features, values), *before, *after, output, lse, *sizes, start, stop))

    status = threads.run(call, batch, _work(features, values), None)
    return Prefix(output, lse, after, not status)


def backward(
    features: Features, values: Float32Array, done: Prefix, grad_output: Float32Array, *, causal: bool
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The gradients of the logarithms of query and key features, (batch, n, m), and of the values."""
    shapes = [(*rows.shape[:2], features.n_features) for rows in (features.query, features.keys)]
    grads = [np.zeros(shape, FLOAT32) for shape in (*shapes, values.shape)]
    sizes = _sizes(features, values, causal)
    given = (done.output, done.lse, contiguous(grad_output))
    rows = max(size_of(array.shape[:2]) for array in (features.query, features.keys))
    kernel = backward_kernel("prefix_attention_backward", done.lse, rows * features.n_features)

    def call(start: int, stop: int) -> int:
        return int(kernel(*_buffers(features, values), *given, *grads, *sizes, start, stop))

    threads.run(call, len(values), 3 * _work(features, values), None)
    return grads[0], grads[1], grads[2]


def weights(features: Features, *, causal: bool) -> Iterator[Float32Array]:
    """The weights themselves, item by item (n_query, n_key): outputs for values that are unit vectors."""
    n_key = features.keys.shape[1]
    units = np.eye(n_key, dtype=FLOAT32)[None]
    for at in range(len(features.query)):
        (found,) = forward(features.items(slice(at, at + 1)), units, causal=causal).output
        total = found.sum(axis=1, keepdims=True)  # the denominators were summed in another order: now these sum to 1
        yield found / np.where(total > 0, total, np.float32(1))


def flat(array: Float32Array, lead: tuple[int, ...]) -> Float32Array:
    """(..., n, channels) to (batch, n, channels), repeated where the leading axes of a call are more."""
    matrix = array.shape[-2:]
    items: Float32Array = contiguous(np.broadcast_to(array, (*lead, *matrix))).reshape(size_of(lead), *matrix)
    return items


def _buffers(features: Features, values: Float32Array) -> tuple[Float32Array | None, ...]:
    return (*features, values)


def _sizes(features: Features, values: Float32Array, causal: bool) -> tuple[int, ...]:
    batch, n_query, dim = features.query.shape
    return batch, n_query, features.keys.shape[1], dim, features.n_features, values.shape[-1], int(causal), BLOCK


def _work(features: Features, values: Float32Array) -> int:
    rows = size_of(features.query.shape[:2]) + size_of(features.keys.shape[:2])
    return int(rows * features.n_features * (features.query.shape[-1] + values.shape[-1] + BLOCK // 4))
