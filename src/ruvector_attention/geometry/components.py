"""Rows as points of a product of spaces, each component a run of channels: brought into their spaces, and their means
in one weighted sum; both with the way back.

A mean is the sum itself in a Euclidean component, the gyromidpoint in a hyperbolic one (which takes one channel more in
the sum), and the sum projected back in a spherical one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..products import FLOAT32, contiguous
from . import midpoints
from ._points import TINY, Array, dot

Float32Array = npt.NDArray[np.float32]


class Component(NamedTuple):
    """Channels begin .. end - 1; ``kind`` is the engine's name of the space, c the size of its curvature."""

    kind: str
    begin: int
    end: int
    c: float = 1.0

    @property
    def channels(self) -> slice:
        return slice(self.begin, self.end)

    @property
    def is_curved(self) -> bool:
        return self.kind in ("poincare", "spherical")


def projected(x: Array, c: float) -> Array:
    """x / (|x| sqrt(c)), rows of zeros as they are, in float64."""
    x = x.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite stays so, and is named by the engine
        rows: Array = x / np.maximum(np.sqrt(c * dot(x, x)), TINY)
    return rows


def projected_backward(x: Array, grad: Array, c: float) -> tuple[Array, float]:
    """The gradients of x and of c."""
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    unit = projected(x, 1.0)
    along = dot(grad, unit)
    across = (grad - along * unit) / np.maximum(np.sqrt(c * dot(x, x)), TINY)
    return np.where(dot(x, x) > 0, across, 0.0), float(-along.sum() / (2 * c**1.5))


def on_sphere(x: Array, c: float) -> Float32Array:
    """Rows scaled to 1 / sqrt(c); one of zeros, which has no direction, becomes the first pole."""
    rows = projected(x, c)
    rows[..., 0] = np.where((x == 0).all(axis=-1), c**-0.5, rows[..., 0])
    return rows.astype(FLOAT32)


class Placed:
    """Rows (..., n, dim) in their spaces: ``rows``."""

    def __init__(self, x: Float32Array, components: list[Component]) -> None:
        self.given, self.components = x, components
        self.rows = contiguous(x)
        self._outside: list[Array | None] = []
        if any(component.is_curved for component in components):
            self.rows = self.rows.copy()
        for component in components:
            part, outside = x[..., component.channels], None
            if component.kind == "poincare":
                inside = midpoints.brought_inside(part, component.c)
                self.rows[..., component.channels], outside = inside.rows, inside.outside
            elif component.kind == "spherical":
                self.rows[..., component.channels] = on_sphere(part, component.c)
            self._outside.append(outside)

    def backward(self, grad: Array) -> tuple[Float32Array, list[float]]:
        """The gradients of the given rows, and of every component's c."""
        found, of_c = grad.astype(FLOAT32), []
        for component, outside in zip(self.components, self._outside, strict=True):
            at = component.channels
            x, of_part, of_one = self.given[..., at], grad[..., at], 0.0
            if component.kind == "poincare":
                found[..., at], of_one = midpoints.brought_inside_backward(
                    x, self.rows[..., at], outside, of_part, component.c
                )
            elif component.kind == "spherical":
                of_x, of_one = projected_backward(x, of_part, component.c)
                found[..., at] = of_x
            of_c.append(of_one)
        return found, of_c


def summands(rows: Float32Array, components: list[Component]) -> Float32Array:
    """What is summed of rows in their spaces: their channels, in a hyperbolic component (lambda x, lambda - 1)."""
    parts = [
        _extended(rows[..., part.channels], part.c) if part.kind == "poincare" else rows[..., part.channels]
        for part in components
    ]
    return np.concatenate(parts, axis=-1)


def _extended(rows: Float32Array, c: float) -> Float32Array:
    return midpoints.extended(rows, 2 * midpoints.half_factors(contiguous(rows), c))


def summands_backward(rows: Array, grad: Array, components: list[Component]) -> tuple[Array, list[float]]:
    parts, of_c = [], []
    for part, at in zip(components, summed_channels(components), strict=True):
        of_rows, of_one = grad[..., at].astype(np.float64), 0.0
        if part.kind == "poincare":
            of_rows, of_one = midpoints.extended_backward(rows[..., part.channels], grad[..., at], part.c)
        parts.append(of_rows)
        of_c.append(of_one)
    return np.concatenate(parts, axis=-1), of_c


def summed_channels(components: list[Component]) -> list[slice]:
    """Where each component lies in the sums."""
    found, first = [], 0
    for part in components:
        width = part.end - part.begin + (part.kind == "poincare")
        found.append(slice(first, first + width))
        first += width
    return found


def means_of_sums(sums: Array, components: list[Component], least: float) -> Float32Array:
    """The means, of weighted sums in float64."""
    parts: list[Array] = []
    for part, at in zip(components, summed_channels(components), strict=True):
        mean = sums[..., at]
        if part.kind == "poincare":
            mean = midpoints.kept_inside(midpoints.gyromidpoint(mean, part.c, least), part.c)
        elif part.kind == "spherical":
            mean = projected(mean, part.c)
        parts.append(mean.astype(FLOAT32))
    return np.concatenate(parts, axis=-1)


def means_of_sums_backward(
    sums: Array, grad: Array, components: list[Component], least: float
) -> tuple[Array, list[float]]:
    """The gradients of the sums, and of every component's c."""
    parts, of_c = [], []
    for part, at in zip(components, summed_channels(components), strict=True):
        of_sum, of_one = grad[..., part.channels], 0.0
        if part.kind == "poincare":
            of_sum, of_one = midpoints.gyromidpoint_backward(sums[..., at], of_sum, part.c, least)
        elif part.kind == "spherical":
            of_sum, of_one = projected_backward(sums[..., at], of_sum, part.c)
        parts.append(of_sum)
        of_c.append(of_one)
    return np.concatenate(parts, axis=-1), of_c
