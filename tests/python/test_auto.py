"""What Auto picks, and that it is what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra
from ruvector_attention.attention.auto import TREE_LIKE, tree_likeness

Array = npt.NDArray[Any]


def drawn(*shapes: tuple[int, ...], size: float = 1.0, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [(size * random.standard_normal(shape)).astype(np.float32) for shape in shapes]


def tree(depth: int, dim: int, seed: int = 0) -> Array:
    """The nodes of a binary tree, each a random step from its parent."""
    random = np.random.default_rng(seed)
    level, nodes = [np.zeros(dim)], [np.zeros(dim)]
    for _ in range(depth):
        level = [node + random.standard_normal(dim) for node in level for _ in range(2)]
        nodes += level
    return np.array(nodes, np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_trees_are_told_from_grids_and_from_clouds(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert 0.0 < tree_likeness(tree(6, 64, seed)) < TREE_LIKE
    assert tree_likeness(random.standard_normal((200, 64)).astype(np.float32)) > 0.4
    grid = np.stack(np.meshgrid(np.arange(14.0), np.arange(14.0)), axis=-1).reshape(-1, 2)
    assert tree_likeness((grid + 0.1 * random.standard_normal(grid.shape)).astype(np.float32)) > TREE_LIKE
    clusters = np.repeat(random.standard_normal((8, 64)) * 5, 25, axis=0) + random.standard_normal((200, 64))
    assert tree_likeness(clusters.astype(np.float32)) < TREE_LIKE  # a tree of two levels


def test_tree_likeness_is_the_mean_over_quartets() -> None:
    """Four points have one quartet, whose delta is written out here."""
    points = np.array([[0, 0], [3, 0], [0, 1], [5, 2]], np.float32)
    squares = ((points[:, None] - points) ** 2).sum(axis=-1)
    sums = sorted([squares[0, 1] + squares[2, 3], squares[0, 2] + squares[1, 3], squares[0, 3] + squares[1, 2]])
    assert tree_likeness(points) == pytest.approx((sums[2] - sums[1]) / (sums[2] - sums[0]))
    assert tree_likeness(points[:3]) == 1.0


def test_few_rows_get_exact_attention() -> None:
    q, k, v = drawn((30, 8), (40, 8), (40, 3))
    made = ra.AutoAttention(dim=8)
    choice = made.explain(q, k, v)
    assert choice.mechanism == "scaled_dot_product"
    assert choice.reason == "30 queries and 40 keys are few: exact attention costs less than an estimate"
    assert choice.figures == {"n_query": 30, "n_key": 40, "dim": 8}
    assert_close(made(q, k, v), attention(q, k, v)[0])
    assert_close(made.attention_weights(q, k), attention(q, k, v)[1])


def test_many_small_rows_get_linear_attention_within_the_tolerance() -> None:
    q, k, v = drawn((1000, 16), (1000, 16), (1000, 3), size=0.3)
    made = ra.AutoAttention(dim=16, num_features=64, tolerance=0.1)
    choice = made.explain(q, k, v)
    assert choice.mechanism == "linear"
    assert choice.reason.startswith("the estimate's error on 16 of the queries is 0.0")
    exact = attention(q, k, v)[0]
    output = made(q, k, v)
    error = np.linalg.norm(output - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.1
    assert choice.figures["error"] == pytest.approx(error, rel=1.0)
    linear = ra.LinearAttention(dim=16, num_features=64)
    assert np.array_equal(output, linear(q, k, v))
    assert np.array_equal(made(q, k, v, causal=True), linear(q, k, v, causal=True))


@pytest.mark.parametrize(
    ("size", "settings", "options", "words"),
    [
        (3.0, {}, {}, "the estimate's error on 16 of the queries is .*, above 0.1"),
        (0.3, {"tolerance": 0}, {}, "the tolerance is 0: no estimate will do"),
        (0.3, {}, {"mask": np.arange(1000) % 2 == 0}, "a mask or key lengths came"),
        (0.3, {}, {"key_lengths": np.array(900)}, "a mask or key lengths came"),
    ],
)
def test_where_an_estimate_will_not_do_attention_is_exact(
    size: float, settings: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    q, k, v = drawn((1000, 16), (1000, 16), (1000, 3), size=size)
    made = ra.AutoAttention(dim=16, **{"num_features": 64, "tolerance": 0.1, **settings})
    choice = made.explain(q, k, v, **options)
    assert choice.mechanism == "scaled_dot_product"
    assert np.char.find(choice.reason, words.split(".*")[0]) == 0
    seen = options.get("mask")
    if "key_lengths" in options:
        seen = np.arange(1000) < 900
    assert_close(made(q, k, v, **options), attention(q, k, v, mask=seen)[0])


def test_an_estimate_that_is_no_number_is_told_without_one() -> None:
    random = np.random.default_rng(0)
    x = 1e30 * random.standard_normal((200, 8))  # products beyond float32
    choice = ra.AutoAttention(dim=8, num_features=1).explain(x, x, x)
    assert choice.mechanism == "scaled_dot_product"
    assert choice.reason == "the estimate is beyond float32 on 16 of the queries"
    assert "error" not in choice.figures


def test_edges_say_which_keys_a_query_sees() -> None:
    q, k, v = drawn((4, 6), (5, 6), (5, 3))
    edges = np.array([[0, 1, 4, 2, 3], [0, 0, 1, 2, 3]])  # key, query
    seen = np.zeros((4, 5), bool)
    seen[edges[1], edges[0]] = True
    made = ra.AutoAttention(dim=6)
    choice = made.explain(q, k, v, edge_index=edges)
    assert (choice.mechanism, choice.figures["edges"]) == ("scaled_dot_product", 5)
    assert_close(made(q, k, v, edge_index=edges), attention(q, k, v, mask=seen)[0])
    assert_close(made.attention_weights(q, k, edge_index=edges), attention(q, k, v, mask=seen)[1])
    both = made(q, k, v, edge_index=edges, mask=ra.CausalMask())
    assert_close(both, attention(q, k, v, mask=seen & ra.CausalMask().to_dense(4, 5))[0])
    for wrong, error in (
        (edges.astype(float), ra.UnsupportedError),
        (edges.T, ra.DimensionMismatchError),
        (edges + 3, ra.OutOfBoundsError),
    ):
        with pytest.raises(error):
            made(q, k, v, edge_index=wrong)
    with pytest.raises(ra.UnsupportedError, match="mask is an array beside edge_index"):
        made(q, k, v, edge_index=edges, mask=np.ones((4, 5), bool))


def test_a_tree_inside_the_ball_gets_hyperbolic_attention() -> None:
    nodes = tree(6, 64)
    nodes *= np.float32(0.9 / np.linalg.norm(nodes, axis=1).max())
    made = ra.AutoAttention(dim=64)
    choice = made.explain(nodes, nodes, nodes)
    assert choice.mechanism == "hyperbolic"
    assert "keys like a tree: delta 0." in choice.reason
    assert np.array_equal(made(nodes, nodes, nodes), ra.create("hyperbolic", dim=64)(nodes, nodes, nodes))
    assert made.explain(nodes, nodes, 2 * nodes).mechanism == "scaled_dot_product"


def test_gradients_are_those_of_what_was_picked() -> None:
    made = ra.AutoAttention(dim=16, num_features=64, tolerance=0.1)
    q, k, v, grad = drawn((1000, 16), (1000, 16), (1000, 3), (1000, 3), size=0.3)
    linear = ra.LinearAttention(dim=16, num_features=64)
    for rows, other in ((1000, linear), (20, ra.ScaledDotProductAttention(dim=16))):
        made(q[:rows], k[:rows], v[:rows], training=True)
        found = made.backward(grad[:rows])
        assert set(found) == {"query", "keys", "values", *made.parameters()}
        other(q[:rows], k[:rows], v[:rows], training=True)
        expected = other.backward(grad[:rows])
        for name in ("query", "keys", "values"):
            assert np.array_equal(found[name], expected[name])
        assert found["linear.features"].any() == (other is linear)
