"""Graph isomorphism network (Xu et al., 2019, arXiv:1810.00826) with attention in place of the sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ..arrays import Float32Array
from ..config import Setting
from ..graph import Fans
from ..registry import register
from .graph import DotOverEdgesAttention, GraphConfig
from .over_edges import Pass


@dataclass(frozen=True)
class GINConfig(GraphConfig):
    mlp_dim: Annotated[int | None, Setting("channels between the two layers; None: dim", at_least=1)] = None
    eps: Annotated[float, Setting("start value of epsilon, by which a node counts more than a neighbour")] = 0.0
    add_self_loops: Annotated[
        bool, Setting("every node is a neighbour of itself too, by one edge in place of those from a node to itself")
    ] = field(default=False, kw_only=True)


@register
class GINAttention(DotOverEdgesAttention):
    """h_i' = MLP((1 + epsilon) h_i + sum over edges (j, i) of softmax_j(scale <W_q h_i, W_k h_j> + W_e e_ij) h_j)

    MLP(x) = ReLU(x W_1 + b_1) W_2 + b_2. Heads weigh groups of channels; epsilon is learned.

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), edge_attr (n_edges, edge_dim) or (..., n_edges, edge_dim)
            -> (..., n_node, dim), float32
    Parameters: query_weight, keys_weight (dim, dim), eps (1,), hidden_weight (dim, mlp_dim),
            output_weight (mlp_dim, dim), with a bias for each map; edge_weight (edge_dim, num_heads).
            Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> GINAttention(dim=2)([[1, 0], [0, 1], [1, 1]], [(0, 1), (1, 2), (2, 0)]).shape
    (3, 2)
    """

    name = "gin"
    Config = GINConfig
    paper = "Xu et al., 2019, arXiv:1810.00826"

    config: GINConfig

    def _maps(self) -> Mapping[str, tuple[int, int]]:
        dim, between = self.config.dim, self.config.mlp_dim or self.config.dim
        return {"query": (dim, dim), "keys": (dim, dim), "hidden": (dim, between), "output": (between, dim)}

    def _setup(self) -> None:
        super()._setup()
        self._parameters["eps"] = np.array([self.config.eps], np.float32)

    def _pass(
        self, nodes: Float32Array, fans: Fans, edges: Float32Array | None, training: bool, check_finite: bool
    ) -> Pass:
        gathered = self._gathered(nodes, fans, edges, training, check_finite)
        own = 1 + self._parameters["eps"][0]
        summed = own * nodes + gathered.output
        hidden = np.maximum(self._mapped("hidden", summed), 0)

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            gradients: dict[str, Float32Array] = {}
            of_hidden = np.where(hidden > 0, self._mapped_backward("output", hidden, grad, gradients), np.float32(0))
            of_summed = self._mapped_backward("hidden", summed, of_hidden, gradients)
            gradients["eps"] = np.array([(of_summed * nodes).sum()], np.float32)
            of_nodes, of_edges = gathered.backward(of_summed, gradients)
            return of_nodes + own * of_summed, of_edges, gradients

        return Pass(self._mapped("output", hidden), gathered.weights, backward)
