"""The error for numbers that are not finite, once a kernel has met one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import NumericalInstabilityError


def raise_non_finite(**arrays: npt.NDArray[Any] | None) -> None:
    """Raise the error for the first of the arrays that holds NaN or infinity."""
    for name, array in arrays.items():
        if array is None or array.dtype == np.bool_:
            continue
        bad = np.isnan(array) if name in ("mask", "bias") else ~np.isfinite(array)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise NumericalInstabilityError(f"{name} holds {array[index]} at index {index}; expected finite numbers")
    raise NumericalInstabilityError(
        f"the result overflows float32 although {', '.join(arrays)} are finite; expected inputs of smaller magnitude"
    )
