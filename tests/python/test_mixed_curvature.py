"""Attention in products of spaces against its definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import assert_close, distances, in_ball, mean, numerical, softmax

import ruvector_attention as ra

Array = npt.NDArray[Any]
SIZES = (3, 5, 4)  # Euclidean, hyperbolic, spherical
CURVED = (1.5, 0.7)  # c of the last two
SETTINGS: dict[str, Any] = {
    "dim": 12, "hyperbolic_dim": 5, "spherical_dim": 4, "hyperbolic_curvature": -1.5, "spherical_curvature": 0.7,
}  # fmt: skip


def rows(*shape: int, seed: int, reach: float = 0.9) -> Array:
    """Rows with a part of each kind; the spherical part is not of its length yet."""
    random = np.random.default_rng([seed, *shape])
    flat, turned = random.standard_normal((*shape, 3)), random.standard_normal((*shape, 4))
    return np.concatenate([flat, in_ball(*shape, 5, c=1.5, reach=reach, seed=seed), turned], -1).astype(np.float32)


def split(x: Array) -> list[Array]:
    parts = np.split(x.astype(np.float64), np.cumsum(SIZES)[:-1], axis=-1)
    parts[2] = parts[2] / np.linalg.norm(parts[2], axis=-1, keepdims=True)
    return parts


def scores(q: Array, k: Array, weights: Array, fusion: str, c: tuple[float, float] = CURVED) -> Array:
    (qe, qh, qs), (ke, kh, ks) = split(q), split(k)
    squares = ((qe[..., :, None, :] - ke[..., None, :, :]) ** 2).sum(-1)
    angles = np.arccos(np.clip(qs @ ks.swapaxes(-1, -2), -1, 1)) / np.sqrt(c[1])
    far = distances(qh, kh, c[0])
    if fusion == "distance":
        return np.asarray(-(weights[0] * squares + weights[1] * far**2 + weights[2] * angles**2))
    return np.asarray(weights[0] * qe @ ke.swapaxes(-1, -2) / np.sqrt(3) - weights[1] * far - weights[2] * angles)


def aggregated(weights: Array, v: Array, aggregation: str, c: tuple[float, float] = CURVED) -> Array:
    if aggregation == "sum":
        return np.asarray(weights @ v.astype(np.float64))
    flat, curved, turned = split(v)
    total = weights @ turned
    total = total / np.linalg.norm(total, axis=-1, keepdims=True) / np.sqrt(c[1])
    return np.concatenate([weights @ flat, mean(weights, curved, c[0], "gyromidpoint"), total], axis=-1)


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 9), (20, 70), (60, 33)])
@pytest.mark.parametrize("aggregation", ["sum", "product"])
@pytest.mark.parametrize("fusion", ["distance", "scores"])
def test_it_is_its_definition(fusion: str, aggregation: str, n_query: int, n_key: int) -> None:
    q, k, v = rows(n_query, seed=1), rows(n_key, seed=2), rows(n_key, seed=3)
    attention = ra.MixedCurvatureAttention(**SETTINGS, fusion=fusion, aggregation=aggregation, temperature=1.7)
    given = np.array([0.4, 0.9, 1.3], np.float32)
    attention.load_state_dict({"component_weights": given})
    weights = softmax(scores(q, k, given, fusion) / 1.7)
    assert_close(attention.attention_weights(q, k), weights, 1e-5)
    assert_close(attention(q, k, v), aggregated(weights, v, aggregation), 1e-5)
    assert_close(attention(q[0], k, v), aggregated(weights[:1], v, aggregation)[0], 1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "product"])
@pytest.mark.parametrize("fusion", ["distance", "scores"])
def test_gradients_against_float64_differences_of_the_definition(fusion: str, aggregation: str) -> None:
    q, k, v = (rows(n, seed=s, reach=0.8) for s, n in enumerate((4, 6, 6)))
    random = np.random.default_rng(3)
    bias, grad = random.standard_normal((4, 6)).astype(np.float32), random.standard_normal((4, 12))
    attention = ra.MixedCurvatureAttention(
        **SETTINGS, fusion=fusion, aggregation=aggregation, temperature=1.7, adaptive_curvature=True
    )
    attention.parameters()["component_weights"][:] = [0.4, 0.9, 1.3]
    attention(q, k, v, bias=bias, training=True)
    gradients = attention.backward(grad)
    given = {"query": q, "keys": k, "values": v, "bias": bias, **attention.parameters()}
    wide = {name: array.astype(np.float64) for name, array in given.items()}
    assert set(gradients) == set(wide)

    def loss() -> float:
        c = (float(np.exp(wide["log_hyperbolic_curvature"][0])), float(np.exp(wide["log_spherical_curvature"][0])))
        logits = scores(wide["query"], wide["keys"], wide["component_weights"], fusion, c) / 1.7 + wide["bias"]
        return float((aggregated(softmax(logits), wide["values"], aggregation, c) * grad).sum())

    for name, array in wide.items():
        expected = numerical(loss, array, 1e-5)
        assert gradients[name].shape == array.shape
        assert np.abs(gradients[name] - expected).max() <= 2e-4 * max(np.abs(expected).max(), 1e-2), name


def test_a_batch_with_masks_and_an_empty_row() -> None:
    q, k, v = rows(2, 5, seed=1), rows(7, seed=2), rows(2, 7, seed=3)
    seen = np.random.default_rng(0).random((5, 7)) < 0.6
    seen[:, 1], seen[3] = True, False
    attention = ra.MixedCurvatureAttention(**SETTINGS, aggregation="product", causal=True)
    found = attention(q, k, v, mask=seen)
    band = seen & (np.arange(7) <= np.arange(5)[:, None] + 2)
    for item in range(2):
        logits = np.where(band, scores(q[item], k, np.ones(3), "distance"), -np.inf)
        weights = softmax(logits)[[0, 1, 2, 4]]
        assert_close(found[item, [0, 1, 2, 4]], aggregated(weights, v[item], "product"), 1e-5)
        assert not found[item, 3].any()


def test_outputs_of_a_product_lie_in_it() -> None:
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((30, 12)).astype(np.float32) * size for size in (1e15, 1.0, 1e6))
    v[3, 8:] = 0
    found = ra.MixedCurvatureAttention(**SETTINGS, aggregation="product")(q, k, v).astype(np.float64)
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found[:, 3:8], axis=-1) < 1 / np.sqrt(1.5)).all()
    assert np.abs(np.linalg.norm(found[:, 8:], axis=-1) - 1 / np.sqrt(0.7)).max() <= 1e-6


def test_parts_without_channels_are_left_out() -> None:
    q, k, v = in_ball(4, 6, c=1.0), in_ball(9, 6, c=1.0, seed=1), in_ball(9, 2, seed=2)
    only = ra.MixedCurvatureAttention(6, hyperbolic_dim=6, spherical_dim=0, fusion="scores")
    assert [part.kind for part in only.components] == ["poincare"]
    assert_close(only(q, k, v), softmax(-distances(q.astype(np.float64), k.astype(np.float64), 1.0)) @ v, 1e-5)
    flat = ra.MixedCurvatureAttention(6, hyperbolic_dim=0, spherical_dim=0, fusion="scores")
    assert_close(flat(q, k, v), ra.ScaledDotProductAttention(6)(q, k, v))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hyperbolic_curvature": 1.0}, "hyperbolic_curvature is 1.0; expected a number below 0"),
        ({"spherical_curvature": -1.0}, "spherical_curvature is -1.0; expected a number above 0"),
        ({"hyperbolic_dim": 9, "spherical_dim": 4}, "are 9 and 4; expected no more than dim = 12"),
        ({"fusion": "both"}, "fusion is 'both'"),
    ],
)
def test_settings_that_fit_no_space_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.MixedCurvatureAttention(12, **settings)
    with pytest.raises(ra.DimensionMismatchError, match="values is"):
        ra.MixedCurvatureAttention(12, aggregation="product")(np.ones((1, 12)), np.ones((2, 12)), np.ones((2, 5)))
