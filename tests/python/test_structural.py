"""StructuralAttention and the features it reads, against definitions in float64."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest
from graph_oracle import linear

import ruvector_attention as ra
from ruvector_attention import structure
from ruvector_attention.graph import Graph

Array = npt.NDArray[Any]


def drawn(n_node: int, n_edges: int) -> tuple[Array, Array]:
    random = np.random.default_rng([n_node, n_edges])
    return random.standard_normal((n_node, 6)).astype(np.float32), random.integers(0, n_node, (2, n_edges))


def made(**settings: Any) -> ra.StructuralAttention:
    attention = ra.StructuralAttention(dim=6, num_heads=2, temperature=1.5, **settings)
    random = np.random.default_rng(2)
    for parameter in attention.parameters().values():
        parameter += 0.3 * random.standard_normal(parameter.shape).astype(np.float32)
    return attention


def expected(p: dict[str, Array], nodes: Array, features: Array, edges: Array) -> tuple[Array, Array]:
    source, target = features[edges[0]], features[edges[1]]
    bias = np.concatenate([source, source * target], axis=1) @ p["edge_weight"] / 1.5
    query, keys, values = (linear(p, name, nodes) for name in ("query", "keys", "values"))
    gathered, weights = graph_oracle.dot_edges(query, keys, values, edges, bias, heads=2, scale=3**-0.5 / 1.5)
    return linear(p, "output", gathered), weights


@pytest.mark.parametrize("loops", [True, False])
def test_outputs_weights_and_gradients_are_the_formulas(loops: bool) -> None:
    nodes, edges = drawn(6, 15)
    features = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)
    attention = made(num_features=3, add_self_loops=loops)
    used = graph_oracle.with_loops(edges, None, 6)[0] if loops else edges
    p = {name: array.astype(np.float64) for name, array in attention.parameters().items()}
    output = attention(nodes, edges, features, training=True)
    out, of_edges = expected(p, nodes.astype(np.float64), features.astype(np.float64), used)
    oracle.assert_close(output, out, 5e-6)
    apart = edges[0] != edges[1] if loops else np.ones(15, bool)
    oracle.assert_close(attention.attention_weights(nodes, edges, features)[apart], of_edges[: apart.sum()], 5e-6)
    upstream = np.random.default_rng(3).standard_normal(output.shape)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        return float((expected(at, at["nodes"], at["features"], used)[0] * upstream).sum())

    at = {"nodes": nodes, "features": features, **attention.parameters()}
    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, at))


def test_features_come_from_the_graph_where_none_are_given() -> None:
    nodes, edges = drawn(9, 30)
    attention = made()
    features = attention.structural_features(edges, 9)
    assert np.array_equal(attention(nodes, edges), attention(nodes, edges, features))
    with pytest.raises(ra.DimensionMismatchError, match=r"features is None; expected .*num_features = 3"):
        made(num_features=3)(nodes, edges)
    with pytest.raises(ra.DimensionMismatchError, match=r"features is \(9, 3\)"):
        attention(nodes, edges, features[:, :3])
    features[2, 1] = np.nan
    with pytest.raises(ra.NumericalInstabilityError, match=r"features holds nan at index \(2, 1\)"):
        attention(nodes, edges, features)


def test_a_batch_may_have_features_of_its_own() -> None:
    nodes, edges = drawn(9, 30)
    both = np.stack([nodes, nodes[::-1]])
    features = np.random.default_rng(1).standard_normal((2, 9, 4)).astype(np.float32)
    attention = made()
    output = attention(both, edges, features, training=True)
    grads = attention.backward(np.ones(output.shape))
    for index in range(2):
        oracle.assert_close(output[index], attention(both[index], edges, features[index], training=True), 1e-6)
        single = attention.backward(np.ones(output.shape[1:]))
        oracle.assert_close(grads["features"][index], single["features"], 1e-5)


def test_one_node_gives_what_all_of_them_give() -> None:
    nodes, edges = drawn(12, 40)
    for loops in (True, False):
        attention = made(add_self_loops=loops)
        whole = attention(nodes, edges)
        for node in range(12):
            oracle.assert_close(attention.forward_neighborhood(node, nodes, edges), whole[node], 2e-6)
        reached = attention.forward_k_hop(0, nodes, edges, 12)
        sources = Graph(edges, 12).around(0, 12)[0]
        star = [(int(source), 0) for source in sources]
        features = attention.structural_features(edges, 12)
        oracle.assert_close(reached, attention(nodes, star, features)[0], 2e-6)


@pytest.mark.parametrize(("n_node", "n_edges"), [(1, 0), (1, 2), (4, 12), (12, 30), (30, 300), (40, 60)])
def test_clustering_is_the_share_of_closed_pairs(n_node: int, n_edges: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, edges = drawn(n_node, n_edges)
    near = np.zeros((n_node, n_node), bool)
    near[edges[0], edges[1]] = near[edges[1], edges[0]] = True
    np.fill_diagonal(near, False)
    wanted = np.zeros(n_node)
    for node in range(n_node):
        pairs = list(combinations(np.flatnonzero(near[node]), 2))
        wanted[node] = np.mean([near[pair] for pair in pairs]) if pairs else 0.0
    for chunk in (structure.CHUNK, 7):
        monkeypatch.setattr(structure, "CHUNK", chunk)
        assert np.abs(structure.clustering(Graph(edges, n_node)) - wanted).max() <= 1e-12


@pytest.mark.parametrize(("n_node", "n_edges"), [(1, 0), (4, 3), (12, 30), (30, 300)])
def test_pagerank_is_where_the_walk_ends_up(n_node: int, n_edges: int) -> None:
    _, edges = drawn(n_node, n_edges)
    step = np.zeros((n_node, n_node))
    np.add.at(step, (edges[0], edges[1]), 1.0)
    total = step.sum(axis=1, keepdims=True)
    step = np.where(total > 0, step / np.maximum(total, 1), 1 / n_node)
    step = 0.85 * step + 0.15 / n_node
    values, vectors = np.linalg.eig(step.T)
    vector = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    assert np.abs(structure.pagerank(Graph(edges, n_node)) - vector / vector.sum()).max() <= 1e-9


def test_degrees_are_logarithms() -> None:
    features = structure.structural_features(Graph([(0, 1), (2, 1), (1, 0)], 4))
    assert np.abs(features[:, :2] - np.log1p([[1, 1], [2, 1], [0, 1], [0, 0]])).max() <= 1e-7
    assert features.shape == (4, len(structure.STRUCTURAL_FEATURES))
