"""Positions and times as numbers that scores can use, as wasm_kernels/kernels/positions.c."""

from __future__ import annotations

import numpy as np

from ._table import BAD_ARGUMENT, NON_FINITE, OK, Array, body


@body
def waves(
    x: Array, frequencies: Array, phases: Array | None, cosines: Array | None, sines: Array,
    n: int, count: int, lines: int,
) -> int:  # fmt: skip
    """Cosines and sines of x_i frequency_c + phase_c; the first ``lines`` sines are the angles themselves."""
    angles = x.reshape(-1)[:n, None] * frequencies.reshape(-1)[:count]
    if phases is not None:
        angles = angles + phases.reshape(-1)[:count]
    known = abs(angles) < 2.0**52
    found = np.where(known & (np.arange(count) >= lines), np.sin(angles), angles)
    sines.reshape(-1)[: n * count] = found.reshape(-1)
    if cosines is not None:
        cosines.reshape(-1)[: n * count] = np.where(known & (np.arange(count) >= lines), np.cos(angles), 1).reshape(-1)
    return OK if known.all() else NON_FINITE


@body
def seen_tiles(
    query_time: Array, key_time: Array, tile_indptr: Array, runs: Array, run_bits: Array,
    n_query: int, n_key: int, tile_rows: int, n_tiles: int,
) -> int:  # fmt: skip
    """The keys of a query's own time and before, as tiles of queries: runs of keys, and bits of those that only some of
    a tile's queries see."""
    if not 1 <= tile_rows <= 64 or n_tiles != -(-n_query // tile_rows):
        return BAD_ARGUMENT
    times, keys = query_time.reshape(-1)[:n_query], key_time.reshape(-1)[:n_key]
    counts = np.searchsorted(keys, times, side="right")
    if (np.diff(times) < 0).any() or (np.diff(keys) < 0).any():
        return BAD_ARGUMENT
    pointers, found = [0], list[tuple[int, int, int]]()
    bits: list[int] = []
    for first in range(0, n_query, tile_rows):
        own = counts[first : first + tile_rows]
        low, high = int(own[0]), int(own[-1])
        if low > 0:
            found.append((0, low, -1))
        if high > low:
            found.append((low, high, len(bits)))
        bits += [sum(1 << i for i, count in enumerate(own) if count > key) for key in range(low, high)]
        pointers.append(len(found))
    tile_indptr.reshape(-1)[: len(pointers)] = pointers
    found += [(0, 0, 0)] * (2 * n_tiles - len(found))
    runs.reshape(-1)[: 6 * n_tiles] = np.array(found, np.int64).reshape(-1)
    run_bits.reshape(-1)[:n_key] = np.array(bits + [0] * (n_key - len(bits)), np.uint64).astype(np.int64)
    return OK


@body
def add_rows(x: Array, y: Array, out: Array, batch: int, count: int, y_batch: int) -> int:
    """x + y, whose row may be one for all."""
    both = x.reshape(-1)[: batch * count].reshape(batch, count).astype(np.float64)
    starts = np.arange(batch)[:, None] * y_batch
    out.reshape(-1)[: batch * count] = (both + y.reshape(-1)[starts + np.arange(count)]).reshape(-1)
    return OK
