"""Memory: keys and values that stay, checked and laid out once, so that each query pays for the query alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from . import checkpoint
from .arrays import ArrayLike, Float32Array, as_array, as_float32, require_finite
from .errors import (
    DimensionMismatchError,
    InvalidConfigError,
    OutOfBoundsError,
    UnsupportedError,
)
from .rows import IntArray, Rows, Store, renewed

if TYPE_CHECKING:
    from .base import Attention
    from .options import Bias, CheckFinite, KeyLengths, Mask, Out

#: Keys as an array, or a Memory in the place of keys and values.
KeysLike: TypeAlias = Any

FULL = 0.75  # a buffer that would be fuller than this is followed by one of twice its size
LEAST_CAPACITY = 16


class Memory:
    """A bank of keys and values that lives on, to be given to a mechanism in place of both.

    Shapes: keys (n_key, dim), values (n_key, dim_value); without values the keys are brought back themselves.
    ``capacity`` is the number of rows for which there is room from the start; more is made when it is needed.

    >>> memory = Memory([[1, 0], [0, 1]], [[1, 2, 3], [4, 5, 6]])
    >>> memory.append([[1, 1]], [[7, 8, 9]])
    array([2])
    >>> memory.evict(oldest=1)
    1
    >>> memory
    Memory(2 rows, dim=2, dim_value=3)
    >>> import ruvector_attention as ra
    >>> ra.ScaledDotProductAttention(dim=2)([0, 0], memory)
    array([5.5, 6.5, 7.5], dtype=float32)

    Any number of threads may read while one or more append and evict: a call reads the rows of the moment at which
    it began. ``keys``, ``values`` and ``ids`` are views of that kind too.

    Raises: DimensionMismatchError, UnsupportedError, NumericalInstabilityError, InvalidConfigError.
    """

    def __init__(self, keys: ArrayLike, values: ArrayLike | None = None, *, capacity: int | None = None) -> None:
        key_rows, value_rows = _checked_rows(keys, values)
        count = len(key_rows)
        if capacity is None:
            capacity = count
        elif isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < count:
            raise InvalidConfigError(f"capacity is {capacity!r}; expected an integer of at least {count}, the rows")
        self._changing = threading.Lock()
        self._readers: dict[tuple[Any, ...], Any] = {}
        self._next_id = 0
        dim_value = None if value_rows is None else value_rows.shape[1]
        store = Store(max(capacity, LEAST_CAPACITY), key_rows.shape[1], dim_value)
        #: The rows of this moment, as mechanisms read them; replaced by every change, never altered.
        self.rows = Rows(store, 0, 0)
        self._add(key_rows, value_rows)

    # --- changing it

    def append(self, keys: ArrayLike, values: ArrayLike | None = None) -> IntArray:
        """Add rows behind the others; their ids, which rise by one a row and are never given again.

        One row may come as vectors (dim,) and (dim_value,). Costs what the new rows cost, amortised.

        Raises: what the constructor raises; nothing is added unless all is well.
        """
        key_rows, value_rows = _checked_rows(keys, values, self)
        with self._changing:
            return self._add(key_rows, value_rows)

    def _add(self, keys: Float32Array, values: Float32Array | None) -> IntArray:
        rows, count = self.rows, len(keys)
        if rows.stop + count > rows.store.capacity:
            capacity = rows.store.capacity
            while len(rows) + count > FULL * capacity and len(rows) > 0:
                capacity *= 2
            capacity = max(capacity, len(rows) + count)
            rows = renewed(rows, np.arange(rows.start, rows.stop), capacity)
        ids = np.arange(self._next_id, self._next_id + count)
        rows.store.write(rows.stop, keys, values, ids)
        self._next_id += count
        self.rows = Rows(rows.store, rows.start, rows.stop + count)
        return ids

    def evict(self, ids: ArrayLike | None = None, *, oldest: int | None = None) -> int:
        """Drop the rows with these ids, or so many of the oldest; how many went. The others keep their order and ids.

        The oldest go at no cost; rows from the middle cost a copy of those that stay.

        Raises: OutOfBoundsError for ids that are not here, and counts that are too large; then nothing is dropped.
        """
        if (ids is None) == (oldest is None):
            raise UnsupportedError("evict takes either ids or oldest=count; expected exactly one of them")
        with self._changing:
            rows = self.rows
            if oldest is not None:
                dropped = _checked_count(oldest, len(rows))
                self.rows = Rows(rows.store, rows.start + dropped, rows.stop)
                return dropped
            places = _places(rows.ids, ids)
            if places.size and places[-1] == places.size - 1:  # they are the oldest
                self.rows = Rows(rows.store, rows.start + places.size, rows.stop)
            elif places.size:
                stay = np.delete(np.arange(rows.start, rows.stop), places)
                self.rows = renewed(rows, stay, rows.store.capacity)
            return int(places.size)

    def clear(self) -> None:
        """Drop all rows, and the memory that they had. Ids go on from where they were."""
        with self._changing:
            self.rows = renewed(self.rows, np.arange(0), LEAST_CAPACITY)

    # --- reading it

    def attend(
        self,
        query: ArrayLike,
        *,
        scale: float | None = None,
        temperature: float = 1.0,
        normalize: bool = False,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        check_finite: CheckFinite = True,
        out: Out = None,
    ) -> Float32Array:
        """Scaled dot-product attention of the query (..., n_query, dim) or (dim,) to these rows.

        >>> Memory([[1, 0], [0, 1]]).attend([5, 0], scale=100.0)
        array([1., 0.], dtype=float32)
        """
        reader = self._readers.get((scale, temperature, normalize))
        if reader is None:
            from .attention import ScaledDotProductAttention  # here: it imports this module

            reader = ScaledDotProductAttention(
                self.dim, scale=scale, temperature=temperature, normalize=normalize, max_sequence_length=2**62
            )
            if len(self._readers) > 64:  # a temperature that falls step by step leaves one behind at each
                self._readers.clear()
            self._readers[scale, temperature, normalize] = reader
        attended: Float32Array = reader.forward(
            query, self, mask=mask, bias=bias, key_lengths=key_lengths, check_finite=check_finite, out=out
        )
        return attended

    def project(self, attention: Attention) -> None:
        """Keep the rows as ``attention`` maps them into its heads, so that its calls need not map them again.

        Rows that are appended later are mapped when they are first read. This holds the parameters of this moment:
        after they have changed, call it again. Training calls always map the rows themselves. A mechanism without
        learned maps reads the rows as they are, and nothing is kept for it.

        Raises: UnsupportedError for what takes no keys and values, DimensionMismatchError.
        """
        specs = getattr(attention, "inputs", ())
        if not {"keys", "values"} <= {spec.name for spec in specs}:
            raise UnsupportedError(f"{attention!r} cannot read a memory; expected a mechanism over keys and values")
        if len(self):
            attention.bind(keys=self, values=None)
        with self._changing:
            columns = self.rows.store.columns
            columns.pop(attention, None)
            if attention._memory_maps():
                columns[attention] = {}
        if len(self):
            self.rows.mapped(attention)

    @property
    def keys(self) -> Float32Array:
        """(n_key, dim), a read-only view of the rows of this moment."""
        return self.rows.keys

    @property
    def values(self) -> Float32Array:
        """(n_key, dim_value), a read-only view of the rows of this moment; the keys, where no values were given."""
        return self.rows.values

    @property
    def ids(self) -> IntArray:
        """(n_key,), rising; a read-only view."""
        return self.rows.ids

    @property
    def dim(self) -> int:
        """Channels of a key."""
        return int(self.rows.dim)

    @property
    def dim_value(self) -> int:
        """Channels of a value."""
        return int(self.rows.values.shape[1])

    @property
    def capacity(self) -> int:
        """Rows that the present buffer has room for."""
        return self.rows.store.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of memory held, room for more rows and what is kept for mechanisms included."""
        return self.rows.store.nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        count = len(self)
        return f"Memory({count} row{'s' * (count != 1)}, dim={self.dim}, dim_value={self.dim_value})"

    # --- keeping it

    def get_config(self) -> dict[str, Any]:
        """Its figures, as plain JSON values."""
        return {"type": "memory", "rows": len(self), "dim": self.dim, "dim_value": self.dim_value}

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of all that distinguishes it from another: keys, values where they are not the keys, ids."""
        with self._changing:
            rows, next_id = self.rows, self._next_id
        state: dict[str, npt.NDArray[Any]] = {"keys": rows.keys.copy()}
        if not rows.store.values_are_keys:
            state["values"] = rows.values.copy()
        return {**state, "ids": rows.ids.copy(), "next_id": np.array([next_id])}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Become the memory of that state; nothing is changed unless all of it is well.

        Raises: InvalidConfigError for names and ids, and what the constructor raises.
        """
        expected = {"keys", "ids", "next_id"}
        unknown, missing = sorted(set(state) - expected - {"values"}), sorted(expected - set(state))
        if unknown or missing:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
            raise InvalidConfigError(f"the state for a Memory {' and '.join(parts)}")
        fresh = Memory(state["keys"], state.get("values"))
        ids, next_id = as_array("ids", state["ids"]), as_array("next_id", state["next_id"])
        if (
            ids.shape != (len(fresh),)
            or next_id.size != 1
            or ids.dtype.kind not in "iu"
            or next_id.dtype.kind not in "iu"
        ):
            raise InvalidConfigError(
                f"ids is {ids.dtype.name} {ids.shape}; expected integers ({len(fresh)},), one a row"
            )
        bounds = np.concatenate([[-1], ids.astype(np.int64), next_id.reshape(-1).astype(np.int64)])
        if (np.diff(bounds) < 1).any():
            raise InvalidConfigError(
                f"ids do not rise from 0 to next_id = {bounds[-1]}; expected them as state_dict gave them"
            )
        fresh.rows.store.ids[: len(ids)] = ids
        with self._changing:
            self.rows, self._next_id = fresh.rows, int(bounds[-1])
            self._readers.clear()

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write it to one safetensors file, whole or not at all."""
        checkpoint.save(Path(path), self.get_config(), self.state_dict())

    @classmethod
    def load_checkpoint(cls, path: str | os.PathLike[str]) -> Self:
        """The memory that save_checkpoint wrote.

        Raises: FileNotFoundError, InvalidConfigError for another kind of file, UnsupportedError without safetensors.
        """
        config, state = checkpoint.load(Path(path))
        if config.get("type") != "memory":
            raise InvalidConfigError(f"{path} is of type '{config.get('type')}'; expected 'memory'")
        return cls._restored(state)

    @classmethod
    def _restored(cls, state: Mapping[str, ArrayLike]) -> Self:
        memory = cls(state.get("keys"), state.get("values"))
        memory.load_state_dict(state)
        return memory

    def __reduce__(self) -> tuple[Callable[[Mapping[str, ArrayLike]], Memory], tuple[dict[str, Any]]]:
        return type(self)._restored, (self.state_dict(),)


def _checked_rows(
    keys: ArrayLike, values: ArrayLike | None, memory: Memory | None = None
) -> tuple[Float32Array, Float32Array | None]:
    """Keys and values as finite float32 rows that fit each other, and the memory that they are for."""
    key_rows = _checked_matrix("keys", "dim", keys, None if memory is None else memory.dim)
    has_values = memory is None or not memory.rows.store.values_are_keys
    if values is None:
        if memory is not None and has_values:
            raise UnsupportedError("values is None; expected a row for each key, for this memory has values")
        return key_rows, None
    if not has_values:
        raise UnsupportedError("values came; expected none, for in this memory the keys are the values")
    value_rows = _checked_matrix("values", "dim_value", values, None if memory is None else memory.dim_value)
    if len(value_rows) != len(key_rows):
        raise DimensionMismatchError(
            f"values is {value_rows.shape}; expected (n_key, dim_value) with n_key = {len(key_rows)}, "
            f"from keys {key_rows.shape}",
            expected=len(key_rows),
            actual=len(value_rows),
        )
    return key_rows, value_rows


def _checked_matrix(name: str, axis: str, value: ArrayLike, width: int | None) -> Float32Array:
    array = as_float32(name, value)
    if array.ndim == 1 and width is not None:
        array = array[None, :]
    if array.ndim != 2 or array.shape[1] == 0:
        raise DimensionMismatchError(
            f"{name} is {array.shape}; expected (n_key, {axis})", expected=2, actual=array.ndim
        )
    if width not in (None, array.shape[1]):
        raise DimensionMismatchError(
            f"{name} is {array.shape}; expected (n_key, {axis}) with {axis} = {width}, from the memory",
            expected=width,
            actual=array.shape[1],
        )
    require_finite(name, array)
    return array


def _checked_count(oldest: Any, there: int) -> int:
    if isinstance(oldest, bool) or not isinstance(oldest, int | np.integer):
        raise UnsupportedError(f"oldest is {oldest!r}; expected an integer")
    if not 0 <= oldest <= there:
        raise OutOfBoundsError(f"oldest is {oldest}; expected 0 to {there}, the rows that there are")
    return int(oldest)


def _places(present: IntArray, ids: ArrayLike) -> IntArray:
    """Where the ids stand among those that are there, rising, each once."""
    wanted = as_array("ids", ids)
    if wanted.size and wanted.dtype.kind not in "iu":
        raise UnsupportedError(f"ids is an array of {wanted.dtype.name}; expected integers")
    wanted = np.unique(wanted.astype(np.int64))
    places = np.searchsorted(present, wanted)
    found = places < present.size
    found[found] = present[places[found]] == wanted[found]
    if not found.all():
        raise OutOfBoundsError(f"ids holds {wanted[~found][0]}; expected ids of rows that are in the memory")
    return places
