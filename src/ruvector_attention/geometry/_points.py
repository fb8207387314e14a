"""What the functions of every model share: arguments at the door, and radial functions near 0."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike, as_float32, as_numbers, require_finite
from ..errors import DimensionMismatchError, InvalidConfigError

Array = npt.NDArray[Any]

TINY = 1e-300  # where a length is divided by: 0 / TINY is 0


class Points(NamedTuple):
    """Arguments in float64, and the dtype in which the caller gets his answer."""

    arrays: tuple[Array, ...]
    dtype: type[np.floating[Any]]

    def answer(self, result: Array) -> Any:
        return result.astype(self.dtype)[()]


def points(*, same_dim: bool = True, **named: ArrayLike) -> Points:
    """Arrays of finite numbers with at least one axis; ``same_dim``: of the same last axis.

    Raises: UnsupportedError, DimensionMismatchError, NumericalInstabilityError.
    """
    arrays: list[Array] = []
    wide = False
    first: tuple[str, tuple[int, ...]] | None = None
    for name, value in named.items():
        array = as_numbers(name, value)
        wide = wide or (isinstance(value, np.ndarray) and value.dtype == np.float64)
        if array.ndim == 0:
            raise DimensionMismatchError(f"{name} is a single number; expected (..., dim)", expected=1, actual=0)
        if first is None:
            first = (name, array.shape)
        elif same_dim and array.shape[-1] != first[1][-1]:
            raise DimensionMismatchError(
                f"{name} is {array.shape}; expected (..., dim) with dim = {first[1][-1]}, from {first[0]} {first[1]}",
                expected=first[1][-1],
                actual=array.shape[-1],
            )
        if array.dtype != np.float64:
            array = as_float32(name, array)
        require_finite(name, array)
        arrays.append(array.astype(np.float64, copy=False))
    return Points(tuple(arrays), np.float64 if wide else np.float32)


def negative(curvature: float) -> float:
    """c > 0 of a curvature -c."""
    if not (isinstance(curvature, int | float | np.number) and math.isfinite(curvature) and curvature < 0):
        raise InvalidConfigError(f"curvature is {curvature!r}; expected a number below 0, as hyperbolic spaces have")
    return -float(curvature)


def positive(curvature: float) -> float:
    """c > 0 of a sphere's curvature c."""
    if not (isinstance(curvature, int | float | np.number) and math.isfinite(curvature) and curvature > 0):
        raise InvalidConfigError(f"curvature is {curvature!r}; expected a number above 0, as spheres have")
    return float(curvature)


def dot(x: Array, y: Array) -> Array:
    """<x, y> of rows, the last axis kept."""
    product: Array = np.einsum("...i,...i->...", x, y)[..., None]
    return product


def length(x: Array) -> Array:
    """|x| of rows, the last axis kept; squares neither overflow nor vanish for what float32 can hold."""
    norm: Array = np.sqrt(dot(x, x))
    return norm


def ratio(numerator: Array, denominator: Array, limit: float = 1.0) -> Array:
    """numerator / denominator of two lengths that vanish together, where they do ``limit``."""
    small = denominator < 1e-8
    quotient: Array = np.where(small, limit, numerator / np.where(small, 1.0, denominator))
    return quotient


def weights_of(weights: ArrayLike | None, rows: Array) -> Array:
    """Weights (..., n) for rows (..., n, dim), (..., n, 1), equal ones where None."""
    if weights is None:
        return np.full((*rows.shape[:-1], 1), 1.0 / rows.shape[-2])
    array = as_numbers("weights", weights).astype(np.float64)
    if array.ndim == 0 or array.shape[-1] != rows.shape[-2]:
        raise DimensionMismatchError(
            f"weights is {array.shape}; expected (..., n) with n = {rows.shape[-2]}, from x {rows.shape}",
            expected=rows.shape[-2],
        )
    require_finite("weights", array)
    if (array < 0).any() or not (array.sum(axis=-1) > 0).all():
        raise InvalidConfigError(
            "weights holds a negative number or rows of zeros; expected a positive sum of each row"
        )
    shares: Array = array / array.sum(axis=-1, keepdims=True)
    return shares[..., None]
