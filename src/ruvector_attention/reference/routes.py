"""Rows that go to some of several experts, as wasm_kernels/kernels/routes.c."""

from __future__ import annotations

import numpy as np

from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body

LOWEST = np.finfo(np.float32).min


@body
def route_rows(
    logits: Array,
    experts: Array,
    weights: Array,
    losses: Array | None,
    rows: int,
    n_expert: int,
    top_k: int,
    capacity: int,
    temperature: float,
) -> int:
    """The top_k best experts of each row and their softmax; the losses of the load balance and of large logits."""
    if not np.float32(temperature) > 0 or not 1 <= top_k <= n_expert:
        return BAD_ARGUMENT
    z = logits.reshape(-1)[: rows * n_expert].reshape(rows, n_expert) / np.float32(temperature)
    order = np.argsort(-z, axis=1, kind="stable")
    found = _with_capacity(order, top_k, capacity) if capacity else order[:, :top_k]
    chosen = np.where(found >= 0, np.take_along_axis(z, np.maximum(found, 0), axis=1), -np.inf).astype(np.float64)
    powers = np.exp(chosen - np.maximum(chosen[:, :1], LOWEST))
    experts.reshape(-1)[: found.size] = found.reshape(-1)
    weights.reshape(-1)[: found.size] = (powers / np.maximum(powers.sum(axis=1, keepdims=True), 1)).reshape(-1)
    if losses is not None:
        wide = z.astype(np.float64)
        best = wide.max(axis=1, keepdims=True)
        sums = np.exp(wide - best).sum(axis=1, keepdims=True)
        wanted = np.bincount(order[:, :top_k].reshape(-1), minlength=n_expert) / (rows * top_k)
        losses[0] = n_expert * (wanted @ (np.exp(wide - best) / sums).mean(axis=0))
        losses[1] = ((best + np.log(sums)) ** 2).mean()
    return OK if np.isfinite(z).all() else NON_FINITE


def _with_capacity(order: Array, top_k: int, capacity: int) -> Array:
    """First everybody's best, then the second best of those who still want one; who comes first is served first."""
    rows, n_expert = order.shape
    found, filled, room = np.full((rows, top_k), -1), np.zeros(rows, np.int64), np.full(n_expert, capacity)
    for preference in order.T:
        for row in np.flatnonzero(filled < top_k):
            expert = preference[row]
            if room[expert] > 0:
                room[expert] -= 1
                found[row, filled[row]] = expert
                filled[row] += 1
    return found


@body
def gather_rows(x: Array, index: Array, out: Array, n_rows: int, count: int, dim: int) -> int:
    """out[i] = x[index[i]]"""
    at = index.reshape(-1)[:count]
    if ((at < 0) | (at >= n_rows)).any():
        return BAD_ARGUMENT
    out.reshape(-1)[: count * dim] = x.reshape(-1)[: n_rows * dim].reshape(n_rows, dim)[at].reshape(-1)
    return OK


@body
def scatter_rows(
    x: Array, weights: Array, index: Array, out: Array, n_rows: int, count: int, dim: int, out_row: int, factor: float
) -> int:
    """out[index[i], :dim] += factor * weights[i] * x[i]; a weight of 0 adds nothing, whatever x holds"""
    at = index.reshape(-1)[:count]
    if ((at < 0) | (at >= n_rows)).any() or out_row < dim:
        return BAD_ARGUMENT
    shares = weights.reshape(-1)[:count]
    meant = shares != 0
    added = factor * shares[meant, None].astype(np.float64) * x.reshape(-1)[: count * dim].reshape(count, dim)[meant]
    places = (at[meant, None] * out_row + np.arange(dim)).reshape(-1)
    sums = out.reshape(-1).astype(np.float64)
    np.add.at(sums, places, added.reshape(-1))
    out.reshape(-1)[places] = sums[places]
    return OK
