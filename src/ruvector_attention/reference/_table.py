"""The table of bodies, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Body = Callable[..., int]

OK, NON_FINITE, BAD_ARGUMENT = 0, 1, 2
QUERY_BLOCK = 192

BODIES: dict[str, Body] = {}


def body(function: Body) -> Body:
    """Enter it in the table; like C, it answers with a status for numbers that are not finite, not with a warning."""
    quiet = np.errstate(invalid="ignore", over="ignore", divide="ignore")
    BODIES[function.__name__] = quiet(function)
    return function


def strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of an array by strides in elements; a single row is its own flat view, gaps and all."""
    flat = array.reshape(-1)
    return np.lib.stride_tricks.as_strided(flat, shape, tuple(s * flat.strides[0] for s in strides))


def tasks_of(start: int, stop: int, n_query: int) -> list[tuple[int, slice]]:
    """(head of the batch, its queries) for every task."""
    blocks = -(-n_query // QUERY_BLOCK)
    return [
        (task // blocks, slice(task % blocks * QUERY_BLOCK, min(task % blocks * QUERY_BLOCK + QUERY_BLOCK, n_query)))
        for task in range(start, stop)
    ]
