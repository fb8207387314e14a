"""Whatever holds numbers, as a float32 array: converted once, at the door."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import DimensionMismatchError, NumericalInstabilityError, UnsupportedError

Float32Array: TypeAlias = npt.NDArray[np.float32]
#: NumPy arrays, lists, and anything with ``__array__``, DLPack or the buffer protocol.
ArrayLike: TypeAlias = Any

FLOAT32 = np.dtype(np.float32)
#: What NumPy calls str32, bytes8, object and void64.
OTHER_KINDS = {"U": "strings", "S": "strings", "O": "Python objects", "V": "records"}
ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


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
        what = "None" if value is None else with_article(type(value).__name__)
        raise UnsupportedError(f"{name} is {what}; expected an array or a list of numbers")
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


def as_output(out: Any, shape: tuple[int, ...], **inputs: ArrayLike) -> Float32Array:
    """``out`` once it is known to take a result of this shape while the inputs are read.

    Raises: UnsupportedError, DimensionMismatchError.
    """
    if type(out) is not np.ndarray or out.dtype != FLOAT32:
        what = f"an array of {out.dtype.name}" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise UnsupportedError(f"out is {what}; expected a NumPy array of float32")
    if out.shape != shape:
        raise DimensionMismatchError(f"out is {out.shape}; expected {shape}", expected=shape, actual=out.shape)
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise UnsupportedError("out is not C-contiguous, aligned and writable; expected an array that is")
    for name, array in inputs.items():
        if isinstance(array, np.ndarray) and np.may_share_memory(out, array):
            raise UnsupportedError(f"out shares memory with {name}; expected an array of its own")
    return out


def aligned_empty(*shape: int) -> Float32Array:
    """An array whose first element lies at a multiple of 64 bytes; what it holds is whatever was there."""
    return aligned_part(np.empty(math.prod(shape) * FLOAT32.itemsize + ALIGNMENT, np.uint8)).reshape(shape)


def aligned_part(memory: npt.NDArray[np.uint8]) -> Float32Array:
    """What aligned_empty made of these bytes, flat."""
    first = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[first : first + memory.size - ALIGNMENT].view(FLOAT32)


def require_finite(name: str, array: npt.NDArray[np.floating[Any]]) -> None:
    """Refuse NaN and infinity, for arrays that no kernel checks while it reads them."""
    if not np.isfinite(array).all():
        _refuse(name, array, ~np.isfinite(array), "finite numbers")


def require_finite_addend(name: str, addend: Float32Array) -> None:
    """Refuse NaN and +inf in numbers that are added to scores; -inf is how a score is removed."""
    if addend.size and not addend.max() < np.inf:  # one pass without a temporary; NaN wins every max
        _refuse(name, addend, ~(addend < np.inf), "finite numbers or -inf")


def _refuse(name: str, array: npt.NDArray[np.floating[Any]], bad: npt.NDArray[np.bool_], expected: str) -> None:
    index = np.unravel_index(int(np.argmax(bad)), array.shape)
    where = tuple(int(i) for i in index)
    raise NumericalInstabilityError(f"{name} holds {array[index]} at index {where}; expected {expected}")


def _described(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "O" and array.ndim == 0:
        return with_article(type(array.item()).__name__)
    return f"an array of {OTHER_KINDS.get(array.dtype.kind, array.dtype.name)}"


def with_article(noun: str) -> str:
    """
    >>> with_article("object"), with_article("str")
    ('an object', 'a str')
    """
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def _advice(array: npt.NDArray[Any]) -> str:
    return {
        "b": " (a mask is passed as mask=)",
        "c": " (pass .real, or real and imaginary parts as separate channels)",
        "V": " (cast it first: .astype('float32'))",
    }.get(array.dtype.kind, "")
