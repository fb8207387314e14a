"""Key lengths: batches whose items have fewer keys than the array has rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import ArrayLike, Float32Array, as_array
from .errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError

IntArray = npt.NDArray[np.int64]


def prepare_key_lengths(key_lengths: ArrayLike, lead: tuple[int, ...], n_key: int) -> IntArray:
    """How many keys each item of the batch has, of shape ``lead``.

    Raises: UnsupportedError, DimensionMismatchError, OutOfBoundsError.

    >>> prepare_key_lengths([2, 3], (2,), n_key=3)
    array([2, 3])
    """
    array = as_array("key_lengths", key_lengths)
    if array.dtype.kind not in "iu":
        raise UnsupportedError(f"key_lengths is an array of {array.dtype.name}; expected integers")
    try:
        spread = np.broadcast_to(array, lead)
    except ValueError:
        raise DimensionMismatchError(
            f"key_lengths is {array.shape}; expected {lead}, the leading dimensions", expected=lead, actual=array.shape
        ) from None
    bad = (array < 0) | (array > n_key)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        found = f"holds {array[index]} at index {index}" if index else f"is {array}"
        raise OutOfBoundsError(f"key_lengths {found}; expected 0 to n_key = {n_key}")
    return spread.astype(np.int64)


def without_unread(array: Float32Array, key_lengths: IntArray) -> Float32Array:
    """Keys or values (..., n_key, channels) with zeros where no item of the batch reads them.

    >>> without_unread(np.ones((3, 1), np.float32), np.array([1, 2])).ravel().tolist()
    [1.0, 1.0, 0.0]
    """
    longest = _longest(key_lengths, array.shape[:-2])
    unread = np.arange(array.shape[-2]) >= longest[..., None]
    return np.where(unread[..., None], np.float32(0), array)


def _longest(key_lengths: IntArray, lead: tuple[int, ...]) -> npt.NDArray[Any]:
    """The largest of the lengths that an array of these leading dimensions is repeated for."""
    first = key_lengths.ndim - len(lead)
    repeated = [axis for axis in range(key_lengths.ndim) if axis < first or lead[axis - first] == 1]
    return np.asarray(key_lengths.max(axis=tuple(repeated), keepdims=True)).reshape(lead)
