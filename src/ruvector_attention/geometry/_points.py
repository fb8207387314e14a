"""What the functions of every model share: arguments at the door, and radial functions near 0."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike, as_float32, as_numbers, require_finite
from ..errors import DimensionMismatchError, EmptyInputError, InvalidConfigError, NumericalInstabilityError

Array = npt.NDArray[Any]
Parameters = ParamSpec("Parameters")

TINY = 1e-300  # where a length is divided by: 0 / TINY is 0


class Points(NamedTuple):
    """Arguments in float64, and the dtype in which the caller gets his answer."""

    arrays: tuple[Array, ...]
    dtype: type[np.floating[Any]]

    def answer(self, result: Array) -> Any:
        """Raises: NumericalInstabilityError, where a number is too large for the dtype."""
        with np.errstate(over="ignore"):  # told below
            found = result.astype(self.dtype)
        if not np.isfinite(found).all():
            raise NumericalInstabilityError(
                f"the result overflows {found.dtype.name}; expected points and vectors of smaller magnitude"
            )
        return found[()]


def points(*, same_dim: bool = True, **named: ArrayLike) -> Points:
    """Arrays of finite numbers with at least one axis; ``same_dim``: of the same last axis.

    Raises: UnsupportedError, DimensionMismatchError, EmptyInputError, NumericalInstabilityError.
    """
    arrays: list[Array] = []
    wide = False
    first: tuple[str, tuple[int, ...]] | None = None
    for name, value in named.items():
        array = as_numbers(name, value)
        wide = wide or (isinstance(value, np.ndarray) and value.dtype == np.float64)
        if array.ndim == 0:
            raise DimensionMismatchError(f"{name} is a single number; expected (..., dim)", expected=1, actual=0)
        if array.shape[-1] == 0:
            raise EmptyInputError(f"{name} is {array.shape}, without channels; expected (..., dim)")
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
    _check_leading(dict(zip(named, arrays, strict=True)))
    return Points(tuple(arrays), np.float64 if wide else np.float32)


def _check_leading(arrays: dict[str, Array]) -> None:
    first, *others = arrays
    lead = arrays[first].shape[:-1]
    for name in others:
        try:
            lead = np.broadcast_shapes(lead, arrays[name].shape[:-1])
        except ValueError:
            raise DimensionMismatchError(
                f"{name} is {arrays[name].shape}; its leading dimensions do not broadcast with {lead}, those before it"
            ) from None


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


def number(name: str, value: Any, *, above: float = -math.inf, below: float = math.inf) -> float:
    """A finite number between two others, as a float."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool | np.complexfloating)
    if not (is_number and math.isfinite(value) and above < value < below):
        limits = [f" {word} {limit:g}" for word, limit in (("above", above), ("below", below)) if math.isfinite(limit)]
        raise InvalidConfigError(f"{name} is {value!r}; expected a finite number{' and'.join(limits)}")
    return float(value)


def overflow_is_told(function: Callable[Parameters, Any]) -> Callable[Parameters, Any]:
    """Of a function of points: what overflows on the way makes an answer that is not finite, which ``answer`` tells."""

    @functools.wraps(function)
    def quiet(*given: Parameters.args, **named: Parameters.kwargs) -> Any:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return function(*given, **named)

    return quiet


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
    try:
        np.broadcast_shapes(array.shape[:-1], rows.shape[:-2])
    except ValueError:
        raise DimensionMismatchError(
            f"weights is {array.shape}; its leading dimensions do not broadcast with those of x {rows.shape}"
        ) from None
    require_finite("weights", array)
    if (array < 0).any() or not (array.max(axis=-1, initial=0) > 0).all():
        raise InvalidConfigError(
            "weights holds a negative number or rows of zeros; expected a positive sum of each row"
        )
    array = array / array.max(axis=-1, keepdims=True)  # so that their sum neither overflows nor loses digits
    shares: Array = array / array.sum(axis=-1, keepdims=True)
    return shares[..., None]
