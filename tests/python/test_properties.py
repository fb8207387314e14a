"""What holds for any input: hypothesis looks for one for which it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import ruvector_attention as ra

Array = npt.NDArray[Any]

common = settings(max_examples=60)
sizes = st.integers(1, 70)


def problem(seed: int, n_query: int, n_key: int, dim: int, size: float = 1.0) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)
    q, k, v = (random.standard_normal((n, dim)).astype(np.float32) for n in (n_query, n_key, n_key))
    return q * np.float32(size), k, v


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes, st.floats(1e-4, 1e4))
def test_weights_are_a_distribution(seed: int, n_query: int, n_key: int, dim: int, size: float) -> None:
    q, k, _ = problem(seed, n_query, n_key, dim, size)
    weights = ra.ScaledDotProductAttention(dim=dim).attention_weights(q, k)
    assert (weights >= 0).all()
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-5


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes)
def test_the_order_of_the_keys_is_of_no_account(seed: int, n_query: int, n_key: int, dim: int) -> None:
    q, k, v = problem(seed, n_query, n_key, dim)
    order = np.random.default_rng(seed).permutation(n_key)
    attention = ra.ScaledDotProductAttention(dim=dim)
    oracle.assert_close(attention(q, k[order], v[order]), attention(q, k, v).astype(np.float64), 4e-6)


@common
@given(st.integers(0, 2**32), sizes, st.integers(2, 300), sizes)
def test_masked_is_removed(seed: int, n_query: int, n_key: int, dim: int) -> None:
    q, k, v = problem(seed, n_query, n_key, dim)
    mask = np.random.default_rng(seed).random(n_key) < 0.5
    mask[0] = True
    attention = ra.ScaledDotProductAttention(dim=dim)
    oracle.assert_close(attention(q, k, v, mask=mask), attention(q, k[mask], v[mask]).astype(np.float64), 4e-6)


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes, st.integers(1, 64))
def test_flash_is_dense(seed: int, n_query: int, n_key: int, dim: int, block_size: int) -> None:
    q, k, v = problem(seed, n_query, n_key, dim)
    flash = ra.FlashAttention(dim=dim, block_size=block_size)(q, k, v)
    oracle.assert_close(flash, oracle.attention(q, k, v)[0])


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes)
def test_large_inputs_stay_finite_and_inside_of_the_values(seed: int, n_query: int, n_key: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    q, k, v = (random.uniform(-1e4, 1e4, (n, dim)).astype(np.float32) for n in (n_query, n_key, n_key))
    output = ra.ScaledDotProductAttention(dim=dim)(q, k, v)
    assert np.isfinite(output).all()
    slack = 1e-5 * 1e4
    assert (output <= v.max(axis=0) + slack).all()
    assert (output >= v.min(axis=0) - slack).all()


@common
@given(st.integers(0, 2**32), st.integers(1, 4), sizes, st.integers(1, 200), st.integers(1, 20))
def test_a_batch_is_a_loop(seed: int, batch: int, n_query: int, n_key: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    q, k, v = (random.standard_normal((batch, n, dim)).astype(np.float32) for n in (n_query, n_key, n_key))
    attention = ra.ScaledDotProductAttention(dim=dim)
    together = attention(q, k, v)
    for i in range(batch):
        assert np.array_equal(together[i], attention(q[i], k[i], v[i]))


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 200), st.integers(1, 20))
def test_a_causal_step_with_a_cache_is_the_last_row(seed: int, n_query: int, n_key: int, dim: int) -> None:
    n_key = max(n_key, n_query)
    q, k, v = problem(seed, n_query, n_key, dim)
    attention = ra.ScaledDotProductAttention(dim=dim, causal=True)
    whole = attention(q, k, v)
    oracle.assert_close(attention(q[-1:], k, v), whole[-1:].astype(np.float64), 4e-6)


@common
@given(st.integers(0, 2**32), sizes, st.integers(1, 200), st.integers(1, 20), st.floats(-50, 50))
def test_a_constant_added_to_the_scores_is_of_no_account(
    seed: int, n_query: int, n_key: int, dim: int, shift: float
) -> None:
    q, k, v = problem(seed, n_query, n_key, dim)
    attention = ra.ScaledDotProductAttention(dim=dim)
    shifted = attention(q, k, v, bias=np.full((n_query, 1), shift, np.float32))
    tolerance = 4e-6 + 1e-7 * abs(shift)  # the sum of score and shift is rounded to float32
    oracle.assert_close(shifted, attention(q, k, v).astype(np.float64), tolerance)
