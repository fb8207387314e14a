"""Graph attention with edge features: GAT (Veličković et al., 2018) and GATv2 (Brody et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..edge_attention import EdgeCall, as_lanes, from_lanes, lane_heads
from ..engine import project, project_backward, raise_non_finite
from ..errors import DimensionMismatchError, InvalidConfigError
from ..gradients import add_into
from ..graph import Fans, Graph
from ..options import CheckFinite
from ..registry import register
from ..specs import TensorSpec
from .over_edges import EDGE_ATTR, EDGE_INDEX, NODES, Bound, OverEdgesAttention, OverEdgesConfig, Pass, others_of


@dataclass(frozen=True)
class EdgeFeaturedConfig(OverEdgesConfig):
    dim: Annotated[int, Setting("channels of a node's features", at_least=1)]
    edge_dim: Annotated[int | None, Setting("channels of an edge's features; None: edges have none", at_least=1)] = None
    num_heads: Annotated[int, Setting("heads", at_least=1, at_most=64)] = 1
    head_dim: Annotated[
        int | None,
        Setting("channels of a head; None: dim / num_heads where heads are concatenated, else dim", at_least=1),
    ] = None
    variant: Annotated[
        str,
        Setting("where the LeakyReLU stands: before the product with the attention vector, or behind",
                choices=("gatv2", "gat")),
    ] = "gatv2"  # fmt: skip
    concat_heads: Annotated[bool, Setting("outputs of heads side by side; False: their mean")] = True
    share_weights: Annotated[bool, Setting("gatv2: one map for sources and targets")] = False
    negative_slope: Annotated[float, Setting("slope of the LeakyReLU below 0", at_least=0, at_most=1)] = 0.2
    bias: Annotated[bool, Setting("the outputs, and the maps of gatv2, add a bias")] = True
    dropout: Annotated[float, Setting("share of weights dropped when training", at_least=0, below=1)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim is None and self.concat_heads and self.dim % self.num_heads:
            raise InvalidConfigError(
                f"dim is {self.dim}; expected a multiple of num_heads = {self.num_heads}, or head_dim given"
            )
        if self.share_weights and self.variant == "gat":
            raise InvalidConfigError("share_weights is True; expected False, for gat has one map anyway")

    @property
    def channels(self) -> int:
        """Of a head."""
        if self.head_dim is not None:
            return self.head_dim
        return self.dim // self.num_heads if self.concat_heads else self.dim

    @property
    def dim_out(self) -> int:
        return self.channels * (self.num_heads if self.concat_heads else 1)


@register
class EdgeFeaturedAttention(OverEdgesAttention):
    """h_i' = sum over edges (j, i) of softmax_j(s_ij) W h_j, with s_ij = a^T LeakyReLU(W_t h_i + W h_j + W_e e_ij)

    variant="gat": s_ij = LeakyReLU(a^T [W h_i || W h_j || W_e e_ij]). Heads are concatenated or averaged. A self loop
    has the mean of the features of the other edges into its node. Numbers are those of torch_geometric's GATv2Conv and
    GATConv with the same parameters. A node without edges gives the bias alone, or attends to itself (isolated="self").

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), edge_attr (n_edges, edge_dim) or (..., n_edges, edge_dim)
            -> (..., n_node, dim_out), float32, dim_out = num_heads * head_dim, or head_dim where heads are averaged
    Parameters: source_weight, target_weight (dim, num_heads * head_dim), edge_weight (edge_dim, num_heads * head_dim),
            source_bias, target_bias; attention (num_heads, head_dim); bias (dim_out). gat has source_attention,
            target_attention and edge_attention in place of attention, and one map. Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = EdgeFeaturedAttention(dim=4, edge_dim=2, num_heads=2)
    >>> nodes, edges = [[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]], [(0, 1), (2, 1), (1, 0)]
    >>> attention(nodes, edges, [[1, 0], [0, 1], [1, 1]]).shape
    (3, 4)
    >>> attention.attention_weights(nodes, edges).shape
    (3, 2)
    """

    name = "edge_featured"
    Config = EdgeFeaturedConfig
    inputs = (NODES, EDGE_INDEX, EDGE_ATTR)
    outputs = (TensorSpec("output", "... n_node dim_out"),)
    paper = "Veličković et al., 2018, arXiv:1710.10903; Brody et al., 2022, arXiv:2105.14491"
    complexity = "O(n_edges * (dim + edge_dim * dim) + n_node * dim^2)"

    config: EdgeFeaturedConfig

    @classmethod
    def simple(cls, node_dim: int, edge_dim: int, num_heads: int) -> Self:
        """By the three sizes alone."""
        return cls(dim=node_dim, edge_dim=edge_dim, num_heads=num_heads)

    @property
    def node_dim(self) -> int:
        return self.config.dim

    @property
    def edge_dim(self) -> int | None:
        return self.config.edge_dim

    @property
    def num_heads(self) -> int:
        return self.config.num_heads

    def _setup(self) -> None:
        config, random = self.config, np.random.default_rng(self.config.seed)
        heads, channels = config.num_heads, config.channels

        def drawn(fan_in: int, fan_out: int, shape: tuple[int, ...]) -> Float32Array:
            bound = (6 / (fan_in + fan_out)) ** 0.5  # Xavier-uniform
            return random.uniform(-bound, bound, shape).astype(np.float32)

        width, is_gat = heads * channels, config.variant == "gat"
        names = ["source"] if is_gat or config.share_weights else ["source", "target"]
        for name in names:
            self._parameters[f"{name}_weight"] = drawn(config.dim, width, (config.dim, width))
            if config.bias and not is_gat:
                self._parameters[f"{name}_bias"] = np.zeros(width, np.float32)
        if config.edge_dim is not None:
            self._parameters["edge_weight"] = drawn(config.edge_dim, width, (config.edge_dim, width))
        parts = ["attention"]
        if is_gat:
            parts = ["source_attention", "target_attention"] + ["edge_attention"] * (config.edge_dim is not None)
        for name in parts:
            self._parameters[name] = drawn(heads, channels, (heads, channels))
        if config.bias:
            self._parameters["bias"] = np.zeros(config.dim_out, np.float32)

    def _fixed_axes(self) -> dict[str, int]:
        return {**super()._fixed_axes(), "dim_out": self.config.dim_out}

    def _edge_rows(self, bound: Bound, fans: Fans) -> Float32Array | None:
        return None if bound.features is None else along_fans(bound.features, fans)

    def _edge_rows_backward(self, grad: Float32Array, bound: Bound, fans: Fans) -> dict[str, Float32Array]:
        return {"edge_attr": from_fans(grad, fans, bound.graph)}

    # --- maps, to rows as the kernel reads them

    def _lanes(self, array: Float32Array) -> Float32Array:
        return as_lanes(array, self.config.num_heads)

    def _heads(self, array: Float32Array) -> Float32Array:
        return from_lanes(array, self.config.num_heads)

    def _mapped(self, name: str, x: Float32Array) -> Float32Array:
        bias = self._parameters.get(f"{name}_bias")
        weight = self._lanes(self._parameters[f"{name}_weight"])
        return project(x, weight, None if bias is None else self._lanes(bias))

    def _mapped_backward(
        self, name: str, x: Float32Array, grad: Float32Array, gradients: dict[str, Float32Array]
    ) -> Float32Array:
        weight, has_bias = self._lanes(self._parameters[f"{name}_weight"]), f"{name}_bias" in self._parameters
        of_x, of_weight, of_bias = project_backward(x, weight, grad, has_bias=has_bias)
        add_into(gradients, {f"{name}_weight": self._heads(of_weight)})
        if has_bias:
            add_into(gradients, {f"{name}_bias": self._heads(of_bias)})
        return of_x

    def _folded(self, weight: str, attention: str) -> Float32Array:
        """A map and an attention vector as one map to a number for each head: gat has no need of the rows between."""
        vector = self._parameters[attention]
        folded: Float32Array = (self._parameters[weight].reshape(-1, *vector.shape) * vector).sum(axis=-1)
        return self._lanes(folded)

    def _folded_backward(
        self, weight: str, attention: str, x: Float32Array, grad: Float32Array, gradients: dict[str, Float32Array]
    ) -> Float32Array:
        of_x, of_lanes, _ = project_backward(x, self._folded(weight, attention), grad, has_bias=False)
        vector, matrix, of_folded = self._parameters[attention], self._parameters[weight], self._heads(of_lanes)
        of_weight = (of_folded[..., None] * vector).reshape(matrix.shape)
        of_attention = (of_folded[..., None] * matrix.reshape(-1, *vector.shape)).sum(axis=0)
        add_into(gradients, {weight: of_weight, attention: of_attention})
        return of_x

    @property
    def _target(self) -> str:
        return "source" if self.config.share_weights else "target"

    def _call(
        self, sources: Float32Array, targets: Float32Array, values: Float32Array, edges: Float32Array | None,
        fans: Fans, training: bool,
    ) -> EdgeCall:  # fmt: skip
        """The kernel's call of rows of features (..., n, dim), edges in the order of the fans; targets is sources, or
        values is, where they are."""
        config, count = self.config, fans.sources.size
        fans = fans._replace(rows=np.arange(count), loops=fans.loops[:0], n_edges=count)
        keep = None
        if training and config.dropout:
            shape = (*sources.shape[:-2], count, lane_heads(config.num_heads))
            keep = (self._random.random(shape) >= config.dropout).astype(np.float32) / np.float32(1 - config.dropout)
        options: dict[str, Any] = {"slope": config.negative_slope, "keep": keep}
        if config.variant == "gat":
            edge = None if edges is None else project(edges, self._folded("edge_weight", "edge_attention"))
            return EdgeCall(
                project(sources, self._folded("source_weight", "source_attention")),
                project(targets, self._folded("source_weight", "target_attention")),
                self._mapped("source", values), np.ones((1, lane_heads(config.num_heads)), np.float32), fans,
                edge=edge, **options,
            )  # fmt: skip
        source = self._mapped("source", sources)
        is_same = self.config.share_weights and targets is sources
        return EdgeCall(
            source, source if is_same else self._mapped(self._target, targets),
            source if values is sources else self._mapped("source", values),
            self._lanes(self._parameters["attention"].reshape(-1)).reshape(config.channels, -1), fans,
            edge=None if edges is None else self._mapped("edge", edges), **options,
        )  # fmt: skip

    def _combined(self, out: Float32Array) -> Float32Array:
        """Heads concatenated or averaged, and the bias."""
        config, out = self.config, self._heads(out)
        if not config.concat_heads:
            out = out.reshape(*out.shape[:-1], config.num_heads, config.channels).mean(axis=-2)
        if config.bias:
            out += self._parameters["bias"]
        return out

    def _combined_backward(self, grad: Float32Array, gradients: dict[str, Float32Array]) -> Float32Array:
        config = self.config
        if config.bias:
            gradients["bias"] = grad.reshape(-1, config.dim_out).sum(axis=0)
        if config.concat_heads:
            return self._lanes(grad)
        return self._lanes(np.tile(grad / np.float32(config.num_heads), config.num_heads))

    # --- computing

    def _pass(
        self, nodes: Float32Array, fans: Fans, edges: Float32Array | None, training: bool, check_finite: bool
    ) -> Pass:
        config, call = self.config, self._call(nodes, nodes, nodes, edges, fans, training)
        status, out, weights = call.forward()
        if status and check_finite:
            raise_non_finite(nodes=nodes, edge_attr=edges)

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            gradients: dict[str, Float32Array] = {}
            found = call.backward(weights, self._combined_backward(grad, gradients))
            of_edges = None
            if config.variant == "gat":
                of_nodes = self._mapped_backward("source", nodes, found.values, gradients)
                for name, of_terms in (("source", found.source), ("target", found.target)):
                    of_nodes += self._folded_backward("source_weight", f"{name}_attention", nodes, of_terms, gradients)
                if edges is not None and found.edge is not None:
                    of_edges = self._folded_backward("edge_weight", "edge_attention", edges, found.edge, gradients)
            else:
                of_nodes = self._mapped_backward("source", nodes, found.source + found.values, gradients)
                of_nodes += self._mapped_backward(self._target, nodes, found.target, gradients)
                gradients["attention"] = self._heads(found.attention.reshape(-1)).reshape(config.num_heads, -1)
                if edges is not None and found.edge is not None:
                    of_edges = self._mapped_backward("edge", edges, found.edge, gradients)
            for name, array in self._parameters.items():  # the maps of edges, where there were none
                gradients.setdefault(name, np.zeros_like(array))
            return of_nodes, of_edges, gradients

        of_heads = weights[..., : config.num_heads]
        return Pass(self._combined(out), lambda: of_heads.swapaxes(-1, -2), backward)

    def compute(
        self, query: ArrayLike, keys: ArrayLike, values: ArrayLike, *, check_finite: CheckFinite = True
    ) -> Float32Array:
        """The output of one node, (dim_out,): query (dim,) are its features, keys (n_key, dim) those of its neighbours,
        values (n_key, dim) what it gathers from them in place of these, through the same map."""
        return self.compute_with_edges(query, keys, values, None, check_finite=check_finite)

    def compute_with_edges(
        self,
        query: ArrayLike,
        keys: ArrayLike,
        values: ArrayLike,
        edge_features: ArrayLike,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The same with the features of the edges, (n_key, edge_dim)."""
        rows = [self._bound(x, [], None, check_finite).nodes for x in (np.atleast_2d(query), keys, values)]
        if rows[0].shape != (1, self.config.dim) or rows[1].shape != rows[2].shape or rows[1].ndim != 2:
            raise DimensionMismatchError(
                f"query, keys and values are {', '.join(str(x.shape) for x in (np.asarray(query), *rows[1:]))}; "
                f"expected (dim,), (n_key, dim) and (n_key, dim) with dim = {self.config.dim}"
            )
        query, keys, values = rows
        count, loops = len(keys), np.zeros(1 if self.config.add_self_loops else 0, np.int64)
        fans = Fans(np.array([0, count + loops.size]), np.arange(count + loops.size), np.arange(count + loops.size),
                    loops, count)  # fmt: skip
        edges = None
        if edge_features is not None:
            pairs = np.stack([np.arange(count), np.zeros(count, np.int64)])
            edges = self._bound(keys, pairs, edge_features, check_finite).features
            edges = None if edges is None else along_fans(edges, fans)
        if loops.size:
            is_same = keys is values
            keys = np.concatenate([keys, query])
            values = keys if is_same else np.concatenate([values, query])
        status, out, _ = self._call(keys, query, values, edges, fans, False).forward()
        if status and check_finite:
            raise_non_finite(query=query, keys=keys, values=values)
        output: Float32Array = self._combined(out)[0]
        return output


def along_fans(edge_attr: Float32Array, fans: Fans) -> Float32Array:
    """Features (..., edges of the fans, channels) in the order of the fans, so that whatever follows reads memory from
    end to end; a loop has the mean over the other edges into its node, or zeros where it is the only one."""
    rows: Float32Array
    if not fans.loops.size:
        rows = np.take(edge_attr, fans.rows, axis=-2)
        return rows
    is_loop = fans.rows >= fans.n_edges
    if fans.n_edges:
        rows = np.take(edge_attr, np.where(is_loop, 0, fans.rows), axis=-2)
    else:
        rows = np.empty((*edge_attr.shape[:-2], fans.rows.size, edge_attr.shape[-1]), np.float32)
    rows[..., is_loop, :] = 0
    if fans.loops.size == fans.indptr.size - 1:  # else only nodes without edges have loops
        starts = fans.indptr[:-1].astype(np.intp)
        rows[..., is_loop, :] = np.add.reduceat(rows, starts, axis=-2) / others_of(fans)  # the loops add their zeros
    return rows


def from_fans(grad: Float32Array, fans: Fans, graph: Graph) -> Float32Array:
    """The gradient of the features of edges from that of ``along_fans``."""
    place = np.zeros(fans.n_rows, np.intp)
    place[fans.rows] = np.arange(fans.rows.size)
    of_edges: Float32Array = np.take(grad, place[: fans.n_edges], axis=-2)
    if not fans.loops.size or fans.loops.size < fans.indptr.size - 1:
        return of_edges
    of_loops = np.take(grad, place[fans.n_edges :], axis=-2)
    of_edges += np.take(of_loops / others_of(fans), graph.targets, axis=-2)
    replaced = np.flatnonzero(graph.sources == graph.targets)  # edges that the loops took the place of
    if replaced.size:
        of_edges[..., replaced, :] = 0
    return of_edges
