"""Leading dimensions as strides: broadcasting and heads without copies.

A kernel walks two leading axes (batch, heads) with a stride for each, 0 where an array is repeated. Arrays with more
leading axes are merged where their memory allows it; what is left over is looped on the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Axes(NamedTuple):
    """Leading axes shared by several arrays: sizes, and for each array its strides in elements."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def leading_strides(shape: tuple[int, ...], item: int, common: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-contiguous array: leading ``shape``, ``item`` elements behind it, broadcast to ``common``."""
    strides = []
    step = item
    for size in reversed(shape):
        strides.append(0 if size == 1 else step)
        step *= size
    strides.extend([0] * (len(common) - len(shape)))
    return tuple(reversed(strides))


def merge(axes: Axes) -> Axes:
    """The same walk with as few axes as possible: neighbours join where one step of the outer is all of the inner."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in axes.strides]
    for position, size in enumerate(axes.sizes):
        here = [stride[position] for stride in axes.strides]
        if size == 1:
            continue
        if sizes and all(kept[-1] == step * size for kept, step in zip(strides, here, strict=True)):
            sizes[-1] *= size
            for kept, step in zip(strides, here, strict=True):
                kept[-1] = step
        else:
            sizes.append(size)
            for kept, step in zip(strides, here, strict=True):
                kept.append(step)
    return Axes(tuple(sizes), tuple(tuple(stride) for stride in strides))


def walk(axes: Axes, inner: int) -> Iterator[tuple[tuple[int, ...], Axes]]:
    """The last ``inner`` axes, padded with ones, for every index of the axes before them: (offsets, inner axes)."""
    merged = merge(axes)
    missing = inner - len(merged.sizes)
    if missing >= 0:
        sizes = (1,) * missing + merged.sizes
        yield (0,) * len(merged.strides), Axes(sizes, tuple((0,) * missing + s for s in merged.strides))
        return
    outer = -missing
    tail = Axes(merged.sizes[outer:], tuple(s[outer:] for s in merged.strides))
    for index in np.ndindex(*merged.sizes[:outer]):
        yield tuple(sum(map(int.__mul__, index, s[:outer])) for s in merged.strides), tail


def size_of(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def repeated(values: Any, counts: Any) -> Any:
    """np.repeat for counts of 64 bits, which NumPy refuses where its own integers have 32 (Pyodide)."""
    return np.repeat(values, np.asarray(counts).astype(np.intp))


def tally(indices: Any, weights: Any = None, minlength: int = 0) -> Any:
    """np.bincount for indices of 64 bits; counts are int64 everywhere."""
    counts = np.bincount(np.asarray(indices).astype(np.intp), weights, minlength)
    return counts.astype(np.int64) if weights is None else counts
