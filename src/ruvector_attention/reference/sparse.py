"""Attention over lists of keys, as wasm_kernels/kernels/attention_sparse.c."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..layout import repeated
from ._table import NON_FINITE, OK, Array, body, strided, tasks_of

NAMES = [
    *("batch", "heads", "kv_heads", "n_query", "n_key", "n_edges", "dim", "dim_value"),
    *("query_batch", "query_head", "query_row", "key_batch", "key_head", "key_row"),
    *("value_batch", "value_head", "value_row", "out_batch", "out_head", "out_row"),
    *("indptr_batch", "indptr_head", "start", "stop", "scale"),
]


def _named(numbers: tuple[Any, ...]) -> SimpleNamespace:
    return SimpleNamespace(**dict(zip(NAMES, numbers, strict=True)))


class _Edges(NamedTuple):
    """Of one head: for each edge its number, the query it belongs to and the key it leads to."""

    edge: Array
    query: Array
    key: Array


def _edges(n: SimpleNamespace, indptr: Array, indices: Array, b: int, h: int) -> _Edges:
    at = b * n.indptr_batch + h * n.indptr_head
    rows = indptr.reshape(-1)[at : at + n.n_query + 1]
    edge = np.arange(int(rows[0]), int(rows[-1]))
    return _Edges(edge, repeated(np.arange(n.n_query), np.diff(rows)), indices[edge])


class _Rows(NamedTuple):
    """Of one head, in float64: its arrays, the weights of its edges, the log-sum-exp of its queries."""

    q: Array
    k: Array
    v: Array
    weights: Array
    lse: Array


def _rows_of(
    n: SimpleNamespace, edges: _Edges, query: Array, keys: Array, values: Array, bias: Array | None, b: int, h: int
) -> _Rows:
    kv = h // (n.heads // n.kv_heads)
    q = strided(query, (n.batch, n.heads, n.n_query, n.dim), (n.query_batch, n.query_head, n.query_row, 1))[b, h]
    k = strided(keys, (n.batch, n.kv_heads, n.n_key, n.dim), (n.key_batch, n.key_head, n.key_row, 1))[b, kv]
    v = strided(values, (n.batch, n.kv_heads, n.n_key, n.dim_value), (n.value_batch, n.value_head, n.value_row, 1))
    q, k, v = (x.astype(np.float64) for x in (q, k, v[b, kv]))
    scores = n.scale * (q[edges.query] * k[edges.key]).sum(axis=-1) + (0.0 if bias is None else bias[edges.edge])
    top = np.full(n.n_query, -np.inf)
    np.maximum.at(top, edges.query, scores)
    weights = np.exp(scores - top[edges.query])
    total = np.zeros(n.n_query)
    np.add.at(total, edges.query, weights)
    lse = np.where(total > 0, top, -np.inf) + np.log(np.where(total > 0, total, 1.0))
    return _Rows(q, k, v, weights / total[edges.query], lse)


@body
def attention_sparse(
    query: Array, keys: Array, values: Array, indptr: Array, indices: Array, bias: Array | None,
    out: Array, lse: Array | None, *numbers: Any,
) -> int:  # fmt: skip
    """out_i = sum over i's edges of softmax(scale <q_i, k_j> + bias) v_j."""
    n = _named(numbers)
    target = strided(out, (n.batch, n.heads, n.n_query, n.dim_value), (n.out_batch, n.out_head, n.out_row, 1))
    finite = True
    for item, block in tasks_of(n.start, n.stop, n.n_query):
        b, h = divmod(item, n.heads)
        edges = _edges(n, indptr, indices, b, h)
        rows = _rows_of(n, edges, query, keys, values, bias, b, h)
        result = np.zeros((n.n_query, n.dim_value))
        np.add.at(result, edges.query, rows.weights[:, None] * rows.v[edges.key])
        target[b, h, block] = result[block]
        finite = finite and bool(np.isfinite(result[block]).all())
        if lse is not None:
            lse.reshape(-1)[item * n.n_query :][block] = rows.lse[block]
    return OK if finite else NON_FINITE


@body
def attention_sparse_backward(
    query: Array, keys: Array, values: Array, indptr: Array, indices: Array, bias: Array | None,
    out: Array, grad_out: Array, lse: Array,
    grad_query: Array, grad_keys: Array, grad_values: Array, grad_bias: Array | None, *numbers: Any, anew: bool = False,
) -> int:  # fmt: skip
    """The gradients of attention_sparse, added to the buffers. ``anew``: as attention_backward's."""
    n = _named(numbers)
    group = n.heads // n.kv_heads
    shape, strides = (n.batch, n.heads, n.n_query, n.dim_value), (n.out_batch, n.out_head, n.out_row, 1)
    of_out, o = (strided(x, shape, strides).astype(np.float64) for x in (grad_out, out))
    to_query = strided(grad_query, (n.batch, n.heads, n.n_query, n.dim), (n.query_batch, n.query_head, n.query_row, 1))
    to_keys = strided(grad_keys, (n.batch, n.kv_heads, n.n_key, n.dim), (n.key_batch, n.key_head, n.key_row, 1))
    to_values = strided(
        grad_values, (n.batch, n.kv_heads, n.n_key, n.dim_value), (n.value_batch, n.value_head, n.value_row, 1)
    )
    for task in range(n.start, n.stop):
        b, kv = divmod(task, n.kv_heads)
        for h in range(kv * group, (kv + 1) * group):
            edges = _edges(n, indptr, indices, b, h)
            rows = _rows_of(n, edges, query, keys, values, bias, b, h)
            products = (of_out[b, h][edges.query] * rows.v[edges.key]).sum(axis=-1)
            delta = (of_out[b, h] * o[b, h]).sum(axis=-1)
            if anew:
                delta = np.zeros(n.n_query)
                np.add.at(delta, edges.query, rows.weights * products)
            of_scores = rows.weights * (products - delta[edges.query])
            scaled = n.scale * of_scores[:, None]
            np.add.at(to_query[b, h], edges.query, scaled * rows.k[edges.key])
            np.add.at(to_keys[b, kv], edges.key, scaled * rows.q[edges.query])
            np.add.at(to_values[b, kv], edges.key, rows.weights[:, None] * of_out[b, h][edges.query])
            if grad_bias is not None:
                grad_bias[edges.edge] += of_scores
    return OK


@body
def edge_weights(
    query: Array, keys: Array, indptr: Array, indices: Array, bias: Array | None, lse: Array, weights: Array,
    heads: int, n_query: int, n_key: int, n_edges: int, dim: int, scale: float,
) -> int:  # fmt: skip
    """The weights (heads, n_edges) of lists of keys, near whose maxima their log-sum-exp (heads, n_query) lie."""
    pointers, columns = indptr.reshape(-1)[: n_query + 1], indices.reshape(-1)[:n_edges]
    q, k = (
        x.reshape(-1)[: n * heads * dim].reshape(n, heads, dim).astype(np.float64)
        for x, n in ((query, n_query), (keys, n_key))
    )
    owners = np.repeat(np.arange(n_query), np.diff(pointers))
    scores = scale * np.einsum("ehd,ehd->he", q[owners], k[columns])
    if bias is not None:
        scores += bias.reshape(-1)[: heads * n_edges].reshape(heads, n_edges)
    shifts = lse.reshape(-1)[: heads * n_query].reshape(heads, n_query).astype(np.float64)[:, owners]
    top, total = np.full((n_query, heads), -np.inf), np.zeros((n_query, heads))
    near = (scores - shifts).T
    np.maximum.at(top, owners, near)
    found = np.exp(near - top[owners])
    np.add.at(total, owners, found)
    weights.reshape(-1)[: heads * n_edges] = (found / total[owners]).T.reshape(-1)
    return OK


@body
def list_weights(
    query: Array, keys: Array, indptr: Array, indices: Array, shares: Array | None, weights: Array,
    n_list: int, n_key: int, dim: int, scale: float,
) -> int:  # fmt: skip
    """The softmax inside of each list of keys, asked by one query, times the share of the list."""
    pointers, columns = indptr.reshape(-1)[: n_list + 1], indices.reshape(-1)[:n_key]
    scores = scale * (keys.reshape(-1)[: n_key * dim].reshape(n_key, dim).astype(np.float64) @ query.reshape(-1)[:dim])
    for i, (first, end) in enumerate(itertools.pairwise(pointers)):
        own = columns[first:end]
        if own.size:
            powers = np.exp(scores[own] - scores[own].max())
            weights.reshape(-1)[own] = powers / powers.sum() * (1 if shares is None else shares.reshape(-1)[i])
    return OK
