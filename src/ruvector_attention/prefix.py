"""Attention whose weights are products of features, by running sums over keys: time and memory O(n * m * d).

    out_i = sum_j <f(q_i), g(k_j)> v_j / sum_j <f(q_i), g(k_j)>

What precedes a query is summed up in a table of m rows, sum_j g(k_j) [v_j, 1]; a block of rows meets its own keys in
a triangle. Features come as their logarithms, -inf for 0. Each row of the table keeps its largest and is in units of
that, so neither a denominator nor a feature can underflow: where one key behind a query would set too large a unit for
it, the block is cut in halves, down to a row by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .products import FLOAT32, product

Float32Array = npt.NDArray[np.float32]

BLOCK = 128  # rows whose triangle is computed whole
LEAST = np.float32(
    1e-15
)  # a denominator below this may have lost terms that underflowed: its terms are products of two
NOTHING_SEEN = np.float32(-1e30)  # the logarithm that stands for "no key yet"; finite, so that differences are


class Table(NamedTuple):
    """The keys so far: sums (m, dim_value + 1), row r in units of exp(peaks[r])."""

    sums: Float32Array
    peaks: Float32Array

    @classmethod
    def empty(cls, features: int, dim_value: int) -> Table:
        return cls(np.zeros((features, dim_value + 1), FLOAT32), np.full(features, NOTHING_SEEN))

    def in_units(self, peaks: Float32Array) -> Float32Array:
        """The sums in units of larger peaks."""
        scaled: Float32Array = self.sums * np.exp(self.peaks - peaks)[:, None]
        return scaled


class Segment(NamedTuple):
    """Queries that see all keys of earlier segments, and of this one's those at or before their place."""

    queries: slice
    keys: slice
    peaks: Float32Array  # the units of this segment


class Prefix(NamedTuple):
    """One pass: outputs (n_query, dim_value), logarithms of the denominators (n_query,), +inf where no key is seen."""

    output: Float32Array
    lse: Float32Array
    segments: list[Segment]
    table: Table


class Features(NamedTuple):
    """Of one item: the logarithms of the features of query (n_query, m) and keys (n_key, m)."""

    query: Float32Array
    keys: Float32Array

    def of_keys(self, at: slice, peaks: Float32Array) -> Float32Array:
        own: Float32Array = np.exp(self.keys[at] - peaks)
        return own

    def of_queries(self, at: slice, peaks: Float32Array, lse: Float32Array) -> Float32Array:
        """Divided by the denominators."""
        divided: Float32Array = np.exp(self.query[at] + peaks - lse[at, None])
        return divided


def forward(features: Features, values: Float32Array, *, causal: bool, table: Table | None = None) -> Prefix:
    """All outputs; ``table`` holds keys before the first."""
    n_query, n_key = len(features.query), len(features.keys)
    table = table or Table.empty(features.keys.shape[1], values.shape[1])
    output = np.zeros((n_query, values.shape[1]), FLOAT32)
    lse = np.full(n_query, np.inf, FLOAT32)
    segments: list[Segment] = []
    extended = with_ones(values)
    for queries, keys in _blocks(n_query, n_key, causal):
        table = _attend(features, extended, queries, keys, table, output, lse, segments)
    return Prefix(output, lse, segments, table)


def backward(
    features: Features, values: Float32Array, done: Prefix, grad_output: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The gradients of the logarithms of query and key features, and of the values."""
    extended = with_ones(values)
    # [G, -G . out]: one product with [v, 1] is then the gradient of a weight before it was divided
    along = -(grad_output * done.output).sum(axis=1, keepdims=True)
    grad = np.concatenate([grad_output, along], axis=1)
    of_query, of_keys = np.zeros_like(features.query), np.zeros_like(features.keys)
    of_values = np.zeros_like(extended)
    table = Table.empty(of_keys.shape[1], values.shape[1])
    for queries, keys, peaks in done.segments:
        sums = table.in_units(peaks)
        own = features.of_keys(keys, peaks)
        if queries.stop > queries.start:
            slope = product(grad[queries], sums.T)
            if keys.stop > keys.start:
                slope += product(np.tril(product(grad[queries], extended[keys].T)), own)
            of_query[queries] = slope * features.of_queries(queries, peaks, done.lse)
        if keys.stop > keys.start:
            sums = sums + product(own.T, extended[keys])
        table = Table(sums, peaks)
    behind = np.zeros_like(table.sums)
    after = table.peaks
    for queries, keys, peaks in reversed(done.segments):
        behind = behind * np.exp(peaks - after)[:, None]
        after = peaks
        asked = features.of_queries(queries, peaks, done.lse)
        if keys.stop > keys.start:
            own = features.of_keys(keys, peaks)
            slope, of_value = product(extended[keys], behind.T), product(own, behind)
            if queries.stop > queries.start:
                slope += product(np.tril(product(grad[queries], extended[keys].T)).T, asked)
                of_value += product(np.tril(product(asked, own.T)).T, grad[queries])
            of_keys[keys] = slope * own
            of_values[keys] = of_value
        if queries.stop > queries.start:
            behind = behind + product(asked.T, grad[queries])
    return of_query, of_keys, np.ascontiguousarray(of_values[:, :-1])


def weights(features: Features, done: Prefix, *, causal: bool) -> Float32Array:
    """The weights themselves, (n_query, n_key)."""
    out = np.zeros((len(features.query), len(features.keys)), FLOAT32)
    for queries, keys, peaks in done.segments:
        if queries.stop == queries.start:
            continue
        asked = features.of_queries(queries, peaks, done.lse)
        out[queries, : keys.stop] = product(asked, features.of_keys(slice(0, keys.stop), peaks).T)
        if causal:
            out[queries, keys] = np.tril(out[queries, keys])
        # the denominators were summed in another order: these sum to 1 as they stand
        total = out[queries].sum(axis=1, keepdims=True)
        out[queries] /= np.where(total > 0, total, np.float32(1))
    return out


def with_ones(values: Float32Array) -> Float32Array:
    """[v, 1]: what sums the weights beside the values."""
    return np.concatenate([values, np.ones((len(values), 1), FLOAT32)], axis=1)


def _blocks(n_query: int, n_key: int, causal: bool) -> list[tuple[slice, slice]]:
    if not causal:
        return [(slice(0, 0), slice(0, n_key)), (slice(0, n_query), slice(n_key, n_key))]
    ahead = n_key - n_query
    first = max(-ahead, 0)  # queries before that one see no key
    blocks = [(slice(first, first), slice(0, ahead))] if ahead > 0 else []
    for start in range(first, n_query, BLOCK):
        stop = min(start + BLOCK, n_query)
        blocks.append((slice(start, stop), slice(start + ahead, stop + ahead)))
    return blocks


def _attend(
    features: Features,
    extended: Float32Array,
    queries: slice,
    keys: slice,
    table: Table,
    output: Float32Array,
    lse: Float32Array,
    segments: list[Segment],
) -> Table:
    """One block, its outputs written; the table behind it."""
    has_queries, has_keys = queries.stop > queries.start, keys.stop > keys.start
    peaks = np.maximum(table.peaks, features.keys[keys].max(axis=0)) if has_keys else table.peaks
    sums = table.in_units(peaks)
    own = features.of_keys(keys, peaks)
    if has_queries:
        raised = features.query[queries] + peaks
        top = np.maximum(raised.max(axis=1), 2 * NOTHING_SEEN)
        asked = np.exp(raised - top[:, None])
        summed = product(asked, sums)
        if has_keys:
            summed += product(np.tril(product(asked, own.T)), extended[keys])
        total, size = summed[:, -1], queries.stop - queries.start
        lost = (total < LEAST) & (top > NOTHING_SEEN / 2)
        if has_keys and size > 1 and lost.any():
            for part in (slice(0, size // 2), slice(size // 2, size)):
                halves = [slice(at.start + part.start, at.start + part.stop) for at in (queries, keys)]
                table = _attend(features, extended, halves[0], halves[1], table, output, lse, segments)
            return table
        seen = total > 0
        divisor = np.where(seen, total, np.float32(1))
        output[queries] = np.where(seen[:, None], summed[:, :-1] / divisor[:, None], np.float32(0))
        lse[queries] = np.where(seen, np.log(divisor) + top, np.float32(np.inf))
    if has_keys:
        sums = sums + product(own.T, extended[keys])
    segments.append(Segment(queries, keys, peaks))
    return Table(sums, peaks)
