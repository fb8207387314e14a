"""Contrastive losses: InfoNCE with given negatives and within a batch, and the one of a graph's neighbourhoods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ..arrays import ArrayLike
from ..config import Setting
from ..graph import EdgesLike, Graph
from ..layout import tally
from .losses import Arguments, Array, Loss, LossConfig, LossResult, dot, quiet, ratio, unit
from .part import register_part

BLOCK = 1 << 20  # scores of rows with all rows that exist at a time


def products(rows: Array, candidates: Array) -> Array:
    """<row, candidate>, (..., m): candidates (m, dim) are those of all rows, (..., m, dim) of each its own."""
    found: Array = rows @ candidates.T if candidates.ndim == 2 else (candidates @ rows[..., None])[..., 0]
    return found


def _products_backward(grad: Array, rows: Array, candidates: Array) -> tuple[Array, Array]:
    if candidates.ndim == 2:
        flat = grad.reshape(-1, grad.shape[-1])
        return grad @ candidates, flat.T @ rows.reshape(-1, rows.shape[-1])
    return (grad[..., None, :] @ candidates)[..., 0, :], grad[..., None] * rows[..., None, :]


def squared_distances(rows: Array, candidates: Array) -> Array:
    """|row - candidate|^2, shaped as products are."""
    if candidates.ndim > 2 or rows.ndim == 1:
        apart = candidates - rows[..., None, :]
        return dot(apart, apart)[..., 0]
    middle = candidates.mean(axis=0)  # from there the squares that cancel are least
    rows, candidates = rows - middle, candidates - middle
    squares: Array = dot(rows, rows) + dot(candidates, candidates)[:, 0]
    squares -= 2 * products(rows, candidates)
    squares[squares < 0] = 0
    return squares


def _squared_backward(grad: Array, rows: Array, candidates: Array) -> tuple[Array, Array]:
    to_rows, to_candidates = _products_backward(grad, rows, candidates)
    of_candidates = grad.reshape(-1, grad.shape[-1]).sum(axis=0) if candidates.ndim == 2 else grad
    return 2 * (grad.sum(axis=-1)[..., None] * rows - to_rows), 2 * (
        of_candidates[..., None] * candidates - to_candidates
    )


def soft_max(scores: Array) -> tuple[Array, Array]:
    """log sum exp (..., 1) and softmax of scores; -inf and zeros where there is no score above that."""
    top = scores.max(axis=-1, keepdims=True)
    shares = scores - np.where(np.isneginf(top), 0, top)
    np.exp(shares, out=shares)
    total = shares.sum(axis=-1, keepdims=True)
    shares /= np.where(total > 0, total, 1)
    with np.errstate(divide="ignore"):
        return top + np.log(total), shares


def candidates_of(given: Arguments, *, one: bool) -> tuple[Array, Array, Array]:
    """anchor, positives (..., n_positive, dim), negatives; ``one``: positives may be as anchor is, one for each."""
    anchor = given["anchor"]
    lead = anchor.shape[:-1]
    positives, negatives = given["positives"], given["negatives"]
    words = "(..., n_positive, dim)" + (" or (..., dim)" if one else "")
    if one and positives.ndim == anchor.ndim:
        given.expect("positives", positives.shape == anchor.shape, f"{words} for anchor {anchor.shape}")
        positives = positives[..., None, :]
    given.expect("positives", positives.shape[:-2] == lead and positives.ndim > 1, f"{words} for anchor {anchor.shape}")
    own = negatives.ndim == anchor.ndim + 1 and negatives.shape[:-2] == lead
    words = "(n_negative, dim) or (..., n_negative, dim)"
    given.expect("negatives", own or negatives.ndim == 2, f"{words} for anchor {anchor.shape}")
    return anchor, positives, negatives


def _linked_against_apart(scores: Array, linked: Array, apart: Array) -> tuple[Array, Array]:
    """Of rows of scores (n, m): the mean over those linked of -log of their share in a softmax with those apart, (n,),
    and its gradient; 0 where nothing is linked or nothing apart. None is both."""
    of_far, grad = soft_max(np.where(apart, scores, -np.inf))
    row, column = np.nonzero(linked)
    near, far = scores[row, column], of_far[row, 0]
    of_all = np.logaddexp(near, far)
    weight = 1 / tally(row)[row]
    grad *= tally(row, weight * np.exp(far - of_all), len(scores))[:, None]
    grad[row, column] = weight * np.expm1(near - of_all)
    values: Array = tally(row, weight * (of_all - near), len(scores))
    return values, grad


def _blocks(n: int) -> Iterator[slice]:
    step = max(1, BLOCK // n)
    return (slice(first, min(first + step, n)) for first in range(0, n, step))


@dataclass(frozen=True)
class InfoNCEConfig(LossConfig):
    temperature: Annotated[float, Setting("what cosines are divided by", above=0)] = 0.07
    several: Annotated[
        str,
        Setting(
            "each: each positive against the negatives; together: against the other positives too (SupCon)",
            choices=("each", "together"),
        ),
    ] = "each"
    in_batch: Annotated[
        str,
        Setting(
            "without negatives a row is told from all: all other rows of both arguments (NT-Xent); across: those of "
            "the other argument (CLIP)",
            choices=("all", "across"),
        ),
    ] = "all"


@register_part
class InfoNCELoss(Loss):
    """L = -log(exp(s_p) / (exp(s_p) + sum_n exp(s_n))), s = cosine(anchor, .) / temperature, averaged over positives p

    Without negatives those are the batch: row i of anchor and row i of positives are a pair, each of the two is to find
    the other among all other rows, and the loss of a pair is the mean of its two. No (rows, rows) array of a large
    batch exists at once.

    Shapes: anchor (..., dim); positives (..., dim), one each, or (..., n_positive, dim); negatives
            (..., n_negative, dim), each its own, or (n_negative, dim), the same for all. value (...) with
            reduction="none". In a batch: anchor (n, dim), positives (n, dim), n of at least 2.
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    A row of zeros has the cosine 0 with all, and the gradient 0. Papers of the settings: SupCon is Khosla et al., 2020,
    arXiv:2004.11362; NT-Xent is Chen et al., 2020, arXiv:2002.05709; CLIP is Radford et al., 2021, arXiv:2103.00020.

    >>> loss = InfoNCELoss(temperature=1)
    >>> value, gradients = loss([1, 0], [1, 0], negatives=[[1, 0], [2, 0]])
    >>> round(value, 6)  # log(3): nothing tells the three apart
    1.098612
    >>> round(loss([[1, 0], [0, 1]], [[1, 0], [0, 1]]).value, 6)
    0.551445
    """

    name = "info_nce"
    paper = "van den Oord et al., 2018, arXiv:1807.03748"
    Config = InfoNCEConfig
    config: InfoNCEConfig

    @quiet
    def __call__(self, anchor: ArrayLike, positives: ArrayLike, negatives: ArrayLike | None = None) -> LossResult:
        if negatives is None:
            return self._in_batch(Arguments(anchor=anchor, positives=positives))
        given = Arguments(anchor=anchor, positives=positives, negatives=negatives)
        (a, to_anchor), (p, to_positives), (n, to_negatives) = map(unit, candidates_of(given, one=True))
        t = self.config.temperature
        near, far = products(a, p) / t, products(a, n) / t
        each, count = self.config.several == "each", near.shape[-1]
        of_far, share = soft_max(far)
        of_all = np.logaddexp(near if each else soft_max(near)[0], of_far)
        grad_near = (np.exp(near - of_all) * (1 / count if each else 1) - 1 / count) / t
        grad_far = share * np.exp(of_far - of_all).mean(axis=-1, keepdims=True) / t
        (near_a, grad_p), (far_a, grad_n) = _products_backward(grad_near, a, p), _products_backward(grad_far, a, n)
        gradients = {
            "anchor": to_anchor(near_a + far_a),
            "positives": to_positives(grad_p).reshape(given["positives"].shape),
            "negatives": to_negatives(grad_n),
        }
        return given.result((of_all - near).mean(axis=-1), self.config.reduction, gradients)

    def _in_batch(self, given: Arguments) -> LossResult:
        anchor = given["anchor"]
        n = len(anchor)
        given.expect("anchor", anchor.ndim == 2 and n > 1, "(n, dim) with n of at least 2, or negatives")
        given.expect("positives", given["positives"].shape == anchor.shape, f"{anchor.shape}, a row for each of anchor")
        z, back = unit(np.concatenate([anchor, given["positives"]]))
        index = np.arange(2 * n)
        told_apart = index // n if self.config.in_batch == "across" else index  # rows that have the same are not

        def of(rows: slice, scores: Array) -> tuple[Array, Array]:
            linked = index == (index[rows, None] + n) % (2 * n)
            apart = (told_apart != told_apart[rows, None]) & ~linked
            values, grad = _linked_against_apart(scores / self.config.temperature, linked, apart)
            return values / 2, grad / (2 * self.config.temperature)

        values, grad = _over_rows(z, of, products, _products_backward)
        grad = back(grad)
        return given.result(values[:n] + values[n:], self.config.reduction, {"anchor": grad[:n], "positives": grad[n:]})


def _over_rows(
    z: Array,
    of: Callable[[slice, Array], tuple[Array, Array]],
    between: Callable[[Array, Array], Array],
    backward: Callable[[Array, Array, Array], tuple[Array, Array]],
) -> tuple[Array, Array]:
    """The losses ``of`` the scores ``between`` each row of z and all, and the gradient of their sum."""
    values, total = np.empty(len(z)), np.zeros_like(z)
    for rows in _blocks(len(z)):
        values[rows], grad = of(rows, between(z[rows], z))
        to_rows, to_all = backward(grad, z[rows], z)
        total += to_all
        total[rows] += to_rows
    return values, total


@dataclass(frozen=True)
class LocalContrastiveConfig(LossConfig):
    margin: Annotated[float, Setting("distance that those which are not neighbours are to have", at_least=0)] = 1.0
    temperature: Annotated[
        float | None, Setting("what cosines are divided by; None: distances and the margin count", above=0)
    ] = None


@register_part
class LocalContrastiveLoss(Loss):
    """L = mean_p |x - p|^2 + mean_n max(0, margin - |x - n|)^2 over the neighbours p of x and others n

    With a temperature: mean_p -log(exp(s_p) / (exp(s_p) + sum_n exp(s_n))), s = cosine(x, .) / temperature, as
    InfoNCELoss has it.

    ``loss(anchor, positives, negatives)`` takes both; ``loss.on_graph(embeddings, edge_index)`` takes them from a
    graph: all nodes joined by an edge, whatever its direction, and all that are not.

    Shapes: anchor (..., dim), positives (..., n_positive, dim), negatives (..., n_negative, dim), each its own, or
            (n_negative, dim), the same for all. value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    Where points coincide, the gradient of their distance is 0.

    >>> loss = LocalContrastiveLoss(margin=3)
    >>> value, gradients = loss([0], positives=[[1]], negatives=[[2], [4]])
    >>> value, gradients["negatives"].tolist()
    (1.5, [[-1.0], [0.0]])
    """

    name = "local_contrastive"
    paper = "Hadsell et al., 2006, 10.1109/CVPR.2006.100"
    Config = LocalContrastiveConfig
    config: LocalContrastiveConfig

    @quiet
    def __call__(self, anchor: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> LossResult:
        given = Arguments(anchor=anchor, positives=positives, negatives=negatives)
        (a, to_a), (p, to_p), (n, to_n) = (self._placed(x) for x in candidates_of(given, one=False))
        between, backward = self._between()
        near, far = between(a, p), between(a, n)
        count, scores = near.shape[-1], np.concatenate([near, far], axis=-1)
        rows = scores.reshape(-1, scores.shape[-1])
        linked = np.broadcast_to(np.arange(rows.shape[-1]) < count, rows.shape)
        values, grad = (x.reshape(a.shape[:-1] + x.shape[1:]) for x in self._rows(rows, linked, ~linked))
        (near_a, grad_p), (far_a, grad_n) = backward(grad[..., :count], a, p), backward(grad[..., count:], a, n)
        gradients = {"anchor": to_a(near_a + far_a), "positives": to_p(grad_p), "negatives": to_n(grad_n)}
        return given.result(values, self.config.reduction, gradients)

    @quiet
    def on_graph(self, embeddings: ArrayLike, edge_index: EdgesLike) -> LossResult:
        """The loss of every node of a graph: value (n_node,) with reduction="none", gradients of embeddings.

        A node without neighbours is pulled nowhere; with a temperature its loss is 0.

        Shapes: embeddings (n_node, dim), edge_index as graph mechanisms take it.
        Raises: OutOfBoundsError, and what the call itself raises.

        >>> loss = LocalContrastiveLoss(margin=3, reduction="none")
        >>> loss.on_graph([[0.0], [1.0], [3.0]], [(0, 1)]).value.tolist()
        [1.0, 2.0, 0.5]
        """
        given = Arguments(embeddings=embeddings)
        x, back = self._placed(given.expect("embeddings", given["embeddings"].ndim == 2, "(n_node, dim)"))
        graph = Graph.of(edge_index, len(x))
        ends = np.concatenate([graph.edge_index, graph.edge_index[::-1]], axis=1)
        node, other = ends[:, np.argsort(ends[0], kind="stable")]

        def of(rows: slice, scores: Array) -> tuple[Array, Array]:
            linked = np.zeros(scores.shape, bool)
            here = slice(*np.searchsorted(node, [rows.start, rows.stop]))
            linked[node[here] - rows.start, other[here]] = True
            others = np.arange(rows.start, rows.stop)[:, None] != np.arange(len(x))
            return self._rows(scores, linked & others, ~linked & others)

        values, grad = _over_rows(x, of, *self._between())
        return given.result(values, self.config.reduction, {"embeddings": back(grad)})

    def _placed(self, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        return (x, lambda grad: grad) if self.config.temperature is None else unit(x)

    def _between(self) -> tuple[Callable[..., Array], Callable[..., tuple[Array, Array]]]:
        if self.config.temperature is None:
            return squared_distances, _squared_backward
        return products, _products_backward

    def _rows(self, scores: Array, linked: Array, apart: Array) -> tuple[Array, Array]:
        """Of squared distances, or with a temperature of cosines: the losses, and their gradient."""
        temperature = self.config.temperature
        if temperature is not None:
            values, grad = _linked_against_apart(scores / temperature, linked, apart)
            return values, grad / temperature
        pull, push = (mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1) for mask in (linked, apart))
        distance = np.sqrt(scores)
        short = np.maximum(self.config.margin - distance, 0)
        return (pull * scores + push * short**2).sum(axis=-1), pull - push * ratio(short, distance)
