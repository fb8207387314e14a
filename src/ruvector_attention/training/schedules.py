"""Schedules: a learning rate, a temperature or a stage of a curriculum, by the step of training."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

from ..config import Setting, Settings, checked_setting
from ..errors import InvalidConfigError
from .part import TrainingPart, register_part

#: What a schedule gives: what its ``_at`` is annotated with.
Value: TypeAlias = Any

_STEP = Setting("step of training, from 0", at_least=0)


class Schedule(TrainingPart):
    """What the schedules share: ``at(step)``, a function of the step alone, and a count of the steps for who wants one.

    >>> rates = LearningRateSchedule(learning_rate=1.0, total_steps=4, decay="linear")
    >>> [rates.at(step) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    >>> rates.step(), rates.step(), rates.current_step, rates.value
    (1.0, 0.75, 2, 0.5)
    """

    kind = "schedule"
    config: Any

    def _setup(self) -> None:
        self._step = 0

    def at(self, step: int) -> Value:
        """The value for step ``step``, from 0; what comes after the last step is as the last.

        Raises: InvalidConfigError for what is no step.
        """
        return self._at(checked_setting("step", step, int, _STEP))

    @abstractmethod
    def _at(self, step: int) -> Value:
        """The value for a step of 0 or more."""

    def step(self, current_step: int | None = None) -> Value:
        """The value for the current step, or for the one given, and on to the one after it."""
        if current_step is not None:
            self._step = checked_setting("current_step", current_step, int, _STEP)
        value = self._at(self._step)
        self._step += 1
        return value

    @property
    def current_step(self) -> int:
        """The step that ``step()`` gives the value of next."""
        return self._step

    @property
    def value(self) -> Value:
        """The value at the current step, without going on."""
        return self._at(self._step)

    @property
    def progress(self) -> float:
        """The share of all steps that are over, 0 to 1."""
        return min(1.0, self._step / self.total_steps)

    @property
    def total_steps(self) -> int:
        """How many steps there are."""
        return int(self.config.total_steps)

    @property
    def is_complete(self) -> bool:
        """Whether all steps are over."""
        return self._step >= self.total_steps

    def status(self) -> dict[str, Any]:
        """All of this at once: current_step, total_steps, progress, is_complete, value."""
        names = ("current_step", "total_steps", "progress", "is_complete", "value")
        return {name: getattr(self, name) for name in names}

    def get_value(self) -> Value:
        """The same as ``value``."""
        return self.value

    def reset(self) -> None:
        """Back to step 0."""
        self._step = 0


@dataclass(frozen=True)
class LearningRateConfig(Settings):
    learning_rate: Annotated[float, Setting("the highest rate, after the warm-up", above=0)] = 0.001
    warmup_steps: Annotated[int, Setting("steps in which the rate rises to it, in equal parts", at_least=0)] = 0
    total_steps: Annotated[int, Setting("steps after which it stays at the minimum", at_least=1)] = 1000
    minimum: Annotated[float, Setting("what it falls to", at_least=0)] = 0.0
    decay: Annotated[
        str, Setting("how it falls after the warm-up", choices=("cosine", "linear", "constant", "step"))
    ] = "cosine"
    step_size: Annotated[int, Setting("for decay 'step': steps from one fall to the next", at_least=1)] = 100
    gamma: Annotated[float, Setting("for decay 'step': factor of each fall", above=0, below=1)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps > self.total_steps:
            limit = f"{self.total_steps}, the total_steps"
            raise InvalidConfigError(f"warmup_steps is {self.warmup_steps}; expected at most {limit}")
        if self.minimum > self.learning_rate:
            limit = f"{self.learning_rate}, the learning_rate"
            raise InvalidConfigError(f"minimum is {self.minimum}; expected at most {limit}")


@register_part
class LearningRateSchedule(Schedule):
    """rate = learning_rate * (step + 1) / warmup_steps, then down to the minimum: by a cosine, a line, in falls, or not

    The first step has a rate above 0, the step ``warmup_steps`` the highest, ``total_steps`` and all after it the
    minimum (decay "constant" stays at the highest; "step" multiplies by ``gamma`` every ``step_size`` steps).

    >>> rates = LearningRateSchedule(learning_rate=1.0, warmup_steps=2, total_steps=6)
    >>> [round(rates.at(step), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    An optimizer follows it by ``optimizer.learning_rate = rates.step()`` before each of its steps.
    """

    name = "learning_rate"
    Config = LearningRateConfig
    paper = "Loshchilov & Hutter, 2017; Goyal et al., 2017"

    def _at(self, step: int) -> float:
        c = self.config
        if step < c.warmup_steps:
            return float(c.learning_rate * (step + 1) / c.warmup_steps)
        if c.decay == "step":
            falls = (step - c.warmup_steps) // c.step_size
            return float(max(c.minimum, c.learning_rate * c.gamma**falls))
        if c.decay == "constant":
            return float(c.learning_rate)
        share = (step - c.warmup_steps) / max(1, c.total_steps - c.warmup_steps)
        left = _left(min(1.0, share), c.decay)
        return float(c.minimum + (c.learning_rate - c.minimum) * left)


@dataclass(frozen=True)
class TemperatureConfig(Settings):
    initial: Annotated[float, Setting("temperature of step 0", above=0)] = 1.0
    final: Annotated[float, Setting("temperature of step total_steps, and of all after it", above=0)] = 0.1
    total_steps: Annotated[int, Setting("steps from one to the other", at_least=1)] = 1000
    decay: Annotated[
        str, Setting("the way from one to the other", choices=("linear", "exponential", "cosine", "step"))
    ] = "linear"
    num_stairs: Annotated[int, Setting("for decay 'step': in how many falls, by equal factors", at_least=1)] = 4


@register_part
class TemperatureAnnealing(Schedule):
    """temperature = final + (initial - final) * left, with what is left of the way: 1 - t, (1 + cos(pi t)) / 2

    t = step / total_steps; "exponential" is initial * (final / initial)^t, and "step" the same with t rounded down to
    a multiple of 1 / num_stairs.

    >>> annealing = TemperatureAnnealing(initial=1.0, final=0.25, total_steps=4, decay="exponential")
    >>> [round(annealing.at(step), 3) for step in range(6)]
    [1.0, 0.707, 0.5, 0.354, 0.25, 0.25]
    """

    name = "temperature"
    Config = TemperatureConfig

    def _at(self, step: int) -> float:
        c = self.config
        share = min(1.0, step / c.total_steps)
        if c.decay in ("exponential", "step"):
            if c.decay == "step":
                share = (min(step, c.total_steps) * c.num_stairs // c.total_steps) / c.num_stairs
            return float(c.final if share == 1 else c.initial * (c.final / c.initial) ** share)
        return float(c.final + (c.initial - c.final) * _left(share, c.decay))


def _left(share: float, decay: str) -> float:
    """1 at the begin of the way, 0 at its end."""
    return 1 - share if decay == "linear" else 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class CurriculumStage(Settings):
    """One stage: how long it lasts, and what training is like in it."""

    name: Annotated[str, Setting("what it is called")]
    duration: Annotated[int, Setting("steps", at_least=1)]
    difficulty: Annotated[float, Setting("share of what is difficult, 0 to 1", at_least=0, at_most=1)] = 1.0
    temperature: Annotated[float, Setting("temperature of the loss", above=0)] = 1.0
    negative_count: Annotated[int, Setting("negatives of each anchor", at_least=0)] = 10


#: name, share of what is difficult, temperature, negatives of each anchor
DEFAULT_STAGES = (("easy", 0.1, 2.0, 5), ("medium", 0.3, 1.0, 10), ("hard", 0.6, 0.5, 20), ("expert", 1.0, 0.1, 50))


@dataclass(frozen=True)
class CurriculumConfig(Settings):
    stages: Annotated[tuple[CurriculumStage, ...], Setting("the stages in their order")] = ()
    total_steps: Annotated[
        int | None, Setting("instead of stages: of the default ones, a quarter of the steps each", at_least=4)
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.stages) == (self.total_steps is not None):
            what = "stages is empty" if not self.stages else "total_steps comes with stages"
            raise InvalidConfigError(f"{what}; expected at least one stage, or total_steps alone")
        if self.total_steps is not None:
            ends = [self.total_steps * quarter // 4 for quarter in range(5)]
            made = [
                CurriculumStage(name, ends[i + 1] - ends[i], difficulty, temperature, count)
                for i, (name, difficulty, temperature, count) in enumerate(DEFAULT_STAGES)
            ]
            object.__setattr__(self, "stages", tuple(made))
            object.__setattr__(self, "total_steps", None)  # so that the config says the same once more


@register_part
class CurriculumScheduler(Schedule):
    """stage = the first whose end, the sum of the durations up to it, lies beyond the step; after all, the last

    >>> curriculum = default_curriculum(total_steps=100)
    >>> stage = curriculum.at(30)
    >>> stage.name, stage.difficulty, stage.temperature, stage.negative_count
    ('medium', 0.3, 1.0, 10)
    """

    name = "curriculum"
    Config = CurriculumConfig
    paper = "Bengio et al., 2009"

    def _at(self, step: int) -> CurriculumStage:
        for stage in self.config.stages:
            if step < stage.duration:
                break
            step -= stage.duration
        return stage  # type: ignore[no-any-return]  # there is one: the config says so

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.duration for stage in self.config.stages)

    def add_stage(self, **stage: Any) -> None:
        """One more stage, behind the others; its settings are those of CurriculumStage.

        Raises: InvalidConfigError.
        """
        self.config = replace(self.config, stages=(*self.config.stages, stage))


def default_curriculum(total_steps: int) -> CurriculumScheduler:
    """Four stages, from few easy negatives at a high temperature to many hard ones at a low one.

    Raises: InvalidConfigError for fewer steps than stages.
    """
    return CurriculumScheduler(total_steps=total_steps)
