"""The k nearest keys alone, in every mechanism whose scores are distances: what a mask of those keys gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import assert_close, distances, in_ball, softmax

import ruvector_attention as ra

Array = npt.NDArray[Any]

MECHANISMS: dict[str, Callable[..., Any]] = {
    "gyromidpoint": lambda **more: ra.HyperbolicAttention(dim=6, curvature=-1.3, **more),
    "frechet": lambda **more: ra.HyperbolicAttention(dim=6, aggregation="frechet", **more),
    "tangent": lambda **more: ra.HyperbolicAttention(dim=6, aggregation="tangent", model="lorentz", **more),
    "product": lambda **more: ra.MixedCurvatureAttention(dim=6, aggregation="product", **more),
    "scores": lambda **more: ra.MixedCurvatureAttention(dim=6, fusion="scores", **more),
    "manifold": lambda **more: ra.ManifoldAttention(dim=6, space="spherical", **more),
    "manifold means": lambda **more: ra.ManifoldAttention(dim=6, aggregation="mean", **more),
    "own": lambda **more: ra.ManifoldAttention.over(Flat(), 6, **more),
    "dual": lambda **more: ra.DualSpaceAttention(dim=6, num_heads=2, **more),
}


class Flat:
    """Euclidean space, as a user would write it."""

    curvature = 0.0

    def distance(self, x: Array, y: Array) -> Array:
        return np.asarray(np.sqrt(((x - y) ** 2).sum(axis=-1)))

    def exp_map(self, x: Array, v: Array) -> Array:
        return x + v

    def log_map(self, x: Array, y: Array) -> Array:
        return y - x

    def inner_product(self, x: Array, u: Array, v: Array) -> Array:
        return np.asarray((u * v).sum(axis=-1))


@pytest.mark.parametrize("n_query", [2, 60])
@pytest.mark.parametrize("made", MECHANISMS)
def test_top_k_is_a_mask_of_the_keys_that_weigh_most(made: str, n_query: int) -> None:
    inputs = [in_ball(n, 6, seed=seed) for seed, n in enumerate((n_query, 90, 90))]
    bias = np.random.default_rng(1).standard_normal((n_query, 90)).astype(np.float32)
    upstream = np.random.default_rng(2).standard_normal((n_query, 6)).astype(np.float32)
    plain, few = MECHANISMS[made](), MECHANISMS[made](top_k=5)
    full = plain.attention_weights(*inputs[:2], bias=bias)
    chosen = full >= np.sort(full, axis=-1)[..., -5, None]
    assert (chosen.sum(axis=-1) == 5).all()
    assert_close(few(*inputs, bias=bias), plain(*inputs, mask=chosen, bias=bias), 1e-5)
    weights = few.attention_weights(*inputs[:2], bias=bias)
    assert_close(weights, plain.attention_weights(*inputs[:2], mask=chosen, bias=bias), 1e-5)
    assert not weights[~chosen].any()
    few(*inputs, bias=bias, training=True)
    plain(*inputs, mask=chosen, bias=bias, training=True)
    found, expected = few.backward(upstream), plain.backward(upstream)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert_close(found[name], gradient, 2e-4)


def test_the_nearest_points_of_the_ball_are_those_of_the_definition() -> None:
    q, k, v = in_ball(9, 4), in_ball(40, 4, seed=1), in_ball(40, 4, seed=2)
    far = distances(q.astype(np.float64), k.astype(np.float64), 1.3)
    scores = np.where(far <= np.sort(far, axis=-1)[:, 2, None], -far, -np.inf)
    attention = ra.HyperbolicAttention(dim=4, curvature=-1.3, top_k=3)
    assert_close(attention.attention_weights(q, k), softmax(scores), 1e-5)
    assert np.isfinite(attention(q, k, v)).all()
