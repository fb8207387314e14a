"""ONNX graphs for onnxruntime and onnxruntime-web, in two forms.

matmul     MatMul, Softmax, MatMul (opset 17): what every exporter wrote before there was an operator
attention  the Attention operator (opset 23)

Names of graph inputs are the names of the workload's arrays; weights of a layer are initializers, as in a real model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import (  # type: ignore[import-not-found, unused-ignore]
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    save,
)

from .inputs import arrays
from .workloads import Workload

FORMS = ("matmul", "attention")


def write(workload: Workload, folder: Path) -> None:
    """Write both graphs of `workload` into `folder`, unless they are there. Windows and gradients have no graph."""
    if workload.kind not in ("attention", "layer"):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for form in FORMS:
        path = folder / f"{workload.name}.{form}.onnx"
        if not path.exists():
            save(_model(workload, form), path)


def _model(workload: Workload, form: str) -> ModelProto:
    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
    if workload.kind == "layer":
        nodes = _layer(workload, form, constants)
        inputs, output = {"x": workload.inputs["x"]}, workload.answer_shape
    else:
        nodes = _attention(workload, form, constants, ("q", "k", "v"), "out")
        inputs = {name: (1, workload.heads, *shape[-2:]) for name, shape in workload.inputs.items()}
        output = inputs["q"]
    graph = helper.make_graph(
        nodes,
        workload.name,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = 23 if form == "attention" else 17
    # IR version 10 is the newest that every onnxruntime with opset 23 reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _attention(
    workload: Workload,
    form: str,
    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]],
    names: tuple[str, str, str],
    out: str,
) -> list[NodeProto]:
    """(1, heads, n, dim) -> (1, heads, n_query, dim)."""
    q, k, v = names
    if form == "attention":
        return [helper.make_node("Attention", [q, k, v], [out], is_causal=int(workload.causal))]
    constants["scale"] = np.float32(workload.dim**-0.5).reshape(1)
    nodes = [
        helper.make_node("Mul", [q, "scale"], ["scaled"]),
        helper.make_node("Transpose", [k], ["keys"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["scaled", "keys"], ["scores"]),
    ]
    scores = "scores"
    if workload.causal:
        future = np.triu(np.ones((workload.n_query, workload.n_key), dtype=bool), 1)
        constants["hidden"] = np.where(future, np.float32(-np.inf), np.float32(0))
        nodes.append(helper.make_node("Add", ["scores", "hidden"], ["masked"]))
        scores = "masked"
    nodes.append(helper.make_node("Softmax", [scores], ["weights"], axis=-1))
    nodes.append(helper.make_node("MatMul", ["weights", v], [out]))
    return nodes


def _layer(
    workload: Workload, form: str, constants: dict[str, NDArray[np.float32] | NDArray[np.int64]]
) -> list[NodeProto]:
    made = arrays(workload)
    constants["split"] = np.array([1, workload.n_query, workload.heads, workload.dim], dtype=np.int64)
    constants["join"] = np.array([workload.n_query, workload.heads * workload.dim], dtype=np.int64)
    for part in "qkvo":
        # Weights are stored (out, in); the graph multiplies from the right.
        constants[f"w{part}"] = np.ascontiguousarray(made[f"w{part}"].T)
        constants[f"b{part}"] = made[f"b{part}"]
    nodes = []
    for part in "qkv":
        nodes += [
            helper.make_node("MatMul", ["x", f"w{part}"], [f"{part}_product"]),
            helper.make_node("Add", [f"{part}_product", f"b{part}"], [f"{part}_biased"]),
            helper.make_node("Reshape", [f"{part}_biased", "split"], [f"{part}_split"]),
            helper.make_node("Transpose", [f"{part}_split"], [f"{part}_heads"], perm=[0, 2, 1, 3]),
        ]
    nodes += _attention(workload, form, constants, ("q_heads", "k_heads", "v_heads"), "mixed")
    nodes += [
        helper.make_node("Transpose", ["mixed"], ["mixed_rows"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["mixed_rows", "join"], ["joined"]),
        helper.make_node("MatMul", ["joined", "wo"], ["o_product"]),
        helper.make_node("Add", ["o_product", "bo"], ["out"]),
    ]
    return nodes
