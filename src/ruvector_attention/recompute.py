"""Which kernel goes back: those in C compute weights anew, in float32, from scores and their log-sum-exp."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels, reference
from .errors import NumericalInstabilityError

#: A log-sum-exp L is rounded by 2^-24 |L|, and again in powers of two: all weights of its row, and so their gradients,
#: are off by up to 2.5 * 2^-24 |L|, which is below the 1e-3 that a gradient is held to as far as here ...
EXACT_SCORE = 2.0**12
EXACT_PAIRS = 1 << 22  # of a query and a key, or of a row and a feature, up to which it is not traded for speed
#: ... and beyond this one, where neighbours in float32 lie half a unit apart, such a weight means nothing.
LARGEST_SCORE = 2.0**22
MOST_PAIRS = 1 << 24  # NumPy holds arrays of them all


def backward_kernel(name: str, lse: npt.NDArray[Any], pairs: int) -> kernels.Kernel:
    """The active kernel, or its NumPy body, which makes all weights in float64, where scores are too large for it.

    Raises: NumericalInstabilityError, where they are too many for that.
    """
    kernel: kernels.Kernel = getattr(kernels.active, name)
    if lse.min(initial=0.0) >= -EXACT_SCORE and lse.max(initial=0.0) <= EXACT_SCORE:
        return kernel
    # rows that see no key have none
    largest = float(np.abs(lse, where=np.isfinite(lse), out=np.zeros_like(lse)).max(initial=0.0))
    if largest <= (EXACT_SCORE if pairs <= EXACT_PAIRS else LARGEST_SCORE):
        return kernel
    if pairs > MOST_PAIRS:
        raise NumericalInstabilityError(
            f"scores reach {largest:.3g}; expected at most {LARGEST_SCORE:.3g} for the gradients of so many queries "
            "and keys (with a smaller scale, or a higher temperature)"
        )
    return functools.partial(reference.BODIES[name], anew=True)
