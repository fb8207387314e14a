"""What every mask object can do."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias

import numpy as np

from ..config import Setting, checked_setting
from ..errors import InvalidConfigError, UnsupportedError
from ..scoring import Band, Edges
from ..suggest import did_you_mean
from ..tiles import DEFAULT_ROWS, BoolArray, Int64Array, Tiles, stacked

if TYPE_CHECKING:
    from .combined import IntersectionMask, UnionMask

#: What the engine reads of a mask.
Plan: TypeAlias = Band | Edges | Tiles

LONGEST_REPR = 1000  # elements of an array that are written out

_MASKS: dict[str, type[AttentionMask]] = {}


class Tile(NamedTuple):
    """Queries query_begin .. query_end - 1 and keys key_begin .. key_end - 1, where not all is empty."""

    query_begin: int
    query_end: int
    key_begin: int
    key_end: int
    is_full: bool  # every pair may attend


class AttentionMask(ABC):
    """Which query may see which key. Wherever a mask is accepted, one of these is; ``&`` and ``|`` combine them.

    Masks are values: they do not change, equal ones compare equal and hash alike, ``repr`` evaluates back (but for
    long lists), and ``to_config`` and ``from_config`` go through JSON. Query i stands at key i + n_key - n_query.

    What a mask hides from every query of a call has no part in the result. Whether NaN or infinity there is an error
    depends on whether it is met: a window over many keys would cost what it saves if all of them were looked at.

    A mask of your own is a frozen dataclass (``eq=False, repr=False`` keep what is here) with a ``name`` and
    ``sees``; it is then evaluated a few queries at a time, once for each pair of sizes.

    >>> import ruvector_attention as ra
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class EvenKeysMask(ra.AttentionMask):
    ...     name = "even_keys"
    ...
    ...     def sees(self, query, key, n_query, n_key):
    ...         return key % 2 == 0
    >>> (EvenKeysMask() & ra.WindowMask(1)).to_dense(3, 3).astype(int)
    array([[1, 0, 0],
           [1, 0, 1],
           [0, 0, 1]])
    """

    name: ClassVar[str]

    __array_ufunc__ = None  # or NumPy would combine an array with a mask element by element

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name = cls.__dict__.get("name")
        if name is None:
            return
        holder = _MASKS.get(name)
        if holder and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidConfigError(f"{cls.__qualname__} is named '{name}', as {holder.__qualname__} is already")
        _MASKS[name] = cls

    @abstractmethod
    def sees(self, query: Int64Array, key: Int64Array, n_query: int, n_key: int) -> BoolArray:
        """Whether query i may see key j, for indices that broadcast against each other."""

    def to_dense(self, n_query: int, n_key: int) -> BoolArray:
        """(n_query, n_key), True where the query may see the key.

        >>> import ruvector_attention as ra
        >>> ra.CausalMask().to_dense(2, 3).astype(int)
        array([[1, 1, 0],
               [1, 1, 1]])
        """
        n_query, n_key = _sizes(n_query, n_key)
        return self._tiled(n_query, n_key).to_dense(n_query, n_key)

    def count_nonzero(self, n_query: int, n_key: int | None = None) -> int:
        """How many pairs may attend, for n_query queries and as many keys unless n_key is given.

        >>> import ruvector_attention as ra
        >>> ra.CausalMask().count_nonzero(100_000)
        5000050000
        """
        n_query, n_key = _sizes(n_query, n_query if n_key is None else n_key)
        plan = self.plan(n_query, n_key)
        return plan.indices.size if isinstance(plan, Edges) else self._tiled(n_query, n_key).count(n_query)

    def tiles(self, n_query: int, n_key: int) -> Iterator[Tile]:
        """What is not empty, as tiles that do not overlap, in the order of queries, then keys.

        >>> import ruvector_attention as ra
        >>> for tile in (ra.CausalMask() & ra.WindowMask(20)).tiles(96, 96):
        ...     print(*tile)
        0 48 0 48 False
        48 96 28 96 False
        """
        n_query, n_key = _sizes(n_query, n_key)
        plan = self._tiled(n_query, n_key)
        for tile, (begin, end, offset) in zip(plan.tile_of_run().tolist(), plan.runs.tolist(), strict=True):
            first = tile * plan.rows
            yield Tile(first, min(first + plan.rows, n_query), begin, end, offset < 0)

    def plan(self, n_query: int, n_key: int) -> Plan:
        """What the engine reads: a Band, Edges or Tiles. The last one is kept, for calls of the same sizes."""
        n_query, n_key = _sizes(n_query, n_key)
        self._check(n_query, n_key)
        kept: tuple[int, int, Plan] | None = self.__dict__.get("_kept")
        if kept is None or kept[:2] != (n_query, n_key):
            plan = self._plan(n_query, n_key)
            for array in plan:
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)
            kept = (n_query, n_key, plan)
            self.__dict__["_kept"] = kept
        return kept[2]

    def to_config(self) -> dict[str, Any]:
        """Plain JSON values, from which ``AttentionMask.from_config`` makes an equal mask.

        >>> import ruvector_attention as ra
        >>> ra.WindowMask(4, global_tokens=1).to_config()
        {'type': 'window', 'window': 4, 'global_tokens': 1, 'causal': False}
        """
        return {"type": self.name, **{name: _plain(getattr(self, name)) for name in _settings(type(self))}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AttentionMask:
        """The mask that ``to_config`` described; arrays are accepted in the place of lists.

        >>> import ruvector_attention as ra
        >>> ra.AttentionMask.from_config({"type": "window", "window": 4})
        WindowMask(window=4, global_tokens=0, causal=False)
        """
        if not isinstance(config, Mapping):
            raise UnsupportedError(f"a mask's config is {type(config).__name__}; expected a mapping with a 'type'")
        settings = dict(config)
        name = settings.pop("type", None)
        found = _MASKS.get(name) if isinstance(name, str) else None
        if found is None:
            raise InvalidConfigError(f"a mask's type is {name!r}{did_you_mean(name, _MASKS)}")
        known = _settings(found)
        for setting in settings:
            if setting not in known:
                raise InvalidConfigError(f"{found.__name__} has no setting '{setting}'{did_you_mean(setting, known)}")
        for setting, is_needed in known.items():
            if is_needed and setting not in settings:
                raise InvalidConfigError(f"{found.__name__} needs the setting '{setting}'")
        return found._from_settings(settings)

    def __and__(self, other: AttentionMask) -> IntersectionMask:
        from .combined import IntersectionMask  # which is made of this class

        return IntersectionMask((self, operand("&", other)))

    def __or__(self, other: AttentionMask) -> UnionMask:
        from .combined import UnionMask

        return UnionMask((self, operand("|", other)))

    def __rand__(self, other: object) -> AttentionMask:
        return operand("&", other) & self

    def __ror__(self, other: object) -> AttentionMask:
        return operand("|", other) | self

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, AttentionMask)
        return self is other or self._identity == other._identity

    def __hash__(self) -> int:
        return hash((type(self), self._identity))

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in _settings(type(self))}
        if any(isinstance(value, np.ndarray) and value.size > LONGEST_REPR for value in settings.values()):
            words = [f"{k} {v.shape}" if isinstance(v, np.ndarray) else f"{k}={v!r}" for k, v in settings.items()]
            return f"<{type(self).__name__} of {', '.join(words)}>"
        return f"{type(self).__name__}({', '.join(f'{name}={_plain(value)!r}' for name, value in settings.items())})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan: whoever receives the mask makes it again."""
        return {name: value for name, value in self.__dict__.items() if name in _settings(type(self))}

    @functools.cached_property
    def _identity(self) -> tuple[Any, ...]:
        values = (getattr(self, name) for name in _settings(type(self)))
        return tuple((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings)

    def _check(self, n_query: int, n_key: int) -> None:  # noqa: B027  not every mask has something to refuse
        """Refuse sizes that the mask does not fit; a rule fits any."""

    def _edges(self, n_query: int, n_key: int) -> Edges | None:
        """The pairs, if they are listed, so that time can follow their number."""
        return None

    def _band(self, n_query: int, n_key: int) -> Band | None:
        """The mask as a band, if it is one."""
        return None

    def _rows(self) -> int:
        """Queries of a tile row."""
        return DEFAULT_ROWS

    def _plan(self, n_query: int, n_key: int) -> Plan:
        edges = self._edges(n_query, n_key)
        if edges is not None:
            return edges
        return self._band(n_query, n_key) or self._as_tiles(n_query, n_key, self._rows())

    def _tiled(self, n_query: int, n_key: int) -> Tiles:
        plan = self.plan(n_query, n_key)
        return plan if isinstance(plan, Tiles) else self._as_tiles(n_query, n_key, self._rows())

    def _as_tiles(self, n_query: int, n_key: int, rows: int) -> Tiles:
        """The mask in tile rows of that many queries."""
        queries, keys = np.arange(n_query, dtype=np.int64)[:, None], np.arange(n_key, dtype=np.int64)
        parts = []
        for first in range(0, n_query, rows):
            block = queries[first : first + rows]
            seen = np.broadcast_to(self.sees(block, keys, n_query, n_key), (len(block), n_key))
            parts.append(Tiles.from_dense_rows(seen, rows))
        return stacked(parts)


def operand(sign: str, value: object) -> AttentionMask:
    if not isinstance(value, AttentionMask):
        raise UnsupportedError(
            f"one side of {sign} is {type(value).__name__}; expected a mask object (DenseMask(array) makes one)"
        )
    return value


def _settings(cls: type[AttentionMask]) -> dict[str, bool]:
    """The names of a mask's settings, and whether one must be given."""
    return {field.name: field.default is MISSING for field in fields(cls)} if is_dataclass(cls) else {}


def _sizes(n_query: int, n_key: int) -> tuple[int, int]:
    rule = Setting("", at_least=1)
    return checked_setting("n_query", n_query, int, rule), checked_setting("n_key", n_key, int, rule)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
