"""Attention in two spaces at once: along the edges of a graph, and to the nearest nodes of the latent space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..engine import normalize_rows
from ..errors import UnsupportedError
from ..gradients import add_into
from ..graph import EdgesLike, Fans, Graph
from ..options import CheckFinite, Training
from ..problem import Problem
from ..registry import register
from ..scoring import Scoring
from ..specs import TensorSpec
from .graph import BesideEdgesAttention, DotOverEdgesConfig
from .over_edges import EDGE_INDEX, NODES, Bound, Pass

LATENT_INDEX = TensorSpec(
    "latent_index",
    "ends n_latent",
    "edges of the latent space, in any of the forms of edge_index; where they are missing, from the nodes of the "
    "highest cosine similarity",
    optional=True,
    dtype="int64",
)
SPACES, ROLES = ("graph", "latent"), ("query", "keys", "values")


@dataclass(frozen=True)
class CrossSpaceConfig(DotOverEdgesConfig):
    num_neighbors: Annotated[int, Setting("latent neighbours of a node without latent_index", at_least=1)] = 8


class _Attended(NamedTuple):
    """What nodes gather in one space, and the way back from a gradient of that: to queries, keys and values."""

    output: Float32Array
    weights: Callable[[], Float32Array]
    backward: Callable[[Float32Array], tuple[Float32Array, Float32Array, Float32Array]]


@register
class CrossSpaceAttention(BesideEdgesAttention):
    """g = Attn(h, N_graph), l = Attn(h, N_latent), x = Attn(g, N_latent), out = W_o (a_g g + a_l l + a_x x)

    Attn is scaled dot-product attention along edges, with learned maps of queries, keys and values for each space; x
    asks the latent neighbours with what the graph said. The gate a = softmax(W_a [g, l, x] + b_a) is each node's own.

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), latent_index (2, n_latent) -> (..., n_node, dim),
            float32. Without latent_index a node's latent neighbours are the num_neighbors other nodes of the highest
            cosine similarity, found exactly in O(n_node^2 dim) time; they are not differentiated.
    Parameters: graph_query_weight, graph_keys_weight, graph_values_weight, latent_query_weight, latent_keys_weight,
            latent_values_weight, cross_query_weight, output_weight (dim, dim), gate_weight (3 dim, 3), with a bias
            each. Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = CrossSpaceAttention(dim=2, num_neighbors=1)
    >>> nodes, edges = [[1, 0], [0, 1], [1, 1]], [(0, 1), (1, 2), (2, 0)]
    >>> attention(nodes, edges).shape
    (3, 2)
    >>> attention.gates(nodes, edges).sum(axis=-1)
    array([1., 1., 1.], dtype=float32)
    """

    name = "cross_space"
    Config = CrossSpaceConfig
    inputs = (NODES, EDGE_INDEX, LATENT_INDEX)
    paper = "after Wang et al., 2020, arXiv:2007.02265"
    complexity = "O((n_edges + n_latent) * dim + n_node * dim^2)"

    config: CrossSpaceConfig

    def _maps(self) -> dict[str, tuple[int, int]]:
        dim = self.config.dim
        maps = {f"{space}_{role}": (dim, dim) for space in SPACES for role in ROLES}
        return {**maps, "cross_query": (dim, dim), "gate": (3 * dim, 3), "output": (dim, dim)}

    # --- latent neighbours

    def latent_neighbors(self, nodes: ArrayLike) -> Any:
        """edge_index (2, n_node * num_neighbors), from the nodes of the highest cosine similarity to each of them."""
        (rows,) = self.bind(nodes=nodes).arrays
        if rows.ndim > 2:
            raise UnsupportedError(f"nodes is {rows.shape}; expected (n_node, dim), without leading dimensions")
        return self._nearest(rows, np.arange(len(rows)))

    def _nearest(self, nodes: Float32Array, of: Any) -> Any:
        """edge_index from the nearest nodes to those of these numbers."""
        count = min(self.config.num_neighbors, len(nodes) - 1)
        if count < 1:
            return np.zeros((2, 0), np.int64)
        unit = normalize_rows(nodes, nodes.shape[-1])
        problem = Problem(unit[of], unit, None, Scoring.of(1.0), True)
        found = problem.select(count + 1)[0][0]  # the node itself may be among them, or not, among equals
        similarity = np.einsum("qd,qkd->qk", unit[of], unit[found])
        similarity[found == of[:, None]] = -np.inf
        kept = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        sources = np.take_along_axis(found, kept, axis=1)
        return np.stack([sources.reshape(-1), np.repeat(of, count)])

    def _bound(self, nodes: ArrayLike, edge_index: EdgesLike, edge_attr: ArrayLike, check_finite: bool) -> Bound:
        bound = super()._bound(nodes, edge_index, None, check_finite)
        if edge_attr is None:
            return bound
        return bound._replace(features=Graph.of(edge_attr, bound.graph.n_node, "latent_index"))

    # --- computing

    def _edge_rows(self, bound: Bound, fans: Fans) -> Fans | None:
        return None if bound.features is None else self._fans(bound.features)

    def _pass(self, nodes: Float32Array, fans: Fans, edges: Any, training: bool, check_finite: bool) -> Pass:
        """``edges`` are the latent ones, or None."""
        if edges is None and nodes.ndim > 2:  # each item of a batch has latent neighbours of its own
            return self._items(nodes, fans, training, check_finite)
        if edges is None:
            edges = self._fans(Graph(self._nearest(nodes, np.arange(len(nodes))), len(nodes)))
        return self._spaces(nodes, fans, edges, training, check_finite)

    def _items(self, nodes: Float32Array, fans: Fans, training: bool, check_finite: bool) -> Pass:
        lead = nodes.shape[:-2]
        passes = [self._pass(nodes[at], fans, None, training, check_finite) for at in np.ndindex(*lead)]

        def stacked(arrays: list[Float32Array]) -> Float32Array:
            return np.stack(arrays).reshape(*lead, *arrays[0].shape)

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            found = [one.backward(grad[at]) for one, at in zip(passes, np.ndindex(*lead), strict=True)]
            gradients: dict[str, Float32Array] = {}
            for _, _, of_parameters in found:
                add_into(gradients, of_parameters)
            return stacked([of_nodes for of_nodes, *_ in found]), None, gradients

        return Pass(
            stacked([one.output for one in passes]),
            lambda: stacked([one.weights() for one in passes]),
            backward,
            stacked([one.gates for one in passes if one.gates is not None]),
        )

    def _attended(
        self, query: Float32Array, keys: Float32Array, values: Float32Array, fans: Fans, training: bool, checked: bool
    ) -> _Attended:
        call = self._dot_call(query, keys, values, fans, training)
        out, lse = call.forward(checked)
        return _Attended(out, call.weights, lambda grad: call.backward(out, lse, grad)[:3])

    def _spaces(self, nodes: Float32Array, fans: Fans, latent: Fans, training: bool, check_finite: bool) -> Pass:
        graph, near = (tuple(self._mapped(f"{space}_{role}", nodes) for role in ROLES) for space in SPACES)
        in_graph = self._attended(graph[0], graph[1], graph[2], fans, training, check_finite)
        in_latent = self._attended(near[0], near[1], near[2], latent, training, check_finite)
        asked = self._mapped("cross_query", in_graph.output)
        across = self._attended(asked, near[1], near[2], latent, training, check_finite)
        parts = [in_graph.output, in_latent.output, across.output]
        joined = np.concatenate(parts, axis=-1)
        logits = self._mapped("gate", joined)
        gates = np.exp(logits - logits.max(axis=-1, keepdims=True))
        gates /= gates.sum(axis=-1, keepdims=True)
        fused = gates[..., 0, None] * parts[0] + gates[..., 1, None] * parts[1] + gates[..., 2, None] * parts[2]

        def backward(grad: Float32Array) -> tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]:
            gradients: dict[str, Float32Array] = {}
            of_fused = self._mapped_backward("output", fused, grad, gradients)
            of_gates = np.stack([(of_fused * part).sum(axis=-1) for part in parts], axis=-1)
            of_logits = gates * (of_gates - (gates * of_gates).sum(axis=-1, keepdims=True))
            of_joined = np.split(self._mapped_backward("gate", joined, of_logits, gradients), 3, axis=-1)
            of_parts = [gates[..., index, None] * of_fused + of_joined[index] for index in range(3)]
            of_asked, of_keys, of_values = across.backward(of_parts[2])
            of_graph = of_parts[0] + self._mapped_backward("cross_query", in_graph.output, of_asked, gradients)
            in_spaces = [list(in_graph.backward(of_graph)), list(in_latent.backward(of_parts[1]))]
            in_spaces[1][1] += of_keys
            in_spaces[1][2] += of_values
            of_nodes = np.zeros_like(nodes)
            for space, of_space in zip(SPACES, in_spaces, strict=True):
                for role, of_role in zip(ROLES, of_space, strict=True):
                    of_nodes += self._mapped_backward(f"{space}_{role}", nodes, of_role, gradients)
            return of_nodes, None, gradients

        return Pass(self._mapped("output", fused), in_graph.weights, backward, gates)

    def gates(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        latent_index: EdgesLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """How much of g, l and x each node takes, (..., n_node, 3)."""
        bound = self._bound(nodes, edge_index, latent_index, check_finite)
        gates = self._run(bound, False, check_finite)[1].gates
        assert gates is not None
        return gates

    # --- one node

    def _one_node(self, bound: Bound, node: int, sources: Any, edges: Any, check_finite: bool) -> Float32Array:
        """The output of a node that has edges from these sources, and its own latent ones."""
        lead = bound.nodes.shape[:-2]
        if bound.features is None and lead:
            items = (bound._replace(nodes=bound.nodes[at]) for at in np.ndindex(*lead))
            found = [self._one_node(item, node, sources, edges, check_finite) for item in items]
            return np.stack(found).reshape(*lead, -1)
        if bound.features is None:
            near = self._nearest(bound.nodes, np.array([node]))[0]
        else:
            near = bound.features.sources[bound.features.targets == node]
        others = np.setdiff1d(np.concatenate([sources, near]), [node])
        present = np.concatenate([[node], others])
        place = np.zeros(bound.graph.n_node, np.int64)
        place[others] = np.arange(1, present.size)
        stars = [
            Graph(np.stack([place[ends], np.zeros(len(ends), np.int64)]), present.size) for ends in (sources, near)
        ]
        _, one = self._run(Bound(bound.nodes[..., present, :], stars[0], stars[1]), False, check_finite)
        return one.output[..., 0, :]

    # --- the methods of every mechanism on graphs, with latent_index in the place of edge_attr

    def forward(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        latent_index: EdgesLike = None,
        *,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs of all nodes, (..., n_node, dim)."""
        return super().forward(nodes, edge_index, latent_index, training=training, check_finite=check_finite)

    def attention_weights(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        latent_index: EdgesLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of the caller's edges of the graph in his order, (..., n_edges, num_heads)."""
        return super().attention_weights(nodes, edge_index, latent_index, check_finite=check_finite)

    def weights_by_edge(
        self, nodes: ArrayLike, edge_index: EdgesLike, latent_index: EdgesLike = None
    ) -> dict[tuple[Any, Any], Float32Array]:
        """The weights in the graph of every head by (source, target), as GraphAttention has them."""
        return super().weights_by_edge(nodes, edge_index, latent_index)

    def forward_neighborhood(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        latent_index: EdgesLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., dim): what forward gives for it, at the cost of its edges in both spaces."""
        return super().forward_neighborhood(node, nodes, edge_index, latent_index, check_finite=check_finite)

    def forward_k_hop(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        k: int,
        latent_index: EdgesLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., dim), that attends to every node from which it is reached within k edges of the
        graph, each once, and to its latent neighbours."""
        return super().forward_k_hop(node, nodes, edge_index, k, latent_index, check_finite=check_finite)
