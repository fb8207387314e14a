"""Memory that is used again: the kernels' scratch, which lends itself, and a pool of arrays for outputs.

A fresh array of some size costs more than its allocation: the system hands its pages over one by one, at the first
touch of each.
"""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

from . import kernels
from .arrays import Float32Array, aligned_empty, aligned_part
from .errors import InvalidConfigError, OutOfBoundsError, UnsupportedError
from .layout import size_of


class ScratchStats(NamedTuple):
    """The scratch memory of the kernels that run now: kept between calls, one block for each that runs at a time."""

    calls: int  # that needed scratch memory
    hits: int  # of them, those for which a block was there
    allocations: int  # of them, those for which memory was allocated
    blocks: int  # held now
    bytes: int  # of these blocks
    lent: int  # blocks in use at this moment
    most_lent: int  # bytes in use at one time, at most


def stats() -> ScratchStats:
    """What the kernels' scratch memory has cost so far; all zeros on the ``numpy`` backend.

    >>> stats().lent
    0
    """
    return ScratchStats(**kernels.scratch_stats())


class PoolStats(NamedTuple):
    """What a TensorPool has done so far."""

    hits: int  # arrays that were there when they were asked for
    allocations: int  # arrays that were made
    lent: int  # arrays that are out
    bytes: int  # of the arrays that wait to be taken


class TensorPool:
    """Float32 arrays that are taken, used as ``out=``, and given back for the next to take.

    At most ``max_bytes`` wait to be taken; what has waited longest goes first. An array that is never given back is
    no loss: it is freed as any other.

    >>> import ruvector_attention as ra
    >>> attention = ra.ScaledDotProductAttention(dim=2)
    >>> with TensorPool() as pool, pool.lend((1, 2)) as out:
    ...     print(attention([[1, 0]], [[1, 0]], [[3, 4]], out=out))
    [[3. 4.]]

    Raises: InvalidConfigError.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise InvalidConfigError(f"max_bytes is {max_bytes!r}; expected an integer of at least 0")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, list[Any]] = OrderedDict()  # by size, the size used last at the end
        self._lent: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._bytes = self._hits = self._allocations = 0

    def take(self, shape: int | Sequence[int]) -> Float32Array:
        """An array of this shape, C-contiguous, aligned to 64 bytes; it holds whatever was there.

        Raises: UnsupportedError, OutOfBoundsError.
        """
        sizes = _checked_shape(shape)
        count = size_of(sizes)
        size = _size_class(count)
        with self._lock:
            waiting = self._waiting.get(size)
            if waiting:
                flat = waiting.pop()
                self._bytes -= flat.nbytes
                self._hits += 1
            else:
                flat = aligned_empty(size)
                self._allocations += 1
            self._lent[id(flat.base)] = flat.base
        taken: Float32Array = flat[:count].reshape(sizes)
        return taken

    def give(self, array: Float32Array) -> None:
        """Give an array back, or any view of it; neither may be used any more.

        Raises: UnsupportedError for an array that this pool did not lend, or has back already.
        """
        with self._lock:
            base = self._lent.pop(id(getattr(array, "base", None)), None)
            if base is None:
                raise UnsupportedError("array is not lent by this pool; expected one that take() gave, given back once")
            flat = aligned_part(base)
            self._waiting.setdefault(flat.size, []).append(flat)
            self._waiting.move_to_end(flat.size)
            self._bytes += flat.nbytes
            while self._bytes > self._max_bytes:
                self._drop_oldest()

    @contextmanager
    def lend(self, shape: int | Sequence[int]) -> Iterator[Float32Array]:
        """take, and give back at the end of the block."""
        array = self.take(shape)
        try:
            yield array
        finally:
            self.give(array)

    def clear(self) -> None:
        """Free all arrays that wait."""
        with self._lock:
            self._waiting.clear()
            self._bytes = 0

    def stats(self) -> PoolStats:
        """What it has done so far.

        >>> TensorPool().stats()
        PoolStats(hits=0, allocations=0, lent=0, bytes=0)
        """
        with self._lock:
            return PoolStats(self._hits, self._allocations, len(self._lent), self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __repr__(self) -> str:
        return f"TensorPool(max_bytes={self._max_bytes})"

    def _drop_oldest(self) -> None:
        size, waiting = next(iter(self._waiting.items()))
        if waiting:
            self._bytes -= waiting.pop(0).nbytes
        if not waiting:
            del self._waiting[size]


def _checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in (shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        raise UnsupportedError(f"shape is {shape!r}; expected an integer or a sequence of them") from None
    if any(size < 0 for size in sizes):
        raise OutOfBoundsError(f"shape is {sizes}; expected sizes of at least 0")
    return sizes


def _size_class(count: int) -> int:
    """The elements of the array behind one of ``count``: a few sizes an octave, so that similar shapes share it, and
    no more than a quarter is wasted. A multiple of 16, 64 bytes."""
    step = max(16, 1 << max(count.bit_length() - 3, 0))
    return max(-(-count // step), 1) * step
