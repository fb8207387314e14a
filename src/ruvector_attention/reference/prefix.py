"""Attention by running sums over keys, as wasm_kernels/kernels/prefix.c."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body

ROWS = 128  # of a segment, at most
LEAST = 1e-15  # a denominator below this may have lost terms that underflowed: its terms are products of two
NOTHING_SEEN = -1e30  # the logarithm that stands for "no key yet"; finite, so that differences are


class _Item(NamedTuple):
    """Logarithms of features, (n_query, features) and (n_key, features), and [values, 1], (n_key, dim_value + 1)."""

    query: Array
    keys: Array
    extended: Array


class _Table(NamedTuple):
    """The keys so far: sums (features, dim_value + 1), row r in units of exp(peaks[r])."""

    sums: Array
    peaks: Array

    @classmethod
    def empty(cls, features: int, lines: int) -> _Table:
        return cls(np.zeros((features, lines)), np.full(features, NOTHING_SEEN))

    def with_peaks(self, peaks: Array) -> _Table:
        return _Table(self.sums * np.exp(self.peaks - peaks)[:, None], peaks)

    def with_keys(self, own: Array, extended: Array) -> _Table:
        return _Table(self.sums + own.T @ extended, self.peaks)


class _Segment(NamedTuple):
    """Queries that see all keys of earlier segments, and of this one's those at or before their place."""

    queries: slice
    keys: slice
    peaks: Array


@body
def prefix_attention(
    query: Array, keys: Array, addend: Array | None, weight: Array | None, values: Array,
    sums_before: Array | None, peaks_before: Array | None, sums: Array, peaks: Array, out: Array, lse: Array,
    batch: int, n_query: int, n_key: int, dim: int, features: int, dim_value: int, causal: int, block: int,
    start: int, stop: int,
) -> int:  # fmt: skip
    """out_i = sum_j <f(q_i), f(k_j)> v_j / sum_j <f(q_i), f(k_j)>, j before i or all; f from its logarithms."""
    if stop > batch or block == 0 or (weight is None and features != dim):
        return BAD_ARGUMENT
    outputs = out.reshape(-1)[: batch * n_query * dim_value].reshape(batch, n_query, dim_value)
    denominators = lse.reshape(-1)[: batch * n_query].reshape(batch, n_query)
    all_sums = sums.reshape(-1)[: batch * (dim_value + 1) * features].reshape(batch, dim_value + 1, features)
    all_peaks = peaks.reshape(-1)[: batch * features].reshape(batch, features)
    finite = True
    for at in range(start, stop):
        item = _item(query, keys, addend, weight, values, at, n_query, n_key, dim, features, dim_value)
        table = _Table.empty(features, dim_value + 1)
        if sums_before is not None and peaks_before is not None:
            table = _Table(
                sums_before.reshape(-1)[: all_sums.size].reshape(all_sums.shape)[at].T.astype(np.float64),
                peaks_before.reshape(-1)[: all_peaks.size].reshape(batch, features)[at].astype(np.float64),
            )
        found, of_lse = np.zeros((n_query, dim_value)), np.full(n_query, np.inf)
        for queries, own_keys in _blocks(n_query, n_key, bool(causal), min(block, ROWS)):
            table = _attend(item, queries, own_keys, table, found, of_lse)
        outputs[at], denominators[at], all_sums[at], all_peaks[at] = found, of_lse, table.sums.T, table.peaks
        finite = finite and bool(np.isfinite(outputs[at]).all())
    return OK if finite else NON_FINITE


@body
def prefix_attention_backward(
    query: Array, keys: Array, addend: Array | None, weight: Array | None, values: Array,
    out: Array, lse: Array, grad_out: Array, grad_query: Array, grad_keys: Array, grad_values: Array,
    batch: int, n_query: int, n_key: int, dim: int, features: int, dim_value: int, causal: int, block: int,
    start: int, stop: int, anew: bool = False,
) -> int:  # fmt: skip
    """Added to the gradients of the logarithms of the features and of the values. ``anew``: with the outputs as they
    are before they are rounded to float32."""
    if stop > batch or block == 0 or (weight is None and features != dim):
        return BAD_ARGUMENT

    def rows(array: Array, n: int, width: int) -> Array:
        return array.reshape(-1)[: batch * n * width].reshape(batch, n, width)

    for at in range(start, stop):
        item = _item(query, keys, addend, weight, values, at, n_query, n_key, dim, features, dim_value)
        done, grads = (rows(x, n_query, dim_value)[at].astype(np.float64) for x in (out, grad_out))
        # lse came in float32, which is too coarse where logarithms are large
        denominators, table = np.full(n_query, np.inf), _Table.empty(features, dim_value + 1)
        own = np.zeros((n_query, dim_value))
        for block_of in _blocks(n_query, n_key, bool(causal), min(block, ROWS)):
            table = _attend(item, *block_of, table, own, denominators)
        done = own if anew else done
        # [G, -G . out]: one product with [v, 1] is then the gradient of a weight before it was divided
        extended = np.concatenate([grads, -(grads * done).sum(axis=1, keepdims=True)], axis=1)
        of_query, of_keys, of_values = _gradients(item, extended, denominators, bool(causal), min(block, ROWS))
        rows(grad_query, n_query, features)[at] += of_query
        rows(grad_keys, n_key, features)[at] += of_keys
        rows(grad_values, n_key, dim_value)[at] += of_values[:, :-1]
    return OK


def _item(
    query: Array, keys: Array, addend: Array | None, weight: Array | None, values: Array, at: int,
    n_query: int, n_key: int, dim: int, features: int, dim_value: int,
) -> _Item:  # fmt: skip
    def rows(array: Array, n: int, width: int) -> Array:
        own: Array = array.reshape(-1)[at * n * width : (at + 1) * n * width].reshape(n, width).astype(np.float64)
        return own

    of_query, of_keys = rows(query, n_query, dim), rows(keys, n_key, dim)
    if weight is not None:
        maps = weight.reshape(-1)[: features * dim].reshape(features, dim).astype(np.float64)
        of_query, of_keys = of_query @ maps.T, of_keys @ maps.T
    if addend is not None:
        of_keys = of_keys + rows(addend, n_key, 1)
    extended = np.concatenate([rows(values, n_key, dim_value), np.ones((n_key, 1))], axis=1)
    # no feature is infinite
    return _Item(np.where(of_query < np.inf, of_query, np.nan), np.where(of_keys < np.inf, of_keys, np.nan), extended)


def _blocks(n_query: int, n_key: int, causal: bool, rows: int) -> list[tuple[slice, slice]]:
    if not causal:
        return [(slice(0, 0), slice(0, n_key)), (slice(0, n_query), slice(n_key, n_key))]
    ahead = n_key - n_query
    first = max(-ahead, 0)  # queries before that one see no key
    blocks = [(slice(first, first), slice(0, ahead))] if ahead > 0 else []
    for start in range(first, n_query, rows):
        stop = min(start + rows, n_query)
        blocks.append((slice(start, stop), slice(start + ahead, stop + ahead)))
    return blocks


def _raised(table: _Table, item: _Item, keys: slice) -> Array:
    """The peaks with these keys."""
    return np.maximum(table.peaks, item.keys[keys].max(axis=0)) if keys.stop > keys.start else table.peaks


def _halves(queries: slice, keys: slice) -> Iterator[tuple[slice, slice]]:
    size = queries.stop - queries.start
    for begin, end in ((0, size // 2), (size // 2, size)):
        yield (slice(queries.start + begin, queries.start + end), slice(keys.start + begin, keys.start + end))


def _attend(item: _Item, queries: slice, keys: slice, table: _Table, output: Array, lse: Array) -> _Table:
    """One block, its outputs written; the table behind it."""
    size, has_keys = queries.stop - queries.start, keys.stop > keys.start
    raised = table.with_peaks(_raised(table, item, keys))
    own = np.exp(item.keys[keys] - raised.peaks)
    if size:
        logs = item.query[queries] + raised.peaks
        top = np.maximum(logs.max(axis=1), 2 * NOTHING_SEEN)
        asked = np.exp(logs - top[:, None])
        summed = asked @ raised.sums
        if has_keys:
            summed += np.tril(asked @ own.T) @ item.extended[keys]
        total = summed[:, -1]
        lost = (total < LEAST) & (top > NOTHING_SEEN / 2)
        if has_keys and size > 1 and lost.any():
            for half in _halves(queries, keys):
                table = _attend(item, *half, table, output, lse)
            return table
        divisor = np.where(total == 0, 1.0, total)
        output[queries] = summed[:, :-1] / divisor[:, None]
        lse[queries] = np.where(total == 0, np.inf, np.log(divisor) + top)
    return raised.with_keys(own, item.extended[keys]) if has_keys else raised


def _segments(item: _Item, queries: slice, keys: slice, lse: Array, table: _Table) -> Iterator[_Segment]:
    """A block in as many parts as its denominators call for, as ``_attend`` found them."""
    peaks = _raised(table, item, keys)
    size = queries.stop - queries.start
    if size > 1 and keys.stop > keys.start:
        top = (item.query[queries] + peaks).max(axis=1)
        seen = np.isfinite(lse[queries])
        if (seen & (lse[queries] - top < np.log(LEAST)) & (top > NOTHING_SEEN / 2)).any():
            for half in _halves(queries, keys):
                for segment in _segments(item, *half, lse, table):
                    table = table._replace(peaks=segment.peaks)
                    yield segment
            return
    yield _Segment(queries, keys, peaks)


def _gradients(item: _Item, grad: Array, lse: Array, causal: bool, rows: int) -> tuple[Array, Array, Array]:
    of_query, of_keys, of_values = (np.zeros(x.shape) for x in item)
    table = _Table.empty(item.keys.shape[1], item.extended.shape[1])
    done: list[_Segment] = []

    def asked_of(segment: _Segment) -> Array:
        at = segment.queries
        asked: Array = np.exp(item.query[at] + segment.peaks - lse[at, None])
        return asked

    for block in _blocks(len(item.query), len(item.keys), causal, rows):
        for segment in _segments(item, *block, lse, table):
            queries, keys, peaks = segment
            table = table.with_peaks(peaks)
            own = np.exp(item.keys[keys] - peaks)
            slope = grad[queries] @ table.sums.T
            if queries.stop > queries.start and keys.stop > keys.start:
                slope += np.tril(grad[queries] @ item.extended[keys].T) @ own
            of_query[queries] = slope * asked_of(segment)
            table = table.with_keys(own, item.extended[keys])
            done.append(segment)
    behind = np.zeros_like(table.sums)
    after = table.peaks
    for segment in reversed(done):
        queries, keys, peaks = segment
        behind = behind * np.exp(peaks - after)[:, None]
        after = peaks
        asked, own = asked_of(segment), np.exp(item.keys[keys] - peaks)
        slope, of_value = item.extended[keys] @ behind.T, own @ behind
        if queries.stop > queries.start and keys.stop > keys.start:
            slope += np.tril(grad[queries] @ item.extended[keys].T).T @ asked
            of_value += np.tril(asked @ own.T).T @ grad[queries]
        of_keys[keys], of_values[keys] = slope * own, of_value
        behind = behind + asked.T @ grad[queries]
    return of_query, of_keys, of_values
