"""Lists of pairs (query, key), sorted and without repetition, as CSR rows and back."""

from __future__ import annotations

import numpy as np

from ..scoring import Edges
from ..tiles import BoolArray, Int64Array


def edges_of(query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> Edges:
    """CSR rows of pairs in any order; a pair that comes twice is one."""
    place = np.unique(query * np.int64(n_key) + key)
    rows = np.arange(n_query + 1, dtype=np.int64) * n_key
    return Edges(np.searchsorted(place, rows).astype(np.int64), place % n_key)


def pairs_of(edges: Edges) -> tuple[Int64Array, Int64Array]:
    """The queries and the keys."""
    queries = np.arange(edges.indptr.size - 1, dtype=np.int64)
    return np.repeat(queries, np.diff(edges.indptr).astype(np.intp)), edges.indices


def contains(edges: Edges, query: Int64Array, key: Int64Array, n_key: int) -> BoolArray:
    """Whether each of the pairs is among the edges, which are sorted."""
    query_of_edge, key_of_edge = pairs_of(edges)
    return is_among(query * np.int64(n_key) + key, query_of_edge * np.int64(n_key) + key_of_edge)


def is_among(wanted: Int64Array, ascending: Int64Array) -> BoolArray:
    """Whether each number is one of those that ascend."""
    if not ascending.size:
        return np.zeros(np.shape(wanted), bool)
    found: BoolArray = ascending[np.minimum(np.searchsorted(ascending, wanted), ascending.size - 1)] == wanted
    return found
