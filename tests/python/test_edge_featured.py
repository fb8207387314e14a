"""EdgeFeaturedAttention against its papers' formulas in float64; torch_geometric's layers are in tests/vectors."""

from __future__ import annotations

from itertools import product
from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels, reference
from ruvector_attention.graph import Graph

Array = npt.NDArray[Any]


def drawn(n_node: int, n_edges: int, dim: int, edge_dim: int | None, seed: int = 0) -> tuple[Array, Array, Any]:
    random = np.random.default_rng([seed, n_node, n_edges, dim])
    nodes = random.standard_normal((n_node, dim)).astype(np.float32)
    edges = random.integers(0, n_node, (2, n_edges))
    attr = None if edge_dim is None else random.standard_normal((n_edges, edge_dim)).astype(np.float32)
    return nodes, edges, attr


def doubled(attention: ra.Attention) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in attention.parameters().items()}


def shaken(**settings: Any) -> ra.EdgeFeaturedAttention:
    """With biases that are not zero."""
    attention = ra.EdgeFeaturedAttention(**settings)
    random = np.random.default_rng(1)
    for parameter in attention.parameters().values():
        parameter += 0.3 * random.standard_normal(parameter.shape).astype(np.float32)
    return attention


@pytest.mark.parametrize("variant", ["gat", "gatv2"])
@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize(
    ("sizes", "heads", "width"),
    [((1, 0), 1, 1), ((5, 9), 1, 3), ((30, 200), 4, 8), ((7, 400), 3, 17), ((200, 700), 8, 16), ((9, 20), 2, 70)],
)
def test_outputs_and_weights_are_the_papers(
    variant: str, backend: str, sizes: tuple[int, int], heads: int, width: int
) -> None:
    nodes, edges, attr = drawn(*sizes, dim=6, edge_dim=4)
    attention = shaken(dim=6, edge_dim=4, num_heads=heads, head_dim=width, variant=variant)
    before = kernels.backend()
    kernels.use_backend(backend)
    try:
        output, weights = attention(nodes, edges, attr), attention.attention_weights(nodes, edges, attr)
    finally:
        kernels.use_backend(before)
    looped, loop_attr = graph_oracle.with_loops(edges, attr, sizes[0])
    expected, of_edges = graph_oracle.edge_featured(
        doubled(attention), nodes.astype(np.float64), looped, loop_attr, variant=variant, heads=heads
    )
    oracle.assert_close(output, expected, 1e-5)
    apart = edges[0] != edges[1]
    oracle.assert_close(weights[apart], of_edges[: apart.sum()], 1e-5) if apart.any() else None
    assert weights.shape == (sizes[1], heads)


@pytest.mark.parametrize(
    ("variant", "loops", "concat", "share", "edge_dim"),
    [c for c in product(["gat", "gatv2"], [True, False], [True, False], [False, True], [None, 3])
     if not (c[0] == "gat" and c[3])],
)  # fmt: skip
def test_gradients_of_everything(variant: str, loops: bool, concat: bool, share: bool, edge_dim: int | None) -> None:
    nodes, edges, attr = drawn(6, 14, dim=4, edge_dim=edge_dim)
    settings: dict[str, Any] = {"variant": variant, "concat_heads": concat, "share_weights": share}
    attention = shaken(dim=4, edge_dim=edge_dim, num_heads=2, head_dim=3, add_self_loops=loops, **settings)
    output = attention(nodes, edges, attr, training=True)
    upstream = np.random.default_rng(3).standard_normal(output.shape)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        looped = (edges, at.get("edge_attr"))
        if loops:
            looped = graph_oracle.with_loops(*looped, n_node=6)
        out, _ = graph_oracle.edge_featured(
            at, at["nodes"], *looped, variant=variant, heads=2, concat=concat, share=share
        )
        return float((out * upstream).sum())

    at = {"nodes": nodes, **attention.parameters(), **({} if attr is None else {"edge_attr": attr})}
    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, at))


@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize(("terms", "width"), [(1, 5), (3, 3), (8, 8), (19, 33)])
def test_the_kernels_gradients_are_the_references(backend: str, terms: int, width: int, heads: int) -> None:
    random = np.random.default_rng(terms)
    batch, n_node, n_edges = 2, 9, 150
    graph = Graph(random.integers(0, n_node, (2, n_edges)), n_node)
    fans = graph.fans(self_loops=False, isolated_loops=False)

    def rows(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32)

    source, target = rows(batch, n_node, terms, heads), rows(batch, n_node, terms, heads)
    edge, attention, values = rows(n_edges, terms, heads), rows(terms, heads), rows(batch, n_node, width, heads)
    attention *= np.float32(terms**-0.5)
    keep = (random.random((batch, n_edges, heads)) < 0.7).astype(np.float32) / np.float32(0.7)
    inputs = (source, target, edge, attention, values, fans.indptr, fans.sources, fans.rows, keep)
    sizes = (batch, heads, n_node, n_node, n_edges, n_edges, terms, width, 0)
    upstream, results = rows(batch, n_node, width, heads), []
    before = kernels.backend()
    kernels.use_backend(backend)
    try:
        for table in (kernels.active.__dict__, reference.BODIES):
            out, weights = np.zeros((batch, n_node, width, heads), np.float32), rows(batch, n_edges, heads)
            assert table["edge_attention"](*inputs, out, weights, *sizes, 0, batch, 0.2) == 0
            shapes = (source.shape, target.shape, edge.shape, (batch, terms, heads), values.shape)
            grads = [np.ones(shape, np.float32) for shape in shapes]  # they are added to
            call = table["edge_attention_backward"]
            assert call(*inputs, weights, upstream, *grads, *sizes, 0, batch, 0.2) == 0
            results.append([out, weights, *grads])
    finally:
        kernels.use_backend(before)
    for actual, expected in zip(*results, strict=True):
        oracle.assert_close(actual, expected, 2e-5)


def test_a_batch_shares_its_graph() -> None:
    nodes, edges, attr = drawn(6, 15, dim=4, edge_dim=3)
    both = np.stack([nodes, nodes[::-1]])
    attention = shaken(dim=4, edge_dim=3, num_heads=2)
    for given in (attr, np.stack([attr, attr + 1])):
        output = attention(both, edges, given, training=True)
        grads = attention.backward(np.ones(output.shape))
        of_attr = []
        for index in range(2):
            own = given if given.ndim == 2 else given[index]
            assert np.array_equal(attention(both[index], edges, own, training=True), output[index])
            single = attention.backward(np.ones(output.shape[1:]))
            oracle.assert_close(grads["nodes"][index], single["nodes"], 1e-6)
            of_attr.append(single["edge_attr"])
        oracle.assert_close(grads["edge_attr"], np.sum(of_attr, axis=0) if given.ndim == 2 else np.stack(of_attr), 1e-6)


def test_one_node_costs_its_own_edges_and_gives_the_same() -> None:
    nodes, edges, attr = drawn(20, 60, dim=8, edge_dim=3)
    for loops, isolated in product([True, False], ["zeros", "self"]):
        attention = shaken(dim=8, edge_dim=3, num_heads=2, add_self_loops=loops, isolated=isolated)
        whole = attention(nodes, edges, attr)
        for node in range(20):
            oracle.assert_close(attention.forward_neighborhood(node, nodes, edges, attr), whole[node], 1e-6)


def test_k_hops_reach_every_node_once() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (0, 2), (3, 3)]
    nodes, _, _ = drawn(5, 0, dim=4, edge_dim=None)
    attention = shaken(dim=4, num_heads=2)
    for k, around in ((1, [2]), (2, [2, 1, 0]), (3, [2, 1, 0]), (9, [2, 1, 0])):
        star = [(source, 3) for source in around]
        expected = attention.forward_neighborhood(3, nodes, star)
        oracle.assert_close(attention.forward_k_hop(3, nodes, chain, k), expected, 1e-6)
    with pytest.raises(ra.UnsupportedError, match="k is 0; expected an integer of at least 1"):
        attention.forward_k_hop(3, nodes, chain, 0)


def test_isolated_nodes_give_the_bias_or_themselves() -> None:
    nodes, edges = np.eye(3, 4, dtype=np.float32), [(0, 1)]
    nothing = shaken(dim=4, num_heads=2, add_self_loops=False)
    oracle.assert_close(nothing(nodes, edges)[[0, 2]], np.tile(nothing.parameters()["bias"], (2, 1)), 1e-7)
    itself = shaken(dim=4, num_heads=2, add_self_loops=False, isolated="self")
    p = itself.parameters()
    expected = nodes @ p["source_weight"] + p["source_bias"] + p["bias"]
    oracle.assert_close(itself(nodes, edges)[[0, 2]], expected[[0, 2]], 1e-6)
    oracle.assert_close(itself(nodes, edges)[1], expected[0], 1e-6)
    assert itself.attention_weights(nodes, edges).tolist() == [[1.0, 1.0]]


def test_a_query_among_its_neighbours_is_a_star() -> None:
    nodes, _, attr = drawn(6, 5, dim=8, edge_dim=3)
    edges = [(source, 0) for source in range(1, 6)]
    for variant, loops in product(["gat", "gatv2"], [True, False]):
        attention = shaken(dim=8, edge_dim=3, num_heads=2, variant=variant, add_self_loops=loops)
        whole = attention(nodes, edges, attr)[0]
        oracle.assert_close(attention.compute_with_edges(nodes[0], nodes[1:], nodes[1:], attr), whole, 1e-6)
        oracle.assert_close(attention.compute(nodes[0], nodes[1:], nodes[1:]), attention(nodes, edges)[0], 1e-6)
    with pytest.raises(ra.DimensionMismatchError, match="query, keys and values"):
        attention.compute(nodes[0], nodes[1:], nodes[2:])


def test_dropout_drops_weights_and_its_gradients_follow() -> None:
    nodes, edges, _ = drawn(40, 400, dim=4, edge_dim=None)
    attention = shaken(dim=4, num_heads=2, dropout=0.5)
    plain = attention(nodes, edges)
    total = np.zeros_like(plain, np.float64)
    for _ in range(400):
        total += attention(nodes, edges, training=True)
    assert np.abs(total / 400 - plain).max() < 0.25 * np.abs(plain).max()
    attention.reset()
    first = attention(nodes, edges, training=True)
    attention.reset()
    assert np.array_equal(attention(nodes, edges, training=True), first)
    grads, step = attention.backward(np.ones(first.shape)), 1e-2
    attention.parameters()["bias"][...] += step
    attention.reset()
    moved = attention(nodes, edges, training=True)
    assert (moved - first).sum() == pytest.approx(grads["bias"].sum() * step, rel=1e-3)


def test_huge_scores_stay_finite_and_bad_numbers_are_named() -> None:
    nodes, edges, attr = drawn(9, 30, dim=4, edge_dim=2)
    attention = shaken(dim=4, edge_dim=2, num_heads=2)
    assert np.isfinite(attention(nodes * 1e15, edges, attr)).all()
    weights = attention.weights_by_edge(nodes * 1e15, edges, attr)
    sums = np.zeros((9, 2))
    for (_, target), own in weights.items():
        sums[target] += own
    assert np.abs(sums - 1).max() <= 1e-5
    attr[3, 1] = np.inf
    with pytest.raises(ra.NumericalInstabilityError, match=r"edge_attr holds inf at index \(3, 1\)"):
        attention(nodes, edges, attr)
    with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
        attention(nodes * 1e38, edges)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_heads": 3}, "dim is 4; expected a multiple of num_heads = 3"),
        ({"variant": "gta"}, "did you mean 'gat'"),
        ({"negative_slope": 1.5}, "negative_slope"),
        ({"variant": "gat", "share_weights": True}, "share_weights"),
        ({"isolated": "both"}, "isolated"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.EdgeFeaturedAttention(dim=4, **settings)


def test_edge_features_that_do_not_fit_are_refused() -> None:
    nodes, edges, attr = drawn(6, 15, dim=4, edge_dim=3)
    attention = ra.EdgeFeaturedAttention(dim=4, edge_dim=3)
    with pytest.raises(ra.DimensionMismatchError, match=r"edge_attr is \(14, 3\); expected \(15, edge_dim\)"):
        attention(nodes, edges, attr[:-1])
    with pytest.raises(ra.DimensionMismatchError, match=r"edge_attr is \(15, 2\).*edge_dim = 3"):
        attention(nodes, edges, attr[:, :2])
    with pytest.raises(ra.UnsupportedError, match=r"edge_dim .*is None"):
        ra.EdgeFeaturedAttention(dim=4)(nodes, edges, attr)


def test_the_only_edge_of_a_node_has_no_gradient_through_its_score() -> None:
    nodes = drawn(2, 0, dim=64, edge_dim=None)[0]
    attention = shaken(dim=64, num_heads=4, add_self_loops=False)
    output = attention(nodes, [(0, 1)], training=True)
    found = attention.backward(np.random.default_rng(0).standard_normal(output.shape))
    assert not found["attention"].any()
    assert not found["target_weight"].any()
    assert found["source_weight"].any()
