"""performer-pytorch's FastAttention with the case's features."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from performer_pytorch import FastAttention

from ..cases import PARAMETER, MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError


def create(name: str) -> PerformerEngine:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return PerformerEngine()


class PerformerEngine:
    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if not isinstance(workload, MechanismCase) or workload.mechanism != "linear":
            raise UnavailableError("performer-pytorch has linear attention alone")
        attention = FastAttention(dim_heads=workload.settings["dim"], nb_features=workload.settings["num_features"])
        attention.projection_matrix.copy_(torch.from_numpy(arrays[f"{PARAMETER}features"]))
        inputs = (torch.from_numpy(arrays[name])[None] for name in ("query", "keys", "values"))
        return partial(_forward, attention, *inputs)

    def answer(self, result: Any) -> NDArray[np.float32]:
        return np.asarray(result.numpy())


def _forward(attention: Any, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = attention(query, keys, values)
        return output
