"""Masks that are given pair by pair or block by block. Indices are those of the queries and keys themselves."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike, as_array
from ..config import Setting, checked_setting
from ..errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from ..scoring import Edges
from ..tiles import DEFAULT_ROWS, MOST_ROWS, BoolArray, Int64Array, Tiles
from .base import AttentionMask
from .pairs import contains, edges_of, is_among, pairs_of

FEWEST_ROWS = 16  # of a tile row, about: fewer would leave a vector unit idle


@dataclass(frozen=True, eq=False, repr=False)
class DenseMask(AttentionMask):
    """Query i sees key j where allowed (n_query, n_key), bool, says so; packed to a bit for each pair.

    Raises: DimensionMismatchError, UnsupportedError

    >>> mask = DenseMask([[True, False], [True, True]])
    >>> mask == DenseMask(mask.to_dense(2, 2))
    True
    """

    allowed: Any

    name = "dense"

    def __post_init__(self) -> None:
        array = as_array("allowed", self.allowed)
        if array.dtype != np.bool_:
            raise UnsupportedError(f"allowed is an array of {array.dtype.name}; expected bool (True = may attend)")
        if array.ndim != 2:
            raise DimensionMismatchError(f"allowed is {array.shape}; expected (n_query, n_key)", actual=array.shape)
        _keep(self, "allowed", array)

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        seen: BoolArray = self.allowed[query, key]
        return seen

    def _check(self, n_query: int, n_key: int) -> None:
        if self.allowed.shape != (n_query, n_key):
            raise DimensionMismatchError(
                f"DenseMask.allowed is {self.allowed.shape}; expected (n_query, n_key) = {(n_query, n_key)}",
                expected=(n_query, n_key),
                actual=self.allowed.shape,
            )

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        return Tiles.from_dense_rows(self.allowed, rows)


@dataclass(frozen=True, eq=False, repr=False)
class BlockSparseMask(AttentionMask):
    """Query i sees key j where (i // block_size, j // block_size) is one of active_blocks (n_blocks, 2).

    The last block of a row or column may be cut off. (Gray et al., 2017, GPU kernels for block-sparse weights)

    Raises: DimensionMismatchError, InvalidConfigError, OutOfBoundsError, UnsupportedError

    >>> BlockSparseMask(2, [(0, 0), (1, 0), (1, 1)]).to_dense(3, 4).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [1, 1, 1, 1]])
    """

    block_size: int
    active_blocks: Any

    name = "block_sparse"

    def __post_init__(self) -> None:
        size = checked_setting("block_size", self.block_size, int, Setting("", at_least=1))
        object.__setattr__(self, "block_size", size)
        _keep(self, "active_blocks", _pairs("active_blocks", self.active_blocks, "(row of blocks, column of blocks)"))

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        columns = np.int64(-(-n_key // self.block_size))
        blocks = self.active_blocks[:, 0] * columns + self.active_blocks[:, 1]
        return is_among(query // self.block_size * columns + key // self.block_size, blocks)

    def _check(self, n_query: int, n_key: int) -> None:
        _check_pairs("BlockSparseMask.active_blocks", self.active_blocks, n_query, n_key, self.block_size)

    def _rows(self) -> int:
        """A tile row lies in one row of blocks where it can, which leaves every run full; small blocks share one."""
        size = self.block_size
        if size < FEWEST_ROWS:
            return FEWEST_ROWS // size * size
        return next((rows for rows in range(MOST_ROWS, FEWEST_ROWS - 1, -1) if size % rows == 0), DEFAULT_ROWS)

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        return Tiles.from_blocks(self.active_blocks, self.block_size, n_query, n_key, rows)


class _ListMask(AttentionMask):
    """A list of pairs: time and memory follow their number."""

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        return contains(self._edges(n_query, n_key), query, key, n_key)

    @abstractmethod
    def _edges(self, n_query: int, n_key: int) -> Edges:
        """The pairs as CSR rows."""

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        edges = self._edges(n_query, n_key)
        return Tiles.from_edges(edges.indptr, edges.indices, n_key, rows)


@dataclass(frozen=True, eq=False, repr=False)
class COOMask(_ListMask):
    """Query i sees key j where (i, j) is one of pairs (n_pairs, 2); a pair that comes twice is one.

    Raises: DimensionMismatchError, OutOfBoundsError, UnsupportedError

    >>> COOMask([(0, 1), (1, 0), (1, 2)]).to_dense(2, 3).astype(int)
    array([[0, 1, 0],
           [1, 0, 1]])
    """

    pairs: Any

    name = "coo"

    def __post_init__(self) -> None:
        _keep(self, "pairs", _pairs("pairs", self.pairs, "(query, key)"))

    def _check(self, n_query: int, n_key: int) -> None:
        _check_pairs("COOMask.pairs", self.pairs, n_query, n_key)

    def _edges(self, n_query: int, n_key: int) -> Edges:
        return edges_of(self.pairs[:, 0], self.pairs[:, 1], n_query, n_key)


@dataclass(frozen=True, eq=False, repr=False)
class CSRMask(_ListMask):
    """Query i sees the keys indices[indptr[i]:indptr[i + 1]], as in scipy.sparse; each row is sorted and made unique.

    Raises: DimensionMismatchError, OutOfBoundsError, UnsupportedError

    >>> CSRMask(indptr=[0, 1, 3], indices=[1, 0, 2]).to_dense(2, 3).astype(int)
    array([[0, 1, 0],
           [1, 0, 1]])
    """

    indptr: Any
    indices: Any

    name = "csr"

    def __post_init__(self) -> None:
        indptr, indices = _indices("indptr", self.indptr), _indices("indices", self.indices)
        for name, array, shape in (("indptr", indptr, "(n_query + 1,)"), ("indices", indices, "(n_pairs,)")):
            if array.ndim != 1 or (name == "indptr" and array.size < 2):
                raise DimensionMismatchError(f"{name} is {array.shape}; expected {shape}", actual=array.shape)
        if indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any():
            raise OutOfBoundsError(
                f"indptr runs from {indptr[0]} to {indptr[-1]}; expected to rise from 0 to {indices.size}, "
                "the length of indices"
            )
        pairs = _sorted(np.stack(pairs_of(Edges(indptr, indices)), axis=1))
        _keep(self, "indptr", np.searchsorted(pairs[:, 0], np.arange(indptr.size)).astype(np.int64))
        _keep(self, "indices", pairs[:, 1])

    def _check(self, n_query: int, n_key: int) -> None:
        if self.indptr.size != n_query + 1:
            raise DimensionMismatchError(
                f"CSRMask.indptr is {self.indptr.shape}; expected (n_query + 1,) with n_query = {n_query}",
                expected=(n_query + 1,),
                actual=self.indptr.shape,
            )
        if self.indices.size and self.indices.max() >= n_key:
            raise OutOfBoundsError(f"CSRMask.indices holds {self.indices.max()}; expected 0 to n_key - 1 = {n_key - 1}")

    def _edges(self, n_query: int, n_key: int) -> Edges:
        return Edges(self.indptr, self.indices)


def _indices(name: str, value: ArrayLike) -> Int64Array:
    array = as_array(name, value)
    if array.size == 0:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind not in "iu":
        raise UnsupportedError(f"{name} is an array of {array.dtype.name}; expected integers")
    indices = array.astype(np.int64)
    if indices.min() < 0:
        raise OutOfBoundsError(f"{name} holds {indices.min()}; expected indices from 0 on")
    return indices


def _pairs(name: str, value: ArrayLike, words: str) -> Int64Array:
    """(n, 2), sorted, each pair once."""
    array = _indices(name, value)
    if array.size == 0:
        return np.zeros((0, 2), np.int64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise DimensionMismatchError(f"{name} is {array.shape}; expected (n, 2), pairs {words}", actual=array.shape)
    return _sorted(array)


def _sorted(pairs: Int64Array) -> Int64Array:
    """By row, then by column, each pair once."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    is_new = np.ones(len(pairs), bool)
    is_new[1:] = (np.diff(pairs, axis=0) != 0).any(axis=1)
    return pairs[is_new]


def _check_pairs(name: str, pairs: Int64Array, n_query: int, n_key: int, size: int = 1) -> None:
    for column, what, n in ((0, "n_query", n_query), (1, "n_key", n_key)):
        end = -(-n // size)
        if len(pairs) and pairs[:, column].max() >= end:
            pair = tuple(pairs[pairs[:, column].argmax()].tolist())
            blocks = f" in blocks of {size}" if size > 1 else ""
            raise OutOfBoundsError(f"{name} holds {pair}; expected less than {end} there, from {what} = {n}{blocks}")


def _keep(mask: AttentionMask, name: str, array: npt.NDArray[Any]) -> None:
    """A copy of its own that nobody can write to."""
    array = np.array(array, order="C")
    array.setflags(write=False)
    object.__setattr__(mask, name, array)
