"""What all optimizers share: parameters in groups, or their caller's; clipping; a learning rate to set; state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from ..arrays import ArrayLike, as_numbers
from ..config import Setting, Settings, checked_setting
from ..errors import DimensionMismatchError, InvalidConfigError, UnsupportedError
from .clipping import clip_by_global_norm
from .named_arrays import Array, Arrays, ArraysLike, as_floats, as_given, by_name, fitting, to_change
from .part import TrainingPart

_LEARNING_RATE = Setting("how far a step goes", at_least=0)


@dataclass(frozen=True)
class OptimizerConfig(Settings):
    """The settings of every optimizer."""

    learning_rate: Annotated[float, Setting("how far a step goes", above=0)] = 0.001
    weight_decay: Annotated[
        float, Setting("pull towards 0: weight_decay * parameter is added to the gradient", at_least=0)
    ] = field(default=0.0, kw_only=True)
    max_grad_norm: Annotated[
        float | None, Setting("length that all gradients together are clipped to; None: as they are", above=0)
    ] = field(default=None, kw_only=True)


class _Group(NamedTuple):
    """Parameters with settings of their own."""

    parameters: dict[str, Array]
    config: Any


class Optimizer(TrainingPart):
    """What the optimizers share: parameters in groups, clipping, a learning rate that can be set, state.

    Either it holds the parameters (``add``, then ``step(gradients)`` changes them in place), or its caller does
    (``updated(parameters, gradients)`` gives new ones). What it remembers of a parameter it remembers by its name.
    """

    kind = "optimizer"
    keeps: ClassVar[tuple[str, ...]] = ()  # the arrays that are remembered for each parameter
    needs_points: ClassVar[bool] = False  # whether a step depends on where the parameters are
    config: Any

    def _setup(self) -> None:
        self._groups: list[_Group] = []
        self._state: dict[str, dict[str, Any]] = {}
        self._rate = float(self.config.learning_rate)

    @property
    def learning_rate(self) -> float:
        """How far a step goes; a group with a learning rate of its own keeps its ratio to this one."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._rate = checked_setting("learning_rate", value, float, _LEARNING_RATE)

    def set_learning_rate(self, learning_rate: float) -> None:
        """The same as setting ``learning_rate``."""
        self.learning_rate = learning_rate

    def get_learning_rate(self) -> float:
        """The same as ``learning_rate``."""
        return self._rate

    def add(self, parameters: ArraysLike, **settings: Any) -> None:
        """Hold these arrays, float32 or float64, as one more group of parameters to change in place.

        ``settings`` are those in which the group differs: ``optimizer.add(biases, weight_decay=0.0)``.

        Raises: InvalidConfigError, UnsupportedError, NumericalInstabilityError.
        """
        if "max_grad_norm" in settings:
            raise InvalidConfigError("max_grad_norm is of all parameters together; expected it in the constructor")
        named = by_name("parameters", parameters)
        config = self.Config.from_arguments(type(self).__name__, (), {**self.config.to_dict(), **settings})
        taken = self.parameters()
        for name in named:
            if name in taken:
                raise InvalidConfigError(f"parameters has '{name}', which another group has; expected another name")
        arrays = {name: to_change(f"parameters[{name!r}]", array) for name, array in named.items()}
        self._groups.append(_Group(arrays, config))

    def parameters(self) -> dict[str, Array]:
        """The arrays that are held, by name."""
        return {name: array for group in self._groups for name, array in group.parameters.items()}

    def step(self, gradients: ArraysLike) -> None:
        """Change the parameters that are held, by one gradient for each; nothing is changed unless all fit.

        Raises: UnsupportedError, DimensionMismatchError, NumericalInstabilityError.
        """
        if not self._groups:
            raise UnsupportedError(f"{self!r} holds no parameters; call add(parameters), or updated(parameters, ...)")
        self._apply(self._groups, gradients)

    def updated(self, parameters: ArraysLike, gradients: ArraysLike) -> Arrays:
        """New parameters, in the form of those given, which stay as they are; for those who hold them themselves.

        >>> from ruvector_attention.training import Adam
        >>> Adam(learning_rate=0.5).updated([1.0, 2.0], [3.0, -4.0])
        array([0.5, 2.5])

        Raises: UnsupportedError, DimensionMismatchError, NumericalInstabilityError.
        """
        named = by_name("parameters", parameters)
        copies = {name: as_floats(f"parameters[{name!r}]", value).copy() for name, value in named.items()}
        for name, copy in copies.items():
            for key in self.keeps:
                kept = self._state.get(name, {}).get(key)
                if kept is not None and kept.shape != self._kept_shape(key, copy, self.config):
                    raise DimensionMismatchError(
                        f"parameters[{name!r}] is {copy.shape}; expected the shape that it had in the steps before"
                    )
        self._apply([_Group(copies, self.config)], gradients)
        return as_given(parameters, copies)

    def updates(self, gradients: ArraysLike) -> Arrays:
        """What to add to parameters, in the form of the gradients, where the parameters are not at hand.

        Raises: UnsupportedError where they are needed: for weight decay, and in curved space; DimensionMismatchError,
        NumericalInstabilityError.
        """
        if self.needs_points or self.config.weight_decay:
            raise UnsupportedError(
                f"a step of {self!r} depends on the parameters; expected updated(parameters, gradients)"
            )
        named = by_name("gradients", gradients)
        arrays = {name: as_floats(f"gradients[{name!r}]", value) for name, value in named.items()}
        zeros = {name: np.zeros_like(array) for name, array in arrays.items()}
        return as_given(gradients, self.updated(zeros, arrays))

    def _apply(self, groups: list[_Group], gradients: Any) -> None:
        parameters = {name: array for group in groups for name, array in group.parameters.items()}
        found = fitting(gradients, parameters)
        if self.config.max_grad_norm is not None:
            found = clip_by_global_norm(found, self.config.max_grad_norm)
        factor = self._rate / self.config.learning_rate
        with np.errstate(over="ignore", under="ignore"):  # a square that overflows makes a step of 0, as it should
            for parameters_of, config in groups:
                for name, parameter in parameters_of.items():
                    if name in found:
                        state = self._state.get(name) or self._fresh(parameter, config)
                        state["step"] += 1
                        self._update(parameter, found[name], state, config, config.learning_rate * factor)
                        self._state[name] = state

    def _fresh(self, parameter: Array, config: Any) -> dict[str, Any]:
        kept = {key: np.zeros(self._kept_shape(key, parameter, config), parameter.dtype) for key in self.keeps}
        return {"step": 0, **kept}

    def _kept_shape(self, key: str, parameter: Array, config: Any) -> tuple[int, ...]:
        return parameter.shape

    @abstractmethod
    def _update(self, parameter: Array, gradient: Array, state: dict[str, Any], config: Any, rate: float) -> None:
        """One step of one parameter, in place."""

    def reset(self) -> None:
        """Forget all steps: back to the learning rate of the settings, and to no moments. Parameters stay."""
        self._state = {}
        self._rate = float(self.config.learning_rate)

    def state_dict(self) -> dict[str, Array]:
        """A copy of what it remembers, as arrays by name: the learning rate, and for each parameter its steps and
        moments, ``{"learning_rate": ..., "weight.step": ..., "weight.exp_avg": ...}``."""
        state: dict[str, Array] = {"learning_rate": np.array(self._rate)}
        for name, kept in self._state.items():
            state[f"{name}.step"] = np.array(kept["step"], np.int64)
            state |= {f"{name}.{key}": kept[key].copy() for key in self.keeps}
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Go on from what state_dict told; nothing is changed unless all fits.

        Raises: InvalidConfigError for names and numbers, DimensionMismatchError for shapes.
        """
        held = {name: (array, group.config) for group in self._groups for name, array in group.parameters.items()}
        names = {key.rpartition(".")[0] for key in state} - {""}
        expected = {"learning_rate", *(f"{name}.{key}" for name in names for key in ("step", *self.keeps))}
        unknown, missing = sorted(set(state) - expected), sorted(expected - set(state))
        unknown += sorted(name for name in names if held and name not in held)
        if unknown or missing:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
            raise InvalidConfigError(f"the state for {self!r} {' and '.join(parts)}")
        rate = checked_setting("learning_rate", np.asarray(state["learning_rate"])[()], float, _LEARNING_RATE)
        loaded = {name: self._loaded(name, state, held.get(name)) for name in names}
        self._rate, self._state = rate, loaded

    def _loaded(self, name: str, state: Mapping[str, ArrayLike], held: tuple[Array, Any] | None) -> dict[str, Any]:
        steps = as_numbers(f"{name}.step", state[f"{name}.step"])
        if steps.shape != () or steps < 0 or steps != steps.round():
            raise InvalidConfigError(f"{name}.step is {steps}; expected a number of steps")
        kept: dict[str, Any] = {"step": int(steps)}
        for key in self.keeps:
            array = as_floats(f"{name}.{key}", state[f"{name}.{key}"]).copy()
            if held and array.shape != (wanted := self._kept_shape(key, *held)):
                raise DimensionMismatchError(
                    f"{name}.{key} is {array.shape}; expected {wanted}", expected=wanted, actual=array.shape
                )
            kept[key] = array.astype(held[0].dtype) if held else array
        return kept
