"""Windows, causal triangles and global tokens: the engine against a mask written out pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ruvector_attention import engine
from ruvector_attention.engine import UNLIMITED, Band

BANDS = [
    Band(0, 0),
    Band(3, 3),
    Band(100, 0),
    Band(0, 2),
    Band(10, 0, 2),
    Band(30, 5, 4),
    Band(40, 40, 60),
    Band(0, 2, 1000),
    Band(UNLIMITED, 0),
    Band(UNLIMITED, 0, 3),
    Band(UNLIMITED, UNLIMITED),
]
SIZES = [(1, 50), (5, 300), (20, 300), (200, 200), (300, 200), (7, 5), (500, 500)]


def seen(n_query: int, n_key: int, band: Band) -> npt.NDArray[np.bool_]:
    mask = np.zeros((n_query, n_key), bool)
    for i in range(n_query):
        at = i + n_key - n_query
        for j in range(n_key):
            in_window = at - band.behind <= j <= at + band.ahead
            is_global = j < band.global_tokens or 0 <= at < band.global_tokens
            mask[i, j] = in_window or (is_global and (band.ahead > 0 or j <= at))
    return mask


@pytest.mark.parametrize("band", BANDS, ids=str)
@pytest.mark.parametrize(("n_query", "n_key"), SIZES)
def test_a_band_equals_its_mask(n_query: int, n_key: int, band: Band) -> None:
    random = np.random.default_rng(n_query + n_key)
    q, k = (random.standard_normal((2, n, 8)).astype(np.float32) for n in (n_query, n_key))
    v, grad = (random.standard_normal((2, n, 5)).astype(np.float32) for n in (n_key, n_query))
    mask = seen(n_query, n_key, band)
    scores = np.where(mask, 0.5 * (q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2)), -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    weights = exponentials / np.where(total == 0, 1, total)
    expected = weights @ v.astype(np.float64)
    out, lse = engine.attend(q, k, v, scale=0.5, band=band, return_lse=True)
    tolerance = 2e-6 * (1 + np.abs(expected).max())
    assert np.abs(out - expected).max() <= tolerance
    assert np.abs(engine.weights(q, k, scale=0.5, band=band) - weights).max() <= tolerance

    options: dict[str, Any] = {"scale": 0.5}
    banded = engine.attend_backward(q, k, v, out, lse, grad, band=band, **options)
    of_weights = grad.astype(np.float64) @ v.astype(np.float64).swapaxes(-1, -2)
    of_scores = weights * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True))
    of_query, of_keys = 0.5 * of_scores @ k, 0.5 * of_scores.swapaxes(-1, -2) @ q
    of_values = weights.swapaxes(-1, -2) @ grad
    size = max(np.abs(gradient).max() for gradient in (of_query, of_keys, of_values))
    for actual, wanted in zip(banded[:3], (of_query, of_keys, of_values), strict=True):
        assert np.abs(actual - wanted).max() <= 2e-5 * size


def test_tiles_outside_of_a_window_are_never_read() -> None:
    q, values = np.ones((100, 4), np.float32), np.ones((2000, 4), np.float32)
    keys = values.copy()
    keys[:300] = np.nan  # the queries stand at the last hundred keys and look back 64
    out = engine.attend(q, keys, values, scale=1.0, band=Band(64, 0))
    assert np.array_equal(out, np.ones((100, 4), np.float32))
