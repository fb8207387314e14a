"""Every argument and every setting of every mechanism, given what it cannot be: a typed error that names it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzzing import corrupt  # noqa: E402
from fuzzing.arguments import OPTIONS, described, parameters_of, settings_names  # noqa: E402

MECHANISMS = ra.mechanisms()
SIZES = {"n_query": 3, "n_key": 4, "dim_value": 6, "n_node": 4, "ends": 2, "n_edges": 6, "n_latent": 3, "n_item": 4}
SETTINGS = {"dim": 6, "num_heads": 2, "edge_dim": 3, "num_features": 4}
#: Bad for a number of a setting, whatever its range.
NO_NUMBERS: tuple[Any, ...] = ("6", b"6", None, [6], {}, float("nan"), float("inf"), True, 1j, object(), np.ones(2))
BEYOND_MEMORY = 2**45


def made(name: str, **settings: Any) -> ra.Attention:
    common = {key: value for key, value in SETTINGS.items() if key in settings_names(name)}
    return ra.create(name, **{**common, **settings})


def inputs_of(attention: ra.Attention) -> dict[str, Any]:
    """Good ones, all that there are."""
    random = np.random.default_rng(0)
    sizes = {**SIZES, **attention._fixed_axes()}
    inputs: dict[str, Any] = {}
    for spec in described()[attention.name]["inputs"]:
        shape = [sizes[axis] for axis in spec["axes"] if axis != "..."]
        if spec["dtype"] == "int64":
            inputs[spec["name"]] = random.integers(0, sizes["n_node"], shape)
        else:
            inputs[spec["name"]] = random.standard_normal(shape).astype(np.float32)
    return inputs


def bad_inputs(attention: ra.Attention, name: str, good: Any) -> list[corrupt.Bad]:
    spec = next(spec for spec in described()[attention.name]["inputs"] if spec["name"] == name)
    if name == "levels":
        return list(corrupt.levels(good))
    if spec["dtype"] == "int64":
        return list(corrupt.nodes_of_edges(good, SIZES["n_node"]))
    found = list(corrupt.numbers(good))
    if spec["axes"][-1] in attention._fixed_axes():
        found += corrupt.fixed_numbers(good)
    if not spec["optional"]:
        found.append(corrupt.Bad(None, ra.AttentionError, "None"))
    return found


def complaint(call: Any, argument: str, bad: corrupt.Bad) -> str | None:
    """What is wrong with how a call refuses an argument."""
    shown = f"{argument} = {bad.says}"
    try:
        call()
    except ra.AttentionError as error:
        named = argument in str(error) or type(bad.value).__name__ in str(error)
        if not named:
            return f"{shown}: the error does not name it: {error}"
        return None if isinstance(error, bad.errors) else f"{shown}: {error!r}"
    except Exception as error:  # noqa: BLE001 - any other exception is the complaint
        return f"{shown}: {error!r}"
    return f"{shown}: no error"


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_input_that_is_bad_is_named(name: str) -> None:
    attention = made(name)
    good = inputs_of(attention)
    complaints = []
    for argument, value in good.items():
        for bad in bad_inputs(attention, argument, value):
            given = {**good, argument: bad.value}
            complaints.append(complaint(lambda given=given: attention.forward(**given), argument, bad))
            complaints.append(complaint(lambda given=given: attention.forward_batch([given]), argument, bad))
            if argument != "values":
                weights = {key: value for key, value in given.items() if key != "values"}
                method = attention.attention_weights  # type: ignore[attr-defined]
                complaints.append(complaint(lambda given=weights, method=method: method(**given), argument, bad))
    assert [text for text in complaints if text] == []


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_option_that_is_bad_is_named(name: str) -> None:
    attention = made(name)
    good = inputs_of(attention)
    sizes = {**SIZES, **({"n_query": SIZES["n_key"]} if "n_query" not in _axes(name) else {})}
    complaints, options = [], [p.name for p in parameters_of(attention.forward) if p.kind is p.KEYWORD_ONLY]
    for option in options:
        tried = list(corrupt.option(option, (sizes["n_query"], sizes["n_key"])))
        assert tried or option == "out", f"no bad value of {option} is known"
        for bad in tried:
            given = {option: bad.value}
            complaints.append(complaint(lambda given=given: attention.forward(**good, **given), option, bad))
            method = attention.attention_weights  # type: ignore[attr-defined]
            if option in {p.name for p in parameters_of(method)}:
                inputs = {key: value for key, value in good.items() if key != "values"}
                complaints.append(complaint(lambda i=inputs, g=given, method=method: method(**i, **g), option, bad))
    assert [text for text in complaints if text] == []


def _axes(name: str) -> set[str]:
    return {axis for spec in described()[name]["inputs"] for axis in spec["axes"]}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_setting_that_is_bad_is_named(name: str) -> None:
    complaints = []
    for entry in described()[name]["config"]:
        kind, optional = entry["type"].removesuffix(" | None"), entry["type"].endswith("None")
        bad: list[Any] = [value for value in NO_NUMBERS if not (value is None and optional)]
        if kind == "bool":
            bad = [value for value in bad if value is not True] + [0, 1]
        elif kind == "str":
            bad = [value for value in bad if not isinstance(value, str)] + [
                6,
                *(["strange"] if "choices" in entry else []),
            ]
        else:
            bad += [limit - 1 for limit in [entry.get("at_least")] if limit is not None]
            bad += [limit for limit in [entry.get("above"), entry.get("below")] if limit is not None]
            bad += [limit + 1 for limit in [entry.get("at_most")] if limit is not None]
            bad += [1e300, 1e-300, -1e300] if kind == "float" else [2.5, -(10**40)]
        for value in bad:
            given = {entry["name"]: value}
            case = corrupt.Bad(value, ra.InvalidConfigError, repr(value))
            complaints.append(complaint(lambda given=given: made(name, **given), entry["name"], case))
    assert [text for text in complaints if text] == []


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("size", [BEYOND_MEMORY, 2**62, 2**70])
def test_sizes_beyond_memory_are_told(name: str, size: int) -> None:
    """A size either is of no matter, as that of an array that nobody makes, or an error says which object it was."""
    complaints = []
    for entry in described()[name]["config"]:
        if entry["type"].startswith("int") and entry["name"] not in ("seed", "num_heads", "num_kv_heads"):
            try:
                made(name, **{entry["name"]: size})
            except (ra.InputTooLargeError, ra.InvalidConfigError) as error:
                if entry["name"] not in str(error):
                    complaints.append(f"{entry['name']}: {error}")
    assert complaints == []


@pytest.mark.parametrize(
    "name", [name for name in MECHANISMS if "out" in str(parameters_of(ra.registry.get(name).forward))]
)
def test_an_output_that_cannot_take_the_result_is_named(name: str) -> None:
    attention = made(name)
    good = inputs_of(attention)
    shape = attention.forward(**good).shape
    read_only = np.zeros(shape, np.float32)
    read_only.flags.writeable = False
    memory = np.zeros(4 * np.prod(shape) + 1, np.uint8)
    shared = next(value for value in good.values() if value.size >= np.prod(shape))
    cases = {
        "a list": (np.zeros(shape).tolist(), ra.UnsupportedError),
        "float64": (np.zeros(shape), ra.UnsupportedError),
        "big-endian": (np.zeros(shape, ">f4"), ra.UnsupportedError),
        "a wrong shape": (np.zeros((*shape[:-1], shape[-1] + 1), np.float32), ra.DimensionMismatchError),
        "one axis more": (np.zeros((1, *shape), np.float32), ra.DimensionMismatchError),
        "strided": (np.zeros((shape[0], 2 * shape[1]), np.float32)[:, ::2], ra.UnsupportedError),
        "Fortran's order": (np.zeros(shape, np.float32, "F"), ra.UnsupportedError),
        "read-only": (read_only, ra.UnsupportedError),
        "misaligned": (memory[1:].view(np.float32).reshape(shape), ra.UnsupportedError),
        "an input": (shared.reshape(-1)[: np.prod(shape)].reshape(shape), ra.UnsupportedError),
    }
    for says, (out, error) in cases.items():
        with pytest.raises(error, match="out "):
            attention.forward(**good, out=out)
        kept = {key: value.copy() for key, value in good.items()}
        assert all(np.array_equal(good[key], kept[key]) for key in good), says
    with pytest.raises(ra.UnsupportedError, match="out came with training"):
        attention.forward(**good, out=np.zeros(shape, np.float32), training=True)


def test_every_option_of_every_mechanism_is_fuzzed() -> None:
    from fuzzing.arguments import unknown_options

    assert unknown_options() == {}
    assert {"mask", "bias", "key_lengths", "causal"} <= set(OPTIONS)
