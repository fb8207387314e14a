"""Memory that is used again: the kernels' scratch, the pool for outputs, and ``out=``."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import threads

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((300, 16)).astype(np.float32)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = threads.threads()
    ra.set_threads(1)
    yield
    ra.set_threads(before)


def calls() -> list[tuple[str, Callable[[Any], Any], tuple[int, ...]]]:
    """(name, a call that takes out, the shape of its output)."""
    memory = ra.Memory(X[:100], X[:100, :8])
    heads = ra.MultiHeadAttention(dim=16, num_heads=4)
    memory_heads = ra.MultiHeadAttention(dim=16, num_heads=4, vdim=8)
    memory.project(memory_heads)
    split = ra.SelfAttention(dim=16, num_heads=4, projections=False)
    batch = X.reshape(3, 100, 16)
    flash = ra.FlashAttention(dim=16, normalize=True)
    return [
        ("small", lambda out: flash(X[:3], X, X, out=out), (3, 16)),
        ("vector", lambda out: flash(X[0], X, X, out=out), (16,)),
        ("batch", lambda out: flash(batch, X, X, causal=True, out=out), (3, 100, 16)),
        ("vector to a batch", lambda out: flash(X[0], batch, batch, out=out), (3, 16)),
        ("heads", lambda out: heads(batch, X, X, out=out), (3, 100, 16)),
        ("split heads", lambda out: split(batch, out=out), (3, 100, 16)),
        ("masked", lambda out: flash(X[:3], X, X, mask=np.arange(300) > 7, out=out), (3, 16)),
        ("memory", lambda out: memory.attend(X, out=out), (300, 8)),
        ("memory, heads", lambda out: memory_heads(X, memory, out=out), (300, 16)),
        ("cross", lambda out: ra.CrossAttention(dim=16, num_heads=2)(X[:5], X, out=out), (5, 16)),
    ]


CALLS = {name: (call, shape) for name, call, shape in calls()}


# --- out=


@pytest.mark.parametrize("name", CALLS)
def test_out_takes_the_result_and_is_the_answer(name: str) -> None:
    call, shape = CALLS[name]
    out = np.full(shape, np.nan, np.float32)
    assert call(out) is out
    assert np.array_equal(out, call(None))


@pytest.mark.parametrize("name", CALLS)
def test_an_out_that_does_not_fit_is_refused_and_untouched(name: str) -> None:
    call, shape = CALLS[name]
    read_only = np.zeros(shape, np.float32)
    read_only.flags.writeable = False
    misaligned = np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape)
    wrong: list[tuple[Any, type[ra.AttentionError], str]] = [
        (np.zeros(shape), ra.UnsupportedError, "out is an array of float64"),
        ([0.0], ra.UnsupportedError, "out is a list"),
        (np.zeros((*shape[:-1], 7), np.float32), ra.DimensionMismatchError, r"out is .*7,?\); expected"),
        (np.zeros((1, *shape), np.float32), ra.DimensionMismatchError, "out is"),
        (np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2], ra.UnsupportedError, "not C-contiguous"),
        (read_only, ra.UnsupportedError, "not C-contiguous, aligned and writable"),
        (misaligned, ra.UnsupportedError, "not C-contiguous, aligned"),
    ]
    for out, error, words in wrong:
        with pytest.raises(error, match=words):
            call(out)
        assert not np.any(out)


@pytest.mark.parametrize("name", ["query", "keys", "values"])
def test_an_out_that_shares_memory_with_an_input_is_refused(name: str) -> None:
    inputs = {key: X.copy() for key in ("query", "keys", "values")}
    out = inputs[name][:300]
    for mechanism in (ra.FlashAttention(dim=16), ra.MultiHeadAttention(dim=16, num_heads=2)):
        with pytest.raises(ra.UnsupportedError, match=f"out shares memory with {name}"):
            mechanism(**inputs, out=out)


def test_out_and_training_do_not_go_together() -> None:
    attention = ra.FlashAttention(dim=16)
    with pytest.raises(ra.UnsupportedError, match="out came with training=True"):
        attention(X, X, X, training=True, out=np.empty_like(X))


def test_out_is_no_option_for_those_who_share_no_memory() -> None:
    for mechanism in ra.describe()["mechanisms"]:
        names = {option["name"] for option in mechanism["options"]}
        assert "out" not in names
        assert "key_lengths" in names or "mask" not in names  # nodes on a graph have neither


@pytest.mark.skipif(ra.backend() == "numpy", reason="NumPy bodies make float64 arrays inside; the C kernels do not")
def test_a_call_into_out_allocates_no_array(one_thread: None) -> None:
    attention = ra.FlashAttention(dim=16)
    query = np.tile(X, (10, 1))
    out = np.empty((3000, 16), np.float32)

    def most(call: Callable[[], Any]) -> int:
        call()
        tracemalloc.start()
        for _ in range(20):
            call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(lambda: attention(query, X, X)) >= out.nbytes  # tracemalloc sees NumPy's arrays
    assert most(lambda: attention(query, X, X, out=out)) < out.nbytes // 2
    memory = ra.Memory(X)
    assert most(lambda: memory.attend(query, out=out)) < out.nbytes // 2


# --- steady state


def test_after_warming_up_1000_calls_allocate_nothing(one_thread: None) -> None:
    attention = ra.FlashAttention(dim=16)
    memory = ra.Memory(X, capacity=400)
    pool = ra.TensorPool()
    shapes = [(3, 16), (1, 16), (40, 16)]

    def call(index: int) -> None:
        query = X[: shapes[index % 3][0]]
        with pool.lend(query.shape) as out:
            attention(query, memory, out=out)
        with pool.lend(query.shape) as out:
            attention(query, X, X, out=out)

    for index in range(6):
        call(index)
    gc.collect()
    scratch, outputs = ra.stats(), pool.stats()
    grown = []
    for _ in range(4):  # what grows does so every time; what another test left behind is collected once
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for index in range(250):
            call(index)
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()
    kernel_calls = 0 if ra.backend() == "numpy" else 2000
    assert ra.stats() == scratch._replace(calls=scratch.calls + kernel_calls, hits=scratch.hits + kernel_calls)
    assert pool.stats() == outputs._replace(hits=outputs.hits + 2000)
    if kernel_calls:  # NumPy bodies make arrays of their own
        assert min(grown) < 2_500  # of a quarter of a million bytes of outputs that passed


def test_scratch_figures_add_up() -> None:
    ra.FlashAttention(dim=16)(X, X, X)
    found = ra.stats()
    assert found.calls == found.hits + found.allocations
    assert found.lent == 0
    if ra.backend() != "numpy":
        assert 0 < found.blocks <= found.allocations
        assert found.bytes > 0
        assert found.most_lent > 0


@pytest.mark.skipif(ra.backend() == "numpy", reason="NumPy bodies need no scratch memory")
def test_more_threads_than_there_are_blocks_are_served() -> None:
    x = RANDOM.standard_normal((192, 64)).astype(np.float32)
    keys = RANDOM.standard_normal((2000, 64)).astype(np.float32)
    attention = ra.FlashAttention(dim=64)
    expected = attention(x, keys, keys)
    start, wrong = threading.Barrier(48), []

    def call() -> None:
        start.wait()
        for _ in range(3):
            try:
                if not np.array_equal(attention(x, keys, keys), expected):
                    wrong.append("another result")
            except MemoryError as error:
                wrong.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(48)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert ra.stats().lent == 0
    assert ra.stats().blocks <= 16


# --- the pool for outputs


def test_an_array_given_back_is_the_next_that_is_taken() -> None:
    pool = ra.TensorPool()
    first = pool.take((3, 5))
    assert (first.shape, first.dtype, first.flags.c_contiguous) == ((3, 5), np.float32, True)
    assert first.ctypes.data % 64 == 0
    address = first.ctypes.data
    pool.give(first)
    again = pool.take((5, 3))
    assert again.ctypes.data == address
    assert pool.stats() == (1, 1, 1, 0)


def test_arrays_that_are_out_never_overlap() -> None:
    pool = ra.TensorPool()
    out = [pool.take((4, 4)) for _ in range(5)]
    for index, array in enumerate(out):
        array[...] = index
    assert [array[0, 0] for array in out] == [0, 1, 2, 3, 4]
    assert pool.stats().lent == 5
    for array in out:
        pool.give(array)
    assert pool.stats() == (0, 5, 0, 5 * 64)


@pytest.mark.parametrize("count", [*range(70), 100, 1000, 1023, 1025, 4097, 99_999])
def test_the_memory_behind_an_array_is_little_more_than_it(count: int) -> None:
    pool = ra.TensorPool()
    taken = pool.take(count)
    assert taken.shape == (count,)
    pool.give(taken)
    assert 4 * count <= pool.stats().bytes <= max(1.25 * 4 * count, 4 * count + 64)
    assert pool.stats().bytes % 64 == 0


def test_a_view_of_an_array_gives_it_back_and_one_that_is_lost_is_freed() -> None:
    pool = ra.TensorPool()
    pool.give(pool.take((2, 3, 4))[1, 1:])
    assert pool.stats() == (0, 1, 0, 128)
    lost = pool.take((2, 3, 4))
    del lost
    gc.collect()
    assert pool.stats() == (1, 1, 0, 0)


def test_the_memory_that_waits_is_bounded_and_the_oldest_goes_first() -> None:
    pool = ra.TensorPool(max_bytes=1000)
    old, new = pool.take(100), pool.take(150)
    pool.give(old)
    pool.give(new)
    assert pool.stats().bytes <= 1000
    pool.take(150)
    assert pool.stats().hits == 1
    pool.take(100)
    assert pool.stats().hits == 1
    large = pool.take(10_000)
    pool.give(large)
    assert pool.stats().bytes == 0
    none = ra.TensorPool(max_bytes=0)
    none.give(none.take(1))
    assert none.stats().bytes == 0


def test_a_pool_ends_with_its_block_even_in_an_error() -> None:
    with ra.TensorPool() as pool:
        with pytest.raises(ZeroDivisionError), pool.lend((4, 4)):
            raise ZeroDivisionError
        assert pool.stats().bytes == 64
        assert pool.stats().lent == 0
    assert pool.stats().bytes == 0


def test_what_was_not_lent_is_not_taken_back() -> None:
    pool, other = ra.TensorPool(), ra.TensorPool()
    array = pool.take(4)
    for wrong in (X, X[1:], None, [1.0], other.take(4)):
        with pytest.raises(ra.UnsupportedError, match="array is not lent by this pool"):
            pool.give(wrong)  # type: ignore[arg-type]
    pool.give(array)
    with pytest.raises(ra.UnsupportedError, match="given back once"):
        pool.give(array)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((2, -1), ra.OutOfBoundsError),
        (-1, ra.OutOfBoundsError),
        ((2.0,), ra.UnsupportedError),
        ("22", ra.UnsupportedError),
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape: Any, error: type[ra.AttentionError]) -> None:
    with pytest.raises(error, match="shape is"):
        ra.TensorPool().take(shape)


@pytest.mark.parametrize("max_bytes", [-1, 1.5, True, None])
def test_a_bound_that_cannot_be_is_refused(max_bytes: Any) -> None:
    with pytest.raises(ra.InvalidConfigError, match="max_bytes is"):
        ra.TensorPool(max_bytes)


def test_many_threads_share_a_pool() -> None:
    pool = ra.TensorPool()
    wrong: list[str] = []

    def use(number: int) -> None:
        for _ in range(300):
            with pool.lend((8, 8)) as array:
                array[...] = number
                if not (array == number).all():
                    wrong.append("shared")

    users = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong
    assert pool.stats().hits + pool.stats().allocations == 1800
    assert pool.stats().allocations <= 6
    oracle.assert_close(pool.take((8, 8)) * 0, np.zeros((8, 8)))
