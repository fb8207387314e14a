"""What is called: every mechanism of the engine over the sizes at which vector code goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ruvector_attention import engine, kernels, prefix, products, sparse
from ruvector_attention.edge_attention import EdgeCall
from ruvector_attention.graph import Graph
from ruvector_attention.scoring import Dropout, Space, Times
from ruvector_attention.tiles import Tiles

Array = npt.NDArray[Any]

DIMS = range(1, 131)  # past two vectors of every instruction set, and past the blocks of the kernels
TAILS = range(1, 16)
QUERIES = (1, 2, 3, 5, 17, 33, 47, 49, 66)  # few and many, about every tile of queries
KEYS = (1, 2, 7, 16, 31, 65, 127, 128, 129, 140)  # about the tile of keys
BANDS = (engine.Band(3, 0), engine.Band(9, 5, 2), engine.Band(0, 0), engine.Band(70, 70, 4))

KINDS = ("euclidean", "poincare", "lorentz", "spherical", "dot")


class Case(NamedTuple):
    """What to call, and how near the results must be: of 1 + the largest output, or gradient, of a call."""

    call: Callable[[], None]
    tolerance: float
    gradient_tolerance: float


CASES: dict[str, Case] = {}


def case(tolerance: float = 2e-6, gradient_tolerance: float = 5e-6) -> Callable[[Callable[[], None]], None]:
    def enter(call: Callable[[], None]) -> None:
        CASES[call.__name__] = Case(call, tolerance, gradient_tolerance)

    return enter


def normal(random: np.random.Generator, *shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


def grid(x: Array) -> Array:
    return np.round(x * 256) / np.float32(256)


def options(random: np.random.Generator, n_query: int, n_key: int) -> Iterator[dict[str, Any]]:
    """Everything that changes which keys a query sees, one after another for ever."""
    while True:
        yield {}
        yield {"mask": random.random((n_query, n_key)) < 0.6}
        yield {"causal": True}
        yield {"bias": normal(random, n_query, n_key)}
        yield {"mask": random.random((1, n_key)) < 0.5, "bias": normal(random, n_query, 1)}
        yield {"key_lengths": np.array(int(random.integers(0, n_key + 1)))}
        yield {"band": BANDS[int(random.integers(len(BANDS)))]}
        yield {"mask": np.zeros((n_query, n_key), bool)}


def shapes() -> Iterator[tuple[int, int, int, int, dict[str, Any]]]:
    """(n_query, n_key, dim, dim_value, option): every dim with other counts, then every pair of tails."""
    for index, dim in enumerate(DIMS):
        dim_value = 1 + 7 * dim % len(DIMS)
        yield shape(index, QUERIES[index % len(QUERIES)], KEYS[index % len(KEYS)], dim, dim_value)
    for index, (n_query, n_key) in enumerate(product(TAILS, TAILS)):
        yield shape(index, n_query, n_key, 1 + index % 9, 1 + index % 7)
    for index, n_query in enumerate(QUERIES):
        yield shape(index, n_query, 300, 20, 40)


def shape(index: int, n_query: int, n_key: int, dim: int, dim_value: int) -> tuple[int, int, int, int, dict[str, Any]]:
    every = options(np.random.default_rng(index), n_query, n_key)
    for _ in range(index % 8):
        next(every)
    return n_query, n_key, dim, dim_value, next(every)


@case()
def attention() -> None:
    for n_query, n_key, dim, dim_value, option in shapes():
        random = np.random.default_rng(dim)
        query, keys, values = (normal(random, *s) for s in ((n_query, dim), (n_key, dim), (n_key, dim_value)))
        engine.attend(query, keys, values, scale=dim**-0.5, return_lse=n_key % 2 == 0, **option)


@case()
def attention_weights() -> None:
    for n_query, n_key, dim, _, option in shapes():
        random = np.random.default_rng(dim)
        query, keys = normal(random, n_query, dim), normal(random, n_key, dim)
        engine.weights(query, keys, scale=dim**-0.5, **option)


@case()
def attention_backward() -> None:
    for n_query, n_key, dim, dim_value, option in shapes():
        random = np.random.default_rng(dim)
        query, keys, values, grad = (
            normal(random, *s) for s in ((n_query, dim), (n_key, dim), (n_key, dim_value), (n_query, dim_value))
        )
        settings = {"scale": dim**-0.5, **option}
        out, lse = engine.attend(query, keys, values, return_lse=True, **settings)
        engine.attend_backward(query, keys, values, out, lse, grad, **settings)


@case()
def heads_and_batches() -> None:
    """Strides: heads in the channels, keys shared by heads and by the batch, masks and biases of fewer axes."""
    sizes = [*product((1, 2, 3), (1, 2), (1, 5, 50)), (2, 1, 200), (1, 2, 200), (1, 1, 200)]  # 200: two tasks a head
    for index, (heads, group, n_query) in enumerate(sizes):
        random = np.random.default_rng(index)
        dim, dim_value, n_key = 3 + 5 * index % 29, 2 + 3 * index % 31, 40 + index
        query, grad = (
            normal(random, 2, n_query, heads * group * dim),
            normal(random, 2, n_query, heads * group * dim_value),
        )
        batch = (2,) if index % 3 else ()
        keys, values = normal(random, *batch, n_key, heads * dim), normal(random, *batch, n_key, heads * dim_value)
        masks: list[dict[str, Any]] = [
            {},
            {"mask": random.random((2, heads * group, n_query, n_key)) < 0.7},
            {"bias": normal(random, heads * group, n_query, n_key)},
            {"bias": normal(random, 2, 1, n_query, n_key), "causal": True},
            {"key_lengths": np.array([n_key, 3])},
        ]
        settings = {"scale": 0.4, "num_heads": heads * group, "num_kv_heads": heads, **masks[index % len(masks)]}
        out, lse = engine.attend(query, keys, values, return_lse=True, **settings)
        engine.attend_backward(query, keys, values, out, lse, grad, **settings)
        engine.weights(query, keys, **settings)


def both_ways(query: Array, keys: Array, values: Array, **settings: Any) -> None:
    """Output, weights and gradients."""
    out, lse = engine.attend(query, keys, values, return_lse=True, **settings)
    engine.weights(query, keys, **settings)
    grad = normal(np.random.default_rng(out.size), *out.shape)
    engine.attend_backward(query, keys, values, out, lse, grad, **settings)


def points(random: np.random.Generator, kind: str, n: int, dim: int, curvature: float) -> Array:
    """Rows inside of the ball, on the sphere (never opposite ones: gradients have no bound there), or anywhere."""
    x = random.standard_normal((n, dim))
    if kind == "spherical":
        x = np.abs(x)
    if kind in ("poincare", "spherical"):
        x /= np.sqrt(curvature) * np.linalg.norm(x, axis=-1, keepdims=True)
    if kind == "poincare":
        x *= 0.9 * random.random((n, 1))
    return x.astype(np.float32)


@case(tolerance=2e-5, gradient_tolerance=2e-4)  # differences of large squares; 1e-3 is the bound of the contract
def spaces() -> None:
    """Distances of every kind in place of dot products, and two kinds in neighbouring channels."""
    for index, (dim, kind) in enumerate(product((1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 64, 65, 129), KINDS)):
        random = np.random.default_rng(index)
        n_query, n_key, c = QUERIES[index % len(QUERIES)], KEYS[index % len(KEYS)], 0.5 + index % 3
        other = KINDS[index // 5 % len(KINDS)]
        parts = [(kind, dim, 1 + index % 2), (other, 1 + index % 7, 1)][: 1 + index % 2]
        query, keys = (
            np.concatenate([points(random, part, n, width, c) for part, width, _ in parts], axis=-1)
            for n in (n_query, n_key)
        )
        ends = np.cumsum([0, *(width for _, width, _ in parts)]).tolist()
        described = [Space(part, ends[i], ends[i + 1], 0.6 + i, c, power) for i, (part, _, power) in enumerate(parts)]
        values = normal(random, n_key, 1 + index % 20)
        both_ways(query, keys, values, scale=0.8, spaces=described, causal=index % 3 == 1)


@case(tolerance=5e-6)
def ball_attention() -> None:
    """Rows well inside of the ball and rows near to its boundary; one outside, which is a status."""
    for index, dim in enumerate(DIMS):
        random = np.random.default_rng(index)
        n_query, n_key, c = 1 + index % 6, KEYS[index % len(KEYS)], 0.5 + index % 3
        dim_value = dim if index % 4 == 0 else 1 + 7 * dim % len(DIMS) if index % 9 else 260 + index
        query, keys, values = (
            points(random, "poincare", n, width, c) for n, width in ((n_query, dim), (n_key, dim), (n_key, dim_value))
        )
        values = keys if index % 4 == 0 else values
        if index % 5 == 4:
            (query, keys, values)[index % 3][-1] = 2.0
        out = np.zeros((n_query, dim_value), np.float32)
        kernels.active.ball_attention(query, keys, values, out, n_query, n_key, dim, dim_value, 0.8, c)


@case(tolerance=5e-6)
def times_and_dropout() -> None:
    for index, (n_query, n_key) in enumerate(product((*QUERIES, 200), (1, 5, 17, 129, 150))):
        random = np.random.default_rng(index)
        dim = 1 + index % 33
        query, keys, values = normal(random, n_query, dim), normal(random, n_key, dim), normal(random, n_key, 7)
        settings: dict[str, Any] = {"scale": dim**-0.5}
        if index % 3 != 1:
            of_query, of_keys = (1.7e9 + 50 * random.random(n) for n in (n_query, n_key))
            settings["times"] = Times(of_query, of_keys, 1.5, 0.1)
        if index % 3 != 0:
            settings["dropout"] = Dropout(0.3, 10 + index)
        if index % 5 == 0:
            settings["mask"] = random.random((n_query, n_key)) < 0.7
        both_ways(query, keys, values, **settings)


@case()
def tiles() -> None:
    """Runs of keys for a tile of queries, whole and in bits, that begin and end everywhere."""
    for index, (n_query, n_key) in enumerate(product((*QUERIES, 100), (1, 3, 15, 64, 130, 300))):
        random = np.random.default_rng(index)
        rows, dim = (1, 16, 48, 64, 33)[index % 5], 1 + index % 33
        allowed = random.random((n_query, n_key)) < (0.05, 0.5, 0.95)[index % 3]
        allowed[:, n_key // 3 : n_key // 2] = True
        allowed[:, n_key // 2 : 2 * n_key // 3] = False
        settings: dict[str, Any] = {"scale": dim**-0.5, "tiles": Tiles.from_dense_rows(allowed, rows)}
        if index % 4 == 0:
            settings["bias"] = normal(random, n_query, n_key)
        values = normal(random, n_key, 1 + index % 19)
        both_ways(normal(random, n_query, dim), normal(random, n_key, dim), values, **settings)


@case()
def top_k() -> None:
    """Whole numbers, so that every backend has the same scores to the bit, and many that are equal."""
    for index, (n_query, n_key, dim, dim_value, option) in enumerate(shapes()):
        random = np.random.default_rng(index)
        query, keys = (random.integers(-3, 4, (n, dim)).astype(np.float32) for n in (n_query, n_key))
        if "bias" in option:  # multiplied by log2 e before it is added, which parts what was equal: here nothing is
            option["bias"] = (np.round(option["bias"]) + np.arange(n_key) / 1024).astype(np.float32)
        k = (1, 2, 5, n_key, 17)[index % 5]
        engine.attend(query, keys, normal(random, n_key, dim_value), scale=0.5, top_k=k, **option)


@case()
def rotary() -> None:
    """Some or all pairs of channels, halves or neighbours, one table for all of a batch or one for each."""
    for index, dim in enumerate(range(2, 131)):
        random = np.random.default_rng(index)
        batch, n, groups, pairs = 1 + index % 3, 1 + index % 5, 1 + index % 2, max(1, dim // (2 + index % 2))
        turned = random.random((batch, n, pairs) if index % 4 else (n, pairs)) * 6
        tables = (np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32))
        angles = products.Angles(*tables, interleaved=index % 3 == 0)
        x = normal(random, batch, n, groups * dim)
        products.rotate_rows(x, angles, dim, inverse=index % 7 == 0)


@case()
def attention_sparse() -> None:
    for index, dim in enumerate(DIMS):
        random = np.random.default_rng(dim)
        n_query, n_key, heads = 1 + index % 23, 1 + index % 150, 1 + index % 2
        dim_value = 1 + 11 * dim % len(DIMS)
        degrees = random.integers(0, 16, n_query)
        degrees[0] = 130 if index % 7 == 0 else degrees[0]  # more than one tile of keys
        indptr = np.concatenate([[0], np.cumsum(degrees)])
        edges = sparse.Edges.checked(indptr, random.integers(0, n_key, indptr[-1]), n_query, n_key)
        query, keys = normal(random, n_query, heads * dim), normal(random, n_key, heads * dim)
        values, grad = normal(random, n_key, heads * dim_value), normal(random, n_query, heads * dim_value)
        settings = {"scale": dim**-0.5, "num_heads": heads, "num_kv_heads": heads}
        bias = normal(random, edges.indices.size) if index % 3 == 0 else None
        out, lse = sparse.attend_sparse(query, keys, values, edges, bias=bias, return_lse=True, **settings)
        sparse.attend_sparse_backward(query, keys, values, edges, out, lse, grad, bias=bias, **settings)


@case()
def edge_attention() -> None:
    """Every number of terms and of channels, one edge into a node to more than a tile of them."""
    for index, terms in enumerate(DIMS):
        random = np.random.default_rng(terms)
        heads, n_node, n_edges = 1 << index % 6, 1 + index % 11, 200 if index % 7 == 0 else index
        batch, width = (2,) if index % 5 == 0 else (), 1 + 11 * terms % len(DIMS)
        graph = Graph(random.integers(0, n_node, (2, n_edges)), n_node)
        fans = graph.fans(self_loops=index % 2 == 0, isolated_loops=False)
        # sums on a grid that misses 0: at the LeakyReLU's kink, rounding decides on the gradient
        source = grid(normal(random, *batch, n_node, heads * terms))
        target = grid(normal(random, *batch, n_node, heads * terms)) + np.float32(2**-10)
        values, grad = (normal(random, *batch, n_node, heads * width) for _ in range(2))
        edge = grid(normal(random, fans.n_rows, heads * terms)) if index % 3 and fans.n_rows else None
        kept = (random.random((*batch, fans.sources.size, heads)) < 0.7).astype(np.float32) / np.float32(0.7)
        keep = kept if index % 4 == 0 else None
        attention = normal(random, terms, heads) * np.float32(terms**-0.5)
        call = EdgeCall(source, target, values, attention, fans, slope=0.2, edge=edge, keep=keep)
        _, _, weights = call.forward()
        call.backward(weights, grad)


@case(tolerance=1e-5, gradient_tolerance=2e-5)  # features are exponentials of logarithms, whose rounding they multiply
def prefix_attention() -> None:
    """Features and channels about every width; features far apart, that have to be cut; with keys before the first."""
    for index, count in enumerate((*range(1, 34), 47, 48, 49, 65, 97, 130)):
        random = np.random.default_rng(index)
        batch, causal, dim = 1 + index % 2, index % 4 > 0, 1 + 7 * index % 40
        n_query, n_key, width = QUERIES[index % len(QUERIES)], KEYS[index % len(KEYS)], 1 + 11 * index % len(DIMS)
        weight = normal(random, count, dim) * np.float32(dim**-0.5) if index % 3 else None
        shapes = ((batch, n, count if weight is None else dim) for n in (n_query, n_key))
        query, keys = (normal(random, *shape) * np.float32(20.0 if index % 5 == 0 else 0.5) for shape in shapes)
        if weight is None:
            query[random.random(query.shape) < 0.1] = -np.inf  # features that are 0
        addend = normal(random, batch, n_key) if index % 2 else None
        features = prefix.Features(query, keys, addend, weight)
        values, grad = normal(random, batch, n_key, width), normal(random, batch, n_query, width)
        done = prefix.forward(features, values, causal=causal)
        prefix.backward(features, values, done, grad, causal=causal)
        if index % 3 == 0:
            prefix.forward(features, values, causal=causal, table=done.table)


@case()
def gemm() -> None:
    """Products of every tail, and the transposed ones of the gradients; some past a panel."""
    sizes = [(m, n, 1 + (m + n) % 15) for m, n in product(TAILS, TAILS)]
    sizes += [(3, dim, 131 - dim) for dim in DIMS] + [(70, 130, 300), (200, 17, 33), (1, 61, 300)]
    for m, n, k in sizes:
        random = np.random.default_rng(m * n)
        x, weight, grad = normal(random, m, k), normal(random, k, n), normal(random, m, n)
        engine.project(x, weight, normal(random, n) if m % 2 else None)
        if m % 3 == 0:
            engine.project_backward(x, weight, grad)


@case()
def rows() -> None:
    for dim in DIMS:
        random = np.random.default_rng(dim)
        x, grad = normal(random, 1 + dim % 5, dim), normal(random, 1 + dim % 5, dim)
        x[-1] = 0.0 if dim % 4 == 0 else x[-1]
        products.tanh(x)
        engine.normalize_rows(x, dim)
        engine.normalize_rows_backward(x, grad, dim)


@case()
def rows_to_experts_and_back() -> None:
    """Choices with and without capacities, whole vectors and rests; rows gathered and scattered."""
    for dim in (*range(1, 36), 64, 130):
        random = np.random.default_rng(dim)
        rows, top_k = 1 + dim % 7, 1 + dim % min(dim, 5)
        for capacity in (0, 1 + dim % 3):
            chosen = np.zeros((2, rows, top_k), np.float32)
            losses = np.zeros(2, np.float32) if capacity else None
            kernels.active.route_rows(normal(random, rows, dim), *chosen, losses, rows, dim, top_k, capacity, 0.7)
        index, out = random.integers(0, rows, 4), np.zeros((4, dim), np.float32)
        kernels.active.gather_rows(normal(random, rows, dim), index, out, rows, 4, dim)
        sums = np.zeros((rows, dim + 3), np.float32)
        kernels.active.scatter_rows(out, normal(random, 4), index, sums, rows, 4, dim, dim + 3, 0.5)


@case()
def not_finite() -> None:
    """A status instead of an output: a NaN or infinity at every place of a vector, and in every array."""
    for count, bad in product(range(1, 70, 3), (np.nan, np.inf, -np.inf)):
        x = np.ones(count, np.float32)
        kernels.active.all_finite(x, count)
        x[count * 5 // 7] = bad
        kernels.active.all_finite(x, count)
    for n_query, name in product((1, 3, 60), ("query", "keys", "values")):
        arrays: dict[str, Any] = {"query": np.ones((n_query, 6), np.float32)}
        arrays |= {other: np.ones((20, 6), np.float32) for other in ("keys", "values")}
        arrays[name][-1, -1] = np.nan
        engine.attend(**arrays, scale=1.0, check_finite=False)
