"""Points at 1 - 1e-5 of the ball's radius and far apart, in float32: finite, inside, and within 1e-4 of what wider
numbers give for the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import add, distances, exp_map, factor, log_map, mean, softmax

import ruvector_attention as ra
from ruvector_attention.geometry import lorentz, poincare

Array = npt.NDArray[Any]
NEAR = 1 - 1e-5  # of the radius
TOLERANCE = 1e-4
DIM = 8
C = (0.4, 1.0, 2.5)
MODELS = ("poincare", "lorentz")
AGGREGATIONS = ("gyromidpoint", "frechet", "tangent")


def at_the_boundary(count: int, dim: int = DIM, c: float = 1.0, seed: int = 0) -> Array:
    """Clusters whose points lie between 1e-3 and 1 apart, and the antipodes of all of them, up to 24 away."""
    random = np.random.default_rng([seed, count, dim])
    base = random.standard_normal((4, dim))
    base /= np.linalg.norm(base, axis=-1, keepdims=True)
    steps = 10.0 ** random.uniform(-8, -5, (count, 1)) * random.standard_normal((count, dim))
    rows = base[random.integers(0, 4, count)] * random.choice([-1.0, 1.0], (count, 1)) + steps
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True) * NEAR / np.sqrt(c)).astype(np.float32)


def wide(x: Array) -> Array:
    return x.astype(np.longdouble)


def assert_near(found: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    assert (np.abs(found - expected) <= tolerance * (1 + np.abs(expected))).all()


def assert_inside(points: Array, c: float) -> None:
    assert (np.linalg.norm(points.astype(np.float64), axis=-1) < 1 / np.sqrt(c)).all()


def assert_gradients(attention: ra.Attention, output: Array) -> None:
    gradients = attention.backward(np.random.default_rng(3).standard_normal(output.shape))
    assert {"query", "keys", "values"} <= set(gradients)
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name
    assert any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("c", C)
@pytest.mark.parametrize("n_query", [1, 30])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_hyperbolic_attention(model: str, aggregation: str, n_query: int, c: float) -> None:
    q, k, v = (at_the_boundary(n, c=c, seed=seed) for seed, n in enumerate((n_query, 40, 40)))
    attention = ra.HyperbolicAttention(DIM, -c, model=model, aggregation=aggregation, temperature=2.0)
    weights = softmax(-distances(wide(q), wide(k), c) / 2)
    assert_near(attention.attention_weights(q, k), weights)
    expected = mean(weights, wide(v), c, aggregation)
    for training in (False, True):
        found = attention(q, k, v, training=training)
        assert_inside(found, c)
        assert_near(found, expected)
    assert_gradients(attention, found)


@pytest.mark.parametrize("fusion", ["distance", "scores"])
@pytest.mark.parametrize("aggregation", ["sum", "product"])
def test_mixed_curvature(fusion: str, aggregation: str) -> None:
    """Of its hyperbolic part alone: the other two are the same in every row."""
    same = np.ones((1, 2), np.float32)
    q, k, v = (
        np.concatenate([np.repeat(same, n, 0), at_the_boundary(n, seed=seed), np.repeat(same, n, 0)], axis=1)
        for seed, n in enumerate((20, 40, 40))
    )
    attention = ra.MixedCurvatureAttention(
        DIM + 4, hyperbolic_dim=DIM, spherical_dim=2, fusion=fusion, aggregation=aggregation, temperature=3.0
    )
    curved = slice(2, 2 + DIM)
    share = wide(attention.parameters()["component_weights"])[1]
    far = distances(wide(q[:, curved]), wide(k[:, curved]), 1.0)
    weights = softmax(-share * (far**2 if fusion == "distance" else far) / 3)
    assert_near(attention.attention_weights(q, k), weights)
    found = attention(q, k, v, training=True)
    points = wide(v[:, curved])
    expected = mean(weights, points, 1.0, "gyromidpoint") if aggregation == "product" else weights @ points
    assert_near(found[:, curved], expected)
    if aggregation == "product":
        assert_inside(found[:, curved], 1.0)
    assert_gradients(attention, found)


@pytest.mark.parametrize("c", C)
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_manifold(aggregation: str, power: int, c: float) -> None:
    q, k, v = (at_the_boundary(n, c=c, seed=seed) for seed, n in enumerate((20, 40, 40)))
    attention = ra.ManifoldAttention(DIM, curvature=-c, aggregation=aggregation, power=power, temperature=3.0)
    weights = softmax(-(distances(wide(q), wide(k), c) ** power) / 3)
    assert_near(attention.attention_weights(q, k), weights)
    found = attention(q, k, v, training=True)
    expected = mean(weights, wide(v), c, "frechet") if aggregation == "mean" else weights @ wide(v)
    assert_near(found, expected)
    if aggregation == "mean":
        assert_inside(found, c)
    assert_gradients(attention, found)


@pytest.mark.parametrize("heads", [1, 2])
def test_dual_space(heads: int) -> None:
    """Rows that its maps bring to 1 - 1e-5 of the radius: artanh(1 - 1e-5) is 6.1."""
    random = np.random.default_rng(heads)
    q, k, v = (random.standard_normal((n, DIM)).astype(np.float32) for n in (20, 40, 40))
    attention = ra.DualSpaceAttention(DIM, heads, hyperbolic_dim=DIM, fusion_weight=0.6)
    parameters = attention.parameters()
    for name in ("query", "keys"):
        parameters[f"{name}_hyperbolic_weight"][...] = np.eye(DIM) * 6.1
    share = DIM // heads
    q, k = (x / np.linalg.norm(x.reshape(len(x), heads, share), axis=-1).repeat(share, axis=1) for x in (q, k))
    curved = []
    for x in (q, k):
        flat = (wide(x) @ wide(parameters["query_hyperbolic_weight"])).reshape(len(x), heads, share).swapaxes(0, 1)
        curved.append(exp_map(np.zeros(share, np.longdouble), flat, 1.0))
    assert abs(np.linalg.norm(curved[0].astype(np.float64), axis=-1) - NEAR).max() < 2e-6
    far = distances(*curved, 1.0)
    assert far.max() > 20
    parts = attention.get_space_contributions(q, k)
    shares = wide(parameters["space_weights"])
    found = parts[1].reshape(far.shape)
    assert_near(found, -shares[1] * far)
    weights = softmax(wide(parts[0]).reshape(far.shape) - shares[1] * far)
    assert_near(attention.attention_weights(q, k).reshape(far.shape), weights)
    output = attention(q, k, v, training=True)
    own = (wide(v) @ wide(parameters["values_weight"])).reshape(len(v), heads, -1).swapaxes(0, 1)
    joined = (weights @ own).swapaxes(0, 1).reshape(len(q), -1)
    assert_near(output, joined @ wide(parameters["output_weight"]))
    assert_gradients(attention, output)


# --- the functions of points


def transported(x: Array, y: Array, v: Array, c: float) -> Array:
    """Over the hyperboloid, X = (lambda - 1, lambda sqrt(c) x): there v + <Y, V> / (1 - <X, Y>) (X + Y)."""
    x, y, v = (np.sqrt(np.longdouble(c)) * a for a in (x, y, v))

    def on(p: Array) -> Array:
        lam = factor(p, 1.0)
        return np.concatenate([lam - 1, lam * p], axis=1)

    def product(a: Array, b: Array) -> Array:
        return np.asarray((a[:, 1:] * b[:, 1:]).sum(-1, keepdims=True) - a[:, :1] * b[:, :1])

    along, lam = (x * v).sum(-1, keepdims=True), factor(x, 1.0)
    start, end = on(x), on(y)
    tangent = np.concatenate([lam**2 * along, lam**2 * along * x + lam * v], axis=1)
    moved = tangent + product(end, tangent) / (1 - product(start, end)) * (start + end)
    below = 1 + end[:, :1]
    return np.asarray((moved[:, 1:] / below - end[:, 1:] * moved[:, :1] / below**2) / np.sqrt(np.longdouble(c)))


@pytest.mark.parametrize("c", C)
def test_functions_of_the_ball(c: float) -> None:
    x, y = at_the_boundary(60, c=c, seed=1), at_the_boundary(60, c=c, seed=2)
    v = np.random.default_rng(0).standard_normal((60, DIM)).astype(np.float32)
    a, b, u = wide(x), wide(y), wide(v)
    unit = v * np.float32(1e-5)  # of length about 1 in the space, where lambda is 1e5
    functions: dict[str, tuple[Array, Array]] = {
        "distance": (poincare.distance(x, y, -c), np.diagonal(distances(a, b, c))),
        "conformal_factor": (poincare.conformal_factor(x, -c), factor(a, c)),
        "mobius_add": (poincare.mobius_add(x, y, -c), add(a, b, c)),
        "log_map": (poincare.log_map(x, y, -c), log_map(a, b, c)),
        "exp_map": (poincare.exp_map(x, unit, -c), exp_map(a, wide(unit), c)),
        "transport": (poincare.transport(x, y, v, -c), transported(a, b, u, c)),
        "inner_product": (poincare.inner_product(x, unit, unit, -c), (factor(a, c) ** 2 * wide(unit) ** 2).sum(-1)),
        "gyromidpoint": (poincare.gyromidpoint(x, None, -c), mean(np.full((1, 60), 1 / 60), a, c, "gyromidpoint")[0]),
        "frechet_mean": (poincare.frechet_mean(x, None, -c), mean(np.full((1, 60), 1 / 60), a, c, "frechet")[0]),
    }
    for name, (found, expected) in functions.items():
        assert found.dtype == np.float32, name
        assert np.isfinite(found).all(), name
        error = np.abs(found - expected) / (1 + np.abs(expected))
        assert error.max() <= TOLERANCE, (name, error.max())
        if name in ("mobius_add", "exp_map", "gyromidpoint", "frechet_mean"):
            assert_inside(found, c)
    assert poincare.distance(x, y, -c).max() > 20 / np.sqrt(c)


@pytest.mark.parametrize("c", C)
def test_exp_and_log_undo_each_other(c: float) -> None:
    """From the middle in float32. From the boundary in float64 alone: a direction of float32, followed over 24, ends
    anywhere within 1e-2, and on the hyperboloid even one of float64 does."""
    middle, y = np.zeros(DIM, np.float32), at_the_boundary(60, c=c, seed=2)
    assert_near(poincare.exp_map(middle, poincare.log_map(middle, y, -c), -c), wide(y))
    x, y = at_the_boundary(60, c=c, seed=1).astype(np.float64), y.astype(np.float64)
    assert_near(poincare.exp_map(x, poincare.log_map(x, y, -c), -c), y)
    v = np.random.default_rng(0).standard_normal((60, DIM)) * np.linspace(1e-7, 1e-5, 60)[:, None]
    back = poincare.log_map(x, poincare.exp_map(x, v, -c), -c)
    length = factor(x, c) * np.linalg.norm(back - v, axis=-1, keepdims=True)  # lambda is 1e5: v is 1 long
    assert (length <= TOLERANCE).all()
    p, q = (poincare.to_hyperboloid(points, -c) for points in (middle, y))  # elsewhere cosh(24) of 1e5 cancels
    assert_near(lorentz.to_ball(lorentz.exp_map(p, lorentz.log_map(p, q, -c), -c), -c), y)


@pytest.mark.parametrize("c", C)
def test_functions_of_the_hyperboloid(c: float) -> None:
    """Of coordinates of 1e5, in float32."""
    p, q = (poincare.to_hyperboloid(at_the_boundary(60, c=c, seed=seed), -c) for seed in (1, 2))

    def on(x: Array) -> Array:
        space = wide(x)[:, 1:]
        return np.concatenate([np.sqrt(1 / np.longdouble(c) + (space**2).sum(-1, keepdims=True)), space], axis=1)

    a, b = on(p), on(q)
    gap = a - b
    square = (gap[:, 1:] ** 2).sum(-1) - gap[:, 0] ** 2
    expected = 2 / np.sqrt(c) * np.arcsinh(np.sqrt(np.longdouble(c) * np.maximum(square, 0)) / 2)
    assert_near(lorentz.distance(p, q, -c), expected)
    in_ball = a[:, 1:] / (1 + np.sqrt(np.longdouble(c)) * a[:, :1])
    assert_near(lorentz.to_ball(p, -c), in_ball)
    assert_inside(lorentz.to_ball(p, -c), c)
    centre = lorentz.to_ball(lorentz.centroid(p, None, -c), -c)
    assert_near(centre, mean(np.full((1, 60), 1 / 60), in_ball, c, "gyromidpoint")[0])
    velocity = lorentz.log_map(p, q, -c)
    for numbers in (velocity, lorentz.transport(p, q, velocity, -c)):
        assert np.isfinite(numbers).all()


def test_spaces_as_objects() -> None:
    x, y = at_the_boundary(30, seed=1), at_the_boundary(30, seed=2)
    product = ra.geometry.ProductSpace([(ra.geometry.HyperbolicSpace(-1.0), DIM), (ra.geometry.EuclideanSpace(), 2)])
    flat = np.random.default_rng(0).standard_normal((2, 30, 2)).astype(np.float32)
    p, q = np.concatenate([x, flat[0]], axis=1), np.concatenate([y, flat[1]], axis=1)
    square = np.diagonal(distances(wide(x), wide(y), 1.0)) ** 2 + (wide(flat[0] - flat[1]) ** 2).sum(-1)
    assert_near(product.distance(p, q), np.sqrt(square))
    p, q = p.astype(np.float64), q.astype(np.float64)
    assert_near(product.exp_map(p, product.log_map(p, q)), q)
    assert_inside(product.mean(p)[None, :DIM], 1.0)
