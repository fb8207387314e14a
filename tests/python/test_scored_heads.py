"""Heads of the mechanisms that add something of their own to scores: each head by itself, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra

Array = npt.NDArray[Any]

HEADS, DIM, DIM_VALUE, N_QUERY, N_KEY = 3, 12, 6, 5, 9
RANDOM = np.random.default_rng(0)
TIMES = np.sort(RANDOM.random(N_KEY) * 4)
LAYERS = RANDOM.integers(0, 4, N_KEY)
MECHANISMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "graph_rope": ({"scaling": 2.0}, {"query_positions": TIMES[-N_QUERY:], "key_positions": TIMES}),
    "hnsw_aware": ({"num_layers": 4, "distance": True}, {"layers": LAYERS}),
    "temporal": ({"theta": 1.5}, {"key_times": TIMES}),
}


def drawn(*shapes: tuple[int, ...], seed: int = 1) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def split(x: Array) -> Array:
    """(..., n, heads * channels) as (..., heads, n, channels)."""
    return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(-2, -3)


def turned(x: Array, positions: Array) -> Array:
    half = x.shape[-1] // 2
    angles = positions[:, None] / 2.0 / 10_000.0 ** (np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)], axis=-1)


def expected(name: str, inputs: dict[str, Array], parameters: dict[str, Array]) -> tuple[Array, Array]:
    """Output and weights."""
    q, k, v = (split(inputs[key]) for key in ("query", "keys", "values"))
    scale, addend = (DIM // HEADS) ** -0.5, inputs["mask"]
    if name == "graph_rope":
        q, k = turned(q, TIMES[-N_QUERY:]), turned(k, TIMES)
    scores = scale * q @ k.swapaxes(-1, -2)
    if name == "hnsw_aware":
        gap = np.sqrt(((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(axis=-1))
        scores = scores - parameters["distance_weight"] * gap + parameters["layer_bias"][:, None, LAYERS]
    if name == "temporal":
        gap = abs(TIMES[-N_QUERY:, None] - TIMES)
        scores = scores + parameters["decay"] * np.exp(-gap / np.exp(parameters["log_theta"]))
        scores = np.where(TIMES[-N_QUERY:, None] >= TIMES, scores, -np.inf)
    scores = scores + (addend if addend.ndim == 2 else addend[..., None, :, :] if addend.ndim == 3 else addend)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    output = (weights @ v).swapaxes(-2, -3)
    return output.reshape(*output.shape[:-2], -1), weights


@pytest.mark.parametrize("mask_shape", [(N_QUERY, N_KEY), (2, N_QUERY, N_KEY), (2, HEADS, N_QUERY, N_KEY)])
@pytest.mark.parametrize("name", MECHANISMS)
def test_heads_attend_apart(name: str, mask_shape: tuple[int, ...]) -> None:
    """Output, weights, and every gradient along a direction."""
    settings, options = MECHANISMS[name]
    attention = ra.create(name, dim=DIM, num_heads=HEADS, **settings)
    for parameter, moved in zip(attention.parameters().values(), drawn((3, 4), (1,), seed=2), strict=False):
        parameter += moved if parameter.shape == moved.shape else 0.1
    shapes = [(2, N_QUERY, DIM), (2, N_KEY, DIM), (2, N_KEY, DIM_VALUE), mask_shape, (2, N_QUERY, DIM_VALUE)]
    *arrays, grad = drawn(*shapes)
    given = dict(zip(("query", "keys", "values", "mask"), arrays, strict=True))
    exact: dict[str, Array] = {key: x.astype(np.float64) for key, x in (given | attention.parameters()).items()}
    output, weights = expected(name, exact, exact)
    oracle.assert_close(attention(**given, **options, training=True), output, 4e-6)
    without_values = {key: x for key, x in given.items() if key != "values"}
    found = attention.attention_weights(**without_values, **options)  # type: ignore[attr-defined]
    oracle.assert_close(found, weights, 4e-6)
    gradients = attention.backward(grad)
    assert set(gradients) == set(exact)
    for key, gradient in gradients.items():
        assert gradient.shape == exact[key].shape
        step = 1e-5 * np.random.default_rng(3).standard_normal(gradient.shape)
        losses = [
            float((grad * expected(name, *[exact | {key: exact[key] + sign * step}] * 2)[0]).sum()) for sign in (1, -1)
        ]
        slope = (losses[0] - losses[1]) / 2
        assert abs((gradient * step).sum() - slope) <= 1e-3 * np.abs(gradient * step).sum(), key


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_single_query_and_top_k_go_with_heads(name: str) -> None:
    settings, options = MECHANISMS[name]
    q, k, v = drawn((N_QUERY, DIM), (N_KEY, DIM), (N_KEY, DIM_VALUE))
    plain = ra.create(name, dim=DIM, num_heads=HEADS, **settings)
    single = {key: at[-1:] if key == "query_positions" else at for key, at in options.items()}
    oracle.assert_close(plain(q[-1], k, v, **single), plain(q, k, v, **options)[-1].astype(np.float64), 4e-6)
    assert plain.attention_weights(q[-1], k, **single).shape == (HEADS, N_KEY)  # type: ignore[attr-defined]
    zeros = np.zeros((N_QUERY, N_KEY), np.float32)
    exact = {"query": q, "keys": k, "values": v, "mask": zeros} | plain.parameters()
    exact = {key: x.astype(np.float64) for key, x in exact.items()}
    weights = expected(name, exact, exact)[1]
    kept = weights * (weights >= np.sort(weights, axis=-1)[..., -2, None])
    few = ra.create(name, dim=DIM, num_heads=HEADS, top_k=2, **settings)
    found = few(q, k, v, **options)
    wanted = (kept / kept.sum(axis=-1, keepdims=True) @ split(v.astype(np.float64))).swapaxes(0, 1)
    oracle.assert_close(found, wanted.reshape(N_QUERY, -1), 4e-6)


@pytest.mark.parametrize("name", MECHANISMS)
def test_heads_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match="dim is 12; expected a multiple of num_heads = 5"):
        ra.create(name, dim=12, num_heads=5)
    with pytest.raises(ra.DimensionMismatchError, match="values have 7 channels; expected a multiple of num_heads = 3"):
        ra.create(name, dim=12, num_heads=3)(np.ones((2, 12)), np.ones((4, 12)), np.ones((4, 7)))
