"""Additive attention along the edges of a graph, as wasm_kernels/kernels/edge_attention.c."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..layout import repeated
from ._table import NON_FINITE, OK, QUERY_BLOCK, Array, body

NAMES = [
    *("batch", "heads", "n_source", "n_target", "n_edges", "n_rows", "terms", "dim_value", "edge_batch"),
    *("start", "stop", "slope"),
]


class _Fans:
    """One batch item in float64, and what each of its edges is made of: arrays (n_edges, heads, ...)."""

    def __init__(self, n: SimpleNamespace, b: int, buffers: tuple[Array | None, ...]) -> None:
        source, target, edge, attention, values, indptr, sources, rows, keep = buffers
        assert source is not None and target is not None and attention is not None
        assert values is not None and indptr is not None and sources is not None and rows is not None
        self.n, last = n, int(indptr[n.n_target])
        self.sources, self.rows = sources[:last], rows[:last]
        self.targets = repeated(np.arange(n.n_target), np.diff(indptr[: n.n_target + 1]))

        def item(array: Array, count: int, width: int, offset: int | None = None) -> Array:
            size = count * n.heads * width
            part = array.reshape(-1)[b * size if offset is None else offset :][:size]
            return part.reshape(count, width, n.heads).swapaxes(1, 2).astype(np.float64)

        self.values = item(values, n.n_source, n.dim_value)
        self.attention = attention.reshape(n.terms, n.heads).T.astype(np.float64)
        self.z = item(source, n.n_source, n.terms)[self.sources] + item(target, n.n_target, n.terms)[self.targets]
        if edge is not None:
            self.z = self.z + item(edge, n.n_rows, n.terms, b * n.edge_batch)[self.rows]
        self.keep = np.ones((last, n.heads))
        if keep is not None:
            self.keep = keep.reshape(n.batch, n.n_edges, n.heads)[b, :last].astype(np.float64)

    @property
    def step(self) -> Array:
        return np.where(self.z > 0, 1.0, self.n.slope)

    def weights(self) -> Array:
        n = self.n
        scores = (self.attention * self.z * self.step).sum(axis=-1)
        held = np.isfinite(scores.astype(np.float32)) & np.isfinite(self.z.astype(np.float32)).all(axis=-1)
        scores = np.where(held, scores, np.nan)  # what float32 cannot hold is no score on any backend
        top = np.full((n.n_target, n.heads), -np.inf)
        np.maximum.at(top, self.targets, scores)
        exponentials = np.exp(scores - top[self.targets])
        total = np.zeros((n.n_target, n.heads))
        np.add.at(total, self.targets, exponentials)
        found: Array = exponentials / total[self.targets]
        return found

    def into(self, count: int, index: Array, of_edges: Array) -> Array:
        """Rows of edges summed where they lead to."""
        total = np.zeros((count, *of_edges.shape[1:]))
        np.add.at(total, index, of_edges)
        return total


@body
def edge_attention(
    source: Array, target: Array, edge: Array | None, attention: Array, values: Array,
    indptr: Array, sources: Array, edge_rows: Array, keep: Array | None, out: Array, weights: Array, *numbers: Any,
) -> int:  # fmt: skip
    """out_i = sum over the edges into i of softmax(sum_t attention LeakyReLU(source + target + edge)) values."""
    n = SimpleNamespace(**dict(zip(NAMES, numbers, strict=True)))
    blocks, finite = -(-n.n_target // QUERY_BLOCK), True
    for b in range(n.batch):
        tasks = range(max(n.start, b * blocks), min(n.stop, (b + 1) * blocks))
        if not tasks:
            continue
        fans = _Fans(n, b, (source, target, edge, attention, values, indptr, sources, edge_rows, keep))
        found = fans.weights()
        result = fans.into(n.n_target, fans.targets, (found * fans.keep)[..., None] * fans.values[fans.sources])
        rows = slice((tasks[0] - b * blocks) * QUERY_BLOCK, (tasks[-1] - b * blocks + 1) * QUERY_BLOCK)
        out.reshape(n.batch, n.n_target, n.dim_value, n.heads)[b, rows] = result[rows].swapaxes(1, 2)
        edges = slice(int(indptr[rows.start]), int(indptr[min(rows.stop, n.n_target)]))
        weights.reshape(n.batch, n.n_edges, n.heads)[b, edges] = found[edges]
        finite = finite and bool(np.isfinite(result[rows]).all())
    return OK if finite else NON_FINITE


@body
def edge_attention_backward(
    source: Array, target: Array, edge: Array | None, attention: Array, values: Array,
    indptr: Array, sources: Array, edge_rows: Array, keep: Array | None, weights: Array, grad_out: Array,
    grad_source: Array, grad_target: Array, grad_edge: Array | None, grad_attention: Array, grad_values: Array,
    *numbers: Any,
) -> int:  # fmt: skip
    """The gradients of edge_attention, added to the buffers."""
    n = SimpleNamespace(**dict(zip(NAMES, numbers, strict=True)))

    def add(array: Array, count: int, offset: int, grad: Array) -> None:
        part = array.reshape(-1)[offset:][: count * n.heads * grad.shape[-1]]
        part.reshape(count, grad.shape[-1], n.heads)[...] += grad.swapaxes(1, 2)

    for b in range(n.start, n.stop):
        fans = _Fans(n, b, (source, target, edge, attention, values, indptr, sources, edge_rows, keep))
        found, kept = fans.weights(), fans.keep
        rows = grad_out.reshape(n.batch, n.n_target, n.dim_value, n.heads)[b].swapaxes(1, 2).astype(np.float64)
        g = rows[fans.targets]
        products = kept * (g * fans.values[fans.sources]).sum(axis=-1)
        delta = fans.into(n.n_target, fans.targets, found * products)
        of_scores = (found * (products - delta[fans.targets]))[..., None]
        of_terms = of_scores * fans.attention * fans.step
        width, value_width = n.heads * n.terms, n.heads * n.dim_value
        add(grad_source, n.n_source, b * n.n_source * width, fans.into(n.n_source, fans.sources, of_terms))
        add(grad_target, n.n_target, b * n.n_target * width, fans.into(n.n_target, fans.targets, of_terms))
        if grad_edge is not None:
            add(grad_edge, n.n_rows, b * n.edge_batch, fans.into(n.n_rows, fans.rows, of_terms))
        add(grad_attention, 1, b * width, (of_scores * fans.z * fans.step).sum(axis=0)[None])
        of_values = fans.into(n.n_source, fans.sources, (found * kept)[..., None] * g)
        add(grad_values, n.n_source, b * n.n_source * value_width, of_values)
    return OK
