"""Parts of training behind the bridge to JavaScript: created, called and released as mechanisms are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ruvector_attention import bridge, training


def wire(*values: float) -> dict[str, Any]:
    """An array as JavaScript sends it."""
    return {"$array": np.array(values, np.float32), "shape": [len(values)], "dtype": "float32"}


def answer(verb: str, **arguments: Any) -> Any:
    reply = bridge.dispatch(verb, arguments)
    assert "error" not in reply, reply["error"]
    return reply["value"]


def error(verb: str, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = bridge.dispatch(verb, arguments)["error"]
    return found


def test_every_part_is_listed_created_and_released() -> None:
    needed = {"curriculum": {"total_steps": 8}, "multi_objective": {"weights": [1.0, 2.0]}}
    listed = answer("describe")["training"]
    assert [entry["name"] for entry in listed] == training.parts()
    for entry in listed:
        created = answer("create", name=entry["name"], config=needed.get(entry["name"], {}))
        assert created["class"] == entry["class"]
        assert created["config"]["type"] == entry["name"]
        assert answer("release", handle=created["handle"])
        assert (
            error("call", handle=created["handle"], method="reset", args=[], kwargs={})["class"] == "OutOfBoundsError"
        )


def test_arrays_go_through_by_name() -> None:
    handle = answer("create", name="sgd", config={"learning_rate": 0.5})["handle"]
    parameters, gradients = {"w": wire(1, 2), "b": wire(3)}, {"w": wire(1, 1), "b": wire(2)}
    after = answer("call", handle=handle, method="updated", args=[parameters, gradients], kwargs={})
    assert after["w"]["$array"].tolist() == [0.5, 1.5]
    assert (after["b"]["shape"], after["b"]["dtype"]) == ([1], "float32")
    # a mapping that JavaScript could only write where keywords stand is the argument that is missing
    answer("call", handle=handle, method="add", args=[{"w": wire(1, 2)}], kwargs={"learning_rate": 1.0})
    answer("call", handle=handle, method="step", args=[], kwargs={"w": wire(1, 0)})
    held = answer("call", handle=handle, method="parameters", args=[], kwargs={})
    assert held["w"]["$array"].tolist() == [0.0, 2.0]
    answer("release", handle=handle)


def test_a_loss_answers_value_and_gradients_by_name() -> None:
    handle = answer("create", name="triplet", config={})["handle"]
    points = [wire(0, 0), wire(3, 4), wire(0, 5)]
    found = answer("call", handle=handle, method="compute_with_gradients", args=points, kwargs={})
    assert found["value"] == 1.0
    assert found["gradients"]["positive"]["$array"].tolist() == pytest.approx([0.6, 0.8], abs=1e-6)
    assert answer("call", handle=handle, method="compute", args=points, kwargs={}) == 1.0
    answer("release", handle=handle)


def test_a_stage_has_the_names_of_javascript() -> None:
    handle = answer("create", name="curriculum", config={"stages": [{"name": "a", "duration": 2}]})["handle"]
    stage = answer("call", handle=handle, method="step", args=[], kwargs={})
    assert stage == {"name": "a", "duration": 2, "difficulty": 1.0, "temperature": 1.0, "negativeCount": 10}
    assert answer("call", handle=handle, method="status", args=[], kwargs={})["value"] == stage
    answer("release", handle=handle)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adm", "unknown part of training 'adm'; did you mean 'adam'?"),
        ("flsh", "unknown mechanism 'flsh'; did you mean 'flash'?"),
    ],
)
def test_a_name_that_is_not_known_is_told_the_nearest(name: str, message: str) -> None:
    found = error("create", name=name, config={})
    assert (found["class"], found["message"]) == ("InvalidConfigError", message)
