"""Edges in every form they come in, and what is made of them."""

from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import pytest
import scipy.sparse

import ruvector_attention as ra
from ruvector_attention.graph import Graph, _order_of

PAIRS = [(0, 2), (1, 2), (2, 0)]


ENTRIES = (np.ones(3), ([0, 1, 2], [2, 2, 0]))


def named(pairs: list[tuple[str, str]], kind: type[networkx.Graph] = networkx.DiGraph) -> networkx.Graph:
    graph = kind()
    graph.add_nodes_from("abc")
    graph.add_edges_from(pairs)
    return graph


@pytest.mark.parametrize(
    "edges",
    [
        PAIRS,
        np.array(PAIRS),
        np.array(PAIRS).T,
        np.array(PAIRS, np.float32).T,
        [[0, 1, 2], [2, 2, 0]],
        scipy.sparse.coo_array(ENTRIES, (3, 3)),
        scipy.sparse.csr_array(ENTRIES, (3, 3)),
        scipy.sparse.csr_matrix(ENTRIES, (3, 3)),
        scipy.sparse.dok_array(scipy.sparse.coo_array(ENTRIES, (3, 3))),
        named([("a", "c"), ("b", "c"), ("c", "a")]),
        named([("a", "c"), ("b", "c"), ("c", "a")], networkx.MultiDiGraph),
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
    graph = Graph(named([("a", "b"), ("c", "c")], networkx.Graph), 3)
    assert list(graph.edges()) == [("a", "b"), ("c", "c"), ("b", "a")]


def test_columns_and_rows_of_a_sparse_matrix_are_targets_and_sources() -> None:
    adjacency = scipy.sparse.random_array((40, 40), density=0.1, rng=np.random.default_rng(1), format="csc")
    nodes = np.random.default_rng(2).standard_normal((40, 5))
    attention = ra.SAGEAttention(dim=5, add_self_loops=False)
    graph = networkx.from_scipy_sparse_array(adjacency, create_using=networkx.DiGraph)
    pairs = Graph(adjacency, 40).edge_index
    assert {tuple(edge) for edge in pairs.T.tolist()} == set(graph.edges())
    assert np.array_equal(attention(nodes, adjacency), attention(nodes, pairs))
    by_edge = attention.weights_by_edge(nodes, graph)
    incoming = np.zeros(40)
    for (_, target), weights in by_edge.items():
        incoming[target] += weights[0]
    has_edges = np.diff(adjacency.indptr) > 0
    np.testing.assert_allclose(incoming, has_edges, atol=1e-6)


def test_a_graph_of_real_people() -> None:
    """Zachary's karate club: every member's weights add up, and its neighbourhood is the one that networkx says."""
    club = networkx.karate_club_graph()
    attention, features = ra.GraphAttention(dim=4), np.random.default_rng(3).standard_normal((34, 4))
    weights = attention.weights_by_edge(features, club)
    assert len(weights) == 2 * club.number_of_edges() + 34
    for member in club:
        assert sum(weights[other, member] for other in [*club[member], member]) == pytest.approx(1, abs=1e-6)
    around, hops = Graph(club, 34).around(0, 3)
    assert dict(zip(around.tolist(), hops.tolist(), strict=True)) == {
        node: hop for node, hop in networkx.single_source_shortest_path_length(club, 0, 3).items() if node
    }


@pytest.mark.parametrize(
    "edges",
    [scipy.sparse.coo_array(ENTRIES, (3, 4)), networkx.path_graph(4)],
    ids=["scipy", "networkx"],
)
def test_a_graph_of_another_size_is_named(edges: Any) -> None:
    with pytest.raises(ra.DimensionMismatchError, match=r"edge_index is \(\d, 4\); expected \(3, 3\)"):
        ra.EdgeFeaturedAttention(dim=3)(np.eye(3), edges)


def test_weights_come_back_by_the_names_of_nodes() -> None:
    graph = named([("a", "b"), ("c", "b")])
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
        (None, ra.UnsupportedError, "edge_index is None"),
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
