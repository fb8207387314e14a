"""Mask objects: every form of a mask against its definition, written out pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ruvector_attention as ra
from ruvector_attention import engine, masks, tiles
from ruvector_attention.engine import UNLIMITED, Band
from ruvector_attention.masks.patterns import _DistanceMask
from ruvector_attention.sparse import Edges, attend_sparse
from ruvector_attention.tiles import Tiles

Array = npt.NDArray[Any]
Sizes = tuple[int, int]

common = settings(max_examples=150)


# --- the definitions, pair by pair


def defined(mask: ra.AttentionMask, n_query: int, n_key: int) -> npt.NDArray[np.bool_]:
    rule: Callable[[int, int, int, int], bool]
    match mask:
        case ra.IntersectionMask():
            return np.logical_and.reduce([defined(part, n_query, n_key) for part in mask.masks])
        case ra.UnionMask():
            return np.logical_or.reduce([defined(part, n_query, n_key) for part in mask.masks])
        case DistancesMask():
            rule = lambda i, j, p, n: p - j in mask.distances  # noqa: E731
        case ra.DenseMask():
            rule = lambda i, j, p, n: bool(mask.allowed[i][j])  # noqa: E731
        case ra.CausalMask():
            rule = lambda i, j, p, n: j <= p  # noqa: E731
        case ra.WindowMask(window=w, global_tokens=g, causal=causal):
            rule = lambda i, j, p, n: (abs(p - j) <= w or j < g or 0 <= p < g) and not (causal and j > p)  # noqa: E731
        case ra.StridedMask(window=w, stride=s):
            rule = lambda i, j, p, n: 0 <= p - j <= w or (p >= j and (p - j) % s == 0)  # noqa: E731
        case ra.BlockSparseMask(block_size=b):
            blocks = set(map(tuple, mask.active_blocks.tolist()))
            rule = lambda i, j, p, n: (i // b, j // b) in blocks  # noqa: E731
        case ra.COOMask():
            pairs = set(map(tuple, mask.pairs.tolist()))
            rule = lambda i, j, p, n: (i, j) in pairs  # noqa: E731
        case ra.CSRMask():
            rule = lambda i, j, p, n: j in mask.indices[mask.indptr[i] : mask.indptr[i + 1]]  # noqa: E731
        case _:
            raise AssertionError(f"no definition of {mask!r}")
    return np.array([[rule(i, j, i + n_key - n_query, n_key) for j in range(n_key)] for i in range(n_query)], bool)


def expanded(plan: masks.Plan, n_query: int, n_key: int) -> npt.NDArray[np.bool_]:
    """What a plan says, read as the engine's documentation reads it."""
    dense = np.zeros((n_query, n_key), bool)
    if isinstance(plan, Band):
        for i in range(n_query):
            at = i + n_key - n_query
            for j in range(n_key):
                near = at - plan.behind <= j <= at + plan.ahead
                of_tokens = j < plan.global_tokens or 0 <= at < plan.global_tokens
                dense[i, j] = near or (of_tokens and (plan.ahead > 0 or j <= at))
    elif isinstance(plan, Edges):
        for i in range(n_query):
            for j in plan.indices[plan.indptr[i] : plan.indptr[i + 1]]:
                assert not dense[i, j], "an edge that comes twice would count twice"
                dense[i, j] = True
    else:
        for tile in range(len(plan.indptr) - 1):
            for begin, end, offset in plan.runs[plan.indptr[tile] : plan.indptr[tile + 1]].tolist():
                for j in range(begin, end):
                    word = -1 if offset < 0 else int(plan.bits[offset + j - begin])
                    for i in range(plan.rows):
                        if word >> i & 1 and (offset >= 0 or tile * plan.rows + i < n_query):
                            dense[tile * plan.rows + i, j] = True  # out of range: a bit behind the last query
    return dense


def check_form(plan: masks.Plan, n_query: int, n_key: int) -> None:
    """What a kernel that trusts the arrays relies on."""
    for array in plan:
        if isinstance(array, np.ndarray):
            assert array.flags.c_contiguous and array.flags.aligned and not array.flags.writeable
    if isinstance(plan, Edges):
        assert plan.indptr.dtype == plan.indices.dtype == np.int64
        Edges.checked(plan.indptr, plan.indices, n_query, n_key)
    elif isinstance(plan, Tiles):
        rows, indptr, runs, bits = plan
        assert 1 <= rows <= 64
        assert indptr.dtype == runs.dtype == np.int64 and bits.dtype == np.uint64
        assert indptr.shape == (-(-n_query // rows) + 1,) and runs.shape == (indptr[-1], 3) and bits.ndim == 1
        assert indptr[0] == 0 and (np.diff(indptr) >= 0).all()
        for tile in range(len(indptr) - 1):
            before: tuple[int, int] = (0, 0)
            for begin, end, offset in runs[indptr[tile] : indptr[tile + 1]].tolist():
                assert before[0] <= begin < end <= n_key
                assert not (offset == before[1] == -1 and begin == before[0]), "full neighbours are one run"
                assert offset == -1 or 0 <= offset <= len(bits) - (end - begin)
                before = (end, offset)


def check(mask: ra.AttentionMask, n_query: int, n_key: int) -> None:
    expected = defined(mask, n_query, n_key)
    plan = mask.plan(n_query, n_key)
    check_form(plan, n_query, n_key)
    assert np.array_equal(expanded(plan, n_query, n_key), expected)
    assert np.array_equal(mask.to_dense(n_query, n_key), expected)
    assert mask.count_nonzero(n_query, n_key) == expected.sum()
    i, j = np.ogrid[:n_query, :n_key]
    assert np.array_equal(np.broadcast_to(mask.sees(i, j, n_query, n_key), expected.shape), expected)
    covered = np.zeros((n_query, n_key), int)
    for tile in mask.tiles(n_query, n_key):
        inside = (slice(tile.query_begin, tile.query_end), slice(tile.key_begin, tile.key_end))
        assert expected[inside].any()
        assert expected[inside].all() == tile.is_full
        covered[inside] += 1
    assert covered.max() <= 1
    assert not (expected & (covered == 0)).any()


# --- any mask of any size

sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


def patterns() -> st.SearchStrategy[ra.AttentionMask]:
    reach = st.integers(0, 12) | st.integers(0, 200)
    return st.one_of(
        st.just(ra.CausalMask()),
        st.builds(ra.WindowMask, reach, st.integers(0, 6) | st.integers(0, 200), st.booleans()),
        st.builds(ra.StridedMask, reach, st.integers(1, 80)),
    )


@st.composite
def given_masks(draw: st.DrawFn, size: Sizes) -> ra.AttentionMask:
    """A mask made of its pairs, of any density, in stretches or strewn."""
    n_query, n_key = size
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    grain = draw(st.sampled_from([1, 1, 7, 40]))
    coarse = random.random((-(-n_query // grain), -(-n_key // grain))) < draw(st.sampled_from([0, 0.02, 0.3, 0.9, 1]))
    allowed = coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:n_query, :n_key]
    kind = draw(st.sampled_from(["dense", "coo", "csr", "blocks"]))
    pairs = np.argwhere(allowed)
    if kind == "dense":
        return ra.DenseMask(allowed)
    if kind == "coo":
        return ra.COOMask(random.permutation(np.concatenate([pairs, pairs[:3]])))
    if kind == "csr":
        return ra.CSRMask(np.concatenate([[0], np.cumsum(allowed.sum(axis=1))]), pairs[:, 1])
    block = draw(st.integers(1, 20) | st.integers(1, 150) | st.sampled_from([16, 32, 64, 96, 128]))
    shape = (-(-n_query // block), -(-n_key // block))
    return ra.BlockSparseMask(block, np.argwhere(random.random(shape) < draw(st.sampled_from([0, 0.1, 0.5, 1]))))


def any_mask(size: Sizes) -> st.SearchStrategy[ra.AttentionMask]:
    leaves = patterns() | given_masks(size)
    return st.recursive(leaves, lambda m: st.tuples(m, m, st.booleans()).map(joined), max_leaves=4)


def joined(parts: tuple[ra.AttentionMask, ra.AttentionMask, bool]) -> ra.AttentionMask:
    return parts[0] & parts[1] if parts[2] else parts[0] | parts[1]


sized_masks = sizes.flatmap(lambda size: st.tuples(st.just(size), any_mask(size)))
sized_pairs = sizes.flatmap(lambda size: st.tuples(st.just(size), any_mask(size), any_mask(size)))


@common
@given(sizes, patterns())
def test_a_rule_is_its_definition(size: Sizes, mask: ra.AttentionMask) -> None:
    check(mask, *size)


@dataclass(frozen=True, eq=False, repr=False)
class DistancesMask(_DistanceMask):
    """A query sees the keys at some distances, behind it or ahead: what no rule above is as irregular as."""

    distances: frozenset[int]

    name = "test_distances"

    def _allows(self, distance: Array) -> npt.NDArray[np.bool_]:
        return np.isin(distance, list(self.distances))


distances = st.frozensets(st.integers(-150, 150), max_size=40) | st.tuples(
    st.integers(-150, 150), st.integers(0, 120), st.frozensets(st.integers(-10, 100), max_size=4)
).map(lambda run: frozenset(range(run[0], run[0] + run[1])) - run[2])


@common
@given(sizes, distances)
def test_a_picture_that_slides_is_its_definition(size: Sizes, seen: frozenset[int]) -> None:
    check(DistancesMask(seen), *size)


@common
@given(sizes.flatmap(lambda size: st.tuples(st.just(size), given_masks(size))))
def test_a_given_mask_is_its_definition(case: tuple[Sizes, ra.AttentionMask]) -> None:
    check(case[1], *case[0])


@common
@given(sized_masks)
def test_a_combination_is_its_definition(case: tuple[Sizes, ra.AttentionMask]) -> None:
    check(case[1], *case[0])


@common
@given(sized_pairs)
def test_the_order_of_masks_is_of_no_account(case: tuple[Sizes, ra.AttentionMask, ra.AttentionMask]) -> None:
    size, a, b = case
    assert np.array_equal((a & b).to_dense(*size), (b & a).to_dense(*size))
    assert np.array_equal((a | b).to_dense(*size), (b | a).to_dense(*size))
    assert np.array_equal((a & a).to_dense(*size), a.to_dense(*size))
    assert np.array_equal((a | a).to_dense(*size), a.to_dense(*size))
    assert np.array_equal((a & (a | b)).to_dense(*size), a.to_dense(*size))
    counts = (mask.count_nonzero(*size) for mask in (a, b, a & b, a | b))
    of_a, of_b, of_both, of_either = counts
    assert of_a + of_b == of_both + of_either


@pytest.mark.parametrize("chunk", [1, 300, 1000])
def test_masks_combine_a_few_tile_rows_at_a_time(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(tiles, "CHUNK", chunk)
    random = np.random.default_rng(5)
    dense = ra.DenseMask(random.random((230, 150)) < 0.1)
    blocks = ra.BlockSparseMask(10, np.argwhere(random.random((23, 15)) < 0.5))
    for mask in (dense | blocks, blocks & ra.StridedMask(20, 60) & dense, ra.StridedMask(3, 9) | ra.WindowMask(9, 2)):
        check(mask, 230, 150)


# --- plans: which of the three forms, and how large

WINDOW = ra.WindowMask(5, global_tokens=2)
PAIRS = ra.COOMask([(0, 1), (3, 2)])


@pytest.mark.parametrize(
    ("mask", "plan"),
    [
        (ra.CausalMask(), Band(UNLIMITED, 0)),
        (ra.WindowMask(5), Band(5, 5)),
        (WINDOW, Band(5, 5, 2)),
        (ra.WindowMask(5, 2, causal=True), Band(5, 0, 2)),
        (WINDOW & ra.CausalMask(), Band(5, 0, 2)),
        (ra.WindowMask(5) & ra.WindowMask(3), Band(3, 3)),
        (ra.WindowMask(5) | ra.CausalMask(), Band(UNLIMITED, 5)),
        (WINDOW | ra.WindowMask(3, 4), Band(5, 5, 4)),
    ],
    ids=repr,
)
def test_what_is_a_band_is_planned_as_one(mask: ra.AttentionMask, plan: Band) -> None:
    assert mask.plan(40, 50) == plan
    check(mask, 40, 50)


@pytest.mark.parametrize(
    "mask",
    [
        ra.WindowMask(0, global_tokens=3),  # a band that does not look ahead would be causal
        WINDOW & ra.WindowMask(9, global_tokens=1),
        WINDOW | ra.CausalMask(),
        PAIRS | ra.CausalMask(),
        ra.StridedMask(4, 4),
    ],
    ids=repr,
)
def test_what_is_no_band_is_planned_as_tiles(mask: ra.AttentionMask) -> None:
    assert isinstance(mask.plan(40, 50), Tiles)
    check(mask, 40, 50)


@pytest.mark.parametrize(
    "mask", [PAIRS, PAIRS & ra.CausalMask(), ra.StridedMask(2, 3) & PAIRS, PAIRS | ra.CSRMask([0, 1, 1, 1, 1], [3])]
)
def test_a_list_stays_a_list(mask: ra.AttentionMask) -> None:
    assert isinstance(mask.plan(4, 50), Edges)
    check(mask, 4, 50)


@pytest.mark.parametrize(
    ("size", "rows"), [(1, 16), (7, 14), (16, 16), (48, 48), (64, 64), (96, 48), (128, 64), (150, 50), (97, 48)]
)
def test_a_tile_row_lies_in_one_row_of_blocks_where_it_can(size: int, rows: int) -> None:
    plan = ra.BlockSparseMask(size, [(0, 0), (1, 1)]).plan(2 * size, 2 * size)
    assert isinstance(plan, Tiles)
    assert plan.rows == rows
    if size % rows == 0:
        assert (plan.runs[:, 2] == -1).all()
        assert plan.bits.size == 0


N = 16_384
BLOCKS = [(row, column) for row in range(N // 64) for column in {row, row // 2, 0}]


@pytest.mark.parametrize(
    ("mask", "most"),
    [
        (ra.WindowMask(256, global_tokens=16), 64),
        (ra.StridedMask(128, 128), 1 << 20),
        (ra.StridedMask(64, 4), 1 << 20),
        (ra.BlockSparseMask(64, BLOCKS), 1 << 16),
        (ra.BlockSparseMask(64, BLOCKS) & ra.CausalMask(), 1 << 18),
        (ra.BlockSparseMask(64, BLOCKS) | ra.WindowMask(64), 1 << 20),
        (ra.COOMask(np.stack([np.arange(N), np.arange(N)], axis=1)) & ra.CausalMask(), 16 * (N + 1)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ra.AttentionMask) else "",
)
def test_a_long_plan_is_small(mask: ra.AttentionMask, most: int) -> None:
    plan = mask.plan(N, N)
    size = sum(part.nbytes if isinstance(part, np.ndarray) else 8 for part in plan)
    assert size <= most  # bytes; a bit for each pair would be 32 MiB
    at = np.arange(N)
    for row in (0, 47, 5000, N - 778, N - 1):
        around = [tile for tile in mask.tiles(N, N) if tile.query_begin <= row < tile.query_end]
        covered = np.concatenate([at[tile.key_begin : tile.key_end] for tile in around])
        full = np.concatenate([at[tile.key_begin : tile.key_end] for tile in around if tile.is_full] + [at[:0]])
        expected = at[mask.sees(np.array(row), at, N, N)]
        assert np.isin(expected, covered).all()
        assert np.isin(full, expected).all()


@pytest.mark.parametrize(("n_query", "n_key"), [(N, N), (1000, N), (N, 1000)])
def test_counts_are_exact_where_no_array_could_be(n_query: int, n_key: int) -> None:
    at = np.arange(n_query) + n_key - n_query
    causal = np.clip(at + 1, 0, n_key).sum()
    near = (np.clip(at + 101, 0, n_key) - np.clip(at - 100, 0, n_key)).sum()
    assert ra.CausalMask().count_nonzero(n_query, n_key) == causal
    assert ra.WindowMask(100).count_nonzero(n_query, n_key) == near
    strided = (at[at >= 0] // 8 + 1).sum()
    assert ra.StridedMask(0, 8).count_nonzero(n_query, n_key) == strided


def test_a_plan_is_made_once_for_the_same_sizes() -> None:
    mask = ra.StridedMask(4, 4)
    assert mask.plan(50, 50) is mask.plan(50, 50)
    assert mask.plan(60, 60).indptr.size != mask.plan(120, 60).indptr.size  # type: ignore[union-attr]


def test_a_window_is_a_band_and_an_array_has_its_own_sizes() -> None:
    assert WINDOW.plan(40, 50) == Band(5, 5, 2)
    with pytest.raises(ra.DimensionMismatchError, match=r"DenseMask\.allowed is"):
        ra.DenseMask(np.ones((3, 3), bool)).plan(3, 4)


def test_dense_rows_become_tiles_of_any_height() -> None:
    allowed = np.random.default_rng(1).random((130, 90)) < 0.4
    for rows in (1, 5, 48, 63, 64):
        plan = Tiles.from_dense_rows(allowed, rows)
        assert np.array_equal(expanded(plan, 130, 90), allowed)
        assert np.array_equal(plan.to_dense(130, 90), allowed)
        assert plan.count(130) == allowed.sum()


def test_the_kernels_read_the_plans_of_lists_and_windows() -> None:
    random = np.random.default_rng(2)
    q, k, v = (random.standard_normal((n, 8)).astype(np.float32) for n in (40, 50, 50))
    for mask in (ra.DenseMask(random.random((40, 50)) < 0.3), WINDOW & ra.CausalMask()):
        listed = ra.COOMask(np.argwhere(defined(mask, 40, 50)))
        expected, _ = oracle.attention(q, k, v, scale=0.4, mask=defined(mask, 40, 50))
        plan = listed.plan(40, 50)
        assert isinstance(plan, Edges)
        oracle.assert_close(attend_sparse(q, k, v, plan, scale=0.4), expected)
        if isinstance(band := mask.plan(40, 50), Band):
            oracle.assert_close(engine.attend(q, k, v, scale=0.4, band=band), expected)


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 60), (40, 50), (130, 500), (300, 120)])
@pytest.mark.parametrize("kind", ["strided", "blocks", "both", "dense"])
def test_the_kernels_read_tiles(n_query: int, n_key: int, kind: str) -> None:
    random = np.random.default_rng(n_query)
    q, k, v = (random.standard_normal((n, 8)).astype(np.float32) for n in (n_query, n_key, n_key))
    blocks = ra.BlockSparseMask(20, np.argwhere(random.random((-(-n_query // 20), -(-n_key // 20))) < 0.5))
    mask = {
        "strided": ra.StridedMask(20, 60),
        "blocks": blocks,
        "both": blocks | ra.StridedMask(5, 7),
        "dense": ra.DenseMask(random.random((n_query, n_key)) < 0.1),
    }[kind]
    plan = mask.plan(n_query, n_key)
    assert isinstance(plan, Tiles)
    expected, _ = oracle.attention(q, k, v, scale=0.4, mask=defined(mask, n_query, n_key))
    oracle.assert_close(engine.attend(q, k, v, scale=0.4, tiles=plan), expected)
