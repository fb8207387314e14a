"""Schedules by their formulas, written again here, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

import ruvector_attention as ra
from ruvector_attention import training


def test_the_rate_warms_up_in_equal_parts_and_falls_by_a_cosine() -> None:
    rates = training.LearningRateSchedule(learning_rate=2.0, warmup_steps=4, total_steps=12, minimum=0.5)
    assert [rates.at(step) for step in range(4)] == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=1e-15)
    for step in range(4, 13):
        expected = 0.5 + 1.5 * (1 + math.cos(math.pi * (step - 4) / 8)) / 2
        assert rates.at(step) == pytest.approx(expected, abs=1e-15)
    assert rates.at(12) == rates.at(1000) == 0.5


def test_the_rate_falls_by_a_line_in_falls_or_not_at_all() -> None:
    made = training.LearningRateSchedule
    linear = made(learning_rate=1.0, warmup_steps=2, total_steps=10, minimum=0.2, decay="linear")
    assert [linear.at(step) for step in (2, 6, 10, 11)] == pytest.approx([1.0, 0.6, 0.2, 0.2], abs=1e-15)
    stairs = made(learning_rate=1.0, warmup_steps=1, total_steps=10, decay="step", step_size=3, gamma=0.5, minimum=0.2)
    expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]
    assert [stairs.at(step) for step in range(12)] == pytest.approx(expected, abs=1e-15)
    constant = made(learning_rate=1.0, warmup_steps=2, total_steps=10, decay="constant")
    assert [constant.at(step) for step in (0, 1, 5, 99)] == [0.5, 1.0, 1.0, 1.0]


def test_a_schedule_that_is_all_warm_up_ends_at_its_minimum() -> None:
    rates = training.LearningRateSchedule(learning_rate=1.0, warmup_steps=4, total_steps=4)
    assert [rates.at(step) for step in (3, 4, 5)] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("linear", [2.0, 1.625, 1.25, 0.875, 0.5]),
        ("exponential", [2.0, math.sqrt(2), 1.0, math.sqrt(0.5), 0.5]),
        ("cosine", [2.0, 0.5 + 0.75 * (1 + math.sqrt(0.5)), 1.25, 0.5 + 0.75 * (1 - math.sqrt(0.5)), 0.5]),
    ],
)
def test_a_temperature_goes_from_one_to_another(decay: str, expected: list[float]) -> None:
    annealing = training.TemperatureAnnealing(initial=2.0, final=0.5, total_steps=8, decay=decay)
    assert [annealing.at(step) for step in (0, 2, 4, 6, 8)] == pytest.approx(expected, abs=1e-15)
    assert annealing.at(9) == annealing.at(10**9) == 0.5


def test_a_temperature_falls_by_equal_factors() -> None:
    annealing = training.TemperatureAnnealing(initial=8.0, final=1.0, total_steps=6, decay="step", num_stairs=3)
    assert [annealing.at(step) for step in range(8)] == pytest.approx([8, 8, 4, 4, 2, 2, 1, 1], abs=1e-14)
    warming = training.TemperatureAnnealing(initial=0.1, final=1.0, total_steps=2)
    assert [warming.at(step) for step in range(3)] == pytest.approx([0.1, 0.55, 1.0], abs=1e-15)


def test_a_curriculum_goes_through_its_stages() -> None:
    stages = [{"name": "a", "duration": 2, "difficulty": 0.1}, training.CurriculumStage("b", 3, negative_count=7)]
    curriculum = training.CurriculumScheduler(stages=stages)
    assert [curriculum.at(step).name for step in range(7)] == list("aabbbbb")
    assert curriculum.at(2).negative_count == 7
    assert curriculum.total_steps == 5
    names = []
    while not curriculum.is_complete:
        assert curriculum.progress == pytest.approx(len(names) / 5, abs=1e-15)
        names.append(curriculum.step().name)
    assert names == list("aabbb")
    assert (curriculum.progress, curriculum.value.name) == (1.0, "b")
    curriculum.reset()
    assert (curriculum.progress, curriculum.value.name, curriculum.is_complete) == (0.0, "a", False)


def test_a_curriculum_grows_by_a_stage_and_tells_its_status() -> None:
    curriculum = training.CurriculumScheduler([{"name": "a", "duration": 1}])
    curriculum.step()
    assert curriculum.status() == {
        "current_step": 1,
        "total_steps": 1,
        "progress": 1.0,
        "is_complete": True,
        "value": training.CurriculumStage("a", 1),
    }
    curriculum.add_stage(name="b", duration=3, negative_count=2)
    assert (curriculum.is_complete, curriculum.progress) == (False, 0.25)
    assert curriculum.step().negative_count == 2
    assert len(curriculum.get_config()["stages"]) == 2
    with pytest.raises(ra.InvalidConfigError, match=r"stages\[2\] needs the setting 'duration'"):
        curriculum.add_stage(name="c")
    assert curriculum.total_steps == 4


@pytest.mark.parametrize("total_steps", [4, 7, 100, 1001])
def test_the_default_curriculum_becomes_harder_until_the_last_step(total_steps: int) -> None:
    curriculum = training.default_curriculum(total_steps)
    assert curriculum.total_steps == total_steps
    seen = [curriculum.at(step) for step in range(total_steps)]
    assert len({stage.name for stage in seen}) == 4
    assert all(a.difficulty <= b.difficulty and a.temperature >= b.temperature for a, b in pairwise(seen))
    assert all(a.negative_count <= b.negative_count for a, b in pairwise(seen))
    assert seen[-1].difficulty == 1.0


def test_step_gives_the_value_of_the_current_step_and_goes_on() -> None:
    rates = training.LearningRateSchedule(learning_rate=1.0, total_steps=4, decay="linear")
    assert [rates.step() for _ in range(3)] == [1.0, 0.75, 0.5]
    assert (rates.current_step, rates.value, rates.progress) == (3, 0.25, 0.75)
    assert rates.step(1) == 0.75
    assert rates.current_step == 2
    rates.reset()
    assert rates.get_value() == 1.0


REFUSED: list[tuple[str, str]] = [
    ("LearningRateSchedule(learning_rate=0.0)", "learning_rate is 0.0; expected above 0"),
    ("LearningRateSchedule(warmup_steps=11, total_steps=10)", "warmup_steps is 11; expected at most 10"),
    ("LearningRateSchedule(learning_rate=0.1, minimum=0.2)", "minimum is 0.2; expected at most 0.1"),
    ("LearningRateSchedule(decay='cosin')", "decay is 'cosin'; did you mean 'cosine'"),
    ("LearningRateSchedule().at(-1)", "step is -1; expected at least 0"),
    ("LearningRateSchedule().at(0.5)", "step is 0.5; expected an integer"),
    ("LearningRateSchedule().step(float('nan'))", "current_step is nan; expected an integer"),
    ("TemperatureAnnealing(final=0.0)", "final is 0.0; expected above 0"),
    ("TemperatureAnnealing(total_steps=0)", "total_steps is 0; expected at least 1"),
    ("CurriculumScheduler()", "stages is empty; expected at least one stage"),
    ("CurriculumScheduler([])", "stages is empty"),
    ("CurriculumScheduler([{'name': 'a', 'duration': 3}], 8)", "total_steps comes with stages"),
    ("CurriculumScheduler('ab')", "stages is 'ab'; expected a list"),
    ("CurriculumScheduler([{'duration': 3}])", r"stages\[0\] needs the setting 'name'"),
    ("CurriculumScheduler([{'name': 'a', 'duration': 0}])", r"stages\[0\]: duration is 0; expected at least 1"),
    ("CurriculumScheduler([{'name': 'a', 'duraton': 1}])", r"stages\[0\] has no setting 'duraton'; did you mean"),
    ("CurriculumScheduler([7])", r"stages\[0\] is 7; expected a CurriculumStage or a mapping"),
    ("default_curriculum(3)", "total_steps is 3; expected at least 4"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[call for call, _ in REFUSED])
def test_what_cannot_be_is_refused_by_name(call: str, message: str) -> None:
    names: dict[str, Any] = {name: getattr(training, name) for name in training.__all__}
    with pytest.raises(ra.InvalidConfigError, match=message):
        eval(call, names)
