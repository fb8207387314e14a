"""The length of gradients, and its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import Setting, checked_setting
from .named_arrays import Arrays, ArraysLike, as_floats, as_given, by_name


def global_norm(gradients: ArraysLike) -> float:
    """The length of all gradients as one vector.

    >>> global_norm({"weight": [[3.0]], "bias": [4.0]})
    5.0
    """
    named = by_name("gradients", gradients)
    arrays = [as_floats(f"gradients[{name!r}]", value) for name, value in named.items() if value is not None]
    return math.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays))


def clip_by_global_norm(gradients: ArraysLike, max_norm: float) -> Arrays:
    """The gradients, in the form of those given, all scaled by one factor where together they are longer than this.

    >>> clip_by_global_norm({"weight": [[3.0]], "bias": [4.0]}, 1.0)["bias"].round(3)
    array([0.8])
    """
    max_norm = checked_setting("max_norm", max_norm, float, Setting("", above=0))
    if isinstance(gradients, Mapping) and not gradients:
        return {}
    factor = min(1.0, max_norm / (global_norm(gradients) + 1e-6))  # 1e-6: as torch's clip_grad_norm_ has it
    scaled: dict[str, Any] = {
        name: None if value is None else as_floats(f"gradients[{name!r}]", value) * factor
        for name, value in by_name("gradients", gradients).items()
    }
    return as_given(gradients, scaled)
