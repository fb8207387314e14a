"""GraphSAGE (Hamilton et al., 2017, arXiv:1706.02216) with attention in place of the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from ..arrays import Float32Array
from ..config import Setting
from ..engine import normalize_rows, normalize_rows_backward, project_backward
from ..graph import Fans
from ..registry import register
from .graph import DotOverEdgesAttention, GraphConfig
from .over_edges import Pass


@dataclass(frozen=True)
class SAGEConfig(GraphConfig):
    normalize: Annotated[bool, Setting("scale outputs to length 1")] = False
    add_self_loops: Annotated[
        bool, Setting("every node is a neighbour of itself too, by one edge in place of those from a node to itself")
    ] = field(default=False, kw_only=True)


@register
class SAGEAttention(DotOverEdgesAttention):
    """h_i' = W_s h_i + W_n sum over edges (j, i) of softmax_j(scale <W_q h_i, W_k h_j> + W_e e_ij) h_j + b

    Heads weigh groups of channels; with ``normalize`` each output is divided by its length.

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), edge_attr (n_edges, edge_dim) or (..., n_edges, edge_dim)
            -> (..., n_node, dim), float32
    Parameters: query_weight, keys_weight (dim, dim), self_weight, output_weight (dim, dim) with a bias for each but
            self_weight; edge_weight (edge_dim, num_heads). Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> SAGEAttention(dim=2)([[1, 0], [0, 1], [1, 1]], [(0, 1), (1, 2), (2, 0)]).shape
    (3, 2)
    """

    name = "sage"
    Config = SAGEConfig
    paper = "Hamilton et al., 2017, arXiv:1706.02216"

    config: SAGEConfig

    def _maps(self) -> Mapping[str, tuple[int, int]]:
        dim = self.config.dim
        return {"query": (dim, dim), "keys": (dim, dim), "self": (dim, dim), "output": (dim, dim)}

    def _setup(self) -> None:
        super()._setup()
        self._parameters.pop("self_bias", None)  # one is enough for a sum

    def _pass(
        self, nodes: Float32Array, fans: Fans, edges: Float32Array | None, training: bool, check_finite: bool
    ) -> Pass:
        gathered = self._gathered(nodes, fans, edges, training, check_finite)
        summed = self._mapped("self", nodes) + self._mapped("output", gathered.output)
        dim = self.config.dim

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            gradients: dict[str, Float32Array] = {}
            if self.config.normalize:
                grad = normalize_rows_backward(summed, grad, dim)
            of_gathered = self._mapped_backward("output", gathered.output, grad, gradients)
            of_nodes, of_edges = gathered.backward(of_gathered, gradients)
            of_self, gradients["self_weight"], _ = project_backward(nodes, self._parameters["self_weight"], grad)
            return of_nodes + of_self, of_edges, gradients

        return Pass(normalize_rows(summed, dim) if self.config.normalize else summed, gathered.weights, backward)
