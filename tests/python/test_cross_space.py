"""CrossSpaceAttention against its formula in float64."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest
from graph_oracle import linear

import ruvector_attention as ra

Array = npt.NDArray[Any]


def drawn(n_node: int, n_edges: int, seed: int = 0) -> tuple[Array, Array, Array]:
    random = np.random.default_rng([seed, n_node, n_edges])
    nodes = random.standard_normal((n_node, 6)).astype(np.float32)
    return nodes, random.integers(0, n_node, (2, n_edges)), random.integers(0, n_node, (2, n_edges))


def made(**settings: Any) -> ra.CrossSpaceAttention:
    attention = ra.CrossSpaceAttention(dim=6, num_heads=2, temperature=1.5, **settings)
    random = np.random.default_rng(2)
    for parameter in attention.parameters().values():
        parameter += 0.3 * random.standard_normal(parameter.shape).astype(np.float32)
    return attention


def expected(p: dict[str, Array], nodes: Array, edges: Array, latent: Array) -> tuple[Array, Array]:
    """(output, gates)"""

    def attended(query: Array, space: str, along: Array) -> Array:
        keys, values = linear(p, f"{space}_keys", nodes), linear(p, f"{space}_values", nodes)
        return graph_oracle.dot_edges(query, keys, values, along, heads=2, scale=3**-0.5 / 1.5)[0]

    g = attended(linear(p, "graph_query", nodes), "graph", edges)
    near = attended(linear(p, "latent_query", nodes), "latent", latent)
    x = attended(linear(p, "cross_query", g), "latent", latent)
    logits = linear(p, "gate", np.concatenate([g, near, x], axis=1))
    gates = np.exp(logits - logits.max(axis=1, keepdims=True))
    gates /= gates.sum(axis=1, keepdims=True)
    fused = gates[:, :1] * g + gates[:, 1:2] * near + gates[:, 2:] * x
    return linear(p, "output", fused), gates


@pytest.mark.parametrize("loops", [True, False])
def test_outputs_gates_and_gradients_are_the_formula(loops: bool) -> None:
    nodes, edges, latent = drawn(6, 14)
    attention = made(add_self_loops=loops)
    used = [graph_oracle.with_loops(each, None, 6)[0] if loops else each for each in (edges, latent)]
    p = {name: array.astype(np.float64) for name, array in attention.parameters().items()}
    output = attention(nodes, edges, latent, training=True)
    out, gates = expected(p, nodes.astype(np.float64), *used)
    oracle.assert_close(output, out, 5e-6)
    oracle.assert_close(attention.gates(nodes, edges, latent), gates, 5e-6)
    upstream = np.random.default_rng(3).standard_normal(output.shape)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        return float((expected(at, at["nodes"], *used)[0] * upstream).sum())

    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, {"nodes": nodes, **attention.parameters()}))


@pytest.mark.parametrize(("n_node", "k"), [(2, 1), (9, 3), (5, 8), (200, 8)])
def test_latent_neighbours_are_the_most_similar_others(n_node: int, k: int) -> None:
    nodes, edges, _ = drawn(n_node, 20)
    attention = made(num_neighbors=k)
    unit = nodes.astype(np.float64) / np.linalg.norm(nodes.astype(np.float64), axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    count = min(k, n_node - 1)
    wanted = np.argsort(-similarity, axis=1)[:, :count]
    found = attention.latent_neighbors(nodes)
    assert found.shape == (2, n_node * count)
    for node in range(n_node):
        assert set(found[0, found[1] == node]) == set(wanted[node])
    assert np.array_equal(attention(nodes, edges), attention(nodes, edges, found))


def test_equal_nodes_are_neighbours_but_none_is_its_own() -> None:
    attention = made(num_neighbors=2)
    found = attention.latent_neighbors(np.ones((6, 6)))
    assert (found[0] != found[1]).all()
    assert np.bincount(found[1]).tolist() == [2] * 6
    assert attention(np.ones((1, 6)), []).shape == (1, 6)


def test_a_batch_finds_neighbours_item_by_item() -> None:
    nodes, edges, latent = drawn(9, 20)
    both = np.stack([nodes, drawn(9, 20, seed=1)[0]])
    attention = made(num_neighbors=3)
    for given in (None, latent):
        output = attention(both, edges, given, training=True)
        grads, total = attention.backward(np.ones(output.shape)), np.zeros((18, 3))
        for index in range(2):
            oracle.assert_close(output[index], attention(both[index], edges, given, training=True), 1e-6)
            single = attention.backward(np.ones(output.shape[1:]))
            oracle.assert_close(grads["nodes"][index], single["nodes"], 1e-5)
            total += single["gate_weight"]
            for node in (0, 5):
                one = attention.forward_neighborhood(node, both, edges, given)[index]
                oracle.assert_close(one, output[index, node], 2e-6)
        oracle.assert_close(grads["gate_weight"], total, 1e-5)
        assert attention.gates(both, edges, given).shape == (2, 9, 3)


def test_k_hops_widen_the_graph_alone() -> None:
    nodes, edges, latent = drawn(9, 12)
    attention = made()
    near = ra.Graph(edges, 9).around(4, 3)[0]
    star = [(int(source), 4) for source in near]
    expected_output = attention(nodes, star, latent)[4]
    oracle.assert_close(attention.forward_k_hop(4, nodes, edges, 3, latent), expected_output, 2e-6)


def test_latent_edges_that_do_not_fit_are_named() -> None:
    nodes, edges, _ = drawn(9, 12)
    with pytest.raises(ra.OutOfBoundsError, match="latent_index names node 9; expected 0 to 8"):
        made()(nodes, edges, [(0, 9)])
    with pytest.raises(ra.UnsupportedError, match="without leading dimensions"):
        made().latent_neighbors(np.ones((2, 3, 6)))
