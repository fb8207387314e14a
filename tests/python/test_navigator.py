"""Learned walks of a proximity graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention.navigator import _graph

Array = npt.NDArray[Any]


def test_the_graph_joins_each_point_to_its_nearest_both_ways() -> None:
    points = np.random.default_rng(0).standard_normal((40, 3))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    expected = np.zeros((40, 40), bool)
    for row in range(40):
        expected[row, np.argsort(distances[row])[1:5]] = True
    expected |= expected.T
    indptr, indices, lengths = _graph(points, 4)
    found = np.zeros((40, 40), bool)
    rows = np.repeat(np.arange(40), np.diff(indptr))
    found[rows, indices] = True
    assert np.array_equal(found, expected)
    assert np.abs(lengths - distances[rows, indices]).max() <= 1e-12


def test_of_points_that_are_as_near_as_each_other_the_first_are_joined() -> None:
    """On every processor: how arrays are sorted there decides of such points elsewhere."""
    points = np.stack(np.meshgrid(np.arange(9.0), np.arange(8.0), np.arange(7.0)), axis=-1).reshape(-1, 3)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    expected = np.zeros(distances.shape, bool)
    np.put_along_axis(expected, np.argsort(distances, axis=1, kind="stable")[:, :10], True, axis=1)
    indptr, indices, _ = _graph(points, 10)
    found = np.zeros(distances.shape, bool)
    found[np.repeat(np.arange(len(points)), np.diff(indptr)), indices] = True
    assert np.array_equal(found, expected | expected.T)


@pytest.mark.parametrize("dim", [3, 16, 100])
def test_a_comparison_with_the_whole_budget_says_that_all_were_found(dim: int) -> None:
    random = np.random.default_rng(dim)
    navigator = ra.RLNavigator(random.standard_normal((60, dim)), neighbors=5)
    compared = navigator.compare(random.standard_normal((40, dim)), budget=60)
    assert (compared.policy, compared.greedy) == (1.0, 1.0)


def test_a_search_with_the_whole_budget_finds_the_nearest_point() -> None:
    random = np.random.default_rng(1)
    points, queries = random.standard_normal((60, 4)), random.standard_normal((20, 4))
    navigator = ra.RLNavigator(points, neighbors=5)
    for query in queries:
        distances = np.linalg.norm(points.astype(np.float32) - query.astype(np.float32), axis=1)
        for search in (navigator.search, navigator.greedy_search):
            found = search(query, 60)
            assert found.index == np.argmin(distances)
            assert found.distance == pytest.approx(distances.min(), rel=1e-5)
            assert sorted(found.seen) == list(range(60))


@pytest.mark.parametrize("budget", [1, 2, 10, 30])
def test_a_search_stays_within_its_budget_and_looks_at_no_point_twice(budget: int) -> None:
    random = np.random.default_rng(2)
    navigator = ra.RLNavigator(random.standard_normal((200, 4)))
    for search in (navigator.search, navigator.greedy_search):
        seen = search(random.standard_normal(4), budget).seen
        assert len(seen) == len(set(seen)) == budget


def test_the_policy_gradient_is_the_derivative_of_the_walks_probability() -> None:
    """One step from a start with a known neighbourhood, by central differences."""
    points = np.random.default_rng(3).standard_normal((30, 3))
    navigator = ra.RLNavigator(points, neighbors=6)
    query = np.random.default_rng(4).standard_normal(3)
    _, slope = navigator._sampled(query, 2)
    start = navigator.start
    beside, edges = navigator.beside(start)
    distance = np.linalg.norm(navigator.points[start] - query)
    features = np.zeros((beside.size, 5))  # one neighbour was seen, and it is the best
    features[:, 3] = edges / navigator.unit
    features[:, 4] = (np.abs(distance - edges) - distance) / navigator.unit
    candidates = []
    for chosen in range(beside.size):  # whichever was drawn, its gradient is among these

        def log_probability(weights: Array, chosen: int = chosen) -> float:
            logits = features @ weights
            return float(logits[chosen] - np.log(np.exp(logits).sum()))

        step = 1e-6 * np.eye(5)
        weights = navigator._weights
        candidates.append([(log_probability(weights + e) - log_probability(weights - e)) / 2e-6 for e in step])
    errors = np.abs(np.array(candidates) / 2 - slope).max(axis=1)  # a walk of two points
    assert errors.min() <= 1e-6


def test_on_the_digits_it_learns_and_beats_greedy_search_with_the_same_budget() -> None:
    stored, others = ra.datasets.load_digits().split(1000)
    trained_on, asked = others.images[:300], others.images[300:600]
    navigator = ra.RLNavigator(stored.images, seed=1)
    before = navigator.compare(asked, budget=40)
    rewards = navigator.train(trained_on, budget=40, epochs=2)
    after = navigator.compare(asked, budget=40)
    assert rewards[1] > rewards[0]
    assert after.greedy == before.greedy
    assert after.policy > before.policy + 0.03
    assert after.policy > after.greedy + 0.2
    assert after.says.startswith("the learned walk beats greedy search: ")
    again = ra.RLNavigator(stored.images, seed=9)
    again.load_state_dict(navigator.parameters())
    assert again.search(asked[0], 40) == navigator.search(asked[0], 40)


def test_it_says_so_where_it_does_not_beat_greedy_search() -> None:
    navigator = ra.RLNavigator([[float(i)] for i in range(10)], neighbors=2)
    compared = navigator.compare([[2.2], [7.9]], budget=10)
    assert (compared.policy, compared.greedy) == (1.0, 1.0)
    assert compared.says.startswith("the learned walk does not beat greedy search: 100.0% against 100.0%")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ra.RLNavigator([1.0, 2.0]), ra.DimensionMismatchError, r"points is \(2,\); expected \(n, dim\)"),
        (lambda: ra.RLNavigator(np.full((9, 2), np.nan)), ra.NumericalInstabilityError, "points holds nan"),
        (
            lambda: ra.RLNavigator(np.ones((9, 2)), neighbors=9),
            ra.InvalidConfigError,
            "neighbors is 9; expected 1",
        ),
        (lambda: ra.RLNavigator(np.eye(9)).search([1.0, 2.0]), ra.DimensionMismatchError, r"expected \(n, 9\)"),
        (lambda: ra.RLNavigator(np.eye(9)).search(np.ones(9), 0), ra.InvalidConfigError, "budget is 0"),
        (
            lambda: ra.RLNavigator(np.eye(9)).load_state_dict({"weights": [1.0]}),
            ra.DimensionMismatchError,
            r"weights is \(1,\); expected \(5,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(call: Any, error: type[ra.AttentionError], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
