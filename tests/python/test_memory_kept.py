"""What a Memory refuses, and how it is kept: states, files, pickles."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra

Array = npt.NDArray[Any]

DIM = 12
RANDOM = np.random.default_rng(0)
QUERY = RANDOM.standard_normal((5, DIM)).astype(np.float32)
KEYS = RANDOM.standard_normal((9, DIM)).astype(np.float32)
VALUES = RANDOM.standard_normal((9, DIM)).astype(np.float32)


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
        (("keys",), ra.UnsupportedError, "keys is a str"),
        ((KEYS.astype(complex),), ra.UnsupportedError, "keys is an array of complex"),
        ((None,), ra.UnsupportedError, "keys is None"),
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
        ({"ids": "all"}, ra.UnsupportedError, "ids is a str"),
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
