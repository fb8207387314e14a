"""Attention in named spaces and in spaces of one's own, against definitions in float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import assert_close, distances, exp_map, factor, in_ball, log_map, mean, numerical, softmax

import ruvector_attention as ra
from ruvector_attention import geometry

Array = npt.NDArray[Any]
PRODUCT = "euclidean:2, hyperbolic:3:-1.3, spherical:3:0.6"
CURVATURES = {"hyperbolic": 1.3, "spherical": 0.6}


class Ball:
    """The Poincaré ball, written once more, as a user would."""

    curvature = -1.3

    def distance(self, x: Array, y: Array) -> Array:
        x, y = np.broadcast_arrays(x, y)
        return np.asarray(distances(x[..., None, :], y[..., None, :], 1.3)[..., 0, 0])

    def exp_map(self, x: Array, v: Array) -> Array:
        return exp_map(x, v, 1.3)

    def log_map(self, x: Array, y: Array) -> Array:
        return log_map(*np.broadcast_arrays(x, y), 1.3)

    def inner_product(self, x: Array, u: Array, v: Array) -> Array:
        return np.asarray(factor(x, 1.3)[..., 0] ** 2 * (u * v).sum(axis=-1))


def unit(x: Array) -> Array:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def rows(space: str, n: int, seed: int) -> Array:
    random = np.random.default_rng([seed, n])
    flat, turned = random.standard_normal((n, 2)), random.standard_normal((n, 3))
    turned[:, 0] = 1 + np.abs(turned[:, 0])  # on one side, where there is one mean
    curved = in_ball(n, 3, reach=0.8, seed=seed)
    blocks = {"hyperbolic": [curved], "spherical": [turned], "euclidean": [turned], PRODUCT: [flat, curved, turned]}
    return np.concatenate(blocks[space], axis=-1).astype(np.float32)


def parts(space: str, x: Array) -> dict[str, Array]:
    if space != PRODUCT:
        return {space: x}
    return dict(zip(("euclidean", "hyperbolic", "spherical"), np.split(x, [2, 5], axis=-1), strict=True))


def far(space: str, q: Array, k: Array, c: dict[str, float] = CURVATURES, weights: Array | None = None) -> Array:
    """Distances, (n_query, n_key), with weighted squares."""
    square: Array = np.zeros((len(q), len(k)))
    for index, ((kind, a), b) in enumerate(zip(parts(space, q).items(), parts(space, k).values(), strict=True)):
        if kind == "hyperbolic":
            own = distances(a, b, c["hyperbolic"]) ** 2
        elif kind == "spherical":
            own = np.arccos(np.clip(unit(a) @ unit(b).T, -1, 1)) ** 2 / c["spherical"]
        else:
            own = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        square = square + (own if weights is None else weights[index] * own)
    return np.asarray(np.sqrt(square))


def means(space: str, weights: Array, v: Array, c: dict[str, float] = CURVATURES) -> Array:
    found = []
    for kind, x in parts(space, v).items():
        if kind == "hyperbolic":
            found.append(mean(weights, x, c["hyperbolic"], "frechet"))
        elif kind == "spherical":
            at = unit(weights @ unit(x))
            for _ in range(200):
                cosine = np.clip(at @ unit(x).T, -1, 1)
                d = np.arccos(cosine)
                pull = (weights * d / np.maximum(np.sin(d), 1e-12)) @ unit(x)
                pull = pull - (pull * at).sum(axis=-1, keepdims=True) * at
                at = unit(at + 0.7 * pull)  # a retraction in place of the exponential: the fixed point is the same
            found.append(at / np.sqrt(c["spherical"]))
        else:
            found.append(weights @ x)
    return np.concatenate(found, axis=-1)


def made(space: str, **settings: Any) -> ra.ManifoldAttention:
    curvature = {"hyperbolic": -1.3, "spherical": 0.6}.get(space)
    return ra.ManifoldAttention(8 if space == PRODUCT else 3, space, curvature, **settings)


SPACES = ["hyperbolic", "spherical", "euclidean", PRODUCT]


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 9), (70, 40)])
@pytest.mark.parametrize("space", SPACES)
def test_it_is_its_definition(space: str, n_query: int, n_key: int, aggregation: str) -> None:
    q, k, v = (rows(space, n, s) for s, n in enumerate((n_query, n_key, n_key)))
    wide = [x.astype(np.float64) for x in (q, k, v)]
    for power in (2,) if space == PRODUCT else (1, 2):
        attention = made(space, power=power, aggregation=aggregation, temperature=0.8)
        weights = softmax(-(far(space, *wide[:2]) ** power) / 0.8)
        expected = means(space, weights, wide[2]) if aggregation == "mean" else weights @ wide[2]
        assert_close(attention.attention_weights(q, k), weights, 1e-5)
        assert_close(attention(q, k, v), expected, 1e-5)
        assert_close(attention(q[0], k, v), expected[0], 1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("space", SPACES)
def test_gradients_against_float64_differences_of_the_definition(space: str, aggregation: str) -> None:
    q, k, v = (rows(space, n, s) for s, n in enumerate((4, 5, 5)))
    bias = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    grad = np.random.default_rng(2).standard_normal(v[:4].shape)
    attention = made(space, aggregation=aggregation, temperature=2.0)
    attention(q, k, v, bias=bias, training=True)
    gradients = attention.backward(grad)
    wide = {name: x.astype(np.float64) for name, x in {"query": q, "keys": k, "values": v, "bias": bias}.items()}

    def loss() -> float:
        weights = softmax(-(far(space, wide["query"], wide["keys"]) ** 2) / 2 + wide["bias"])
        output = means(space, weights, wide["values"]) if aggregation == "mean" else weights @ wide["values"]
        return float((output * grad).sum())

    for name, array in wide.items():
        expected = numerical(loss, array, 1e-5)
        assert gradients[name].shape == array.shape
        assert np.abs(gradients[name] - expected).max() <= 2e-4 * max(np.abs(expected).max(), 1e-2), name


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("space", SPACES)
def test_weights_and_curvatures_train(space: str, aggregation: str) -> None:
    """Moved from where they start: the output is the definition with these, and so are their gradients."""
    q, k, v = (rows(space, n, s).astype(np.float64) for s, n in enumerate((4, 5, 5)))
    grad = np.random.default_rng(2).standard_normal(v[:4].shape)
    attention = made(space, aggregation=aggregation, temperature=2.0, adaptive_curvature=True)
    held = attention.parameters()
    assert held["component_weights"].tolist() == [1.0] * len(parts(space, q))
    held["component_weights"] += np.array([0.3, -0.4, 0.2], np.float32)[: len(held["component_weights"])]
    if "log_curvatures" in held:
        held["log_curvatures"] += np.float32(-0.2)
    wide = {name: x.astype(np.float64) for name, x in held.items()}
    curved = [kind for kind in parts(space, q) if kind != "euclidean"]

    def output() -> Array:
        c = CURVATURES | dict(zip(curved, np.exp(wide.get("log_curvatures", np.zeros(0))).tolist(), strict=True))
        weights = softmax(-(far(space, q, k, c, wide["component_weights"]) ** 2) / 2)
        return means(space, weights, v, c) if aggregation == "mean" else np.asarray(weights @ v)

    assert_close(attention(q, k, v, training=True), output(), 1e-5)
    gradients = attention.backward(grad)
    for name, array in wide.items():
        expected = numerical(lambda: float((output() * grad).sum()), array, 1e-5)
        assert np.abs(gradients[name] - expected).max() <= 5e-4 * max(np.abs(expected).max(), 1e-2), name
    now = {-float(np.exp(x)) for x in wide.get("log_curvatures", [])[:1]}
    assert space != "hyperbolic" or {attention.space.curvature} == now


@pytest.mark.parametrize("power", [1, 2])
def test_a_space_of_ones_own_is_as_good_as_a_named_one(power: int) -> None:
    q, k, v = in_ball(2, 9, 3), in_ball(12, 3, seed=1), in_ball(2, 12, 3, seed=2)
    bias = np.random.default_rng(1).standard_normal((1, 12)).astype(np.float32)
    grad = np.random.default_rng(2).standard_normal((2, 9, 3))
    mask = ra.COOMask([(i, j) for i in range(9) for j in range(12) if (i + j) % 3 and i != 4])
    lengths = [12, 7]
    k[11], v[1, 8] = k[3], np.nan  # behind the second length
    options: dict[str, Any] = {"bias": bias, "mask": mask, "key_lengths": lengths}
    own = ra.ManifoldAttention.over(Ball(), 3, power=power, temperature=0.7)
    named = made("hyperbolic", power=power, temperature=0.7)
    for attention in (own, named):
        attention.parameters()["component_weights"][:] = 1.2
    assert_close(own.attention_weights(q, k, **options), named.attention_weights(q, k, **options), 1e-5)
    found = own(q, k, v, training=True, **options)
    assert_close(found, named(q, k, v, training=True, **options), 1e-5)
    assert not found[:, 4].any()
    gradients, expected = own.backward(grad), named.backward(grad)
    assert set(gradients) == set(expected)
    for name, gradient in expected.items():
        assert_close(gradients[name], gradient, 1e-4)


def test_means_in_a_space_of_ones_own() -> None:
    q, k, v = in_ball(9, 3), in_ball(12, 3, seed=1), in_ball(12, 3, seed=2)
    seen = np.ones((9, 12), bool)
    seen[2] = False
    own = ra.ManifoldAttention.over(Ball(), 3, aggregation="mean")
    named = made("hyperbolic", aggregation="mean")
    assert_close(own(q, k, v, mask=seen), named(q, k, v, mask=seen), 1e-5)
    with pytest.raises(ra.UnsupportedError, match="training came with means"):
        own(q, k, v, training=True)


@pytest.mark.parametrize("space", [*SPACES, "own"])
def test_dropout_is_the_same_after_a_reset_and_has_gradients(space: str) -> None:
    kind = "hyperbolic" if space == "own" else space
    q, k, v = (rows(kind, n, s) for s, n in enumerate((3, 6, 6)))
    if space == "own":
        attention = ra.ManifoldAttention.over(Ball(), 3, dropout=0.4)
    else:
        attention = made(space, dropout=0.4, aggregation="mean", temperature=2.0)
    first = attention(q, k, v, training=True)
    grad = np.random.default_rng(0).standard_normal(first.shape)
    attention.reset()
    assert np.array_equal(attention(q, k, v, training=True), first)
    assert np.abs(attention(q, k, v) - first).max() > 1e-3
    gradients = attention.backward(grad)

    def loss() -> float:
        attention.reset()
        return float((attention(q, k, v, training=True).astype(np.float64) * grad).sum())

    for name, array in (("query", q), ("keys", k), ("values", v)):
        expected = numerical(loss, array, 2e-3)
        assert np.abs(gradients[name] - expected).max() <= 1e-3 * max(1.0, np.abs(expected).max()), name


def test_known_spaces_come_back_as_settings() -> None:
    spaces = [
        geometry.HyperbolicSpace(-0.5),
        geometry.SphericalSpace(2.0),
        geometry.EuclideanSpace(),
        geometry.ProductSpace([(geometry.EuclideanSpace(), 2), (geometry.HyperbolicSpace(-0.3), 2)]),
    ]
    for space in spaces:
        attention = ra.ManifoldAttention.over(space, 4)
        again = ra.Attention.from_config(json.loads(json.dumps(attention.get_config())))
        assert isinstance(again, ra.ManifoldAttention)
        assert repr(again.space) == repr(attention.space) == repr(space)


def test_what_is_no_space_is_refused() -> None:
    with pytest.raises(ra.UnsupportedError, match="space is object; expected distance"):
        ra.ManifoldAttention.over(object(), 4)
    own = ra.Attention.from_config(ra.ManifoldAttention.over(Ball(), 3).get_config())
    with pytest.raises(ra.UnsupportedError, match=r"expected ManifoldAttention\.over"):
        own(np.ones((1, 3)), np.ones((2, 3)), np.ones((2, 1)))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"space": "klein"}, "space is 'klein'"),
        ({"space": "euclidean:2, hyperbolic:1"}, "3 channels; expected dim = 4"),
        ({"space": "euclidean:2, hyperbolic:2", "power": 1}, "power is 1 in the product"),
        ({"space": "spherical", "curvature": -1.0}, "curvature is -1.0; expected a number above 0"),
        ({"power": 3}, "power is 3; expected at most 2"),
        ({"space": "own", "adaptive_curvature": True}, "adaptive_curvature is True in a space of your own"),
    ]
    for settings, sentence in cases:
        with pytest.raises(ra.InvalidConfigError, match=sentence):
            ra.ManifoldAttention(4, **settings)

    class Broken(Ball):
        def distance(self, x: Array, y: Array) -> Array:
            return np.full(np.broadcast_shapes(x.shape, y.shape)[:-1], np.nan)

    class Flat(Ball):
        def distance(self, x: Array, y: Array) -> Array:
            return np.zeros(3)

    with pytest.raises(ra.NumericalInstabilityError, match="gives NaN"):
        ra.ManifoldAttention.over(Broken(), 3)(np.ones((1, 3)), np.ones((2, 3)), np.ones((2, 1)))
    with pytest.raises(ra.DimensionMismatchError, match=r"is \(3,\); expected \(1, 2\)"):
        ra.ManifoldAttention.over(Flat(), 3)(np.ones((1, 3)), np.ones((2, 3)), np.ones((2, 1)))
