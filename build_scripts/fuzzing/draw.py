"""Everything that a case draws, from its seed and number alone: so that one case can be run again by itself."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
T = TypeVar("T")

# numbers to cut arrays from: drawing every one anew would take longer than most calls
POOL = np.random.default_rng(7).standard_normal(1 << 20).astype(np.float32)

SMALLEST, LARGEST = -30.0, 15.0  # powers of ten that inputs are scaled by
WIDEST = 30.0  # and that numbers within one array are, rarely
EDGES = tuple(edge + off for edge in (16, 32, 48, 64, 128, 192, 256, 512) for off in (-1, 0, 1))  # of blocks of kernels


class Draw:
    """A source of choices and arrays."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(f"{seed}/{number}")
        self.largest = 0.0  # power of ten of the largest scale that an array was given

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self.random.random() * len(choices))]

    def between(self, low: int, high: int) -> int:
        return low + int(self.random.random() * (high - low + 1))

    def size(self, most: int = 300) -> int:
        """Of an axis: mostly small, sometimes beyond one tile of the kernels."""
        kind = self.random.random()
        if kind > 0.93:
            return min(most, self.one_of(EDGES) if kind < 0.98 else most)
        return min(most, self.between(1, 9) if kind < 0.75 else self.between(10, 70))

    def magnitude(self) -> float:
        """A power of ten: half of them ordinary, the others anywhere."""
        return self.random.uniform(-2, 1) if self.chance(0.5) else self.random.uniform(SMALLEST, LARGEST)

    def numbers(self, *shape: int, power: float | None = None) -> Array:
        """float32 of a drawn magnitude."""
        power = self.magnitude() if power is None else power
        self.largest = max(self.largest, power)
        count = math.prod(shape)
        first = self.between(0, POOL.size - count)
        array = POOL[first : first + count].reshape(shape) * np.float32(10.0**power)
        if self.chance(0.2):
            array = self.one_of(SHAPED)(self, array, power)
        return array

    def integers(self, low: int, high: int, *shape: int) -> Array:
        """Up to ``high``, which is among them."""
        return np.array([self.between(low, high) for _ in range(math.prod(shape))], np.int64).reshape(shape)

    def booleans(self, *shape: int) -> Array:
        """True for a drawn share, rows and columns without any among them."""
        count = math.prod(shape)
        first = self.between(0, POOL.size - count)
        return np.asarray(POOL[first : first + count].reshape(shape) > self.one_of((-3.0, -0.5, 0.5, 1.5)))

    def laid_out(self, array: Array) -> Any:
        """The same numbers, as some caller would have them: other strides, dtypes, containers."""
        if self.chance(0.6):
            return array
        return self.one_of(LAYOUTS)(array)


def _alike(draw: Draw, array: Array, power: float) -> Array:
    """All rows the same."""
    array[...] = array[..., :1, :] if array.ndim > 1 else array[:1]
    return array


def _rows_of_their_own(draw: Draw, array: Array, power: float) -> Array:
    powers = np.linspace(min(SMALLEST, power), power, array.shape[0] if array.ndim else 1)
    return array * (10.0 ** (powers - power)).astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))


def _numbers_of_their_own(draw: Draw, array: Array, power: float) -> Array:
    """Magnitudes from 1e-30 to 1e30, or around the one that was drawn."""
    low, high = (SMALLEST, WIDEST) if draw.chance(0.3) else (-4.0, 4.0)
    first = draw.between(0, POOL.size - array.size)
    shares = (POOL[first : first + array.size].reshape(array.shape).astype(np.float64) / 3).clip(-1, 1)
    wide = array.astype(np.float64) * 10.0 ** (shares * (high - low) / 2 + (low + high) / 2)
    limit = 1e30 if draw.chance(0.5) else 1e15
    return wide.clip(-limit, limit).astype(np.float32)


def _ties(draw: Draw, array: Array, power: float) -> Array:
    """Few different numbers, both zeros among them."""
    unit = np.float32(10.0**power)
    return np.asarray(np.rint(array / unit) * unit if unit else array, np.float32)


def _repeated_rows(draw: Draw, array: Array, power: float) -> Array:
    """Some rows twice or more, some of these off by next to nothing."""
    if array.ndim < 2:
        return array
    rows = np.array([draw.between(0, array.shape[-2] - 1) if draw.chance(0.6) else i for i in range(array.shape[-2])])
    array = array[..., rows, :]
    if draw.chance(0.5):
        array = array * (1 + (rows % 3)[:, None].astype(np.float32) * np.float32(1e-6))
    return np.asarray(array, np.float32)


def _outlier(draw: Draw, array: Array, power: float) -> Array:
    """One channel far larger than the others, as embeddings have."""
    array[..., -1:] *= np.float32(10.0 ** draw.random.uniform(0, 4))
    return array


def _denormal(draw: Draw, array: Array, power: float) -> Array:
    return np.asarray(array / np.float32(10.0**power) * 1e-39, np.float32) if power > -30 else array


#: What becomes of some arrays.
SHAPED: tuple[Callable[[Draw, Array, float], Array], ...] = (
    lambda draw, array, power: array * 0,  # of either sign
    _alike,
    _rows_of_their_own,
    _numbers_of_their_own,
    _ties,
    _repeated_rows,
    _outlier,
    _denormal,
)


def _strided(array: Array) -> Array:
    wide = np.full((*array.shape[:-1], array.shape[-1] * 2), np.nan, array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _misaligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    memory[...] = array
    return memory


def _backwards(array: Array) -> Array:
    return np.ascontiguousarray(array[..., ::-1])[..., ::-1]


def _halves(array: Array) -> Array:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.isfinite(half).all() else array


LAYOUTS: tuple[Callable[[Array], Any], ...] = (
    np.asfortranarray,
    _strided,
    _read_only,
    _misaligned,
    _backwards,
    _halves,
    lambda array: np.rint(array).astype(np.int32) if np.abs(array).max(initial=0) < 1e9 else array,
    lambda array: array.astype(np.float64),
    lambda array: array.astype(">f4"),
    lambda array: array.tolist(),
    lambda array: memoryview(np.ascontiguousarray(array).data),
)
