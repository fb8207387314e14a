"""Masks and biases: which query may attend to which key. Checked here once; the engine takes what comes out."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .arrays import ArrayLike, Float32Array, as_array, require_finite_addend
from .errors import DimensionMismatchError, EmptyInputError, UnsupportedError

BoolArray = npt.NDArray[np.bool_]
AnyMask = TypeVar("AnyMask", BoolArray, Float32Array)


class ScoreShape(NamedTuple):
    """The shape of a call's scores: (*lead, [num_heads,] n_query, n_key)."""

    lead: tuple[int, ...]
    n_query: int
    n_key: int
    num_heads: int | None = None  # None: no head axis


def prepare_mask(mask: ArrayLike, scores: ScoreShape, *, check_finite: bool = True) -> BoolArray | Float32Array:
    """A bool mask (True = may attend) or a float one (added to the scores) that broadcasts to the scores.

    Where there are heads, a mask of as many dimensions as the scores has a head axis; a smaller one holds for
    every head.

    Raises: UnsupportedError, EmptyInputError, DimensionMismatchError, NumericalInstabilityError.

    >>> prepare_mask([True, False], ScoreShape((), n_query=3, n_key=2)).shape
    (1, 2)
    """
    array = as_array("mask", mask)
    if array.dtype == np.bool_:
        return _fitted("mask", array, scores)
    if array.dtype.kind == "f":
        return _fitted("mask", _addend("mask", array, check_finite), scores)
    raise UnsupportedError(
        f"mask is an array of {array.dtype.name}; expected bool (True = may attend) or float (added to the scores)"
    )


def prepare_bias(bias: ArrayLike, scores: ScoreShape, *, check_finite: bool = True) -> Float32Array:
    """Numbers that are added to the scores, shaped as a mask may be; raises what prepare_mask raises."""
    array = as_array("bias", bias)
    if array.dtype.kind not in "fiu":
        raise UnsupportedError(f"bias is an array of {array.dtype.name}; expected real numbers, added to the scores")
    return _fitted("bias", _addend("bias", array, check_finite), scores)


def _addend(name: str, array: npt.NDArray[Any], check_finite: bool) -> Float32Array:
    with np.errstate(over="ignore"):  # float64's lowest number, a common "minus infinity", becomes -inf
        addend = array.astype(np.float32, copy=False)
    if check_finite:
        require_finite_addend(name, addend)
    return addend


def _fitted(name: str, array: AnyMask, scores: ScoreShape) -> AnyMask:
    """The array with its head axis made explicit, once it is known to broadcast to the scores."""
    shape = array.shape
    target: tuple[int, ...] = (*scores.lead, scores.n_query, scores.n_key)
    if array.size == 0:
        raise EmptyInputError(f"{name} is {shape}, without elements; expected to broadcast to {target}")
    if scores.num_heads is not None and array.ndim > 2:
        if array.ndim <= len(target):
            array = array[..., None, :, :]
        target = (*scores.lead, scores.num_heads, scores.n_query, scores.n_key)
        array = array.reshape((1,) * (len(target) - array.ndim) + array.shape)
    if array.ndim == 0 or not _broadcasts(array.shape, target):
        raise DimensionMismatchError(
            f"{name} is {shape}; expected a shape that broadcasts to {target}",
            expected=target,
            actual=shape,
        )
    return array if array.ndim > 1 else array[None, :]


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(
        size in (1, wanted) for size, wanted in zip(reversed(shape), reversed(target), strict=False)
    )
