"""Which pairs of queries and keys exist, as runs of keys for every few queries: what the engine reads of a mask that is
neither a band nor a list of pairs. Memory follows what is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]
Uint64Array = npt.NDArray[np.uint64]

DEFAULT_ROWS = 48
MOST_ROWS = 64  # the bits of a word
FOLD = 4  # keys; what is shorter, empty or full, stays inside a partial run: a run of its own would cost more
CHUNK = 1 << 18  # about the words that one step of combining two masks holds at a time

_LOWEST = np.array([(1 << n) - 1 for n in range(MOST_ROWS + 1)], np.uint64)  # n bits
_ONES_OF_A_BYTE = np.array([byte.bit_count() for byte in range(256)], np.uint8)
_NONE, _FULL, _PARTIAL = 0, 1, 2


class Tiles(NamedTuple):
    """Tile row t holds the queries t * rows .. (t + 1) * rows - 1, and the runs ``runs[indptr[t]:indptr[t + 1]]``.

    A run is (key begin, key end, offset): where the offset is -1, every query of the tile row sees every key of the
    run; elsewhere ``bits[offset + j - key begin]`` holds for key j a bit for each query, the lowest for the first.
    Runs ascend, are not empty and do not overlap; several may lie on the same bits. Bits behind the last query are 0.
    """

    rows: int
    indptr: Int64Array
    runs: Int64Array
    bits: Uint64Array

    @classmethod
    def from_dense_rows(cls, allowed: BoolArray, rows: int = DEFAULT_ROWS) -> Tiles:
        """Of an array (n_query, n_key), True where the query may see the key.

        >>> Tiles.from_dense_rows(np.array([[True, False], [True, True]])).runs.tolist()
        [[0, 2, 0]]
        """
        parts = []
        for first in range(0, allowed.shape[0], rows):
            block = allowed[first : first + rows]
            octets = np.zeros((block.shape[1], MOST_ROWS // 8), np.uint8)
            octets[:, : -(-len(block) // 8)] = np.packbits(block, axis=0, bitorder="little").T
            word = octets.view("<u8")[:, 0].astype(np.uint64)
            parts.append(_encoded(_words(np.zeros(word.size, np.int64), _count_to(word.size), word), rows, len(block)))
        return stacked(parts)

    @classmethod
    def from_edges(cls, indptr: Int64Array, indices: Int64Array, n_key: int, rows: int = DEFAULT_ROWS) -> Tiles:
        """Of CSR rows."""
        n_query = indptr.size - 1
        query, _ = _ranges(np.diff(indptr))
        word = np.uint64(1) << (query % rows).astype(np.uint64)
        return _encoded(_gathered(query // rows, indices, word, n_key), rows, n_query)

    @classmethod
    def from_rectangle(cls, queries: tuple[int, int], keys: tuple[int, int], n_query: int, rows: int) -> Tiles:
        """Where queries begin .. end - 1 see the keys begin .. end - 1, and no other sees any."""
        tile = _count_to(-(-queries[1] // rows) if queries[0] < queries[1] else 0)[queries[0] // rows :]
        begin, end = (np.full(tile.size, key, np.int64) for key in keys)
        return _encoded(_Spans(tile, begin, end, _covered(tile, *queries, rows)), rows, n_query)

    @classmethod
    def from_blocks(cls, blocks: Int64Array, size: int, n_query: int, n_key: int, rows: int) -> Tiles:
        """Where block row a sees block column b for every (a, b) of blocks (n, 2), in blocks of size x size."""
        first, last = blocks[:, 0] * size, np.minimum((blocks[:, 0] + 1) * size, n_query)
        owner, within = _ranges((last - 1) // rows - first // rows + 1)
        tile = first[owner] // rows + within
        word = _covered(tile, first[owner], last[owner], rows)
        spans = _gathered(tile, blocks[owner, 1], word, -(-n_key // size))
        begin = spans.begin * size
        return _encoded(spans._replace(begin=begin, end=np.minimum(begin + size, n_key)), rows, n_query)

    @classmethod
    def sliding(cls, seen: Callable[[Int64Array], BoolArray], n_query: int, n_key: int, rows: int) -> Tiles:
        """Of a mask in which nothing counts but how far the key lies behind the query: ``seen(distance)``.

        Every tile row is the same picture, moved: one picture is drawn, and the runs of all of them lie on its bits.
        """
        whole = n_query // rows
        parts = []
        for first, count, valid in ((0, whole, rows), (whole, 1, n_query % rows)):
            if count and valid:
                position = (first + _count_to(count)) * rows + n_key - n_query  # of the first query, among the keys
                parts.append(_slid(seen, position, n_key, rows, valid))
        return stacked(parts)

    def to_dense(self, n_query: int, n_key: int) -> BoolArray:
        """(n_query, n_key), True where the query may see the key."""
        dense = np.zeros((n_query, n_key), bool)
        for tile, first in enumerate(range(0, n_query, self.rows)):
            begin, end, offset = self.runs[self.indptr[tile] : self.indptr[tile + 1]].T
            valid = min(self.rows, n_query - first)
            owner, within = _ranges(end - begin)
            word = np.full(owner.size, _LOWEST[valid])
            partial = offset[owner] >= 0
            word[partial] = self.bits[(offset[owner] + within)[partial]]
            words = np.zeros(n_key, "<u8")
            words[begin[owner] + within] = word
            octets = words.view(np.uint8).reshape(n_key, -1)
            dense[first : first + valid] = np.unpackbits(octets, axis=1, count=valid, bitorder="little").T
        return dense

    def count(self, n_query: int) -> int:
        """How many pairs there are."""
        begin, end, offset = self.runs.T
        octets = self.bits.view(np.uint8).reshape(-1, MOST_ROWS // 8)
        ones = np.zeros(self.bits.size + 1, np.int64)
        np.cumsum(_ONES_OF_A_BYTE[octets].sum(axis=1), dtype=np.int64, out=ones[1:])
        at = np.maximum(offset, 0)
        partial = ones[np.where(offset < 0, 0, at + end - begin)] - ones[at]
        queries = np.minimum(self.rows, n_query - self.tile_of_run() * self.rows)
        return int(np.where(offset < 0, (end - begin) * queries, partial).sum())

    def tile_of_run(self) -> Int64Array:
        """The tile row of each run."""
        return _ranges(np.diff(self.indptr))[0]

    def intersection(self, other: Tiles, n_query: int) -> Tiles:
        """The pairs that are in both, which have the same ``rows``."""
        return _combined(self, other, n_query, either=False)

    def union(self, other: Tiles, n_query: int) -> Tiles:
        """The pairs that are in one or in both, which have the same ``rows``."""
        return _combined(self, other, n_query, either=True)


def stacked(parts: Sequence[Tiles]) -> Tiles:
    """The tile rows of all parts, one part under the other."""
    if len(parts) == 1:
        return parts[0]
    n_runs = np.cumsum([0, *(len(part.runs) for part in parts)], dtype=np.int64)
    n_bits = np.cumsum([0, *(part.bits.size for part in parts)], dtype=np.int64)
    runs = np.concatenate([part.runs for part in parts])
    added = np.repeat(n_bits[:-1], np.diff(n_runs).astype(np.intp))
    runs[:, 2] += np.where(runs[:, 2] < 0, 0, added)
    indptr = [part.indptr[:-1] + before for part, before in zip(parts, n_runs[:-1], strict=True)]
    return Tiles(
        parts[0].rows, np.concatenate([*indptr, n_runs[-1:]]), runs, np.concatenate([part.bits for part in parts])
    )


class _Spans(NamedTuple):
    """Keys begin .. end - 1 of a tile row, seen by the queries of the word; ascending and disjoint, a line each."""

    tile: Int64Array
    begin: Int64Array
    end: Int64Array
    word: Uint64Array

    def take(self, which: Any) -> _Spans:
        return _Spans(*(column[which] for column in self))


def _count_to(n: int) -> Int64Array:
    return np.arange(n, dtype=np.int64)  # arange alone answers 32 bits in Pyodide


def _ranges(lengths: Int64Array) -> tuple[Int64Array, Int64Array]:
    """For every element of ranges of these lengths, laid end to end: whose it is, and its place in there."""
    owner = np.repeat(_count_to(lengths.size), lengths.astype(np.intp))
    before = np.cumsum(lengths, dtype=np.int64) - lengths
    return owner, _count_to(owner.size) - before[owner]


def _words(tile: Int64Array, key: Int64Array, word: Uint64Array) -> _Spans:
    return _Spans(tile, key, key + 1, word)


def _covered(tile: Int64Array, begin: Int64Array | int, end: Int64Array | int, rows: int) -> Uint64Array:
    """The bits of the queries begin .. end - 1 in the word of a tile row."""
    low, high = (np.clip(edge - tile * rows, 0, rows) for edge in (begin, end))
    word: Uint64Array = _LOWEST[high] & ~_LOWEST[low]
    return word


def _gathered(tile: Int64Array, column: Int64Array, word: Uint64Array, n_column: int) -> _Spans:
    """Words in any order, those of the same tile row and column in one."""
    place = tile * np.int64(n_column) + column
    order = np.argsort(place, kind="stable")
    place, word = place[order], word[order]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    if first.size:
        word = np.bitwise_or.reduceat(word, first)
    return _words(place[first] // n_column, place[first] % n_column, word)


def _encoded(spans: _Spans, rows: int, n_query: int, fold: int = FOLD) -> Tiles:
    """Runs of the spans: full stretches of at least ``fold`` keys, and between them partial runs, across gaps that are
    shorter than that."""
    n_tile = -(-n_query // rows)
    spans = spans.take((spans.word != 0) & (spans.begin < spans.end))
    tile, begin, end, word = spans
    joined = (tile[1:] == tile[:-1]) & (begin[1:] == end[:-1]) & (word[1:] == word[:-1])
    first, last = _stretches(joined, tile.size)
    tile, begin, end, word = spans.take(first)._replace(end=end[last])

    is_full = word == _LOWEST[np.minimum(rows, n_query - tile * rows)]
    apart = is_full & (end - begin >= fold)
    joined = (tile[1:] == tile[:-1]) & (begin[1:] - end[:-1] < fold) & ~apart[1:] & ~apart[:-1]
    first, last = _stretches(joined, tile.size)
    run_begin, run_end = begin[first], end[last]
    full_run = is_full[first] & (first == last)
    width = np.where(full_run, 0, run_end - run_begin)
    offset = np.cumsum(width, dtype=np.int64) - width

    run, _ = _ranges((last - first + 1).astype(np.int64))  # of each span
    partial = ~full_run[run]
    at = (offset[run] + begin - run_begin[run])[partial]
    owner, within = _ranges((end - begin)[partial])
    bits = np.zeros(int(width.sum()), np.uint64)
    bits[at[owner] + within] = word[partial][owner]
    indptr = np.searchsorted(tile[first], _count_to(n_tile + 1)).astype(np.int64)
    return Tiles(rows, indptr, np.stack([run_begin, run_end, np.where(full_run, -1, offset)], axis=1), bits)


def _stretches(joined: BoolArray, n: int) -> tuple[Any, Any]:
    """First and last of each stretch of n elements, of which ``joined`` (n - 1) says who belongs to the one before."""
    if n == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    cuts = np.flatnonzero(~joined)
    return np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [n - 1]])


def _slid(seen: Callable[[Int64Array], BoolArray], position: Int64Array, n_key: int, rows: int, valid: int) -> Tiles:
    """Tile rows of ``valid`` queries, the first of each at ``position`` among the keys."""
    lowest, highest = -int(position[-1]), n_key - int(position[0])  # of a key, from its tile row's position
    n = highest - lowest
    flags = seen(np.arange(1 - highest, valid - lowest, dtype=np.int64))
    word = np.zeros(n, np.uint64)
    for i in range(valid):
        word |= flags[i : i + n][::-1].astype(np.uint64) << np.uint64(i)
    # Nothing is folded: the cut at the first and the last key leaves a run as partial or full as it was.
    picture = _encoded(_words(np.zeros(n, np.int64), _count_to(n), word), rows, valid, fold=1)
    begin, end, offset = picture.runs.T
    moved = -position - lowest  # key 0 in the picture
    first, last = np.searchsorted(end, moved, "right"), np.searchsorted(begin, moved + n_key, "left")
    n_runs = (last - first).astype(np.int64)
    owner, within = _ranges(n_runs)
    run, shift = first[owner] + within, moved[owner]
    key_begin = np.maximum(begin[run] - shift, 0)
    key_end = np.minimum(end[run] - shift, n_key)
    at = np.where(offset[run] < 0, -1, offset[run] + key_begin + shift - begin[run])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_runs, dtype=np.int64)])
    return Tiles(rows, indptr, np.stack([key_begin, key_end, at], axis=1), picture.bits)


def _combined(a: Tiles, b: Tiles, n_query: int, *, either: bool) -> Tiles:
    """A few tile rows at a time, so that what is held besides the result stays small."""
    widest = max([1, *(int(tiles.runs[:, 1].max()) for tiles in (a, b) if len(tiles.runs))])
    step = max(1, CHUNK // widest)
    parts = []
    for first in range(0, a.indptr.size - 1, step):
        queries = min(step * a.rows, n_query - first * a.rows)
        parts.append(_combined_chunk(_few(a, first, step), _few(b, first, step), queries, widest, either))
    return stacked(parts)


def _few(tiles: Tiles, first: int, n: int) -> Tiles:
    indptr = tiles.indptr[first : first + n + 1]
    return tiles._replace(indptr=indptr - indptr[0], runs=tiles.runs[indptr[0] : indptr[-1]])


def _combined_chunk(a: Tiles, b: Tiles, n_query: int, width: int, either: bool) -> Tiles:
    """All tile rows as one line of keys, ``width`` apart, cut wherever a run of either begins or ends."""
    lines = [(t.tile_of_run() * width + t.runs[:, 0], t.tile_of_run() * width + t.runs[:, 1]) for t in (a, b)]
    cuts = np.unique(np.concatenate([edge for line in lines for edge in line]))
    begin, end = cuts[:-1], cuts[1:]
    kinds, places = zip(*(_state(t, *line, begin) for t, line in zip((a, b), lines, strict=True)), strict=True)
    if either:
        keep = (kinds[0] != _NONE) | (kinds[1] != _NONE)
        constant = (kinds[0] == _FULL) | (kinds[1] == _FULL)
    else:
        keep = (kinds[0] != _NONE) & (kinds[1] != _NONE)
        constant = (kinds[0] == _FULL) & (kinds[1] == _FULL)
    owner, within = _ranges(np.where(keep, np.where(constant, 1, end - begin), 0))
    tile = begin[owner] // width
    full = _LOWEST[np.minimum(a.rows, n_query - tile * a.rows)]
    word = full.copy() if not either else np.zeros_like(full)
    for tiles, kind, place in zip((a, b), kinds, places, strict=True):
        mine = np.where(kind[owner] == _FULL, full, np.uint64(0))
        partial = kind[owner] == _PARTIAL
        mine[partial] = tiles.bits[(place[owner] + within)[partial]]
        word = word | mine if either else word & mine
    key = begin[owner] + within - tile * width
    key_end = np.where(constant[owner], end[owner] - tile * width, key + 1)
    return _encoded(_Spans(tile, key, key_end, word), a.rows, n_query)


def _state(tiles: Tiles, starts: Int64Array, ends: Int64Array, begin: Int64Array) -> tuple[Any, Int64Array]:
    """For pieces that begin there: in no run, in a full one, or in a partial one and at which of its bits."""
    if not starts.size:
        return np.full(begin.size, _NONE), np.zeros(begin.size, np.int64)
    run = np.searchsorted(starts, begin, "right") - 1
    inside = (run >= 0) & (begin < ends[run])
    offset = tiles.runs[run, 2]
    kind = np.where(inside, np.where(offset < 0, _FULL, _PARTIAL), _NONE)
    return kind, offset + begin - starts[run]
