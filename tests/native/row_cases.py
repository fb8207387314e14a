"""What is called of the kernels over single rows and lists, for the JavaScript runtimes: more of cases.py."""

from __future__ import annotations

from itertools import product

import numpy as np
from cases import CASES, Case, case, normal, points

from ruvector_attention import kernels

__all__ = ["CASES", "Case"]


@case(tolerance=5e-6)
def balls_row_by_row() -> None:
    """Every map of points, most of them inside of the ball; midpoints of sums and by weights."""
    for dim in (*range(1, 36), 64, 130):
        random = np.random.default_rng(dim)
        rows, c = 1 + dim % 4, 0.5 + dim % 3
        x, y = (points(random, "poincare", rows, dim, c) for _ in range(2))
        outside = np.concatenate([x[:-1], normal(random, 1, dim) * np.float32(9)])
        for operation, source in enumerate((outside, x, x, x, outside, None, x, x)):
            given = source
            if given is None:
                given = np.concatenate([x, 4 * np.ones((rows, 1), np.float32)], axis=1)
            out = np.zeros((rows, 1 if operation == 6 else dim + (operation == 2)), np.float32)
            other = y if operation > 5 else None
            kernels.active.ball_rows(given, other, out, rows, dim, operation, c, 1e-6)
        weights = random.random((3, rows)).astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        kernels.active.ball_midpoints(weights, x, np.zeros((3, dim), np.float32), 3, rows, dim, c, 1e-6)


@case()
def features_of_rows() -> None:
    """Maps of rows and their addends, whole vectors and rests; orthogonal rows."""
    for dim in (*range(1, 36), 64, 130):
        random = np.random.default_rng(dim)
        rows = 1 + dim % 5
        x, addend = normal(random, rows, dim), normal(random, rows) if dim % 2 else None
        for kind in range(4):
            out = np.zeros(rows if kind == 0 else (rows, dim), np.float32)
            kernels.active.feature_logs(x, addend if kind == 0 else None, out, rows, dim, kind, 0.7)
    for dim, count in ((1, 1), (2, 1), (5, 5), (17, 9), (33, 33)):
        random = np.random.default_rng(dim)
        wide, lengths = random.standard_normal((dim, dim)), random.standard_normal((count, dim))
        kernels.active.orthogonal_rows(wide, lengths, np.zeros((count, dim), np.float32), count, dim)


@case()
def weights_of_edges() -> None:
    for index, (heads, dim) in enumerate(product((1, 2, 3), (1, 3, 8, 17, 33))):
        random = np.random.default_rng(index)
        n_query, n_key = 1 + index % 6, 1 + index % 9
        counts = random.integers(0, 6, n_query)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = random.integers(0, n_key, indptr[-1])
        query, keys = normal(random, n_query, heads, dim), normal(random, n_key, heads, dim)
        bias = normal(random, heads, indices.size) if index % 2 else None
        lse = 4 + normal(random, heads, n_query)
        out = np.zeros((heads, indices.size), np.float32)
        kernels.active.edge_weights(
            query, keys, indptr, indices, bias, lse, out, heads, n_query, n_key, indices.size, dim, 0.3
        )


@case()
def positions_and_times() -> None:
    """Sines of all sizes, with phases and lines; rows added; tiles that are full, part of a row, and of nothing."""
    for count, n in product((1, 2, 7, 33), (1, 5)):
        random = np.random.default_rng(count)
        x, frequencies, phases = random.standard_normal(n) * 10.0 ** random.integers(-3, 14), *normal(random, 2, count)
        sines, cosines = np.zeros((2, n, count), np.float32)
        given = (x, frequencies.astype(np.float64), phases.astype(np.float64) if n > 1 else None)
        kernels.active.waves(*given, cosines if count > 1 else None, sines, n, count, count % 2)
        kernels.active.add_rows(sines, cosines, np.zeros((n, count), np.float32), n, count, count)
        kernels.active.add_rows(sines, cosines[0].copy(), np.zeros((n, count), np.float32), n, count, 0)
    for (n_query, n_key), rows in product(((1, 1), (7, 30), (65, 10), (130, 200)), (1, 3, 64)):
        random = np.random.default_rng(n_query)
        times, key_times = (np.sort(random.integers(0, 40, n)).astype(np.float64) for n in (n_query, n_key))
        n_tiles = -(-n_query // rows)
        room = [np.zeros(n, np.int64) for n in (n_tiles + 1, 6 * n_tiles, n_key)]
        kernels.active.seen_tiles(times, key_times, *room, n_query, n_key, rows, n_tiles)
        kernels.active.seen_tiles(times[::-1].copy(), key_times, *room, n_query, n_key, rows, n_tiles)


@case()
def rows_of_two_spaces() -> None:
    """Euclidean and hyperbolic channels of every width, as points and as scores."""
    for flat, curved in ((1, 1), (3, 2), (8, 8), (17, 5), (2, 33)):
        random = np.random.default_rng(flat)
        heads, rows, n_key, c = 1 + flat % 3, 5, 7, 0.5 + flat % 2
        q, k = (normal(random, n, heads, flat) for n in (rows, n_key))
        x, y = (np.float32(0.6) * normal(random, n, heads, curved) for n in (rows, n_key))
        out, aux = np.zeros((rows, heads, flat + curved), np.float32), np.zeros((rows, heads, 2), np.float32)
        kernels.active.dual_points(q, x, out, aux, rows, heads, flat, curved, c, 5e-7)
        both = np.zeros((2, heads, rows, n_key), np.float32)
        kernels.active.dual_scores(q, x, k, y, *both, rows, n_key, heads, flat, curved, c, 5e-7, 0.3, 0.7)


@case()
def weights_of_lists() -> None:
    for n_key, dim in product((1, 2, 9, 33), (1, 3, 17)):
        random = np.random.default_rng(n_key)
        owners = random.integers(0, 3, n_key)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=3))]).astype(np.int64)
        order = np.argsort(owners, kind="stable").astype(np.int64)
        shares = np.abs(normal(random, 3)) if dim > 1 else None
        out = np.zeros(n_key, np.float32)
        given = (normal(random, dim), normal(random, n_key, dim), indptr, order, shares, out)
        kernels.active.list_weights(*given, 3, n_key, dim, 0.7)


@case()
def the_highest_scores() -> None:
    """Fewer keys than are asked for and more, heads that share keys; outputs, weights, or both."""
    sizes = product((1, 17, 33), (1, 9, 40), (1, 3, 50))
    for index, (n_query, n_key, top_k) in enumerate(sizes):
        random = np.random.default_rng(index)
        dim, dim_value, heads = 1 + index % 19, 1 + index % 35, 2
        query, keys, values = (
            normal(random, *shape) for shape in ((n_query, heads * dim), (n_key, dim), (n_key, dim_value))
        )
        mask = random.random((n_query, n_key)) < 0.5 if index % 2 else None
        bias = normal(random, heads, n_query, n_key) if index % 3 else None
        lengths = np.array([n_key - index % 2]) if index % 5 else None
        out = np.zeros((n_query, heads * dim_value), np.float32) if index % 4 else None
        weights = np.zeros((heads, n_query, n_key), np.float32) if index % 4 != 1 else None
        numbers = (
            1, heads, 1, n_query, n_key, dim, 0, dim, heads * dim, 0, 0, dim,
            0, 0, n_key, 1, 0, n_query * n_key, n_key, 1, 1 << 20, 0 if index % 2 else 1 << 20, 0, 0, heads,
            dim_value, 0, 0, dim_value, 0, dim_value, heads * dim_value,
            *[0] * 14, top_k, 0.7, 0.0, 0.0, 0.0,
        )  # fmt: skip
        given = (query, keys, mask, bias, lengths, *[None] * 9, values)
        kernels.active.attention_best(*given, out, weights, *numbers)
