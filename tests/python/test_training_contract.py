"""What every registered part of training owes its users, whatever it does."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

import ruvector_attention as ra
from ruvector_attention import training
from ruvector_attention.config import Settings
from ruvector_attention.training import part as registry

NEEDED: dict[str, dict[str, Any]] = {
    "curriculum": {"stages": [{"name": "only", "duration": 3}]},
    "multi_objective": {"weights": [1.0, 0.5]},
}


@pytest.fixture(params=training.parts())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(name: str, **settings: Any) -> training.TrainingPart:
    return training.create_part(name, **{**NEEDED.get(name, {}), **settings})


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in ra.describe()["training"] if entry["name"] == name)
    return found


def changed(name: str) -> dict[str, Any]:
    """One setting with another value than its default."""
    for entry in described(name)["config"]:
        default = entry["default"]
        if entry.get("choices"):
            return {entry["name"]: next(choice for choice in entry["choices"] if choice != default)}
        if entry["type"] == "float" and not entry["required"]:
            return {entry["name"]: default / 2 if default else 0.5}
    return {}


def test_it_describes_itself_in_plain_json(name: str) -> None:
    entry = json.loads(json.dumps(described(name)))
    assert entry["summary"]
    assert entry["kind"] in registry.KINDS
    assert registry.KINDS[entry["kind"]] in {"__call__", *entry["methods"]}
    assert all(setting["doc"] for setting in entry["config"])
    assert getattr(training, entry["class"]).name == name


def test_its_docstring_has_a_formula(name: str) -> None:
    text = inspect.cleandoc(registry.get_part(name).__dict__["__doc__"] or "")  # its own, not one that it inherits
    assert any(sign in text.split("\n\n")[0] for sign in "=<~"), "the first paragraph holds no formula"


def test_some_part_of_each_kind_shows_how_it_is_used() -> None:
    for kind in {entry["kind"] for entry in ra.describe()["training"]}:
        texts = [registry.get_part(each).__doc__ or "" for each in training.parts(kind)]
        assert any(doctest.DocTestParser().get_examples(text) for text in texts), kind


def test_every_public_method_says_what_it_does(name: str) -> None:
    cls = registry.get_part(name)
    for method in described(name)["methods"]:
        if method != "__call__":
            assert inspect.getdoc(getattr(cls, method)), f"{cls.__name__}.{method} has no docstring"


def test_config_and_repr_make_the_same_part_again(name: str) -> None:
    part = made(name, **changed(name))
    again = training.TrainingPart.from_config(json.loads(json.dumps(part.get_config())))
    assert type(again) is type(part)
    assert again.config == part.config
    names = {each: getattr(training, each) for each in training.__all__}
    assert eval(repr(part), names).config == part.config
    assert changed(name) == {} or part.config != made(name).config
    with pytest.raises(AttributeError):
        part.config.seed = 1  # type: ignore[attr-defined]


def test_unknown_settings_and_wrong_types_are_refused(name: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match="no setting 'colour'"):
        made(name, colour="red")
    for entry in described(name)["config"]:
        wrong: Any = "x" if entry["type"].split()[0] in ("int", "float", "bool") else 7
        with pytest.raises(ra.InvalidConfigError, match=entry["name"]):
            made(name, **{entry["name"]: wrong})


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ra.InvalidConfigError, match="unknown training part 'adm'; did you mean 'adam'"):
        training.create_part("adm")
    with pytest.raises(ra.InvalidConfigError, match="kind is 'optimiser'; did you mean 'optimizer'"):
        training.parts("optimiser")
    assert isinstance(training.create_part("Riemannian-Adam"), training.RiemannianAdam)


def test_a_part_of_ones_own_is_one_class_with_a_decorator() -> None:
    @dataclass(frozen=True)
    class HalvingConfig(Settings):
        every: Annotated[int, ra.Setting("steps from one value to its half", at_least=1)] = 10

    class Halving(training.TrainingPart):
        """factor = 2 ** -(step / every)"""

        name, kind, Config = "halving", "schedule", HalvingConfig

        def at(self, step: int) -> float:
            """The factor at a step."""
            return float(2.0 ** -(step / self.config.every))

    try:
        training.register_part(Halving)
        assert training.create_part("halving", every=5).at(10) == 0.25  # type: ignore[attr-defined]
        assert "halving" in training.parts("schedule")
        assert described("halving")["methods"] == ["at", "get_config"]
        assert repr(Halving(5)) == "Halving(every=5)"
    finally:
        registry._PARTS.pop("halving", None)


def test_a_class_that_forgets_part_of_the_contract_is_named() -> None:
    def register(**attributes: Any) -> None:
        training.register_part(type("Odd", (training.TrainingPart,), attributes))

    with pytest.raises(ra.InvalidConfigError, match=r"Odd.kind is None"):
        register(name="odd")
    with pytest.raises(ra.InvalidConfigError, match="Odd lacks mine, which every miner has"):
        register(name="odd", kind="miner")
    with pytest.raises(ra.InvalidConfigError, match=r"Odd.name is 'Odd'; expected a name in snake_case"):
        register(name="Odd", kind="loss", __call__=lambda self: 0)
    with pytest.raises(ra.InvalidConfigError, match="Odd is named 'adam', as Adam is already"):
        register(name="adam", kind="loss", __call__=lambda self: 0)


def test_the_guide_runs() -> None:
    guide = Path(__file__).parents[2] / "docs" / "training.md"
    failed, tried = doctest.testfile(str(guide), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried > 20


def test_the_package_is_imported_without_training() -> None:
    code = "import sys, ruvector_attention as ra; assert 'ruvector_attention.training' not in sys.modules; "
    code += "assert ra.training.Adam; assert 'ruvector_attention.training' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
