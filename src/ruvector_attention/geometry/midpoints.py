"""Weighted means in the ball as the attention engine can sum them: each is a map of the values, a plain weighted sum,
and a map of that sum; both with their derivatives.

    gyromidpoint  value -> (lambda v, lambda - 1)     sum (A, B) -> A / (B + sqrt(B^2 - c |A|^2)) = 1/2 (*) (A / B)
    tangent       value -> log_0(v)                   sum s -> exp_0(s)

Arrays are float64 inside, float32 where the engine reads them; c > 0, the curvature is -c.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..products import FLOAT32, contiguous
from ..reference.geometry import POINCARE
from ._points import Array, dot, ratio
from .poincare import BALL_EPS, midpoint_of_sums

Float32Array = npt.NDArray[np.float32]

EPS = BALL_EPS[np.float32]
FARTHEST = float(np.arctanh(1 - 0.5 * EPS))  # sqrt(c) |v| of the points that exp_0 takes to OUTPUT_EPS
OUTPUT_EPS = 0.5 * EPS  # an output lies between values that were brought inside by EPS: only rounding meets this limit


# --- into the ball


def half_factors(x: Float32Array, c: float) -> Float32Array:
    """1 / (1 - c |x|^2), half the conformal factor, (..., 1), in float64 inside; 1e12 on the boundary and outside."""
    dim = x.shape[-1]
    out = np.empty((*x.shape[:-1], 1), FLOAT32)
    kernels.active.space_aux(x, *_one_ball(dim, c), out, x.size // dim, dim, 1)
    return out


@lru_cache(maxsize=64)
def _one_ball(dim: int, c: float) -> tuple[Array, Array]:
    """The space as kernels read it: segments and spaces."""
    return np.array([[0, dim, POINCARE, 1]], np.int64), np.array([[1.0, c]])


class Inside(NamedTuple):
    """Rows inside of the ball, which of them were brought there, (...), None where none, and half their factors."""

    rows: Float32Array
    outside: Array | None
    half_factors: Float32Array


def brought_inside(x: Array, c: float) -> Inside:
    """x with rows outside of the ball scaled to (1 - EPS) / sqrt(c)."""
    x = contiguous(x)
    halves = half_factors(x, c)
    if halves.max() <= 1 / (EPS * (2 - EPS)):
        return Inside(x, None, halves)
    outside = halves[..., 0] > 1 / (EPS * (2 - EPS))
    inside = x.copy()
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite stays so, and is named by the engine
        far = x[outside].astype(np.float64)
        inside[outside] = far * ((1 - EPS) / np.sqrt(c) / np.sqrt(dot(far, far)))
    return Inside(inside, outside, half_factors(inside, c))


def brought_inside_backward(
    x: Array, inside: Array, outside: Array | None, grad: Array, c: float
) -> tuple[Float32Array, float]:
    """The gradients of x and of c from that of ``inside``: of a row that was scaled, what is across it."""
    if outside is None:
        return grad.astype(FLOAT32, copy=False), 0.0
    found = grad.astype(FLOAT32)
    far, scaled, of_scaled = (array[outside].astype(np.float64) for array in (x, inside, grad))
    along = dot(of_scaled, scaled)
    across = of_scaled - along / dot(scaled, scaled) * scaled
    found[outside] = across * np.sqrt(dot(scaled, scaled) / dot(far, far))
    return found, float(-along.sum() / (2 * c))


def kept_inside(x: Array, c: float) -> Array:
    """A result strictly inside, in float64 and when it is rounded to float32."""
    limit = (1 - OUTPUT_EPS) / np.sqrt(c)
    norm = np.sqrt(dot(x, x))
    if (norm > limit).any():
        x = np.where(norm > limit, x * (limit / np.maximum(norm, limit)), x)
    return x


# --- to the hyperboloid


def stretched_backward(x: Array, grad: Array, c: float, of_time: Array | float = 0.0) -> tuple[Array, float]:
    """The gradients of x and c from those of lambda x and of lambda - 1, which is ``of_time`` (..., 1)."""
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    square = dot(x, x)
    factor = 2 / (1 - c * square)
    of_factor = dot(grad, x) + of_time
    return factor * grad + c * factor**2 * of_factor * x, float((0.5 * factor**2 * square * of_factor).sum())


# --- gyromidpoint


def extended(values: Float32Array, factors: Float32Array) -> Float32Array:
    """(lambda v, lambda - 1), (..., n, 1 + dim_value), with the conformal factors lambda (..., n, 1)."""
    out = np.empty((*values.shape[:-1], values.shape[-1] + 1), FLOAT32)
    np.multiply(values, factors, out=out[..., :-1])
    np.subtract(factors, 1, out=out[..., -1:])
    return out


def extended_backward(values: Array, grad: Array, c: float) -> tuple[Array, float]:
    return stretched_backward(values, grad[..., :-1], c, grad[..., -1:].astype(np.float64))


def gyromidpoint(sums: Array, c: float, least: float) -> Array:
    """The midpoints, of sums (..., 1 + dim_value) in float64. ``least``: the sum of the weights, which is what
    sqrt(B^2 - c |A|^2) comes to where all values are one."""
    return midpoint_of_sums(sums[..., :-1], sums[..., -1:], c, least)


def gyromidpoint_backward(sums: Array, grad: Array, c: float, least: float) -> tuple[Array, float]:
    """The gradients of the sums and of c."""
    spatial, time = sums[..., :-1], sums[..., -1:]
    square = dot(spatial, spatial)
    root = np.sqrt(np.maximum(time**2 - c * square, 0.0))
    moves = root > least  # elsewhere the root is constant
    root = np.where(moves, root, max(least, 1e-12))
    whole = time + root
    pull = dot(grad, spatial) / whole**2
    by_root = np.where(moves, pull / root, 0.0)
    of_sums = np.concatenate([grad / whole + c * by_root * spatial, -pull - by_root * time], axis=-1)
    return of_sums, float(0.5 * (by_root * square).sum())


def is_cancelling(sums: Array, c: float) -> Any:
    """Rows (...) whose midpoint lies so far out that float32 sums do not tell it from the boundary."""
    spatial, time = sums[..., :-1], sums[..., -1]
    square = time * time
    left = square - c * np.einsum("...i,...i->...", spatial, spatial)
    return (left < 2.5e-3 * square) & (time > 1e-3)


# --- tangent space of the origin


def log0(x: Array, c: float) -> Array:
    return _radial(x, c, _artanh_ratio)[0]


def log0_backward(x: Array, grad: Array, c: float) -> tuple[Array, float]:
    return _radial_backward(x, grad, c, _artanh_ratio)


def exp0(v: Array, c: float) -> Array:
    return _radial(v, c, _tanh_ratio)[0]


def half_factors_of_exp0(v: Array, c: float) -> Array:
    """1 / (1 - c |x|^2) of x = exp_0(v) as ``kept_inside`` leaves it, (..., 1): cosh^2(sqrt(c) |v|), for of a float32 x
    near the boundary 1 - |x| has few digits left."""
    v = v.astype(np.float64)
    factors: Array = np.cosh(np.minimum(np.sqrt(c * dot(v, v)), FARTHEST)) ** 2
    return factors


def exp0_backward(v: Array, grad: Array, c: float) -> tuple[Array, float]:
    return _radial_backward(v, grad, c, _tanh_ratio)


#: r -> phi(r) and phi'(r) / r
Radial = Callable[[Array], tuple[Array, Array]]


def _artanh_ratio(r: Array) -> tuple[Array, Array]:
    phi = ratio(np.arctanh(r), r)
    return phi, np.where(r < 1e-3, 2 / 3 + 0.8 * r**2, (1 / (1 - r**2) - phi) / np.maximum(r, 1e-3) ** 2)


def _tanh_ratio(r: Array) -> tuple[Array, Array]:
    phi = ratio(np.tanh(r), r)
    return phi, np.where(r < 1e-3, -2 / 3 + 8 / 15 * r**2, (1 - np.tanh(r) ** 2 - phi) / np.maximum(r, 1e-3) ** 2)


def _radial(x: Array, c: float, function: Radial) -> tuple[Array, Array, Array]:
    """phi(sqrt(c) |x|) x, phi, and phi' / r."""
    x = x.astype(np.float64)
    phi, slope = function(np.sqrt(c * dot(x, x)))
    return phi * x, phi, slope


def _radial_backward(x: Array, grad: Array, c: float, function: Radial) -> tuple[Array, float]:
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    _, phi, slope = _radial(x, c, function)
    along = slope * dot(x, grad)
    return phi * grad + c * along * x, float((0.5 * along * dot(x, x)).sum())
