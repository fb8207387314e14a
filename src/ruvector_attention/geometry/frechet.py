"""Fréchet means in the ball and on the sphere, and their derivatives (Lou et al., 2020, by implicit functions).

Means in the ball are found on the unit hyperboloid, where a point of the ball of curvature -c, times sqrt(c), is
(lambda - 1, lambda x).
"""

from __future__ import annotations

import numpy as np

from ._points import TINY, Array, dot, ratio
from .lorentz import MOST_STEPS, angles, mean_of
from .midpoints import stretched_backward
from .poincare import to_unit_hyperboloid

TOLERANCE = 1e-6


def hyperboloid_rows(values: Array, c: float) -> Array:
    """Values (n, dim) of the ball as rows (n, 1 + dim) of the unit hyperboloid."""
    return to_unit_hyperboloid(np.sqrt(c) * values.astype(np.float64))


def hyperboloid_rows_backward(values: Array, grad: Array, c: float) -> tuple[Array, float]:
    """The gradients of values and c."""
    root = np.sqrt(c)
    unit = root * values.astype(np.float64)
    of_unit, _ = stretched_backward(unit, grad[:, 1:], 1.0, grad[:, :1])
    return root * of_unit, float((of_unit * unit).sum() / (2 * c))


def means(rows: Array, weights: Array, c: float) -> tuple[Array, Array]:
    """The means (m, 1 + dim) on the hyperboloid and (m, dim) in the ball, of rows (n, 1 + dim) and weights (m, n)."""
    found = mean_of(rows, weights, TOLERANCE)
    return found, found[:, 1:] / (1 + found[:, :1]) / np.sqrt(c)


def means_backward(rows: Array, weights: Array, found: Array, grad: Array, c: float) -> tuple[Array, Array, float]:
    """The gradients of weights (m, n), rows (n, 1 + dim) and c, from ``grad`` of the means in the ball.

    At a mean m, sum w log_m(p) = 0. With H the derivative of that by m, and r the gradient at m, a = H^-1 r gives the
    rest: by w it is <a, log_m(p)>, by p that of w <a, log_m(p)> with m and a held.
    """
    time, space = found[:, :1], found[:, 1:]
    on_ball = grad / np.sqrt(c) / (1 + time)
    of_c = -float((on_ball * space).sum() / (2 * c))
    # of the ambient coordinates, as a Minkowski vector: the sign of time is turned
    towards = np.concatenate([dot(on_ball, space) / (1 + time), on_ball], axis=1)
    signs = np.ones(rows.shape[1])
    signs[0] = -1.0
    cosh = np.maximum(-(found * signs) @ rows.T, 1.0)
    d, slope = angles(cosh)
    bend = slope * cosh  # d coth d
    near = d < 1e-3
    curving = np.where(near, -1 / 3, (1 - bend) / np.where(near, 1.0, d) ** 2)
    turned = np.where(near, -1 / 3, (1 - bend) / np.where(near, 1.0, cosh**2 - 1))  # slope by cosh
    answer = np.empty_like(found)
    for i in range(len(found)):
        if not weights[i].any():  # nothing to be the mean of
            answer[i] = 0.0
            continue
        m_time, m_space = time[i, 0], space[i]
        pull = slope[i, :, None] * (rows - cosh[i, :, None] * found[i])
        logs = pull[:, 1:] - pull[:, :1] / (1 + m_time) * m_space
        hessian = (logs * (weights[i] * curving[i])[:, None]).T @ logs
        hessian[np.diag_indices_from(hessian)] += max((weights[i] * bend[i]).sum(), TINY)
        tangent = towards[i] + (space[i] @ towards[i, 1:] - m_time * towards[i, 0]) * found[i]
        solved = np.linalg.solve(hessian, tangent[1:] - tangent[0] / (1 + m_time) * m_space)
        share = m_space @ solved / (1 + m_time)
        answer[i, 0] = share * (1 + m_time)
        answer[i, 1:] = solved + share * m_space
    inner = (answer * signs) @ rows.T
    of_rows = ((weights * slope).T @ answer - (weights * turned * inner).T @ found) * signs
    return slope * inner, of_rows, of_c


# --- on the unit sphere: the same with circular functions


def sphere_means(rows: Array, weights: Array) -> Array:
    """The means (m, dim) of rows (n, dim) of length 1 and weights (m, n), found downhill from the projected sum; zeros
    where there are no weights."""
    total = weights @ rows
    mean = total / np.maximum(np.sqrt(dot(total, total)), TINY)
    moving = np.arange(len(mean))
    for _ in range(MOST_STEPS):
        at = mean[moving]
        _, slope = _arc(at, rows)
        pull = (weights[moving] * slope) @ rows
        pull = (pull - dot(at, pull) * at) / np.maximum(weights[moving].sum(axis=1, keepdims=True), TINY)
        reach = np.sqrt(dot(pull, pull))
        moved = np.cos(reach) * at + ratio(np.sin(reach), reach) * pull
        # steps away from an antipode round by more than they turn
        mean[moving] = moved / np.maximum(np.sqrt(dot(moved, moved)), TINY)
        moving = moving[reach[:, 0] > TOLERANCE]
        if not moving.size:
            break
    return mean


def sphere_means_backward(rows: Array, weights: Array, found: Array, grad: Array) -> tuple[Array, Array]:
    """The gradients of weights (m, n) and of rows (n, dim), from ``grad`` of the means."""
    cosine, slope = _arc(found, rows)
    near = cosine > 1 - 1e-7
    bend = slope * cosine  # d cot d
    square = np.where(near, 1.0, slope**2 * (1 - cosine**2))  # d^2
    curving = np.where(near, 1 / 3, (1 - bend) / np.maximum(square, TINY))
    turned = np.where(near, -1 / 3, -(1 - bend) / np.where(near, 1.0, np.maximum(1 - cosine**2, 1e-12)))
    answer = np.zeros_like(found)
    for i in range(len(found)):
        if not weights[i].any():
            continue
        m, total = found[i], weights[i].sum()
        shares = weights[i] / total  # dropout may leave weights of 1e-30 alone
        logs = slope[i, :, None] * (rows - cosine[i, :, None] * m)
        hessian = (logs * (shares * curving[i])[:, None]).T @ logs
        # on the tangents H, and across them 1, so that it can be solved: what is asked for is a tangent
        hessian += (shares * bend[i]).sum() * (np.eye(len(m)) - np.outer(m, m)) + np.outer(m, m)
        answer[i] = np.linalg.solve(hessian, grad[i] - (grad[i] @ m) * m) / total
    inner = answer @ rows.T
    return slope * inner, (weights * slope).T @ answer + (weights * turned * inner).T @ found


def _arc(points: Array, rows: Array) -> tuple[Array, Array]:
    """cos(d) and d / sin(d) of every pair; the latter 0 for antipodes, towards which there is no one way."""
    cosine = np.clip(points @ rows.T, -1.0, 1.0)
    sine = np.sqrt(1 - cosine**2)
    slope = np.where(sine < 1e-8, np.where(cosine > 0, 1.0, 0.0), np.arccos(cosine) / np.maximum(sine, 1e-8))
    return cosine, slope
