"""The kernels in NumPy, float64 inside: what each one means, the tests' oracle, the fallback without a binary.

Same names, same flat arguments and same answers as the C kernels (``wasm_kernels/kernels.def``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Body = Callable[..., int]

OK, NON_FINITE, BAD_ARGUMENT = 0, 1, 2
QUERY_BLOCK = 192

BODIES: dict[str, Body] = {}


def body(function: Body) -> Body:
    """Enter it in the table; like C, it answers with a status for numbers that are not finite, not with a warning."""
    quiet = np.errstate(invalid="ignore", over="ignore", divide="ignore")
    BODIES[function.__name__] = quiet(function)
    return function


def strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of a contiguous array by strides in elements."""
    flat = array.reshape(-1)
    return np.lib.stride_tricks.as_strided(flat, shape, tuple(s * flat.itemsize for s in strides))


def _scores(
    query: Array, keys: Array, mask: Array | None, bias: Array | None, key_lengths: Array | None,
    batch: int, heads: int, kv_heads: int, n_query: int, n_key: int, dim: int,
    query_batch: int, query_head: int, query_row: int, key_batch: int, key_head: int, key_row: int,
    mask_batch: int, mask_head: int, mask_row: int, mask_col: int,
    bias_batch: int, bias_head: int, bias_row: int, bias_col: int,
    behind: int, ahead: int, global_tokens: int, *, scale: float,
) -> Array:  # fmt: skip
    """(batch, heads, n_query, n_key), -inf where forbidden."""
    q = strided(query, (batch, heads, n_query, dim), (query_batch, query_head, query_row, 1)).astype(np.float64)
    k = strided(keys, (batch, kv_heads, n_key, dim), (key_batch, key_head, key_row, 1)).astype(np.float64)
    dots: Array = q @ np.repeat(k, heads // kv_heads, axis=1).swapaxes(-1, -2)
    shape = (batch, heads, n_query, n_key)
    behind, ahead = (min(reach, n_query + n_key) for reach in (behind, ahead))  # NumPy's integers may have 32 bits
    columns = np.arange(n_key)
    at = np.arange(n_query)[:, None] + (n_key - n_query)
    is_global = (columns < global_tokens) | ((at >= 0) & (at < global_tokens))
    seen = (columns >= at - behind) & (columns <= at + ahead) | (is_global & ((ahead > 0) | (columns <= at)))
    seen = np.broadcast_to(seen, shape)
    if key_lengths is not None:
        seen = seen & (columns < key_lengths.reshape(-1)[:batch, None])[:, None, None, :]
    if not np.isfinite(dots[seen].astype(np.float32)).all():  # what float32 cannot hold is no score on any backend
        return np.full(shape, np.nan)
    scores = scale * dots
    if bias is not None:
        scores = scores + strided(bias, shape, (bias_batch, bias_head, bias_row, bias_col))
    if mask is not None:
        seen = seen & strided(mask, shape, (mask_batch, mask_head, mask_row, mask_col))
    return np.where(seen, scores, -np.inf)


def _softmax(scores: Array) -> tuple[Array, Array]:
    """Weights and log-sum-exp along the last axis; a row of -inf gives zeros and -inf."""
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0.0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    lse = np.where(np.isneginf(top), 0.0, top) + np.log(total)
    return exponentials / np.where(total == 0, 1.0, total), lse[..., 0]


def _tasks(start: int, stop: int, n_query: int) -> list[tuple[int, slice]]:
    """(head of the batch, its queries) for every task."""
    blocks = -(-n_query // QUERY_BLOCK)
    return [
        (task // blocks, slice(task % blocks * QUERY_BLOCK, min(task % blocks * QUERY_BLOCK + QUERY_BLOCK, n_query)))
        for task in range(start, stop)
    ]


@body
def attention(
    query: Array, keys: Array, mask: Array | None, bias: Array | None, key_lengths: Array | None,
    values: Array, out: Array, lse: Array | None, *numbers: Any,
) -> int:  # fmt: skip
    """out = softmax(scale q kT + bias) v; lse = the log-sum-exp of the scores."""
    *shared, start, stop, dim_value, value_batch, value_head, value_row, out_batch, out_head, out_row, scale = numbers
    batch, heads, kv_heads, n_query, n_key = shared[:5]
    weights, sums = _softmax(_scores(query, keys, mask, bias, key_lengths, *shared, scale=scale))
    v = strided(values, (batch, kv_heads, n_key, dim_value), (value_batch, value_head, value_row, 1))
    v = np.repeat(v.astype(np.float64), heads // kv_heads, axis=1)
    if key_lengths is not None:  # what lies behind is never read
        unread = np.arange(n_key) >= key_lengths.reshape(-1)[:batch, None]
        v = np.where(unread[:, None, :, None], 0.0, v)
    result = weights @ v
    target = strided(out, (batch, heads, n_query, dim_value), (out_batch, out_head, out_row, 1))
    for item, rows in _tasks(start, stop, n_query):
        target[item // heads, item % heads, rows] = result[item // heads, item % heads, rows]
        if lse is not None:
            lse.reshape(-1)[item * n_query :][rows] = sums[item // heads, item % heads, rows]
    return OK if np.isfinite(result).all() else NON_FINITE


@body
def attention_weights(
    query: Array, keys: Array, mask: Array | None, bias: Array | None, key_lengths: Array | None,
    out: Array, *numbers: Any,
) -> int:  # fmt: skip
    """out (batch, heads, n_query, n_key) = softmax(scale q kT + bias)."""
    *shared, start, stop, scale = numbers
    heads, n_query = shared[1], shared[3]
    weights, _ = _softmax(_scores(query, keys, mask, bias, key_lengths, *shared, scale=scale))
    target = out.reshape(-1)[: weights.size].reshape(weights.shape)
    for item, rows in _tasks(start, stop, n_query):
        target[item // heads, item % heads, rows] = weights[item // heads, item % heads, rows]
    return OK if np.isfinite(weights).all() else NON_FINITE


@body
def attention_backward(
    query: Array, keys: Array, mask: Array | None, bias: Array | None, key_lengths: Array | None,
    values: Array, out: Array, grad_out: Array, lse: Array,
    grad_query: Array, grad_keys: Array, grad_values: Array, grad_bias: Array | None, *numbers: Any,
) -> int:  # fmt: skip
    """dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale dS K, dK = scale dS^T Q; added to the buffers."""
    *shared, start, stop, dim_value, value_batch, value_head, value_row, out_batch, out_head, out_row, scale = numbers
    batch, heads, kv_heads, n_query, n_key, dim = shared[:6]
    query_strides, key_strides = tuple(shared[6:9]), tuple(shared[9:12])
    group = heads // kv_heads
    weights, _ = _softmax(_scores(query, keys, mask, bias, key_lengths, *shared, scale=scale))

    def view(array: Array, count: int, rows: int, width: int, strides: tuple[int, ...]) -> Array:
        return strided(array, (batch, count, rows, width), (*strides, 1))

    value_strides, out_strides = (value_batch, value_head, value_row), (out_batch, out_head, out_row)
    q = view(query, heads, n_query, dim, query_strides).astype(np.float64)
    k = np.repeat(view(keys, kv_heads, n_key, dim, key_strides).astype(np.float64), group, axis=1)
    v = np.repeat(view(values, kv_heads, n_key, dim_value, value_strides).astype(np.float64), group, axis=1)
    o = view(out, heads, n_query, dim_value, out_strides).astype(np.float64)
    do = view(grad_out, heads, n_query, dim_value, out_strides).astype(np.float64)
    products = np.where(weights > 0, do @ v.swapaxes(-1, -2), 0.0)
    ds = weights * (products - (do * o).sum(axis=-1, keepdims=True))
    dq, dk, dv = scale * (ds @ k), scale * (ds.swapaxes(-1, -2) @ q), weights.swapaxes(-1, -2) @ do

    # one item at a time: with a stride of 0 several items share their target
    for task in range(start, stop):
        b, kv = divmod(task, kv_heads)
        for h in range(kv * group, (kv + 1) * group):
            view(grad_query, heads, n_query, dim, query_strides)[b, h] += dq[b, h]
            view(grad_keys, kv_heads, n_key, dim, key_strides)[b, kv] += dk[b, h]
            view(grad_values, kv_heads, n_key, dim_value, value_strides)[b, kv] += dv[b, h]
            if grad_bias is not None:
                bias_batch, bias_head, bias_row, bias_col = shared[16:20]
                rows = np.arange(n_query)[:, None] * bias_row + np.arange(n_key) * bias_col
                np.add.at(grad_bias.reshape(-1), b * bias_batch + h * bias_head + rows, ds[b, h])
    return OK


def _edge_softmax(
    query: Array, keys: Array, values: Array, indptr: Array, indices: Array, bias: Array | None,
    batch: int, heads: int, kv_heads: int, n_query: int, n_key: int, n_edges: int, dim: int, dim_value: int,
    query_batch: int, query_head: int, query_row: int, key_batch: int, key_head: int, key_row: int,
    value_batch: int, value_head: int, value_row: int, *, scale: float,
) -> tuple[Array, ...]:  # fmt: skip
    """Of every edge: its query row, and (batch, heads, n_edges, ...) of query, key, value, weight; lse."""
    rows = np.repeat(np.arange(n_query), np.diff(indptr))
    group = heads // kv_heads
    q = strided(query, (batch, heads, n_query, dim), (query_batch, query_head, query_row, 1)).astype(np.float64)
    k = strided(keys, (batch, kv_heads, n_key, dim), (key_batch, key_head, key_row, 1)).astype(np.float64)
    v = strided(values, (batch, kv_heads, n_key, dim_value), (value_batch, value_head, value_row, 1)).astype(np.float64)
    q, k, v = q[:, :, rows], np.repeat(k, group, axis=1)[:, :, indices], np.repeat(v, group, axis=1)[:, :, indices]
    scores = scale * (q * k).sum(axis=-1) + (0.0 if bias is None else bias)
    top = np.full((batch, heads, n_query), -np.inf)
    np.maximum.at(np.moveaxis(top, 2, 0), rows, np.moveaxis(scores, 2, 0))
    weights = np.exp(scores - top[:, :, rows])
    total = np.zeros(top.shape)
    np.add.at(np.moveaxis(total, 2, 0), rows, np.moveaxis(weights, 2, 0))
    lse = np.where(total > 0, top, -np.inf) + np.log(np.where(total > 0, total, 1.0))
    return rows, q, k, v, weights / total[:, :, rows], lse


@body
def attention_sparse(
    query: Array, keys: Array, values: Array, indptr: Array, indices: Array, bias: Array | None,
    out: Array, lse: Array | None, *numbers: Any,
) -> int:  # fmt: skip
    """out_i = sum over i's edges of softmax(scale <q_i, k_j> + bias) v_j."""
    *shared, out_batch, out_head, out_row, start, stop, scale = numbers
    rows, _, _, v, weights, sums = _edge_softmax(query, keys, values, indptr, indices, bias, *shared, scale=scale)
    batch, heads, n_query, dim_value = shared[0], shared[1], shared[3], shared[7]
    result = np.zeros((batch, heads, n_query, dim_value))
    np.add.at(np.moveaxis(result, 2, 0), rows, np.moveaxis(weights[..., None] * v, 2, 0))
    target = strided(out, result.shape, (out_batch, out_head, out_row, 1))
    for item, block in _tasks(start, stop, n_query):
        target[item // heads, item % heads, block] = result[item // heads, item % heads, block]
        if lse is not None:
            lse.reshape(-1)[item * n_query :][block] = sums[item // heads, item % heads, block]
    return OK if np.isfinite(result).all() else NON_FINITE


@body
def attention_sparse_backward(
    query: Array, keys: Array, values: Array, indptr: Array, indices: Array, bias: Array | None,
    out: Array, grad_out: Array, lse: Array,
    grad_query: Array, grad_keys: Array, grad_values: Array, grad_bias: Array | None, *numbers: Any,
) -> int:  # fmt: skip
    """The gradients of attention_sparse, added to the buffers."""
    *shared, out_batch, out_head, out_row, start, stop, scale = numbers
    rows, q, k, v, weights, _ = _edge_softmax(query, keys, values, indptr, indices, bias, *shared, scale=scale)
    batch, heads, kv_heads, n_query, n_key, _, dim, dim_value = shared[:8]
    out_strides = (out_batch, out_head, out_row, 1)
    of_out = strided(grad_out, (batch, heads, n_query, dim_value), out_strides).astype(np.float64)
    delta = (of_out * strided(out, of_out.shape, out_strides)).sum(axis=-1)
    of_scores = weights * ((of_out[:, :, rows] * v).sum(axis=-1) - delta[:, :, rows])
    targets = [
        (strided(grad_query, (batch, heads, n_query, dim), (*shared[8:11], 1)), 1, rows, scale * k),
        (strided(grad_keys, (batch, kv_heads, n_key, dim), (*shared[11:14], 1)), heads // kv_heads, indices, scale * q),
    ]
    for task in range(start, stop):
        b, kv = divmod(task, kv_heads)
        for h in range(kv * (heads // kv_heads), (kv + 1) * (heads // kv_heads)):
            for target, group, ends, vectors in targets:
                np.add.at(target[b, h // group], ends, of_scores[b, h, :, None] * vectors[b, h])
            of_values = strided(grad_values, (batch, kv_heads, n_key, dim_value), (*shared[14:17], 1))
            np.add.at(of_values[b, kv], indices, weights[b, h, :, None] * of_out[b, h, rows])
            if grad_bias is not None:
                grad_bias += of_scores[b, h]
    return OK


@body
def gemm(
    a: Array, b: Array, bias: Array | None, out: Array,
    m: int, n: int, k: int, a_row: int, a_col: int, b_row: int, b_col: int, start: int, stop: int,
) -> int:  # fmt: skip
    """out (m, n) = a (m, k) b (k, n) + bias (n)."""
    left = strided(a, (m, k), (a_row, a_col))[start:stop].astype(np.float64)
    product = left @ strided(b, (k, n), (b_row, b_col)).astype(np.float64)
    strided(out, (m, n), (n, 1))[start:stop] = product if bias is None else product + bias.reshape(-1)[:n]
    return OK


@body
def normalize_rows(x: Array, out: Array, rows: int, dim: int) -> int:
    """out = x / |x|, row by row."""
    wide = strided(x, (rows, dim), (dim, 1)).astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    strided(out, (rows, dim), (dim, 1))[:] = wide / np.where(length == 0, 1.0, length)
    return OK


@body
def normalize_rows_backward(x: Array, grad_out: Array, grad_x: Array, rows: int, dim: int) -> int:
    """grad_x += (grad_out - y <y, grad_out>) / |x|, y = x / |x|."""
    wide, grads = (strided(a, (rows, dim), (dim, 1)).astype(np.float64) for a in (x, grad_out))
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    safe = np.where(length == 0, 1.0, length)
    unit = wide / safe
    turned = (grads - unit * (unit * grads).sum(axis=-1, keepdims=True)) / safe
    strided(grad_x, (rows, dim), (dim, 1))[:] += np.where(length == 0, 0.0, turned)
    return OK


@body
def all_finite(x: Array, count: int) -> int:
    """NON_FINITE if x holds NaN or infinity."""
    return OK if np.isfinite(x.reshape(-1)[:count]).all() else NON_FINITE


@body
def peak(out: Array, rounds: int) -> int:
    """Multiply-adds at the speed of NumPy: 4 096 lanes a round."""
    factor, term = (np.float32(number) for number in out[:2])
    lanes = np.ones(4096, np.float32)
    for _ in range(rounds):
        lanes = lanes * factor + term
    out[:2] = lanes.sum(), lanes.size
    return OK
