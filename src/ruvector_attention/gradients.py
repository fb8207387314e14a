"""Gradients in the shapes of what callers gave: what was repeated is summed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import ArrayLike, Float32Array
from .masks import AttentionMask
from .specs import Binding


def summed_to(grad: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """A gradient summed over the axes along which an array of this shape was repeated.

    >>> summed_to(np.ones((2, 3, 4), np.float32), (3, 1)).tolist()
    [[8.0], [8.0], [8.0]]
    """
    first = grad.ndim - len(shape)
    repeated = [axis for axis in range(grad.ndim) if axis < first or shape[axis - first] != grad.shape[axis]]
    return grad.sum(axis=tuple(repeated), keepdims=True).reshape(shape) if repeated else grad


def addend_gradients(
    grad: Float32Array | None, binding: Binding, *, heads: bool = False, mask: Any, bias: ArrayLike | None
) -> dict[str, Float32Array]:
    """The gradient of what was added to the scores, under the name and in the shape in which it was given.

    ``heads``: the scores have a head axis, which an array of fewer dimensions than they was repeated along.
    """
    if grad is None:
        return {}
    gradients = {}
    for name, given in (("mask", mask), ("bias", bias)):
        if given is None or isinstance(given, AttentionMask) or np.asarray(given).dtype.kind == "b":
            continue
        shape = np.shape(given)
        aligned = shape if len(shape) > 1 else (1, *shape)
        if heads and 2 < len(aligned) <= len(binding.lead) + 2:
            aligned = (*aligned[:-2], 1, *aligned[-2:])
        gradients[name] = summed_to(grad, aligned).reshape(shape)
    return gradients


def add_into(total: dict[str, Float32Array], more: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """Sums of gradients by name: an array that entered twice gets both."""
    for name, grad in more.items():
        total[name] = total[name] + grad if name in total else grad
    return total
