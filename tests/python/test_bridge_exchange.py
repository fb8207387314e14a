"""The way that a request of JavaScript's takes in Pyodide: JSON, with arrays at places in memory."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import oracle
import pytest

from ruvector_attention import bridge

X = np.random.default_rng(5).standard_normal((6, 8)).astype(np.float32)


class Keeper:
    def keep(self, array: Any) -> None:
        self.kept = array

    def echo(self, value: Any) -> Any:
        return value

    def refuse(self, array: Any) -> None:
        raise ValueError(str(array.sum()))


class Page:
    """What JavaScript does: one room for all requests, until a reply says that something keeps an array in it."""

    def __init__(self) -> None:
        self.address = self.size = self.rooms = 0

    def ask(self, verb: str, **arguments: Any) -> Any:
        arrays: list[np.ndarray[Any, Any]] = []
        text = json.dumps({"verb": verb, "args": arguments}, default=lambda array: self.placed(array, arrays))
        size = sum(map(self.aligned, arrays))
        if size > self.size:
            self.address, self.size, self.rooms = bridge.room(size), size, self.rooms + 1
            assert self.address % bridge.ALIGNMENT == 0
        address = self.address
        for array in arrays:
            ctypes.memmove(address, array.tobytes(), array.nbytes)
            address += self.aligned(array)
        reply = json.loads(bridge.exchange(text))
        if reply.pop("keeps", False):
            self.size = 0
        assert set(reply) <= {"value", "error"}
        return self.read(reply["value"]) if "value" in reply else reply["error"]

    @staticmethod
    def aligned(array: np.ndarray[Any, Any]) -> int:
        return -(-array.nbytes // bridge.ALIGNMENT) * bridge.ALIGNMENT

    def placed(self, array: np.ndarray[Any, Any], arrays: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
        begin = sum(map(self.aligned, arrays))
        arrays.append(array)
        return {"$array": begin, "shape": list(array.shape), "dtype": array.dtype.name}

    @staticmethod
    def read(value: Any) -> Any:
        if not (isinstance(value, dict) and "$array" in value):
            return value
        dtype = np.dtype("uint8" if value["dtype"] == "bool" else value["dtype"])
        size = math.prod(value["shape"])
        return np.frombuffer(ctypes.string_at(value["$array"], size * dtype.itemsize), dtype).reshape(value["shape"])


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def keeper(page: Page) -> Iterator[int]:
    handle = page.ask("create", name=f"{__name__}:Keeper", config={})["handle"]
    yield handle
    assert page.ask("release", handle=handle) is True


def test_calls_one_after_the_other_take_the_same_room(page: Page) -> None:
    handle = page.ask("create", name="scaled_dot_product", config={"dim": 8})["handle"]
    for factor in (1, 2, 3):
        found = page.ask("call", handle=handle, method="forward", args=[X * factor, X, X], kwargs={})
        oracle.assert_close(found, oracle.attention(X * factor, X, X)[0])
    mask = np.arange(6) != 1
    found = page.ask("call", handle=handle, method="forward", args=[X, X, X], kwargs={"mask": mask})
    oracle.assert_close(found, oracle.attention(X, X, X, mask=mask)[0])
    assert page.rooms == 2  # the mask wanted some more
    page.ask("release", handle=handle)


def test_what_is_kept_keeps_its_room(page: Page, keeper: int) -> None:
    page.ask("call", handle=keeper, method="keep", args=[X], kwargs={})
    for factor in (2, 3):
        echoed = page.ask("call", handle=keeper, method="echo", args=[X * factor], kwargs={})
        np.testing.assert_array_equal(echoed, X * factor)
    np.testing.assert_array_equal(bridge._objects[keeper].kept, X)
    part = page.ask("call", handle=keeper, method="keep", args=[[X[:1], X[1:]]], kwargs={})
    assert part is None
    bridge._objects[keeper].kept = bridge._objects[keeper].kept[1][2:, ::2]  # a view of a view
    page.ask("call", handle=keeper, method="echo", args=[X * 5], kwargs={})
    np.testing.assert_array_equal(bridge._objects[keeper].kept, X[3:, ::2])


def test_a_failure_keeps_nothing(page: Page, keeper: int) -> None:
    for factor in (1, 2):
        error = page.ask("call", handle=keeper, method="refuse", args=[X * factor], kwargs={})
        assert (error["class"], error["message"]) == ("ValueError", str((X * factor).sum()))
    assert page.rooms == 1


def test_a_large_room_goes_with_its_request(page: Page, keeper: int) -> None:
    large = np.zeros(bridge.KEPT // 4 + 1, np.float32)
    page.ask("call", handle=keeper, method="keep", args=[X], kwargs={})
    for _ in range(2):
        assert page.ask("call", handle=keeper, method="keep", args=[large], kwargs={}) is None
    bridge._objects[keeper].kept = None
    assert bridge._room is None
    assert page.size == 0


def test_results_stay_until_they_are_left(page: Page, keeper: int) -> None:
    assert page.ask("call", handle=keeper, method="echo", args=[X > 0], kwargs={}).tolist() == (X > 0).tolist()
    assert len(bridge._leaving) == 1
    bridge.leave()
    assert not bridge._leaving


def test_a_room_that_memory_does_not_hold_has_no_address() -> None:
    assert bridge.room(2**62) == 0
    assert bridge._room is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks(page: Page, keeper: int, value: float) -> None:
    sent = page.ask("call", handle=keeper, method="echo", args=[{"$number": str(value)}], kwargs={})
    assert sent == {"$number": str(value)}


def test_whole_numbers_that_javascript_lacks(page: Page, keeper: int) -> None:
    assert page.ask("call", handle=keeper, method="echo", args=[2**53 - 1], kwargs={}) == 2**53 - 1
    assert page.ask("call", handle=keeper, method="echo", args=[-(2**60)], kwargs={}) == {"$number": str(-(2**60))}


def test_what_a_method_does_to_a_list_is_not_seen_by_the_next_call(page: Page, keeper: int) -> None:
    for _ in range(2):
        assert page.ask("call", handle=keeper, method="echo", args=[[1, {"a": [2]}]], kwargs={}) == [1, {"a": [2]}]
        page.ask("call", handle=keeper, method="keep", args=[[1, {"a": [2]}]], kwargs={})
        bridge._objects[keeper].kept[1]["a"].append(3)
        bridge._objects[keeper].kept.clear()
