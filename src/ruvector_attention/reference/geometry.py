"""Scores from distances, and their derivatives, as wasm_kernels/kernels/geometry.h."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._table import Array

DOT, EUCLIDEAN, POINCARE, LORENTZ, SPHERICAL = range(5)
LEAST_COSINE = 1e-6  # squared, of half an angle: at opposite points every direction leads back


class Space(NamedTuple):
    """One segment of the channels, and how two points of it are scored: weight * (dot | -d | -d^2)."""

    channels: slice
    kind: int
    power: int
    weight: float
    c: float  # the curvature is -c


def spaces_of(segments: Array, spaces: Array, count: int) -> list[Space]:
    rows = zip(segments.reshape(-1)[: 4 * count].reshape(count, 4), spaces.reshape(-1)[: 2 * count].reshape(count, 2),
               strict=True)  # fmt: skip
    return [
        Space(slice(int(begin), int(end)), int(kind), int(power), float(weight), float(c))
        for (begin, end, kind, power), (weight, c) in rows
    ]


def aux(space: Space, square: Array) -> Array:
    """What a distance needs of one end: 1 / (1 - c |x|^2) in the ball, the time coordinate on the hyperboloid."""
    if space.kind == POINCARE:
        return 1.0 / np.maximum(1.0 - space.c * square, 1e-12)
    if space.kind == LORENTZ:
        times: Array = np.sqrt(1.0 / space.c + square)
        return times
    return np.zeros_like(square)


def aux_slopes(space: Space, square: Array) -> tuple[Array, Array]:
    """d aux / d |x|^2 and d aux / dc."""
    value = aux(space, square)
    if space.kind == POINCARE:
        return space.c * value**2, square * value**2
    if space.kind == LORENTZ:
        return 0.5 / value, -0.5 / (value * space.c**2)
    return np.zeros_like(square), np.zeros_like(square)


def _hyperbolic(space: Space, square: Array, a: Array, b: Array) -> Array:
    """t, with d = log1p(t + sqrt(t (t + 2))) / sqrt(c)."""
    if space.kind == POINCARE:
        return 2.0 * space.c * square * a * b
    inside: Array = np.maximum(square - (a - b) ** 2, 0.0)
    return 0.5 * space.c * inside


def _distance(space: Space, square: Array, a: Array, b: Array) -> Array:
    root = np.sqrt(space.c)
    if space.kind == EUCLIDEAN:
        distance: Array = np.sqrt(square)
    elif space.kind == SPHERICAL:
        distance = 2.0 * np.arcsin(np.minimum(0.5 * root * np.sqrt(square), 1.0)) / root
    else:
        t = _hyperbolic(space, square, a, b)
        distance = np.log1p(t + np.sqrt(t * (t + 2.0))) / root
    return distance


def scores(space: Space, raw: Array, a: Array, b: Array) -> Array:
    """weight * f of dot products or squared differences ``raw``."""
    if space.kind == DOT:
        return space.weight * raw
    distance = _distance(space, raw, a, b)
    return -space.weight * distance**space.power


class Slopes(NamedTuple):
    """Derivatives of a score by the squared difference, by aux of both ends, by weight and by curvature."""

    square: Array
    a: Array
    b: Array
    weight: Array
    c: Array


def _bend(z: Array, far: Array) -> Array:
    """x / sqrt(1 - x^2) - asin(x), z = x^2: ``far``, and its series where little is left of that difference. For
    z = -x^2 it is asinh(x) - x / sqrt(1 + x^2)."""
    series = 1 / 3 + z * (3 / 10 + z * (15 / 56 + z * (35 / 144 + z * (315 / 1408))))
    found: Array = np.where(np.abs(z) < 1e-3, np.sqrt(np.abs(z)) * np.abs(z) * series, far)
    return found


def slopes(space: Space, raw: Array, a: Array, b: Array) -> Slopes:
    distance = _distance(space, raw, a, b)
    by_distance = -space.weight * (2.0 * distance if space.power == 2 else np.ones_like(distance))
    by_weight = -(distance**space.power)
    none = np.zeros_like(distance)
    if space.kind in (EUCLIDEAN, SPHERICAL):
        cosine = np.maximum(1.0 - 0.25 * space.c * raw, LEAST_COSINE) if space.kind == SPHERICAL else 1.0
        slope = 0.5 / np.sqrt(np.maximum(raw, 1e-30) * cosine)
        z = 0.25 * space.c * raw  # of half the chord
        bend = _bend(z, np.sqrt(space.c) * (raw * slope - 0.5 * distance))
        by_c = bend * space.c**-1.5 if space.kind == SPHERICAL else none
        return Slopes(np.where(raw > 0, by_distance * slope, 0.0), none, none, by_weight, by_distance * by_c)
    t = _hyperbolic(space, raw, a, b)
    by_t = np.where(t > 0, by_distance / np.sqrt(space.c * np.maximum(t * (t + 2.0), 1e-30)), 0.0)
    # d sqrt(c) = 2 asinh(x), x = sqrt(t / 2): t by c gives x / sqrt(1 + x^2), 1 / sqrt(c) gives -asinh(x)
    half = np.sqrt(0.5 * t)
    by_c = -by_distance * space.c**-1.5 * _bend(-0.5 * t, np.arcsinh(half) - half / np.sqrt(1.0 + 0.5 * t))
    if space.kind == POINCARE:
        return Slopes(by_t * 2 * space.c * a * b, by_t * 2 * space.c * raw * b, by_t * 2 * space.c * raw * a,
                      by_weight, by_c)  # fmt: skip
    return Slopes(by_t * 0.5 * space.c, by_t * space.c * (b - a), by_t * space.c * (a - b), by_weight, by_c)
