"""Attention where each query has a list of keys of its own: given (a mask of pairs) or found (the k highest scores).

Lists may differ by leading index and head, so each leading index is a call of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels
from .finite import raise_non_finite
from .layout import repeated, tally
from .problem import Gradients, Problem
from .products import FLOAT32, contiguous, normalize_rows, normalize_rows_backward
from .ragged import without_unread
from .scoring import EVERYWHERE, Edges, Rotary, Scoring, Times
from .sparse import attend_sparse, attend_sparse_backward
from .tiles import Tiles

Array = npt.NDArray[Any]


class _Item(NamedTuple):
    """One leading index: its matrices, and how its queries choose."""

    at: tuple[int, ...]
    query: Array
    keys: Array
    values: Any  # None for the weights alone
    scoring: Scoring


def _at(array: Array | None, index: tuple[int, ...], behind: int) -> Any:
    """The item of an array whose leading axes broadcast to those of ``index``."""
    if array is None:
        return None
    lead = array.ndim - behind
    own = index[len(index) - lead :] if lead > 0 else ()
    return array[tuple(i if size > 1 else 0 for i, size in zip(own, array.shape, strict=False))]


def _items(query: Array, keys: Array, values: Array | None, scoring: Scoring) -> Iterator[_Item]:
    if scoring.normalize:
        dim = query.shape[-1] // scoring.num_heads
        query, keys = normalize_rows(query, dim), normalize_rows(keys, dim)
    lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2], () if values is None else values.shape[:-2])
    behind = 3 if scoring.num_heads > 1 else 2

    def addend(array: Array | None, index: tuple[int, ...]) -> Any:
        has_heads = array is not None and array.ndim == len(lead) + 3
        return _at(array, index, behind if has_heads else 2)

    def placed(pair: Any, index: tuple[int, ...], behind: int) -> Any:
        """Arrays of queries and of keys, the first two of what they stand in."""
        return pair if pair is None else (*(_at(array, index, behind) for array in pair[:2]), *pair[2:])

    for index in np.ndindex(*lead):
        rotary, times = (placed(pair, index, 1) for pair in (scoring.rotary, scoring.times))
        own = replace(
            scoring,
            normalize=False,
            mask=addend(scoring.mask, index),
            bias=addend(scoring.bias, index),
            key_lengths=None if scoring.key_lengths is None else np.broadcast_to(scoring.key_lengths, lead)[index],
            aux=placed(scoring.aux, index, 2),
            rotary=rotary and Rotary(*rotary),
            times=times and Times(*times),
        )
        yield _Item(index, _at(query, index, 2), _at(keys, index, 2), _at(values, index, 2), own)


def _edges(item: _Item, check_finite: bool) -> Edges:
    """The list of every query of every head."""
    scoring, top_k = item.scoring, item.scoring.top_k
    if top_k is None:
        assert scoring.edges is not None
        return scoring.edges
    if scoring.edges is not None:
        scoring = replace(scoring, tiles=Tiles.from_edges(*scoring.edges, item.keys.shape[0]), edges=None)
    problem = Problem(item.query, item.keys, None, scoring, check_finite)
    indices, counts = problem.select(top_k)
    n_query, ends = problem.n_query, np.concatenate([[0], np.cumsum(counts)])
    first = np.arange(scoring.num_heads)[:, None] * n_query
    return Edges(np.ascontiguousarray(ends[first + np.arange(n_query + 1)], np.int64), indices[indices >= 0])


def _owners(item: _Item, edges: Edges) -> tuple[Array, Array, Array]:
    """Head, query and key of every edge; lists that heads share are those of head 0."""
    indptr = edges.indptr.reshape(-1, item.query.shape[0] + 1)
    counts = np.diff(indptr, axis=1).reshape(-1)
    row = repeated(np.arange(counts.size), counts)
    return row // item.query.shape[0], row % item.query.shape[0], edges.indices


def _dense(item: _Item, edges: Edges) -> Array:
    """The lists as a mask, (n_query, n_key) or with an axis for heads, within the mask that was there."""
    shape = (item.query.shape[0], item.keys.shape[0])
    allowed = np.zeros(((edges.indptr.ndim > 1 and item.scoring.num_heads) or 1, *shape), bool)
    allowed[_owners(item, edges)] = True
    allowed = allowed if len(allowed) > 1 else allowed[0]
    return allowed if item.scoring.mask is None else allowed & item.scoring.mask


def _by_edge(item: _Item, edges: Edges) -> Array | None:
    """The bias of every edge. Heads that differ in bias need lists of their own."""
    bias = item.scoring.bias
    if bias is None:
        return None
    head, query, key = _owners(item, edges)
    heads = item.scoring.num_heads if edges.indptr.ndim > 1 else 1
    wide = np.broadcast_to(bias, (*((heads,) if bias.ndim > 2 else ()), item.query.shape[0], item.keys.shape[0]))
    return np.ascontiguousarray(wide[(head, query, key) if bias.ndim > 2 else (query, key)])


def _apart(item: _Item, edges: Edges) -> Edges:
    """Lists for each head where a bias or a mask tells heads apart, without what a mask or a length forbids."""
    scoring, n_query = item.scoring, item.query.shape[0]
    mask, bias, lengths = scoring.mask, scoring.bias, scoring.key_lengths
    if scoring.top_k is not None:
        return edges  # all of that was looked at when they were chosen
    differs = any(a is not None and a.ndim > 2 and a.shape[0] > 1 for a in (mask, bias))
    if not (differs or mask is not None or lengths is not None):
        return edges
    heads = scoring.num_heads if differs else 1
    _, query, key = _owners(item, edges)
    allowed = np.ones((heads, key.size), bool)
    if mask is not None:
        wide = np.broadcast_to(mask, (heads, n_query, item.keys.shape[0]))
        allowed &= wide[:, query, key]
    if lengths is not None:
        allowed &= key < lengths
    counts = np.stack([tally(query[row], minlength=n_query) for row in allowed])
    ends = np.concatenate([[0], np.cumsum(counts)])
    indptr = ends[np.arange(heads)[:, None] * n_query + np.arange(n_query + 1)].astype(np.int64)
    indices = np.concatenate([key[row] for row in allowed])
    return Edges(np.ascontiguousarray(indptr if differs else indptr[0]), np.ascontiguousarray(indices, np.int64))


def _chosen(item: _Item, check_finite: bool) -> Edges:
    return _apart(item, _edges(item, check_finite))


class _Head(NamedTuple):
    """One head of an item by itself, for scores that only the tile kernel knows: its lists are tiles of their own."""

    number: int
    group: int  # of the keys and values that it reads
    problem: Problem


def _heads(item: _Item, edges: Edges) -> Iterator[_Head]:
    """Every head of an item, with the scores that it has and the keys of its lists."""
    scoring, (n_query, n_key) = item.scoring, (item.query.shape[0], item.keys.shape[0])
    indptr = edges.indptr.reshape(-1, n_query + 1)
    for head in range(scoring.num_heads):
        group = head * scoring.num_kv_heads // scoring.num_heads
        rows = indptr[head if len(indptr) > 1 else 0]
        tiles = Tiles.from_edges(rows - rows[0], edges.indices[rows[0] : rows[-1]], n_key)
        bias, aux, dropout = scoring.bias, scoring.aux, scoring.dropout
        if bias is not None and bias.ndim > 2:
            bias = bias[head if len(bias) > 1 else 0]
        if aux is not None:
            aux = (_part(aux[0], head, scoring.num_heads), _part(aux[1], group, scoring.num_kv_heads))
        if dropout is not None:  # each head of each item drops weights of its own
            number = [*item.at, head]
            seed = np.random.SeedSequence([dropout.seed, *number]).generate_state(1)[0]
            dropout = dropout._replace(seed=int(seed))
        own = replace(
            scoring, tiles=tiles, band=EVERYWHERE, edges=None, top_k=None, mask=None, key_lengths=None,
            bias=bias, aux=aux, dropout=dropout, num_heads=1, num_kv_heads=1,
        )  # fmt: skip
        query = _part(item.query, head, scoring.num_heads)
        keys, values = (_part(x, group, scoring.num_kv_heads) for x in (item.keys, item.values))
        yield _Head(head, group, Problem(query, keys, values, own, False))


def _look_through(query: Array, keys: Array, values: Array, lengths: Array | None, lead: tuple[int, ...]) -> None:
    """Refuse NaN and infinity in rows that no list may name, and so no kernel read; behind key lengths they may be."""
    for name, array in (("query", query), ("keys", keys), ("values", values)):
        if lengths is not None and name != "query":
            array = without_unread(array, np.broadcast_to(lengths, lead))
        if kernels.active.all_finite(contiguous(array), array.size):
            raise_non_finite(**{name: array})


def _part(x: Array, number: int, count: int) -> Array:
    """The channels of one of so many heads."""
    width = x.shape[-1] // count
    return x[..., number * width : (number + 1) * width]


def attend(
    query: Array, keys: Array, values: Array, scoring: Scoring, check_finite: bool, return_lse: bool, out: Array | None,
    max_threads: int | None,
) -> Any:  # fmt: skip
    """As ``engine.attend``, which calls it."""
    lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2], values.shape[:-2])
    n_query, heads = query.shape[-2], scoring.num_heads
    dim_value = values.shape[-1] // scoring.num_kv_heads
    if out is None:
        out = np.empty((*lead, n_query, heads * dim_value), FLOAT32)
    lse = np.empty((*lead, heads, n_query), FLOAT32)
    if check_finite and scoring.checks_unlisted:
        _look_through(query, keys, values, scoring.key_lengths, lead)
    for item in _items(query, keys, values, scoring):
        edges = _chosen(item, check_finite)
        if scoring.needs_tiles:
            for head, _, problem in _heads(item, edges):
                own, own_lse = np.empty((n_query, dim_value), FLOAT32), np.empty((1, n_query), FLOAT32)
                if problem.forward(own, own_lse, max_threads) and check_finite:
                    raise_non_finite(query=query, keys=keys, values=values, bias=scoring.bias)
                _part(out[item.at], head, heads)[...], lse[item.at][head] = own, own_lse[0]
            continue
        out[item.at], lse[item.at] = attend_sparse(
            item.query, item.keys, item.values, edges, scale=scoring.scale, bias=_by_edge(item, edges),
            num_heads=heads, num_kv_heads=scoring.num_kv_heads, check_finite=check_finite, return_lse=True,
            max_threads=max_threads,
        )  # fmt: skip
    return (out, lse) if return_lse else out


def attend_backward(
    query: Array, keys: Array, values: Array, out: Array, lse: Array, grad_out: Array, scoring: Scoring
) -> Gradients:
    """As ``engine.attend_backward``, which calls it. Which keys are chosen is not differentiated."""
    grads = [np.zeros(x.shape, FLOAT32) for x in (query, keys, values)]
    of_bias = None if scoring.bias is None else np.zeros(scoring.bias.shape, FLOAT32)
    of_spaces, of_times = np.zeros((len(scoring.spaces), 2)), np.zeros(2)
    for item in _items(query, keys, values, scoring):
        found = (_heads_backward if scoring.needs_tiles else _lists_backward)(
            item, _chosen(item, False), out[item.at], lse[item.at], grad_out[item.at]
        )
        for total, grad in zip(grads, found[:3], strict=True):
            _at(total, item.at, 2)[...] += grad
        if of_bias is not None and found.bias is not None:
            has_heads = of_bias.ndim == len(item.at) + 3
            _at(of_bias, item.at, 3 if has_heads and scoring.num_heads > 1 else 2)[...] += found.bias
        of_spaces += 0 if found.spaces is None else found.spaces
        of_times += 0 if found.times is None else found.times
    of_query, of_keys, of_values = grads
    if scoring.normalize:
        dim = query.shape[-1] // scoring.num_heads
        of_query = normalize_rows_backward(query, of_query, dim)
        of_keys = normalize_rows_backward(keys, of_keys, dim)
    spaces, times = (of_spaces if scoring.spaces else None), (of_times if scoring.times else None)
    return Gradients(of_query, of_keys, of_values, of_bias, spaces, times)


def _lists_backward(item: _Item, edges: Edges, out: Array, lse: Array, grad_out: Array) -> Gradients:
    scoring = item.scoring
    found = attend_sparse_backward(
        item.query, item.keys, item.values, edges, out, lse, grad_out,
        scale=scoring.scale, bias=_by_edge(item, edges), num_heads=scoring.num_heads, num_kv_heads=scoring.num_kv_heads,
    )  # fmt: skip
    if scoring.bias is None or found.bias is None:
        return found
    of_bias: Array = np.zeros(scoring.bias.shape, FLOAT32)
    at = _owners(item, edges)[3 - of_bias.ndim :]
    own = tuple(i if size > 1 else np.zeros_like(i) for i, size in zip(at, of_bias.shape, strict=True))
    np.add.at(of_bias, own, found.bias)
    return found._replace(bias=of_bias)


def _heads_backward(item: _Item, edges: Edges, out: Array, lse: Array, grad_out: Array) -> Gradients:
    scoring = item.scoring
    query, keys, values = (np.zeros(x.shape, FLOAT32) for x in (item.query, item.keys, item.values))
    bias: Any = None if scoring.bias is None else np.zeros(scoring.bias.shape, FLOAT32)
    spaces, times = np.zeros((len(scoring.spaces), 2)), np.zeros(2)
    heads, groups = scoring.num_heads, scoring.num_kv_heads
    for head, group, problem in _heads(item, edges):
        own, upstream = (contiguous(_part(array, head, heads)) for array in (out, grad_out))
        found = problem.backward(own, contiguous(lse[head : head + 1]), upstream, None)
        _part(query, head, heads)[...] = found.query
        _part(keys, group, groups)[...] += found.keys
        _part(values, group, groups)[...] += found.values
        if found.bias is not None:
            (bias if bias.ndim < 3 else bias[head if len(bias) > 1 else 0])[...] += found.bias
        spaces += 0 if found.spaces is None else found.spaces
        times += 0 if found.times is None else found.times
    return Gradients(query, keys, values, bias, spaces if scoring.spaces else None, times if scoring.times else None)


def as_mask(query: Array, keys: Array, scoring: Scoring, check_finite: bool) -> Scoring:
    """The same scoring with the lists as an array: for the weights, which are an array of that size anyway."""
    items = list(_items(query, keys, None, scoring))
    masks = [_dense(item, _chosen(item, check_finite)) for item in items]
    lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2])
    heads = max(mask.shape[0] if mask.ndim > 2 else 1 for mask in masks)
    shape = (heads,) if heads > 1 else ()
    stacked = np.stack([np.broadcast_to(m, (*shape, *m.shape[-2:])) for m in masks])
    stacked = stacked.reshape(*lead, *stacked.shape[1:])
    return replace(scoring, mask=stacked, edges=None, tiles=None, band=EVERYWHERE, top_k=None)
