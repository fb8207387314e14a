"""Dropout along edges: weights that are left are larger by as much as others are gone, and so are their gradients."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention.dot_edges import DroppedDotCall
from ruvector_attention.graph import Graph

Array = npt.NDArray[Any]
MECHANISMS = ["cross_space", "edge_featured", "gin", "graph", "sage", "structural"]
N, HEADS = 12, 2


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_dropped_weights_and_their_gradients_are_the_formula(has_bias: bool, batch: tuple[int, ...]) -> None:
    edges = np.random.default_rng(1).integers(0, [N, N - 2], (40, 2)).T  # two nodes without edges into them
    fans = Graph(edges, N).fans(self_loops=False, isolated_loops=False)
    in_order = np.stack([fans.sources, np.repeat(np.arange(N), np.diff(fans.indptr))])
    shapes = [(*batch, N, 6), (*batch, N, 6), (*batch, N, 4), (*batch, N, 4), (40, HEADS)]
    query, keys, values, grad, bias = drawn(*shapes)
    keep = (np.random.default_rng(2).random((*batch, HEADS, 40)) < 0.6) / 0.6
    options: dict[str, Any] = {"scale": 0.7, "num_heads": HEADS, "bias": bias if has_bias else None}
    call = DroppedDotCall(query, keys, values, fans, keep=keep, **options)
    at = {"query": query, "keys": keys, "values": values, **({"bias": bias} if has_bias else {})}

    def output(at: dict[str, Array]) -> Array:
        found = np.zeros(grad.shape)
        for index in np.ndindex(*batch):
            own = None if not has_bias else at["bias"][fans.rows]
            q, k, v = (at[name][index] for name in ("query", "keys", "values"))
            _, weights = graph_oracle.dot_edges(q, k, v, in_order, own, heads=HEADS, scale=0.7)
            rows = (weights * keep[index].T)[..., None] * v.reshape(N, HEADS, -1)[in_order[0]]
            np.add.at(found[index], in_order[1], rows.reshape(40, -1))
        return found

    out, lse = call.forward(True)
    oracle.assert_close(out, output({name: x.astype(np.float64) for name, x in at.items()}), 4e-6)
    found = call.backward(out, lse, grad)._asdict()
    expected = graph_oracle.gradients(lambda moved: float((output(moved) * grad).sum()), at)
    graph_oracle.assert_gradients({name: found[name] for name in expected}, expected)


@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("name", MECHANISMS)
def test_dropout_is_for_training_alone_and_begins_again_with_reset(name: str, lead: tuple[int, ...]) -> None:
    (nodes,) = drawn((*lead, N, 6))
    edges = np.random.default_rng(1).integers(0, N, (2, 60))
    graph = (edges, edges[::-1]) if name == "cross_space" else (edges,)  # its own neighbours are chosen by steps
    settings = {"dim": 6, "num_heads": HEADS, "seed": 4}
    attention, plain = ra.create(name, dropout=0.4, **settings), ra.create(name, **settings)
    first, second = attention(nodes, *graph, training=True), attention(nodes, *graph, training=True)
    assert np.abs(first - second).max() > 1e-3
    assert np.array_equal(attention(nodes, *graph), plain(nodes, *graph))
    attention.reset()
    assert np.array_equal(attention(nodes, *graph, training=True), first)
    grad = drawn(first.shape, seed=5)[0]
    gradients = attention.backward(grad)
    step = drawn(nodes.shape, seed=6)[0] * np.float32(1e-3)
    losses = []
    for sign in (1, -1):
        attention.reset()
        moved = attention(nodes + sign * step, *graph, training=True).astype(np.float64)
        losses.append(float((moved * grad).sum()))
    slope = (losses[0] - losses[1]) / 2
    assert abs((gradients["nodes"] * step).sum() - slope) <= 1e-2 * np.abs(gradients["nodes"] * step).sum()


def test_the_mean_of_many_draws_is_the_output_without_dropout() -> None:
    (nodes,) = drawn((N, 4))
    edges = np.random.default_rng(1).integers(0, N, (2, 60))
    attention = ra.GraphAttention(dim=4, dropout=0.3, bias=False)
    draws = np.stack([attention(nodes, edges, training=True) for _ in range(400)]).astype(np.float64)
    error = draws.std(axis=0) / 20
    assert (np.abs(draws.mean(axis=0) - attention(nodes, edges)) <= 5 * error + 1e-6).all()


@pytest.mark.parametrize("name", ["graph", "gin", "sage", "cross_space"])
def test_a_graph_without_edges_has_no_weights_to_drop(name: str) -> None:
    nodes, edges = np.ones((3, 6)), np.zeros((2, 0), int)
    graphs = [edges, edges] if name == "cross_space" else [edges]
    attention = ra.create(name, dim=6, num_heads=2, add_self_loops=False, dropout=0.3)
    plain = ra.create(name, dim=6, num_heads=2, add_self_loops=False)
    output = attention(nodes, *graphs, training=True)
    assert np.array_equal(output, plain(nodes, *graphs))
    assert attention.attention_weights(nodes, *graphs).shape == (0, 2)
    assert np.isfinite(attention.backward(np.ones_like(output))["nodes"]).all()
