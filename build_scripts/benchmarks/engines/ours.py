"""The installed library, as a user calls it; what it cannot do yet is found by asking it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import ruvector_attention as ra
from numpy.typing import NDArray

from ..workloads import Workload
from . import Arrays, Call, Unavailable


def create(name: str) -> OwnEngine:
    return OwnEngine()


class OwnEngine:
    def prepare(self, workload: Workload, arrays: Arrays) -> Call:
        if workload.kind == "attention":
            attention = ra.ScaledDotProductAttention(dim=workload.dim)
            options = {"causal": True} if workload.causal else {}
            return partial(attention, arrays["q"], arrays["k"], arrays["v"], **options)
        raise Unavailable(f"the library has no {workload.kind} yet")

    def answer(self, result: Any) -> NDArray[np.float32]:
        return np.asarray(result)
