"""What is asked of embeddings as a whole: smoothness along edges, uncorrelated channels, a length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..arrays import ArrayLike
from ..config import Setting
from ..errors import UnsupportedError
from ..graph import EdgesLike, Graph
from .losses import Arguments, Array, Loss, LossConfig, LossResult, dot, quiet, ratio
from .part import register_part

CHUNK = 1 << 17  # differences along edges that exist at a time: what caches hold


@dataclass(frozen=True)
class RegularizationConfig(LossConfig):
    weight: Annotated[float, Setting("factor of the value and its gradients", at_least=0)] = 1.0


class Regularization(Loss):
    """One value for each matrix (n, dim) of embeddings (..., n, dim)."""

    Config = RegularizationConfig
    config: RegularizationConfig

    def _result(self, given: Arguments, values: Any, **gradients: Array) -> LossResult:
        weight = self.config.weight
        weighted = {name: weight * grad for name, grad in gradients.items()}
        return given.result(weight * np.asarray(values), self.config.reduction, weighted)


def _matrices(embeddings: ArrayLike, **others: ArrayLike) -> tuple[Arguments, Array]:
    given = Arguments(False, embeddings=embeddings, **others)
    return given, given.expect("embeddings", given["embeddings"].ndim > 1, "(..., n, dim)")


@register_part
class SpectralRegularization(Regularization):
    """L = weight * sum over edges (i, j) of w_ij |x_i - x_j|^2 = weight * tr(X^T L X), L the Laplacian of the graph

    Of edge_index or pairs each entry is one edge: a list of both directions has twice the value. A scipy.sparse matrix
    is the adjacency of which L is the Laplacian, its numbers the weights w; so is a networkx graph, with its "weight".
    Without edges all rows are joined: n sum_i |x_i - mean|^2.

    Shapes: embeddings (..., n, dim), edge_index as graph mechanisms take it, edge_weight (n_edges,).
            value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, OutOfBoundsError, UnsupportedError

    >>> loss = SpectralRegularization(weight=0.5)
    >>> value, gradients = loss([[0.0], [1.0], [3.0]], edge_index=[(0, 1), (1, 2)], edge_weight=[1, 2])
    >>> value, gradients["embeddings"].tolist()
    (4.5, [[-1.0], [-3.0], [4.0]])
    """

    name = "spectral_regularization"
    paper = "Belkin & Niyogi, 2003, 10.1162/089976603321780317"

    @quiet
    def __call__(
        self, embeddings: ArrayLike, edge_index: EdgesLike | None = None, edge_weight: ArrayLike | None = None
    ) -> LossResult:
        if edge_index is None:
            if edge_weight is not None:
                raise UnsupportedError("edge_weight came without edge_index; expected both")
            given, x = _matrices(embeddings)
            apart = x - x.mean(axis=-2, keepdims=True)
            n = x.shape[-2]
            return self._result(given, n * (apart**2).sum(axis=(-2, -1)), embeddings=2 * n * apart)
        weighted = {} if edge_weight is None else {"edge_weight": edge_weight}
        given, x = _matrices(embeddings, **weighted)
        sources, targets, weights = _edges(edge_index, x.shape[-2])
        if edge_weight is not None:
            shape = (sources.size,)
            weights = given.expect("edge_weight", given["edge_weight"].shape == shape, f"{shape}, one for each edge")
        order = np.argsort(targets, kind="stable")  # so that rows that are added to lie together
        sources, targets, weights = sources[order], targets[order], weights[order]
        grad, squares = np.zeros_like(x), np.empty((*x.shape[:-2], sources.size))
        step = max(1, CHUNK // (x.size // x.shape[-2]))
        for first in range(0, sources.size, step):
            part = slice(first, first + step)
            apart = x[..., sources[part], :] - x[..., targets[part], :]
            squares[..., part] = np.einsum("...d,...d->...", apart, apart)
            apart *= 2 * weights[part, None]
            _add_rows(grad, sources[part], apart)
            _add_rows(grad, targets[part], -apart)
        gradients = {"embeddings": grad}
        if edge_weight is not None:
            gradients["edge_weight"] = squares.reshape(-1, sources.size).sum(axis=0)[np.argsort(order)]
        return self._result(given, squares @ weights, **gradients)


def _edges(edges: EdgesLike, n: int) -> tuple[Array, Array, Array]:
    """(sources, targets, weights): an edge without direction once, or twice with half of its weight."""
    graph = Graph.of(edges, n, "edge_index")
    weights = np.ones(graph.n_edges)
    if hasattr(edges, "tocoo"):
        weights = _weights(edges.tocoo().data) / 2
    elif graph.labels is not None and not isinstance(edges, Graph):
        weights = _weights([weight for _, _, weight in edges.edges(data="weight", default=1.0)])
        return graph.sources[: weights.size], graph.targets[: weights.size], weights
    return graph.sources, graph.targets, weights


def _weights(listed: ArrayLike) -> Array:
    return Arguments(False, edge_index=listed)["edge_index"] if len(listed) else np.zeros(0)


def _add_rows(total: Array, index: Array, rows: Array) -> None:
    """total[..., index, :] += rows, where an index may come often."""
    if (np.diff(index) < 0).any():
        order = np.argsort(index, kind="stable")
        index, rows = index[order], rows[..., order, :]
    nodes, first = np.unique(index, return_index=True)
    total[..., nodes, :] += np.add.reduceat(rows, first, axis=-2)


@register_part
class OrthogonalityRegularization(Regularization):
    """L = weight * |X^T X / n - I|^2, squared and summed over all entries: channels without correlation, of variance 1

    Shapes: embeddings (..., n, dim). value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    >>> OrthogonalityRegularization()([[1.0, 1.0], [1.0, -1.0]]).value
    0.0
    """

    name = "orthogonality"
    paper = "Brock et al., 2017, arXiv:1609.07093"

    @quiet
    def __call__(self, embeddings: ArrayLike) -> LossResult:
        given, x = _matrices(embeddings)
        n, dim = x.shape[-2:]
        excess = x.swapaxes(-1, -2) @ x / n - np.eye(dim)
        return self._result(given, (excess**2).sum(axis=(-2, -1)), embeddings=4 / n * x @ excess)


@dataclass(frozen=True)
class NormPenaltyConfig(RegularizationConfig):
    target_norm: Annotated[float, Setting("length that rows are to have", at_least=0)] = 1.0


@register_part
class NormPenalty(Regularization):
    """L = weight * mean_i (|x_i| - target_norm)^2

    Shapes: embeddings (..., n, dim). value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    A row of zeros has no direction in which to grow: its gradient is 0.

    >>> value, gradients = NormPenalty(target_norm=1)([[3.0, 4.0], [1.0, 0.0]])
    >>> value, gradients["embeddings"].tolist()
    (8.0, [[2.4000000953674316, 3.200000047683716], [0.0, 0.0]])
    """

    name = "norm_penalty"
    Config = NormPenaltyConfig
    config: NormPenaltyConfig

    @quiet
    def __call__(self, embeddings: ArrayLike) -> LossResult:
        given, x = _matrices(embeddings)
        length = np.sqrt(dot(x, x))
        excess = length - self.config.target_norm
        grad = 2 / x.shape[-2] * ratio(excess * x, length)
        return self._result(given, (excess**2).mean(axis=(-2, -1)), embeddings=grad)


def laplacian(
    embeddings: ArrayLike, edge_index: EdgesLike | None = None, edge_weight: ArrayLike | None = None
) -> LossResult:
    """sum over edges (i, j) of w_ij |x_i - x_j|^2: SpectralRegularization of weight 1.

    >>> laplacian([[0.0], [1.0], [3.0]], [(0, 1), (1, 2)]).value
    5.0
    """
    return SpectralRegularization()(embeddings, edge_index, edge_weight)


def orthogonality(embeddings: ArrayLike) -> LossResult:
    """|X^T X / n - I|^2: OrthogonalityRegularization of weight 1.

    >>> orthogonality([[2.0]]).value
    9.0
    """
    return OrthogonalityRegularization()(embeddings)


def norm_penalty(embeddings: ArrayLike, target_norm: float = 1.0) -> LossResult:
    """mean_i (|x_i| - target_norm)^2: NormPenalty of weight 1.

    >>> norm_penalty([[3.0, 4.0]], target_norm=3).value
    4.0
    """
    return NormPenalty(target_norm=target_norm)(embeddings)
