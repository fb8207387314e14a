"""What every registered mechanism owes its users, whatever it computes."""

from __future__ import annotations

import doctest
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import registry

MECHANISMS = ra.mechanisms()
SETTINGS = {"dim": 12, "num_heads": 3, "edge_dim": 4, "seed": 5}
SIZES = {"n_query": 6, "n_key": 9, "dim": 12, "kdim": 12, "vdim": 12, "dim_value": 6}
SIZES |= {"n_node": 9, "ends": 2, "n_edges": 14, "edge_dim": 4, "dim_out": 12}
SIZES |= {"num_features": 4, "n_latent": 20, "n_item": 9}
SCALES = {"curvature", "hyperbolic_curvature", "theta", "scaling", "window"}  # settings in some unit
CUT = ("n_query", "n_key", "n_edges", "n_item")  # axes whose sizes are a caller's to choose


def made(name: str, **settings: Any) -> ra.Attention:
    common = {key: value for key, value in SETTINGS.items() if has_setting(name, key)}
    return ra.create(name, **common, **settings)


def has_setting(name: str, setting: str) -> bool:
    return any(entry["name"] == setting for entry in described(name)["config"])


def has_option(name: str, option: str) -> bool:
    return any(entry["name"] == option for entry in described(name)["options"])


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in ra.describe()["mechanisms"] if entry["name"] == name)
    return found


def inputs_of(name: str, *lead: int) -> dict[str, npt.NDArray[Any]]:
    """An array for every input that the mechanism says it takes; integers are numbers of nodes."""
    random = np.random.default_rng(len(name))
    inputs: dict[str, npt.NDArray[Any]] = {}
    for entry in described(name)["inputs"]:
        shape = [SIZES[axis] for axis in entry["axes"] if axis != "..."]
        if entry["dtype"] == "int64":
            inputs[entry["name"]] = random.integers(0, SIZES["n_node"], shape)
        else:
            inputs[entry["name"]] = random.standard_normal((*lead, *shape)).astype(np.float32)
    return inputs


def numbers_of(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """The inputs that are real numbers."""
    return {key: array for key, array in inputs_of(name).items() if array.dtype == np.float32}


def shortened(name: str) -> dict[str, npt.NDArray[Any]]:
    """The inputs with fewer rows."""
    inputs = inputs_of(name)
    for entry in described(name)["inputs"]:
        axes = [axis for axis in entry["axes"] if axis != "..."]
        inputs[entry["name"]] = inputs[entry["name"]][tuple(slice(3 if axis in CUT else None) for axis in axes)]
    return inputs


@pytest.fixture(params=MECHANISMS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_describes_itself_in_plain_json(name: str) -> None:
    entry = json.loads(json.dumps(described(name)))
    assert entry["summary"]
    assert entry["class"]
    assert {"forward", "attention_weights", "backward"} <= set(entry["methods"])
    assert all(setting["doc"] for setting in entry["config"])
    assert getattr(ra, entry["class"]).name == name


def test_its_docstring_says_all_that_a_user_must_know(name: str) -> None:
    """The formula, shapes, units where a setting has one, parameters, errors, the paper, an example that runs."""
    made_by = registry.get(name)
    text = inspect.cleandoc(made_by.__dict__["__doc__"] or "")  # its own, not one that it inherits
    assert "=" in text.split("\n\n")[0], "the first paragraph holds no formula"
    sections = {"Shapes:": "->.*float32", "Parameters:": r"\w", "Raises:": "DimensionMismatchError.*UnsupportedError"}
    if SCALES & {setting["name"] for setting in described(name)["config"]}:
        sections["Units:"] = r"\w"
    for section, holds in sections.items():
        found = re.search(rf"^{section}((?:.|\n)*?)(?=^\S|\Z)", text, re.MULTILINE)
        assert found, f"the docstring lacks {section}"
        assert re.search(holds, found[1], re.DOTALL), f"{section} says no {holds}"
    for parameter in made(name).parameters():
        if not parameter.startswith("experts."):
            last = parameter.split(".")[-1]
            words = re.split(r"_(?=weight$|bias$)", last)
            assert last in text or all(word in text for word in words), f"{parameter} is not among the parameters"
    assert re.search(r"\d{4}", described(name)["paper"]), "no paper with its year"
    examples = doctest.DocTestParser().get_examples(text)
    assert any(example.want for example in examples), "no example that shows what comes out"


def test_its_output_has_the_shape_it_says(name: str) -> None:
    output = made(name)(**inputs_of(name, 2))
    axes = described(name)["outputs"][0]["axes"]
    assert output.shape == (2, *(SIZES[axis] for axis in axes if axis != "..."))
    assert output.dtype == np.float32
    assert np.isfinite(output).all()


def test_the_same_input_gives_the_same_bits(name: str) -> None:
    inputs = inputs_of(name)
    attention = made(name)
    first = attention(**inputs)
    assert np.array_equal(first, attention(**inputs))
    assert np.array_equal(first, made(name)(**inputs))


def test_config_and_repr_make_the_same_mechanism_again(name: str) -> None:
    changed = {"temperature": 0.7} if has_setting(name, "temperature") else {"max_sequence_length": 70}
    attention = made(name, **changed)
    again = ra.Attention.from_config(json.loads(json.dumps(attention.get_config())))
    assert again.config == attention.config
    evaluated = eval(repr(attention), {type(attention).__name__: type(attention)})
    assert evaluated.config == attention.config
    with pytest.raises(AttributeError):
        attention.config.seed = 1  # type: ignore[attr-defined]


def test_state_and_checkpoint_carry_the_parameters_over(name: str, tmp_path: Path) -> None:
    inputs = inputs_of(name)
    attention, other = made(name), made(name)
    for parameter in attention.parameters().values():
        parameter += 0.25
    expected = attention(**inputs)
    other.load_state_dict(attention.state_dict())
    assert np.array_equal(other(**inputs), expected)
    attention.save_checkpoint(tmp_path / "kept.safetensors")
    loaded = ra.Attention.load_checkpoint(tmp_path / "kept.safetensors")
    assert loaded.config == attention.config
    assert np.array_equal(loaded(**inputs), expected)


def test_state_that_does_not_fit_changes_nothing(name: str) -> None:
    attention = made(name)
    state = attention.state_dict()
    with pytest.raises(ra.InvalidConfigError, match="unknown stranger"):
        attention.load_state_dict({**state, "stranger": np.ones(1)})
    for key in state:
        with pytest.raises(ra.DimensionMismatchError, match=key):
            attention.load_state_dict({**state, key: np.ones((1, 1, 1))})
    assert all(np.array_equal(attention.parameters()[key], value) for key, value in state.items())


def test_inputs_of_every_kind_are_taken(name: str) -> None:
    inputs, others = numbers_of(name), inputs_of(name)
    attention = made(name)
    expected = attention(**others)

    def strided(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        wide = np.zeros((array.shape[0] * 2, array.shape[1] * 3), np.float32)
        wide[::2, ::3] = array
        return wide[::2, ::3]

    def read_only(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        array = array.copy()
        array.flags.writeable = False
        return array

    def misaligned(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
        moved[...] = array
        return moved

    kinds: list[Any] = [
        lambda array: array.astype(np.float64),
        lambda array: array.tolist(),
        np.asfortranarray,
        strided,
        read_only,
        misaligned,
        memoryview,
    ]
    for kind in kinds:
        given = {key: kind(array) for key, array in inputs.items()}
        assert np.array_equal(attention(**others | given), expected), kind
    halves: dict[str, Any] = {key: array.astype(np.float16) for key, array in inputs.items()}
    widened: dict[str, Any] = {key: array.astype(np.float32) for key, array in halves.items()}
    assert np.array_equal(attention(**others | halves), attention(**others | widened))


def test_inputs_are_never_written_to(name: str) -> None:
    inputs = inputs_of(name)
    kept = {key: array.copy() for key, array in inputs.items()}
    attention = made(name, **({"normalize": True} if has_setting(name, "normalize") else {}))
    output = attention(**inputs, training=True)
    attention.backward(np.ones(output.shape))
    assert all(np.array_equal(inputs[key], array) for key, array in kept.items())


def test_a_batch_of_ragged_items_equals_a_loop(name: str) -> None:
    attention = made(name)
    items = [inputs_of(name), shortened(name)]
    for found, item in zip(attention.forward_batch(items), items, strict=True):
        assert np.array_equal(found, attention(**item))


def test_weights_sum_to_one_and_follow_the_mask(name: str) -> None:
    if "edge_index" in inputs_of(name):
        edges = made(name).weights_by_edge(**inputs_of(name))  # type: ignore[attr-defined]
        sums = [sum(weights for (_, end), weights in edges.items() if end == target) for _, target in edges]
        assert np.abs(np.array(sums) - 1).max() <= 1e-6
        return
    inputs = {key: array for key, array in inputs_of(name, 2).items() if key != "values"}
    attention = made(name)
    weights = attention.attention_weights(**inputs)  # type: ignore[attr-defined]
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-6
    if not has_option(name, "mask"):
        return
    mask = np.arange(weights.shape[-1]) % 2 == 0
    masked = attention.attention_weights(**inputs, mask=mask)  # type: ignore[attr-defined]
    assert not masked[..., ~mask].any()
    assert np.abs(masked.sum(axis=-1) - 1).max() <= 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_every_input_that_is_not_finite_is_named(name: str, bad: float) -> None:
    for key in numbers_of(name):
        inputs = inputs_of(name)
        inputs[key][2, 1] = bad
        with pytest.raises(ra.NumericalInstabilityError, match=rf"{key} holds {bad} at index \(2, 1\)"):
            made(name)(**inputs)


def test_every_wrong_shape_dtype_and_size_is_named(name: str) -> None:
    attention = made(name)
    for key, array in numbers_of(name).items():
        wrong: list[tuple[Any, type[ra.AttentionError]]] = [
            (array[:0], ra.EmptyInputError),
            (np.float32(1), ra.DimensionMismatchError),
            (array.astype(object), ra.UnsupportedError),
            (array.astype(complex), ra.UnsupportedError),
            (array.astype(str), ra.UnsupportedError),
            ([[1.0, 2.0], [3.0]], ra.AttentionError),
            (None, ra.AttentionError),
        ]
        fixed = "values" not in key or described(name)["inputs"][-1]["axes"][-1] != "dim_value"
        if fixed:
            wrong.append((np.ones((9, 13), np.float32), ra.DimensionMismatchError))
        optional = {entry["name"] for entry in described(name)["inputs"] if entry["optional"]}
        for value, error in wrong:
            if value is None and key in optional:
                continue
            with pytest.raises(error, match=key):
                attention(**{**inputs_of(name), key: value})


def test_too_many_keys_are_refused(name: str) -> None:
    attention = made(name, max_sequence_length=8)
    with pytest.raises(ra.InputTooLargeError, match="9 keys; expected at most 8"):
        attention(**inputs_of(name))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"dropout": 1.0}, "dropout"),
        ({"dim": 0}, "dim"),
        ({"dim": "12"}, "dim"),
        ({"dim": True}, "dim"),
        ({"causal": 1}, "causal"),
        ({"temprature": 1.0}, "did you mean 'temperature'"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, Any], sentence: str) -> None:
    if "temprature" in settings and not has_setting(name, "temperature"):
        settings, sentence = {"sed": 1}, "did you mean 'seed'"
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.create(name, **{"dim": 12, **settings})


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (np.ones((5, 5), bool), ra.DimensionMismatchError),
        (np.ones((0,), bool), ra.EmptyInputError),
        (np.ones(9, int), ra.UnsupportedError),
        (np.full(9, np.nan), ra.NumericalInstabilityError),
        ("all", ra.UnsupportedError),
    ],
)
def test_masks_that_do_not_fit_are_named(name: str, mask: Any, error: type[ra.AttentionError]) -> None:
    if not has_option(name, "mask"):
        error = TypeError  # type: ignore[assignment]  # there is no such argument
    with pytest.raises(error, match="mask"):
        made(name)(**inputs_of(name), mask=mask)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ra.InvalidConfigError, match="unknown mechanism 'flsh'; did you mean 'flash'"):
        ra.create("flsh", dim=4)


def test_errors_are_the_builtin_ones_too() -> None:
    assert issubclass(ra.DimensionMismatchError, ValueError)
    assert issubclass(ra.OutOfBoundsError, IndexError)
    assert issubclass(ra.UnsupportedError, TypeError)
    with pytest.raises(ra.DimensionMismatchError) as raised:
        ra.ScaledDotProductAttention(dim=4)(np.ones((2, 4)), np.ones((5, 3)), np.ones((5, 3)))
    assert (raised.value.expected, raised.value.actual) == (4, 3)
    assert str(raised.value) == "keys is (5, 3); expected (n_key, dim) with dim = 4, from query (2, 4)"


@pytest.mark.parametrize("head", [-1, 3, 100])
def test_a_head_that_does_not_exist_is_refused(head: int) -> None:
    heads = ra.MultiHeadAttention(dim=12, num_heads=3)
    x = np.ones((2, 12))
    with pytest.raises(ra.OutOfBoundsError, match=f"head is {head}; expected 0 to 2"):
        heads.head_output(head, x, x, x)


def test_a_mechanism_of_ones_own_appears_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MECHANISMS", dict(registry._MECHANISMS))

    @ra.register
    class LastAttention(ra.Attention):
        """out = the last value"""

        name = "last"
        inputs = (ra.VALUES,)

        def forward(self, values: Any) -> Any:
            return self.bind(values=values).arrays[0][..., -1:, :]

    assert "last" in ra.mechanisms()
    assert described("last")["inputs"][0]["name"] == "values"
    assert ra.create("last")([[1, 2], [3, 4]]).tolist() == [[3, 4]]
