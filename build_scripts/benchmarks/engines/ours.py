"""The installed library, as a user calls it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvector_attention as ra

from ..cases import MechanismCase
from ..workloads import Workload
from . import Arrays, Call, mechanism


def create(name: str) -> OwnEngine:
    return OwnEngine()


class OwnEngine:
    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if isinstance(workload, MechanismCase):
            return mechanism.prepare(workload, arrays)
        if workload.kind == "layer":
            return partial(_layer(workload, arrays), arrays["x"], arrays["x"], arrays["x"])
        attention: Any = ra.ScaledDotProductAttention(dim=workload.dim)
        options: dict[str, Any] = {"causal": True} if workload.causal else {}
        if workload.kind == "window":
            options["mask"] = ra.WindowMask(workload.window // 2)  # the library counts the keys on either side
        forward = partial(attention, arrays["q"], arrays["k"], arrays["v"], **options)
        if workload.kind == "backward":
            return lambda: (forward(training=True), attention.backward(arrays["grad"]))
        return forward

    def answer(self, result: Any) -> NDArray[np.float32]:
        if not isinstance(result, tuple):
            return np.asarray(result)
        output, gradients = result
        if isinstance(gradients, Mapping):
            gradients = [gradients[name] for name in ("query", "keys", "values")]
        return np.concatenate([np.asarray(part).reshape(-1) for part in (output, *gradients)])


def _layer(workload: Workload, arrays: Arrays) -> ra.MultiHeadAttention:
    """Multi-head attention with the workload's weights, which are (out, in) there and (in, out) in the library."""
    layer = ra.MultiHeadAttention(dim=workload.heads * workload.dim, num_heads=workload.heads)
    state: dict[str, NDArray[np.float32]] = {}
    for part, name in (("q", "query"), ("k", "keys"), ("v", "values"), ("o", "output")):
        state |= {f"{name}_weight": arrays[f"w{part}"].T.copy(), f"{name}_bias": arrays[f"b{part}"]}
    layer.load_state_dict(state)
    return layer


def stacked_calls(count: int) -> Call:
    """One call that solves the 1 × 100 × 64 problem `count` times over the same keys and values.

    Between two large counts only arithmetic grows: the price of a call is what the first one costs beyond that.
    """
    random = np.random.default_rng(7)
    query = random.standard_normal((count, 1, 64) if count > 1 else (1, 64), dtype=np.float32)
    keys, values = (random.standard_normal((100, 64), dtype=np.float32) for _ in range(2))
    return partial(ra.ScaledDotProductAttention(dim=64), query, keys, values)
