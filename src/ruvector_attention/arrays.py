"""Whatever holds numbers, as a float32 array: converted once, at the door."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import DimensionMismatchError, NumericalInstabilityError, UnsupportedError

Float32Array: TypeAlias = npt.NDArray[np.float32]
#: NumPy arrays, lists, and anything with ``__array__``, DLPack or the buffer protocol.
ArrayLike: TypeAlias = Any

FLOAT32 = np.dtype(np.float32)


def as_float32(name: str, value: ArrayLike) -> Float32Array:
    """The numbers of ``value`` in float32; a float32 array is passed on as it is, whatever its layout.

    Raises: UnsupportedError for what is not real numbers, DimensionMismatchError for ragged lists.

    >>> as_float32("query", [[1, 2]])
    array([[1., 2.]], dtype=float32)
    """
    array = as_numbers(name, value)
    if array.dtype == FLOAT32:
        return array if array.flags.aligned else array.copy()
    with np.errstate(over="ignore"):  # 1e300 becomes inf, which the check for finite input then names
        return array.astype(np.float32)


def as_numbers(name: str, value: ArrayLike) -> npt.NDArray[Any]:
    """``value`` as an array of real numbers, of its own dtype; raises what as_float32 raises."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise UnsupportedError(f"{name} is {_described(array)}; expected real numbers{_advice(array)}")
    return array


def as_array(name: str, value: ArrayLike) -> npt.NDArray[Any]:
    """``value`` as a plain ndarray of its own dtype."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise UnsupportedError(f"{name} is a masked array; expected plain numbers (fill it, and pass mask= instead)")
    if value is None or isinstance(value, str | bytes | dict | set):
        raise UnsupportedError(f"{name} is {type(value).__name__}; expected an array or a list of numbers")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:
        if isinstance(value, list | tuple):
            raise DimensionMismatchError(f"{name} is a ragged list; expected rows of equal length") from error
        raise UnsupportedError(f"{name} cannot be read as an array: {error}") from error
    except (TypeError, RuntimeError, BufferError, OverflowError) as error:
        # e.g. a tensor that lives on a GPU or still requires gradients: its own words say what to do
        raise UnsupportedError(f"{name} cannot be read as an array: {error}") from error


def require_finite(name: str, array: Float32Array) -> None:
    """Refuse NaN and infinity, for arrays that no kernel checks while it reads them."""
    if not np.isfinite(array).all():
        _refuse(name, array, ~np.isfinite(array), "finite numbers")


def require_finite_addend(name: str, addend: Float32Array) -> None:
    """Refuse NaN and +inf in numbers that are added to scores; -inf is how a score is removed."""
    if addend.size and not addend.max() < np.inf:  # one pass without a temporary; NaN wins every max
        _refuse(name, addend, ~(addend < np.inf), "finite numbers or -inf")


def _refuse(name: str, array: Float32Array, bad: npt.NDArray[np.bool_], expected: str) -> None:
    index = np.unravel_index(int(np.argmax(bad)), array.shape)
    where = tuple(int(i) for i in index)
    raise NumericalInstabilityError(f"{name} holds {array[index]} at index {where}; expected {expected}")


def _described(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "O" and array.ndim == 0:
        return f"a {type(array.item()).__name__}"
    return f"an array of {array.dtype.name}"


def _advice(array: npt.NDArray[Any]) -> str:
    return {
        "b": " (a mask is passed as mask=)",
        "c": " (pass .real, or real and imaginary parts as separate channels)",
        "V": " (cast it first: .astype('float32'))",
    }.get(array.dtype.kind, "")
