"""Kernels whose error has no short formula, beside float64: gradients.

A gradient is a sum of products of many things, each computed in float32. Every one of these roundings is, to first
order, as if an input had been another by that much: a product's, as if one of its factors; a score's, as if a channel
of the query. So the body is asked how far its answer moves where all inputs move by a relative 16 U at random, several
times; to rounding errors of that size and of any signs the answer moves by no more than a few times that (the moves of
independent errors add up by their squares, so a handful of draws shows their size; ``ROOM`` is for the tails, for
chains longer than 16, and for all of the ways that no input stands for). Rows are looked at by their largest move: a
single component may stand still by accident. And a sum of n terms loses n U of the sum of their absolutes, which the
move tells as well. One thing no input stands for: kernels take weights as e^(score - log-sum-exp), whose log-sum-exp
came in float32, so that all weights of a row share an error of up to 4 U |log-sum-exp| (its own rounding, that of its
product with log2(e), the score's, their difference's) and of the scores' own errors, where the body's sum to 1.
Recompute.py sends scores for which that is much to the body.

Nor may a move be trusted where it carries the inputs out of what a slope is defined for: points of the hyperboloid that
are closer than their times are exact meet where these move, and have no direction then. What the gradient of a score
loses by itself is therefore bounded apart (``_differences``).

What float32 cannot hold on the way to a gradient makes it infinite or NaN, which base.py refuses to hand out: where the
largest number that a kernel may meet (``_reach``) is beyond, that is no finding; any other number there is one.

What this finds is an answer that is wrong by more than rounding; not the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ruvector_attention.reference import attention as attention_body
from ruvector_attention.reference import geometry
from ruvector_attention.reference._table import strided

from . import shadow
from .draw import Array
from .rounding import FLUSHED, LARGEST, LEAST, U, chain
from .softmax_checks import scored

DRAWS = 3
ROOM = 24.0
STEP = 16 * U
GRADIENT = 1e-3  # of the spec: a gradient of float32 kernels, relative


def moved_by(
    name: str, arguments: tuple[Any, ...], outputs: shadow.Outputs, moving: tuple[int, ...], step: float
) -> dict[int, Array]:
    """The largest moves of the outputs, by their places, where the inputs at ``moving`` move by that share."""
    exact = outputs.given(arguments, np.float64)
    shadow.body(name, exact)
    random = np.random.default_rng(len(arguments))
    moves = {place: np.zeros_like(exact[place]) for place in outputs.before}
    for _ in range(DRAWS):
        given = outputs.given(arguments, np.float64)
        for place in moving:
            if arguments[place] is not None:
                array = arguments[place].astype(np.float64)
                signs = random.choice((-1.0, 1.0), array.shape) * random.uniform(0.5, 1.0, array.shape)
                given[place] = array * (1 + step * signs)
        shadow.body(name, given)
        for place, most in moves.items():
            np.maximum(most, np.abs(given[place] - exact[place]), out=most)
    return moves


def _gradients(
    name: str, moving: tuple[int, ...], places: tuple[int, ...], widths: Any, pairs: Any, lse: int | None = None,
    lost: Any = None, reach: Any = None,
) -> None:  # fmt: skip
    """A kernel that adds gradients to what its outputs hold. ``widths``: of the rows of each output, by the numbers;
    ``lse``: the place of the log-sum-exps that weights are computed anew from; ``lost``: what underflow may cost each
    output; ``reach``: the largest number on the way."""

    def check(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
        numbers = arguments[max(places) + 1 :]
        if pairs(numbers) > shadow.MOST // 2:
            return False
        exact = outputs.given(arguments, np.float64)
        shadow.body(name, exact)
        moves = moved_by(name, arguments, outputs, moving, STEP)
        factor = ROOM
        if lse is not None:
            sums = np.abs(arguments[lse].astype(np.float64))
            largest = float(np.where(np.isfinite(sums), sums, 0.0).max(initial=0.0))
            errors = float(score_errors(name, arguments))
            factor *= 1 + (largest + errors / (2 * U)) / 64
        floors = lost(arguments, numbers) if lost else (64 * LEAST,) * len(places)
        overflows = reach is not None and not reach(arguments, numbers) * 4 < LARGEST  # log2(e), and rounding
        for place, width, floor in zip(places, widths(numbers), floors, strict=True):
            if arguments[place] is None:
                continue
            found, right, move = (x.reshape(-1) for x in (arguments[place], exact[place], moves[place]))
            if overflows:
                found = np.where(np.isfinite(found), found, right)
            size = np.abs(right)
            if move.size % max(width, 1) == 0 and width > 1:
                move = np.repeat(move.reshape(-1, width).max(axis=1), width)
                size = np.repeat(size.reshape(-1, width).max(axis=1), width)
            if not (np.isfinite(right).all() and np.isfinite(move).all() and size.max(initial=0.0) < 1e37):
                continue  # beyond float32, or nearly
            # nor may the draws stand still by accident where a row is one number
            move = np.maximum(move, move.max(initial=0.0) / 64)
            if lse is not None and errors < GRADIENT / 8:
                contract = GRADIENT * float(np.abs(right).max(initial=0.0)) + ROOM * move + floor
                shadow.within(f"{name}'s answer {place}, by the contract,", found, right, contract)
            room = factor * move + 32 * U * size + floor
            shadow.within(f"{name}'s answer {place}", found, right, room)
        return True

    shadow.checks(name, *places)(check)


def score_errors(name: str, arguments: tuple[Any, ...]) -> float:
    """The largest error of a score: the way back computes it by other sums than the way there, whose log-sum-exp has
    the error of its own scores."""
    if name == "prefix_attention_backward":
        return 0.0  # the same function gives the logarithms of features both times
    if name != "attention_backward":
        dim, scale = int(arguments[13 + 6]), float(arguments[-1])
        sizes = [float(np.abs(x).max(initial=0.0)) for x in (arguments[0], arguments[1])]
        return chain(dim) * U * abs(scale) * dim * sizes[0] * sizes[1]
    n = attention_body._named([*attention_body.SHARED, *attention_body.VALUE, *attention_body.SCORE,
                               *attention_body.FLOATS], arguments[25:])  # fmt: skip
    at = scored(n, list(arguments[:14]))
    return float(np.where(at.scores > -np.inf, at.errors, 0.0).max(initial=0.0))


def largest(x: Array) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=0.0))


def _reach(q: Array, k: Array, v: Array, out: Array, grad: Array, scale: float, n: int) -> float:
    """<grad, v> and <grad, out> are sums of dim_value terms; dS, at most both of them, is summed with rows of queries
    and keys over ``n`` of the other, and then multiplied by the scale."""
    rows = n * max(largest(q), largest(k))
    return float(v.shape[-1] * largest(grad) * (largest(v) + largest(out)) * max(1.0, rows, rows * abs(scale)))


def _reach_scored(a: tuple[Any, ...], n: tuple[Any, ...]) -> float:
    dropped = 1 / (1 - n[-1])
    plain = dropped * _reach(a[0], a[1], a[14], a[15], a[16], n[-4], max(n[3:5]) * (n[1] // n[2]))
    if not n[35]:
        return float(plain)
    at = attention_body._named([*attention_body.SHARED, *attention_body.VALUE, *attention_body.SCORE,
                                *attention_body.FLOATS], n)  # fmt: skip
    q, k = attention_body._queries(at, a[0]), attention_body._keys(at, a[1])
    steepest = 1.0
    for index, space in enumerate(geometry.spaces_of(a[8], a[9], at.n_segments)):
        raw = attention_body._Raw(at, space, index, q, k, a[10], a[11])
        by = geometry.slopes(space, raw.raw, raw.line, raw.lane)
        steepest = max(steepest, abs(space.weight), *(2 * largest(slope) for slope in by))
    return float(plain * steepest)


def _reach_sparse(a: tuple[Any, ...], n: tuple[Any, ...]) -> float:
    return _reach(a[0], a[1], a[2], a[6], a[7], n[-1], max(n[5], 1))


def _reach_prefix(a: tuple[Any, ...], n: tuple[Any, ...]) -> float:
    """What queries ask of the table is f(q) e^peaks / denominator, and may be as much as the reciprocal of the least
    denominator that is not computed anew; gradients are summed with it over queries, and values over keys."""
    asked = n[1] * 1e15
    terms = (n[5] + 1) * largest(a[7]) * (1 + largest(a[5])) * max(1.0, largest(a[4]))
    return float(terms * max(float(n[2]), asked))


def _underflow(
    q: Array, k: Array, v: Array, out: Array, grad: Array, scale: float, n_query: int, n_key: int
) -> tuple[float, float, float, float]:
    """Of gradients of query, keys, values and bias: where a weight is dropped that is below 2^-126, and where a product
    with the gradient of a score is."""
    sizes = [largest(x) for x in (q, k, v, out, grad)]
    of_products = v.shape[-1] * sizes[4] * (sizes[2] + sizes[3])
    of_score = 2 * FLUSHED * of_products + (v.shape[-1] + 8) * LEAST
    to_query, to_keys = (
        n * (abs(scale) + 1) * (x * of_score + 4 * LEAST) for n, x in ((n_key, sizes[1]), (n_query, sizes[0]))
    )
    return to_query, to_keys, n_query * (FLUSHED * sizes[4] + 4 * LEAST), n_query * of_score


def _underflow_scored(a: tuple[Any, ...], n: tuple[Any, ...]) -> tuple[float, ...]:
    found = _underflow(a[0], a[1], a[14], a[15], a[16], n[-4], n[3], n[4])
    if not n[35]:
        return (*found, 0.0, 0.0, found[3] * n[3])
    # derivatives of distances have no such bound: what is tiny is not looked at
    return tuple(max(x, 1e-24) for x in (*found, 0.0, 0.0, 0.0))


def _differences(a: tuple[Any, ...], n: tuple[Any, ...]) -> tuple[Array | float, ...]:
    """What gradients of distances lose besides: that of |q - k|^2, G, goes to both ends as q sum(G) - G k, in sums of
    up to n terms each, so (n + 16) U of |G| (|q| + |k|). It is what moving q and k by their own rounding would do; but
    where a segment has one channel only, the direction of q - k does not move with it.

    And dS = P (<dO, v> - <dO, out>) loses (dim_value + 4) U of the absolutes that it is the sum of, two chains of
    dim_value terms, their difference and product: times the slope of a score by whatever it depends on."""
    floors = _underflow_scored(a, n)
    if not n[35]:
        return floors
    at = attention_body._named([*attention_body.SHARED, *attention_body.VALUE, *attention_body.SCORE,
                                *attention_body.FLOATS], n)  # fmt: skip
    weights, _ = attention_body._softmax(attention_body._scores(at, *a[:14]))
    q, k, v = attention_body._queries(at, a[0]), attention_body._keys(at, a[1]), attention_body._values(at, a[14])
    o, do = (np.abs(attention_body._outputs(at, x).astype(np.float64)) for x in (a[15], a[16]))
    of_scores = weights * (np.abs(attention_body._kept(at)) * (do @ np.abs(v).swapaxes(-1, -2))
                           + (do * o).sum(axis=-1, keepdims=True))  # fmt: skip
    off = (at.dim_value + 4) * U * abs(at.scale) * of_scores  # of dS, times the scale
    to_query, to_keys = a[18].astype(np.float64) * 0, a[19].astype(np.float64) * 0
    to_aux = [None if x is None else x.astype(np.float64) * 0 for x in (a[22], a[23])]
    to_scalars = np.zeros((at.batch, at.kv_heads, 2 * at.n_segments + 2))
    hidden_aux = 0.0
    group = at.heads // at.kv_heads

    def of_group(x: Array) -> Array:
        summed: Array = x.sum(axis=(-1, -2)).reshape(at.batch, at.kv_heads, group).sum(axis=-1)
        return summed

    for index, space in enumerate(geometry.spaces_of(a[8], a[9], at.n_segments)):
        if space.kind == geometry.DOT:
            continue
        raw = attention_body._Raw(at, space, index, q, k, a[10], a[11])
        by = geometry.Slopes(*map(np.abs, geometry.slopes(space, raw.raw, raw.line, raw.lane)))
        g = 2 * abs(at.scale) * of_scores * by.square
        here = space.channels
        ends = np.abs(q[..., here]), np.abs(k[..., here])
        # a square that float32 holds in few bits or not at all tells no direction either: all of what it gives
        hidden = g * np.sqrt(raw.raw) * (raw.raw < 2.0**-126)
        from_q = ends[0] * g.sum(axis=-1)[..., None] + g @ ends[1]
        from_k = ends[1] * g.sum(axis=-2)[..., None] + g.swapaxes(-1, -2) @ ends[0]
        apart = 2 * (off * by.square)[..., None] * np.abs(q[..., :, None, here] - k[..., None, :, here])
        strides = (at.query_batch, at.query_head, at.query_row, 1)
        of_q = strided(to_query, (at.batch, at.heads, at.n_query, at.dim), strides)
        of_k = strided(to_keys, (at.batch, at.kv_heads, at.n_key, at.dim), (at.key_batch, at.key_head, at.key_row, 1))
        for b in range(at.batch):  # with a stride of 0 several items share their target
            for h in range(at.heads):
                of_q[b, h, :, here] += (at.n_key + 16) * U * from_q[b, h] + hidden[b, h].sum(axis=-1)[:, None]
                of_q[b, h, :, here] += apart[b, h].sum(axis=1)
                of_k[b, h // group, :, here] += (at.n_query + 16) * U * from_k[b, h] + hidden[b, h].sum(axis=0)[:, None]
                of_k[b, h // group, :, here] += apart[b, h].sum(axis=0)
        _to_aux(at, index, off, by, to_aux)
        to_scalars[..., 2 * index] += of_group(off * by.weight)
        # x^3 / 3 (geometry.h) underflows where x is small, before it is multiplied
        of_curvature = FLUSHED * abs(at.scale) * float(of_scores.sum()) * space.c**-1.5
        to_scalars[..., 2 * index + 1] += of_group(off * by.c) + of_curvature
        if ((raw.raw > 0) & (raw.raw < 2.0**-126)).any():  # nor what their aux and their curvature give
            hidden_aux = np.inf
    return (
        *(to_query.reshape(-1) + floors[0], to_keys.reshape(-1) + floors[1], *floors[2:4]),
        *(
            hidden_aux + floor + (0.0 if x is None else x.reshape(-1))
            for x, floor in zip(to_aux, floors[4:6], strict=True)
        ),
        hidden_aux + floors[6] + to_scalars.reshape(-1),
    )


def _to_aux(at: Any, index: int, off: Array, by: geometry.Slopes, to_aux: list[Any]) -> None:
    """Add what dS is off by to the gradients of aux, of the queries' and the keys'."""
    group = at.heads // at.kv_heads
    ends = (
        (to_aux[0], at.heads, at.n_query, (at.query_aux_batch, at.query_aux_head, at.query_aux_row, 1), off * by.b, 1),
        (to_aux[1], at.kv_heads, at.n_key, (at.key_aux_batch, at.key_aux_head, at.key_aux_row, 1), off * by.a, 0),
    )
    for array, heads, rows, strides, moved, axis in ends:
        if array is None:
            continue
        target = strided(array, (at.batch, heads, rows, at.n_segments), strides)
        for b in range(at.batch):
            for h in range(at.heads):
                target[b, h if axis else h // group, :, index] += moved[b, h].sum(axis=axis)


def _underflow_sparse(a: tuple[Any, ...], n: tuple[Any, ...]) -> tuple[float, ...]:
    return _underflow(a[0], a[1], a[2], a[6], a[7], n[-1], max(n[5], 1), max(n[5], 1))


def _underflow_prefix(a: tuple[Any, ...], n: tuple[Any, ...]) -> tuple[float, ...]:
    """A term of a denominator may be lost that is 2^-126 / 1e-15 of it (list_checks.py)."""
    grad, v, out = (largest(x) for x in (a[7], a[4], a[5]))
    lines = 64.0 + 4 * (n[1] + n[2]) * n[4]
    share = (n[1] + n[2]) * n[4] * FLUSHED / 1e-15
    return (*[share * n[5] * grad * (v + out) + LEAST * lines] * 2, share * grad + LEAST * lines)


_SCORED = (0, 1, 3, 10, 11, 14, 15, 16)  # query, keys, bias, aux; values, out, grad_out
_gradients(
    "attention_backward", _SCORED, (18, 19, 20, 21, 22, 23, 24),
    # dim is the sixth number; behind the 25 shared ones comes dim_value, and n_segments is the fourth of the scores'
    lambda n: (n[5], n[5], n[25], n[4], n[35], n[35], 1),
    lambda n: n[0] * n[1] * n[3] * n[4] * (1 + (n[5] if n[35] else 0)), 17, _differences, _reach_scored,
)  # fmt: skip
_gradients(
    "attention_sparse_backward", (0, 1, 2, 5, 6, 7), (9, 10, 11, 12),
    lambda n: (n[6], n[6], n[7], 1), lambda n: n[5] * n[6] * n[1], 8, _underflow_sparse,
    _reach_sparse,
)  # fmt: skip
_gradients(
    "prefix_attention_backward", (0, 1, 2, 4, 5, 7), (8, 9, 10),
    lambda n: (n[4], n[4], n[5]), lambda n: n[0] * max(n[1], n[2]) * n[4], 6, _underflow_prefix,
    _reach_prefix,
)  # fmt: skip
_gradients(
    "space_aux_backward", (0, 3), (4, 5), lambda n: (n[1], 1), lambda n: n[0] * n[1],
)  # fmt: skip
