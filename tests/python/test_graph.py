"""Edges in every form they come in, and what is made of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra
from ruvector_attention.graph import Graph, _order_of

PAIRS = [(0, 2), (1, 2), (2, 0)]


class Sparse:
    """What is read of a scipy.sparse matrix."""

    shape = (3, 3)

    def tocoo(self) -> Any:
        return SimpleNamespace(row=np.array([0, 1, 2], np.int32), col=np.array([2, 2, 0], np.int32))


class Networkx:
    """What is read of a networkx graph."""

    def __init__(self, edges: list[tuple[str, str]], directed: bool) -> None:
        self._edges, self._directed, self.nodes = edges, directed, ["a", "b", "c"]

    def edges(self) -> list[tuple[str, str]]:
        return self._edges

    def is_directed(self) -> bool:
        return self._directed


@pytest.mark.parametrize(
    "edges",
    [
        PAIRS,
        np.array(PAIRS),
        np.array(PAIRS).T,
        np.array(PAIRS, np.float32).T,
        [[0, 1, 2], [2, 2, 0]],
        Sparse(),
        Networkx([("a", "c"), ("b", "c"), ("c", "a")], directed=True),
        {"edges": PAIRS, "num_nodes": 3},
        Graph(PAIRS, 3),
    ],
    ids=lambda edges: type(edges).__name__,
)
def test_every_form_is_the_same_graph(edges: Any) -> None:
    assert Graph.of(edges, 3).edge_index.tolist() == [[0, 1, 2], [2, 2, 0]]
    nodes = np.eye(3, dtype=np.float32)
    attention = ra.EdgeFeaturedAttention(dim=3)
    assert np.array_equal(attention(nodes, edges), attention(nodes, PAIRS))


def test_two_edges_are_pairs_in_a_list_and_edge_index_in_an_array() -> None:
    assert Graph([(0, 1), (2, 0)], 3).edge_index.tolist() == [[0, 2], [1, 0]]
    assert Graph(np.array([(0, 1), (2, 0)]), 3).edge_index.tolist() == [[0, 1], [2, 0]]
    assert Graph({"edges": np.array([(0, 1), (2, 0)])}, 3).edge_index.tolist() == [[0, 2], [1, 0]]


def test_an_edge_without_direction_is_two_and_a_loop_one() -> None:
    graph = Graph(Networkx([("a", "b"), ("c", "c")], directed=False), 3)
    assert list(graph.edges()) == [("a", "b"), ("c", "c"), ("b", "a")]


def test_weights_come_back_by_the_names_of_nodes() -> None:
    graph = Networkx([("a", "b"), ("c", "b")], directed=True)
    attention = ra.EdgeFeaturedAttention(dim=3, add_self_loops=False)
    weights = attention.weights_by_edge(np.eye(3), graph)
    assert set(weights) == {("a", "b"), ("c", "b")}
    assert float(weights["a", "b"][0] + weights["c", "b"][0]) == pytest.approx(1)
    found = attention.attention_weights(np.eye(3), graph)
    assert [float(w[0]) for w in found] == [float(weights["a", "b"][0]), float(weights["c", "b"][0])]


def test_weights_are_in_the_callers_order_and_his_loops_have_the_loops_weight() -> None:
    edges = [(2, 1), (0, 0), (0, 1), (1, 0), (0, 0)]
    attention = ra.EdgeFeaturedAttention(dim=3, num_heads=1)
    weights = attention.attention_weights(np.eye(3), edges)[:, 0]
    by_edge = attention.weights_by_edge(np.eye(3), edges)
    assert weights[:4].tolist() == [by_edge[edge][0] for edge in edges[:4]]
    assert weights[4] == 0
    assert set(by_edge) == {*edges, (1, 1), (2, 2)}


@pytest.mark.parametrize(
    ("edges", "error", "sentence"),
    [
        ([(0, 3)], ra.OutOfBoundsError, "edge_index names node 3; expected 0 to 2"),
        ([(0, -1)], ra.OutOfBoundsError, "edge_index names node -1"),
        ([(0, 1, 2)], ra.DimensionMismatchError, r"edge_index is \(1, 3\)"),
        ([(0, 1), (2,)], ra.DimensionMismatchError, "edge_index is a ragged list"),
        ([(0, 0.5)], ra.UnsupportedError, "edge_index holds numbers that are not whole"),
        ([("a", "b")], ra.UnsupportedError, "edge_index is an array of str"),
        (None, ra.UnsupportedError, "edge_index is NoneType"),
        (np.zeros((2, 3), bool), ra.UnsupportedError, "edge_index is an array of bool"),
        (Graph([(0, 1)], 2), ra.DimensionMismatchError, "edge_index is a graph of 2 nodes; expected 3"),
    ],
)
def test_what_is_no_graph_is_refused(edges: Any, error: type[ra.AttentionError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ra.EdgeFeaturedAttention(dim=3)(np.eye(3), edges)


def test_no_edges_are_a_graph_too() -> None:
    for none in ([], np.zeros((2, 0), np.int64), {"edges": []}):
        assert ra.EdgeFeaturedAttention(dim=3)(np.eye(3), none).shape == (3, 3)


@pytest.mark.parametrize("count", [1, 50, 65_536, 65_537, 10_000_000])
def test_sorting_by_counting_is_stable(count: int) -> None:
    keys = np.random.default_rng(count).integers(0, count, 3000)
    assert np.array_equal(_order_of(keys, count), np.argsort(keys, kind="stable"))
