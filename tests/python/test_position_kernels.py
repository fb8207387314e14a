"""Kernels of positions and times that the JavaScript runtimes build on, against NumPy, under every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ruvector_attention import kernels

Array = npt.NDArray[Any]


@pytest.fixture(params=[*kernels.backends()], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.backend()
    kernels.use_backend(request.param)
    yield request.param
    kernels.use_backend(before)


def waves(x: Array, frequencies: Array, phases: Array | None = None, lines: int = 0) -> tuple[int, Array, Array]:
    cosines, sines = (np.full((x.size, frequencies.size), np.nan, np.float32) for _ in range(2))
    status = kernels.active.waves(x, frequencies, phases, cosines, sines, x.size, frequencies.size, lines)
    return int(status), cosines, sines


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0, 1e5, 1e9, 1e13, 4e15])
def test_sines_of_any_size_keep_their_digits(size: float) -> None:
    random = np.random.default_rng(3)
    x = random.uniform(-size, size, 500)
    quarters = np.round(x[:100] / (np.pi / 2)) * (np.pi / 2)  # where one of the two is next to nothing
    x = np.concatenate([x, quarters, np.nextafter(quarters, np.inf)])
    status, cosines, sines = waves(x, np.ones(1))
    assert status == kernels.OK
    assert abs(sines[:, 0] - np.sin(x)).max() < 1e-7
    assert abs(cosines[:, 0] - np.cos(x)).max() < 1e-7
    small = abs(np.sin(x)) < 1e-3
    assert np.allclose(sines[small, 0], np.sin(x[small]), rtol=1e-6, atol=1e-12)


def test_waves_have_frequencies_phases_and_lines() -> None:
    random = np.random.default_rng(4)
    x, frequencies, phases = (random.normal(size=n) for n in (9, 5, 5))
    status, cosines, sines = waves(x, frequencies, phases, lines=2)
    angles = x[:, None] * frequencies + phases
    assert status == kernels.OK
    assert np.array_equal(sines[:, :2], angles[:, :2].astype(np.float32))
    assert np.allclose(sines[:, 2:], np.sin(angles[:, 2:]), rtol=0, atol=1e-7)
    assert np.allclose(cosines[:, 2:], np.cos(angles[:, 2:]), rtol=0, atol=1e-7)
    alone = np.zeros((9, 5), np.float32)
    assert kernels.active.waves(x, frequencies, phases, None, alone, 9, 5, 2) == kernels.OK
    assert np.array_equal(alone, sines)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_an_angle_without_a_sine_is_said(bad: float) -> None:
    assert waves(np.array([0.0, bad]), np.ones(2))[0] == kernels.NON_FINITE


@pytest.mark.parametrize("tile_rows", [1, 3, 64])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (7, 30), (64, 64), (65, 10), (200, 150)])
def test_a_query_sees_the_keys_of_its_time_and_before(n_query: int, n_key: int, tile_rows: int) -> None:
    random = np.random.default_rng(n_query)
    times, key_times = (np.sort(random.integers(0, 40, n)).astype(np.float64) for n in (n_query, n_key))
    n_tiles = -(-n_query // tile_rows)
    indptr = np.zeros(n_tiles + 1, np.int64)
    runs = np.full((2 * n_tiles, 3), -7, np.int64)
    bits = np.zeros(n_key, np.int64)
    sizes = (n_query, n_key, tile_rows, n_tiles)
    assert kernels.active.seen_tiles(times, key_times, indptr, runs, bits, *sizes) == kernels.OK
    seen = np.zeros((n_query, n_key), bool)
    for query in range(n_query):
        tile = query // tile_rows
        for begin, end, at in runs[indptr[tile] : indptr[tile + 1]]:
            own = bits[at : at + end - begin].view(np.uint64) >> np.uint64(query % tile_rows) & np.uint64(1)
            seen[query, begin:end] = True if at < 0 else own == 1
    assert np.array_equal(seen, key_times <= times[:, None])
    assert (runs[indptr[-1] :] == 0).all()


def test_times_out_of_order_are_refused() -> None:
    order, disorder = np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0])
    room = [np.zeros(n, np.int64) for n in (4, 18, 3)]
    for pair in ((order, disorder), (disorder, order)):
        assert kernels.active.seen_tiles(*pair, *room, 3, 3, 1, 3) == kernels.BAD_ARGUMENT
    for tile_rows, n_tiles in ((0, 1), (65, 1), (2, 1), (1, 2)):
        assert kernels.active.seen_tiles(order, order, *room, 3, 3, tile_rows, n_tiles) == kernels.BAD_ARGUMENT


@pytest.mark.parametrize("count", [1, 3, 8, 35])
def test_rows_are_added(count: int) -> None:
    random = np.random.default_rng(count)
    x, y = (random.normal(size=(4, count)).astype(np.float32) for _ in range(2))
    out = np.zeros_like(x)
    assert kernels.active.add_rows(x, y, out, 4, count, count) == kernels.OK
    assert np.array_equal(out, x + y)
    assert kernels.active.add_rows(x, y[1].copy(), out, 4, count, 0) == kernels.OK
    assert np.array_equal(out, x + y[1])
