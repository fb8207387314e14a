"""What the shape of a graph says of its nodes: degrees, PageRank, clustering. Time follows the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import Float32Array
from .graph import Graph, Int64Array
from .layout import repeated, tally

Float64Array = npt.NDArray[np.float64]

STRUCTURAL_FEATURES = ("in_degree", "out_degree", "pagerank", "clustering")
DAMPING = 0.85
TOLERANCE = 1e-10  # of PageRank, summed over the nodes
MOST_STEPS = 200
CHUNK = 1 << 20  # pairs of neighbours that are looked up at a time


def structural_features(graph: Graph) -> Float32Array:
    """(n_node, 4): log(1 + edges in), log(1 + edges out), n_node times the PageRank, the clustering coefficient."""
    into, out = (tally(ends, minlength=graph.n_node) for ends in (graph.targets, graph.sources))
    rank = pagerank(graph) * graph.n_node
    return np.stack([np.log1p(into), np.log1p(out), rank, clustering(graph)], axis=1).astype(np.float32)


def pagerank(graph: Graph) -> Float64Array:
    """(n_node,), summing to 1: how often a walk along edges, which starts anew with 15 %, is at each node (Page et al.,
    1999). A node without edges out starts anew always."""
    n_node = graph.n_node
    out = tally(graph.sources, minlength=n_node)
    rank = np.full(n_node, 1 / n_node)
    for _ in range(MOST_STEPS):
        share = rank / np.maximum(out, 1)
        along = tally(graph.targets, share[graph.sources], n_node)
        moved = DAMPING * (along + rank[out == 0].sum() / n_node) + (1 - DAMPING) / n_node
        change = np.abs(moved - rank).sum()
        rank = moved
        if change < TOLERANCE:
            break
    return rank


def clustering(graph: Graph) -> Float64Array:
    """(n_node,): the share of pairs of a node's neighbours that are neighbours themselves, directions aside."""
    n_node = graph.n_node
    low, high = graph.edge_index.min(axis=0), graph.edge_index.max(axis=0)
    pairs = np.unique((low * n_node + high)[low != high])
    low, high = pairs // n_node, pairs % n_node
    degree: Int64Array = tally(low, minlength=n_node) + tally(high, minlength=n_node)
    triangles = _triangles(low, high, pairs, degree)
    possible = degree * (degree - 1) / 2
    shares: Float64Array = np.divide(triangles, possible, out=np.zeros(n_node), where=possible > 0)
    return shares


def _triangles(low: Int64Array, high: Int64Array, pairs: Int64Array, degree: Any) -> Int64Array:
    """In how many triangles each node is. Edges lead to the end with more neighbours, so that hubs have few."""
    n_node = degree.size
    swap = degree[low] > degree[high]
    start, end = np.where(swap, high, low), np.where(swap, low, high)
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    stop = np.searchsorted(start, start, side="right")  # behind the last edge of the same start
    counts = stop - np.arange(start.size) - 1
    ends = np.cumsum(counts)
    found = np.zeros(n_node, np.int64)
    first = 0
    while first < start.size:
        last = max(first + 1, int(np.searchsorted(ends, (ends[first - 1] if first else 0) + CHUNK)))
        edge = repeated(np.arange(first, last), counts[first:last])
        within = np.arange(edge.size) - repeated(np.cumsum(counts[first:last]) - counts[first:last], counts[first:last])
        a, b = end[edge], end[edge + 1 + within]
        key = np.minimum(a, b) * n_node + np.maximum(a, b)
        at = np.minimum(np.searchsorted(pairs, key), pairs.size - 1)
        closed = pairs[at] == key
        for corner in (start[edge], a, b):
            found += tally(corner[closed], minlength=n_node)
        first = last
    return found
