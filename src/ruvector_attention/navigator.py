"""Walks of a proximity graph towards a query, by learned steps (REINFORCE; Williams, 1992, 10.1007/BF00992696)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import ArrayLike, Float32Array, as_float32, require_finite
from .errors import DimensionMismatchError, InvalidConfigError
from .layout import repeated, tally

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FEATURES = ("nearest", "mean", "count", "edge", "bound")
GREEDY = (-4.0, 0.0, 0.0, 0.0, 0.0)  # where training begins: beside the nearest point that was seen


@dataclass(frozen=True)
class Found:
    """The nearest point that a search saw, its distance, and every point it looked at, in order."""

    index: int
    distance: float
    seen: list[int]


@dataclass(frozen=True)
class Comparison:
    """Shares of queries whose nearest point was found, with at most ``budget`` distances each."""

    budget: int
    policy: float
    greedy: float

    @property
    def says(self) -> str:
        better = "beats" if self.policy > self.greedy else "does not beat"
        return (
            f"the learned walk {better} greedy search: {self.policy:.1%} against {self.greedy:.1%} of nearest points "
            f"found with {self.budget} distances"
        )


class _Walk:
    """One query's search: what was seen, and what that says about each point beside it."""

    def __init__(self, owner: RLNavigator, query: Float64Array, start: int) -> None:
        count = len(owner.points)
        self._owner, self._query = owner, query
        self.distances = np.full(count, np.inf)
        self._nearest, self._sums = np.full(count, np.inf), np.zeros(count)
        self._counts, self._edges, self._bounds = np.zeros(count), np.zeros(count), np.zeros(count)
        self.seen: list[int] = []
        self.look(start)

    def look(self, point: int) -> float:
        """Compute one distance."""
        owner = self._owner
        distance = float(_distances(owner.points[point : point + 1], self._query)[0])
        self.distances[point] = distance
        self.seen.append(point)
        beside, edges = owner.beside(point)
        closer = distance < self._nearest[beside]
        self._edges[beside] = np.where(closer, edges, self._edges[beside])
        self._nearest[beside] = np.minimum(self._nearest[beside], distance)
        self._sums[beside] += distance
        self._counts[beside] += 1
        self._bounds[beside] = np.maximum(self._bounds[beside], np.abs(distance - edges))
        return distance

    def candidates(self) -> IntArray:
        """Points beside seen ones that were not looked at."""
        return np.flatnonzero((self._counts > 0) & np.isinf(self.distances))

    def features(self, points: IntArray) -> Float64Array:
        """(points, 5): the least and the mean distance of seen neighbours, how many they are, the length of the edge
        to the nearest of them, and what the triangle inequality leaves; lengths in mean edges, from the best so far."""
        best, unit = self.distances[self.seen].min(), self._owner.unit
        counts = self._counts[points]
        rows = [
            (self._nearest[points] - best) / unit,
            (self._sums[points] / counts - best) / unit,
            np.log(counts),
            self._edges[points] / unit,
            (self._bounds[points] - best) / unit,
        ]
        return np.stack(rows, axis=1)

    def found(self) -> Found:
        index = min(self.seen, key=lambda point: float(self.distances[point]))
        return Found(int(index), float(self.distances[index]), self.seen)


class RLNavigator:
    """Searches the nearest of ``points`` (n, dim) by a walk of their graph, one distance a step.

    Points are joined to their ``neighbors`` nearest, both ways. Each step looks at one point beside those seen, drawn
    with probability softmax(w . f(point)) in training, the likeliest in a search. f says what the distances so far say
    of a point; w is learned from whether walks end at the nearest point. Greedy search, by comparison, looks at all
    neighbours of the nearest point whose neighbours were not all looked at.

    ``compare`` measures both with the same number of distances, and says which is better.

    >>> line = [[float(i)] for i in range(50)]
    >>> navigator = RLNavigator(line, neighbors=2)
    >>> navigator.search([31.2], budget=20).index
    31

    Raises: DimensionMismatchError, InvalidConfigError, NumericalInstabilityError, UnsupportedError
    """

    def __init__(self, points: ArrayLike, *, neighbors: int = 8, seed: int = 0) -> None:
        rows = as_float32("points", points)
        if rows.ndim != 2 or len(rows) < 2:
            raise DimensionMismatchError(f"points is {rows.shape}; expected (n, dim) with n of at least 2")
        require_finite("points", rows)
        if isinstance(neighbors, bool) or not isinstance(neighbors, int) or not 1 <= neighbors < len(rows):
            raise InvalidConfigError(f"neighbors is {neighbors!r}; expected 1 to {len(rows) - 1}")
        self.points: Float64Array = rows.astype(np.float64)
        self._random = np.random.default_rng(seed)
        self._indptr, self._indices, self._lengths = _graph(self.points, neighbors)
        #: The mean length of an edge.
        self.unit = float(self._lengths.mean()) or 1.0
        #: Where every walk begins: the point nearest to the middle.
        self.start = int(np.argmin(np.linalg.norm(self.points - self.points.mean(axis=0), axis=1)))
        self._weights = np.array(GREEDY)

    def beside(self, point: int) -> tuple[IntArray, Float64Array]:
        """The neighbours of a point, and the lengths of the edges to them."""
        own = slice(int(self._indptr[point]), int(self._indptr[point + 1]))
        return self._indices[own], self._lengths[own]

    def search(self, query: ArrayLike, budget: int = 64) -> Found:
        """The walk that the policy finds best, of at most ``budget`` distances."""
        walk = _Walk(self, self._checked(query)[0], self.start)
        for _ in range(_checked_budget(budget) - 1):
            candidates = walk.candidates()
            if not candidates.size:
                break
            walk.look(int(candidates[np.argmax(walk.features(candidates) @ self._weights)]))
        return walk.found()

    def greedy_search(self, query: ArrayLike, budget: int = 64) -> Found:
        """Best-first search of the same graph, of at most ``budget`` distances."""
        budget = _checked_budget(budget)
        walk = _Walk(self, self._checked(query)[0], self.start)
        waiting = {self.start}
        while waiting and len(walk.seen) < budget:
            point = min(waiting, key=lambda each: float(walk.distances[each]))
            waiting.remove(point)
            for other in self.beside(point)[0].tolist():
                if len(walk.seen) < budget and np.isinf(walk.distances[other]):
                    walk.look(other)
                    waiting.add(other)
        return walk.found()

    def train(
        self, queries: ArrayLike, *, budget: int = 64, epochs: int = 1, learning_rate: float = 0.5
    ) -> list[float]:
        """Steps along the policy gradient, one a query: (R - mean R) * sum over steps of d log pi; R is 1 for a walk
        that saw the nearest point, and less the farther it ended. The mean reward of each epoch is the answer."""
        rows = self._checked(queries)
        budget = _checked_budget(budget)
        baseline, rewards = 0.0, []
        for epoch in range(epochs):
            total = 0.0
            for count, at in enumerate(self._random.permutation(len(rows))):
                reward, slope = self._sampled(rows[at], budget)
                total += reward
                if epoch or count >= 10:  # the first walks only say what is usual
                    self._weights += learning_rate * (reward - baseline) * slope
                baseline += (reward - baseline) / min(count + 1 + epoch * len(rows), 50)
            rewards.append(total / len(rows))
        return rewards

    def compare(self, queries: ArrayLike, *, budget: int = 64) -> Comparison:
        """Learned and greedy walks on the same queries, graph, start and number of distances."""
        rows = self._checked(queries)
        nearest = [float(_distances(self.points, row).min()) for row in rows]
        shares = []
        for search in (self.search, self.greedy_search):
            hits = [search(row, budget).distance <= best for row, best in zip(rows, nearest, strict=True)]
            shares.append(sum(hits) / len(hits))
        return Comparison(budget, *shares)

    def parameters(self) -> dict[str, Float32Array]:
        """What is learned, by name: a weight for each feature."""
        return {"weights": self._weights.astype(np.float32)}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over what ``parameters`` gave."""
        weights = as_float32("weights", state["weights"])
        if weights.shape != self._weights.shape:
            raise DimensionMismatchError(f"weights is {weights.shape}; expected {self._weights.shape}")
        require_finite("weights", weights)
        self._weights = weights.astype(np.float64)

    def _sampled(self, query: Float64Array, budget: int) -> tuple[float, Float64Array]:
        """The reward of a walk drawn from the policy, and the gradient of its logarithm's probability, a step."""
        walk = _Walk(self, query, self.start)
        slope = np.zeros(len(FEATURES))
        for _ in range(budget - 1):
            candidates = walk.candidates()
            if not candidates.size:
                break
            features = walk.features(candidates)
            logits = features @ self._weights
            probabilities = np.exp(logits - logits.max())
            probabilities /= probabilities.sum()
            chosen = int(self._random.choice(candidates.size, p=probabilities))
            slope += features[chosen] - probabilities @ features
            walk.look(int(candidates[chosen]))
        best = float(_distances(self.points, query).min())
        reward = 1.0 if walk.found().distance <= best else -(walk.found().distance - best) / self.unit
        return reward, slope / len(walk.seen)

    def _checked(self, queries: ArrayLike) -> Float64Array:
        rows = as_float32("query", queries)
        rows = rows[None] if rows.ndim == 1 else rows
        dim = self.points.shape[1]
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise DimensionMismatchError(f"query is {rows.shape}; expected (n, {dim})", expected=dim, actual=rows.shape)
        require_finite("query", rows)
        return rows.astype(np.float64)


def _checked_budget(budget: Any) -> int:
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or budget < 1:
        raise InvalidConfigError(f"budget is {budget!r}; expected an integer of at least 1")
    return int(budget)


def _distances(points: Float64Array, query: Float64Array) -> Float64Array:
    """Of rows: a row has the same bits alone as among others, so that the nearest is known by its distance."""
    found: Float64Array = np.linalg.norm(points - query, axis=1)
    return found


def _graph(points: Float64Array, neighbors: int) -> tuple[IntArray, IntArray, Float64Array]:
    """CSR rows of the graph: each point's nearest, and those that it is one of the nearest of."""
    count = len(points)
    squares = (points * points).sum(axis=1)
    pairs = []
    for begin in range(0, count, 512):  # a block of rows at a time: no n x n array
        own = np.arange(begin, min(begin + 512, count))
        distances = squares[own, None] + squares - 2 * points[own] @ points.T
        distances[np.arange(own.size), own] = np.inf
        farthest = np.partition(distances, neighbors - 1, axis=1)[:, neighbors - 1, None]
        nearer, level = distances < farthest, distances == farthest
        # Of points that are as near as each other the first: which of them argpartition names, the processor decides.
        left = neighbors - nearer.sum(axis=1, keepdims=True)
        nearest = np.nonzero(nearer | (level & (np.cumsum(level, axis=1) <= left)))[1]
        pairs.append(np.stack([repeated(own, neighbors), nearest]))
    one, other = np.concatenate(pairs, axis=1)
    both = np.unique(np.concatenate([one * count + other, other * count + one]))
    source, target = both // count, both % count
    indptr = np.concatenate([[0], np.cumsum(tally(source, minlength=count))])
    return indptr, target, np.linalg.norm(points[source] - points[target], axis=1)
