"""What the profile of the kernels says of given times."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BUILD_SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BUILD_SCRIPTS))
    yield importlib.import_module("profile_kernels")
    sys.modules.pop("profile_kernels", None)


def test_parts_are_differences_of_whole_calls(profile: ModuleType) -> None:
    times = {"peak": 1.0, "product": 10.0}  # the peak: 50 GFLOP/s
    for shape, (queries, keys, dim) in profile.SHAPES.items():
        ideal = 2 * queries * keys * dim / 50e6  # ms of one product at the peak
        times[f"{shape}, no channels"] = 0.5 * ideal
        times[f"{shape}, no values"] = 2.5 * ideal  # scores: twice the ideal
        times[shape] = 5.0 * ideal  # values: two and a half times
    timings = [{"target": "some-set", "name": name, "ms": ms, "operations": 50e6} for name, ms in times.items()]
    lines = profile.report("somewhere", timings).splitlines()
    assert lines[0] == "somewhere some-set: peak 50.0 GFLOP/s"
    assert "10.00 ms" in lines[1] and lines[1].endswith("107 %")  # 2 x 1024 x 512 x 512 in 10 ms: 53.7 GFLOP/s
    for line in lines[2:]:
        assert " 40 % of peak" in line
        assert "scores 40 % of the time at  50 %" in line
        assert "values 50 % at  40 %" in line
        assert "softmax 10 %" in line
    assert len(lines) == 2 + len(profile.SHAPES)


def test_every_instruction_set_has_its_own_peak(profile: ModuleType) -> None:
    timings = [
        {"target": target, "name": name, "ms": float(turn + 1), "operations": operations}
        for target, operations in (("one", 1e6), ("two", 2e6))
        for turn, name in enumerate(["peak", *reversed(profile.CASES)])
    ]
    heads = [line for line in profile.report("here", timings).splitlines() if not line.startswith(" ")]
    assert heads == ["here one: peak 1.0 GFLOP/s", "here two: peak 2.0 GFLOP/s"]
