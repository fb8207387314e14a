"""Attention, its weights and its gradients, as wasm_kernels/kernels/attention.c and attention_backward.c."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from . import geometry
from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body, strided, tasks_of

# The integers and floats of kernels.def, in its order.
SHARED = [
    *("batch", "heads", "kv_heads", "n_query", "n_key", "dim"),
    *("query_batch", "query_head", "query_row", "key_batch", "key_head", "key_row"),
    *("mask_batch", "mask_head", "mask_row", "mask_col", "bias_batch", "bias_head", "bias_row", "bias_col"),
    *("behind", "ahead", "global_tokens", "start", "stop"),
]
VALUE = ["dim_value", "value_batch", "value_head", "value_row", "out_batch", "out_head", "out_row"]
SCORE = [
    *("tile_rows", "n_runs", "n_bits", "n_segments", "query_aux_batch", "query_aux_head", "query_aux_row"),
    *("key_aux_batch", "key_aux_head", "key_aux_row", "query_time_batch", "key_time_batch", "seed", "item"),
]
FLOATS = ["scale", "decay", "decay_rate", "dropout"]
GENERAL = [None] * 9  # the buffers of RV_SCORE_BUFFERS that the everyday call does without


def _named(names: list[str], numbers: tuple[Any, ...]) -> SimpleNamespace:
    plain = {"n_segments": 0, "decay": 0.0, "decay_rate": 0.0, "dropout": 0.0}
    return SimpleNamespace(**plain | dict(zip(names, numbers, strict=True)))


def _queries(n: SimpleNamespace, query: Array) -> Array:
    strides = (n.query_batch, n.query_head, n.query_row, 1)
    return strided(query, (n.batch, n.heads, n.n_query, n.dim), strides).astype(np.float64)


def _keys(n: SimpleNamespace, keys: Array) -> Array:
    strides = (n.key_batch, n.key_head, n.key_row, 1)
    each = strided(keys, (n.batch, n.kv_heads, n.n_key, n.dim), strides).astype(np.float64)
    return np.repeat(each, n.heads // n.kv_heads, axis=1)


def _values(n: SimpleNamespace, values: Array) -> Array:
    strides = (n.value_batch, n.value_head, n.value_row, 1)
    each = strided(values, (n.batch, n.kv_heads, n.n_key, n.dim_value), strides).astype(np.float64)
    return np.repeat(each, n.heads // n.kv_heads, axis=1)


def _outputs(n: SimpleNamespace, array: Array) -> Array:
    strides = (n.out_batch, n.out_head, n.out_row, 1)
    return strided(array, (n.batch, n.heads, n.n_query, n.dim_value), strides)


def _seen(
    n: SimpleNamespace, key_lengths: Array | None, tile_indptr: Array | None, runs: Array | None, run_bits: Array | None
) -> Array:
    """Which pairs the band, the tiles and the lengths allow, broadcast to (batch, heads, n_query, n_key)."""
    columns = np.arange(n.n_key)
    seen: Array
    if tile_indptr is None:
        behind, ahead = (min(reach, n.n_query + n.n_key) for reach in (n.behind, n.ahead))  # NumPy may have 32 bits
        at = np.arange(n.n_query)[:, None] + (n.n_key - n.n_query)
        is_global = (columns < n.global_tokens) | ((at >= 0) & (at < n.global_tokens))
        seen = (columns >= at - behind) & (columns <= at + ahead) | (is_global & ((ahead > 0) | (columns <= at)))
    else:
        seen = np.zeros((n.n_query, n.n_key), bool)
        for row in range(-(-n.n_query // n.tile_rows)):
            first = row * n.tile_rows
            count = min(n.tile_rows, n.n_query - first)
            for begin, end, bits in (runs if runs is not None else np.zeros((0, 3))).reshape(-1, 3)[
                int(tile_indptr[row]) : int(tile_indptr[row + 1])
            ].tolist():  # fmt: skip
                words = np.full(end - begin, -1, np.int64) if bits < 0 else run_bits[bits : bits + end - begin]  # type: ignore[index]
                allowed = (words.view(np.uint64) >> np.arange(count, dtype=np.uint64)[:, None]) & np.uint64(1)
                seen[first : first + count, begin:end] = allowed != 0
    seen = np.broadcast_to(seen, (n.batch, n.heads, n.n_query, n.n_key))
    if key_lengths is not None:
        seen = seen & (columns < key_lengths.reshape(-1)[: n.batch, None])[:, None, None, :]
    return seen


class _Raw:
    """Dot products or squared differences of one segment, and aux of both ends, (batch, heads, n_query, n_key)."""

    def __init__(
        self, n: SimpleNamespace, space: geometry.Space, index: int, q: Array, k: Array, query_aux: Array | None,
        key_aux: Array | None,
    ) -> None:  # fmt: skip
        q, k = q[..., space.channels], k[..., space.channels]
        if space.kind == geometry.DOT:
            self.raw = q @ k.swapaxes(-1, -2)
        else:
            self.raw = np.zeros((*q.shape[:-1], k.shape[-2]))
            for c in range(q.shape[-1]):
                self.raw += (q[..., :, None, c] - k[..., None, :, c]) ** 2
        self.line = self.lane = np.zeros((1, 1))
        if query_aux is not None and key_aux is not None:
            of_query = strided(query_aux, (n.batch, n.heads, n.n_query, n.n_segments),
                               (n.query_aux_batch, n.query_aux_head, n.query_aux_row, 1))  # fmt: skip
            of_keys = strided(key_aux, (n.batch, n.kv_heads, n.n_key, n.n_segments),
                              (n.key_aux_batch, n.key_aux_head, n.key_aux_row, 1))  # fmt: skip
            self.lane = of_query[..., index].astype(np.float64)[..., :, None]
            self.line = np.repeat(of_keys[..., index].astype(np.float64), n.heads // n.kv_heads, axis=1)[..., None, :]


def _gaps(n: SimpleNamespace, query_time: Array, key_time: Array) -> Array:
    of_query = strided(query_time, (n.batch, n.n_query), (n.query_time_batch, 1))
    of_keys = strided(key_time, (n.batch, n.n_key), (n.key_time_batch, 1))
    gaps: Array = np.abs(of_query[:, None, :, None] - of_keys[:, None, None, :])
    return gaps


def _scores(
    n: SimpleNamespace, query: Array, keys: Array, mask: Array | None, bias: Array | None, key_lengths: Array | None,
    tile_indptr: Array | None, runs: Array | None, run_bits: Array | None, segments: Array | None,
    spaces: Array | None, query_aux: Array | None, key_aux: Array | None,
    query_time: Array | None, key_time: Array | None,
) -> Array:  # fmt: skip
    """(batch, heads, n_query, n_key), -inf where forbidden."""
    q, k = _queries(n, query), _keys(n, keys)
    shape = (n.batch, n.heads, n.n_query, n.n_key)
    seen = _seen(n, key_lengths, tile_indptr, runs, run_bits)
    if segments is None or spaces is None:
        dots = q @ k.swapaxes(-1, -2)
    else:
        dots = np.zeros(shape)
        for index, space in enumerate(geometry.spaces_of(segments, spaces, n.n_segments)):
            raw = _Raw(n, space, index, q, k, query_aux, key_aux)
            dots = dots + geometry.scores(space, raw.raw, raw.line, raw.lane)
    if not np.isfinite(dots[seen].astype(np.float32)).all():  # what float32 cannot hold is no score on any backend
        return np.full(shape, np.nan)
    scores: Array = n.scale * dots
    if bias is not None:
        scores = scores + strided(bias, shape, (n.bias_batch, n.bias_head, n.bias_row, n.bias_col))
    if query_time is not None and key_time is not None:
        scores = scores + n.decay * np.exp(-n.decay_rate * _gaps(n, query_time, key_time))
    if mask is not None:
        seen = seen & (strided(mask, shape, (n.mask_batch, n.mask_head, n.mask_row, n.mask_col)) != 0)
    return np.where(seen, scores, -np.inf)


def _softmax(scores: Array) -> tuple[Array, Array]:
    """Weights and log-sum-exp along the last axis; a row of -inf gives zeros and -inf."""
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0.0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    lse = np.where(np.isneginf(top), 0.0, top) + np.log(total)
    return exponentials / np.where(total == 0, 1.0, total), lse[..., 0]


def _mixed(x: Array) -> Array:
    """lowbias32 (Wellons, 2018)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    mixed: Array = x ^ (x >> np.uint32(16))
    return mixed


def _kept(n: SimpleNamespace) -> Array | float:
    """What dropout multiplies each weight by: 0, or 1 / (1 - share)."""
    if not n.dropout:
        return 1.0
    heads = np.arange(n.batch * n.heads, dtype=np.uint32).reshape(n.batch, n.heads, 1, 1)
    seed = np.array(n.seed & 0xFFFFFFFF, np.uint32)
    of_head = _mixed(seed + (np.array(n.item & 0xFFFFFFFF, np.uint32) + heads) * np.uint32(0x9E3779B9))
    of_query = _mixed(of_head + np.arange(n.n_query, dtype=np.uint32)[:, None] * np.uint32(0x85EBCA6B))
    hashes = _mixed(of_query + np.arange(n.n_key, dtype=np.uint32) * np.uint32(0xC2B2AE35))
    drop = (hashes >> np.uint32(8)).astype(np.float64) < np.float32(n.dropout * 2**24)
    kept: Array = np.where(drop, 0.0, 1.0 / (1.0 - n.dropout))
    return kept


def _attend(
    names: list[str], inputs: list[Array | None], values: Array, out: Array, lse: Array | None, numbers: tuple[Any, ...]
) -> int:
    n = _named(names, numbers)
    weights, sums = _softmax(_scores(n, *inputs))  # type: ignore[arg-type]
    v, key_lengths = _values(n, values), inputs[4]
    if key_lengths is not None:  # what lies behind is never read
        unread = np.arange(n.n_key) >= key_lengths.reshape(-1)[: n.batch, None]
        v = np.where(unread[:, None, :, None], 0.0, v)
    result = (weights * _kept(n)) @ v
    target = _outputs(n, out)
    for item, rows in tasks_of(n.start, n.stop, n.n_query):
        target[item // n.heads, item % n.heads, rows] = result[item // n.heads, item % n.heads, rows]
        if lse is not None:
            lse.reshape(-1)[item * n.n_query :][rows] = sums[item // n.heads, item % n.heads, rows]
    return OK if np.isfinite(result).all() else NON_FINITE


@body
def attention(*arguments: Any) -> int:
    """out = softmax(scale q kT + bias) v; lse = the log-sum-exp of the scores."""
    values, out, lse = arguments[5:8]
    return _attend([*SHARED, *VALUE, "scale"], [*arguments[:5], *GENERAL], values, out, lse, arguments[8:])


@body
def attention_scored(*arguments: Any) -> int:
    """The same with tiles, spaces, times and dropout."""
    values, out, lse = arguments[14:17]
    return _attend([*SHARED, *VALUE, *SCORE, *FLOATS], list(arguments[:14]), values, out, lse, arguments[17:])


@body
def attention_weights(*arguments: Any) -> int:
    """out (batch, heads, n_query, n_key) = softmax(scores)."""
    n = _named([*SHARED, *SCORE, *FLOATS], arguments[15:])
    out = arguments[14]
    weights, _ = _softmax(_scores(n, *arguments[:14]))
    target = out.reshape(-1)[: weights.size].reshape(weights.shape)
    for item, rows in tasks_of(n.start, n.stop, n.n_query):
        target[item // n.heads, item % n.heads, rows] = weights[item // n.heads, item % n.heads, rows]
    return OK if np.isfinite(weights).all() else NON_FINITE


@body
def attention_top_k(*arguments: Any) -> int:
    """indices (batch, heads, n_query, top_k) of the highest scores, ascending, -1 behind; counts of them."""
    n = _named([*SHARED, *SCORE, "top_k", *FLOATS], arguments[16:])
    indices, counts = arguments[14:16]
    scores = _scores(n, *arguments[:14])
    if np.isnan(scores).any():
        return NON_FINITE
    order = _highest(scores, n.top_k)
    seen = np.take_along_axis(scores, order, axis=-1) > -np.inf
    chosen = np.full((n.batch, n.heads, n.n_query, n.top_k), -1, np.int64)
    chosen[..., : order.shape[-1]] = np.sort(np.where(seen, order, n.n_key), axis=-1)
    chosen[chosen == n.n_key] = -1
    for item, rows in tasks_of(n.start, n.stop, n.n_query):
        b, h = divmod(item, n.heads)
        at = slice(item * n.n_query + rows.start, item * n.n_query + rows.stop)
        indices.reshape(-1)[: chosen.size].reshape(-1, n.top_k)[at] = chosen[b, h, rows]
        counts.reshape(-1)[at] = seen[b, h, rows].sum(axis=-1)
    return OK


def _highest(scores: Array, top_k: int) -> Array:
    """Which they are, the first of equal ones: in float32, where these stay equal however a library orders its sums."""
    order: Array = np.argsort(-scores.astype(np.float32), axis=-1, kind="stable")[..., :top_k]
    return order


@body
def attention_best(*arguments: Any) -> int:
    """softmax over the top_k highest scores of each query: out of that and the values, the weights, or both."""
    n = _named([*SHARED, *VALUE, *SCORE, "top_k", *FLOATS], arguments[17:])
    values, out, target = arguments[14:17]
    if n.top_k < 1 or (out is not None and values is None):
        return BAD_ARGUMENT
    scores = _scores(n, *arguments[:14])
    order = _highest(scores, n.top_k)
    chosen = np.full(scores.shape, -np.inf)
    np.put_along_axis(chosen, order, np.take_along_axis(scores, order, axis=-1), axis=-1)
    weights, _ = _softmax(chosen)
    finite = bool(np.isfinite(weights).all())
    tasks = tasks_of(n.start, n.stop, n.n_query)
    if target is not None:
        wide = target.reshape(-1)[: weights.size].reshape(weights.shape)
        for item, rows in tasks:
            wide[item // n.heads, item % n.heads, rows] = weights[item // n.heads, item % n.heads, rows]
    if out is not None:
        v = _values(n, values)
        known = np.isfinite(v)  # what is not chosen may hold anything
        result = weights @ np.where(known, v, 0.0)
        result[(chosen > -np.inf) @ ~known] = np.nan
        finite = finite and bool(np.isfinite(result).all())
        for item, rows in tasks:
            _outputs(n, out)[item // n.heads, item % n.heads, rows] = result[item // n.heads, item % n.heads, rows]
    return OK if finite else NON_FINITE


@body
def attention_backward(*arguments: Any, anew: bool = False) -> int:
    """dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), and from dS the gradients of what made the scores; added.

    ``anew``: with O as the weights give it. What is given was rounded to float32, by another P, and slopes may be so
    large that of dS nothing else is left. A channel whose values are all 0 stays: linear attention has something else
    in it.
    """
    inputs = arguments[:14]
    values, out, grad_out, _, grad_query, grad_keys, grad_values, grad_bias = arguments[14:22]
    grad_query_aux, grad_key_aux, grad_scalars = arguments[22:25]
    n = _named([*SHARED, *VALUE, *SCORE, *FLOATS], arguments[25:])
    group = n.heads // n.kv_heads
    weights, _ = _softmax(_scores(n, *inputs))
    q, k, v = _queries(n, inputs[0]), _keys(n, inputs[1]), _values(n, values)
    o, do = _outputs(n, out).astype(np.float64), _outputs(n, grad_out).astype(np.float64)
    kept = _kept(n)
    if anew:
        met = weights * kept
        read = np.where(met.max(axis=-2)[..., None] > 0, v, 0.0)  # what lies behind a length may be anything
        o = np.where(met @ np.abs(read) > 0, met @ read, o)
    products = np.where(weights > 0, kept * (do @ v.swapaxes(-1, -2)), 0.0)
    ds = weights * (products - (do * o).sum(axis=-1, keepdims=True))
    dv = (weights * kept).swapaxes(-1, -2) @ do
    of_q, of_k = np.zeros_like(q), np.zeros_like(k)
    of_aux: list[tuple[Array, Array]] = []
    scalars = np.zeros((n.batch, n.heads, 2 * n.n_segments + 2))
    if inputs[8] is None:
        of_q, of_k = n.scale * (ds @ k), n.scale * (ds.swapaxes(-1, -2) @ q)
    else:
        for index, space in enumerate(geometry.spaces_of(inputs[8], inputs[9], n.n_segments)):
            raw = _Raw(n, space, index, q, k, inputs[10], inputs[11])
            here = space.channels
            if space.kind == geometry.DOT:
                g = n.scale * space.weight * ds
                of_q[..., here] += g @ k[..., here]
                of_k[..., here] += g.swapaxes(-1, -2) @ q[..., here]
                scalars[..., 2 * index] = n.scale * (ds * raw.raw).sum(axis=(-1, -2))
                of_aux.append((np.zeros(q.shape[:-1]), np.zeros(k.shape[:-1])))
                continue
            by = geometry.slopes(space, raw.raw, raw.line, raw.lane)
            g = 2.0 * n.scale * ds * by.square
            of_q[..., here] += q[..., here] * g.sum(axis=-1)[..., None] - g @ k[..., here]
            of_k[..., here] += k[..., here] * g.sum(axis=-2)[..., None] - g.swapaxes(-1, -2) @ q[..., here]
            of_aux.append((n.scale * (ds * by.b).sum(axis=-1), n.scale * (ds * by.a).sum(axis=-2)))
            scalars[..., 2 * index] = n.scale * (ds * by.weight).sum(axis=(-1, -2))
            scalars[..., 2 * index + 1] = n.scale * (ds * by.c).sum(axis=(-1, -2))
    if inputs[12] is not None:
        gaps = _gaps(n, inputs[12], inputs[13])
        decays = np.exp(-n.decay_rate * gaps)
        scalars[..., -2] = (ds * decays).sum(axis=(-1, -2))
        scalars[..., -1] = -n.decay * (ds * decays * gaps).sum(axis=(-1, -2))

    def target(array: Array, count: int, rows: int, width: int, *strides: int) -> Array:
        return strided(array, (n.batch, count, rows, width), (*strides, 1))

    # one item at a time: with a stride of 0 several items share their target
    for task in range(n.start, n.stop):
        b, kv = divmod(task, n.kv_heads)
        for h in range(kv * group, (kv + 1) * group):
            target(grad_query, n.heads, n.n_query, n.dim, n.query_batch, n.query_head, n.query_row)[b, h] += of_q[b, h]
            target(grad_keys, n.kv_heads, n.n_key, n.dim, n.key_batch, n.key_head, n.key_row)[b, kv] += of_k[b, h]
            target(grad_values, n.kv_heads, n.n_key, n.dim_value, n.value_batch, n.value_head, n.value_row)[b, kv] += (
                dv[b, h]
            )
            if grad_bias is not None:
                rows = np.arange(n.n_query)[:, None] * n.bias_row + np.arange(n.n_key) * n.bias_col
                np.add.at(grad_bias.reshape(-1), b * n.bias_batch + h * n.bias_head + rows, ds[b, h])
            for index, (of_query_aux, of_key_aux) in enumerate(of_aux):
                if grad_query_aux is not None:
                    target(grad_query_aux, n.heads, n.n_query, n.n_segments, n.query_aux_batch, n.query_aux_head,
                           n.query_aux_row)[b, h, :, index] += of_query_aux[b, h]  # fmt: skip
                if grad_key_aux is not None:
                    target(grad_key_aux, n.kv_heads, n.n_key, n.n_segments, n.key_aux_batch, n.key_aux_head,
                           n.key_aux_row)[b, kv, :, index] += of_key_aux[b, h]  # fmt: skip
            if grad_scalars is not None:
                grad_scalars.reshape(-1, 2 * n.n_segments + 2)[task] += scalars[b, h]
    return OK
