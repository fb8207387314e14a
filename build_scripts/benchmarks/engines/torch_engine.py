"""torch's scaled_dot_product_attention; for windows its banded form, for the layer the better of two spellings."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..cases import MechanismCase
from ..workloads import Workload
from . import Arrays, Call, UnavailableError

Tensors = dict[str, torch.Tensor]


def create(name: str) -> TorchEngine:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return TorchEngine()


class TorchEngine:
    def prepare(self, workload: Workload | MechanismCase, arrays: Arrays) -> Call:
        if isinstance(workload, MechanismCase):
            raise UnavailableError("not measured on single mechanisms")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if workload.kind == "layer":
            return min((_packed_layer(workload, tensors), _module_layer(workload, tensors)), key=_seconds)
        if workload.kind == "window":
            return _banded(workload, tensors)
        # (batch, heads, n, dim): the layout that reaches the fused kernel.
        q, k, v = (tensors[name].reshape(1, workload.heads, -1, workload.dim) for name in ("q", "k", "v"))
        if workload.kind == "backward":
            return partial(_backward, q, k, v, tensors["grad"].reshape(q.shape))
        return partial(_forward, q, k, v, workload.causal)

    def answer(self, result: Any) -> NDArray[np.float32]:
        parts = result if isinstance(result, tuple) else (result,)
        return np.concatenate([part.detach().numpy().reshape(-1) for part in parts])


def _forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    with torch.inference_mode():
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _backward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
    q, k, v = (tensor.detach().requires_grad_() for tensor in (q, k, v))
    out = functional.scaled_dot_product_attention(q, k, v)
    return (out, *torch.autograd.grad(out, (q, k, v), grad))


def _banded(workload: Workload, tensors: Tensors) -> Call:
    """Blocks of window / 2 queries against the keys around them: a batch of dense problems, linear cost."""
    n, dim, half = workload.n_query, workload.dim, workload.window // 2
    query, key = torch.arange(half)[:, None] + half, torch.arange(3 * half)
    first = torch.arange(0, n, half)[:, None, None] - half
    seen = ((query - key).abs() <= half) & (first + key >= 0) & (first + key < n)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            around = [
                functional.pad(tensors[name], (0, 0, half, half)).unfold(0, 3 * half, half).transpose(1, 2)[:, None]
                for name in ("k", "v")
            ]
            blocks = tensors["q"].view(-1, 1, half, dim)
            return functional.scaled_dot_product_attention(blocks, *around, attn_mask=seen[:, None]).view(n, dim)

    return call


def _packed_layer(workload: Workload, tensors: Tensors) -> Call:
    weight = torch.cat([tensors[f"w{part}"] for part in "qkv"])
    bias = torch.cat([tensors[f"b{part}"] for part in "qkv"])
    n, heads, dim = workload.n_query, workload.heads, workload.dim

    def call() -> torch.Tensor:
        with torch.inference_mode():
            packed = functional.linear(tensors["x"], weight, bias).view(1, n, 3, heads, dim)
            q, k, v = packed.permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1)
            return functional.linear(mixed, tensors["wo"], tensors["bo"])

    return call


def _module_layer(workload: Workload, tensors: Tensors) -> Call:
    width = workload.heads * workload.dim
    layer = torch.nn.MultiheadAttention(width, workload.heads, batch_first=True).eval()
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat([tensors[f"w{part}"] for part in "qkv"]))
        layer.in_proj_bias.copy_(torch.cat([tensors[f"b{part}"] for part in "qkv"]))
        layer.out_proj.weight.copy_(tensors["wo"])
        layer.out_proj.bias.copy_(tensors["bo"])
    x = tensors["x"][None]

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return layer(x, x, x, need_weights=False)[0]

    return call


def _seconds(call: Call) -> float:
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)
