"""GraphAttention, GINAttention and SAGEAttention against their formulas in float64."""

from __future__ import annotations

from itertools import product
from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest
from graph_oracle import linear

import ruvector_attention as ra
from ruvector_attention import kernels

Array = npt.NDArray[Any]
HEADS, SCALE = 2, 0.7
NAMES = ["graph", "gin", "sage"]


def expected(name: str, p: dict[str, Array], nodes: Array, edges: Array, attr: Array | None) -> tuple[Array, Array]:
    """(output, weights), self loops being the caller's business; scale is SCALE, temperature 1.5."""
    bias = None if attr is None else attr @ p["edge_weight"] / 1.5
    values = linear(p, "values", nodes) if name == "graph" else nodes
    query, keys = linear(p, "query", nodes), linear(p, "keys", nodes)
    gathered, weights = graph_oracle.dot_edges(query, keys, values, edges, bias, heads=HEADS, scale=SCALE / 1.5)
    if name == "gin":
        hidden = np.maximum(linear(p, "hidden", (1 + p["eps"]) * nodes + gathered), 0)
        return linear(p, "output", hidden), weights
    output = linear(p, "output", gathered)
    return (output + nodes @ p["self_weight"] if name == "sage" else output), weights


def made(name: str, **settings: Any) -> Any:
    attention = ra.create(name, dim=6, num_heads=HEADS, scale=SCALE, temperature=1.5, **settings)
    random = np.random.default_rng(2)
    for parameter in attention.parameters().values():
        parameter += 0.3 * random.standard_normal(parameter.shape).astype(np.float32)
    return attention


def drawn(n_node: int, n_edges: int, edge_dim: int | None) -> tuple[Array, Array, Any]:
    random = np.random.default_rng([n_node, n_edges])
    nodes = random.standard_normal((n_node, 6)).astype(np.float32)
    attr = None if edge_dim is None else random.standard_normal((n_edges, edge_dim)).astype(np.float32)
    return nodes, random.integers(0, n_node, (2, n_edges)), attr


@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize(("name", "loops", "edge_dim"), list(product(NAMES, [True, False], [None, 3])))
def test_outputs_and_weights_are_the_formulas(name: str, loops: bool, edge_dim: int | None, backend: str) -> None:
    attention = made(name, edge_dim=edge_dim, add_self_loops=loops)
    p = {key: value.astype(np.float64) for key, value in attention.parameters().items()}
    for sizes in ((1, 3), (8, 20), (30, 400)):
        nodes, edges, attr = drawn(*sizes, edge_dim)
        before = kernels.backend()
        kernels.use_backend(backend)
        try:
            output, weights = attention(nodes, edges, attr), attention.attention_weights(nodes, edges, attr)
        finally:
            kernels.use_backend(before)
        used = graph_oracle.with_loops(edges, attr, sizes[0]) if loops else (edges, attr)
        wanted, of_edges = expected(name, p, nodes.astype(np.float64), *used)
        oracle.assert_close(output, wanted, 5e-6)
        apart = edges[0] != edges[1] if loops else np.ones(sizes[1], bool)
        assert weights.shape == (sizes[1], HEADS)
        assert np.abs(weights[apart] - of_edges[: apart.sum()]).max(initial=0) <= 5e-6


@pytest.mark.parametrize(("name", "loops", "edge_dim"), list(product(NAMES, [True, False], [None, 3])))
def test_gradients_of_everything(name: str, loops: bool, edge_dim: int | None) -> None:
    nodes, edges, attr = drawn(5, 12, edge_dim)
    attention = made(name, edge_dim=edge_dim, add_self_loops=loops)
    output = attention(nodes, edges, attr, training=True)
    upstream = np.random.default_rng(3).standard_normal(output.shape)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        used = graph_oracle.with_loops(edges, at.get("edge_attr"), 5) if loops else (edges, at.get("edge_attr"))
        return float((expected(name, at, at["nodes"], *used)[0] * upstream).sum())

    at = {"nodes": nodes, **attention.parameters(), **({} if attr is None else {"edge_attr": attr})}
    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, at))


def test_a_batch_with_edge_features_of_its_own_equals_its_items() -> None:
    nodes, edges, attr = drawn(6, 15, 3)
    both, attrs = np.stack([nodes, nodes[::-1]]), np.stack([attr, attr + 1])
    for name, given in product(NAMES, [attr, attrs]):
        attention = made(name, edge_dim=3)
        output = attention(both, edges, given, training=True)
        grads = attention.backward(np.ones(output.shape))
        weights = attention.attention_weights(both, edges, given)
        singles = []
        for index in range(2):
            own = given if given.ndim == 2 else given[index]
            oracle.assert_close(output[index], attention(both[index], edges, own, training=True), 1e-6)
            singles.append(attention.backward(np.ones(output.shape[1:]))["edge_attr"])
            oracle.assert_close(weights[index], attention.attention_weights(both[index], edges, own), 1e-6)
        total = np.sum(singles, axis=0) if given.ndim == 2 else np.stack(singles)
        oracle.assert_close(grads["edge_attr"], total, 1e-5)


def test_a_normalized_output_has_length_one_and_its_gradient() -> None:
    nodes, edges, _ = drawn(5, 12, None)
    attention = made("sage", normalize=True)
    output = attention(nodes, edges, training=True)
    assert np.abs(np.linalg.norm(output, axis=-1) - 1).max() <= 1e-6
    upstream = np.random.default_rng(3).standard_normal(output.shape)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        rows = expected("sage", at, at["nodes"], edges, None)[0]
        return float((rows / np.linalg.norm(rows, axis=-1, keepdims=True) * upstream).sum())

    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, {"nodes": nodes, **attention.parameters()}))


def test_one_node_gives_what_all_of_them_give() -> None:
    nodes, edges, attr = drawn(12, 40, 3)
    for name, loops in product(NAMES, [True, False]):
        attention = made(name, edge_dim=3, add_self_loops=loops)
        whole = attention(nodes, edges, attr)
        for node in range(12):
            oracle.assert_close(attention.forward_neighborhood(node, nodes, edges, attr), whole[node], 2e-6)
        assert attention.forward_k_hop(3, nodes, edges, 2, attr).shape == (6,)


def test_a_node_without_edges_gives_what_zeros_or_itself_give() -> None:
    nodes = np.ones((2, 6), np.float32)
    zeros = made("graph", add_self_loops=False)
    oracle.assert_close(zeros(nodes, []), np.tile(zeros.parameters()["output_bias"], (2, 1)), 1e-7)
    itself = made("graph", add_self_loops=False, isolated="self")
    oracle.assert_close(itself(nodes, []), made("graph", add_self_loops=True)(nodes, []), 1e-7)


def test_compute_takes_a_graph_as_other_packages_write_it() -> None:
    attention = made("graph", edge_dim=1)
    nodes = np.random.default_rng(0).standard_normal((3, 6))
    graph = {"edges": [[0, 1], [1, 2]], "num_nodes": 3, "edge_features": [[1.0], [2.0]]}
    found = attention.compute(nodes, graph)
    assert np.array_equal(found["values"], attention(nodes, [(0, 1), (1, 2)], [[1.0], [2.0]]))
    assert found["weights"].shape == (2, HEADS)
    assert found["metadata"] == {"num_nodes": 3, "num_edges": 2, "attention_type": "graph"}
    with pytest.raises(ra.InvalidConfigError, match="num_nodes is 4; expected 3"):
        attention.compute(nodes, {**graph, "num_nodes": 4})
