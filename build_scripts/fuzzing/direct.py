"""Kernels that no Python class calls, with numbers as a caller's: those of the JavaScript runtimes, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ruvector_attention import kernels

from . import shadow, verdicts
from .draw import Array

if TYPE_CHECKING:
    from .cases import Case


def run(case: Case) -> None:
    """Without them in a build, nothing."""
    with shadow.beside():
        for _ in range(case.draw.between(2, 12)):
            kernel = case.draw.one_of((_ball_rows, _ball_midpoints, _feature_logs, _orthogonal_rows, _edge_weights))
            if hasattr(kernels.active, kernel.__name__[1:]):
                kernel(case)


def _call(case: Case, name: str, *arguments: Any) -> None:
    case.trail = [f"{name}{[argument for argument in arguments if isinstance(argument, int | float)]}"]
    case.operations += 1
    status = getattr(kernels.active, name)(*arguments)
    verdicts.require(status != kernels.BAD_ARGUMENT, f"{name} refuses its arguments")


def _curvature(case: Case) -> float:
    return float(
        10.0 ** (case.draw.random.uniform(-1, 1) if case.draw.chance(0.7) else case.draw.random.uniform(-6, 6))
    )


def _points(case: Case, rows: int, dim: int, c: float) -> Array:
    """Inside of the ball, now and then all but at its boundary."""
    draw = case.draw
    x = draw.numbers(rows, dim, power=0.0).astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    reach = 1 - 10.0 ** -draw.random.uniform(0.01, 6)
    scaled = x / np.maximum(lengths, 1e-30) * (reach * draw.random.random() / np.sqrt(c))
    return np.where(lengths > 0, scaled, 0.0).astype(np.float32)


def _ball_rows(case: Case) -> None:
    draw = case.draw
    rows, dim, operation, c = draw.size(70), draw.size(70), draw.between(0, 7), _curvature(case)
    eps = draw.one_of((1e-5, 1e-6, 1e-3))
    x = _points(case, rows, dim, c)
    if operation in (0, 4):
        x = x * np.float32(10.0 ** draw.random.uniform(-8, 4))
    if operation == 5:
        factor = 2 / (1 - c * (x.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        x = np.concatenate([factor * x, factor - 1], axis=1).astype(np.float32)
    y = _points(case, rows, dim, c) if operation > 5 else None
    width = 1 if operation == 6 else dim + (operation == 2)
    out = np.full((rows, width), np.nan, np.float32)
    _call(case, "ball_rows", np.ascontiguousarray(x), y, out, rows, dim, operation, c, eps)


def _ball_midpoints(case: Case) -> None:
    draw = case.draw
    n_query, n_key, dim, c = draw.between(1, 9), draw.size(70), draw.size(70), _curvature(case)
    weights = np.abs(draw.numbers(n_query, n_key, power=0.0))
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-30))
    out = np.full((n_query, dim), np.nan, np.float32)
    _call(case, "ball_midpoints", weights, _points(case, n_key, dim, c), out, n_query, n_key, dim, c, 1e-5)


def _feature_logs(case: Case) -> None:
    draw = case.draw
    rows, dim, kind = draw.size(70), draw.size(70), draw.between(0, 3)
    x = draw.numbers(rows, dim)
    addend = draw.numbers(rows) if kind == 0 and draw.chance(0.5) else None
    out = np.full(rows if kind == 0 else (rows, dim), np.nan, np.float32)
    _call(case, "feature_logs", x, addend, out, rows, dim, kind, 10.0 ** draw.random.uniform(-3, 1))


def _orthogonal_rows(case: Case) -> None:
    random = np.random.default_rng(case.draw.between(0, 10**9))
    dim = case.draw.size(40)
    count = case.draw.between(1, dim)
    out = np.full((count, dim), np.nan, np.float32)
    _call(
        case,
        "orthogonal_rows",
        random.standard_normal((dim, dim)),
        random.standard_normal((count, dim)),
        out,
        count,
        dim,
    )


def _edge_weights(case: Case) -> None:
    """From the log-sum-exp that attention_sparse gives."""
    draw = case.draw
    heads, n_query, n_key, dim = draw.between(1, 3), draw.size(40), draw.size(40), draw.size(40)
    counts = draw.integers(0, 5, n_query)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    n_edges = int(indptr[-1])
    if not n_edges:
        return
    indices = draw.integers(0, n_key - 1, n_edges)
    query, keys = draw.numbers(n_query, heads * dim), draw.numbers(n_key, heads * dim)
    bias = draw.numbers(n_edges) if draw.chance(0.3) else None  # shared by all heads
    scale = 10.0 ** draw.random.uniform(-2, 2)
    out, lse = np.zeros((n_query, heads), np.float32), np.zeros((heads, n_query), np.float32)
    width = heads * dim
    status = kernels.active.attention_sparse(
        query, keys, np.zeros((n_key, heads), np.float32), indptr, indices, bias, out, lse,
        1, heads, heads, n_query, n_key, n_edges, dim, 1, n_query * width, dim, width, n_key * width, dim, width,
        n_key * heads, 1, heads, n_query * heads, 1, heads, 0, 0, 0, heads, scale,
    )  # fmt: skip
    if status != kernels.OK:
        return
    of_heads = None if bias is None else np.ascontiguousarray(np.broadcast_to(bias, (heads, n_edges)))
    weights = np.full((heads, n_edges), np.nan, np.float32)
    _call(case, "edge_weights", query, keys, indptr, indices, of_heads, lse, weights,
          heads, n_query, n_key, n_edges, dim, scale)  # fmt: skip
    owners = np.repeat(np.arange(n_query), counts)
    sums = np.zeros((n_query, heads))
    np.add.at(sums, owners, weights.T.astype(np.float64))
    verdicts.require(bool((np.abs(sums[counts > 0] - 1) <= verdicts.SUM_ERROR).all()), f"weights sum to {sums}")
