"""The Pyodide wheel in a real interpreter: which kernels run, that they are right, and that errors have names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.json"))

CHECK_VECTORS = """
import json
import numpy as np
import ruvector_attention as ra

def array(given):
    return np.array(given["data"], given["dtype"]).reshape(given["shape"])

def option(given):
    return array(given) if isinstance(given, dict) and "data" in given else given

def worst(case):
    '''The largest error of all that is expected, in units of the tolerance.'''
    attention = ra.create(case["mechanism"], **case["config"])
    if "parameters" in case:
        attention.load_state_dict({name: array(given) for name, given in case["parameters"].items()})
    inputs = {name: array(given) for name, given in case["inputs"].items()}
    options = {name: option(given) for name, given in case["options"].items()}
    found = {"output": attention(**inputs, **options)}
    if "attention_weights" in case["expected"]:
        weighed = {name: value for name, value in inputs.items() if name != "values"}
        found["attention_weights"] = attention.attention_weights(**weighed, **options)
    errors = []
    for name, given in case["expected"].items():
        expected = array(given).astype(float)
        assert found[name].shape == expected.shape, (case["name"], name, found[name].shape)
        errors.append(np.abs(found[name] - expected).max() / (case["tolerance"] * (1 + np.abs(expected).max())))
    return np.max(errors)  # NaN wins
"""


def test_the_best_kernels_of_the_engine_run(pyodide: Any, request: pytest.FixtureRequest) -> None:
    found = pyodide.run("import ruvector_attention as ra; [ra.backend(), *ra.backends()]")
    # Node 20 has no relaxed SIMD; Chromium has.
    best = "wasm-simd128" if "node" in request.config.option.runtime else "wasm-relaxed-simd"
    assert found[0] == best
    assert {"wasm-simd128", "wasm-scalar", "numpy"} <= set(found[1:])


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_backend_gives_the_golden_numbers(pyodide: Any, path: Path) -> None:
    cases = json.loads(path.read_text())["cases"]
    assert cases
    errors = pyodide.run(
        f"""
        exec({CHECK_VECTORS!r})
        found = {{}}
        before = ra.backend()
        for name in ra.backends():
            ra.use_backend(name)
            for case in json.loads({json.dumps(cases)!r}):
                found[f"{{name}} {{case['name']}}"] = float(worst(case))
        ra.use_backend(before)
        json.dumps(found)
        """
    )
    too_large = {case: error for case, error in json.loads(errors).items() if not error <= 1}
    assert not too_large, "errors in units of the tolerance"


def test_gradients_equal_the_numpy_bodies(pyodide: Any) -> None:
    largest = pyodide.run(
        """
        import numpy as np
        import ruvector_attention as ra
        random = np.random.default_rng(0)
        inputs = [random.standard_normal((2, n, 24)).astype("f") for n in (50, 130, 130)]
        grad = random.standard_normal((2, 50, 24)).astype("f")
        attention = ra.MultiHeadAttention(dim=24, num_heads=3, seed=1)

        def gradients():
            attention(*inputs, training=True)
            return attention.backward(grad)

        before = ra.backend()
        ra.use_backend("numpy")
        expected = gradients()
        largest = 0.0
        for name in ra.backends()[:-1]:
            ra.use_backend(name)
            for key, gradient in gradients().items():
                size = max(np.abs(expected[key]).max(), 1.0)
                largest = max(largest, float(np.abs(gradient - expected[key]).max() / size))
        ra.use_backend(before)
        largest
        """
    )
    assert largest <= 2e-5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ("attention(np.ones((2, 3)), keys, keys)", "DimensionMismatchError", "query is (2, 3); expected"),
        ("attention(keys, keys, np.ones((6, 4)))", "DimensionMismatchError", "values is (6, 4); expected"),
        ("attention(keys, keys, keys * np.nan)", "NumericalInstabilityError", "values holds nan at index (0, 0)"),
        ("attention(np.ones((0, 4)), keys, keys)", "EmptyInputError", "query is (0, 4), without elements"),
        ("attention(keys.astype(object), keys, keys)", "UnsupportedError", "query"),
        ("attention(keys, keys, keys, mask=np.ones((9, 9), bool))", "DimensionMismatchError", "mask is (9, 9)"),
        ("ra.create('flsh', dim=4)", "InvalidConfigError", "did you mean 'flash'?"),
    ],
)
def test_bad_input_gives_a_typed_sentence(pyodide: Any, call: str, error: str, words: str) -> None:
    found = pyodide.run(
        f"""
        import numpy as np
        import ruvector_attention as ra
        attention, keys = ra.ScaledDotProductAttention(dim=4), np.ones((5, 4))
        try:
            {call}
            found = ["none", ""]
        except ra.AttentionError as raised:
            found = [type(raised).__name__, str(raised)]
        found
        """
    )
    assert found[0] == error
    assert words in found[1]


def test_digits_are_read_as_well_as_natively(pyodide: Any) -> None:
    accuracy = pyodide.run(
        """
        import numpy as np
        import ruvector_attention as ra
        stored, drawn = ra.datasets.load_digits().split(1500, seed=0)
        attention = ra.ScaledDotProductAttention(dim=64, normalize=True, scale=1.0, temperature=0.01)
        read = attention(drawn.images, stored.images, np.eye(10)[stored.labels]).argmax(axis=1)
        float((read == drawn.labels).mean())
        """
    )
    assert accuracy >= 0.99
