"""Scaled dot-product attention along the edges of a graph (Shi et al., 2021, arXiv:2009.03509)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arrays import ArrayLike, Float32Array
from ..config import Setting, score_scale
from ..dot_edges import DotCall, DroppedDotCall
from ..engine import project, project_backward
from ..errors import InvalidConfigError, NumericalInstabilityError
from ..gradients import add_into
from ..graph import EdgesLike, Fans, Graph
from ..registry import register
from .over_edges import Bound, OverEdgesAttention, OverEdgesConfig, Pass


@dataclass(frozen=True)
class DotOverEdgesConfig(OverEdgesConfig):
    """The settings of attention by dot products along edges."""

    dim: Annotated[int, Setting("channels of nodes and outputs, over all heads", at_least=1)]
    num_heads: Annotated[int, Setting("heads; divides dim", at_least=1, at_most=64)] = 1
    scale: Annotated[float | None, Setting("factor on the dot products; None: 1 / sqrt(dim / num_heads)")] = None
    temperature: Annotated[float, Setting("divides the scores, after the scale", above=0)] = 1.0
    bias: Annotated[bool, Setting("the learned maps add a bias")] = True
    dropout: Annotated[float, Setting("share of weights dropped when training", at_least=0, below=1)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise InvalidConfigError(f"dim is {self.dim}; expected a multiple of num_heads = {self.num_heads}")
        score_scale(1.0 if self.scale is None else self.scale, self.temperature)

    @property
    def score_scale(self) -> float:
        scale = (self.dim // self.num_heads) ** -0.5 if self.scale is None else self.scale
        return score_scale(scale, self.temperature)


@dataclass(frozen=True)
class GraphConfig(DotOverEdgesConfig):
    """The same where edges may have features."""

    edge_dim: Annotated[int | None, Setting("channels of an edge's features; None: edges have none", at_least=1)] = None


class Gathered(NamedTuple):
    """What nodes have gathered along edges, (..., n_node, dim), and the way back from a gradient of that: to the nodes,
    and to the features of edges."""

    output: Float32Array
    weights: Callable[[], Float32Array]
    backward: Callable[[Float32Array, dict[str, Float32Array]], tuple[Float32Array, Float32Array | None]]


class DotOverEdgesAttention(OverEdgesAttention):
    """Nodes gather along edges by scaled dot products of learned maps; what becomes of that is a mechanism's own."""

    config: DotOverEdgesConfig

    @property
    def num_heads(self) -> int:
        return self.config.num_heads

    def _maps(self) -> Mapping[str, tuple[int, int]]:
        """The learned maps, (channels in, channels out), in the order in which an input meets them."""
        dim = self.config.dim
        return {"query": (dim, dim), "keys": (dim, dim), "values": (dim, dim), "output": (dim, dim)}

    def _setup(self) -> None:
        random = np.random.default_rng(self.config.seed)

        def drawn(fan_in: int, fan_out: int) -> Float32Array:
            bound = (6 / (fan_in + fan_out)) ** 0.5  # Xavier-uniform
            return random.uniform(-bound, bound, (fan_in, fan_out)).astype(np.float32)

        for name, (fan_in, fan_out) in self._maps().items():
            self._parameters[f"{name}_weight"] = drawn(fan_in, fan_out)
            if self.config.bias:
                self._parameters[f"{name}_bias"] = np.zeros(fan_out, np.float32)
        if features := self._edge_channels():
            self._parameters["edge_weight"] = drawn(features, self.config.num_heads)

    def _edge_channels(self) -> int | None:
        """Channels of edge features, which a learned map turns into a score for each head."""
        channels: int | None = getattr(self.config, "edge_dim", None)
        return channels

    def _mapped(self, name: str, x: Float32Array) -> Float32Array:
        """x through one of the maps; x itself where there is none of that name."""
        weight = self._parameters.get(f"{name}_weight")
        return x if weight is None else project(x, weight, self._parameters.get(f"{name}_bias"))

    def _mapped_backward(
        self, name: str, x: Float32Array, grad: Float32Array, gradients: dict[str, Float32Array]
    ) -> Float32Array:
        weight = self._parameters.get(f"{name}_weight")
        if weight is None:
            return grad
        of_x, of_weight, of_bias = project_backward(x, weight, grad)
        add_into(gradients, {f"{name}_weight": of_weight})
        if f"{name}_bias" in self._parameters:
            add_into(gradients, {f"{name}_bias": of_bias})
        return of_x

    def _tempered(self, bias: Float32Array, check_finite: bool) -> Float32Array:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # told below: -inf would hide an edge
            tempered: Float32Array = bias / np.float32(self.config.temperature)
        if check_finite and not np.isfinite(tempered).all():
            raise NumericalInstabilityError(
                "the scores of edge features overflow float32; expected features of smaller magnitude"
            )
        return tempered

    def _dot_call(
        self, query: Float32Array, keys: Float32Array, values: Float32Array, fans: Fans, training: bool,
        bias: Float32Array | None = None,
    ) -> DotCall:  # fmt: skip
        """The call along these edges, when training with dropout drawn anew."""
        config = self.config
        options: dict[str, Any] = {"scale": config.score_scale, "num_heads": config.num_heads, "bias": bias}
        if not (training and config.dropout):
            return DotCall(query, keys, values, fans, **options)
        shape = (*query.shape[:-2], config.num_heads, fans.sources.size)
        keep = (self._random.random(shape) >= config.dropout) / (1 - config.dropout)
        return DroppedDotCall(query, keys, values, fans, keep=keep, **options)

    def _gathered(
        self, nodes: Float32Array, fans: Fans, edges: Float32Array | None, training: bool, check_finite: bool
    ) -> Gathered:
        bias = None if edges is None else self._tempered(self._mapped("edge", edges), check_finite)
        query, keys, values = (self._mapped(name, nodes) for name in ("query", "keys", "values"))
        call = self._dot_call(query, keys, values, fans, training, bias)
        out, lse = call.forward(check_finite)

        def backward(grad: Float32Array, gradients: dict[str, Float32Array]) -> tuple[Float32Array, Any]:
            found = call.backward(out, lse, grad)
            of_nodes, of_edges = np.zeros_like(nodes), None
            for name, of_mapped in (("query", found.query), ("keys", found.keys), ("values", found.values)):
                of_nodes += self._mapped_backward(name, nodes, of_mapped, gradients)
            if edges is not None and found.bias is not None:
                of_bias = found.bias / np.float32(self.config.temperature)
                of_edges = self._mapped_backward("edge", edges, of_bias, gradients)
            elif self._edge_channels():
                gradients["edge_weight"] = np.zeros_like(self._parameters["edge_weight"])
            return of_nodes, of_edges

        return Gathered(out, call.weights, backward)

    def _pass(
        self, nodes: Float32Array, fans: Fans, edges: Float32Array | None, training: bool, check_finite: bool
    ) -> Pass:
        gathered = self._gathered(nodes, fans, edges, training, check_finite)

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            gradients: dict[str, Float32Array] = {}
            of_gathered = self._mapped_backward("output", gathered.output, grad, gradients)
            return *gathered.backward(of_gathered, gradients), gradients

        return Pass(self._mapped("output", gathered.output), gathered.weights, backward)


class BesideEdgesAttention(DotOverEdgesAttention):
    """What is given beside the edges says nothing of single ones: it belongs to nodes, or is a graph of its own."""

    def _features_of_edges(self, bound: Bound, own: Any) -> Any:
        return None

    def _features_of_hops(self, bound: Bound, node: int, around: Any) -> Any:
        return None


@register
class GraphAttention(DotOverEdgesAttention):
    """h_i' = W_o sum over edges (j, i) of softmax_j((scale <W_q h_i, W_k h_j> + W_e e_ij) / temperature) W_v h_j

    Head by head; the features of an edge are a learned addition to its score. Without the map out and
    without edge features these are the numbers of torch_geometric's TransformerConv without root weight. A self loop
    has the mean of the features of the other edges into its node. A node without edges gives the bias alone, or attends
    to itself (isolated="self").

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), edge_attr (n_edges, edge_dim) or (..., n_edges, edge_dim)
            -> (..., n_node, dim), float32
    Parameters: query_weight, keys_weight, values_weight, output_weight (dim, dim) with a bias each;
            edge_weight (edge_dim, num_heads). Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = GraphAttention(dim=2)
    >>> nodes, edges = [[1, 0], [0, 1], [1, 1]], [(0, 1), (1, 2), (2, 0)]
    >>> attention(nodes, edges).shape
    (3, 2)
    >>> attention.compute(nodes, {"edges": edges, "num_nodes": 3})["metadata"]["num_edges"]
    3
    """

    name = "graph"
    Config = GraphConfig
    paper = "Shi et al., 2021, arXiv:2009.03509"

    config: GraphConfig

    def compute(self, node_features: ArrayLike, graph: EdgesLike) -> dict[str, Any]:
        """{"values": the outputs, "weights": those of the edges, "metadata"}, of node features (n_node, dim) and a
        graph: {"edges": pairs, "num_nodes"?, "edge_features"?}, or edges in any other form."""
        attr = None
        if isinstance(graph, Mapping):
            attr = graph.get("edge_features", graph.get("edgeFeatures"))
            given = graph.get("num_nodes", graph.get("numNodes"))
            if given is not None and int(given) != np.shape(node_features)[0]:
                raise InvalidConfigError(
                    f"num_nodes is {given}; expected {np.shape(node_features)[0]}, the rows of node_features"
                )
        read = Graph.of(graph, len(self.bind(nodes=node_features).arrays[0]))
        about = {"num_nodes": read.n_node, "num_edges": read.n_edges, "attention_type": self.name}
        weights = self.attention_weights(node_features, read, attr)
        return {"values": self(node_features, read, attr), "weights": weights, "metadata": about}
