"""onnxruntime's CPU provider, on the MatMul/Softmax/MatMul graph and on the Attention operator of opset 23."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..cases import MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError


def create(name: str) -> OnnxEngine:
    return OnnxEngine("attention" if name.endswith("attention") else "matmul")


class OnnxEngine:
    def __init__(self, form: str) -> None:
        self._form = form
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3

    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if isinstance(workload, MechanismCase):
            raise UnavailableError("not measured on single mechanisms")
        path = Path(os.environ["BENCH_MODELS"]) / f"{workload.name}.{self._form}.onnx"
        if not path.exists():
            raise UnavailableError("no ONNX graph of this form")
        try:
            session = onnxruntime.InferenceSession(path, self._options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnavailableError(f"onnxruntime refuses the graph: {str(error).splitlines()[0][:120]}") from error
        shapes = {node.name: node.shape for node in session.get_inputs()}
        feeds = {name: arrays[name].reshape(shape) for name, shape in shapes.items()}
        return partial(session.run, None, feeds)

    def answer(self, result: Any) -> NDArray[np.float32]:
        return np.asarray(result[0], dtype=np.float32)
