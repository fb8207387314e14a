"""What mechanisms on graphs share: nodes attend along edges, all of them, one of them, or over several hops."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from .. import kernels
from ..arrays import ArrayLike, Float32Array, as_array
from ..base import Attention
from ..config import AttentionConfig, Setting
from ..engine import contiguous, raise_non_finite
from ..errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from ..graph import EdgesLike, Fans, Graph
from ..options import CheckFinite, Training, check_flags
from ..specs import TensorSpec

NODES = TensorSpec("nodes", "... n_node dim", "features of every node")
EDGE_INDEX = TensorSpec(
    "edge_index",
    "ends n_edges",
    "source and target of every edge: the target attends to the source; also pairs (n_edges, 2), a scipy.sparse "
    "matrix, a networkx graph or a Graph",
    dtype="int64",
)
EDGE_ATTR = TensorSpec("edge_attr", "... n_edges edge_dim", "features of every edge", optional=True)


@dataclass(frozen=True, kw_only=True)
class OverEdgesConfig(AttentionConfig):
    """The settings of every mechanism in which nodes attend along edges."""

    add_self_loops: Annotated[
        bool, Setting("every node attends to itself too, by one edge in place of those given from a node to itself")
    ] = True
    isolated: Annotated[
        str,
        Setting(
            "what a node without edges into it attends to: nothing, or itself",
            choices=("zeros", "self"),
        ),
    ] = "zeros"


class Pass(NamedTuple):
    """One way through a graph: outputs, the weights (..., heads, edges of the fans) when they are wanted, and the way
    back: from a gradient of the output to those of the nodes, of the edge features and of the parameters."""

    output: Float32Array
    weights: Callable[[], Float32Array]
    backward: Callable[[Float32Array], tuple[Float32Array, Float32Array | None, dict[str, Float32Array]]]
    gates: Float32Array | None = None  # of a mechanism that has them


class Bound(NamedTuple):
    """A call's arrays, checked. ``features`` are those of edges, as the caller gave them, or whatever else a mechanism
    makes them from."""

    nodes: Float32Array
    graph: Graph
    features: Any
    given: bool = False  # features that a mechanism could have made itself


class OverEdgesAttention(Attention):
    """Nodes attend along edges: what a mechanism adds is ``_pass``."""

    inputs = (NODES, EDGE_INDEX, EDGE_ATTR)
    outputs = (TensorSpec("output", "... n_node dim"),)
    complexity: ClassVar[str] = "O(n_edges * dim + n_node * dim^2)"

    config: OverEdgesConfig

    @abstractmethod
    def _pass(self, nodes: Float32Array, fans: Fans, edges: Any, training: bool, check_finite: bool) -> Pass:
        """Through a graph: nodes (..., n_node, dim), edges what ``_edge_rows`` gives."""

    def _fixed_axes(self) -> dict[str, int]:
        return {"ends": 2, **super()._fixed_axes()}

    def _bound(self, nodes: ArrayLike, edge_index: EdgesLike, edge_attr: ArrayLike, check_finite: bool) -> Bound:
        check_flags(check_finite=check_finite)
        binding = self.bind(nodes=nodes)
        graph = Graph.of(edge_index, binding.sizes["n_node"])
        edges = None
        if edge_attr is not None and getattr(self.config, "edge_dim", None) is None:
            raise UnsupportedError(f"edge_attr came, but edge_dim of {self!r} is None; expected no edge_attr")
        if edge_attr is not None and (graph.n_edges or as_array("edge_attr", edge_attr).size):  # else it has none
            (edges,) = self.bind(edge_attr=edge_attr).arrays
            if edges.shape[-2] != graph.n_edges:
                raise DimensionMismatchError(
                    f"edge_attr is {edges.shape}; expected ({graph.n_edges}, edge_dim), a row for each edge",
                    expected=graph.n_edges,
                    actual=edges.shape[-2],
                )
            if edges.ndim > 2 and edges.shape[:-2] != binding.lead:
                raise DimensionMismatchError(
                    f"edge_attr is {edges.shape}; expected the leading dimensions {binding.lead} of nodes, or none"
                )
        if check_finite:
            for name, array in (("nodes", binding.arrays[0]), ("edge_attr", edges)):
                if array is not None and kernels.active.all_finite(contiguous(array), array.size):
                    raise_non_finite(**{name: array})
        return Bound(binding.arrays[0], graph, edges)

    def _fans(self, graph: Graph) -> Fans:
        config = self.config
        return graph.fans(self_loops=config.add_self_loops, isolated_loops=config.isolated == "self")

    def _edge_rows(self, bound: Bound, fans: Fans) -> Any:
        """Features (..., fans.n_rows, channels), of the edges and behind them of the loops; or None."""
        return None if bound.features is None else with_loops(bound.features, fans)

    def _edge_rows_backward(self, grad: Float32Array, bound: Bound, fans: Fans) -> dict[str, Float32Array]:
        """The gradients of what ``_edge_rows`` read, by name."""
        return {"edge_attr": without_loops(grad, fans, bound.graph)}

    def _star_features(self, bound: Bound, present: Any, edges: Any) -> Any:
        """The features of a graph of some of the nodes, in which these are those of its edges."""
        return edges

    def _run(self, bound: Bound, training: bool, check_finite: bool) -> tuple[Fans, Pass]:
        fans = self._fans(bound.graph)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            found = self._pass(bound.nodes, fans, self._edge_rows(bound, fans), training, check_finite)
        if check_finite and kernels.active.all_finite(contiguous(found.output), found.output.size):
            name = self.inputs[-1].name  # edge_attr, or features of nodes; or the edges of another space
            features = {name: bound.features} if isinstance(bound.features, np.ndarray) else {}
            raise_non_finite(nodes=bound.nodes, **features)
        return fans, found

    # --- computing

    def forward(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        edge_attr: ArrayLike = None,
        *,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs of all nodes, (..., n_node, channels)."""
        return self._forward(self._bound(nodes, edge_index, edge_attr, check_finite), training, check_finite)

    def _forward(self, bound: Bound, training: bool, check_finite: bool) -> Float32Array:
        check_flags(training=training)
        fans, found = self._run(bound, training, check_finite)
        if training:

            def backward(grad: Float32Array) -> dict[str, Float32Array]:
                of_nodes, of_rows, gradients = found.backward(grad)
                of_edges = {} if of_rows is None else self._edge_rows_backward(of_rows, bound, fans)
                return {"nodes": of_nodes, **gradients, **of_edges}

            self._record(found.output.shape, backward)
        return found.output

    def attention_weights(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        edge_attr: ArrayLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of the caller's edges in his order, (..., n_edges, num_heads).

        Those into one node sum to 1 with the weight of its self loop, where the settings add one.
        """
        bound = self._bound(nodes, edge_index, edge_attr, check_finite)
        fans, found = self._run(bound, False, check_finite)
        return fans.by_edge(found.weights(), bound.graph.removed_loops(self_loops=self.config.add_self_loops))

    def weights_by_edge(
        self, nodes: ArrayLike, edge_index: EdgesLike, edge_attr: ArrayLike = None
    ) -> dict[tuple[Any, Any], Float32Array]:
        """The weights of every head by (source, target), self loops that the settings add among them; nodes by their
        own names where edge_index is a networkx graph. Parallel edges are one entry, their sum."""
        bound = self._bound(nodes, edge_index, edge_attr, True)
        if bound.nodes.ndim > 2:
            raise UnsupportedError(f"nodes is {bound.nodes.shape}; expected (n_node, dim), without leading dimensions")
        fans, found = self._run(bound, False, True)
        names = bound.graph.labels or range(bound.graph.n_node)
        by_edge: dict[tuple[Any, Any], Float32Array] = {}
        pairs = zip(fans.sources.tolist(), fans.targets.tolist(), found.weights().T, strict=True)
        for source, target, weights in pairs:
            key = (names[source], names[target])
            by_edge[key] = by_edge[key] + weights if key in by_edge else weights.copy()
        return by_edge

    def forward_neighborhood(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        edge_attr: ArrayLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., channels): what forward gives for it, at the cost of its own edges."""
        bound = self._bound(nodes, edge_index, edge_attr, check_finite)
        node = _checked_node(node, bound.graph.n_node)
        own = np.flatnonzero(bound.graph.targets == node)
        return self._one_node(bound, node, bound.graph.sources[own], self._features_of_edges(bound, own), check_finite)

    def forward_k_hop(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        k: int,
        edge_attr: ArrayLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., channels), that attends to every node from which it is reached within k edges,
        each once. Features of edges are those of its own edges; nodes further away bring zeros in their place."""
        bound = self._bound(nodes, edge_index, edge_attr, check_finite)
        node = _checked_node(node, bound.graph.n_node)
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise UnsupportedError(f"k is {k!r}; expected an integer of at least 1")
        around, _ = bound.graph.around(node, int(k))
        return self._one_node(bound, node, around, self._features_of_hops(bound, node, around), check_finite)

    def _features_of_edges(self, bound: Bound, own: Any) -> Any:
        """The features of some of the edges."""
        return None if bound.features is None else bound.features[..., own, :]

    def _features_of_hops(self, bound: Bound, node: int, around: Any) -> Any:
        """The features of edges from these nodes, most of which do not exist."""
        if bound.features is None:
            return None
        edges = np.zeros((*bound.features.shape[:-2], around.size, bound.features.shape[-1]), np.float32)
        place = np.full(bound.graph.n_node, -1)
        place[around] = np.arange(around.size)
        own = np.flatnonzero((bound.graph.targets == node) & (bound.graph.sources != node))[::-1]
        for edge in own:  # backwards: of parallel edges the first stays
            edges[..., place[bound.graph.sources[edge]], :] = bound.features[..., edge, :]
        return edges

    def _one_node(self, bound: Bound, node: int, sources: Any, edges: Any, check_finite: bool) -> Float32Array:
        """The output of a node that has edges from these sources."""
        others = np.setdiff1d(sources, [node])
        present = np.concatenate([[node], others])
        place = np.full(bound.graph.n_node, 0)
        place[others] = np.arange(1, present.size)
        star = Graph(np.stack([place[sources], np.zeros(len(sources), np.int64)]), present.size)
        features = self._star_features(bound, present, edges)
        _, found = self._run(Bound(bound.nodes[..., present, :], star, features), False, check_finite)
        return found.output[..., 0, :]


def _checked_node(node: Any, count: int) -> int:
    if isinstance(node, bool) or not isinstance(node, int | np.integer):
        raise UnsupportedError(f"node is {node!r}; expected an integer")
    if not 0 <= node < count:
        raise OutOfBoundsError(f"node is {node}; expected 0 to {count - 1}")
    return int(node)


def with_loops(edge_attr: Float32Array, fans: Fans) -> Float32Array:
    """Features of edges and behind them those of the loops: the mean over the other edges into the node, or zeros."""
    if not fans.loops.size:
        return edge_attr
    loops = np.zeros((*edge_attr.shape[:-2], fans.loops.size, edge_attr.shape[-1]), np.float32)
    rows = np.concatenate([edge_attr, loops], axis=-2)
    if fans.loops.size == fans.indptr.size - 1:  # else only nodes without edges have loops
        starts = fans.indptr[:-1].astype(np.intp)
        sums = np.add.reduceat(np.take(rows, fans.rows, axis=-2), starts, axis=-2)  # the loops add their zeros
        rows[..., fans.n_edges :, :] = sums / others_of(fans)
    return rows


def without_loops(grad: Float32Array, fans: Fans, graph: Graph) -> Float32Array:
    """The gradient of the features of edges from that of ``with_loops``."""
    of_edges = grad[..., : fans.n_edges, :]
    if not fans.loops.size or fans.loops.size < fans.indptr.size - 1:
        return of_edges.copy()
    of_means: Float32Array = np.take(grad[..., fans.n_edges :, :] / others_of(fans), graph.targets, axis=-2)
    of_means[..., graph.sources == graph.targets, :] = 0  # edges that the loops took the place of
    of_means += of_edges
    return of_means


def others_of(fans: Fans) -> Float32Array:
    """How many edges into each node there are beside its loop, but at least 1: (n_node, 1)."""
    others: Float32Array = np.maximum(np.diff(fans.indptr) - 1, 1).astype(np.float32)[:, None]
    return others
