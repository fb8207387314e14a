"""The kernels of sparse and of linear attention beside float64: lists of keys, edges of graphs, running sums.

Each is a softmax over fewer keys, or over other scores, so its bounds are rounding.py's. Scores of edges are sums over
terms a LeakyReLU(z), z = source + target + edge: LeakyReLU moves no two numbers apart, so the error of z, 2 U of the
absolutes it is the sum of, times |a|, and the sum's own; nothing cancels in the bound that may cancel in the score. A
weight of linear attention is a sum over features of e^(l_r), every l_r with an error d_r of its own, thus between the
sums of e^(l_r - d_r) and of e^(l_r + d_r): the logarithm of that sum is the score, and these ends its error.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ruvector_attention import kernels
from ruvector_attention.reference import edges as edge_body
from ruvector_attention.reference import prefix as prefix_body
from ruvector_attention.reference import sparse as sparse_body
from ruvector_attention.reference._table import QUERY_BLOCK, strided, tasks_of

from . import rounding, shadow
from .draw import Array
from .rounding import U
from .softmax_checks import told

Within = tuple[str, Array, Array, Array]  # what shadow.within takes


def _rows_of(indptr: Array, first: int, count: int) -> tuple[Array, Array]:
    """(row, place in the row) of each edge: lists of different lengths as the lines of one array."""
    lengths = np.diff(indptr[first : first + count + 1])
    row = np.repeat(np.arange(count), lengths)
    return row, np.arange(row.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _lines(count: int, row: Array, place: Array, of_edges: Array, fill: float) -> Array:
    """(count, longest, ...) from numbers of edges (n_edges, ...)."""
    longest = int(place.max(initial=-1)) + 1
    lines = np.full((count, longest, *of_edges.shape[1:]), fill)
    lines[row, place] = of_edges
    return lines


@shadow.checks("attention_sparse", 6, 7)
def _attention_sparse(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    query, keys, values, indptr, indices, bias, out, lse = arguments[:8]
    n = SimpleNamespace(**dict(zip(sparse_body.NAMES, arguments[8:], strict=True)))
    if n.n_edges * max(n.dim, n.dim_value) * n.batch * n.heads > 16 * shadow.MOST:
        return False
    target = strided(out, (n.batch, n.heads, n.n_query, n.dim_value), (n.out_batch, n.out_head, n.out_row, 1))
    fine, largest, within = True, 0.0, list[Within]()
    for item, block in tasks_of(n.start, n.stop, n.n_query):
        b, h = divmod(item, n.heads)
        edges = sparse_body._edges(n, indptr, indices, b, h)
        rows = sparse_body._rows_of(n, edges, query, keys, values, bias, b, h)
        scale = abs(n.scale)
        q, k = rows.q[edges.query], rows.k[edges.key]
        scores, sums = n.scale * (q * k).sum(axis=-1), scale * np.abs(q * k).sum(axis=-1)
        errors = (rounding.chain(n.dim) + 5) * U * sums + n.dim * rounding.LEAST * (scale + 1)
        if bias is not None:
            added = bias[edges.edge].astype(np.float64)
            finite = np.where(np.isfinite(added), np.abs(added), 0.0)
            scores, sums, errors = scores + added, sums + finite, errors + 5 * U * finite
        at = b * n.indptr_batch + h * n.indptr_head
        row, place = _rows_of(indptr.reshape(-1), at, n.n_query)
        lines = _lines(n.n_query, row, place, scores, -np.inf)
        off = _lines(n.n_query, row, place, errors, 0.0)
        gathered = _lines(n.n_query, row, place, rows.v[edges.key], 0.0)
        soft = rounding.softmax(lines, off)
        exact = (soft.weights[:, None] @ gathered)[:, 0]
        fine = fine and bool(np.isfinite(exact[block]).all() and not np.isnan(lines).any())
        largest = max(
            largest,
            float(np.max(sums, initial=0.0)),
            float(np.max(np.abs(gathered), initial=0.0)) * max(lines.shape[1], 1) * 256,
        )
        one = rounding.Softmax(*(part[:, None] for part in soft))
        bound, _ = rounding.of_output(one, 1.0, gathered, exact[:, None])
        within.append(("attention_sparse's output", target[b, h, block], exact[block], bound[:, 0][block]))
        if lse is not None:
            found = lse.reshape(-1)[item * n.n_query :][block]
            room = rounding.of_log_sum_exp(lines, off, rows.lse)[block]
            some = rows.lse[block] > -np.inf
            within.append(("attention_sparse's log-sum-exp", found[some], rows.lse[block][some], room[some]))
    return _compared("attention_sparse", status, fine, largest, [query, keys, values, bias], within)


def _compared(what: str, status: int, fine: bool, largest: float, inputs: list[Any], within: list[Within]) -> bool:
    """Once all items are known: their status is one."""
    if not told(what, status, kernels.OK if fine else kernels.NON_FINITE, largest, inputs):
        return False
    for comparison in within:
        shadow.within(*comparison)
    return True


@shadow.checks("edge_weights", 6)
def _edge_weights(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    query, keys, indptr, indices, bias, lse, weights = arguments[:7]
    heads, n_query, n_key, n_edges, dim, scale = arguments[7:]
    given = outputs.given(arguments, np.float64)
    shadow.body("edge_weights", given)
    exact = given[6].reshape(-1)[: heads * n_edges].reshape(heads, n_edges)
    owners = np.repeat(np.arange(n_query), np.diff(indptr.reshape(-1)[: n_query + 1]))
    q, k = (np.abs(x.reshape(-1)[: n * heads * dim].reshape(n, heads, dim).astype(np.float64))
            for x, n in ((query, n_query), (keys, n_key)))  # fmt: skip
    sums = abs(scale) * np.einsum("ehd,ehd->he", q[owners], k[indices.reshape(-1)[:n_edges]])
    if bias is not None:
        added = np.abs(bias.reshape(-1)[: heads * n_edges].reshape(heads, n_edges).astype(np.float64))
        sums = sums + np.where(np.isfinite(added), added, 0.0)
    # scores are exact to float, once near their row's log-sum-exp, and then its maximum, is taken off
    shifts = np.abs(lse.reshape(-1)[: heads * n_query].reshape(heads, n_query).astype(np.float64))[:, owners]
    off = 2.0**-50 * (dim + 4) * (sums + np.where(np.isfinite(shifts), shifts, 0.0))
    with np.errstate(all="ignore"):
        far = np.where(exact > 0, -np.log(np.maximum(exact, 1e-300)), 800.0)
        off = off + 8 * U * (1 + far) + 4 * U * shifts * 2.0**-20  # the shift itself may miss the maximum by 2 U of it
        bound = exact * np.expm1(np.minimum(off, 700.0)) + rounding.FLUSHED
    found = weights.reshape(-1)[: exact.size].reshape(exact.shape)
    told_apart = np.isfinite(exact) & (off.max(axis=-1, keepdims=True, initial=0.0) < 0.5)
    shadow.within("edge_weights' answer", found[told_apart], exact[told_apart], bound[told_apart])
    return True


@shadow.checks("edge_attention", 9, 10)
def _edge_attention(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    n = SimpleNamespace(**dict(zip(edge_body.NAMES, arguments[11:], strict=True)))
    if n.n_edges * n.heads * max(n.terms, n.dim_value) * n.batch > 16 * shadow.MOST:
        return False
    source, target, edge, attention, _, indptr = arguments[:6]
    out, weights = arguments[9:11]
    of_out = out.reshape(-1)[: n.batch * n.n_target * n.heads * n.dim_value]
    blocks = -(-n.n_target // QUERY_BLOCK)
    fine, most, within = True, 0.0, list[Within]()
    for b in range(n.batch):
        tasks = range(max(n.start, b * blocks), min(n.stop, (b + 1) * blocks))
        if not tasks:
            continue
        fans = edge_body._Fans(n, b, tuple(arguments[:9]))
        absolute = tuple(None if x is None else np.abs(x) for x in (source, target, edge, attention))
        sizes = edge_body._Fans(n, b, (*absolute, *arguments[4:9]))
        scores = (fans.attention * fans.z * fans.step).sum(axis=-1)
        sums = (sizes.attention * sizes.z).sum(axis=-1)
        row, place = _rows_of(indptr, 0, n.n_target)
        lines = _lines(n.n_target, row, place, scores, -np.inf).swapaxes(1, 2)  # (n_target, heads, longest)
        off = _lines(n.n_target, row, place, (n.terms + 8) * U * sums + n.terms * 2 * rounding.LEAST, 0.0).swapaxes(
            1, 2
        )
        gathered = _lines(n.n_target, row, place, fans.values[fans.sources], 0.0).swapaxes(1, 2)
        keep = _lines(n.n_target, row, place, fans.keep, 0.0).swapaxes(1, 2)
        soft = rounding.softmax(lines, off)
        exact = ((soft.weights * keep)[..., None, :] @ gathered)[..., 0, :]
        rows = slice((tasks[0] - b * blocks) * QUERY_BLOCK, (tasks[-1] - b * blocks + 1) * QUERY_BLOCK)
        fine = fine and bool(np.isfinite(exact[rows]).all() and np.isfinite(fans.z.astype(np.float32)).all()
                             and np.isfinite(scores.astype(np.float32)).all())  # fmt: skip
        gathered_most = np.abs(gathered) * max(lines.shape[-1], 1)
        most = max(most, *(float(np.max(x, initial=0.0)) for x in (sums, sizes.z, gathered_most)))
        one = rounding.Softmax(*(part[..., None, :] for part in soft))
        bound, _ = rounding.of_output(one, keep[..., None, :], gathered, exact[..., None, :])
        found = of_out.reshape(n.batch, n.n_target, n.dim_value, n.heads)[b].swapaxes(1, 2)
        within.append(("edge_attention's output", found[rows], exact[rows], bound[..., 0, :][rows]))
        edges = slice(int(indptr[rows.start]), int(indptr[min(rows.stop, n.n_target)]))
        of_edges = weights.reshape(-1)[: n.batch * n.n_edges * n.heads].reshape(n.batch, n.n_edges, n.heads)[b]
        back = [part.swapaxes(1, 2)[row, place] for part in (soft.weights, soft.reach)]
        count = np.diff(indptr[: n.n_target + 1])[row][:, None]
        room = back[1] + (count + 8) * U * (back[0] + back[1])
        within.append(("edge_attention's weights", of_edges[edges], back[0][edges], room[edges]))
    return _compared("edge_attention", status, fine, most, list(arguments[:5]), within)


@shadow.checks("prefix_attention", 7, 8, 9, 10)
def _prefix_attention(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    query, keys, addend, weight, values, sums_before, _, sums, peaks, out, lse = arguments[:11]
    batch, n_query, n_key, dim, features, dim_value, causal, _, start, stop = arguments[11:]
    if sums_before is not None or n_query * n_key * features > 4 * shadow.MOST:
        return False
    given: list[Any] = [query, keys, addend, weight, values]
    absolute: list[Any] = [None if x is None else np.abs(x) for x in given]
    fine, largest, within = True, 0.0, list[Within]()
    for at in range(start, stop):
        sizes: list[Any] = [at, n_query, n_key, dim, features, dim_value]
        item, magnitude = prefix_body._item(*given, *sizes), prefix_body._item(*absolute, *sizes)
        v = item.extended[:, :-1]
        if not all(np.all(x < np.inf) for x in item):
            return False
        # each feature's logarithm; then the peak is taken off and comes again: twice the largest is between them
        share = (dim + 3) * U if weight is not None or addend is not None else 0.0
        own = [
            np.where(np.isneginf(exact), 0.0, size) * share + (dim + 4) * rounding.LEAST
            for exact, size in ((item.query, magnitude.query), (item.keys, magnitude.keys))
        ]
        logs = item.query[:, None] + item.keys[None]  # (n_query, n_key, features)
        held = logs > -np.inf
        peak = np.where(item.keys > -np.inf, np.abs(item.keys), 0.0).max(axis=0)
        off = (
            own[0][:, None]
            + own[1][None]
            + 4 * U * (np.where(held, np.abs(item.query[:, None]) + np.abs(item.keys[None]), 0.0) + peak)
            + 12 * U
        )
        top = np.where(held, logs, -np.inf).max(axis=-1, initial=-np.inf, keepdims=True)
        safe = np.where(np.isneginf(top), 0.0, top)
        exact_sum, raised, lowered = (
            np.where(held, np.exp(logs - safe + sign * off), 0.0).sum(axis=-1) for sign in (0.0, 1.0, -1.0)
        )
        if causal:
            seen = np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query
            exact_sum, raised, lowered = (np.where(seen, x, 0.0) for x in (exact_sum, raised, lowered))
        scores = np.log(exact_sum) + safe[..., 0]
        errors = np.where(exact_sum > 0, np.maximum(np.log(raised / exact_sum), np.log(exact_sum / lowered)), 0.0)
        soft = rounding.softmax(scores, errors + (features + n_key) * U)
        exact = soft.weights @ v
        fine = fine and bool(np.isfinite(exact).all())
        largest = max(largest, float(np.max(np.abs(v), initial=0.0)) * n_key * features)
        # a denominator below 1e-15 is computed anew, so no term is lost that is 2^-126 / 1e-15 of the whole
        lost = features * n_key * 2.0**-126 / 1e-15
        bound, mass = rounding.of_output(soft, 1.0, v, exact)
        # numerators and denominators are sums over features as well, each in chains, whatever the number of keys
        bound = bound + 2 * rounding.chain(features) * U * mass
        # and what underflows in the sums is divided by such a denominator
        bound = bound + lost * np.abs(v).sum(axis=0) + (n_key + features + 8) * rounding.LEAST / 1e-15
        found = out.reshape(-1)[: batch * n_query * dim_value].reshape(batch, n_query, dim_value)[at]
        within.append(("prefix_attention's output", found, exact, bound))
        seen_any = exact_sum.any(axis=-1)
        top_score = np.where(seen_any, scores.max(axis=-1, initial=-np.inf), 0.0)
        sum_of = np.log(np.exp(scores - top_score[:, None]).sum(axis=-1)) + top_score
        room = rounding.of_log_sum_exp(scores, errors + (features + n_key) * U, sum_of)[seen_any]
        of_rows = lse.reshape(-1)[: batch * n_query].reshape(batch, n_query)[at]
        within.append(("prefix_attention's log-sum-exp", of_rows[seen_any], sum_of[seen_any], room + lost))
        of_item = peaks.reshape(-1)[: batch * features].reshape(batch, features)[at]
        table = sums.reshape(-1)[: batch * (dim_value + 1) * features].reshape(batch, -1, features)[at]
        within += _table(item, own[1], v, of_item, table)
    return _compared("prefix_attention", status, fine, largest, list(given), within)


def _table(item: Any, errors: Array, v: Array, peaks: Array, sums: Array) -> list[Within]:
    """The largest logarithm of each feature, and the sums in its units: of terms as large as their logarithms' errors,
    which are raised to new units as peaks rise."""
    some = (item.keys > -np.inf).any(axis=0)
    top = item.keys.max(axis=0, initial=-np.inf)
    of_peaks = "prefix_attention's peaks", peaks[some], top[some], errors.max(axis=0, initial=0.0)[some]
    shift = peaks.astype(np.float64)[some]
    logs = item.keys[:, some]
    held = np.where(logs > -np.inf, np.abs(logs), 0.0)
    off = errors[:, some] + 4 * U * (held + np.abs(shift)) + 12 * U
    terms, raised = np.exp(logs - shift), np.exp(logs - shift + off)
    extended = np.concatenate([v, np.ones((len(v), 1))], axis=1)
    exact, size = extended.T @ terms, np.abs(extended).T @ raised
    room = size - np.abs(extended).T @ terms + (2 * len(v) + 8) * U * size
    flushed = rounding.FLUSHED * np.abs(extended).sum(axis=0)[:, None] + len(v) * rounding.LEAST
    fine = np.isfinite(size) & (size < rounding.LARGEST)
    return [of_peaks, ("prefix_attention's sums", sums[:, some][fine], exact[fine], (room + flushed)[fine])]


@shadow.checks("edge_attention_backward", 11, 12, 13, 14, 15)
def _edge_attention_backward(arguments: tuple[Any, ...], outputs: shadow.Outputs, status: int) -> bool:
    """From the weights that were given. With p_e = <g, v_e> keep_e the gradient of a score is w_e (p_e - sum w p):
    each p loses dim_value U of its absolutes, the sum as many more as it has terms, and what is left may be nothing.
    Where z is smaller than its own rounding, LeakyReLU may have either slope."""
    numbers = arguments[16:]
    n = SimpleNamespace(**dict(zip(edge_body.NAMES, numbers, strict=True)))
    if n.n_edges * n.heads * max(n.terms, n.dim_value) * n.batch > 4 * shadow.MOST:
        return False
    weights, grad_out = arguments[9], arguments[10]
    exact = outputs.given(arguments, np.float64)
    room: list[Any] = [np.zeros_like(exact[place]) if exact[place] is not None else None for place in range(11, 16)]
    absolute = tuple(None if x is None else np.abs(x) for x in arguments[:4])
    for b in range(n.start, n.stop):
        fans = edge_body._Fans(n, b, tuple(arguments[:9]))
        sizes = edge_body._Fans(n, b, (*absolute, np.abs(arguments[4]), *arguments[5:9]))
        last = len(fans.sources)
        w = weights.reshape(-1)[: n.batch * n.n_edges * n.heads].reshape(n.batch, n.n_edges, n.heads)[b, :last]
        w = w.astype(np.float64)
        rows = grad_out.reshape(-1)[: n.batch * n.n_target * n.dim_value * n.heads]
        g = rows.reshape(n.batch, n.n_target, n.dim_value, n.heads)[b].swapaxes(1, 2).astype(np.float64)[fans.targets]
        p = fans.keep * (g * fans.values[fans.sources]).sum(axis=-1)
        p_size = fans.keep * (np.abs(g) * sizes.values[fans.sources]).sum(axis=-1)
        into = [fans.into(n.n_target, fans.targets, w * x)[fans.targets] for x in (p, p_size)]
        count = np.diff(arguments[5][: n.n_target + 1])[fans.targets][:, None] + 8 + n.dim_value
        of_scores, size = w * (p - into[0]), w * (p_size + into[1])
        error = count * U * size
        turned = np.abs(fans.z) <= 4 * U * sizes.z  # which slope it has is not told
        step = np.maximum(fans.step, 0.0)
        slope = np.where(turned, 1.0, step)
        terms = of_scores[..., None] * fans.attention * fans.step
        off = (error + 4 * U * size)[..., None] * sizes.attention * slope + np.where(
            turned, (size[..., None] * sizes.attention), 0.0
        )
        into_attention = of_scores[..., None] * fans.z * fans.step
        off_attention = (error + 4 * U * size)[..., None] * sizes.z + 8 * U * size[..., None] * sizes.z
        kept = (w * fans.keep)[..., None]
        parts = (
            (11, n.n_source, fans.sources, terms, off, b * n.n_source * n.heads * n.terms),
            (12, n.n_target, fans.targets, terms, off, b * n.n_target * n.heads * n.terms),
            (13, n.n_rows, fans.rows, terms, off, b * n.edge_batch),
            (14, 1, np.zeros(last, np.int64), into_attention, off_attention, b * n.heads * n.terms),
            (15, n.n_source, fans.sources, kept * g, 4 * U * kept * np.abs(g), b * n.n_source * n.heads * n.dim_value),
        )
        for place, rows_of, index, found, lost, offset in parts:
            if exact[place] is None:
                continue
            length = np.bincount(index, minlength=rows_of)[:, None, None] + 4
            total, most = fans.into(rows_of, index, found), fans.into(rows_of, index, np.abs(found))
            most = fans.into(rows_of, index, lost) + length * U * most + length * 16 * rounding.LEAST
            for array, part in ((exact[place], total), (room[place - 11], most)):
                line = array.reshape(-1)[offset:][: part.size]
                line.reshape(rows_of, part.shape[-1], n.heads)[...] += part.swapaxes(1, 2)
    for place in range(11, 16):
        if exact[place] is not None:
            held = np.abs(exact[place]) + room[place - 11] < rounding.LARGEST / 1e6
            shadow.within(f"edge_attention_backward's answer {place}", arguments[place][held], exact[place][held],
                          room[place - 11][held] + 2 * U * np.abs(outputs.before[place][held]))  # fmt: skip
    return True
