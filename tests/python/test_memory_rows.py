"""Rows of a Memory come and go: whatever was appended and evicted before, it holds what a list would."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ruvector_attention as ra

Array = npt.NDArray[Any]

DIM = 12
RANDOM = np.random.default_rng(0)
QUERY = RANDOM.standard_normal((5, DIM)).astype(np.float32)
KEYS = RANDOM.standard_normal((9, DIM)).astype(np.float32)
VALUES = RANDOM.standard_normal((9, DIM)).astype(np.float32)


def test_ids_rise_and_are_never_given_again() -> None:
    memory = ra.Memory(KEYS, VALUES)
    assert memory.ids.tolist() == list(range(9))
    assert memory.evict([8]) == 1
    assert memory.append(KEYS[:2], VALUES[:2]).tolist() == [9, 10]
    assert memory.append(KEYS[0], VALUES[0]).tolist() == [11]
    memory.clear()
    assert len(memory) == 0
    assert memory.append(KEYS, VALUES).tolist() == list(range(12, 21))


def test_eviction_keeps_the_order_of_the_rest() -> None:
    memory = ra.Memory(KEYS, VALUES)
    assert memory.evict([6, 2, 2, 3]) == 3
    stay = [0, 1, 4, 5, 7, 8]
    assert memory.ids.tolist() == stay
    assert np.array_equal(memory.keys, KEYS[stay])
    assert np.array_equal(memory.values, VALUES[stay])
    assert memory.evict(oldest=2) == 2
    assert memory.evict([4]) == 1  # the oldest, by its id
    assert memory.ids.tolist() == [5, 7, 8]
    assert np.array_equal(memory.values, VALUES[[5, 7, 8]])
    assert memory.evict([]) == 0
    assert memory.evict(oldest=0) == 0
    assert memory.evict(memory.ids) == 3
    assert len(memory) == 0


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["append", "oldest", "ids", "clear"]), st.integers(0, 40)), max_size=30)


@settings(max_examples=60)
@given(steps=STEPS, seed=st.integers(0, 2**31))
def test_any_history_leaves_what_a_list_would_hold(steps: list[Step], seed: int) -> None:
    random = np.random.default_rng(seed)
    memory = ra.Memory(np.empty((0, 4)), np.empty((0, 3)))
    heads = ra.MultiHeadAttention(dim=4, num_heads=2, kdim=4, vdim=3, normalize=True)
    memory.project(heads)
    held: list[tuple[int, Array, Array]] = []
    next_id = 0
    for kind, size in steps:
        count = min(size, len(held))
        if kind == "append":
            keys = random.standard_normal((size, 4)).astype(np.float32)
            values = random.standard_normal((size, 3)).astype(np.float32)
            ids = memory.append(keys, values)
            assert ids.tolist() == list(range(next_id, next_id + size))
            held += zip(ids.tolist(), keys, values, strict=True)
            next_id += size
        elif kind == "oldest":
            assert memory.evict(oldest=count) == count
            held = held[count:]
        elif kind == "ids":
            gone = set(random.permutation([entry[0] for entry in held])[:count].tolist())
            assert memory.evict(list(gone)) == len(gone)
            held = [entry for entry in held if entry[0] not in gone]
        else:
            memory.clear()
            held = []
        assert memory.ids.tolist() == [entry[0] for entry in held]
        assert len(memory) == len(held)
        if held:
            keys, values = (np.stack([entry[i] for entry in held]) for i in (1, 2))
            assert np.array_equal(memory.keys, keys)
            assert np.array_equal(memory.values, values)
            query = random.standard_normal((2, 4)).astype(np.float32)
            oracle.assert_close(heads(query, memory), heads(query, keys, values))
            oracle.assert_close(
                memory.attend(query, normalize=True), oracle.attention(query, keys, values, normalize=True)[0]
            )


def test_a_sliding_window_keeps_its_memory_bounded() -> None:
    memory = ra.Memory(np.zeros((1000, 8)), capacity=1000)
    most = 0
    for step in range(5000):
        memory.append(np.full((1, 8), step))
        memory.evict(oldest=1)
        most = max(most, memory.capacity)
    assert most <= 2000
    assert np.array_equal(memory.keys[:, 0], np.arange(4000, 5000))


def test_capacity_is_room_from_the_start_and_grows_geometrically() -> None:
    memory = ra.Memory(KEYS, VALUES, capacity=500)
    held = memory.nbytes
    for _ in range(54):
        memory.append(KEYS, VALUES)
    assert (memory.capacity, memory.nbytes) == (500, held)
    capacities = set()
    for _ in range(500):
        memory.append(KEYS, VALUES)
        capacities.add(memory.capacity)
    assert len(capacities) <= 5  # 495 to 4 995 rows in steps of nine
    assert memory.capacity <= 3 * len(memory)


def test_rows_begin_at_a_multiple_of_64_bytes_and_are_contiguous() -> None:
    for count in (1, 5, 100):
        memory = ra.Memory(np.asfortranarray(RANDOM.standard_normal((count, 7))), np.ones((count, 3)))
        for array in (memory.keys, memory.values):
            assert array.ctypes.data % 64 == 0
            assert array.flags.c_contiguous
            assert array.dtype == np.float32


def test_what_was_read_never_changes_and_cannot_be_written() -> None:
    memory = ra.Memory(KEYS, VALUES, capacity=10)
    views = [(memory.keys, memory.values, memory.ids)]
    kept = [tuple(array.copy() for array in views[0])]
    for change in (
        lambda: memory.append(KEYS[:1], VALUES[:1]),
        lambda: memory.append(KEYS, VALUES),
        lambda: memory.evict(oldest=2),
        lambda: memory.evict([5, 9]),
        lambda: memory.append(-KEYS, -VALUES),
        memory.clear,
        lambda: memory.append(-KEYS, -VALUES),
    ):
        change()
        views.append((memory.keys, memory.values, memory.ids))
        kept.append(tuple(array.copy() for array in views[-1]))
    for seen, before in zip(views, kept, strict=True):
        for array, copied in zip(seen, before, strict=True):
            assert np.array_equal(array, copied)
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_the_arrays_given_stay_apart_from_the_memory() -> None:
    keys = KEYS.copy()
    memory = ra.Memory(keys)
    keys[...] = 0
    assert np.array_equal(memory.keys, KEYS)


def test_readers_in_threads_meet_whole_rows_while_others_change_them() -> None:
    # each row brings back its own key, so whatever mixture of old and new a reader saw would show
    memory = ra.Memory(np.eye(8, dtype=np.float32) * 50)
    heads = ra.MultiHeadAttention(dim=8, num_heads=2, normalize=True)
    memory.project(heads)
    done, wrong = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            keys, values, ids = memory.rows.keys, memory.rows.values, memory.ids
            if not (np.isfinite(keys).all() and len(keys) and len(values) and len(ids)):
                wrong.append("rows")
            output = memory.attend(np.full(8, 9.0), scale=1.0, normalize=True)
            if not np.isfinite(output).all() or abs(output.sum() - 50) > 0.01:
                wrong.append(f"output {output}")
            heads(np.ones((1, 8)), memory)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for step in range(400):
        ids = memory.append(np.eye(8) * 50)
        memory.evict(ids[:4] if step % 3 else None, oldest=None if step % 3 else 8)
        if step % 10 == 0:
            memory.evict(oldest=len(memory) - 8)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong[:3]
