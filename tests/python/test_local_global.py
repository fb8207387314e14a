"""Local and global attention against dense attention in float64 under the pattern, written pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra

Array = npt.NDArray[Any]


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def sees(position: int, key: int, window: int, tokens: int, causal: bool) -> bool:
    if causal and key > position:
        return False
    return abs(position - key) <= window or key < tokens or 0 <= position < tokens


def pattern(positions: Array, n_key: int, window: int, tokens: int, causal: bool = False) -> Array:
    return np.array([[sees(int(p), j, window, tokens, causal) for j in range(n_key)] for p in positions])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("window", "tokens"), [(0, 0), (0, 2), (1, 0), (3, 1), (20, 5), (200, 0)])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (1, 50), (50, 50), (7, 50), (150, 150)])
def test_outputs_and_weights_are_those_under_the_pattern(
    causal: bool, window: int, tokens: int, n_query: int, n_key: int
) -> None:
    q, k, v = drawn((2, n_query, 6), (2, n_key, 6), (2, n_key, 4))
    seen = pattern(np.arange(n_query) + n_key - n_query, n_key, window, tokens, causal)
    made = ra.LocalGlobalAttention(dim=6, window=window, global_tokens=tokens, causal=causal)
    output, weights = attention(q, k, v, mask=seen)
    assert_close(made(q, k, v), output)
    assert_close(made.attention_weights(q, k), weights)


def test_queries_stand_at_the_positions_that_are_given() -> None:
    q, k, v = drawn((4, 6), (40, 6), (40, 3))
    made = ra.LocalGlobalAttention(dim=6, window=3, global_tokens=2)
    positions = np.array([0, 39, 5, 20])
    output, weights = attention(q, k, v, mask=pattern(positions, 40, 3, 2))
    assert_close(made(q, k, v, position=positions), output)
    assert_close(made.attention_weights(q, k, position=positions), weights)
    assert_close(made(q[2], k, v, position=5), output[2])
    causal, _ = attention(q, k, v, mask=pattern(positions, 40, 3, 2, causal=True))
    assert_close(made(q, k, v, position=positions, causal=True), causal)
    mask = np.random.default_rng(1).random((4, 40)) < 0.7
    both, _ = attention(q, k, v, mask=mask & pattern(positions, 40, 3, 2))
    assert_close(made(q, k, v, position=positions, mask=mask), both)


def test_masks_biases_and_lengths_count_inside_the_pattern() -> None:
    q, k, v = drawn((2, 30, 6), (2, 30, 6), (2, 30, 3))
    random = np.random.default_rng(2)
    mask, bias = random.random((30, 30)) < 0.6, random.standard_normal((30, 30)).astype(np.float32)
    seen = pattern(np.arange(30), 30, 4, 1)
    made = ra.LocalGlobalAttention(dim=6, window=4, global_tokens=1)
    expected, _ = attention(q, k, v, mask=mask & seen, bias=bias)
    assert_close(made(q, k, v, mask=mask, bias=bias), expected)
    expected, _ = attention(q, k, v, mask=seen & np.tri(30, dtype=bool))
    assert_close(made(q, k, v, mask=ra.CausalMask()), expected)
    lengths = np.array([30, 12])
    expected, _ = attention(q, k, v, mask=seen & (np.arange(30) < lengths[:, None, None]))
    assert_close(made(q, k, v, key_lengths=lengths), expected)


@pytest.mark.parametrize("position", [None, [4, 0, 19, 7, 7]])
def test_gradients_are_those_under_the_pattern(position: list[int] | None) -> None:
    q, k, v, grad = drawn((5, 4), (20, 4), (20, 3), (5, 3))
    made = ra.LocalGlobalAttention(dim=4, window=2, global_tokens=1)
    seen = pattern(np.arange(15, 20) if position is None else np.array(position), 20, 2, 1)
    made(q, k, v, position=position, training=True)
    found = made.backward(grad)
    wide = [array.astype(np.float64) for array in (q, k, v)]

    def loss() -> float:
        return float((attention(*wide, mask=seen)[0] * grad).sum())

    for name, array in zip(("query", "keys", "values"), wide, strict=True):
        expected = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss()
            array[index] = kept - 1e-5
            expected[index] = (above - loss()) / 2e-5
            array[index] = kept
        assert np.abs(found[name] - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_the_pattern_can_be_had() -> None:
    made = ra.LocalGlobalAttention(dim=4, window=3, global_tokens=2)
    mask = made.get_attention_mask(25)
    expected = pattern(np.arange(25), 25, 3, 2)
    assert np.array_equal(mask.to_dense(25, 25), expected)
    assert mask.count_nonzero(25) == expected.sum()
    for at in (0, 1, 2, 12, 24):
        assert np.array_equal(made.get_attention_mask(25, position=at), expected[at])


@pytest.mark.parametrize(
    ("position", "error", "words"),
    [
        (40, ra.OutOfBoundsError, "position holds 40; expected 0 to 19"),
        ([0, -1], ra.OutOfBoundsError, "position holds -1"),
        ([0, 1, 2], ra.DimensionMismatchError, r"position is \(3,\); expected \(2,\)"),
        (1.5, ra.UnsupportedError, "position is an array of float64; expected integers"),
    ],
)
def test_positions_that_do_not_fit_are_named(position: Any, error: type[ra.AttentionError], words: str) -> None:
    q, k, v = drawn((2, 4), (20, 4), (20, 4))
    with pytest.raises(error, match=words):
        ra.LocalGlobalAttention(dim=4)(q, k, v, position=position)
    with pytest.raises(ra.UnsupportedError, match=r"mask is CausalMask.*beside a position"):
        ra.LocalGlobalAttention(dim=4)(q, k, v, position=[1, 2], mask=ra.CausalMask())


def test_a_query_alone_reads_its_window_and_the_globals_only() -> None:
    """NaN elsewhere is never met."""
    q, k, v = drawn((4,), (1000, 4), (1000, 2))
    k[100:400] = np.nan
    made = ra.LocalGlobalAttention(dim=4, window=5, global_tokens=2)
    expected, _ = attention(q[None], np.nan_to_num(k), v, mask=pattern(np.array([700]), 1000, 5, 2))
    assert_close(made(q, k, v, position=700)[None], expected)
