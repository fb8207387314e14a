"""Masks made of masks: ``a & b`` and ``a | b``, never written out pair by pair."""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import InvalidConfigError, UnsupportedError
from ..scoring import UNLIMITED, Band, Edges
from ..tiles import DEFAULT_ROWS, BoolArray, Int64Array, Tiles
from .base import AttentionMask, operand
from .pairs import edges_of, pairs_of


@dataclass(frozen=True, eq=False, repr=False)
class _CombinedMask(AttentionMask):
    masks: tuple[AttentionMask, ...]

    _sign: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.masks, list | tuple):
            raise UnsupportedError(f"masks is {type(self.masks).__name__}; expected a tuple of mask objects")
        flat: list[AttentionMask] = []
        for mask in self.masks:
            flat.extend(mask.masks if isinstance(mask, type(self)) else [operand(self._sign, mask)])
        if len(flat) < 2:
            raise InvalidConfigError(f"masks holds {len(flat)}; expected at least 2")
        object.__setattr__(self, "masks", tuple(flat))

    def to_config(self) -> dict[str, Any]:
        return {"type": self.name, "masks": [mask.to_config() for mask in self.masks]}

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Self:
        masks = settings["masks"]
        if not isinstance(masks, list | tuple):
            raise UnsupportedError(f"masks is {type(masks).__name__}; expected a list of configs")
        return cls(tuple(AttentionMask.from_config(config) for config in masks))

    def __repr__(self) -> str:
        return f" {self._sign} ".join(f"({m!r})" if isinstance(m, _CombinedMask) else repr(m) for m in self.masks)

    def _rows(self) -> int:
        return next((rows for mask in self.masks if (rows := mask._rows()) != DEFAULT_ROWS), DEFAULT_ROWS)

    def _check(self, n_query: int, n_key: int) -> None:
        for mask in self.masks:
            mask._check(n_query, n_key)

    def _band(self, n_query: int, n_key: int) -> Band | None:
        combined: Band | None = None
        for mask in self.masks:
            band = mask._band(n_query, n_key)
            if band is not None and combined is not None:
                band = self._band_of(combined, band)
            if band is None:
                return None
            combined = band
        return combined

    @staticmethod
    @abstractmethod
    def _band_of(a: Band, b: Band) -> Band | None:
        """Both in one band, if there is one."""


class IntersectionMask(_CombinedMask):
    """Where all of the masks allow it: what ``a & b`` makes. With a list among them, time follows the list.

    >>> import ruvector_attention as ra
    >>> mask = ra.WindowMask(1) & ra.CausalMask()
    >>> mask
    WindowMask(window=1, global_tokens=0, causal=False) & CausalMask()
    >>> mask.to_dense(3, 3).astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 1, 1]])
    """

    name = "and"
    _sign = "&"

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        return functools.reduce(np.logical_and, (mask.sees(query, key, n_query, n_key) for mask in self.masks))

    def _edges(self, n_query: int, n_key: int) -> Edges | None:
        lists = [(edges, mask) for mask in self.masks if (edges := mask._edges(n_query, n_key)) is not None]
        if not lists:
            return None
        shortest, listed = min(lists, key=lambda pair: pair[0].indices.size)
        query, key = pairs_of(shortest)
        for mask in self.masks:
            if mask is not listed:
                kept = mask.sees(query, key, n_query, n_key)
                query, key = query[kept], key[kept]
        return edges_of(query, key, n_query, n_key)

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        edges = self._edges(n_query, n_key)
        if edges is not None:
            return Tiles.from_edges(edges.indptr, edges.indices, n_key, rows)
        parts = (mask._as_tiles(n_query, n_key, rows) for mask in self.masks)
        return functools.reduce(lambda a, b: a.intersection(b, n_query), parts)

    @staticmethod
    def _band_of(a: Band, b: Band) -> Band | None:
        if not (a.global_tokens or b.global_tokens):
            return Band(min(a.behind, b.behind), min(a.ahead, b.ahead))
        for one, other in ((a, b), (b, a)):  # a causal band's global tokens end at the query too
            if one == Band(UNLIMITED, 0):
                return other._replace(ahead=0)
        return None


class UnionMask(_CombinedMask):
    """Where any of the masks allows it: what ``a | b`` makes.

    >>> import ruvector_attention as ra
    >>> mask = ra.COOMask([(0, 2)]) | ra.CausalMask()
    >>> mask.to_dense(3, 3).astype(int)
    array([[1, 0, 1],
           [1, 1, 0],
           [1, 1, 1]])
    """

    name = "or"
    _sign = "|"

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        return functools.reduce(np.logical_or, (mask.sees(query, key, n_query, n_key) for mask in self.masks))

    def _edges(self, n_query: int, n_key: int) -> Edges | None:
        lists = []
        for mask in self.masks:
            edges = mask._edges(n_query, n_key)
            if edges is None:
                return None
            lists.append(pairs_of(edges))
        query, key = (np.concatenate(column) for column in zip(*lists, strict=True))
        return edges_of(query, key, n_query, n_key)

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        parts = (mask._as_tiles(n_query, n_key, rows) for mask in self.masks)
        return functools.reduce(lambda a, b: a.union(b, n_query), parts)

    @staticmethod
    def _band_of(a: Band, b: Band) -> Band | None:
        # where one is causal, its global tokens end at the query, and those of the other need not
        alike = (a.ahead > 0) == (b.ahead > 0) or not (a.global_tokens or b.global_tokens)
        return Band(*map(max, a, b)) if alike else None
