"""Rotary positions on a graph, against the paper's form in float64."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels

Array = npt.NDArray[Any]


def turned(x: Array, positions: Array, base: float, interleaved: bool) -> Array:
    """Pairs as complex numbers: z_c exp(i p / base^(2c / dim))."""
    dim = x.shape[-1]
    pairs = dim // 2
    out = x.astype(np.float64).copy()
    for c in range(pairs):
        first, second = (2 * c, 2 * c + 1) if interleaved else (c, c + pairs)
        angle = positions / base ** (c / pairs)
        z = (x[..., first] + 1j * x[..., second]) * np.exp(1j * angle)
        out[..., first], out[..., second] = z.real, z.imag
    return out


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 7, 16, 33, 64])
def test_outputs_and_weights_are_the_papers(dim: int, interleaved: bool, backend: str) -> None:
    attention = ra.GraphRoPEAttention(dim=dim, base=100.0, scaling=2.0, interleaved=interleaved)
    q, k, v = normal(2, 5, dim), normal(2, 9, dim, seed=1), normal(2, 9, 4, seed=2)
    at_query, at_key = np.array([0, 1.5, -3, 40, 1000]), np.arange(9) * 0.7
    options: dict[str, Any] = {"query_positions": at_query, "key_positions": at_key, "causal": True}
    before = kernels.backend()
    kernels.use_backend(backend)
    try:
        output, weights = attention(q, k, v, **options), attention.attention_weights(q, k, **options)
        alone = attention.apply_rotary(k, at_key)
    finally:
        kernels.use_backend(before)
    turned_q, turned_k = turned(q, at_query / 2, 100.0, interleaved), turned(k, at_key / 2, 100.0, interleaved)
    expected, of_keys = oracle.attention(turned_q, turned_k, v, causal=True)
    oracle.assert_close(output, expected)
    oracle.assert_close(weights, of_keys)
    oracle.assert_close(alone, turned_k)


def test_a_score_depends_on_the_difference_of_positions_alone() -> None:
    attention = ra.GraphRoPEAttention(dim=8)
    q, k = normal(3, 8), normal(5, 8, seed=1)
    at_query, at_key = np.array([0.0, 2.0, 5.0]), np.arange(5.0)
    weights = attention.attention_weights(q, k, query_positions=at_query, key_positions=at_key)
    for shift in (-7.25, 300.0):
        moved = attention.attention_weights(q, k, query_positions=at_query + shift, key_positions=at_key + shift)
        assert np.abs(moved - weights).max() <= 2e-5
    other = attention.attention_weights(q, k, query_positions=at_query + 1, key_positions=at_key)
    assert np.abs(other - weights).max() > 1e-3


@pytest.mark.parametrize("interleaved", [False, True])
def test_gradients_go_back_through_the_turn(interleaved: bool) -> None:
    attention = ra.GraphRoPEAttention(dim=5, interleaved=interleaved)
    q, k, v, bias = normal(3, 5), normal(4, 5, seed=1), normal(4, 2, seed=2), normal(3, 4, seed=3)
    positions: dict[str, Any] = {"query_positions": np.arange(3), "key_positions": np.arange(4) * 1.5}
    output = attention(q, k, v, bias=bias, training=True, **positions)
    upstream = normal(*output.shape, seed=4)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        turned_q = turned(at["query"], np.arange(3), 10_000.0, interleaved)
        turned_k = turned(at["keys"], np.arange(4) * 1.5, 10_000.0, interleaved)
        out, _ = oracle.attention(turned_q, turned_k, at["values"], bias=at["bias"], scale=5**-0.5)
        return float((out * upstream).sum())

    expected = graph_oracle.gradients(loss, {"query": q, "keys": k, "values": v, "bias": bias})
    graph_oracle.assert_gradients(found, expected)


def test_without_positions_it_is_scaled_dot_product() -> None:
    q, k, v = normal(3, 6), normal(9, 6, seed=1), normal(9, 2, seed=2)
    rope, plain = ra.GraphRoPEAttention(dim=6), ra.ScaledDotProductAttention(dim=6)
    assert np.array_equal(rope.compute(q, k, v), plain(q, k, v))
    assert np.array_equal(rope(q, k, v, query_positions=4, key_positions=[0] * 9), rope(q, k, v, query_positions=4))
    one = rope.compute_with_positions(q[0], k, v, 0, np.arange(9))
    assert np.array_equal(one, rope(q[:1], k, v, query_positions=[0], key_positions=np.arange(9))[0])


def test_positions_may_differ_in_a_batch() -> None:
    rope = ra.GraphRoPEAttention(dim=6)
    q, k, v = normal(2, 3, 6), normal(2, 9, 6, seed=1), normal(2, 9, 2, seed=2)
    at_key = np.stack([np.arange(9), np.arange(9)[::-1]])
    both = rope(q, k, v, query_positions=0, key_positions=at_key)
    for index in range(2):
        single = rope(q[index], k[index], v[index], query_positions=0, key_positions=at_key[index])
        oracle.assert_close(both[index], single, 1e-6)


def test_hops_become_positions() -> None:
    assert ra.GraphRoPEAttention.distance_to_position(3, 32) == 3.0
    assert ra.GraphRoPEAttention.distance_to_position([1, 40, np.inf], 32).tolist() == [1, 32, 32]
    with pytest.raises(ra.OutOfBoundsError, match="negative"):
        ra.GraphRoPEAttention.distance_to_position(-1, 32)
    with pytest.raises(ra.OutOfBoundsError, match="max_distance"):
        ra.GraphRoPEAttention.distance_to_position(1, 0)


@pytest.mark.parametrize(
    ("positions", "error", "sentence"),
    [
        (np.arange(8), ra.DimensionMismatchError, r"key_positions is \(8,\)"),
        ([np.nan] * 9, ra.NumericalInstabilityError, "key_positions holds nan at index"),
        (["a"] * 9, ra.UnsupportedError, "key_positions is an array of str"),
        (np.arange(9) * 5, ra.OutOfBoundsError, "key_positions reaches 40.0; expected at most max_position = 32"),
    ],
)
def test_positions_that_do_not_fit_are_refused(positions: Any, error: type[ra.AttentionError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ra.GraphRoPEAttention.simple(6, 32)(normal(3, 6), normal(9, 6), normal(9, 2), key_positions=positions)
