"""Attention over lists of keys, as wasm_kernels/kernels/attention_sparse.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._table import NON_FINITE, OK, Array, body, strided, tasks_of


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
    for item, block in tasks_of(start, stop, n_query):
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
