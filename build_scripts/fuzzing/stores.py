"""What holds something between calls: a memory beside a list, graphs, masks alone, a walk of points, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector_attention as ra

from . import masks, verdicts

if TYPE_CHECKING:
    from .cases import Case


def run(case: Case) -> None:
    case.draw.one_of((_memory, _memory, _mask, _graph, _walk, _stream))(case)


def _memory(case: Case) -> None:
    """Appended to, evicted from and read in any order, beside a list of the ids that must be there."""
    draw = case.draw
    dim, dim_value = draw.between(1, 20), draw.between(1, 20)
    has_values = draw.chance(0.8)

    def rows(count: int) -> list[Any]:
        return [draw.numbers(count, dim), *([draw.numbers(count, dim_value)] if has_values else [])]

    count = draw.size(40)
    memory = case.call("memory", "create", ra.Memory, *rows(count))
    if memory is None:
        return
    ids, fresh = list(range(count)), count
    case.trail = [f"Memory of {count} rows, dim {dim}, dim_value {dim_value if has_values else 'none'}"]
    for _ in range(draw.between(3, 25)):
        kind = draw.random.random()
        if kind < 0.3:
            count = draw.size(30)
            found = case.call("memory", "append", memory.append, *rows(count))
            verdicts.require(found is not None and found.tolist() == list(range(fresh, fresh + count)), "other ids")
            ids, fresh = ids + list(range(fresh, fresh + count)), fresh + count
        elif kind < 0.45:
            oldest = draw.between(0, len(ids))
            gone = case.call("memory", "evict", memory.evict, oldest=oldest)
            verdicts.require(gone == oldest, f"{gone} rows went; expected {oldest}")
            ids = ids[oldest:]
        elif kind < 0.6:
            picked = [number for number in ids if draw.chance(0.3)]
            gone = case.call("memory", "evict", memory.evict, picked)
            verdicts.require(gone == len(picked), f"{gone} rows went; expected {len(picked)}")
            ids = [number for number in ids if number not in set(picked)]
        elif kind < 0.65 and ids:
            try:
                case.operations += 1
                memory.evict([ids[-1] + draw.between(1, 9)])
            except ra.OutOfBoundsError:
                pass
            else:
                raise verdicts.FindingError("a row that is not there was evicted")
        elif kind < 0.67:
            case.call("memory", "clear", memory.clear)
            ids = []
        elif ids:
            query = draw.numbers(dim) if draw.chance(0.3) else draw.numbers(draw.size(9), dim)
            found = case.call("memory", "attend", memory.attend, query, normalize=draw.chance(0.3))
            if found is not None:
                verdicts.output("what a memory gives", found, None)
        verdicts.require(memory.ids.tolist() == ids, "the memory has other rows than it should")
        verdicts.finite("the keys of a memory", memory.keys)


def _mask(case: Case) -> None:
    draw = case.draw
    n_query, n_key = draw.size(150), draw.size(150)
    mask: Any = masks.object_of(draw, n_query, n_key)
    for _ in range(draw.between(0, 2)):
        other = masks.object_of(draw, n_query, n_key)
        mask = mask & other if draw.chance(0.5) else mask | other
    case.trail = [f"{mask!r} for ({n_query}, {n_key})"[:300]]
    dense = case.call("mask", "to_dense", mask.to_dense, n_query, n_key)
    count = case.call("mask", "count_nonzero", mask.count_nonzero, n_query, n_key)
    verdicts.require(dense.shape == (n_query, n_key), f"the mask is {dense.shape}")
    verdicts.require(int(dense.sum()) == count, f"count_nonzero gives {count}, to_dense {int(dense.sum())}")
    again = case.call("mask", "from_config", ra.AttentionMask.from_config, mask.to_config())
    verdicts.require(np.array_equal(again.to_dense(n_query, n_key), dense), "its config makes another mask")


def _graph(case: Case) -> None:
    draw = case.draw
    n_node, n_edges = draw.size(60), draw.between(0, 120)
    edges = draw.integers(0, n_node - 1, 2, n_edges)
    form = draw.one_of((edges, edges.T.tolist(), edges.astype(np.float64), {"edges": edges.T.tolist()}))
    case.trail = [f"Graph of {n_node} nodes and {n_edges} edges, a {type(form).__name__}"]
    graph = case.call("graph", "create", ra.Graph, form, n_node)
    if graph is None:
        return
    verdicts.require(np.array_equal(graph.edge_index, edges), "the graph has other edges")
    self_loops = draw.chance(0.5)
    fans = case.call("graph", "fans", graph.fans, self_loops=self_loops, isolated_loops=draw.chance(0.5))
    verdicts.require(bool((np.diff(fans.indptr) >= 0).all()), "the rows of the graph fall")
    verdicts.require(fans.indptr[-1] == fans.sources.size == fans.rows.size, "the rows do not hold every edge")
    start = draw.between(0, n_node - 1)
    nodes, hops = case.call("graph", "around", graph.around, start, draw.between(1, 5))
    verdicts.require(len(set(nodes.tolist())) == nodes.size == hops.size, "a node comes twice")
    verdicts.require(start not in nodes.tolist(), "a node is around itself")


def _walk(case: Case) -> None:
    draw = case.draw
    count, dim = draw.between(2, 30), draw.between(1, 8)
    points = draw.numbers(count, dim)
    case.trail = [f"RLNavigator of {count} points, dim {dim}"]
    navigator = case.call("navigator", "create", ra.RLNavigator, points, neighbors=draw.between(1, count - 1))
    if navigator is None:
        return
    queries = draw.numbers(draw.between(1, 4), dim)
    for search in ("search", "greedy_search"):
        found = case.call("navigator", search, getattr(navigator, search), queries[0], draw.between(1, 40))
        if found is not None:
            verdicts.finite(search, found)
    found = case.call("navigator", "compare", navigator.compare, queries, budget=draw.between(1, 20))
    if found is not None:
        verdicts.finite("compare", found)


def _stream(case: Case) -> None:
    draw = case.draw
    dim, dim_value = draw.between(1, 12), draw.between(1, 12)
    settings = {"kernel": draw.one_of(("favor", "elu", "relu")), "num_features": draw.between(1, 32)}
    attention = case.call("linear", "create", ra.create, "linear", dim=dim, **settings)
    stream = case.call("linear", "stream", attention.stream, dim_value)
    case.trail = [f"a stream of {attention!r}"]
    for _ in range(draw.between(1, 10)):
        count = draw.between(1, 6)
        query, keys, values = draw.numbers(count, dim), draw.numbers(count, dim), draw.numbers(count, dim_value)
        kind = draw.random.random()
        if kind < 0.5:
            found = case.call("stream", "step", stream.step, query, keys, values)
        elif kind < 0.75:
            case.call("stream", "append", stream.append, keys, values)
            continue
        else:
            found = case.call("stream", "attend", stream.attend, query)
        if found is not None:
            verdicts.output("what a stream gives", found, (count, dim_value))
