"""One module an engine in Python; `ENGINES` names them all, and each is imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cases import MechanismCase
from ..workloads import Workload

Arrays = dict[str, NDArray[np.float32]]
Call = Callable[[], Any]


class UnavailableError(Exception):
    """This engine cannot do this workload; the message says why, in a phrase for the table."""


class Engine(Protocol):
    """What the benchmark asks of an engine: prepare once, call many times, hand out one answer."""

    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        """Everything a user would do once; the returned call is what is timed. Raises UnavailableError."""

    def answer(self, result: Any) -> NDArray[np.float32]:
        """The result of one call as an array of `workload.answer_shape` (any shape of that size)."""


ENGINES = {
    "ruvector-attention": "ours",
    "numpy": "numpy_engine",
    "torch": "torch_engine",
    "onnxruntime": "onnx_engine",
    "onnxruntime-attention": "onnx_engine",
    "geoopt": "geoopt_engine",
    "geoopt-products": "geoopt_engine",
    "torch_geometric": "torch_geometric_engine",
    "performer-pytorch": "performer_engine",
}


def load(name: str) -> Engine:
    """The engine of that name, with its library imported."""
    module = import_module(f".{ENGINES[name]}", __name__)
    engine: Engine = module.create(name)
    return engine
