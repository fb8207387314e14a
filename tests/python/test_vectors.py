"""The golden vectors: inputs, settings and what an independent library gives for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra

FILES = sorted((Path(__file__).parents[1] / "vectors").glob("*.json"))
CASES = [case for path in FILES for case in json.loads(path.read_text())["cases"]]


def array(given: dict[str, Any]) -> npt.NDArray[Any]:
    return np.array(given["data"], given["dtype"]).reshape(given["shape"])


def option(given: Any) -> Any:
    return array(given) if isinstance(given, dict) and "data" in given else given


def trainee(case: dict[str, Any]) -> ra.Attention:
    """The mechanism with the parameters of the case."""
    attention = ra.create(case["mechanism"], **case["config"])
    if "parameters" in case:
        attention.load_state_dict({name: array(given) for name, given in case["parameters"].items()})
    return attention


def inputs_of(case: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    return {name: array(given) for name, given in case["inputs"].items()}


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    return {name: option(given) for name, given in case["options"].items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['mechanism']}-{case['name']}")
def test_a_golden_case(case: dict[str, Any]) -> None:
    attention, inputs, options = trainee(case), inputs_of(case), options_of(case)
    found = {"output": attention(**inputs, **options)}
    if "attention_weights" in case["expected"]:
        weighed = {name: value for name, value in inputs.items() if name != "values"}
        found["attention_weights"] = attention.attention_weights(**weighed, **options)
    for name, given in case["expected"].items():
        expected = array(given).astype(np.float64)
        assert found[name].shape == expected.shape
        error = np.abs(found[name] - expected).max()
        assert error <= case["tolerance"] * (1 + np.abs(expected).max()), f"{name}, from {case['source']}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['mechanism']}-{case['name']}")
def test_gradients_of_a_golden_case(case: dict[str, Any]) -> None:
    attention = trainee(case)
    attention(**inputs_of(case), **options_of(case), training=True)
    expected = {name: array(given) for name, given in case["gradients"].items()}
    found = attention.backward(expected.pop("grad_output"))
    assert set(expected) >= {name for name, given in case["inputs"].items() if given["dtype"] == "float32"}
    for name, gradient in found.items():
        exact = expected.pop(name, np.zeros(gradient.shape)).astype(np.float64)  # none: the output does not hang on it
        error = np.abs(gradient.reshape(exact.shape) - exact).max()
        assert error <= case["gradient_tolerance"] * (1 + np.abs(exact).max()), f"{name}, from {case['source']}"
    assert not expected, "backward has no such gradient"


def test_every_mechanism_has_golden_cases_from_an_independent_source() -> None:
    independent = {case["mechanism"] for case in CASES if case["source"].startswith("torch")}
    assert independent == set(ra.mechanisms())
