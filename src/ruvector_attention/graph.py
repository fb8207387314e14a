"""Graphs as mechanisms read them: edges in whatever form they come, and sorted by the node they lead into.

An edge (source, target) lets the target attend to the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arrays import Float32Array, as_array, with_article
from .errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from .layout import repeated, tally

Int64Array = npt.NDArray[np.int64]
EdgesLike = Any  # edge_index (2, n_edges), pairs (n_edges, 2), a scipy.sparse matrix, a networkx graph, a Graph

FORMS = "edge_index (2, n_edges), pairs (n_edges, 2), a scipy.sparse matrix, or a networkx graph"
RADIX = 1 << 16  # NumPy sorts 16-bit integers by counting


class Fans(NamedTuple):
    """The edges into each node, as CSR rows: node i attends to ``sources[indptr[i]:indptr[i + 1]]``.

    ``rows`` says which row of the edge features belongs to each: the caller's edge, or behind those one of ``loops``,
    the nodes that were given an edge to themselves.
    """

    indptr: Int64Array
    sources: Int64Array
    rows: Int64Array
    loops: Int64Array
    n_edges: int  # that the caller gave

    def wide(self) -> Fans:
        """The same in 64 bits, as kernels read it; NumPy's own integers may have 32."""
        indptr, sources, rows, loops = (np.ascontiguousarray(part, np.int64) for part in self[:4])
        return Fans(indptr, sources, rows, loops, self.n_edges)

    @property
    def n_rows(self) -> int:
        """Of edge features: the caller's edges and the loops."""
        return self.n_edges + self.loops.size

    @property
    def targets(self) -> Int64Array:
        owners: Int64Array = repeated(np.arange(self.indptr.size - 1), np.diff(self.indptr))
        return owners

    def by_edge(self, weights: Float32Array, removed: Int64Array) -> Float32Array:
        """Weights (..., heads, edges here) as the caller knows his edges: (..., n_edges, heads).

        ``removed`` are the nodes of the edges that new loops took the place of: the first of a node has the weight of
        the loop, the others 0.
        """
        position = np.full(self.n_rows, -1, np.int64)
        position[self.rows] = np.arange(self.rows.size)
        caller, loops = position[: self.n_edges], position[self.n_edges :]
        if removed.size:
            missing = np.flatnonzero(caller < 0)
            nodes, first = np.unique(removed, return_index=True)
            caller[missing[first]] = loops[np.searchsorted(self.loops, nodes)]
        found = np.zeros((*weights.shape[:-1], self.n_edges), np.float32)
        found[..., caller >= 0] = weights[..., caller[caller >= 0]]
        return np.ascontiguousarray(found.swapaxes(-1, -2))


class Graph:
    """Edges (source, target) between ``n_node`` nodes, read and checked once; a call takes it in place of the edges.

    >>> graph = Graph([(0, 2), (1, 2), (2, 0)], n_node=3)
    >>> graph.edge_index.tolist()
    [[0, 1, 2], [2, 2, 0]]

    Raises: DimensionMismatchError, OutOfBoundsError, UnsupportedError.
    """

    def __init__(self, edges: EdgesLike, n_node: int, *, name: str = "edge_index") -> None:
        self.n_node = n_node
        self.labels: list[Any] | None = None  # of the nodes of a networkx graph
        self.edge_index = self._read(edges, name)
        if self.edge_index.size:
            low, high = int(self.edge_index.min()), int(self.edge_index.max())
            if low < 0 or high >= n_node:
                wrong = low if low < 0 else high
                raise OutOfBoundsError(f"{name} names node {wrong}; expected 0 to {n_node - 1}")
        self._fans: dict[str, Fans] = {}

    @classmethod
    def of(cls, edges: EdgesLike, n_node: int, name: str = "edge_index") -> Graph:
        """The edges as a Graph of n_node nodes; a Graph itself where it is one."""
        if not isinstance(edges, Graph):
            return cls(edges, n_node, name=name)
        if edges.n_node != n_node:
            raise DimensionMismatchError(
                f"{name} is a graph of {edges.n_node} nodes; expected {n_node}", expected=n_node, actual=edges.n_node
            )
        return edges

    @property
    def sources(self) -> Int64Array:
        sources: Int64Array = self.edge_index[0]
        return sources

    @property
    def targets(self) -> Int64Array:
        targets: Int64Array = self.edge_index[1]
        return targets

    @property
    def n_edges(self) -> int:
        return int(self.edge_index.shape[1])

    def edges(self) -> Iterator[tuple[Any, Any]]:
        """(source, target) of every edge, by the caller's own names of nodes."""
        for source, target in self.edge_index.T.tolist():
            yield (source, target) if self.labels is None else (self.labels[source], self.labels[target])

    def __repr__(self) -> str:
        return f"<Graph of {self.n_node} nodes and {self.n_edges} edges>"

    # --- reading

    def _read(self, edges: EdgesLike, name: str) -> Int64Array:
        if hasattr(edges, "tocoo"):  # scipy.sparse: entry (i, j) is an edge from i to j
            self._fit(edges.shape, name)
            entries = edges.tocoo()
            return self._integers(np.stack([np.asarray(entries.row), np.asarray(entries.col)]), name)
        if callable(getattr(edges, "edges", None)) and hasattr(edges, "nodes"):
            return self._from_networkx(edges, name)
        if isinstance(edges, Mapping) and "edges" in edges:  # {"edges": pairs, "num_nodes": n}
            pairs = as_array(name, edges["edges"])
            return self._integers(pairs.reshape(0, 2).T if pairs.size == 0 else self._pairs(pairs, name).T, name)
        array = as_array(name, edges)
        if array.ndim == 0:
            raise UnsupportedError(f"{name} is {with_article(type(edges).__name__)}; expected {FORMS}")
        if array.size == 0:
            return np.zeros((2, 0), np.int64)
        is_list = isinstance(edges, list | tuple)
        if array.ndim == 2 and array.shape[0] == 2 and not (is_list and array.shape == (2, 2)):
            return self._integers(array, name)
        return self._integers(self._pairs(array, name).T, name)

    def _pairs(self, array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        if array.ndim != 2 or array.shape[1] != 2:
            raise DimensionMismatchError(f"{name} is {array.shape}; expected {FORMS}", actual=array.shape)
        return array

    def _fit(self, shape: tuple[int, ...], name: str) -> None:
        if shape != (self.n_node, self.n_node):
            expected = (self.n_node, self.n_node)
            raise DimensionMismatchError(f"{name} is {shape}; expected {expected}", expected=expected, actual=shape)

    def _from_networkx(self, graph: Any, name: str) -> Int64Array:
        """Nodes count in the graph's order; an edge without direction is two, the second half of them backwards."""
        self.labels = list(graph.nodes)
        self._fit((len(self.labels),) * 2, name)
        number = {label: index for index, label in enumerate(self.labels)}
        pairs = np.array([(number[a], number[b]) for a, b, *_ in graph.edges()], np.int64).reshape(-1, 2)
        if not graph.is_directed():
            apart = pairs[:, 0] != pairs[:, 1]
            pairs = np.concatenate([pairs, pairs[apart, ::-1]])
        return np.ascontiguousarray(pairs.T)

    @staticmethod
    def _integers(array: npt.NDArray[Any], name: str) -> Int64Array:
        if array.dtype.kind not in "fiu":
            raise UnsupportedError(f"{name} is an array of {array.dtype.name}; expected {FORMS}")
        if array.dtype.kind == "f" and not (np.isfinite(array) & (np.trunc(array) == array)).all():
            raise UnsupportedError(f"{name} holds numbers that are not whole; expected numbers of nodes")
        if array.size and not (array.min() >= -(2**63) and array.max() < 2**63):
            raise OutOfBoundsError(f"{name} names node {abs(array).max():.20g}; expected integers of 64 bits")
        whole = array.astype(np.int64)  # of floats, too: JSON of other languages says 2.0
        return np.ascontiguousarray(whole)

    # --- sorting

    def fans(self, *, self_loops: bool, isolated_loops: bool) -> Fans:
        """The edges by target. ``self_loops``: every node gets one edge to itself in place of those that it has;
        ``isolated_loops``: a node without edges into it gets one."""
        key = "all" if self_loops else "isolated" if isolated_loops else "none"
        if key not in self._fans:
            self._fans[key] = self._sorted(key)
        return self._fans[key]

    def removed_loops(self, *, self_loops: bool) -> Int64Array:
        """The nodes of the caller's edges that ``self_loops`` took away."""
        return self.sources[self.sources == self.targets] if self_loops else np.zeros(0, np.int64)

    def _sorted(self, key: str) -> Fans:
        sources, targets = self.sources, self.targets
        rows, loops = np.arange(self.n_edges), np.zeros(0, np.int64)
        if key == "all":
            kept = sources != targets
            loops = np.arange(self.n_node)
            if not kept.all():
                sources, targets, rows = sources[kept], targets[kept], rows[kept]
        elif key == "isolated":
            loops = np.flatnonzero(tally(targets, minlength=self.n_node) == 0)
        if loops.size:
            sources, targets = np.concatenate([sources, loops]), np.concatenate([targets, loops])
            rows = np.concatenate([rows, self.n_edges + np.arange(loops.size)])
        order = _order_of(targets, self.n_node)
        indptr = np.zeros(self.n_node + 1, np.int64)
        np.cumsum(tally(targets, minlength=self.n_node), out=indptr[1:])
        return Fans(indptr, sources[order], rows[order], loops, self.n_edges)

    # --- neighbourhoods

    def around(self, node: int, hops: int) -> tuple[Int64Array, Int64Array]:
        """The nodes from which ``node`` is reached within so many edges, itself apart, each once and nearest first;
        and how many edges that takes."""
        fans = self.fans(self_loops=False, isolated_loops=False)
        seen = np.zeros(self.n_node, bool)
        seen[node] = True
        rings, frontier = [], np.array([node])
        for _ in range(hops):
            counts = fans.indptr[frontier + 1] - fans.indptr[frontier]
            owner = repeated(np.arange(frontier.size), counts)
            within = np.arange(owner.size) - repeated(np.cumsum(counts) - counts, counts)
            frontier = np.unique(fans.sources[fans.indptr[frontier][owner] + within])
            frontier = frontier[~seen[frontier]]
            if not frontier.size:
                break
            seen[frontier] = True
            rings.append(frontier)
        distance = repeated(np.arange(1, len(rings) + 1), [ring.size for ring in rings])
        return np.concatenate([np.zeros(0, np.int64), *rings]), distance.astype(np.int64)


def _order_of(keys: Int64Array, count: int) -> Int64Array:
    """argsort(keys, kind="stable") of integers below ``count``, by counting, 16 bits at a time."""
    order = np.argsort((keys % RADIX).astype(np.uint16), kind="stable")
    while (count := -(-count // RADIX)) > 1:
        keys = keys // RADIX
        order = order[np.argsort((keys[order] % RADIX).astype(np.uint16), kind="stable")]
    return order
