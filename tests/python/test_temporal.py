"""TemporalAttention against its formulas in float64."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels
from ruvector_attention.attention.seen_until import SeenUntil

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def times(count: int, seed: int = 0) -> Array:
    """Irregular, some of them equal."""
    random = np.random.default_rng([seed, count])
    return np.sort(np.round(random.random(count) * count, 0 if count > 4 else 2))


def waves(at: dict[str, Array], when: Array) -> Array:
    angles = when[:, None] * at["time_frequency"] + at["time_phase"]
    return np.concatenate([angles[:, :1], np.sin(angles[:, 1:])], axis=1)


def expected(at: dict[str, Array], of_query: Array, of_keys: Array, causal: bool = True) -> tuple[Array, Array]:
    query, keys, bias = at["query"], at["keys"], at.get("bias")
    gaps = np.abs(of_query[:, None] - of_keys)
    if "decay" in at:
        decay = at["decay"] * np.exp(-gaps / np.exp(at["log_theta"]))
        bias = decay if bias is None else bias + decay
    else:
        query = query + waves(at, of_query - of_keys[0]) @ at["time_query_weight"]
        keys = keys + waves(at, of_keys - of_keys[0]) @ at["time_keys_weight"]
    mask = of_keys <= of_query[:, None] if causal else None
    return oracle.attention(query, keys, at["values"], bias=bias, mask=mask, scale=query.shape[-1] ** -0.5)


@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize("encoding", ["decay", "time2vec"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (3, 9), (60, 60), (130, 200)])
def test_outputs_and_weights_are_the_formulas(
    n_query: int, n_key: int, causal: bool, encoding: str, backend: str
) -> None:
    attention = ra.TemporalAttention(dim=6, encoding=encoding, decay=1.7, theta=3.0, causal=causal)
    at = {"query": normal(2, n_query, 6), "keys": normal(2, n_key, 6, seed=1), "values": normal(2, n_key, 3, seed=2)}
    of_query, of_keys = times(n_query), times(n_key, seed=1)
    options: dict[str, Any] = {"query_times": of_query, "key_times": of_keys}
    before = kernels.backend()
    kernels.use_backend(backend)
    try:
        output = attention(**at, **options)
        weights = attention.attention_weights(at["query"], at["keys"], **options)
    finally:
        kernels.use_backend(before)
    out, of_edges = expected({**at, **attention.parameters()}, of_query, of_keys, causal)
    tolerance = 3e-6 if encoding == "decay" else 3e-5  # waves of large times make large scores
    oracle.assert_close(output, out, tolerance)
    oracle.assert_close(weights, of_edges, tolerance)


@pytest.mark.parametrize("encoding", ["decay", "time2vec"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_of_everything(encoding: str, with_bias: bool) -> None:
    attention = ra.TemporalAttention(dim=4, encoding=encoding, decay=1.7, theta=3.0, time_dim=3)
    at = {"query": normal(2, 3, 4), "keys": normal(2, 5, 4, seed=1), "values": normal(2, 5, 2, seed=2)}
    at |= {"bias": normal(3, 5, seed=3)} if with_bias else {}
    of_query, of_keys = np.array([0.5, 1.0, 2.5]), np.array([0.0, 1.0, 1.0, 1.5, 3.0])
    output = attention(**at, query_times=of_query, key_times=of_keys, training=True)
    upstream = normal(*output.shape, seed=4)
    found = attention.backward(upstream)

    def loss(arrays: dict[str, Array]) -> float:
        return float((expected(arrays, of_query, of_keys)[0] * upstream).sum())

    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, {**at, **attention.parameters()}))


def test_what_is_later_has_no_influence() -> None:
    attention = ra.TemporalAttention(dim=4)
    x, when = normal(50, 4), times(50)
    before = attention(x, x, x, key_times=when)
    cut = when[30]
    later = x + np.where(when > cut, 5, 0)[:, None].astype(np.float32)
    after = attention(later, later, later, key_times=when)
    assert np.array_equal(after[when <= cut], before[when <= cut])
    assert not np.array_equal(after, before)


def test_events_before_the_first_key_give_zeros() -> None:
    found = ra.TemporalAttention(dim=2)([[1, 0]], [[1, 0]], [[5, 5]], query_times=[-1], key_times=[0])
    assert not found.any()


def test_masks_of_every_kind_hold_beside_the_times() -> None:
    attention = ra.TemporalAttention(dim=4)
    x, when = normal(70, 4), times(70)
    seen = ra.WindowMask(7).to_dense(70, 70)
    by_array = attention.attention_weights(x, x, key_times=when, mask=seen)
    by_object = attention.attention_weights(x, x, key_times=when, mask=ra.WindowMask(7))
    allowed = seen & (when <= when[:, None])
    oracle.assert_close(by_object, by_array, 1e-6)
    assert not by_array[~allowed].any()
    assert (by_array[allowed] > 0).all()


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 5), (48, 48), (49, 120), (200, 3)])
def test_what_is_seen_is_drawn_tile_by_tile(n_query: int, n_key: int) -> None:
    counts = np.sort(np.random.default_rng(n_query).integers(0, n_key + 1, n_query))
    mask = SeenUntil(counts)
    assert np.array_equal(mask.to_dense(n_query, n_key), np.arange(n_key) < counts[:, None])
    assert mask.count_nonzero(n_query, n_key) == counts.sum()


def test_compute_is_a_sequence_that_attends_to_itself() -> None:
    attention, x = ra.TemporalAttention(dim=4), normal(6, 4)
    found = attention.compute(x, [0, 1, 2, 4, 8, 16])
    assert np.array_equal(found["values"], attention(x, x, x, key_times=[0, 1, 2, 4, 8, 16]))
    assert found["weights"].shape == (6, 6)
    assert found["metadata"] == {"sequence_length": 6, "has_timestamps": True, "attention_type": "temporal"}
    assert np.array_equal(attention.compute(x)["values"], attention(x, x, x, key_times=np.arange(6)))


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"key_times": [0, 2, 1]}, ra.OutOfBoundsError, "key_times is not in order: 1.0 at index 2 follows 2.0"),
        ({"key_times": [0, 1]}, ra.DimensionMismatchError, r"key_times is \(2,\); expected \(n_key,\) with n_key = 3"),
        ({"query_times": [[0], [1]]}, ra.DimensionMismatchError, r"query_times is \(2, 1\)"),
        ({"query_times": [0, np.inf]}, ra.NumericalInstabilityError, "query_times holds inf at index"),
        ({"key_times": ["a", "b", "c"]}, ra.UnsupportedError, "key_times is an array of str"),
    ],
)
def test_timestamps_that_do_not_fit_are_refused(
    options: dict[str, Any], error: type[ra.AttentionError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        ra.TemporalAttention(dim=4)(normal(2, 4), normal(3, 4), normal(3, 2), **options)


def test_more_queries_than_keys_need_times_of_their_own() -> None:
    with pytest.raises(ra.DimensionMismatchError, match="query_times is None for 4 queries and 3 keys"):
        ra.TemporalAttention(dim=4)(normal(4, 4), normal(3, 4), normal(3, 2))
