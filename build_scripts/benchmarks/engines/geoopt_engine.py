"""geoopt on torch: distances of the Poincaré ball, softmax, and the gyromidpoint in one of two spellings.

geoopt           its own `weighted_midpoint`, which holds an array of queries times keys times channels
geoopt-products  the same, its sums as matrix products
"""

from __future__ import annotations

import os
from typing import Any

import geoopt
import numpy as np
import torch
from numpy.typing import NDArray

from ..cases import MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError


def create(name: str) -> GeooptEngine:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return GeooptEngine(by_products=name.endswith("products"))


class GeooptEngine:
    def __init__(self, *, by_products: bool) -> None:
        self._by_products = by_products

    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if not isinstance(workload, MechanismCase) or workload.mechanism != "hyperbolic":
            raise UnavailableError("geoopt has no such attention")
        ball, half = geoopt.PoincareBall(c=1.0), torch.tensor(0.5)
        q, k, v = (torch.from_numpy(arrays[name]) for name in ("query", "keys", "values"))
        spread = v.expand(len(q), *v.shape)

        def weights() -> torch.Tensor:
            return torch.softmax(-ball.dist(q[:, None], k[None]), -1)

        def own() -> torch.Tensor:
            with torch.inference_mode():
                return ball.weighted_midpoint(spread, weights(), reducedim=[-2], dim=-1)

        def by_products() -> torch.Tensor:
            with torch.inference_mode():
                shares, factors = weights(), ball.lambda_x(v, keepdim=True)
                middle = shares @ (factors * v) / (shares @ (factors - 1))
                return ball.mobius_scalar_mul(half, middle)

        return by_products if self._by_products else own

    def answer(self, result: Any) -> NDArray[np.float32]:
        return np.asarray(result.numpy(), dtype=np.float32)
