"""The worker's part of the table of mechanisms: errors of the backend in use on the golden vectors, and of gradients.

The vectors (tests/vectors) hold what independent libraries give in float64; a case comes whole, in the request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvector_attention as ra

Case = dict[str, Any]
Array = NDArray[Any]

GRID = 2.0**-12  # numbers on it, moved by a step on it, are still float32 numbers: no step is rounded
STEPS = tuple(2.0**-k for k in range(2, 10))
ENTRIES = 8  # of each array, that are moved
# Of the largest gradient: estimates that are farther apart, and differences of the last two steps that are, are of a
# place with an edge or a jump (ReLU, a choice of experts).
AGREED, SETTLED = 1e-4, 2e-4


def golden_error(case: Case) -> float:
    """The largest error of output and weights, as the vectors' tolerance is meant: relative to 1 + max |expected|."""
    attention, inputs, options = _opened(case)
    found = {"output": attention(**inputs, **options)}
    if "attention_weights" in case["expected"]:
        weighed = {name: value for name, value in inputs.items() if name != "values"}
        found["attention_weights"] = attention.attention_weights(**weighed, **options)
    return max(_apart(found[name], given) for name, given in case["expected"].items())


def autograd_error(case: Case) -> float:
    """The same of the gradients, which are those of torch's autograd in float64."""
    attention, inputs, options = _opened(case)
    attention(**inputs, **options, training=True)
    expected = dict(case["gradients"])
    found = attention.backward(_array(expected.pop("grad_output")))
    return max(_apart(found[name], given) for name, given in expected.items())


def _apart(found: Array, given: Case) -> float:
    expected = np.array(given["data"], np.float64).reshape(given["shape"])  # all digits
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max()) / (1 + float(np.abs(expected).max()))


def difference_error(case: Case) -> float:
    """max |gradient - difference| / max |gradient| of sum(output * g), over some entries of every input and parameter.

    The differences are central, summed in float64 and extrapolated (Ridders, 1982); what is left of their own error,
    mostly the rounding of float32 outputs, is some 1e-5. Where the estimates say that the function is not smooth, the
    entry is left out; not a number when most are.
    """
    attention, inputs, options = _opened(case)
    random = np.random.default_rng(1)
    moved = {name: array for name, array in {**inputs, **attention.parameters()}.items() if array.dtype == np.float32}
    for array in moved.values():
        array[...] = np.round(array / GRID) * GRID
    shape = attention(**inputs, **options).shape
    weight = (np.round(random.standard_normal(shape) / GRID) * GRID).astype(np.float32)
    attention(**inputs, **options, training=True)
    gradients = attention.backward(weight)

    def loss() -> float:
        return float((attention(**inputs, **options, training=True).astype(np.float64) * weight).sum())

    largest = max(float(np.abs(gradients[name]).max()) for name in moved)
    apart, left_out = [0.0], 0
    for name, array in moved.items():
        for at in random.permutation(array.size)[:ENTRIES].tolist():
            index = np.unravel_index(at, array.shape)
            derivative, error, unsettled = _derivative(loss, array, index)
            if error <= AGREED * largest and unsettled <= SETTLED * largest:
                apart.append(abs(float(gradients[name][index]) - derivative) / largest)
            else:
                left_out += 1
    return max(apart) if left_out < len(apart) else float("nan")


def _derivative(loss: Callable[[], float], array: Array, index: tuple[Any, ...]) -> tuple[float, float, float]:
    """The derivative of `loss` by one entry of `array`, its own error, and how far the last two differences are apart.

    It is extrapolated from differences to step 0; of all entries of the tableau the one is taken whose neighbours
    differ least from it.
    """
    kept = array[index]

    def central(step: float) -> float:
        sides = []
        for sign in (1, -1):
            array[index] = kept + sign * step
            sides.append(loss())
        array[index] = kept
        return (sides[0] - sides[1]) / (2 * step)

    best, least = 0.0, float("inf")
    row: list[float] = []
    above: list[float] = []
    for step in STEPS:
        above, row = row, [central(step)]
        for order, neighbour in enumerate(above, 1):
            factor = 4.0**order
            row.append((factor * row[-1] - neighbour) / (factor - 1))
            error = max(abs(row[-1] - row[-2]), abs(row[-1] - neighbour))
            if error < least:
                best, least = row[-1], error
    return best, least, abs(row[0] - above[0])


def of_common_scores(cases: list[Case]) -> list[Case]:
    """Those whose gradients are held to the common tolerance; the scores of others are so large that float32 shows."""
    least = min(case["gradient_tolerance"] for case in cases)
    return [case for case in cases if case["gradient_tolerance"] == least]


def few_of(cases: list[Case], most: int = 3) -> list[Case]:
    """The first cases whose numbers are of common size: elsewhere a float32 output is too coarse for differences."""

    def is_common(case: Case) -> bool:
        arrays = [_array(given) for given in case["inputs"].values() if given["dtype"] == "float32"]
        return all(np.abs(array).max() < 8 and array.shape[-2] <= 60 for array in arrays)

    return [case for case in cases if is_common(case)][:most]


def _opened(case: Case) -> tuple[Any, dict[str, Array], dict[str, Any]]:
    attention = ra.create(case["mechanism"], **case["config"])
    if "parameters" in case:
        attention.load_state_dict({name: _array(given) for name, given in case["parameters"].items()})
    inputs = {name: _array(given) for name, given in case["inputs"].items()}
    options = {name: _option(given) for name, given in case["options"].items()}
    return attention, inputs, options


def _array(given: Case) -> Array:
    return np.array(given["data"], given["dtype"]).reshape(given["shape"])


def _option(given: Any) -> Any:
    return _array(given) if isinstance(given, dict) and "data" in given else given
