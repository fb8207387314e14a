"""torch's scaled_dot_product_attention; for windows its banded form, for the layer the better of two spellings."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..workloads import Workload
from . import Arrays, Call

Tensors = dict[str, torch.Tensor]


def create(name: str) -> TorchEngine:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return TorchEngine()


class TorchEngine:
    def prepare(self, workload: Workload, arrays: Arrays) -> Call:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if workload.kind == "layer":
            candidates = [_packed_layer(workload, tensors), _module_layer(workload, tensors)]
            return min(candidates, key=_seconds)
        if workload.kind == "window":
            return partial(_banded, workload.window // 2, tensors["q"], tensors["k"], tensors["v"])
        # (batch, heads, n, dim): the layout that reaches the fused kernel.
        q, k, v = (tensors[name].reshape(1, workload.heads, -1, workload.dim) for name in ("q", "k", "v"))
        if workload.kind == "backward":
            return partial(_backward, q, k, v, tensors["grad"].reshape(q.shape))
        return partial(_forward, q, k, v, workload.causal)

    def answer(self, result: Any) -> NDArray[np.float32]:
        parts = result if isinstance(result, tuple) else (result,)
        return np.concatenate([part.detach().numpy().reshape(-1) for part in parts])


@torch.inference_mode()
def _forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _backward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
    q, k, v = (tensor.detach().requires_grad_() for tensor in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v)
    return (out, *torch.autograd.grad(out, (q, k, v), grad))


@torch.inference_mode()
def _banded(half: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Blocks of `half` queries against the 3 · half keys around them: a batch of dense problems, linear cost."""
    n, dim = q.shape
    padded = [F.pad(x, (0, 0, half, half)).unfold(0, 3 * half, half).transpose(1, 2) for x in (k, v)]
    query, key = torch.arange(half)[:, None] + half, torch.arange(3 * half)
    near = (query - key).abs() <= half
    first = torch.arange(0, n, half)[:, None, None] - half
    inside = (first + key >= 0) & (first + key < n)
    out = F.scaled_dot_product_attention(q.view(-1, 1, half, dim), *(x[:, None] for x in padded), attn_mask=(near & inside)[:, None])
    return out.view(n, dim)


def _packed_layer(workload: Workload, tensors: Tensors) -> Call:
    weight = torch.cat([tensors[f"w{part}"] for part in "qkv"])
    bias = torch.cat([tensors[f"b{part}"] for part in "qkv"])

    @torch.inference_mode()
    def call() -> torch.Tensor:
        packed = F.linear(tensors["x"], weight, bias).view(1, workload.n_query, 3, workload.heads, workload.dim)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(workload.n_query, -1)
        return F.linear(mixed, tensors["wo"], tensors["bo"])

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

    @torch.inference_mode()
    def call() -> torch.Tensor:
        mixed: torch.Tensor = layer(x, x, x, need_weights=False)[0]
        return mixed

    return call


def _seconds(call: Call) -> float:
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)
