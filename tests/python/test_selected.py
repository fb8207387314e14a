"""Lists of keys, given or chosen: the k highest scores of each query, and masks of pairs, against dense float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import engine
from ruvector_attention.engine import Dropout, Edges, Rotary, Space, Times

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def best(scores: Array, k: int) -> Array:
    """Which are the k highest of each row that are not -inf: the definition, row by row."""
    chosen = np.zeros(scores.shape, bool)
    for index in np.ndindex(*scores.shape[:-1]):
        order = sorted(range(scores.shape[-1]), key=lambda j, row=scores[index]: (-row[j], j))[:k]
        chosen[index][[j for j in order if scores[index][j] > -np.inf]] = True
    return chosen


def softmax(scores: Array) -> Array:
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    weights: Array = exponentials / np.where(total == 0, 1, total)
    return weights


@pytest.mark.parametrize("k", [1, 3, 40, 1000])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 9), (5, 300), (60, 130), (20, 1000)])
def test_the_highest_scores_alone_count(n_query: int, n_key: int, k: int) -> None:
    q, keys, v = normal(2, n_query, 16), normal(2, n_key, 16, seed=1), normal(2, n_key, 5, seed=2)
    scores = 0.6 * q.astype(np.float64) @ keys.astype(np.float64).swapaxes(-1, -2)
    weights = softmax(np.where(best(scores, k), scores, -np.inf))
    oracle.assert_close(engine.attend(q, keys, v, scale=0.6, top_k=k), weights @ v, 4e-6)
    oracle.assert_close(engine.weights(q, keys, scale=0.6, top_k=k), weights, 4e-6)


def test_the_highest_scores_of_every_head_within_masks_and_biases() -> None:
    n_query, n_key, heads = 30, 200, 2
    q, keys, v = normal(n_query, 8 * heads), normal(n_key, 8 * heads, seed=1), normal(n_key, 3 * heads, seed=2)
    mask = np.random.default_rng(3).random((n_query, n_key)) < 0.3
    mask[4] = False
    mask[5] = np.arange(n_key) < 4
    bias = normal(heads, n_query, n_key, seed=4)
    options: Any = {"scale": 0.5, "top_k": 7, "mask": mask, "bias": bias, "causal": True}
    options |= {"num_heads": heads, "num_kv_heads": heads}
    out, lse = engine.attend(q, keys, v, return_lse=True, **options)
    weights = engine.weights(q, keys, **options)
    upstream = normal(n_query, 3 * heads, seed=5)
    grads = engine.attend_backward(q, keys, v, out, lse, upstream, **options)
    assert grads.bias is not None
    seen = mask & (np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query)
    for h in range(heads):
        a, b, c = (x[:, h * w : (h + 1) * w].astype(np.float64) for x, w in ((q, 8), (keys, 8), (v, 3)))
        scores = np.where(seen, 0.5 * a @ b.T + bias[h], -np.inf)
        expected = softmax(np.where(best(scores, 7), scores, -np.inf))
        oracle.assert_close(weights[h], expected, 4e-6)
        oracle.assert_close(out[:, 3 * h : 3 * h + 3], expected @ c, 4e-6)
        g = upstream[:, 3 * h : 3 * h + 3].astype(np.float64)
        products = g @ c.T
        of_scores = expected * (products - (products * expected).sum(axis=-1, keepdims=True))
        oracle.assert_close(grads.query[:, 8 * h : 8 * h + 8], 0.5 * of_scores @ b, 1e-5)
        oracle.assert_close(grads.keys[:, 8 * h : 8 * h + 8], 0.5 * of_scores.T @ a, 1e-5)
        oracle.assert_close(grads.values[:, 3 * h : 3 * h + 3], expected.T @ g, 1e-5)
        oracle.assert_close(grads.bias[h], of_scores, 1e-5)


def test_equal_scores_are_taken_in_order() -> None:
    q, keys = np.zeros((3, 4), np.float32), normal(50, 4)
    weights = engine.weights(q, keys, scale=1.0, top_k=5)
    np.testing.assert_array_equal(weights > 0, np.tile(np.arange(50) < 5, (3, 1)))


@pytest.mark.parametrize(("n_query", "n_key", "dim"), [(1, 8, 1), (3, 133, 16), (40, 50, 33), (5, 1000, 16)])
def test_equal_sums_of_products_and_biases_are_taken_in_order(n_query: int, n_key: int, dim: int) -> None:
    """Whole numbers, so that sums are exact and many of them equal, whatever the two terms are."""
    random = np.random.default_rng(n_key)
    keys = random.integers(0, 4, (n_key, dim)).astype(np.float32)
    products = keys.sum(axis=1)
    bias = (6 * dim - products + random.integers(0, 3, n_key)).astype(np.float32)
    weights = engine.weights(np.ones((n_query, dim), np.float32), keys, scale=1.0, top_k=5, bias=bias[None])
    np.testing.assert_array_equal(weights > 0, np.tile(best((products + bias)[None], 5), (n_query, 1)))


@pytest.mark.parametrize("n_key", [7, 50, 133])
def test_equal_keys_are_taken_in_order(n_key: int) -> None:
    keys = np.repeat(normal(1, 33), n_key, axis=0)
    weights = engine.weights(normal(3, 33, seed=1), keys, scale=33**-0.5, top_k=5)
    np.testing.assert_array_equal(weights > 0, np.tile(np.arange(n_key) < 5, (3, 1)))


def lists(n_query: int, n_key: int, share: float) -> tuple[Array, Edges]:
    allowed = np.random.default_rng(6).random((n_query, n_key)) < share
    allowed[n_query // 2] = False
    rows, columns = np.nonzero(allowed)
    return allowed, Edges.checked(np.searchsorted(rows, np.arange(n_query + 1)), columns, n_query, n_key)


@pytest.mark.parametrize("extra", ["nothing", "mask", "mask for heads", "bias", "lengths", "normalize"])
def test_given_lists_are_a_mask(extra: str) -> None:
    n_query, n_key, heads = 40, 90, 2
    allowed, edges = lists(n_query, n_key, 0.2)
    q, keys = normal(3, n_query, 6 * heads), normal(3, n_key, 6 * heads, seed=1)
    v, upstream = normal(3, n_key, 4 * heads, seed=2), normal(3, n_query, 4 * heads, seed=3)
    options: Any = {"scale": 0.7, "num_heads": heads, "num_kv_heads": heads}
    seen = np.broadcast_to(allowed, (3, heads, n_query, n_key))
    bias = np.zeros(1)
    if extra == "mask":
        options["mask"] = np.random.default_rng(7).random((n_query, n_key)) < 0.6
        seen = seen & options["mask"]
    elif extra == "mask for heads":
        options["mask"] = np.random.default_rng(7).random((1, heads, n_query, n_key)) < 0.6
        seen = seen & options["mask"]
    elif extra == "bias":
        options["bias"] = bias = normal(3, heads, n_query, n_key, seed=8)
    elif extra == "lengths":
        options["key_lengths"] = np.array([90, 30, 1])
        seen = seen & (np.arange(n_key) < options["key_lengths"][:, None, None, None])
    elif extra == "normalize":
        options["normalize"] = True
    parts = [x.astype(np.float64).reshape(3, -1, heads, w).swapaxes(1, 2) for x, w in ((q, 6), (keys, 6), (v, 4))]
    if extra == "normalize":
        parts[:2] = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in parts[:2]]
    expected = softmax(np.where(seen, 0.7 * parts[0] @ parts[1].swapaxes(-1, -2) + bias, -np.inf))
    out, lse = engine.attend(q, keys, v, edges=edges, return_lse=True, **options)
    oracle.assert_close(out, (expected @ parts[2]).swapaxes(1, 2).reshape(out.shape), 4e-6)
    oracle.assert_close(engine.weights(q, keys, edges=edges, **options), expected, 4e-6)
    grads = engine.attend_backward(q, keys, v, out, lse, upstream, edges=edges, **options)
    g = upstream.astype(np.float64).reshape(3, -1, heads, 4).swapaxes(1, 2)
    products = g @ parts[2].swapaxes(-1, -2)
    of_scores = expected * (products - (products * expected).sum(axis=-1, keepdims=True))
    oracle.assert_close(grads.values, (expected.swapaxes(-1, -2) @ g).swapaxes(1, 2).reshape(v.shape), 1e-5)
    if extra == "bias":
        oracle.assert_close(grads.bias, of_scores, 1e-5)
    if extra != "normalize":
        oracle.assert_close(grads.query, 0.7 * (of_scores @ parts[1]).swapaxes(1, 2).reshape(q.shape), 1e-5)


def test_given_lists_with_dropout() -> None:
    """By way of tiles: the same pairs, the share of them dropped."""
    allowed, edges = lists(60, 200, 0.5)
    zeros = np.zeros((60, 4), np.float32), np.zeros((200, 4), np.float32)
    out = engine.attend(*zeros, np.eye(200, dtype=np.float32), scale=1.0, edges=edges, dropout=Dropout(0.5, 1))
    assert not out[~allowed].any()
    assert abs((out[allowed] > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(allowed.sum())


def turned(x: Array, positions: Array) -> Array:
    """Rotary positions, pairs (c, c + dim / 2), base 10 000."""
    half = x.shape[-1] // 2
    angles = positions[:, None] / 10_000.0 ** (np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.concatenate([a * cosine - b * sine, a * sine + b * cosine], axis=-1)


def poincare(q: Array, keys: Array, c: float) -> Array:
    square = ((q[..., :, None, :] - keys[..., None, :, :]) ** 2).sum(axis=-1)
    inside = [1 - c * (x**2).sum(axis=-1) for x in (q, keys)]
    distance: Array = np.arccosh(1 + 2 * c * square / (inside[0][..., :, None] * inside[1][..., None, :])) / np.sqrt(c)
    return distance


RICH_Q, RICH_K, RICH_D, RICH_V, RICH_HEADS = 50, 120, 6, 4, 2
AT_QUERY, AT_KEYS = np.sort(normal(RICH_Q, seed=20)).astype(np.float64), np.sort(normal(RICH_K)).astype(np.float64)
RICH: dict[str, dict[str, Any]] = {
    "distances": {"spaces": [Space("dot", 0, 2, 0.7), Space("poincare", 2, 6, 1.3, 0.6)]},
    "rotary": {"rotary": Rotary(AT_QUERY, AT_KEYS)},
    "times": {"times": Times(AT_QUERY, AT_KEYS, 1.5, 0.8)},
    "rotary, times and cosines": {
        "rotary": Rotary(AT_QUERY, AT_KEYS), "times": Times(AT_QUERY, AT_KEYS, 1.5, 0.8), "normalize": True,
    },
}  # fmt: skip


def rich_weights(extra: str, q: Array, keys: Array, bias: Array, k: int, parameters: Array) -> Array:
    """Heads first: q (heads, n_query, dim); parameters are what the options of ``extra`` hold, and may be moved."""
    if "cosines" in extra:
        q, keys = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (q, keys))
    if "rotary" in extra:
        q, keys = turned(q, AT_QUERY), turned(keys, AT_KEYS)
    scores = 0.8 * q @ keys.swapaxes(-1, -2)
    if extra == "distances":
        flat, curved, c = parameters
        scores = 0.8 * flat * q[..., :2] @ keys[..., :2].swapaxes(-1, -2)
        scores = scores - 0.8 * curved * poincare(q[..., 2:], keys[..., 2:], c)
    if "times" in extra:
        decay, rate = parameters
        scores = scores + decay * np.exp(-rate * np.abs(AT_QUERY[:, None] - AT_KEYS))
    scores = scores + bias
    return softmax(np.where(best(scores, k), scores, -np.inf))


@pytest.mark.parametrize("extra", RICH)
def test_the_highest_scores_of_every_kind(extra: str) -> None:
    """Distances, turned rows, times: output, weights, and every gradient along a direction, against float64."""
    scale = 0.3 if extra == "distances" else 1.0  # well inside the ball
    shapes = [(RICH_Q, RICH_HEADS * RICH_D), (RICH_K, RICH_HEADS * RICH_D), (RICH_K, RICH_HEADS * RICH_V)]
    arrays = [scale * normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    arrays.append(normal(RICH_HEADS, RICH_Q, RICH_K, seed=9))
    options = {"scale": 0.8, "top_k": 9, "num_heads": RICH_HEADS, "num_kv_heads": RICH_HEADS, **RICH[extra]}
    parameters = np.array({"distances": [0.7, 1.3, 0.6]}.get(extra, [1.5, 0.8]))

    def split(x: Array) -> Array:
        return x.reshape(len(x), RICH_HEADS, -1).swapaxes(0, 1)

    def expected(q: Array, keys: Array, v: Array, bias: Array, at: Array) -> tuple[Array, Array]:
        weights = rich_weights(extra, split(q), split(keys), bias, 9, at)
        return weights, (weights @ split(v)).swapaxes(0, 1).reshape(RICH_Q, -1)

    exact = [x.astype(np.float64) for x in arrays]
    weights, output = expected(*exact, parameters)
    q, keys, v, bias = arrays
    out, lse = engine.attend(q, keys, v, bias=bias, return_lse=True, **options)
    oracle.assert_close(out, output, 4e-6)
    oracle.assert_close(engine.weights(q, keys, bias=bias, **options), weights, 4e-6)
    upstream = normal(*out.shape, seed=30)
    grads = engine.attend_backward(q, keys, v, out, lse, upstream, bias=bias, **options)
    found = [*grads[:4], grads.times if "times" in extra else None]
    if extra == "distances":
        assert grads.spaces is not None
        found[-1] = np.array([*grads.spaces[:, 0], grads.spaces[1, 1]])
    for which, grad in enumerate(found):
        if grad is None:
            continue
        step = 1e-6 * normal(*grad.shape, seed=40 + which).astype(np.float64)

        def moved(sign: float, which: int = which, step: Array = step) -> float:
            point = [*exact, parameters]
            point[which] = point[which] + sign * step
            return float((upstream * expected(*point)[1]).sum())

        slope = (moved(1) - moved(-1)) / 2
        assert abs((grad * step).sum() - slope) <= 1e-4 * np.abs(grad * step).sum(), f"{extra}, gradient {which}"


def test_the_highest_scores_with_dropout() -> None:
    """Half of the chosen weights are left, twice as large, and the way back goes through the same ones."""
    q, keys = normal(2, 60, 8), normal(2, 200, 8, seed=1)
    options: Any = {"scale": 0.5, "top_k": 20, "num_heads": 2, "num_kv_heads": 1, "dropout": Dropout(0.5, 3)}
    keys, eye = keys[..., :4], np.broadcast_to(np.eye(200, dtype=np.float32), (2, 200, 200))
    out, lse = engine.attend(q, keys, eye, return_lse=True, **options)
    kept = out.reshape(2, 60, 2, 200).swapaxes(1, 2)
    scores = 0.5 * q.astype(np.float64).reshape(2, 60, 2, 4).swapaxes(1, 2) @ keys[:, None].swapaxes(-1, -2)
    chosen = best(scores, 20)
    weights = softmax(np.where(chosen, scores, -np.inf))
    assert not kept[~chosen].any()
    assert abs((kept[chosen] > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(chosen.sum())
    oracle.assert_close(kept, np.where(kept > 0, 2 * weights, 0), 4e-6)
    patterns = kept.reshape(4, -1) > 0
    assert all((patterns[i] != patterns[j]).any() for i in range(4) for j in range(i))
    assert np.array_equal(out, engine.attend(q, keys, eye, **options))
    upstream = normal(*out.shape, seed=5)
    grads = engine.attend_backward(q, keys, eye, out, lse, upstream, **options)
    g = upstream.astype(np.float64).reshape(2, 60, 2, 200).swapaxes(1, 2)
    factor = np.where(kept > 0, 2.0, 0.0)
    of_scores = weights * (factor * g - (weights * factor * g).sum(axis=-1, keepdims=True))
    of_query = 0.5 * (of_scores @ keys[:, None]).swapaxes(1, 2).reshape(q.shape)
    oracle.assert_close(grads.query, of_query, 1e-5)
    oracle.assert_close(grads.values, ((weights * factor).swapaxes(-1, -2) @ g).sum(axis=1), 1e-5)


@pytest.mark.parametrize("options", [{"top_k": 2}, {"edges": None}], ids=["chosen", "given"])
@pytest.mark.parametrize("which", ["query", "keys", "values"])
def test_what_is_not_finite_is_named_where_no_list_names_it(which: str, options: dict[str, Any]) -> None:
    arrays = {"query": np.zeros((20, 4)), "keys": np.zeros((30, 4)), "values": np.zeros((30, 4))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays[which][-1, 1] = np.nan
    if "edges" in options:
        options = {"edges": Edges.checked(np.arange(21).clip(max=7), np.arange(7), 20, 30)}
    last = len(arrays[which]) - 1
    with pytest.raises(ra.NumericalInstabilityError, match=rf"{which} holds nan at index \({last}, 1\)"):
        engine.attend(**arrays, scale=1.0, **options)
    if which != "query":  # behind the lengths nobody looks
        assert np.isfinite(engine.attend(**arrays, scale=1.0, key_lengths=np.array(29), **options)).all()
