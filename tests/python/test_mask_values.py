"""Mask objects as values: equal or not, written and read, combined with what fits and refused with what does not."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import bridge

Array = npt.NDArray[Any]

WINDOW = ra.WindowMask(5, global_tokens=2)
PAIRS = ra.COOMask([(0, 1), (3, 2)])
MASKS = [
    ra.CausalMask(),
    WINDOW,
    ra.WindowMask(0, causal=True),
    ra.StridedMask(3, 2),
    ra.DenseMask(np.arange(40).reshape(5, 8) % 3 == 0),
    ra.BlockSparseMask(3, [(1, 2), (0, 0)]),
    ra.BlockSparseMask(3, []),
    PAIRS,
    ra.COOMask([]),
    ra.CSRMask([0, 0, 2, 2, 3, 3], [7, 1, 4]),
    PAIRS & WINDOW,
    (PAIRS | WINDOW) & (ra.StridedMask(1, 3) | ra.CausalMask() | PAIRS),
]


@pytest.mark.parametrize("mask", MASKS, ids=repr)
def test_a_mask_goes_through_json_repr_and_pickle(mask: ra.AttentionMask) -> None:
    dense = mask.to_dense(5, 8)
    again = ra.AttentionMask.from_config(json.loads(json.dumps(mask.to_config())))
    for other in (again, pickle.loads(pickle.dumps(mask)), copy.deepcopy(mask), eval(repr(mask), vars(ra).copy())):
        assert other == mask
        assert hash(other) == hash(mask)
        assert np.array_equal(other.to_dense(5, 8), dense)
    assert sum(other == mask for other in MASKS) == 1


def test_masks_are_values() -> None:
    assert ra.WindowMask(4.0) == ra.WindowMask(4) != ra.WindowMask(5)
    assert ra.CausalMask() != ra.WindowMask(4)
    assert len({ra.CausalMask(), ra.CausalMask(), ra.COOMask([(1, 2), (0, 1)]), ra.COOMask([(0, 1), (1, 2)])}) == 2
    assert ra.CSRMask([0, 3], [5, 1, 5]) == ra.CSRMask([0, 2], [1, 5])
    assert (PAIRS | WINDOW | ra.CausalMask()).masks == (PAIRS, WINDOW, ra.CausalMask())  # type: ignore[attr-defined]
    allowed = np.ones((2, 2), bool)
    mask = ra.DenseMask(allowed)
    allowed[:] = False
    assert mask.count_nonzero(2) == 4
    with pytest.raises(ValueError, match="read-only"):
        mask.allowed[0, 0] = False
    with pytest.raises(AttributeError):
        ra.WindowMask(4).window = 5  # type: ignore[misc]


def test_a_long_list_is_not_written_out() -> None:
    assert repr(ra.COOMask(np.zeros((1, 2), int))) == "COOMask(pairs=[[0, 0]])"
    long = ra.COOMask(np.stack([np.arange(2000), np.arange(2000)], axis=1))
    assert repr(long) == "<COOMask of pairs (2000, 2)>"


def test_a_mask_of_ones_own_is_a_mask_like_any_other() -> None:
    @dataclass(frozen=True, eq=False, repr=False)
    class ParityMask(ra.AttentionMask):
        modulus: int

        name = "test_parity"

        def sees(self, query: Array, key: Array, n_query: int, n_key: int) -> npt.NDArray[np.bool_]:
            return np.asarray((query + key) % self.modulus == 0)

    mask = ParityMask(3)
    expected = np.add.outer(np.arange(100), np.arange(70)) % 3 == 0
    assert np.array_equal(mask.to_dense(100, 70), expected)
    assert np.array_equal((mask & WINDOW).to_dense(100, 70), expected & WINDOW.to_dense(100, 70))
    assert ra.AttentionMask.from_config({"type": "test_parity", "modulus": 3}) == mask
    with pytest.raises(ra.InvalidConfigError, match="is named 'causal', as CausalMask is already"):
        type("Other", (ra.AttentionMask,), {"name": "causal"})


# --- bad input


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ra.WindowMask(-1), ra.InvalidConfigError, "window is -1; expected at least 0"),
        (lambda: ra.WindowMask(1.5), ra.InvalidConfigError, "window is 1.5; expected an integer"),
        (lambda: ra.WindowMask(1, -2), ra.InvalidConfigError, "global_tokens is -2"),
        (lambda: ra.WindowMask(1, causal=1), ra.InvalidConfigError, "causal is 1; expected True or False"),
        (lambda: ra.StridedMask(1, 0), ra.InvalidConfigError, "stride is 0; expected at least 1"),
        (lambda: ra.BlockSparseMask(0, [(0, 0)]), ra.InvalidConfigError, "block_size is 0"),
        (
            lambda: ra.BlockSparseMask(2, [0, 1]),
            ra.DimensionMismatchError,
            r"active_blocks is \(2,\); expected \(n, 2\)",
        ),
        (lambda: ra.BlockSparseMask(2, [(0, -1)]), ra.OutOfBoundsError, "active_blocks holds -1"),
        (lambda: ra.COOMask([(0, 1, 2)]), ra.DimensionMismatchError, r"pairs is \(1, 3\)"),
        (lambda: ra.COOMask([(0.5, 1)]), ra.UnsupportedError, "pairs is an array of float64; expected integers"),
        (lambda: ra.COOMask(None), ra.UnsupportedError, "pairs is None"),
        (lambda: ra.CSRMask([0, 2], [1]), ra.OutOfBoundsError, "indptr runs from 0 to 2; expected to rise from 0 to 1"),
        (lambda: ra.CSRMask([0, 2, 1, 2], [1, 0]), ra.OutOfBoundsError, "expected to rise"),
        (lambda: ra.CSRMask([], []), ra.DimensionMismatchError, r"indptr is \(0,\); expected \(n_query \+ 1,\)"),
        (lambda: ra.CSRMask([0, 1], [[1]]), ra.DimensionMismatchError, r"indices is \(1, 1\)"),
        (lambda: ra.DenseMask([[1, 0]]), ra.UnsupportedError, "allowed is an array of int64; expected bool"),
        (lambda: ra.DenseMask([True]), ra.DimensionMismatchError, r"allowed is \(1,\); expected \(n_query, n_key\)"),
        (lambda: ra.IntersectionMask((WINDOW,)), ra.InvalidConfigError, "masks holds 1; expected at least 2"),
        (lambda: ra.UnionMask(WINDOW), ra.UnsupportedError, "masks is WindowMask"),
        (lambda: WINDOW & [[True]], ra.UnsupportedError, "one side of & is list; expected a mask object"),
        (lambda: np.ones((2, 2), bool) | WINDOW, ra.UnsupportedError, r"one side of \| is ndarray"),
        (lambda: WINDOW.to_dense(0, 3), ra.InvalidConfigError, "n_query is 0; expected at least 1"),
        (lambda: WINDOW.count_nonzero(3, "4"), ra.InvalidConfigError, "n_key is '4'; expected an integer"),
        (lambda: PAIRS.plan(3, 9), ra.OutOfBoundsError, r"COOMask.pairs holds \(3, 2\); expected less than 3 there"),
        (lambda: PAIRS.to_dense(9, 2), ra.OutOfBoundsError, r"\(3, 2\); expected less than 2 there, from n_key = 2"),
        (
            lambda: ra.BlockSparseMask(4, [(0, 2)]).count_nonzero(8),
            ra.OutOfBoundsError,
            r"active_blocks holds \(0, 2\); expected less than 2 there, from n_key = 8 in blocks of 4",
        ),
        (lambda: ra.CSRMask([0, 1], [4]).plan(2, 9), ra.DimensionMismatchError, r"with n_query = 2"),
        (lambda: ra.CSRMask([0, 1], [4]).plan(1, 4), ra.OutOfBoundsError, "CSRMask.indices holds 4; expected 0 to"),
        (lambda: (WINDOW & PAIRS).plan(3, 9), ra.OutOfBoundsError, "COOMask.pairs"),
        (lambda: (WINDOW | (PAIRS | PAIRS)).to_dense(3, 9), ra.OutOfBoundsError, "COOMask.pairs"),
        (lambda: ra.AttentionMask.from_config([]), ra.UnsupportedError, "config is list; expected a mapping"),
        (lambda: ra.AttentionMask.from_config({}), ra.InvalidConfigError, "type is None; known: "),
        (
            lambda: ra.AttentionMask.from_config({"type": "windw"}),
            ra.InvalidConfigError,
            "type is 'windw'; did you mean 'window'",
        ),
        (
            lambda: ra.AttentionMask.from_config({"type": "window", "windows": 2}),
            ra.InvalidConfigError,
            "WindowMask has no setting 'windows'; did you mean 'window'",
        ),
        (
            lambda: ra.AttentionMask.from_config({"type": "coo"}),
            ra.InvalidConfigError,
            "COOMask needs the setting 'pairs'",
        ),
        (
            lambda: ra.AttentionMask.from_config({"type": "and", "masks": {"type": "causal"}}),
            ra.UnsupportedError,
            "masks is dict; expected a list of configs",
        ),
    ],
)
def test_bad_input_is_named(make: Callable[[], Any], error: type[ra.AttentionError], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


# --- the bridge


def test_a_mask_crosses_the_bridge_as_its_config() -> None:
    class Taker:
        def take(self, mask: ra.AttentionMask) -> dict[str, Any]:
            return {"mask": mask, "kind": type(mask).__name__, "count": mask.count_nonzero(3)}

    bridge._objects[-1] = Taker()
    pairs = {"$array": np.array([0, 1, 2, 2], np.int32), "shape": [2, 2], "dtype": "int32"}
    sent = {"type": "or", "masks": [{"type": "coo", "pairs": pairs}, {"type": "causal"}]}
    answer = bridge.dispatch("call", {"handle": -1, "method": "take", "args": [], "kwargs": {"mask": sent}})
    wrong = {"handle": -1, "method": "take", "args": [], "kwargs": {"mask": {"type": "cusal"}}}
    refused = bridge.dispatch("call", wrong)
    bridge.release(-1)
    assert answer["value"] == {
        "mask": {"type": "or", "masks": [{"type": "coo", "pairs": [[0, 1], [2, 2]]}, {"type": "causal"}]},
        "kind": "UnionMask",
        "count": 7,
    }
    assert refused["error"]["class"] == "InvalidConfigError"
    assert "did you mean 'causal'" in refused["error"]["message"]


def test_a_mask_is_an_object_for_javascript_too() -> None:
    created = bridge.create("ruvector_attention:WindowMask", {"window": 1})
    assert bridge.call(created["handle"], "count_nonzero", [4], {}) == 10
    assert bridge.release(created["handle"])
