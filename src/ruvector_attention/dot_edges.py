"""Scaled dot-product attention along the edges of a graph, heads with biases of their own for every edge."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .graph import Fans
from .products import FLOAT32, contiguous
from .scoring import Edges
from .sparse import attend_sparse, attend_sparse_backward

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


class DotGradients(NamedTuple):
    """Of the arrays of a ``DotCall``, each with its array's shape."""

    query: Float32Array
    keys: Float32Array
    values: Float32Array
    bias: Float32Array | None


class DotCall:
    """out_i = sum over the edges (j, i) of softmax(scale <q_i, k_j> + bias_e) v_j, head by head.

    query (..., n_target, heads * dim), keys, values (..., n_source, heads * dim | dim_value), with the same leading
    axes; bias (..., fans.n_rows, heads), a row for each row of edge features, with the same or without.
    """

    def __init__(
        self, query: Array, keys: Array, values: Array, fans: Fans, *, scale: float, num_heads: int,
        bias: Array | None = None,
    ) -> None:  # fmt: skip
        self.query, self.keys, self.values = contiguous(query), contiguous(keys), contiguous(values)
        self.fans, self.scale, self.heads, self.bias = fans, scale, num_heads, bias
        if bias is None:
            self.edges = Edges(fans.indptr, fans.sources)
        else:  # heads that differ in bias need lists of their own
            steps = np.arange(num_heads)[:, None] * fans.sources.size
            self.edges = Edges(steps + fans.indptr, np.tile(fans.sources, num_heads))

    def _items(self) -> list[tuple[Any, Array | None]]:
        """What one call covers: everything, or one leading index after another where each has biases of its own."""
        if self.bias is None:
            return [((), None)]
        of_edges = self.bias[..., self.fans.rows, :].swapaxes(-1, -2)  # (..., heads, edges)
        if self.bias.ndim == 2:
            return [((), contiguous(of_edges).reshape(-1))]
        return [(at, contiguous(of_edges[at]).reshape(-1)) for at in np.ndindex(*self.bias.shape[:-2])]

    def _options(self, bias: Array | None) -> dict[str, Any]:
        return {"scale": self.scale, "bias": bias, "num_heads": self.heads, "num_kv_heads": self.heads}

    def forward(self, check_finite: bool) -> tuple[Float32Array, Float32Array]:
        """The output (..., n_target, heads * dim_value), and the log-sum-exp."""
        out = np.empty((*self.query.shape[:-1], self.values.shape[-1]), FLOAT32)
        lse = np.empty((*self.query.shape[:-2], self.heads, self.query.shape[-2]), FLOAT32)
        for at, bias in self._items():
            out[at], lse[at] = attend_sparse(
                self.query[at], self.keys[at], self.values[at], self.edges, return_lse=True, check_finite=False,
                **self._options(bias),
            )  # fmt: skip
        return out, lse

    def weights(self) -> Float32Array:
        """(..., heads, edges), computed anew: nobody else keeps them."""
        fans = self.fans
        scores = self.scale * (self._rows(self.query, fans.targets) * self._rows(self.keys, fans.sources)).sum(axis=-1)
        if self.bias is not None:
            scores = scores + self.bias[..., fans.rows, :]
        filled = np.flatnonzero(np.diff(fans.indptr))
        if not filled.size:
            return np.zeros((*self.query.shape[:-2], self.heads, 0), np.float32)
        starts, counts = fans.indptr[filled].astype(np.intp), np.diff(fans.indptr)[filled].astype(np.intp)
        top = np.repeat(np.maximum.reduceat(scores, starts, axis=-2), counts, axis=-2)
        exponentials = np.exp(scores - top)
        total = np.repeat(np.add.reduceat(exponentials, starts, axis=-2), counts, axis=-2)
        return contiguous((exponentials / total).swapaxes(-1, -2))

    def _rows(self, x: Array, index: Array) -> Array:
        """(..., edges, heads, channels), of the nodes at one end."""
        width = x.shape[-1] // self.heads  # -1 would be unknown where there are no edges
        return x[..., index, :].reshape(*x.shape[:-2], index.size, self.heads, width).astype(np.float64)

    def backward(self, out: Array, lse: Array, grad_out: Array) -> DotGradients:
        """From the gradient of the output; ``out`` and ``lse`` are what ``forward`` gave."""
        grads = [np.zeros(x.shape, FLOAT32) for x in (self.query, self.keys, self.values)]
        of_bias = None if self.bias is None else np.zeros(self.bias.shape, FLOAT32)
        for at, bias in self._items():
            found = attend_sparse_backward(
                self.query[at], self.keys[at], self.values[at], self.edges, out[at], lse[at], grad_out[at],
                **self._options(bias),
            )  # fmt: skip
            for total, grad in zip(grads, found[:3], strict=True):
                total[at] = grad
            if of_bias is not None and found.bias is not None:
                of_bias[(*at, self.fans.rows)] = found.bias.reshape(self.heads, -1).T
        return DotGradients(grads[0], grads[1], grads[2], of_bias)


class DroppedDotCall(DotCall):
    """The same with weights dropped: ``keep`` (..., heads, edges) is what each weight is multiplied by, 0 or
    1 / (1 - share). For training alone, edge by edge in NumPy."""

    def __init__(self, *arrays: Any, keep: Array, **options: Any) -> None:
        super().__init__(*arrays, **options)
        self.keep = keep.swapaxes(-1, -2)  # edges first, as rows are gathered

    def forward(self, check_finite: bool) -> tuple[Float32Array, Float32Array]:
        _, lse = super().forward(check_finite)
        weights = self.weights().swapaxes(-1, -2) * self.keep
        out = self._by_target(weights[..., None] * self._rows(self.values, self.fans.sources))
        return out.reshape(*self.query.shape[:-1], self.values.shape[-1]).astype(FLOAT32), lse

    def backward(self, out: Array, lse: Array, grad_out: Array) -> DotGradients:
        fans, weights = self.fans, self.weights().swapaxes(-1, -2).astype(np.float64)
        query, of_out = (self._rows(x, fans.targets) for x in (self.query, grad_out))
        keys, values = (self._rows(x, fans.sources) for x in (self.keys, self.values))
        of_weights = self.keep * (of_out * values).sum(axis=-1)
        owners = np.repeat(np.arange(fans.indptr.size - 1), np.diff(fans.indptr).astype(np.intp))
        centre = self._by_target(weights * of_weights)[..., owners, :]
        of_scores = weights * (of_weights - centre)
        scaled = self.scale * of_scores[..., None]
        of_bias = None
        if self.bias is not None:
            of_bias = np.zeros((*of_scores.shape[:-2], *self.bias.shape[-2:]), FLOAT32)
            of_bias[..., fans.rows, :] = of_scores
            of_bias = of_bias if self.bias.ndim == of_bias.ndim else of_bias.sum(axis=tuple(range(of_bias.ndim - 2)))
        return DotGradients(
            self._by_target(scaled * keys).reshape(self.query.shape).astype(FLOAT32),
            self._by_source(scaled * query, self.keys),
            self._by_source((weights * self.keep)[..., None] * of_out, self.values),
            of_bias,
        )

    def _by_target(self, of_edges: Array) -> Array:
        """Sums (..., n_target, ...) of what (lead, edges, ...) holds for the edges into each node."""
        axis, fans = self.query.ndim - 2, self.fans
        shape = list(of_edges.shape)
        shape[axis] = fans.indptr.size - 1
        total, filled = np.zeros(shape), np.flatnonzero(np.diff(fans.indptr))
        if filled.size:
            sums = np.add.reduceat(of_edges, fans.indptr[filled].astype(np.intp), axis=axis)
            np.moveaxis(total, axis, 0)[filled] = np.moveaxis(sums, axis, 0)
        return total

    def _by_source(self, of_edges: Array, like: Array) -> Float32Array:
        """Sums in the shape of ``like`` for the edges out of each node."""
        total = np.zeros((like.shape[-2], *like.shape[:-2], like.shape[-1]))
        rows = of_edges.reshape(*of_edges.shape[:-2], like.shape[-1])
        np.add.at(total, self.fans.sources, np.moveaxis(rows, -2, 0))
        return np.moveaxis(total, 0, -2).astype(FLOAT32)
