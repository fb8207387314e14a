"""Attention in two spaces at once against its definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import assert_close, distances, exp_map, numerical, softmax

import ruvector_attention as ra

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def reference(w: dict[str, Array], q: Array, k: Array, heads: int, c: float) -> tuple[Array, Array]:
    """Both parts of the scores, (heads, n_query, n_key)."""
    parts = []
    for space in ("euclidean", "hyperbolic"):
        mapped = []
        for name, x in (("query", q), ("keys", k)):
            flat = (x @ w[f"{name}_{space}_weight"]).reshape(len(x), heads, -1).swapaxes(0, 1)
            mapped.append(flat if space == "euclidean" else exp_map(np.zeros(flat.shape[-1]), flat, c))
        parts.append(mapped)
    (qe, ke), (qh, kh) = parts
    dots = qe @ ke.swapaxes(-1, -2) / np.sqrt(qe.shape[-1])
    return w["space_weights"][0] * dots, -w["space_weights"][1] * distances(qh, kh, c)


def output_of(w: dict[str, Array], weights: Array, v: Array) -> Array:
    heads = len(weights)
    own = (v @ w["values_weight"]).reshape(len(v), heads, -1).swapaxes(0, 1)
    joined = (weights @ own).swapaxes(0, 1).reshape(weights.shape[1], -1)
    return np.asarray(joined @ w["output_weight"])


def wide(attention: ra.Attention) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in attention.parameters().items()}


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 9), (20, 70), (60, 33)])
@pytest.mark.parametrize(("heads", "sizes"), [(1, (5, 4)), (4, (8, 12)), (3, (None, None))])
def test_it_is_its_definition(heads: int, sizes: tuple[int | None, int | None], n_query: int, n_key: int) -> None:
    q, k, v = normal(n_query, 12), normal(n_key, 12, seed=1), normal(n_key, 12, seed=2)
    attention = ra.DualSpaceAttention(
        12, heads, euclidean_dim=sizes[0], hyperbolic_dim=sizes[1], curvature=-0.8, fusion_weight=0.7, temperature=0.5
    )
    flat, curved = reference(wide(attention), *(x.astype(np.float64) for x in (q, k)), heads, 0.8)
    weights = softmax((flat + curved) / 0.5)
    assert_close(attention.attention_weights(q, k), weights, 1e-5)
    assert_close(attention(q, k, v), output_of(wide(attention), weights, v), 1e-5)
    assert_close(attention(q[0], k, v), output_of(wide(attention), weights, v)[0], 1e-5)
    found = attention.get_space_contributions(q, k)
    for part, expected in zip(found, (flat, curved), strict=True):
        assert_close(part, expected, 1e-5)


def test_contributions_add_up_to_the_weights() -> None:
    q, k = normal(2, 5, 12), normal(7, 12, seed=1)
    attention = ra.DualSpaceAttention(12, 3)
    parts = attention.get_space_contributions(q, k)
    assert parts[0].shape == (2, 3, 5, 7)
    assert_close(attention.attention_weights(q, k), softmax(parts[0].astype(np.float64) + parts[1]), 1e-5)


@pytest.mark.parametrize("heads", [1, 3])
def test_gradients_against_float64_differences_of_the_definition(heads: int) -> None:
    q, k, v, bias = normal(4, 6), normal(5, 6, seed=1), normal(5, 6, seed=2), normal(heads, 4, 5, seed=3)
    grad = normal(4, 6, seed=4)
    attention = ra.DualSpaceAttention(6, heads, curvature=-0.8, hyperbolic_dim=6, adaptive_curvature=True)
    attention(q, k, v, bias=bias, training=True)
    gradients = attention.backward(grad)
    given = {"query": q, "keys": k, "values": v, "bias": bias, **attention.parameters()}
    moved = {name: array.astype(np.float64) for name, array in given.items()}
    assert set(gradients) == set(moved)

    def loss() -> float:
        c = float(np.exp(moved["log_curvature"][0]))
        flat, curved = reference(moved, moved["query"], moved["keys"], heads, c)
        return float((output_of(moved, softmax(flat + curved + moved["bias"]), moved["values"]) * grad).sum())

    for name, array in moved.items():
        expected = numerical(loss, array, 1e-5)
        assert gradients[name].shape == array.shape
        assert np.abs(gradients[name] - expected).max() <= 2e-4 * max(np.abs(expected).max(), 1e-2), name


def test_masks_causality_and_lengths() -> None:
    q, k, v = normal(2, 5, 12), normal(7, 12, seed=1), normal(2, 7, 12, seed=2)
    seen = np.random.default_rng(0).random((5, 7)) < 0.6
    seen[3] = False
    attention = ra.DualSpaceAttention(12, 3, causal=True)
    found = attention(q, k, v, mask=seen, key_lengths=[7, 4])
    for item, length in enumerate([7, 4]):
        allowed = seen & (np.arange(7) <= np.arange(5)[:, None] + 2) & (np.arange(7) < length)
        parts = reference(wide(attention), *(x.astype(np.float64) for x in (q[item], k)), 3, 1.0)
        weights = softmax(np.where(allowed, parts[0] + parts[1], -np.inf))
        assert_close(found[item], output_of(wide(attention), weights, v[item]), 1e-5)
        assert not found[item, 3].any()


def test_large_inputs_stay_finite() -> None:
    attention = ra.DualSpaceAttention(12, 3)
    q = normal(9, 12) * np.float32(1e4)
    found = attention(q, q, q, training=True)
    assert np.isfinite(found).all()
    assert all(np.isfinite(gradient).all() for gradient in attention.backward(np.ones(found.shape)).values())


def test_the_short_forms() -> None:
    assert ra.DualSpaceAttention.simple(8, 4, 4, -0.5).config == ra.DualSpaceAttention(
        12, 4, euclidean_dim=8, hyperbolic_dim=4, curvature=-0.5
    ).config  # fmt: skip
    fused = ra.DualSpaceAttention.simple_fused(16, 2, -0.5, 0.25)
    assert fused.config == ra.DualSpaceAttention(16, 2, curvature=-0.5, fusion_weight=0.25).config
    assert fused.parameters()["space_weights"].tolist() == [0.75, 0.25]
    assert fused.parameters()["query_euclidean_weight"].shape == fused.parameters()["query_hyperbolic_weight"].shape


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"curvature": 0.5}, "curvature is 0.5; expected a number below 0"),
        ({"num_heads": 5}, "dim is 12; expected a multiple of num_heads = 5"),
        ({"num_heads": 3, "hyperbolic_dim": 4}, "hyperbolic_dim is 4; expected a multiple of num_heads = 3"),
        ({"fusion_weight": 1.5}, "fusion_weight is 1.5; expected at most 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.DualSpaceAttention(12, **settings)
