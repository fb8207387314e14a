"""The attention kernels beside float64: scores of dot products and of distances, weights, outputs, the best keys.

The error of a score, before the softmax (rounding.py), as the kernels compute it:

    dot products    chain(dim) U of sum |q_c k_c|, times the scale, which is rounded as are their product and log2(e)
    bias            log2(e), the product and the sum, each one rounding of it
    distances       the squared difference is a sum of squares, each with the rounding of its difference: relative. What
                    becomes of it follows from the distance itself, between the ends of that interval; then 16 U of the
                    distance for a square root, a logarithm or arc sine (2 ulp each), products.
                    On the hyperboloid the difference of the times is taken off: absolute errors of both.
    decay           differences of times come from float32 differences to a tile's first key
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ruvector_attention import kernels
from ruvector_attention.reference import attention as body_of
from ruvector_attention.reference import geometry
from ruvector_attention.reference._table import strided, tasks_of

from . import rounding, shadow, verdicts
from .draw import Array
from .rounding import LARGEST, LEAST, U


class Scored(NamedTuple):
    """Of one call, (batch, heads, n_query, n_key): exact scores, their errors, the absolutes they are sums of, and the
    errors that are not relative to these, because a distance is steep there. ``reach``: the largest number on the
    way."""

    n: SimpleNamespace
    scores: Array
    errors: Array
    sums: Array
    steep: Array
    reach: float
    status: int


def named(names: list[str], numbers: tuple[Any, ...]) -> SimpleNamespace:
    return body_of._named(names, numbers)


def scored(n: SimpleNamespace, inputs: list[Any]) -> Scored:
    query, keys, _, bias, _, _, _, _, segments, spaces, query_aux, key_aux, query_time, key_time = inputs
    q, k = body_of._queries(n, query), body_of._keys(n, keys)
    exact = body_of._scores(n, *inputs)
    shape = exact.shape
    scale = abs(n.scale)
    steep, squares = np.zeros(shape), 0.0
    if segments is None or spaces is None:
        sums = scale * (np.abs(q) @ np.abs(k).swapaxes(-1, -2))
        errors = (rounding.chain(n.dim) + 4) * U * sums + n.dim * LEAST * (scale + 1)
    else:
        sums, errors = np.zeros(shape), np.zeros(shape)
        for index, space in enumerate(geometry.spaces_of(segments, spaces, n.n_segments)):
            raw = body_of._Raw(n, space, index, q, k, query_aux, key_aux)
            size, error, edge = _in_space(space, raw, q[..., space.channels], k[..., space.channels])
            steep = steep + scale * edge
            if space.kind != geometry.DOT:  # a distance may be within float32 whose square is not
                squares = max(squares, max(1.0, 2 * space.c) * float(np.max(raw.raw * raw.line * raw.lane
                              if space.kind == geometry.POINCARE else raw.raw, initial=0.0)))  # fmt: skip
            sums = sums + scale * size
            errors = errors + scale * error + (4 + n.n_segments) * U * scale * size
    if bias is not None:
        added = np.abs(strided(bias, shape, (n.bias_batch, n.bias_head, n.bias_row, n.bias_col)).astype(float))
        sums = sums + np.where(np.isfinite(added), added, 0.0)
        errors = errors + 4 * U * np.where(np.isfinite(added), added, 0.0)
    if query_time is not None and key_time is not None:
        decayed, error = _decay(n, query_time, key_time)
        sums, errors = sums + decayed, errors + error
    reach = max(squares, float(np.max(sums, initial=0.0)))
    # where everything hangs together the sum itself is rounded once more
    return Scored(n, exact, errors + U * sums, sums, steep, reach, kernels.OK)


def _in_space(space: geometry.Space, raw: Any, q: Array, k: Array) -> tuple[Array, Array, Array | float]:
    """(absolutes, errors, those of them that are not relative) of one segment's scores."""
    dim = max(q.shape[-1], 1)
    if space.kind == geometry.DOT:
        size = abs(space.weight) * (np.abs(q) @ np.abs(k).swapaxes(-1, -2))
        return size, rounding.chain(dim) * U * size + dim * LEAST * abs(space.weight), 0.0
    exact = geometry.scores(space, raw.raw, raw.line, raw.lane)
    error = (rounding.chain(dim) + 6) * U * raw.raw + dim * LEAST
    if space.kind == geometry.LORENTZ:
        error = error + 6 * U * (raw.line - raw.lane) ** 2
    size = np.abs(exact)
    moved, steep = np.zeros_like(exact), np.zeros_like(exact)
    for end in (raw.raw + error, np.maximum(raw.raw - error, 0.0)):
        moved = np.maximum(moved, np.abs(geometry.scores(space, end, raw.line, raw.lane) - exact))
    if space.kind == geometry.SPHERICAL:
        # at antipodes the arc sine is as steep as a root: of what half a chord near 1 loses, 4 U
        half = np.minimum(0.25 * space.c * raw.raw, 1.0)
        edge = np.arcsin(np.sqrt(np.minimum(half * (1 + 8 * U), 1.0))) - np.arcsin(np.sqrt(half * (1 - 8 * U)))
        distance = np.abs(exact / space.weight) ** (1 / space.power)
        slope = abs(space.weight) * space.power * distance ** (space.power - 1) * 2 / np.sqrt(space.c)
        moved = moved + slope * edge
        steep = slope * np.maximum(edge - 16 * U * np.arcsin(np.sqrt(half)), 0.0)
    return size, moved + 16 * space.power * U * size, steep


def _decay(n: SimpleNamespace, query_time: Array, key_time: Array) -> tuple[Array, Array]:
    of_query = strided(query_time, (n.batch, n.n_query), (n.query_time_batch, 1))
    of_keys = strided(key_time, (n.batch, n.n_key), (n.key_time_batch, 1))
    gaps = body_of._gaps(n, query_time, key_time)
    span = (np.max(of_keys, axis=-1) - np.min(of_keys, axis=-1))[:, None, None, None]
    ends = [np.abs(of_query - end(of_keys, axis=-1, keepdims=True)) for end in (np.min, np.max)]
    far = np.maximum(*ends)[:, None, :, None]
    decayed = abs(n.decay) * np.exp(-n.decay_rate * gaps)
    exponent = n.decay_rate * (3 * U * (far + span + gaps) + 2.0**-50 * (far + span)) + 3 * U * n.decay_rate * gaps
    return decayed, decayed * np.expm1(np.minimum(exponent + 8 * U, 700.0)) + abs(n.decay) * rounding.FLUSHED


def rows_done(n: SimpleNamespace, heads: int) -> Array:
    """(batch * heads, n_query): which rows this call's tasks are."""
    done = np.zeros((n.batch * heads, n.n_query), bool)
    for item, rows in tasks_of(n.start, n.stop, n.n_query):
        done[item, rows] = True
    return done.reshape(n.batch, heads, n.n_query)


def too_large(n: SimpleNamespace) -> bool:
    pairs = n.batch * n.heads * n.n_query * n.n_key
    return bool(pairs > shadow.MOST) or bool(pairs * max(n.dim, getattr(n, "dim_value", 1)) > 16 * shadow.MOST)


def told(what: str, status: int, exact_status: int, largest: Array | float, inputs: list[Any]) -> bool:
    """Whether both ways answered; that it was told where one did not, unless what float32 can hold is passed."""
    if status == kernels.OK and exact_status == kernels.OK:
        return True
    if status != kernels.OK and exact_status == kernels.OK:
        held = float(np.max(largest, initial=0.0)) * 4 < LARGEST  # log2(e), and what rises within a sum
        finite = all(
            np.isfinite(array).all() for array in inputs if isinstance(array, np.ndarray) and array.dtype.kind == "f"
        )
        verdicts.require(not (held and finite), f"{what} says that something is not finite; float64 does not")
    return False


def _output(names: list[str], count: int, arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    inputs = list(arguments[:5]) + (list(body_of.GENERAL) if count == 5 else list(arguments[5:14]))
    values, out, lse = arguments[count], arguments[count + 1], arguments[count + 2]
    n = named(names, arguments[count + 3 :])
    if too_large(n):
        return False
    name = "attention" if count == 5 else "attention_scored"
    at = scored(n, inputs)
    v, kept = body_of._values(n, values), body_of._kept(n)
    if inputs[4] is not None:
        unread = np.arange(n.n_key) >= inputs[4].reshape(-1)[: n.batch, None]
        v = np.where(unread[:, None, :, None], 0.0, v)
    soft = rounding.softmax(at.scores, at.errors)
    exact = (soft.weights * kept) @ v
    done = rows_done(n, n.heads)
    fine = bool(np.isfinite(exact[done]).all() and not np.isnan(at.scores).any())
    bound, mass = rounding.of_output(soft, kept, v, exact)
    largest = max(at.reach, float(np.max(mass, initial=0.0)) * n.n_key)
    if not told(name, status, kernels.OK if fine else kernels.NON_FINITE, largest, [*inputs, values]):
        return False
    found = body_of._outputs(n, out)
    if inputs[4] is None and float(np.max(np.abs(v), initial=0.0)) * n.n_key * 256 > LARGEST:
        return False  # sums of weights up to 2^8, before they are divided, may leave float32: told or not
    shadow.within(f"{name}'s output", found[done], exact[done], bound[done])
    if n.dim <= 512 and n.n_key <= 10_000:
        # of distances, what their scores are off by stands for their size: on the hyperboloid they are what is left
        sizes = np.maximum(at.sums, at.errors / ((rounding.chain(n.dim) + 16) * U))
        # the tolerance is one rounding of the largest score (2e-6 / 32 is U), which at antipodes is the least of it
        sizes = np.maximum(sizes, at.steep / U)
        seen = np.where(at.scores > -np.inf, sizes, 0.0)
        room = rounding.contract(mass[done], float(seen.max(initial=0.0)), n.n_key)
        shadow.within(f"{name}'s output, by the contract,", found[done], exact[done], room)
    before = body_of._outputs(n, outputs.before[count + 1])
    shadow.same(f"{name}'s output, elsewhere,", found[~done], before[~done])
    if lse is not None:
        _, sums = body_of._softmax(at.scores)
        of_lse = rounding.of_log_sum_exp(at.scores, at.errors, sums)
        rows = lse.reshape(-1)[: done.size].reshape(done.shape)
        empty = np.isneginf(sums) & done
        shadow.same("a log-sum-exp of nothing", rows[empty], sums[empty].astype(np.float32))
        some = done & ~empty
        shadow.within(f"{name}'s log-sum-exp", rows[some], sums[some], of_lse[some])
    return True


@shadow.checks("attention", 6, 7)
def _attention(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    return _output([*body_of.SHARED, *body_of.VALUE, "scale"], 5, arguments, outputs, status)


@shadow.checks("attention_scored", 15, 16)
def _attention_scored(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    names = [*body_of.SHARED, *body_of.VALUE, *body_of.SCORE, *body_of.FLOATS]
    return _output(names, 14, arguments, outputs, status)


@shadow.checks("attention_weights", 14)
def _attention_weights(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    n = named([*body_of.SHARED, *body_of.SCORE, *body_of.FLOATS], arguments[15:])
    if too_large(n):
        return False
    at = scored(n, list(arguments[:14]))
    fine = not np.isnan(at.scores).any()
    exact_status = kernels.OK if fine else kernels.NON_FINITE
    if not told("attention_weights", status, exact_status, at.reach, list(arguments[:14])):
        return False
    soft = rounding.softmax(at.scores, at.errors)
    done = rows_done(n, n.heads)
    found = arguments[14].reshape(-1)[: at.scores.size].reshape(at.scores.shape)
    count = soft.seen.sum(axis=-1, keepdims=True)
    bound = soft.reach + (count + 8) * U * (soft.weights + soft.reach)
    shadow.within("attention_weights' answer", found[done], soft.weights[done], bound[done])
    hidden = (at.scores == -np.inf) & done[..., None]
    shadow.same("a weight of what is hidden", found[hidden], np.zeros(int(hidden.sum()), np.float32))
    before = outputs.before[14].reshape(-1)[: at.scores.size].reshape(at.scores.shape)
    shadow.same("attention_weights' answer, elsewhere,", found[~done], before[~done])
    return True


@shadow.checks("attention_top_k", 14, 15)
def _attention_top_k(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    """That no key is left out which scores higher than one that is in by more than both errors."""
    n = named([*body_of.SHARED, *body_of.SCORE, "top_k", *body_of.FLOATS], arguments[16:])
    if too_large(n):
        return False
    at = scored(n, list(arguments[:14]))
    fine = not np.isnan(at.scores).any()
    exact_status = kernels.OK if fine else kernels.NON_FINITE
    if not told("attention_top_k", status, exact_status, at.reach, list(arguments[:14])):
        return False
    done = rows_done(n, n.heads)
    chosen = arguments[14].reshape(-1)[: done.size * n.top_k].reshape(*done.shape, n.top_k)
    counts = arguments[15].reshape(-1)[: done.size].reshape(done.shape)
    for place in np.argwhere(done):
        row = tuple(place)
        scores, off = at.scores[row], at.errors[row]
        picked, count = chosen[row], int(counts[row])
        seen = int((scores > -np.inf).sum())
        verdicts.require(count == min(n.top_k, seen), f"{count} of {seen} keys are the best {n.top_k}")
        keys = picked[:count]
        ordered = bool((np.diff(keys) > 0).all() and (picked[count:] == -1).all() and (keys >= 0).all())
        verdicts.require(ordered, f"the best keys are {picked.tolist()}, of which {count} count")
        left = np.ones(n.n_key, bool)
        left[keys] = False
        left &= scores > -np.inf
        verdicts.require(bool((scores[keys] > -np.inf).all()), "a key that is hidden is among the best")
        if count and left.any():
            least, most = float((scores + off)[keys].min()), float((scores - off)[left].max())
            verdicts.require(least >= most, f"a key of {most!r} is left out, one of {least!r} is among the best")
            even = float((scores - off)[keys].min()) <= float((scores + off)[left].max())
            rounding.Seen.decided = rounding.Seen.decided or even
    return True
