"""Attention along edges whose scores know the shape of the graph (Graphormer: Ying et al., 2021, arXiv:2106.05234)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from .. import kernels
from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..engine import contiguous, raise_non_finite
from ..errors import DimensionMismatchError
from ..graph import EdgesLike, Fans, Graph
from ..options import CheckFinite, Training
from ..registry import register
from ..specs import TensorSpec
from ..structure import STRUCTURAL_FEATURES, structural_features
from .graph import BesideEdgesAttention, DotOverEdgesConfig
from .over_edges import EDGE_INDEX, NODES, Bound

FEATURES = TensorSpec(
    "features",
    "... n_node num_features",
    f"structural features of every node; where they are missing, {', '.join(STRUCTURAL_FEATURES)} of the graph",
    optional=True,
)


@dataclass(frozen=True)
class StructuralConfig(DotOverEdgesConfig):
    num_features: Annotated[int, Setting("structural features of a node", at_least=1)] = len(STRUCTURAL_FEATURES)


@register
class StructuralAttention(BesideEdgesAttention):
    """h_i' = W_o sum over edges (j, i) of softmax_j(s_ij / temperature) W_v h_j
    with s_ij = scale <W_q h_i, W_k h_j> + <u, f_j> + <w, f_i * f_j>

    f are features of a node's place in the graph, by default log(1 + degree) in and out, PageRank (times n_node) and
    the clustering coefficient; every head has learned u and w, so a hub may count more, or more for other hubs. As in
    Graphormer structure is a bias of the score; unlike there nodes attend along edges only, so nothing is n_node^2.

    Shapes: nodes (..., n_node, dim), edge_index (2, n_edges), features (n_node, num_features) or (..., n_node,
            num_features) -> (..., n_node, dim), float32
    Parameters: query_weight, keys_weight, values_weight, output_weight (dim, dim) with a bias each;
            edge_weight (2 num_features, num_heads), u above w. Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = StructuralAttention(dim=2)
    >>> attention([[1, 0], [0, 1], [1, 1]], [(0, 1), (1, 2), (2, 0)]).shape
    (3, 2)
    >>> attention.structural_features([(0, 1), (1, 2), (2, 0)], 3)[:, 3]
    array([1., 1., 1.], dtype=float32)
    """

    name = "structural"
    Config = StructuralConfig
    inputs = (NODES, EDGE_INDEX, FEATURES)
    paper = "Ying et al., 2021, arXiv:2106.05234"

    config: StructuralConfig

    @staticmethod
    def structural_features(edge_index: EdgesLike, n_node: int) -> Float32Array:
        """(n_node, 4): log(1 + degree) in and out, n_node * PageRank, clustering coefficient."""
        return structural_features(Graph.of(edge_index, n_node))

    def _edge_channels(self) -> int | None:
        return 2 * self.config.num_features

    def _bound(self, nodes: ArrayLike, edge_index: EdgesLike, edge_attr: ArrayLike, check_finite: bool) -> Bound:
        bound = super()._bound(nodes, edge_index, None, check_finite)
        if edge_attr is None:
            features = structural_features(bound.graph)
            if features.shape[1] != self.config.num_features:
                raise DimensionMismatchError(
                    f"features is None; expected (n_node, num_features) with num_features = {self.config.num_features}"
                )
            return bound._replace(features=features)
        binding = self.bind(nodes=bound.nodes, features=edge_attr)
        features = binding.arrays[1]
        if features.ndim > 2 and features.shape[:-2] != bound.nodes.shape[:-2]:
            raise DimensionMismatchError(
                f"features is {features.shape}; expected the leading dimensions {bound.nodes.shape[:-2]} of nodes"
            )
        if check_finite and kernels.active.all_finite(contiguous(features), features.size):
            raise_non_finite(features=features)
        return bound._replace(features=features, given=True)

    def _edge_rows(self, bound: Bound, fans: Fans) -> Float32Array:
        of_nodes = bound.features
        rows = np.empty((*of_nodes.shape[:-2], fans.n_rows, 2 * of_nodes.shape[-1]), np.float32)
        if rows.shape[-2] > fans.rows.size:  # edges that self loops took the place of
            rows[...] = 0
        source, target = of_nodes[..., fans.sources, :], of_nodes[..., fans.targets, :]
        rows[..., fans.rows, :] = np.concatenate([source, source * target], axis=-1)
        return rows

    def _edge_rows_backward(self, grad: Float32Array, bound: Bound, fans: Fans) -> dict[str, Float32Array]:
        of_rows, of_nodes = grad[..., fans.rows, :], bound.features
        of_source, of_product = np.split(of_rows, 2, axis=-1)
        total = np.zeros(of_nodes.shape, np.float32)
        flat = np.moveaxis(total, -2, 0)  # nodes first, for they are what is indexed
        for at, of_end in (
            (fans.sources, of_source + of_product * of_nodes[..., fans.targets, :]),
            (fans.targets, of_product * of_nodes[..., fans.sources, :]),
        ):
            np.add.at(flat, at, np.moveaxis(of_end, -2, 0))
        return {"features": total} if bound.given else {}

    def _star_features(self, bound: Bound, present: Any, edges: Any) -> Any:
        return bound.features[..., present, :]

    # --- the methods of every mechanism on graphs, with features in the place of edge_attr

    def forward(
        self,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        features: ArrayLike = None,
        *,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs of all nodes, (..., n_node, dim)."""
        return super().forward(nodes, edge_index, features, training=training, check_finite=check_finite)

    def attention_weights(
        self, nodes: ArrayLike, edge_index: EdgesLike, features: ArrayLike = None, *, check_finite: CheckFinite = True
    ) -> Float32Array:
        """The weights of the caller's edges in his order, (..., n_edges, num_heads)."""
        return super().attention_weights(nodes, edge_index, features, check_finite=check_finite)

    def weights_by_edge(
        self, nodes: ArrayLike, edge_index: EdgesLike, features: ArrayLike = None
    ) -> dict[tuple[Any, Any], Float32Array]:
        """The weights of every head by (source, target), as GraphAttention has them."""
        return super().weights_by_edge(nodes, edge_index, features)

    def forward_neighborhood(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        features: ArrayLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., dim): what forward gives for it, at the cost of its own edges."""
        return super().forward_neighborhood(node, nodes, edge_index, features, check_finite=check_finite)

    def forward_k_hop(
        self,
        node: int,
        nodes: ArrayLike,
        edge_index: EdgesLike,
        k: int,
        features: ArrayLike = None,
        *,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one node, (..., dim), that attends to every node from which it is reached within k edges, each
        once."""
        return super().forward_k_hop(node, nodes, edge_index, k, features, check_finite=check_finite)
