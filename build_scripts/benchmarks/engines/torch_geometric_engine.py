"""torch_geometric's GATv2Conv with the case's parameters, forward, or forward and autograd."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.nn import GATv2Conv

from ..cases import PARAMETER, MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError

# ours -> theirs; their matrices are (out, in)
NAMES = {
    "source_weight": "lin_l.weight", "source_bias": "lin_l.bias", "target_weight": "lin_r.weight",
    "target_bias": "lin_r.bias", "edge_weight": "lin_edge.weight", "attention": "att", "bias": "bias",
}  # fmt: skip


def create(name: str) -> TorchGeometricEngine:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return TorchGeometricEngine()


class TorchGeometricEngine:
    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if not isinstance(workload, MechanismCase) or workload.mechanism != "edge_featured":
            raise UnavailableError("only graph attention is measured beside torch_geometric")
        settings = workload.settings
        layer = GATv2Conv(
            settings["dim"], settings["head_dim"], heads=settings["num_heads"], edge_dim=settings["edge_dim"],
            add_self_loops=settings["add_self_loops"],
        )  # fmt: skip
        state = {}
        for ours, theirs in NAMES.items():
            array = torch.from_numpy(arrays[PARAMETER + ours])
            state[theirs] = array.T if ours.endswith("_weight") else array[None] if ours == "attention" else array
        layer.load_state_dict(state)
        edges = torch.from_numpy(arrays["edge_index"].astype(np.int64))
        nodes, edge_attr = (torch.from_numpy(arrays[name]) for name in ("nodes", "edge_attr"))

        def forward() -> torch.Tensor:
            with torch.inference_mode():
                return layer(nodes, edges, edge_attr)

        if not workload.backward:
            return forward
        grad = torch.from_numpy(arrays["grad"])
        learned = dict(layer.named_parameters())

        def both() -> tuple[torch.Tensor, ...]:
            rows, edge_rows = (tensor.detach().requires_grad_() for tensor in (nodes, edge_attr))
            output = layer(rows, edges, edge_rows)
            wanted = [rows, edge_rows, *(learned[theirs] for theirs in NAMES.values())]
            return (output, *torch.autograd.grad(output, wanted, grad))

        return both

    def answer(self, result: Any) -> NDArray[np.float32]:
        if not isinstance(result, tuple):
            return np.asarray(result.numpy())
        output, of_nodes, of_edges, *of_parameters = (part.detach().numpy() for part in result)
        turned = [
            array.T if ours.endswith("_weight") else array for ours, array in zip(NAMES, of_parameters, strict=True)
        ]
        return np.concatenate([part.reshape(-1) for part in (output, of_nodes, of_edges, *turned)])
