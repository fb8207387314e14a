"""Masks that are a rule about positions: query i stands at key i + n_key - n_query."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import Setting, checked_setting
from ..scoring import CAUSAL, UNLIMITED, Band
from ..tiles import BoolArray, Int64Array, Tiles
from .base import AttentionMask


class _DistanceMask(AttentionMask):
    """A rule in which nothing counts but how far the key lies behind the query."""

    @abstractmethod
    def _allows(self, distance: Int64Array) -> BoolArray:
        """Whether a query sees the key that lies that far behind it."""

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        return self._allows(query + np.int64(n_key - n_query) - key)

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        return Tiles.sliding(self._allows, n_query, n_key, rows)


@dataclass(frozen=True, eq=False, repr=False)
class CausalMask(_DistanceMask):
    """Query i sees the keys j <= i + (n_key - n_query).

    >>> CausalMask().to_dense(2, 4).astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 1]])
    """

    name = "causal"

    def _allows(self, distance: Int64Array) -> BoolArray:
        return distance >= 0

    def _band(self, n_query: int, n_key: int) -> Band | None:
        return CAUSAL


@dataclass(frozen=True, eq=False, repr=False)
class WindowMask(AttentionMask):
    """A query at p sees the keys |p - j| <= window and the first ``global_tokens``, which themselves see all keys.

    With ``causal``, none sees a key behind its own place. (Beltagy et al., 2020, arXiv:2004.05150)

    Raises: InvalidConfigError

    >>> WindowMask(1, global_tokens=1).to_dense(4, 4).astype(int)
    array([[1, 1, 1, 1],
           [1, 1, 1, 0],
           [1, 1, 1, 1],
           [1, 0, 1, 1]])
    """

    window: int
    global_tokens: int = 0
    causal: bool = False

    name = "window"

    def __post_init__(self) -> None:
        _check(self, "window", int, at_least=0)
        _check(self, "global_tokens", int, at_least=0)
        _check(self, "causal", bool)

    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        position = query + np.int64(n_key - n_query)
        tokens = min(self.global_tokens, n_key)
        seen: BoolArray = (key < tokens) | ((position >= 0) & (position < tokens))
        if self.causal:
            seen &= key <= position
        return seen | self._near(position - key)

    def _near(self, distance: Int64Array) -> BoolArray:
        window = min(self.window, UNLIMITED)
        near: BoolArray = (distance <= window) & (distance >= (0 if self.causal else -window))
        return near

    def _band(self, n_query: int, n_key: int) -> Band | None:
        if self.global_tokens and not self.causal and self.window == 0:
            return None  # a band that does not look ahead is causal, its global tokens included
        window = min(self.window, UNLIMITED)
        return Band(window, 0 if self.causal else window, min(self.global_tokens, n_key))

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        near = Tiles.sliding(self._near, n_query, n_key, rows)
        tokens = min(self.global_tokens, n_key)
        if not tokens:
            return near
        first = n_query - n_key  # query at key 0
        of_tokens = (max(first, 0), max(first + tokens, 0))
        seen = Tiles.from_rectangle((0, n_query), (0, tokens), n_query, rows)
        seen = seen.union(Tiles.from_rectangle(of_tokens, (0, n_key), n_query, rows), n_query)
        if self.causal:
            seen = seen.intersection(CausalMask()._as_tiles(n_query, n_key, rows), n_query)
        return seen.union(near, n_query)


@dataclass(frozen=True, eq=False, repr=False)
class StridedMask(_DistanceMask):
    """A query at p sees the keys j <= p with p - j <= window, and with (p - j) mod stride = 0.

    Both heads of the strided sparse transformer in one (Child et al., 2019, arXiv:1904.10509); with window = stride
    about the square root of n_key, every key is two steps away.

    Raises: InvalidConfigError

    >>> StridedMask(window=1, stride=3).to_dense(5, 5).astype(int)
    array([[1, 0, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [0, 1, 1, 0, 0],
           [1, 0, 1, 1, 0],
           [0, 1, 0, 1, 1]])
    """

    window: int
    stride: int

    name = "strided"

    def __post_init__(self) -> None:
        _check(self, "window", int, at_least=0)
        _check(self, "stride", int, at_least=1)

    def _allows(self, distance: Int64Array) -> BoolArray:
        window, stride = min(self.window, UNLIMITED), min(self.stride, UNLIMITED)
        allowed: BoolArray = (distance >= 0) & ((distance <= window) | (distance % stride == 0))
        return allowed


def _check(mask: Any, name: str, kind: type, at_least: int | None = None) -> None:
    value = checked_setting(name, getattr(mask, name), kind, Setting("", at_least=at_least))
    object.__setattr__(mask, name, value)  # frozen: only here, before anyone sees it
