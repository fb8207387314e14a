"""Scaled dot-product and multi-head attention against float64, over every shape at which a kernel turns a corner."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import engine

Array = npt.NDArray[Any]

QUERIES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 47, 48, 49, 191, 192, 193, 400]
KEYS = [1, 2, 127, 128, 129, 1000]
DIMS = [*range(1, 17), 31, 33, 64, 100, 128, 256, 512]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n_key", KEYS)
@pytest.mark.parametrize("n_query", QUERIES)
def test_every_number_of_queries_and_keys(n_query: int, n_key: int) -> None:
    q, k, v = normal(n_query, 24), normal(n_key, 24, seed=1), normal(n_key, 10, seed=2)
    attention = ra.ScaledDotProductAttention(dim=24)
    output, weights = oracle.attention(q, k, v)
    oracle.assert_close(attention(q, k, v), output)
    oracle.assert_close(attention.attention_weights(q, k), weights)


@pytest.mark.parametrize("n_query", [1, 5, 50])
@pytest.mark.parametrize("dim", DIMS)
def test_every_number_of_channels(dim: int, n_query: int) -> None:
    q, k, v = normal(n_query, dim), normal(140, dim, seed=1), normal(140, dim + 1, seed=2)
    oracle.assert_close(ra.ScaledDotProductAttention(dim=dim)(q, k, v), oracle.attention(q, k, v)[0])


@pytest.mark.parametrize("scale", [0.125, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("n_query", [1, 50])
def test_large_scores(n_query: int, scale: float) -> None:
    """Of unit-normal rows with 64 channels: scores up to 5, 20, 40 and 160 (docs/decisions/0005)."""
    attention = ra.ScaledDotProductAttention(dim=64, scale=scale)
    for seed in range(20):
        q, k, v = (normal(n, 64, seed=3 * seed + i) for i, n in enumerate((n_query, 300, 300)))
        output, weights = oracle.attention(q, k, v, scale=scale)
        tolerance = oracle.TOLERANCE * max(1, scale * np.abs(q @ k.T).max() / oracle.LARGE_SCORE)
        oracle.assert_close(attention(q, k, v), output, tolerance)
        oracle.assert_close(attention.attention_weights(q, k), weights, tolerance)


def test_a_float_mask_of_large_numbers() -> None:
    mask = np.where(np.random.default_rng(0).random((50, 300)) < 0.5, np.float32(150), np.float32(-150))
    q, k, v = normal(50, 64), normal(300, 64, seed=1), normal(300, 64, seed=2)
    output, _ = oracle.attention(q, k, v, mask=mask)
    oracle.assert_close(
        ra.ScaledDotProductAttention(dim=64)(q, k, v, mask=mask), output, oracle.TOLERANCE * 155 / oracle.LARGE_SCORE
    )


MASKS: dict[str, Any] = {
    "bool": lambda n_query, n_key: np.random.default_rng(3).random((n_query, n_key)) < 0.5,
    "bool for the keys": lambda _, n_key: np.random.default_rng(4).random(n_key) < 0.5,
    "bool for the queries": lambda n_query, _: (np.arange(n_query) % 2 == 0)[:, None],
    "bool for each of a batch": lambda _, n_key: np.random.default_rng(5).random((2, 1, n_key)) < 0.5,
    "nothing": lambda n_query, n_key: np.zeros((n_query, n_key), bool),
    "float": lambda n_query, n_key: normal(n_query, n_key, seed=6),
    "float with minus infinity": lambda n_query, n_key: np.where(
        np.random.default_rng(7).random((n_query, n_key)) < 0.5, np.float32(0), -np.inf
    ).astype(np.float32),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 9), (3, 200), (20, 20), (49, 300), (60, 40)])
@pytest.mark.parametrize("kind", MASKS)
def test_every_kind_of_mask(kind: str, n_query: int, n_key: int, causal: bool) -> None:
    mask = MASKS[kind](n_query, n_key)
    q, k, v = normal(2, n_query, 16), normal(2, n_key, 16, seed=1), normal(2, n_key, 8, seed=2)
    attention = ra.ScaledDotProductAttention(dim=16)
    output, weights = oracle.attention(q, k, v, mask=mask, causal=causal)
    oracle.assert_close(attention(q, k, v, mask=mask, causal=causal), output)
    oracle.assert_close(attention.attention_weights(q, k, mask=mask, causal=causal), weights)


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 0.3},
        {"scale": -0.3},
        {"scale": 0.0},
        {"temperature": 0.1},
        {"temperature": 50.0},
        {"normalize": True},
        {"normalize": True, "scale": 1.0, "temperature": 0.2},
    ],
)
@pytest.mark.parametrize("n_query", [2, 40])
def test_every_setting_of_the_scores(settings: dict[str, Any], n_query: int) -> None:
    q, k, v = normal(n_query, 16), normal(150, 16, seed=1), normal(150, 8, seed=2)
    bias = normal(n_query, 150, seed=3)
    found = ra.ScaledDotProductAttention(dim=16, **settings)(q, k, v, bias=bias)
    oracle.assert_close(found, oracle.attention(q, k, v, bias=bias, **settings)[0])


@pytest.mark.parametrize(
    ("query", "keys", "values"),
    [
        ((2, 3), (2, 3), (2, 3)),
        ((2, 3), (3,), (2, 1)),
        ((), (4,), (4,)),
        ((2, 1, 3), (5, 1), (2, 5, 3)),
        ((3, 2), (), ()),
    ],
)
def test_leading_dimensions_broadcast(query: tuple[int, ...], keys: tuple[int, ...], values: tuple[int, ...]) -> None:
    q, k, v = normal(*query, 6, 8), normal(*keys, 7, 8, seed=1), normal(*values, 7, 5, seed=2)
    oracle.assert_close(ra.ScaledDotProductAttention(dim=8)(q, k, v), oracle.attention(q, k, v)[0])


def test_a_fully_masked_row_gives_zeros() -> None:
    mask = np.ones((60, 30), bool)
    mask[[0, 59]] = False
    q, k = normal(60, 4), normal(30, 4, seed=1)
    attention = ra.ScaledDotProductAttention(dim=4)
    assert not attention(q, k, k, mask=mask)[[0, 59]].any()
    assert not attention.attention_weights(q, k, mask=mask)[[0, 59]].any()


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_huge_scores_give_weights_that_sum_to_one(size: float) -> None:
    q, k = normal(50, 4) * np.float32(size), normal(300, 4, seed=1)
    weights = ra.ScaledDotProductAttention(dim=4, scale=1.0).attention_weights(q, k)
    assert np.isfinite(weights).all()
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-5


def test_scores_that_overflow_float32_are_an_error_that_says_so() -> None:
    large = np.full((2, 4), 1e30, np.float32)
    with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
        ra.ScaledDotProductAttention(dim=4)(large, large, large)


@pytest.mark.parametrize("n_query", [1, 20, 60])
@pytest.mark.parametrize("name", ["query", "keys", "values"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named(name: str, bad: float, n_query: int) -> None:
    arrays = {"query": normal(n_query, 5), "keys": normal(200, 5, seed=1), "values": normal(200, 7, seed=2)}
    index = (arrays[name].shape[0] - 1, 2)
    arrays[name][index] = bad
    sentence = rf"{name} holds {bad} at index \({index[0]}, 2\)"
    with pytest.raises(ra.NumericalInstabilityError, match=sentence):
        ra.ScaledDotProductAttention(dim=5)(**arrays)
    unchecked = ra.ScaledDotProductAttention(dim=5)(**arrays, check_finite=False)
    assert np.isnan(unchecked[-1]).any() or not np.isfinite(unchecked[-1]).all()


@pytest.mark.parametrize("n_query", [3, 300])
def test_keys_behind_the_length_are_never_read(n_query: int) -> None:
    q, k, v = normal(2, n_query, 8), normal(2, 150, 8, seed=1), normal(2, 150, 4, seed=2)
    lengths = np.array([20, 140])
    expected = [oracle.attention(q[i], k[i, :n], v[i, :n])[0] for i, n in enumerate(lengths)]
    for i, n in enumerate(lengths):
        k[i, n:], v[i, n:] = np.nan, np.nan
    found = engine.attend(q, k, v, scale=8**-0.5, key_lengths=lengths)
    oracle.assert_close(found, np.stack(expected))


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_do_not_change_a_bit(threads: int) -> None:
    q, k, v = normal(3, 500, 32), normal(3, 400, 32, seed=1), normal(3, 400, 32, seed=2)
    mask = np.random.default_rng(8).random((500, 400)) < 0.7
    one, many = (engine.attend(q, k, v, scale=0.2, mask=mask, max_threads=n) for n in (1, threads))
    assert np.array_equal(one, many)


def test_the_log_sum_exp_is_that_of_the_scores() -> None:
    q, k = normal(60, 8), normal(300, 8, seed=1)
    for n_query in (3, 60):
        _, lse = engine.attend(q[:n_query], k, k, scale=0.4, return_lse=True)
        scores = 0.4 * q[:n_query].astype(np.float64) @ k.T.astype(np.float64)
        top = scores.max(axis=-1)
        expected = top + np.log(np.exp(scores - top[:, None]).sum(axis=-1))
        assert np.abs(lse[0] - expected).max() <= 2e-6 * (1 + np.abs(expected).max())


@pytest.mark.parametrize("n_query", [3, 60])
def test_the_log_sum_exp_of_a_row_without_keys_is_minus_infinity(n_query: int) -> None:
    mask = np.arange(n_query)[:, None] != np.full(200, n_query - 1)
    _, lse = engine.attend(normal(n_query, 8), normal(200, 8), normal(200, 8), scale=1.0, mask=mask, return_lse=True)
    assert np.isneginf(lse[0, -1])
    assert np.isfinite(lse[0, :-1]).all()


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(1, 1), (4, 4), (8, 2), (6, 1)])
@pytest.mark.parametrize("projections", [True, False])
@pytest.mark.parametrize("n_query", [1, 30])
def test_multi_head_equals_its_definition(num_heads: int, num_kv_heads: int, projections: bool, n_query: int) -> None:
    dim = 24
    width = dim // num_heads
    heads = ra.MultiHeadAttention(
        dim=dim, num_heads=num_heads, num_kv_heads=num_kv_heads, projections=projections, seed=3
    )
    channels = dim if projections else num_kv_heads * width
    q, k, v = normal(2, n_query, dim), normal(2, 50, channels, seed=1), normal(2, 50, channels, seed=2)
    mask = np.random.default_rng(9).random((2, num_heads, n_query, 50)) < 0.8
    parameters = {name: array.astype(np.float64) for name, array in heads.parameters().items()}

    def mapped(name: str, array: Array) -> Array:
        if not projections:
            return array.astype(np.float64)
        return array.astype(np.float64) @ parameters[f"{name}_weight"] + parameters[f"{name}_bias"]

    def split(array: Array, groups: int) -> Array:
        parts = array.reshape(*array.shape[:-1], groups, width).swapaxes(-2, -3)
        return np.repeat(parts, num_heads // groups, axis=-3)

    split_query, split_keys = split(mapped("query", q), num_heads), split(mapped("keys", k), num_kv_heads)
    output, weights = oracle.attention(split_query, split_keys, split(mapped("values", v), num_kv_heads), mask=mask)
    joined = output.swapaxes(1, 2).reshape(2, n_query, dim)
    oracle.assert_close(heads(q, k, v, mask=mask), mapped("output", joined), 4e-6)
    oracle.assert_close(heads.head_attention_weights(q, k, mask=mask), weights, 4e-6)
    for head in range(num_heads):
        oracle.assert_close(heads.head_output(head, q, k, v, mask=mask), output[:, head], 4e-6)


def test_dropout_keeps_the_mean_and_drops_the_share_it_says() -> None:
    values = np.eye(400, dtype=np.float32)
    attention = ra.ScaledDotProductAttention(dim=4, dropout=0.25, seed=0)
    q, k = np.zeros((500, 4)), np.zeros((400, 4))
    dropped = attention(q, k, values, training=True)  # every weight is 1/400 before dropout
    share = (dropped == 0).mean()
    assert abs(share - 0.25) <= 4 * (0.25 * 0.75 / dropped.size) ** 0.5  # four standard deviations
    assert np.abs(dropped[dropped > 0] - 1 / 400 / 0.75).max() <= 1e-8
    assert np.array_equal(attention(q, k, values), np.full((500, 400), 1 / 400, np.float32))
    attention.reset()
    assert np.array_equal(attention(q, k, values, training=True), dropped)


def test_attention_over_stored_digits_reads_the_others() -> None:
    stored, drawn = ra.datasets.load_digits().split(1500, seed=0)
    attention = ra.ScaledDotProductAttention(dim=64, normalize=True, scale=1.0, temperature=0.01)
    read = attention(drawn.images, stored.images, np.eye(10)[stored.labels]).argmax(axis=1)
    assert len(drawn.labels) == 297
    assert (read == drawn.labels).mean() >= 0.99


@pytest.mark.parametrize("n_query", [1, 16, 50])
@pytest.mark.parametrize("size", [1e2, 1e8, 1e10, 1e16, 1e30])
def test_scores_of_any_size_choose_the_same_keys_as_in_float64(n_query: int, size: float) -> None:
    attention = ra.ScaledDotProductAttention(dim=8)
    q, k, v = size * normal(n_query, 8), 300 * normal(200, 8, seed=1), normal(200, 3, seed=2)
    q, k, v = (x.astype(np.float32) for x in (q, k, v))
    scores = q.astype(np.float64) @ k.astype(np.float64).T
    ahead = np.sort(scores, axis=1)[:, -1] - np.sort(scores, axis=1)[:, -2]
    clear = ahead > np.maximum(100, 1e-5 * scores.max(axis=1))  # no rounding of float32 makes another key the best
    assert clear.sum() >= 0.9 * n_query
    best = scores.argmax(axis=1)
    oracle.assert_close(attention(q, k, v, training=True)[clear], v[best[clear]])
    grad = np.ones((n_query, 3), np.float32) * clear[:, None]
    of_values = np.zeros(v.shape)
    np.add.at(of_values, best[clear], 1.0)
    rounded = 2 * np.finfo(np.float32).eps * np.abs(scores).max() * 8**-0.5  # of a score, and of what it is taken from
    rounded = rounded if size < 1e4 else 2e-6  # larger ones go back in float64
    oracle.assert_close(attention.backward(grad)["values"], of_values, rounded)


@pytest.mark.skipif(ra.backend() == "numpy", reason="its scores are float64: run it with any other backend")
def test_gradients_of_many_pairs_with_scores_too_large_for_float32_are_refused() -> None:
    attention = ra.ScaledDotProductAttention(dim=1)
    x = np.full((4200, 1), 1e4, np.float32)
    attention(x, x, x, training=True)
    with pytest.raises(ra.NumericalInstabilityError, match=r"scores reach 1e\+08; expected at most 4.19e\+06"):
        attention.backward(x)
