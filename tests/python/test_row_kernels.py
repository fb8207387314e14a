"""Kernels over single rows that the JavaScript runtimes build on, against functions of NumPy's own and of the geometry,
under every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ruvector_attention import kernels
from ruvector_attention.attention.linear import orthogonal_features
from ruvector_attention.geometry import poincare

Array = npt.NDArray[Any]
EPS = 1e-6
ROUNDING = 2e-7
CURVATURES = [0.3, 1.0, 2.5]
DIMS = [1, 2, 3, 5, 8, 17, 64]


@pytest.fixture(params=[*kernels.backends()], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.backend()
    kernels.use_backend(request.param)
    yield request.param
    kernels.use_backend(before)


def ball(operation: int, x: Array, y: Array | None = None, c: float = 1.0, eps: float = EPS) -> tuple[int, Array]:
    rows, dim = x.shape[0], x.shape[1] - (operation == 5)
    out = np.zeros((rows, 1 if operation == 6 else dim + (operation == 2)), np.float32)
    status = kernels.active.ball_rows(x, y, out, rows, dim, operation, c, eps)
    return int(status), out


def points(seed: int, rows: int, dim: int, c: float, furthest: float = 0.999) -> Array:
    """Points of the ball from its middle to near its boundary, one of them the middle."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, dim))
    x *= np.linspace(0, furthest, rows)[:, None] / np.sqrt(c) / np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32)


def near(found: Array, expected: Array, tolerance: float = ROUNDING) -> None:
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= tolerance * (1 + np.abs(expected))).all()


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", DIMS)
def test_maps_of_the_ball_are_those_of_the_geometry(dim: int, c: float) -> None:
    x, y = points(1, 24, dim, c), points(2, 24, dim, c)[::-1].copy()
    wide, other = x.astype(np.float64), y.astype(np.float64)
    origin = np.zeros(dim)
    lambdas = 2 / (1 - c * (wide**2).sum(axis=1, keepdims=True))
    vectors = np.asarray(poincare.log_map(origin, wide, -c))
    expected = [
        wide, lambdas * wide, np.concatenate([lambdas * wide, lambdas - 1], axis=1), vectors,
        np.asarray(poincare.exp_map(origin, wide, -c)),
    ]  # fmt: skip
    for operation, wanted in enumerate(expected):
        status, found = ball(operation, x, c=c)
        assert status == kernels.OK
        near(found, wanted)
    near(ball(6, x, y, c)[1][:, 0], np.asarray(poincare.distance(wide, other, -c)))
    near(ball(7, x, y, c)[1], np.asarray(poincare.mobius_add(wide, other, -c)))
    assert (ball(6, x, x, c)[1] == 0).all()


@pytest.mark.parametrize("c", CURVATURES)
def test_what_lies_outside_is_brought_inside(c: float) -> None:
    x = np.array([[3e4, 4e4], [0.3, 0.4], [0, -9], [1e-30, 0]], np.float32)
    for operation, eps in ((0, 0.25), (4, 0.25), (0, EPS)):
        _, found = ball(operation, x, c=c, eps=eps)
        length = np.linalg.norm(found.astype(np.float64), axis=1) * np.sqrt(c)
        assert (length <= 1 - eps + 1e-7).all()
        assert length[0] == pytest.approx(1 - eps, rel=1e-6)
        assert np.isfinite(found).all()
    assert np.array_equal(ball(0, x[1:2] / 2, c=c)[1], x[1:2] / 2)
    assert np.isnan(ball(0, np.array([[np.nan, 0]], np.float32))[1]).any()


@pytest.mark.parametrize("length", [1e-20, 1e-4, 0.124, 0.126, 0.49, 0.51, 1.0, 3.0, 7.0, 19.0, 21.0, 1e30])
def test_radial_functions_keep_their_digits(length: float) -> None:
    x = np.array([[length]], np.float32)
    wide = float(x[0, 0])
    near(ball(4, x, eps=1e-12)[1], np.array([[np.tanh(wide)]]))
    inside = np.array([[min(length, 0.999999)]], np.float32)
    near(ball(3, inside)[1], np.arctanh(inside.astype(np.float64)))
    far, origin = np.array([[0.999999]], np.float32), np.zeros((1, 1), np.float32)
    near(ball(6, far, origin)[1], 2 * np.arctanh(far.astype(np.float64)), 1e-6)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", DIMS)
def test_midpoints_of_sums_and_of_weights_are_the_gyromidpoint(dim: int, c: float) -> None:
    values = points(3, 30, dim, c, furthest=0.9)
    weights = np.random.default_rng(4).random((7, 30)).astype(np.float32)
    weights[:, ::5] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.stack([poincare.gyromidpoint(values.astype(np.float64), row, -c) for row in weights])
    _, extended = ball(2, values, c=c)
    status, found = ball(5, weights @ extended, c=c)
    assert status == kernels.OK
    near(found, expected, 2e-6)
    near(of_weights(weights, values, c), expected, 1e-6)
    unseen = values.copy()
    unseen[::5] = np.nan
    assert np.array_equal(of_weights(weights, unseen, c), of_weights(weights, values, c))


def of_weights(weights: Array, values: Array, c: float) -> Array:
    out = np.zeros((len(weights), values.shape[1]), np.float32)
    sizes = (len(weights), *values.shape)
    assert kernels.active.ball_midpoints(weights, values, out, *sizes, c, EPS) == kernels.OK
    return out


def test_a_midpoint_that_floats_do_not_tell_from_the_boundary_is_said() -> None:
    near_by = np.array([[0.9999, 0.0], [0.99985, 0.001]], np.float32)
    half = np.full((1, 2), 0.5, np.float32)
    status, _ = ball(5, half @ ball(2, near_by)[1])
    assert status == kernels.NON_FINITE
    expected = poincare.gyromidpoint(near_by.astype(np.float64), [0.5, 0.5])
    near(of_weights(half, near_by, 1.0)[0], np.asarray(expected))
    assert (ball(5, np.zeros((2, 3), np.float32))[1] == 0).all()  # of a query that sees nothing


def logs(map: int, x: Array, factor: float, addend: Array | None = None) -> tuple[int, Array]:
    out = np.zeros(len(x) if map == 0 else x.shape, np.float32)
    return int(kernels.active.feature_logs(x, addend, out, *x.shape, map, factor)), out


@pytest.mark.parametrize("dim", DIMS)
def test_logarithms_of_features(dim: int) -> None:
    random = np.random.default_rng(dim)
    x, addend = (random.normal(size=shape).astype(np.float32) * 4 for shape in ((9, dim), (9,)))
    x[0], x[1], x[2] = 0.0, 1e-38, 3e37
    s = x.astype(np.float64) * 0.7
    with np.errstate(divide="ignore"):
        elu, relu = np.where(s > 0, np.log1p(np.maximum(s, 0)), s), np.log(np.maximum(s, 0))
    assert logs(1, x, 0.7)[0] == logs(2, x, 0.7)[0] == logs(3, x, 0.7)[0] == kernels.OK
    near(logs(1, x, 0.7)[1], elu)
    found = logs(2, x, 0.7)[1]
    assert np.array_equal(np.isneginf(found), x <= 0)
    near(found[x > 0], relu[x > 0])
    near(logs(3, x, 0.7)[1], s)
    small = np.delete(x, 2, axis=0)
    status, found = logs(0, small, 0.7, addend[1:])
    assert status == kernels.OK
    near(found, -0.5 * (np.delete(s, 2, axis=0) ** 2).sum(axis=1) + addend[1:], 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("map", [0, 1, 2, 3])
def test_features_of_no_numbers_are_said(map: int, bad: float) -> None:
    for place in range(20):
        x = np.ones((4, 5), np.float32)
        x.reshape(-1)[place] = bad
        assert logs(map, x, 1.0)[0] == kernels.NON_FINITE
    far = np.array([[-3e38, 3e38]], np.float32)
    assert logs(map, far, 1.0)[0] == (kernels.OK if map > 1 else kernels.NON_FINITE)


@pytest.mark.parametrize(("count", "dim"), [(1, 1), (3, 4), (16, 16), (20, 33)])
def test_orthogonal_rows_are_those_that_the_features_of_linear_attention_are_made_of(count: int, dim: int) -> None:
    random = np.random.default_rng(7)
    x, lengths = random.standard_normal((dim, dim)), random.standard_normal((count, dim))
    out = np.zeros((count, dim), np.float32)
    assert kernels.active.orthogonal_rows(x, lengths, out, count, dim) == kernels.OK
    near(out, orthogonal_features(2 * count, dim, seed=7)[:count].astype(np.float64), 2e-7)


@pytest.mark.parametrize(("heads", "dim", "has_bias"), [(1, 3, False), (2, 8, True), (3, 5, True)])
def test_weights_of_edges_are_those_that_a_dense_softmax_gives(heads: int, dim: int, has_bias: bool) -> None:
    random = np.random.default_rng(heads)
    n_query, n_key = 7, 9
    seen = random.random((n_query, n_key)) < 0.4
    seen[2] = False  # a query that sees nothing
    indptr = np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(seen)[1].astype(np.int64)
    query, keys = (random.normal(size=(n, heads, dim)).astype(np.float32) for n in (n_query, n_key))
    bias = random.normal(size=(heads, indices.size)).astype(np.float32)
    scores = 0.7 * np.einsum("ihd,jhd->hij", query.astype(np.float64), keys.astype(np.float64))
    if has_bias:
        scores[:, seen] += bias
    scores[:, ~seen] = -np.inf
    with np.errstate(divide="ignore"):
        lse = np.log(np.exp(scores).sum(axis=-1))
    weights = np.full((heads, indices.size), np.nan, np.float32)
    status = kernels.active.edge_weights(
        query, keys, indptr, indices, bias if has_bias else None, lse.astype(np.float32, order="C"), weights,
        heads, n_query, n_key, indices.size, dim, 0.7,
    )  # fmt: skip
    assert status == kernels.OK
    near(weights, np.exp(scores[:, seen] - lse[:, np.nonzero(seen)[0]]), 2e-6)


@pytest.mark.parametrize(("flat_dim", "curved_dim", "heads", "c"), [(1, 1, 1, 1.0), (5, 4, 2, 0.6), (8, 17, 3, 2.5)])
def test_rows_of_two_spaces_are_taken_into_the_ball_by_the_exponential_map(
    flat_dim: int, curved_dim: int, heads: int, c: float
) -> None:
    random = np.random.default_rng(flat_dim)
    rows, width = 11, flat_dim + curved_dim
    flat, curved = (random.normal(size=(rows, heads, dim)).astype(np.float32) for dim in (flat_dim, curved_dim))
    curved *= np.geomspace(1e-6, 40, rows)[:, None, None].astype(np.float32)
    curved[3] = 0
    found, aux = np.zeros((rows, heads, width), np.float32), np.zeros((rows, heads, 2), np.float32)
    status = kernels.active.dual_points(flat, curved, found, aux, rows, heads, flat_dim, curved_dim, c, EPS)
    assert status == kernels.OK
    assert np.array_equal(found[..., :flat_dim], flat)
    wide = curved.reshape(-1, curved_dim).astype(np.float64)
    inside = np.asarray(poincare.project_to_ball(poincare.exp_map(np.zeros(curved_dim), wide, -c), -c, EPS))
    near(found[..., flat_dim:].reshape(-1, curved_dim), inside)
    radius = np.minimum(np.sqrt(c) * np.linalg.norm(wide, axis=1), np.arctanh(1 - EPS))
    assert (aux[..., 0] == 0).all()
    assert np.allclose(aux[..., 1].reshape(-1), np.cosh(radius) ** 2, rtol=2e-7, atol=0)
    refused = kernels.active.dual_points(flat, curved, found, aux, rows, heads, flat_dim, curved_dim, 0.0, EPS)
    assert refused == kernels.BAD_ARGUMENT


@pytest.mark.parametrize(("flat_dim", "curved_dim", "heads", "c"), [(1, 1, 1, 1.0), (5, 4, 2, 0.6), (8, 17, 3, 2.5)])
def test_scores_of_two_spaces_are_dot_products_and_distances(
    flat_dim: int, curved_dim: int, heads: int, c: float
) -> None:
    random = np.random.default_rng(curved_dim)
    n_query, n_key = 6, 9
    q, k = (random.normal(size=(n, heads, flat_dim)).astype(np.float32) for n in (n_query, n_key))
    x, y = (0.5 * random.normal(size=(n, heads, curved_dim)).astype(np.float32) for n in (n_query, n_key))
    y[2] = x[3]  # at no distance
    dots, distances = (np.zeros((heads, n_query, n_key), np.float32) for _ in range(2))
    sizes = (n_query, n_key, heads, flat_dim, curved_dim, c, EPS, 0.3, 1.7)
    assert kernels.active.dual_scores(q, x, k, y, dots, distances, *sizes) == kernels.OK
    near(dots, 0.3 * np.einsum("ihd,jhd->hij", q.astype(np.float64), k.astype(np.float64)))
    u, v = (np.asarray(poincare.exp_map(np.zeros(curved_dim), z.astype(np.float64), -c)) for z in (x, y))
    expected = np.asarray(poincare.distance(u[:, None], v[None], -c))
    near(distances, -1.7 * np.moveaxis(expected, -1, 0), 1e-6)
    assert (distances[:, 3, 2] == 0).all()


def test_weights_inside_of_lists_are_softmaxes_times_the_share_of_each_list() -> None:
    random = np.random.default_rng(5)
    n_key, dim = 40, 5
    keys, query = random.normal(size=(n_key, dim)).astype(np.float32), random.normal(size=dim).astype(np.float32)
    keys[7] *= 1e4  # beyond what exponentials hold
    owners = random.integers(0, 4, n_key)
    owners[owners == 2] = 1  # a list of nothing
    order = np.argsort(owners, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=4))]).astype(np.int64)
    scores = 0.7 * keys.astype(np.float64) @ query.astype(np.float64)
    shares = np.array([0.5, 0.25, 9, 0], np.float32)
    for given in (None, shares):
        found = np.full(n_key, np.nan, np.float32)
        status = kernels.active.list_weights(query, keys, indptr, order, given, found, 4, n_key, dim, 0.7)
        assert status == kernels.OK
        for owner in (0, 1, 3):
            own = owners == owner
            powers = np.exp(scores[own] - scores[own].max())
            near(found[own], powers / powers.sum() * (1 if given is None else given[owner]), 1e-6)
