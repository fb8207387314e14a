"""Products and single rows beside float64.

A sum of k products loses at most k U of the sum of their absolutes. A row that is normalised is divided by a root of a
sum of squares, which has half the relative error of that sum. What works in double inside (points of the ball) is
asked for float32's rounding of the answer, and for what a relative change of 2^-44 of the inputs moves it by: double
has 9 more bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ruvector_attention import kernels
from ruvector_attention.reference._table import strided

from . import shadow
from .rounding import LARGEST, LEAST, U, chain
from .sensitivity import ROOM, STEP, moved_by
from .softmax_checks import told


@shadow.checks("gemm", 3)
def _gemm(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    a, b, bias, out = arguments[:4]
    m, n, k, a_row, a_col, b_row, b_col, start, stop = arguments[4:]
    if m * n * k > 16 * shadow.MOST:
        return False
    left, right = (strided(x, shape, strides).astype(np.float64)
                   for x, shape, strides in ((a, (m, k), (a_row, a_col)), (b, (k, n), (b_row, b_col))))  # fmt: skip
    exact, sums = left @ right, np.abs(left) @ np.abs(right)
    if bias is not None:
        exact, sums = exact + bias.reshape(-1)[:n], sums + np.abs(bias.reshape(-1)[:n].astype(np.float64))
    found = out.reshape(-1)[: m * n].reshape(m, n)[start:stop]
    held = sums[start:stop] < LARGEST  # beyond, a sum may leave float32 on its way
    bound = (k + 2) * U * sums[start:stop] + k * LEAST
    shadow.within("gemm's answer", found[held], exact[start:stop][held], bound[held])
    return True


@shadow.checks("tanh", 1)
def _tanh(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    x, out, count = arguments
    exact = np.tanh(x.reshape(-1)[:count].astype(np.float64))
    shadow.within("tanh's answer", out.reshape(-1)[:count], exact, 8 * U * np.abs(exact))
    return True


@shadow.checks("normalize_rows", 1)
def _normalize_rows(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    _, out, rows, dim = arguments
    given = outputs.given(arguments, np.float64)
    shadow.body("normalize_rows", given)
    exact = given[1].reshape(-1)[: rows * dim]
    bound, held = (0.5 * dim + 6) * U * np.abs(exact), np.isfinite(exact)
    shadow.within("normalize_rows' answer", out.reshape(-1)[: rows * dim][held], exact[held], bound[held])
    return True


@shadow.checks("normalize_rows_backward", 2)
def _normalize_rows_backward(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    """(g - y <y, g>) / |x|, where all may cancel that there is."""
    x, grad, out, rows, dim = arguments
    given = outputs.given(arguments, np.float64)
    shadow.body("normalize_rows_backward", given)
    wide, g = (np.abs(a.reshape(-1)[: rows * dim].reshape(rows, dim).astype(np.float64)) for a in (x, grad))
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    safe = np.where(length == 0, np.inf, length)
    unit = wide / safe
    sums = g + unit * (unit * g).sum(axis=-1, keepdims=True)
    bound = ((1.5 * dim + 8) * U * sums + (dim + 4) * LEAST) / safe + LEAST
    exact, found = (a.reshape(-1)[: rows * dim].reshape(rows, dim) for a in (given[2], out))
    before = outputs.before[2].reshape(-1)[: rows * dim].reshape(rows, dim).astype(np.float64)
    held = (np.abs(exact) + bound < LARGEST) & (sums / safe < LARGEST)
    shadow.within("normalize_rows_backward's answer", found[held], exact[held], (bound + 2 * U * np.abs(before))[held])
    return True


@shadow.checks("rotate_rows", 3)
def _rotate_rows(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    x, cosines, sines, out = arguments[:4]
    batch, n, heads, dim, pairs, table_batch, interleaved, _ = arguments[4:]
    given = outputs.given(arguments, np.float64)
    shadow.body("rotate_rows", given)
    exact = given[3].reshape(-1)[: batch * n * heads * dim]
    sizes = np.abs(x.reshape(-1)[: exact.size].astype(np.float64)).reshape(batch, n, heads, dim)
    first = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    second = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    c, s = (
        np.abs(strided(t, (batch, n, 1, pairs), (table_batch, pairs, 0, 1)).astype(np.float64))
        for t in (cosines, sines)
    )
    bound = np.zeros_like(sizes)
    bound[..., first] = sizes[..., first] * c + sizes[..., second] * s
    bound[..., second] = sizes[..., first] * s + sizes[..., second] * c
    held = bound.reshape(-1) < LARGEST
    found = out.reshape(-1)[: exact.size]
    shadow.within("rotate_rows' answer", found[held], exact[held], (3 * U * bound.reshape(-1) + 2 * LEAST)[held])
    return True


@shadow.checks("all_finite")
def _all_finite(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    exact = shadow.body("all_finite", list(arguments))
    shadow.same("all_finite's answer", np.array([status]), np.array([exact]))
    return True


@shadow.checks("feature_logs", 2)
def _feature_logs(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    x, addend, out, rows, dim, kind, factor = arguments
    given = outputs.given(arguments, np.float64)
    exact_status = shadow.body("feature_logs", given)
    size = rows if kind == 0 else rows * dim
    s = np.abs(x.reshape(-1)[: rows * dim].reshape(rows, dim).astype(np.float64) * factor)
    if not told("feature_logs", status, exact_status, s.max(initial=0.0) ** 2 * dim * 1e9, [x]):
        return False
    exact, found = given[2].reshape(-1)[:size], out.reshape(-1)[:size]
    if kind == 0:
        bound = (dim + 4) * U * 0.5 * (s * s).sum(axis=-1)
        bound += 0 if addend is None else U * np.abs(addend.reshape(-1)[:rows].astype(np.float64))
        bound += dim * LEAST
    else:  # a logarithm of s (1 + 2 U) is off by 2 U, and by its own rounding
        bound = (
            4 * U * (1 + np.abs(np.where(np.isfinite(exact), exact, 0.0).reshape(rows, dim)) + np.minimum(s, LARGEST))
        ).reshape(-1)
        if kind == 2:  # and where s itself is held in few bits
            bound += LEAST / np.maximum(s.reshape(-1), LEAST)
    nothing = np.isneginf(exact)
    shadow.same("a logarithm of 0", found[nothing], exact[nothing].astype(np.float32))
    shadow.within("feature_logs' answer", found[~nothing], exact[~nothing], bound[~nothing])
    return True


def _in_double(name: str, place: int, moving: tuple[int, ...]) -> None:
    """A kernel that works in double inside."""

    def check(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
        given = outputs.given(arguments, np.float64)
        exact_status = shadow.body(name, given)
        exact = given[place]
        if status != kernels.OK or exact_status != kernels.OK or not np.isfinite(exact).all():
            return False  # of what is not finite nothing is asked: those who read it next tell it
        moved = moved_by(name, arguments, outputs, moving, 2.0**-44)[place]
        shadow.within(f"{name}'s answer", arguments[place], exact, 2 * U * np.abs(exact) + 8 * moved + 4 * LEAST)
        return True

    shadow.checks(name, place)(check)


_in_double("ball_rows", 2, (0, 1))
_in_double("ball_midpoints", 2, (0, 1))
_in_double("space_aux", 3, (0,))


@shadow.checks("ball_attention", 3)
def _ball_attention(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    """The move of the answer, and what the error d of a score does: chain(dim) + 24 roundings of a distance, which
    changes weights by e^(2 d) - 1 of themselves and so a mean by that share of the largest value."""
    query, keys, values, out = arguments[:4]
    n_query, n_key, dim, dim_value, scale, c = arguments[4:]
    given = outputs.given(arguments, np.float64)
    exact_status = shadow.body("ball_attention", given)
    if status != kernels.OK or exact_status != kernels.OK or n_query * n_key > shadow.MOST:
        return False  # it is not this kernel's to answer, and near that limit either may say so
    q, k = (x.reshape(-1)[: n * dim].reshape(n, dim).astype(np.float64) for x, n in ((query, n_query), (keys, n_key)))
    square = ((q[:, None] - k[None]) ** 2).sum(axis=-1) * c
    gaps = [1 - c * (x * x).sum(axis=-1) for x in (q, k)]
    farthest = float(2 * np.arcsinh(np.sqrt(square / (gaps[0][:, None] * gaps[1]))).max() / np.sqrt(c))
    error = float(np.expm1(min(2 * (chain(dim) + 24) * U * abs(scale) * farthest, 1.0)))
    move = moved_by("ball_attention", arguments, outputs, (0, 1, 2), STEP)[3].reshape(-1)[: n_query * dim_value]
    exact, found = (x.reshape(-1)[: move.size].reshape(n_query, dim_value) for x in (given[3], out))
    rows = move.reshape(exact.shape).max(axis=-1, keepdims=True)
    largest = float(np.abs(values).max(initial=0.0))
    room = (
        ROOM * np.maximum(rows, rows.max(initial=0.0) / 64)
        + 32 * U * np.abs(exact)
        + (error + n_key * U) * largest
        + 64 * LEAST
    )
    shadow.within("ball_attention's answer", found, exact, room)
    return True


@shadow.checks("orthogonal_rows", 2)
def _orthogonal_rows(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    """Right by its definition rather than beside one way to compute it: at right angles, as long as they should be."""
    _, lengths, out, count, dim = arguments
    rows = out.reshape(-1)[: count * dim].reshape(count, dim).astype(np.float64)
    wanted = np.linalg.norm(lengths.reshape(-1)[: count * dim].reshape(count, dim), axis=1)
    room = (dim + 8) * 2 * U * wanted[:, None] * wanted[None]
    shadow.within("orthogonal_rows' products", rows @ rows.T, np.diag(wanted**2), room)
    return True
