"""Memory: what a mechanism reads of it equals what it reads of the arrays, whatever was appended and evicted before."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
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

MECHANISMS: list[tuple[str, dict[str, Any]]] = [
    ("scaled_dot_product", {}),
    ("scaled_dot_product", {"normalize": True, "scale": 3.0}),
    ("flash", {"causal": True}),
    ("multi_head", {"num_heads": 3}),
    ("multi_head", {"num_heads": 4, "num_kv_heads": 2, "normalize": True, "scale": 3.0}),
    ("multi_head", {"num_heads": 3, "projections": False, "normalize": True}),
    ("cross_attention", {"num_heads": 1}),
]


@pytest.fixture(params=MECHANISMS, ids=lambda entry: f"{entry[0]}-{'-'.join(entry[1])}")
def attention(request: pytest.FixtureRequest) -> Any:
    name, options = request.param
    return ra.create(name, dim=DIM, seed=3, **options)


# --- a memory in place of keys and values


def test_every_mechanism_reads_the_same_from_a_memory_as_from_arrays(attention: Any) -> None:
    memory = ra.Memory(KEYS, VALUES)
    mask = RANDOM.random((5, 9)) < 0.6
    bias = RANDOM.standard_normal((5, 9)).astype(np.float32)
    for query in (QUERY, QUERY[0], QUERY.astype(np.float64), np.stack([QUERY, -QUERY]), QUERY.tolist()):
        oracle.assert_close(attention(query, memory), attention(query, KEYS, VALUES))
        oracle.assert_close(attention.attention_weights(query, memory), attention.attention_weights(query, KEYS))
    for options in ({"mask": mask}, {"bias": bias}, {"mask": bias, "causal": True}, {"key_lengths": 4}):
        oracle.assert_close(attention(QUERY, memory, **options), attention(QUERY, KEYS, VALUES, **options))
    oracle.assert_close(attention.forward_batch([(QUERY, memory)])[0], attention(QUERY, KEYS, VALUES))
    named = attention.forward_batch([{"query": QUERY, "keys": memory}])[0]
    oracle.assert_close(named, attention(QUERY, KEYS, VALUES))


@pytest.mark.parametrize("normalize", [False, True])
def test_attend_equals_the_formula_in_float64(normalize: bool) -> None:
    memory = ra.Memory(KEYS, VALUES)
    found = memory.attend(QUERY, scale=0.7, temperature=0.5, normalize=normalize)
    oracle.assert_close(
        found, oracle.attention(QUERY, KEYS, VALUES, scale=0.7, temperature=0.5, normalize=normalize)[0]
    )
    oracle.assert_close(memory.attend(QUERY[0]), oracle.attention(QUERY[:1], KEYS, VALUES)[0][0])
    alone = ra.Memory(KEYS)
    oracle.assert_close(alone.attend(QUERY), oracle.attention(QUERY, KEYS, KEYS)[0])


def test_heads_read_their_channels_from_a_memory() -> None:
    memory = ra.Memory(KEYS, VALUES)
    for name, options in MECHANISMS[3:]:
        heads: Any = ra.create(name, dim=DIM, **options)
        expected = heads.head_output(heads.num_heads - 1, QUERY, KEYS, VALUES)
        for _ in range(2):
            oracle.assert_close(heads.head_output(heads.num_heads - 1, QUERY, memory), expected)
            memory.project(heads)


def test_a_memory_of_keys_alone_stands_in_for_both_in_cross_attention() -> None:
    cross = ra.CrossAttention(dim=DIM, num_heads=2, kdim=7)
    context = RANDOM.standard_normal((6, 7)).astype(np.float32)
    oracle.assert_close(cross(QUERY, ra.Memory(context)), cross(QUERY, context))


def test_training_gives_the_gradients_of_the_query_and_the_parameters(attention: Any) -> None:
    grad = RANDOM.standard_normal((5, DIM)).astype(np.float32)
    attention(QUERY, KEYS, VALUES, training=True)
    expected = attention.backward(grad)
    memory = ra.Memory(KEYS, VALUES)
    memory.project(attention)
    attention(QUERY, memory, training=True)
    found = attention.backward(grad)
    assert set(found) == set(expected) - {"keys", "values"}
    for name, array in found.items():
        oracle.assert_close(array, expected[name])


def test_values_beside_a_memory_are_refused_and_arrays_without_values_too() -> None:
    attention = ra.ScaledDotProductAttention(dim=DIM)
    with pytest.raises(ra.UnsupportedError, match="values came beside a Memory"):
        attention(QUERY, ra.Memory(KEYS), VALUES)
    with pytest.raises(ra.UnsupportedError, match="values is NoneType"):
        attention(QUERY, KEYS)
    with pytest.raises(ra.UnsupportedError, match="item 0: 1 inputs came"):
        attention.forward_batch([(ra.Memory(KEYS),)])


def test_what_does_not_fit_a_memory_is_named(attention: Any) -> None:
    memory = ra.Memory(KEYS, VALUES)
    with pytest.raises(ra.DimensionMismatchError, match="query"):
        attention(QUERY[:, :7], memory)
    with pytest.raises(ra.DimensionMismatchError, match=r"keys is \(9, 7\)"):
        attention(QUERY, ra.Memory(KEYS[:, :7], VALUES))
    with pytest.raises(ra.EmptyInputError, match=r"keys is \(0, 12\)"):
        attention(QUERY, ra.Memory(KEYS[:0], VALUES[:0]))
    with pytest.raises(ra.EmptyInputError, match="query"):
        attention(QUERY[:0], memory)
    bad = QUERY.copy()
    bad[2, 1] = np.nan
    with pytest.raises(ra.NumericalInstabilityError, match=r"query holds nan at index \(2, 1\)"):
        attention(bad, memory)
    with pytest.raises(ra.NumericalInstabilityError, match=r"query holds nan at index \(1,\)"):
        attention(bad[2], memory)


def test_the_limit_on_keys_holds_for_a_memory_but_not_for_its_own_attend() -> None:
    memory = ra.Memory(KEYS, VALUES)
    with pytest.raises(ra.InputTooLargeError, match="9 keys; expected at most 8"):
        ra.ScaledDotProductAttention(dim=DIM, max_sequence_length=8)(QUERY, memory)
    large = ra.Memory(np.zeros((ra.MAX_SEQUENCE_LENGTH + 1, 2), np.float32))
    assert large.attend([1, 1]).tolist() == [0, 0]


# --- rows come and go


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


@settings(max_examples=60, deadline=None)
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


# --- what is kept of the rows


def test_normalised_keys_are_made_once_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from ruvector_attention import engine

    memory = ra.Memory(KEYS, VALUES)
    made: list[int] = []
    original = engine.normalize_rows

    def counted(x: Array, dim: int) -> Array:
        made.append(x.size // dim)
        return original(x, dim)

    monkeypatch.setattr(engine, "normalize_rows", counted)
    for _ in range(3):
        memory.attend(QUERY, normalize=True)
    assert sorted(made) == [5, 5, 5, 9]  # the queries of three calls, the nine keys once
    memory.append(KEYS[:2], VALUES[:2])
    memory.evict([3])
    made.clear()
    found = memory.attend(QUERY, normalize=True)
    assert sorted(made) == [2, 5]
    oracle.assert_close(found, oracle.attention(QUERY, memory.keys, memory.values, normalize=True)[0])


def test_a_projected_memory_is_projected_once_and_again_when_asked() -> None:
    heads = ra.MultiHeadAttention(dim=DIM, num_heads=3)
    memory = ra.Memory(KEYS, VALUES)
    before = heads(QUERY, KEYS, VALUES)
    memory.project(heads)
    held = memory.nbytes
    oracle.assert_close(heads(QUERY, memory), before)
    assert memory.nbytes == held
    for name in ("keys_weight", "values_weight"):
        heads.parameters()[name][...] *= -1
    after = heads(QUERY, KEYS, VALUES)
    assert np.abs(after - before).max() > 0.1
    oracle.assert_close(heads(QUERY, memory), before)  # of the parameters of that moment, as it says
    memory.project(heads)
    oracle.assert_close(heads(QUERY, memory), after)
    other = ra.MultiHeadAttention(dim=DIM, num_heads=3, seed=9)  # what is kept is kept for one mechanism
    oracle.assert_close(other(QUERY, memory), other(QUERY, KEYS, VALUES))


def test_what_is_kept_for_a_mechanism_goes_with_it() -> None:
    import gc

    memory = ra.Memory(KEYS, VALUES)
    held = memory.nbytes
    heads = ra.MultiHeadAttention(dim=DIM, num_heads=3)
    memory.project(heads)
    assert memory.nbytes > held
    del heads
    gc.collect()
    assert memory.nbytes == held


def test_a_mechanism_that_reads_rows_as_they_are_needs_no_projection() -> None:
    memory = ra.Memory(KEYS, VALUES)
    held = memory.nbytes
    memory.project(ra.FlashAttention(dim=DIM))
    memory.project(ra.MultiHeadAttention(dim=DIM, num_heads=3, projections=False))
    assert memory.nbytes == held


@pytest.mark.parametrize(
    ("attention", "error"),
    [
        (ra.SelfAttention(dim=DIM, num_heads=2), ra.UnsupportedError),
        ("multi_head", ra.UnsupportedError),
        (ra.MultiHeadAttention(dim=8, num_heads=2), ra.DimensionMismatchError),
        (ra.MultiHeadAttention(dim=DIM, num_heads=2, max_sequence_length=8), ra.InputTooLargeError),
    ],
)
def test_a_projection_that_does_not_fit_is_refused(attention: Any, error: type[ra.AttentionError]) -> None:
    with pytest.raises(error):
        ra.Memory(KEYS, VALUES).project(attention)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((KEYS[0],), ra.DimensionMismatchError, r"keys is \(12,\); expected \(n_key, dim\)"),
        ((KEYS[None],), ra.DimensionMismatchError, r"keys is \(1, 9, 12\)"),
        ((KEYS[:, :0],), ra.DimensionMismatchError, r"keys is \(9, 0\)"),
        ((KEYS, VALUES[:8]), ra.DimensionMismatchError, r"values is \(8, 12\); .* n_key = 9, from keys \(9, 12\)"),
        ((KEYS * np.inf,), ra.NumericalInstabilityError, "keys holds"),
        ((KEYS, VALUES * np.nan), ra.NumericalInstabilityError, "values holds nan"),
        (("keys",), ra.UnsupportedError, "keys is str"),
        ((KEYS.astype(complex),), ra.UnsupportedError, "keys is an array of complex"),
        ((None,), ra.UnsupportedError, "keys is NoneType"),
    ],
)
def test_rows_that_are_none_are_refused(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ra.Memory(*arguments)


@pytest.mark.parametrize("capacity", [8, -1, 9.5, True, "12"])
def test_a_capacity_that_cannot_be_is_refused(capacity: Any) -> None:
    with pytest.raises(ra.InvalidConfigError, match=r"capacity is .*; expected an integer of at least 9"):
        ra.Memory(KEYS, capacity=capacity)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((KEYS[:, :7], VALUES), ra.DimensionMismatchError, r"keys is \(9, 7\); .* dim = 12, from the memory"),
        ((KEYS, VALUES[:, :7]), ra.DimensionMismatchError, r"values is \(9, 7\); .* dim_value = 12, from the memory"),
        ((KEYS, VALUES[:3]), ra.DimensionMismatchError, "n_key = 9"),
        ((KEYS,), ra.UnsupportedError, "values is None; expected a row for each key"),
        ((KEYS, VALUES * np.inf), ra.NumericalInstabilityError, "values holds"),
    ],
)
def test_an_append_that_fails_adds_nothing(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    memory = ra.Memory(KEYS, VALUES)
    with pytest.raises(error, match=words):
        memory.append(*arguments)
    assert len(memory) == 9
    assert memory.append(KEYS, VALUES)[0] == 9


def test_values_for_a_memory_of_keys_alone_are_refused() -> None:
    with pytest.raises(ra.UnsupportedError, match="values came; expected none"):
        ra.Memory(KEYS).append(KEYS, VALUES)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ra.UnsupportedError, "either ids or oldest"),
        ({"ids": [1], "oldest": 1}, ra.UnsupportedError, "either ids or oldest"),
        ({"ids": [1, 9]}, ra.OutOfBoundsError, "ids holds 9"),
        ({"ids": [-1]}, ra.OutOfBoundsError, "ids holds -1"),
        ({"ids": [1.0]}, ra.UnsupportedError, "ids is an array of float64"),
        ({"ids": [True]}, ra.UnsupportedError, "ids is an array of bool"),
        ({"ids": "all"}, ra.UnsupportedError, "ids is str"),
        ({"oldest": 10}, ra.OutOfBoundsError, "oldest is 10; expected 0 to 9"),
        ({"oldest": -1}, ra.OutOfBoundsError, "oldest is -1"),
        ({"oldest": 1.0}, ra.UnsupportedError, "oldest is 1.0; expected an integer"),
        ({"oldest": True}, ra.UnsupportedError, "oldest is True"),
    ],
)
def test_an_eviction_that_fails_drops_nothing(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    memory = ra.Memory(KEYS, VALUES)
    with pytest.raises(error, match=words):
        memory.evict(**arguments)
    assert memory.ids.tolist() == list(range(9))


# --- keeping it


@pytest.mark.parametrize("values", [VALUES, None], ids=["values", "keys alone"])
def test_state_file_and_pickle_carry_it_over(values: Array | None, tmp_path: Path) -> None:
    memory = ra.Memory(KEYS, values)
    memory.evict([1, 4])
    memory.append(KEYS[:3], None if values is None else values[:3])
    memory.evict([11])
    memory.save_checkpoint(tmp_path / "bank")
    loaded = ra.Memory(np.zeros((2, 5)))
    loaded.load_state_dict(memory.state_dict())
    for again in (
        loaded,
        ra.Memory.load_checkpoint(tmp_path / "bank"),
        pickle.loads(pickle.dumps(memory)),
        copy.deepcopy(memory),
    ):
        assert np.array_equal(again.keys, memory.keys)
        assert np.array_equal(again.values, memory.values)
        assert again.ids.tolist() == memory.ids.tolist()
        assert np.array_equal(again.attend(QUERY), memory.attend(QUERY))
        assert again.append(KEYS[:1], None if values is None else values[:1]).tolist() == [12]
    assert repr(memory) == "Memory(9 rows, dim=12, dim_value=12)"


def test_a_state_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    memory = ra.Memory(KEYS, VALUES)
    state = memory.state_dict()
    wrong: list[tuple[dict[str, Any], type[ra.AttentionError], str]] = [
        ({"keys": KEYS}, ra.InvalidConfigError, "lacks ids, next_id"),
        ({**state, "extra": KEYS}, ra.InvalidConfigError, "has unknown extra"),
        ({**state, "ids": state["ids"][:3]}, ra.InvalidConfigError, "ids is int64"),
        ({**state, "ids": state["ids"] * 0}, ra.InvalidConfigError, "ids do not rise"),
        ({**state, "next_id": [3]}, ra.InvalidConfigError, "ids do not rise from 0 to next_id = 3"),
        ({**state, "ids": state["ids"] * 1.0}, ra.InvalidConfigError, "ids is float64"),
        ({**state, "values": VALUES[:3]}, ra.DimensionMismatchError, "values"),
        ({**state, "keys": KEYS * np.nan}, ra.NumericalInstabilityError, "keys"),
    ]
    for bad, error, words in wrong:
        with pytest.raises(error, match=words):
            memory.load_state_dict(bad)
    assert np.array_equal(memory.keys, KEYS)
    assert memory.ids.tolist() == list(range(9))
    ra.FlashAttention(dim=8).save_checkpoint(tmp_path / "flash")
    with pytest.raises(ra.InvalidConfigError, match="is of type 'flash'; expected 'memory'"):
        ra.Memory.load_checkpoint(tmp_path / "flash")
    memory.save_checkpoint(tmp_path / "bank")
    with pytest.raises(ra.InvalidConfigError, match="unknown mechanism 'memory'"):
        ra.Attention.load_checkpoint(tmp_path / "bank")


# --- the bridge, as JavaScript calls it


def test_a_handle_among_the_arguments_is_the_object_itself() -> None:
    from ruvector_attention import bridge

    def ask(verb: str, **arguments: Any) -> dict[str, Any]:
        return bridge.dispatch(verb, arguments)

    def sent(array: Array) -> dict[str, Any]:
        return {"$array": array.tobytes(), "shape": list(array.shape), "dtype": array.dtype.name}

    config = {"keys": sent(KEYS), "values": sent(VALUES), "capacity": 20}
    made = ask("create", name="ruvector_attention:Memory", config=config)["value"]
    assert made["config"] == {"type": "memory", "rows": 9, "dim": DIM, "dim_value": DIM}  # and not the arrays again
    attention = ask("create", name="flash", config={"dim": DIM})["value"]["handle"]
    forward: dict[str, Any] = {
        "handle": attention, "method": "forward", "args": [sent(QUERY), {"$handle": made["handle"]}], "kwargs": {}
    }  # fmt: skip
    found = ask("call", **forward)["value"]
    oracle.assert_close(np.asarray(found["$array"]).reshape(found["shape"]), oracle.attention(QUERY, KEYS, VALUES)[0])
    append = {"handle": made["handle"], "method": "append", "args": [sent(KEYS[:2]), sent(VALUES[:2])], "kwargs": {}}
    ids = ask("call", **append)["value"]
    assert (ids["dtype"], np.asarray(ids["$array"]).tolist()) == ("int32", [9, 10])
    assert ask("release", handle=made["handle"])["value"] is True
    assert ask("call", **forward)["error"]["class"] == "OutOfBoundsError"
    ask("release", handle=attention)
