"""The Poincaré ball of curvature -c: the points with |x| < 1 / sqrt(c) (Nickel & Kiela, 2017; Ganea et al., 2018).

Points that come in outside are projected to just inside, and every point that comes out is strictly inside. With the
conformal factor lambda_x = 2 / (1 - c |x|^2), a tangent vector v at x has the length lambda_x |v|.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import ArrayLike, as_numbers, require_finite
from ..errors import DimensionMismatchError
from . import lorentz
from ._points import TINY, Array, dot, length, negative, number, overflow_is_told, points, ratio, weights_of

#: How far inside of the boundary projected points lie, as a share of the radius: what float32, and what float64, tell
#: from the boundary itself.
BALL_EPS = {np.float32: 1e-6, np.float64: 1e-10}


@overflow_is_told
def project_to_ball(x: ArrayLike, curvature: float = -1.0, eps: float | None = None) -> Any:
    """x where it is inside; x / |x| * (1 - eps) / sqrt(c) where it is not. eps is 1e-6, in float64 1e-10.

    >>> project_to_ball([[3.0, 4.0], [0.3, 0.4]], eps=0.5)
    array([[0.3, 0.4],
           [0.3, 0.4]], dtype=float32)
    """
    c = negative(curvature)
    given = points(x=x)
    share = BALL_EPS[given.dtype] if eps is None else number("eps", eps, above=0, below=1)
    return given.answer(_inside(given.arrays[0], c, share))


@overflow_is_told
def conformal_factor(x: ArrayLike, curvature: float = -1.0) -> Any:
    """lambda_x, (..., 1)."""
    c, (x,), answer = _enter(curvature, x=x)
    return answer(_factor(x, c), inside=False)


@overflow_is_told
def mobius_add(x: ArrayLike, y: ArrayLike, curvature: float = -1.0) -> Any:
    """((1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y) / (1 + 2c<x,y> + c^2 |x|^2 |y|^2)"""
    c, (x, y), answer = _enter(curvature, x=x, y=y)
    return answer(_add(x, y, c))


@overflow_is_told
def mobius_scalar(factor: float, x: ArrayLike, curvature: float = -1.0) -> Any:
    """factor (*) x = tanh(factor * artanh(sqrt(c) |x|)) x / (sqrt(c) |x|)"""
    c, (x,), answer = _enter(curvature, x=x)
    factor = number("factor", factor)
    norm = np.sqrt(c) * length(x)
    return answer(ratio(np.tanh(factor * np.arctanh(norm)), norm, factor) * x)


@overflow_is_told
def mobius_matvec(matrix: ArrayLike, x: ArrayLike, curvature: float = -1.0) -> Any:
    """M (*) x = exp_0(M log_0(x)), with M (n, dim): (..., n)."""
    c, (x,), answer = _enter(curvature, x=x)
    m = as_numbers("matrix", matrix).astype(np.float64)
    if m.ndim != 2 or m.shape[1] != x.shape[-1]:
        raise DimensionMismatchError(
            f"matrix is {m.shape}; expected (n, dim) with dim = {x.shape[-1]}, from x {x.shape}"
        )
    require_finite("matrix", m)
    return answer(_exp0(_log0(x, c) @ m.T, c))


@overflow_is_told
def distance(x: ArrayLike, y: ArrayLike, curvature: float = -1.0) -> Any:
    """(1/sqrt(c)) arcosh(1 + 2c|x-y|^2 / ((1-c|x|^2)(1-c|y|^2))), (...)

    >>> distance([0.0, 0.0], [0.5, 0.0])
    np.float32(1.0986123)
    """
    c, (x, y), answer = _enter(curvature, x=x, y=y)
    return answer(_distance(x, y, c)[..., 0], inside=False)


@overflow_is_told
def exp_map(x: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """The point that the geodesic from x with velocity v reaches at time 1."""
    c = negative(curvature)
    given = points(x=x, v=v)
    eps = BALL_EPS[given.dtype]
    x, v = given.arrays
    x = _inside(x, c, eps)
    norm = length(v)
    reach = np.tanh(0.5 * np.sqrt(c) * _factor(x, c) * norm)
    return given.answer(_inside(_add(x, reach * v / (np.sqrt(c) * np.maximum(norm, TINY)), c), c, eps))


@overflow_is_told
def log_map(x: ArrayLike, y: ArrayLike, curvature: float = -1.0) -> Any:
    """The velocity with which exp_map goes from x to y."""
    c, (x, y), answer = _enter(curvature, x=x, y=y)
    step = _difference(x, y, c)
    return answer(_distance(x, y, c) / _factor(x, c) * step / np.maximum(length(step), TINY), inside=False)


@overflow_is_told
def transport(x: ArrayLike, y: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """The tangent vector v at x carried along the geodesic to y; its length stays."""
    c = negative(curvature)
    given = points(x=x, y=y, v=v)
    eps = BALL_EPS[given.dtype]
    x, y = (_inside(array, c, eps) for array in given.arrays[:2])
    return given.answer(_factor(x, c) / _factor(y, c) * _gyration(y, -x, given.arrays[2], c))


@overflow_is_told
def inner_product(x: ArrayLike, u: ArrayLike, v: ArrayLike, curvature: float = -1.0) -> Any:
    """Of two tangent vectors at x, lambda_x^2 <u, v>, (...)."""
    c = negative(curvature)
    given = points(x=x, u=u, v=v)
    x, u, v = given.arrays
    return given.answer((_factor(_inside(x, c, BALL_EPS[given.dtype]), c) ** 2 * dot(u, v))[..., 0])


@overflow_is_told
def gyromidpoint(x: ArrayLike, weights: ArrayLike | None = None, curvature: float = -1.0) -> Any:
    """1/2 (*) (sum w lambda x / sum w (lambda - 1)) of rows x (..., n, dim) with weights (..., n): (..., dim).

    It is the hyperboloid's centroid (Ungar, 2008), seen in the ball.
    """
    c, (x,), answer = _enter(curvature, x=x)
    w = weights_of(weights, x)
    factor = _factor(x, c)
    return answer(midpoint_of_sums((w * factor * x).sum(axis=-2), (w * (factor - 1)).sum(axis=-2), c))


@overflow_is_told
def frechet_mean(
    x: ArrayLike, weights: ArrayLike | None = None, curvature: float = -1.0, tolerance: float = 1e-6
) -> Any:
    """The point with the least sum w d^2 to the rows of x (..., n, dim) with weights (..., n): (..., dim).

    Iterated until it is within ``tolerance`` / sqrt(c) of the exact one.
    """
    c, (x,), answer = _enter(curvature, x=x)
    tolerance = number("tolerance", tolerance, above=0)
    w = weights_of(weights, x)[..., 0]
    lead = np.broadcast_shapes(w.shape[:-1], x.shape[:-2])
    rows = np.broadcast_to(x, (*lead, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    shares = np.broadcast_to(w, (*lead, x.shape[-2])).reshape(-1, x.shape[-2])
    root = np.sqrt(c)
    means = [
        lorentz.mean_of(to_unit_hyperboloid(root * row), share[None], tolerance)[0]
        for row, share in zip(rows, shares, strict=True)
    ]
    mean = np.stack(means).reshape(*lead, -1)
    return answer(mean[..., 1:] / (1 + mean[..., :1]) / root)


@overflow_is_told
def to_hyperboloid(x: ArrayLike, curvature: float = -1.0) -> Any:
    """The same points on the hyperboloid, (..., 1 + dim), time first."""
    c, (x,), answer = _enter(curvature, x=x)
    return answer(to_unit_hyperboloid(np.sqrt(c) * x) / np.sqrt(c), inside=False)


# --- in float64, of points inside; (..., 1) where a number belongs to a row


def to_unit_hyperboloid(x: Array) -> Array:
    """Of the ball with c = 1."""
    half = 0.5 * _factor(x, 1.0)
    return np.concatenate([2 * half - 1, 2 * half * x], axis=-1)


def midpoint_of_sums(spatial: Array, time: Array, c: float, least: Array | float = 0.0) -> Array:
    """1/2 (*) (spatial / time): ``spatial`` and ``time`` are sqrt(c) times coordinates on the hyperboloid, and what
    lies on the axis of the normalised one is A / (B + sqrt(B^2 - c A^2)). ``least``: a lower bound of that root."""
    root = np.maximum(np.sqrt(np.maximum(time**2 - c * dot(spatial, spatial), 0.0)), least)
    midpoint: Array = spatial / np.maximum(time + root, TINY)
    return midpoint


def _enter(curvature: float, **named: ArrayLike) -> tuple[float, list[Array], Any]:
    """c, the points inside the ball, and the function that makes an answer of a result."""
    c = negative(curvature)
    given = points(**named)
    eps = BALL_EPS[given.dtype]

    def answer(result: Array, inside: bool = True) -> Any:
        return given.answer(_inside(result, c, eps) if inside else result)

    return c, [_inside(array, c, eps) for array in given.arrays], answer


def _inside(x: Array, c: float, eps: float) -> Array:
    norm = length(x)
    limit = (1.0 - eps) / np.sqrt(c)
    return x if (norm <= limit).all() else np.where(norm > limit, x * (limit / np.maximum(norm, TINY)), x)


def _factor(x: Array, c: float) -> Array:
    factor: Array = 2.0 / (1.0 - c * dot(x, x))
    return factor


def _add(x: Array, y: Array, c: float) -> Array:
    xy, xx, yy = dot(x, y), dot(x, x), dot(y, y)
    total: Array = ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c**2 * xx * yy)
    return total


def _difference(x: Array, y: Array, c: float) -> Array:
    """-x (+) y, from y - x: nothing cancels where the two are close."""
    gap = y - x
    square, inner = dot(gap, gap), 1 - c * dot(x, x)
    step: Array = (inner * gap - c * square * x) / (inner * (1 - c * dot(y, y)) + c * square)
    return step


def _distance(x: Array, y: Array, c: float) -> Array:
    gap = y - x
    sine = np.sqrt(c * dot(gap, gap) / ((1 - c * dot(x, x)) * (1 - c * dot(y, y))))
    d: Array = 2.0 * np.arcsinh(sine) / np.sqrt(c)  # arcosh(1 + 2 s^2) = 2 arsinh(s)
    return d


def _gyration(u: Array, v: Array, w: Array, c: float) -> Array:
    """gyr[u, v] w = -(u (+) v) (+) (u (+) (v (+) w)), for vectors w of any length."""
    uv, uw, vw = dot(u, v), dot(u, w), dot(v, w)
    uu, vv = dot(u, u), dot(v, v)
    of_u = -(c**2) * uw * vv + c * vw + 2 * c**2 * uv * vw
    of_v = -(c**2) * vw * uu - c * uw
    return w + 2 * (of_u * u + of_v * v) / (1 + 2 * c * uv + c**2 * uu * vv)


def _exp0(v: Array, c: float) -> Array:
    norm = np.sqrt(c) * length(v)
    return ratio(np.tanh(norm), norm) * v


def _log0(x: Array, c: float) -> Array:
    norm = np.sqrt(c) * length(x)
    return ratio(np.arctanh(norm), norm) * x
