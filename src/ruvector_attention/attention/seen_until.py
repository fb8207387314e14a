"""Rows that see all keys up to one of their own: causal attention where queries stand apart, or have times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..layout import repeated
from ..masks import AttentionMask
from ..tiles import MOST_ROWS, BoolArray, Int64Array, Tiles

_ONES = np.array([(1 << n) - 1 for n in range(MOST_ROWS + 1)], np.uint64)  # the n lowest bits


@dataclass(frozen=True, eq=False, repr=False)
class SeenUntil(AttentionMask):
    """Query i sees the first counts[i] keys; counts do not fall."""

    counts: Int64Array

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        seen: BoolArray = key < self.counts[query]
        return seen

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        """All that the first query of a tile row sees is full; what the last one sees beyond is drawn."""
        first = np.arange(0, n_query, rows)
        count = np.minimum(rows, n_query - first)
        counts = self.counts.astype(np.int64)  # as they come, NumPy's own integers, which may have 32 bits
        low, high = counts[first], counts[first + count - 1]
        drawn = high - low
        owner = repeated(np.arange(first.size), drawn)
        offset = np.cumsum(drawn) - drawn
        key = np.arange(owner.size) - offset[owner] + low[owner]
        # the queries of the tile row that see a key are those from some place on: bits from there on
        place = np.searchsorted(counts, key, side="right") - first[owner]
        bits = _ONES[count[owner]] & ~_ONES[place]
        runs = np.stack([np.zeros_like(low), low, np.full_like(low, -1), low, high, offset], axis=1).reshape(-1, 3)
        kept = np.stack([low > 0, drawn > 0], axis=1)
        indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64)
        return Tiles(rows, indptr, runs[kept.reshape(-1)], bits)
