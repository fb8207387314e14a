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
        return min(most, self.between(1, 9) if kind < 0.75 else self.between(10, 70) if kind < 0.97 else most)

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
        kind = self.random.random()
        if kind < 0.03:
            array[...] = 0
        elif kind < 0.06:  # all rows alike
            array[...] = array[..., :1, :] if array.ndim > 1 else array[:1]
        elif kind < 0.09:  # each row of a magnitude of its own
            powers = np.linspace(min(SMALLEST, power), power, shape[0] if shape else 1)
            array *= (10.0 ** (powers - power)).astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
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
    lambda array: array.astype(np.float64),
    lambda array: array.astype(">f4"),
    lambda array: array.tolist(),
    lambda array: memoryview(np.ascontiguousarray(array).data),
)
