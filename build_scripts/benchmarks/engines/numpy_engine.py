"""NumPy at its best: every product is spelled with `@` and with einsum, and the faster spelling is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cases import MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError

Array = NDArray[np.float32]
Product = Callable[[Array, Array], Array]


def create(name: str) -> NumpyEngine:
    return NumpyEngine()


class NumpyEngine:
    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if isinstance(workload, MechanismCase):
            raise UnavailableError("not measured on single mechanisms")
        if workload.kind == "backward":
            raise UnavailableError("NumPy has no gradients")
        if workload.kind == "layer":
            return partial(_layer, workload, arrays, *_products(workload)[:2])
        if workload.kind == "window":
            return partial(_banded, workload, arrays["q"], arrays["k"], arrays["v"])
        hidden = _future(workload.n_query) if workload.causal else None
        scores, mix, estimate = _products(workload)
        limit = float(os.environ.get("BENCH_LIMIT", "60"))
        if estimate > limit:
            raise UnavailableError(f"too slow to time: about {estimate:.0f} s a call")
        return partial(_attend, arrays["q"], arrays["k"], arrays["v"], scores, mix, hidden)

    def answer(self, result: Any) -> Array:
        return np.asarray(result)


def _attend(q: Array, k: Array, v: Array, scores: Product, mix: Product, hidden: NDArray[np.bool_] | None) -> Array:
    scale = np.float32(q.shape[-1] ** -0.5)
    weights = scores(q * scale, k)
    if hidden is not None:
        weights[..., hidden] = -np.inf
    weights -= weights.max(-1, keepdims=True)
    np.exp(weights, out=weights)
    total = weights.sum(-1, keepdims=True)
    out: Array = mix(weights, v) / total
    return out


def _future(n: int) -> NDArray[np.bool_]:
    """(n, n), True where the key comes after the query."""
    return np.triu(np.ones((n, n), dtype=bool), 1)


def _banded(workload: Workload, q: Array, k: Array, v: Array) -> Array:
    """Blocks of window / 2 queries against the keys they can see: linear cost, as a NumPy user would write it."""
    half = workload.window // 2
    out = np.empty_like(q)
    for start in range(0, workload.n_query, half):
        stop = min(start + half, workload.n_query)
        low, high = max(0, start - half), min(workload.n_key, stop + half)
        distance = np.arange(start, stop)[:, None] - np.arange(low, high)
        hidden = np.abs(distance) > half
        out[start:stop] = _attend(q[start:stop], k[low:high], v[low:high], *_MATMUL, hidden)
    return out


def _layer(workload: Workload, arrays: Arrays, scores: Product, mix: Product) -> Array:
    def split(part: str) -> Array:
        projected = arrays["x"] @ arrays[f"w{part}"].T + arrays[f"b{part}"]
        return projected.reshape(workload.n_query, workload.heads, workload.dim).swapaxes(0, 1)

    mixed = _attend(split("q"), split("k"), split("v"), scores, mix, None)
    joined = mixed.swapaxes(0, 1).reshape(workload.n_query, -1)
    return joined @ arrays["wo"].T + arrays["bo"]


def _scores_matmul(q: Array, k: Array) -> Array:
    return q @ k.swapaxes(-1, -2)


def _scores_einsum(q: Array, k: Array) -> Array:
    scores: Array = np.einsum("...id,...jd->...ij", q, k)
    return scores


def _mix_matmul(weights: Array, v: Array) -> Array:
    return weights @ v


def _mix_einsum(weights: Array, v: Array) -> Array:
    out: Array = np.einsum("...ij,...jd->...id", weights, v)
    return out


_MATMUL: tuple[Product, Product] = (_scores_matmul, _mix_matmul)


def _products(workload: Workload) -> tuple[Product, Product, float]:
    """The faster spelling of each of the two products, found on at most 128 of the queries of one head.

    The third value estimates the seconds of both products over all queries and heads.
    """
    rows = min(workload.n_query, 128)
    q = np.ones((rows, workload.dim), dtype=np.float32)
    k = np.ones((workload.n_key, workload.dim), dtype=np.float32)
    weights = np.ones((rows, workload.n_key), dtype=np.float32)
    scores = {_seconds(product, q, k): product for product in (_scores_matmul, _scores_einsum)}
    mixes = {_seconds(product, weights, k): product for product in (_mix_matmul, _mix_einsum)}
    estimate = (min(scores) + min(mixes)) * workload.heads * workload.n_query / rows
    return scores[min(scores)], mixes[min(mixes)], estimate


def _seconds(product: Product, left: Array, right: Array) -> float:
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        product(left, right)
        taken.append(time.perf_counter() - start)
    return min(taken)
