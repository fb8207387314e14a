"""Spaces of constant curvature: properties that hold in each, and forms that are not those of the code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ruvector_attention as ra
from ruvector_attention import geometry
from ruvector_attention.geometry import lorentz, poincare, sphere

Array = npt.NDArray[Any]


def in_ball(*shape: int, c: float, reach: float = 0.9, seed: int = 0) -> Array:
    random = np.random.default_rng([seed, *shape])
    x = random.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True) * random.random((*shape[:-1], 1)) * reach / np.sqrt(c)


def on_sphere(*shape: int, c: float, seed: int = 0) -> Array:
    x = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(c)


def made(seed: int, dim: int, c: float, kind: str, dtype: Any) -> tuple[Any, Array, Array, Array]:
    """A space, two rows of points in it, and tangent vectors at the first."""
    random = np.random.default_rng(seed)
    v = random.standard_normal((20, dim))
    if kind == "hyperbolic":
        x, y = in_ball(20, dim, c=c, seed=seed), in_ball(20, dim, c=c, seed=seed + 1)
        v = v / np.linalg.norm(v, axis=-1, keepdims=True) * 0.3 / np.sqrt(c)
        return geometry.HyperbolicSpace(-c), *(
            a.astype(dtype) for a in (x, y, v * (1 - c * (x**2).sum(-1, keepdims=True)))
        )
    if kind == "spherical":
        x, y = on_sphere(20, dim, c=c, seed=seed), on_sphere(20, dim, c=c, seed=seed + 1)
        v = v - c * (x * v).sum(-1, keepdims=True) * x
        v = v / np.linalg.norm(v, axis=-1, keepdims=True) / np.sqrt(c)
        return geometry.SphericalSpace(c), *(a.astype(dtype) for a in (x, y, v))
    return geometry.EuclideanSpace(), *(a.astype(dtype) for a in (v, v[::-1].copy(), v**3))


CASES = {
    "seed": st.integers(0, 10_000),
    "dim": st.integers(2, 24),
    "c": st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    "kind": st.sampled_from(["hyperbolic", "spherical", "euclidean"]),
    "dtype": st.sampled_from([np.float32, np.float64]),
}


def tolerance(dtype: Any) -> float:
    return 1e-4 if dtype == np.float32 else 1e-8


@given(**CASES)
def test_log_undoes_exp(seed: int, dim: int, c: float, kind: str, dtype: Any) -> None:
    space, x, y, v = made(seed, dim, c, kind, dtype)
    back = space.log_map(x, space.exp_map(x, v))
    assert back.dtype == dtype
    assert np.abs(back - v).max() <= tolerance(dtype) * (1 + np.abs(v).max())
    there = space.exp_map(x, space.log_map(x, y))
    assert np.abs(there - y).max() <= tolerance(dtype) * (1 + np.abs(y).max())


@given(**CASES)
def test_a_logarithm_is_as_long_as_the_distance(seed: int, dim: int, c: float, kind: str, dtype: Any) -> None:
    space, x, y, _ = made(seed, dim, c, kind, dtype)
    v = space.log_map(x, y)
    assert np.abs(np.sqrt(space.inner_product(x, v, v)) - space.distance(x, y)).max() <= tolerance(dtype) * 10
    assert np.abs(space.distance(x, y) - space.distance(y, x)).max() <= tolerance(dtype)
    assert np.abs(space.distance(x, x)).max() <= tolerance(dtype)


@given(**CASES)
def test_transport_keeps_lengths_and_angles(seed: int, dim: int, c: float, kind: str, dtype: Any) -> None:
    space, x, y, v = made(seed, dim, c, kind, np.float64)
    u = space.log_map(x, y)
    moved = space.transport(x, y, v)
    for a, b in ((v, v), (u, v), (u, u)):
        before = space.inner_product(x, a, b)
        after = space.inner_product(y, space.transport(x, y, a), space.transport(x, y, b))
        assert np.abs(before - after).max() <= 1e-7 * (1 + np.abs(before).max())
    assert np.abs(space.transport(y, x, moved) - v).max() <= 1e-7 * (1 + np.abs(v).max())
    # the geodesic's own direction arrives as the direction away from where it came
    assert np.abs(space.transport(x, y, u) + space.log_map(y, x)).max() <= 1e-6 * (1 + np.abs(u).max())


@pytest.mark.parametrize("gap", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("c", [0.1, 1.0])
def test_transport_keeps_lengths_to_near_the_antipode(c: float, gap: float) -> None:
    """Where 1 + cos of the way is as good as 0."""
    space, x, _, v = made(0, 5, c, "spherical", np.float64)
    way = v / np.linalg.norm(v, axis=-1, keepdims=True) * (np.pi - gap) / np.sqrt(c)
    y = space.exp_map(x, way)
    across = v[::-1] - c * (v[::-1] * x).sum(-1, keepdims=True) * x
    across -= way * (across * way).sum(-1, keepdims=True) / (way**2).sum(-1, keepdims=True)
    for vector, expected in ((across, across), (way, -space.log_map(y, x))):  # the one stays, the other turns over
        moved = space.transport(x, y, vector)
        size = np.linalg.norm(vector, axis=-1)
        assert np.abs(np.linalg.norm(moved, axis=-1) - size).max() <= 1e-12 * size.max()
        assert np.abs(moved - expected).max() <= 1e-14 / gap * size.max()  # which way it is, y says to its rounding


@given(**{key: CASES[key] for key in ("seed", "dim", "c")})
def test_ball_and_hyperboloid_are_one_space(seed: int, dim: int, c: float) -> None:
    space, x, y, _ = made(seed, dim, c, "hyperbolic", np.float64)
    p, q = poincare.to_hyperboloid(x, -c), poincare.to_hyperboloid(y, -c)
    assert np.abs(-(p[:, 0] ** 2) + (p[:, 1:] ** 2).sum(-1) + 1 / c).max() <= 1e-8 * (p[:, 0] ** 2).max()
    arcosh = np.arccosh(np.maximum(c * (p[:, 0] * q[:, 0] - (p[:, 1:] * q[:, 1:]).sum(-1)), 1)) / np.sqrt(c)
    artanh = 2 / np.sqrt(c) * np.arctanh(np.sqrt(c) * np.linalg.norm(poincare.mobius_add(-x, y, -c), axis=-1))
    for d in (lorentz.distance(p, q, -c), arcosh, artanh):
        assert np.abs(space.distance(x, y) - d).max() <= 1e-6
    assert np.abs(lorentz.to_ball(p, -c) - x).max() <= 1e-9 / np.sqrt(c)
    assert np.abs(lorentz.to_ball(lorentz.exp_map(p, lorentz.log_map(p, q, -c), -c), -c) - y).max() <= 1e-7 / np.sqrt(c)
    u = lorentz.log_map(p, q, -c)
    moved = lorentz.transport(p, q, u, -c)
    before, after = lorentz.inner_product(p, u, u, -c), lorentz.inner_product(q, moved, moved, -c)
    assert np.abs(before - after).max() <= 1e-6 * (1 + np.abs(before).max())
    weights = np.random.default_rng(seed).random(20)
    centre = lorentz.to_ball(lorentz.centroid(p, weights, -c), -c)
    assert np.abs(poincare.gyromidpoint(x, weights, -c) - centre).max() <= 1e-9 / np.sqrt(c)


@given(**{key: CASES[key] for key in ("seed", "dim", "c")})
def test_mobius_algebra(seed: int, dim: int, c: float) -> None:
    _, x, y, _ = made(seed, dim, c, "hyperbolic", np.float64)
    zero = np.zeros(dim)
    assert np.abs(poincare.mobius_add(-x, poincare.mobius_add(x, y, -c), -c) - y).max() <= 1e-8
    assert np.array_equal(poincare.mobius_add(x, zero, -c), x)
    twice = poincare.mobius_scalar(2.0, x, -c)
    assert np.abs(twice - poincare.mobius_add(x, x, -c)).max() <= 1e-8
    assert np.abs(poincare.mobius_scalar(0.5, twice, -c) - x).max() <= 1e-7
    assert np.abs(poincare.mobius_matvec(3 * np.eye(dim), x, -c) - poincare.mobius_scalar(3.0, x, -c)).max() <= 1e-8
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    assert np.abs(poincare.mobius_matvec(turn, x, -c) - x @ turn.T).max() <= 1e-9
    along = poincare.exp_map(zero, poincare.log_map(zero, x, -c) * 0.25, -c)
    assert np.abs(along - poincare.mobius_scalar(0.25, x, -c)).max() <= 1e-9


@given(**{key: CASES[key] for key in ("seed", "dim", "c", "kind")})
def test_a_mean_is_where_the_logarithms_cancel(seed: int, dim: int, c: float, kind: str) -> None:
    space, x, _, _ = made(seed, dim, c, kind, np.float64)
    if kind == "spherical":  # of a cap, where there is one mean
        x = space.exp_map(x[:1], 0.3 * space.log_map(x[:1], x))
    weights = np.random.default_rng(seed).random(20) + 0.01
    mean = space.mean(x, weights)
    rest = (weights[:, None] * space.log_map(np.broadcast_to(mean, x.shape), x)).sum(0) / weights.sum()
    assert np.sqrt(space.inner_product(mean, rest, rest)) <= 2e-6 / np.sqrt(c)
    assert np.abs(space.mean(x[:1], weights[:1]) - x[0]).max() <= 1e-6 * (1 + np.abs(x[0]).max())


def test_of_two_points_the_midpoints_agree() -> None:
    x = in_ball(2, 5, c=1.0)
    halfway = poincare.exp_map(x[0], 0.5 * poincare.log_map(x[0], x[1]))
    assert np.abs(poincare.gyromidpoint(x) - halfway).max() <= 1e-9
    assert np.abs(poincare.frechet_mean(x) - halfway).max() <= 1e-6


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_boundary_everything_is_finite_and_inside(c: float, dtype: Any) -> None:
    radius = 1 / np.sqrt(c)
    x = (on_sphere(40, 6, c=c, seed=1) * (1 - 1e-5)).astype(dtype)
    y = np.concatenate([x[:20], on_sphere(20, 6, c=c, seed=2) * 1e15]).astype(dtype)  # the same, and far outside
    space = geometry.HyperbolicSpace(-c)
    v = np.full((40, 6), 1e6, dtype)
    inside = [
        space.project(y),
        space.exp_map(x, v),
        poincare.mobius_add(x, y, -c),
        poincare.mobius_scalar(1e6, x, -c),
        poincare.mobius_matvec(1e6 * np.eye(6), y, -c),
        space.mean(y),
        poincare.gyromidpoint(y, None, -c),
        lorentz.to_ball(poincare.to_hyperboloid(y, -c), -c),
    ]
    for points in inside:
        assert (np.linalg.norm(points.astype(np.float64), axis=-1) < radius).all()
    for numbers in (space.distance(x, y), space.log_map(x, y), space.transport(x, y, v), space.inner_product(x, v, v)):
        assert np.isfinite(numbers).all()


def test_close_points_near_the_boundary_keep_their_distance() -> None:
    """arcosh(1 + 2 s^2) = 2 arsinh(s), where 1 + 2 s^2 would round to 1."""
    x = np.array([1 - 1e-5, 0.0])
    y = np.array([1 - 1e-5, 1e-9])
    expected = 2 * np.arcsinh(1e-9 / ((1 - x[0] ** 2) ** 0.5 * (1 - x[0] ** 2 - 1e-18) ** 0.5))
    assert abs(poincare.distance(x, y) / expected - 1) < 1e-9


def test_float32_comes_back_from_float32_and_lists() -> None:
    assert poincare.mobius_add([0.1, 0.2], [0.3, 0.1]).dtype == np.float32
    assert poincare.mobius_add(np.float32([0.1, 0.2]), np.float64([0.3, 0.1])).dtype == np.float64
    assert sphere.distance([1, 0], [[0, 1], [1, 0]]).shape == (2,)


def test_a_product_adds_squares() -> None:
    parts = [(geometry.HyperbolicSpace(-0.5), 3), (geometry.SphericalSpace(2.0), 3), (geometry.EuclideanSpace(), 2)]
    space = geometry.ProductSpace(parts)
    x, y = (
        np.concatenate([in_ball(9, 3, c=0.5, seed=s), on_sphere(9, 3, c=2.0, seed=s), in_ball(9, 2, c=0.1, seed=s)], -1)
        for s in (1, 2)
    )
    squares = [parts[i][0].distance(x[:, a:b], y[:, a:b]) ** 2 for i, (a, b) in enumerate([(0, 3), (3, 6), (6, 8)])]
    assert np.abs(space.distance(x, y) ** 2 - sum(squares)).max() <= 1e-10
    v = space.log_map(x, y)
    assert np.abs(space.exp_map(x, v) - y).max() <= 1e-8
    assert np.abs(space.inner_product(x, v, v) - space.distance(x, y) ** 2).max() <= 1e-8
    assert space.curvature is None
    assert space.mean(x).shape == (8,)
    assert repr(eval(repr(space), vars(geometry))) == repr(space)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: poincare.distance([0.1], [0.2], 1.0), ra.InvalidConfigError, "curvature is 1.0; expected .* below 0"),
        (lambda: sphere.distance([1.0], [1.0], -1.0), ra.InvalidConfigError, "curvature is -1.0; expected .* above 0"),
        (lambda: poincare.distance([0.1], [0.2, 0.3]), ra.DimensionMismatchError, "y is .2,.; .* dim = 1, from x"),
        (lambda: poincare.distance([np.nan], [0.2]), ra.NumericalInstabilityError, "x holds nan"),
        (lambda: poincare.exp_map(0.1, [0.2]), ra.DimensionMismatchError, "x is a single number"),
        (lambda: poincare.gyromidpoint([[0.1]], [-1.0]), ra.InvalidConfigError, "weights holds a negative number"),
        (lambda: poincare.gyromidpoint([[0.1]], [1.0, 2.0]), ra.DimensionMismatchError, "weights is .2,.; expected"),
        (lambda: poincare.mobius_matvec([[1.0, 2.0]], [0.1]), ra.DimensionMismatchError, "matrix is .1, 2.; expected"),
        (lambda: geometry.ProductSpace([]), ra.InvalidConfigError, "components is empty"),
        (lambda: geometry.ProductSpace([(object(), 2)]), ra.UnsupportedError, "object is no space"),
        (lambda: geometry.parse_space("hyperbolc", 4), ra.InvalidConfigError, "space is 'hyperbolc'"),
        (lambda: geometry.parse_space("euclidean:2, hyperbolic:3", 4), ra.InvalidConfigError, "5 channels; expected"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call: Any, error: type[ra.AttentionError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()
