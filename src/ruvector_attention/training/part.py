"""Parts of training: losses, optimizers, schedules and miners by their names, each made from settings alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from .. import registry
from ..config import Settings, describe_settings
from ..configured import Configured
from ..errors import InvalidConfigError
from ..suggest import did_you_mean

#: kind -> the method that every part of that kind has
KINDS = {"loss": "__call__", "optimizer": "step", "schedule": "at", "miner": "mine"}

_PARTS: dict[str, type[TrainingPart]] = {}

AnyPart = TypeVar("AnyPart", bound="type[TrainingPart]")


class TrainingPart(Configured):
    """A loss, an optimizer, a schedule or a miner: settings, and the method of its kind.

    A part of your own is a subclass with a name, a kind and a frozen Config; ``@register_part`` before it makes it
    known to ``create_part`` and to everything that reads the registry:

    >>> import numpy as np
    >>> class MeanAbsoluteError(TrainingPart):
    ...     '''value = mean |output - target|'''
    ...     name, kind = "mean_absolute_error", "loss"
    ...     def __call__(self, output, target):
    ...         difference = np.subtract(output, target)
    ...         return np.abs(difference).mean(), np.sign(difference) / difference.size
    >>> value, gradient = MeanAbsoluteError()([3.0, 1.0], [1.0, 1.0])
    >>> float(value), gradient
    (1.0, array([0.5, 0. ]))

    Its settings are a frozen dataclass: a subclass of ``ruvector_attention.config.Settings``, as its ``Config``.
    """

    noun = "training part"
    kind: ClassVar[str]
    paper: ClassVar[str] = ""

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        self.config = self.Config.from_arguments(type(self).__name__, settings, named_settings)
        self._setup()

    def _setup(self) -> None:
        """Make what the settings call for (a random generator, above all); once, when the object is made."""

    @classmethod
    def _named(cls, name: str) -> type[TrainingPart]:
        return get_part(name)


def register_part(cls: AnyPart) -> AnyPart:
    """Class decorator: the part appears in create_part(), parts(), describe() and all that reads them.

    Raises: InvalidConfigError for a class that forgets part of the contract, or takes another's name.
    """
    kind = getattr(cls, "kind", None)
    if kind not in KINDS:
        raise InvalidConfigError(f"{cls.__qualname__}.kind is {kind!r}{did_you_mean(kind, KINDS)}")
    if not callable(getattr(cls, KINDS[kind], None)):
        raise InvalidConfigError(f"{cls.__qualname__} lacks {KINDS[kind]}, which every {kind} has")
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, Settings)):
        raise InvalidConfigError(f"{cls.__qualname__}.Config is not a subclass of Settings")
    registry.keep(cls, _PARTS)
    return cls


def parts(kind: str | None = None) -> list[str]:
    """The names of all training parts, or of those of one kind, sorted."""
    if kind is not None and kind not in KINDS:
        raise InvalidConfigError(f"kind is {kind!r}{did_you_mean(kind, KINDS)}")
    return sorted(name for name, cls in _PARTS.items() if kind in (None, cls.kind))


def get_part(name: str) -> type[TrainingPart]:
    """The class of that name."""
    found: type[TrainingPart] = registry.find(name, _PARTS, TrainingPart.noun, "_loss")
    return found


def create_part(name: str, /, **settings: Any) -> TrainingPart:
    """A loss, an optimizer, a schedule or a miner from its name and settings."""
    return get_part(name)(**settings)


def describe_parts() -> list[dict[str, Any]]:
    """Every part as plain data that JSON can hold."""
    return [
        {
            "name": cls.name,
            "kind": cls.kind,
            "class": cls.__name__,
            "summary": registry.summary(cls),
            "paper": cls.paper,
            "config": describe_settings(cls.Config),
            "methods": (methods := registry.methods(cls)),
            "parameters": {method: _positional(taking(cls, method)) for method in methods},
        }
        for _, cls in sorted(_PARTS.items())
    ]


def taking(cls: type[Configured], method: str) -> Callable[..., Any]:
    """The function whose parameters a method has: of a loss that passes all on to its call, that."""
    function: Callable[..., Any] = getattr(cls, method)
    passes_on = any(each.kind is each.VAR_POSITIONAL for each in inspect.signature(function).parameters.values())
    return cls.__call__ if passes_on and getattr(cls, "kind", None) == "loss" else function


def _positional(method: Callable[..., Any]) -> list[str]:
    """What a method takes one by one: a mapping at such a place is an argument, behind them it is options."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
