"""What scores can be made of beside dot products: distances in spaces, times, dropout. Against float64.

The expected values come from definitions written here: arcosh and arccos forms, where the kernels use log1p and asin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

from ruvector_attention import engine
from ruvector_attention.engine import Dropout, Rotary, Space, Times

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def in_ball(*shape: int, c: float, reach: float = 0.9, seed: int = 0) -> Array:
    x = normal(*shape, seed=seed)
    radii = np.random.default_rng([seed, 1, *shape]).random((*shape[:-1], 1)) * reach / np.sqrt(c)
    return x / np.linalg.norm(x, axis=-1, keepdims=True) * radii


def on_sphere(*shape: int, c: float, seed: int = 0) -> Array:
    x = normal(*shape, seed=seed)
    return x / np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(c)


def square(q: Array, k: Array) -> Array:
    return ((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(axis=-1)


def euclidean(q: Array, k: Array, c: float) -> Array:
    return np.sqrt(square(q, k))


def poincare(q: Array, k: Array, c: float) -> Array:
    gaps = (1 - c * (q**2).sum(-1))[..., :, None] * (1 - c * (k**2).sum(-1))[..., None, :]
    return np.arccosh(1 + 2 * c * square(q, k) / gaps) / np.sqrt(c)


def lorentz(q: Array, k: Array, c: float) -> Array:
    times = np.sqrt(1 / c + (q**2).sum(-1))[..., :, None] * np.sqrt(1 / c + (k**2).sum(-1))[..., None, :]
    return np.arccosh(np.maximum(c * (times - q @ k.swapaxes(-1, -2)), 1)) / np.sqrt(c)


def spherical(q: Array, k: Array, c: float) -> Array:
    return np.arccos(np.clip(c * (q @ k.swapaxes(-1, -2)), -1, 1)) / np.sqrt(c)


DISTANCES: dict[str, Callable[[Array, Array, float], Array]] = {
    "euclidean": euclidean,
    "poincare": poincare,
    "lorentz": lorentz,
    "spherical": spherical,
}


def points(kind: str, *shape: int, c: float, seed: int) -> Array:
    if kind == "poincare":
        return in_ball(*shape, c=c, seed=seed)
    return on_sphere(*shape, c=c, seed=seed) if kind == "spherical" else normal(*shape, seed=seed)


def scores_of(q: Array, k: Array, spaces: list[Space], scale: float) -> Array:
    total: Array = np.zeros((*q.shape[:-1], k.shape[-2]))
    for space in spaces:
        a, b = q[..., space.begin : space.end], k[..., space.begin : space.end]
        if space.kind == "dot":
            total = total + space.weight * (a @ b.swapaxes(-1, -2))
        else:
            total = total - space.weight * DISTANCES[space.kind](a, b, space.curvature) ** space.power
    return scale * total


def softmax(scores: Array) -> Array:
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return weights


def float32(*arrays: Array) -> list[Array]:
    return [np.ascontiguousarray(array, np.float32) for array in arrays]


SIZES = [(1, 5), (3, 130), (17, 200), (60, 140)]


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("n_query", "n_key"), SIZES)
@pytest.mark.parametrize("c", [0.5, 2.0])
@pytest.mark.parametrize("kind", DISTANCES)
def test_minus_distance(kind: str, c: float, n_query: int, n_key: int, power: int) -> None:
    for dim in (3, 16, 37):
        q, k = float32(points(kind, 2, n_query, dim, c=c, seed=1), points(kind, 2, n_key, dim, c=c, seed=2))
        (v,) = float32(normal(2, n_key, 6, seed=3))
        spaces = [Space(kind, 0, dim, 1.3, c, power)]
        weights = softmax(scores_of(q.astype(np.float64), k.astype(np.float64), spaces, 0.7))
        oracle.assert_close(engine.attend(q, k, v, scale=0.7, spaces=spaces), weights @ v, 2e-5)
        oracle.assert_close(engine.weights(q, k, scale=0.7, spaces=spaces), weights, 2e-5)


@pytest.mark.parametrize(("n_query", "n_key"), SIZES)
def test_a_mixture_of_spaces_with_heads_mask_and_bias(n_query: int, n_key: int) -> None:
    spaces = [Space("dot", 0, 5, 0.4), Space("poincare", 5, 12, 0.8, 1.5), Space("spherical", 12, 16, 0.5, 2.0, 2)]

    def rows(n: int, seed: int) -> Array:
        parts = [normal(n, 2, 5, seed=seed), in_ball(n, 2, 7, c=1.5, seed=seed), on_sphere(n, 2, 4, c=2.0, seed=seed)]
        return np.concatenate(parts, axis=-1)

    q, k = rows(n_query, 1), rows(n_key, 2)
    bias = normal(n_query, n_key, seed=4)
    mask = np.random.default_rng(5).random((n_query, n_key)) < 0.7
    mask[:, 0] = True
    q, k, v, b = float32(q, k, normal(n_key, 2, 3, seed=3), bias)
    options: Any = {"spaces": spaces, "num_heads": 2, "num_kv_heads": 2, "mask": mask, "bias": b}
    flat = [x.reshape(len(x), -1) for x in (q, k, v)]
    found = engine.attend(*flat, scale=1.0, **options).reshape(n_query, 2, 3)
    weights = engine.weights(*flat[:2], scale=1.0, **options)
    for head in range(2):
        a, c = q[:, head].astype(np.float64), k[:, head].astype(np.float64)
        expected = softmax(np.where(mask, scores_of(a, c, spaces, 1.0) + b, -np.inf))
        oracle.assert_close(weights[head], expected, 2e-5)
        oracle.assert_close(found[:, head], expected @ v[:, head], 2e-5)


@pytest.mark.parametrize("n_query", [1, 40])
def test_close_points_near_the_boundary(n_query: int) -> None:
    """Norms of 1 - 1e-5, distances from 1e-3 to 20: from norms and dot products, float32 would give noise."""
    base = on_sphere(n_query, 8, c=1.0, seed=1)
    near = base[:1] + 1e-6 * normal(60, 8, seed=2)
    far = on_sphere(60, 8, c=1.0, seed=3)
    q, k = float32(base * (1 - 1e-5), np.concatenate([near, far]) * (1 - 1e-5))
    (v,) = float32(normal(120, 4, seed=4))
    weights = softmax(-poincare(q.astype(np.float64), k.astype(np.float64), 1.0))
    found = engine.attend(q, k, v, scale=1.0, spaces=[Space("poincare", 0, 8)])
    assert np.isfinite(found).all()
    oracle.assert_close(found, weights @ v, 1e-4)


def numerical(f: Callable[[Array], float], x: Array, step: float = 1e-6) -> Array:
    """Central differences of a float64 function."""
    grad = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        grad[index] = (f(up) - f(down)) / (2 * step)
    return grad


def assert_gradient(found: Array, expected: Array) -> None:
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max() + 1e-5


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", [*DISTANCES, "dot"])
def test_gradients_of_distances(kind: str, power: int) -> None:
    n_query, n_key, dim, c = 5, 7, 4, 1.4
    q, k = float32(points(kind, n_query, dim, c=c, seed=1), points(kind, n_key, dim, c=c, seed=2))
    v, upstream = float32(normal(n_key, 3, seed=3), normal(n_query, 3, seed=4))
    wide = [x.astype(np.float64) for x in (q, k, v)]

    def loss(a: Array, b: Array, weight: float = 0.8, curvature: float = c) -> float:
        spaces = [Space(kind, 0, dim, weight, curvature, power)]
        if kind == "spherical":  # the chord, defined off the sphere too
            chord = np.sqrt(square(a, b))
            angles = 2 / np.sqrt(curvature) * np.arcsin(np.minimum(np.sqrt(curvature) * chord / 2, 1))
            scores = -0.9 * weight * angles**power
        else:
            scores = scores_of(a, b, spaces, 0.9)
        return float((softmax(scores) @ wide[2] * upstream).sum())

    spaces = [Space(kind, 0, dim, 0.8, c, power)]
    out, lse = engine.attend(q, k, v, scale=0.9, spaces=spaces, return_lse=True)
    grads = engine.attend_backward(q, k, v, out, lse, upstream, scale=0.9, spaces=spaces)
    assert grads.spaces is not None
    assert_gradient(grads.query, numerical(lambda x: loss(x, wide[1]), wide[0]))
    assert_gradient(grads.keys, numerical(lambda x: loss(wide[0], x), wide[1]))
    assert_gradient(grads.spaces[0, :1], numerical(lambda w: loss(wide[0], wide[1], weight=w[0]), np.array([0.8])))
    if kind not in ("dot", "euclidean"):
        of_c = numerical(lambda x: loss(wide[0], wide[1], curvature=x[0]), np.array([c]))
        assert_gradient(grads.spaces[0, 1:], of_c)


def test_gradients_at_opposite_points_are_bounded() -> None:
    q, v = np.eye(4, dtype=np.float32)[:2], np.eye(3, dtype=np.float32)
    k = np.stack([-q[0], q[1], q[0]])
    spaces = [Space("spherical", 0, 4)]
    out, lse = engine.attend(q, k, v, scale=1.0, spaces=spaces, return_lse=True)
    grads = engine.attend_backward(q, k, v, out, lse, np.ones_like(out) + v[:2], scale=1.0, spaces=spaces)
    assert np.abs(grads.query).max() < 1e3
    assert np.abs(grads.keys).max() < 1e3


def test_gradients_of_a_mixture_with_many_queries() -> None:
    """Tiles of whole lanes, several tiles of keys: against float64 differences of a few entries."""
    spaces = [Space("dot", 0, 6, 0.4), Space("poincare", 6, 13, 0.8, 1.5)]
    q = np.concatenate([normal(100, 6, seed=1), in_ball(100, 7, c=1.5, seed=1)], axis=-1)
    k = np.concatenate([normal(150, 6, seed=2), in_ball(150, 7, c=1.5, seed=2)], axis=-1)
    q, k, v, upstream = float32(q, k, normal(150, 5, seed=3), normal(100, 5, seed=4))
    wide = [x.astype(np.float64) for x in (q, k)]
    out, lse = engine.attend(q, k, v, scale=1.0, spaces=spaces, return_lse=True)
    grads = engine.attend_backward(q, k, v, out, lse, upstream, scale=1.0, spaces=spaces)

    def loss(a: Array, b: Array) -> float:
        return float((softmax(scores_of(a, b, spaces, 1.0)) @ v * upstream).sum())

    for which, grad in enumerate((grads.query, grads.keys)):
        scale = np.abs(grad).max()
        for row, column in [(0, 0), (7, 5), (33, 6), (60, 9), (99, 12)]:
            moved = [[x.copy() for x in wide] for _ in range(2)]
            moved[0][which][row, column] += 1e-6
            moved[1][which][row, column] -= 1e-6
            expected = (loss(*moved[0]) - loss(*moved[1])) / 2e-6
            assert abs(grad[row, column] - expected) <= 1e-3 * scale + 1e-5


@pytest.mark.parametrize(("n_query", "n_key"), SIZES)
def test_decay_by_time(n_query: int, n_key: int) -> None:
    q, k, v = float32(normal(2, n_query, 8), normal(2, n_key, 8, seed=1), normal(2, n_key, 3, seed=2))
    of_keys = 1.7e9 + np.sort(np.random.default_rng(1).random((2, n_key)) * 50, axis=-1)
    of_query = 1.7e9 + 50 * np.random.default_rng(2).random((2, n_query))
    gaps = np.abs(of_query[..., :, None] - of_keys[..., None, :])
    weights = softmax(q.astype(np.float64) @ k.swapaxes(-1, -2) * 0.4 + 1.5 * np.exp(-0.1 * gaps))
    times = Times(of_query, of_keys, 1.5, 0.1)
    oracle.assert_close(engine.attend(q, k, v, scale=0.4, times=times), weights @ v, 5e-6)
    oracle.assert_close(engine.weights(q, k, scale=0.4, times=times), weights, 5e-6)


def test_gradients_of_the_decay() -> None:
    q, k, v, upstream = float32(normal(20, 8), normal(30, 8, seed=1), normal(30, 3, seed=2), normal(20, 3, seed=3))
    of_query, of_keys = np.linspace(0, 9, 20), np.linspace(0, 9, 30)
    gaps = np.abs(of_query[:, None] - of_keys)

    def loss(numbers: Array) -> float:
        scores = q.astype(np.float64) @ k.T * 0.4 + numbers[0] * np.exp(-numbers[1] * gaps)
        return float((softmax(scores) @ v * upstream).sum())

    times = Times(of_query, of_keys, 1.5, 0.3)
    out, lse = engine.attend(q, k, v, scale=0.4, times=times, return_lse=True)
    grads = engine.attend_backward(q, k, v, out, lse, upstream, scale=0.4, times=times)
    assert grads.times is not None
    assert_gradient(grads.times, numerical(loss, np.array([1.5, 0.3])))


def dropped(n_query: int, n_key: int, share: float, seed: int, heads: int = 1) -> Array:
    """What remains of equal weights, (heads, n_query, n_key), as factors."""
    q, k = np.zeros((n_query, 4 * heads), np.float32), np.zeros((n_key, 4 * heads), np.float32)
    v = np.tile(np.eye(n_key, dtype=np.float32), (1, heads))
    out = engine.attend(q, k, v, scale=1.0, dropout=Dropout(share, seed), num_heads=heads, num_kv_heads=heads)
    factors: Array = out.reshape(n_query, heads, n_key).swapaxes(0, 1) * n_key
    return factors


@pytest.mark.parametrize(("n_query", "n_key"), [(3, 500), (60, 300), (200, 150)])
def test_dropout_drops_its_share_and_scales_the_rest(n_query: int, n_key: int) -> None:
    factors = dropped(n_query, n_key, 0.3, 7, heads=2)
    assert set(np.unique(np.round(factors * 0.7, 4))) == {0.0, 1.0}
    share = (factors == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / factors.size)
    assert np.abs(np.corrcoef(factors[0].ravel(), factors[1].ravel())[0, 1]) < 5 / np.sqrt(factors[0].size)
    assert (dropped(n_query, n_key, 0.3, 8, heads=2) != factors).any()


def test_dropout_is_the_same_however_the_work_is_cut() -> None:
    """A query dropped from a call of many is dropped alike by every backend and every number of threads."""
    from ruvector_attention import kernels

    here, found = kernels.backend(), []
    try:
        for name in kernels.backends():
            kernels.use_backend(name)
            found.append(dropped(70, 200, 0.5, 3) > 0)
    finally:
        kernels.use_backend(here)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_gradients_through_dropout() -> None:
    n_query, n_key = 20, 30
    keep = dropped(n_query, n_key, 0.4, 5)[0].astype(np.float64)
    q, k, v = float32(normal(n_query, 6), normal(n_key, 6, seed=1), normal(n_key, 3, seed=2))
    (upstream,) = float32(normal(n_query, 3, seed=3))
    options: Any = {"scale": 0.5, "dropout": Dropout(0.4, 5)}
    out, lse = engine.attend(q, k, v, return_lse=True, **options)
    weights = softmax(0.5 * q.astype(np.float64) @ k.T) * keep
    oracle.assert_close(out, weights @ v, 4e-6)
    grads = engine.attend_backward(q, k, v, out, lse, upstream, **options)
    wide = [x.astype(np.float64) for x in (q, k, v)]

    def loss(a: Array, b: Array, c: Array) -> float:
        return float((softmax(0.5 * a @ b.T) * keep @ c * upstream).sum())

    assert_gradient(grads.query, numerical(lambda x: loss(x, *wide[1:]), wide[0]))
    assert_gradient(grads.keys, numerical(lambda x: loss(wide[0], x, wide[2]), wide[1]))
    assert_gradient(grads.values, numerical(lambda x: loss(*wide[:2], x), wide[2]))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("n_query", "n_key"), SIZES)
def test_rotary_positions(n_query: int, n_key: int, interleaved: bool) -> None:
    """By complex numbers, and dot products that depend on differences of positions alone."""
    heads, dim, turned = 2, 10, 8
    q, k, v = float32(normal(2, n_query, 20), normal(2, n_key, 20, seed=1), normal(2, n_key, 6, seed=2))
    at_query, at_keys = 1000 + 3.5 * np.arange(n_query), np.stack([np.arange(n_key) * 1.0, np.arange(n_key) * 2.0])

    def complexes(x: Array, positions: Array) -> Array:
        heads_first = x.astype(np.float64).reshape(2, -1, heads, dim).swapaxes(1, 2)
        halves = heads_first[..., : turned // 2], heads_first[..., turned // 2 : turned]
        if interleaved:
            halves = heads_first[..., 0:turned:2], heads_first[..., 1:turned:2]
        angles = positions[..., None] * 500.0 ** (-2 * np.arange(turned // 2) / turned)
        spun = (halves[0] + 1j * halves[1]) * np.exp(1j * angles)
        return np.concatenate([spun.real, spun.imag, heads_first[..., turned:]], axis=-1)

    a, b = complexes(q, np.broadcast_to(at_query, (2, 1, n_query))), complexes(k, at_keys[:, None])
    weights = softmax(0.3 * a @ b.swapaxes(-1, -2))
    options: Any = {"num_heads": heads, "num_kv_heads": heads, "scale": 0.3}
    options["rotary"] = Rotary(at_query, at_keys, 500.0, turned, interleaved)
    values = v.astype(np.float64).reshape(2, -1, heads, 3).swapaxes(1, 2)
    expected = (weights @ values).swapaxes(1, 2).reshape(2, n_query, 6)
    oracle.assert_close(engine.attend(q, k, v, **options), expected, 4e-6)
    oracle.assert_close(engine.weights(q, k, **options), weights, 4e-6)
    moved = options | {"rotary": Rotary(at_query + 7, at_keys + 7, 500.0, turned, interleaved)}
    oracle.assert_close(engine.attend(q, k, v, **moved), expected, 2e-5)


def test_gradients_through_rotary_positions() -> None:
    q, k, v, upstream = float32(normal(5, 6), normal(7, 6, seed=1), normal(7, 3, seed=2), normal(5, 3, seed=3))
    rotary = Rotary(np.arange(5.0), np.arange(7.0))
    wide = [x.astype(np.float64) for x in (q, k)]

    def loss(a: Array, b: Array) -> float:
        angles = 10_000.0 ** (-2 * np.arange(3) / 6)
        spun = [(x[:, :3] + 1j * x[:, 3:]) * np.exp(1j * np.arange(len(x))[:, None] * angles) for x in (a, b)]
        return float((softmax((spun[0] @ spun[1].conj().T).real * 0.4) @ v * upstream).sum())

    out, lse = engine.attend(q, k, v, scale=0.4, rotary=rotary, return_lse=True)
    grads = engine.attend_backward(q, k, v, out, lse, upstream, scale=0.4, rotary=rotary)
    assert_gradient(grads.query, numerical(lambda x: loss(x, wide[1]), wide[0]))
    assert_gradient(grads.keys, numerical(lambda x: loss(wide[0], x), wide[1]))
