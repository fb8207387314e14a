"""Lists of keys, given or chosen: the k highest scores of each query, and masks of pairs, against dense float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

from ruvector_attention import engine
from ruvector_attention.engine import Dropout, Edges

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
