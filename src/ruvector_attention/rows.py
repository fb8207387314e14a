"""The rows behind a Memory: buffers with room behind them, and what one call reads of them.

What a call has begun to read never changes under it: an append writes behind the last row that anyone sees, dropping
the oldest rows moves the beginning, and everything else (no room left, rows dropped from the middle) goes on in a new
store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from . import engine
from .arrays import Float32Array, aligned_empty

if TYPE_CHECKING:
    from .base import Attention

IntArray = npt.NDArray[np.int64]
RowMap = Callable[[Float32Array], Float32Array]


class Rows:
    """The rows of a Memory at one moment, which never change: what one call reads."""

    __slots__ = ("count", "dim", "ids", "keys", "start", "stop", "store", "values")

    def __init__(self, store: Store, start: int, stop: int) -> None:
        self.store, self.start, self.stop = store, start, stop
        self.count, self.dim = stop - start, store.keys.shape[1]
        self.keys = _view(store.keys, start, stop)
        self.values = self.keys if store.values_are_keys else _view(store.values, start, stop)
        self.ids: IntArray = _view(store.ids, start, stop)

    def __len__(self) -> int:
        return self.count

    def unit_keys(self, dim: int) -> Float32Array:
        """The keys, each group of ``dim`` channels scaled to length 1; computed once a row."""
        return self._column(self.store, f"unit_{dim}", self.store.keys, lambda keys: engine.normalize_rows(keys, dim))

    def mapped(self, owner: Attention) -> tuple[Float32Array, Float32Array] | None:
        """Keys and values as the mechanism maps them, if ``Memory.project`` keeps them for it; once a row."""
        if owner not in self.store.columns:
            return None
        return (
            self._column(owner, "keys", self.store.keys, lambda keys: owner._memory_maps()["keys"](keys)),
            self._column(owner, "values", self.store.values, lambda values: owner._memory_maps()["values"](values)),
        )

    def _column(self, owner: object, name: str, source: Float32Array, make: RowMap) -> Float32Array:
        """What ``make`` makes of the source's rows; of each row once, when it is first asked for."""
        store = self.store
        column = store.columns.setdefault(owner, {}).get(name)
        if column is None or column.filled < self.stop:
            with store.filling:
                column = store.columns.setdefault(owner, {}).get(name)
                filled = 0 if column is None else column.filled
                if filled < self.stop:
                    made = make(source[filled : self.stop])
                    if column is None:
                        column = _Column(aligned_empty(store.capacity, made.shape[1]))
                    column.array[filled : self.stop] = made
                    column.filled = self.stop
                    store.columns[owner][name] = column
        assert column is not None
        return column.array[self.start : self.stop]


class _Column:
    """Something made from each row, for the first ``filled`` rows of a store."""

    __slots__ = ("array", "filled")

    def __init__(self, array: Float32Array, filled: int = 0) -> None:
        self.array, self.filled = array, filled


class Store:
    """Buffers of one capacity. A row that was written is never written again."""

    def __init__(self, capacity: int, dim: int, dim_value: int | None) -> None:
        self.capacity = capacity
        self.values_are_keys = dim_value is None
        self.keys = aligned_empty(capacity, dim)
        self.values = self.keys if dim_value is None else aligned_empty(capacity, dim_value)
        self.ids: IntArray = np.empty(capacity, np.int64)
        self.filling = threading.Lock()
        #: What is kept for a mechanism, by name; what every mechanism may use is the store's own.
        self.columns: WeakKeyDictionary[object, dict[str, _Column]] = WeakKeyDictionary()

    def write(self, at: int, keys: Float32Array, values: Float32Array | None, ids: IntArray) -> None:
        rows = slice(at, at + len(keys))
        self.keys[rows] = keys
        if values is not None:
            self.values[rows] = values
        self.ids[rows] = ids

    @property
    def nbytes(self) -> int:
        own = self.keys.nbytes + self.ids.nbytes + (0 if self.values_are_keys else self.values.nbytes)
        return own + sum(column.array.nbytes for owned in list(self.columns.values()) for column in owned.values())


def renewed(rows: Rows, stay: IntArray, capacity: int) -> Rows:
    """The rows at these places in a new store, with all that is kept of them."""
    old = rows.store
    new = Store(capacity, old.keys.shape[1], None if old.values_are_keys else old.values.shape[1])
    count = stay.size
    new.write(0, old.keys[stay], None if old.values_are_keys else old.values[stay], old.ids[stay])
    with old.filling:
        for owner, columns in list(old.columns.items()):
            kept = new.columns.setdefault(new if owner is old else owner, {})
            for name, column in columns.items():
                made = stay[stay < column.filled]
                array = aligned_empty(capacity, column.array.shape[1])
                array[: made.size] = column.array[made]
                kept[name] = _Column(array, made.size)
    return Rows(new, 0, count)


def _view(array: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    view = array[start:stop]
    view.flags.writeable = False
    return view
