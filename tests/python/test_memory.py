"""Memory in the place of keys and values: what a mechanism reads of it equals what it reads of the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

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
    with pytest.raises(ra.UnsupportedError, match="values is None"):
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
