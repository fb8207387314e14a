"""Which kernel goes back: those in C compute weights anew, in float32, from scores and their log-sum-exp."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels, reference
from .errors import NumericalInstabilityError

#: Beyond it neighbours in float32 lie half a unit apart, and such a weight means nothing.
LARGEST_SCORE = 2.0**22
MOST_PAIRS = 1 << 24  # of a query and a key: NumPy holds arrays of them all


def backward_kernel(name: str, lse: npt.NDArray[Any], pairs: int) -> kernels.Kernel:
    """The active kernel, or its NumPy body, which makes all weights in float64, where scores are too large for it.

    Raises: NumericalInstabilityError, where they are too many for that.
    """
    kernel: kernels.Kernel = getattr(kernels.active, name)
    if lse.min(initial=0.0) >= -LARGEST_SCORE and lse.max(initial=0.0) <= LARGEST_SCORE:
        return kernel
    # rows that see no key have none
    largest = float(np.abs(lse, where=np.isfinite(lse), out=np.zeros_like(lse)).max(initial=0.0))
    if largest <= LARGEST_SCORE:
        return kernel
    if pairs > MOST_PAIRS:
        raise NumericalInstabilityError(
            f"scores reach {largest:.3g}; expected at most {LARGEST_SCORE:.3g} for the gradients of so many queries "
            "and keys (with a smaller scale, or a higher temperature)"
        )
    return reference.BODIES[name]
