"""Every mechanism by its name: the one list from which command line, server, JavaScript and docs are derived."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from .config import AttentionConfig, Setting, describe_settings
from .errors import InvalidConfigError, UnsupportedError, error_names
from .kernels import backend
from .specs import check_specs
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .base import Attention
    from .configured import Configured

AnyAttention = TypeVar("AnyAttention", bound="type[Attention]")

_MECHANISMS: dict[str, type[Attention]] = {}


def register(cls: AnyAttention) -> AnyAttention:
    """Class decorator: the mechanism appears in create(), mechanisms(), describe() and all that reads them.

    Raises: InvalidConfigError for a class that forgets part of the contract, or takes another's name.
    """
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, AttentionConfig)):
        raise InvalidConfigError(f"{cls.__qualname__}.Config is not a subclass of AttentionConfig")
    if not cls.inputs or not cls.outputs:
        raise InvalidConfigError(f"{cls.__qualname__} names no inputs or no outputs; expected TensorSpecs")
    check_specs(cls.__qualname__, cls.inputs)
    keep(cls, _MECHANISMS)
    return cls


def keep(cls: type[Configured], known: dict[str, Any]) -> None:
    """Enter a class under its name, once it has one of its own, all methods, and settings that can be described."""
    owner = cls.__qualname__
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InvalidConfigError(f"{owner}.name is {name!r}; expected a name in snake_case")
    if inspect.isabstract(cls):
        raise InvalidConfigError(f"{owner} lacks {', '.join(sorted(cls.__abstractmethods__))}")
    describe_settings(cls.Config)
    holder = known.get(name)
    # a notebook cell that is run again defines its class again: that is the same mechanism
    if holder and (holder.__module__, holder.__qualname__) != (cls.__module__, owner):
        raise InvalidConfigError(f"{owner} is named '{name}', as {holder.__qualname__} is already")
    known[name] = cls


def mechanisms() -> list[str]:
    """The names of all mechanisms, sorted."""
    return sorted(_MECHANISMS)


def get(name: str) -> type[Attention]:
    """The class of that name; ``multi-head`` and ``flash_attention`` are understood too."""
    found: type[Attention] = find(name, _MECHANISMS, "mechanism", "_attention")
    return found


def find(name: str, known: dict[str, Any], noun: str, suffix: str) -> Any:
    """The class of that name among those known, with the suffix or without it."""
    if not isinstance(name, str):
        raise UnsupportedError(f"the {noun} is {type(name).__name__}; expected its name, a string")
    spelled = name.strip().lower().replace("-", "_").replace(" ", "_")
    for other in (name, spelled, f"{spelled}{suffix}", spelled.removesuffix(suffix)):
        if other in known:
            return known[other]
    raise InvalidConfigError(f"unknown {noun} '{name}'{did_you_mean(name, sorted(known))}")


def create(name: str, /, **settings: Any) -> Attention:
    """A mechanism from its name and settings.

    >>> create("scaled_dot_product", dim=64)
    ScaledDotProductAttention(dim=64)
    >>> create("flsh", dim=64)
    Traceback (most recent call last):
    ...
    ruvector_attention.errors.InvalidConfigError: unknown mechanism 'flsh'; did you mean 'flash'?
    """
    return get(name)(**settings)


@cache
def version() -> str:
    """The installed version of this package."""
    from importlib import metadata  # here: it would double the time of the import, and few ask

    return metadata.version("ruvector-attention")


def describe() -> dict[str, Any]:
    """All there is, as plain data that JSON can hold: mechanisms and parts of training with their settings, errors."""
    from . import training  # here: the import of the package does without it

    return {
        "version": version(),
        "backend": backend(),
        "errors": error_names(),
        "mechanisms": [_described(_MECHANISMS[name]) for name in mechanisms()],
        "training": training.describe_parts(),
    }


def summary(cls: type[Configured]) -> str:
    """The first paragraph of its docstring: the formula."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())


def _described(cls: type[Attention]) -> dict[str, Any]:
    return {
        "name": cls.name,
        "class": cls.__name__,
        "summary": summary(cls),
        "paper": cls.paper,
        "complexity": cls.complexity,
        "config": describe_settings(cls.Config),
        "inputs": [spec.describe() for spec in cls.inputs],
        "options": _options(cls),
        "outputs": [spec.describe() for spec in cls.outputs],
        "methods": methods(cls),
    }


def _options(cls: type[Attention]) -> list[dict[str, Any]]:
    """The keyword-only parameters of forward, which carry their Setting in the annotation."""
    try:
        hints = get_type_hints(cls.forward, include_extras=True)
    except NameError:  # annotations of a class made inside a function may name what only that function sees
        hints = {}
    options = []
    for parameter in inspect.signature(cls.forward).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        hint = hints.get(parameter.name)
        extras = getattr(hint, "__metadata__", ())
        setting = next((extra for extra in extras if isinstance(extra, Setting)), Setting(""))
        if setting.in_process:
            continue
        default = None if parameter.default is parameter.empty else parameter.default
        kind = setting.type or (hint.__name__ if isinstance(hint, type) else "any")
        options.append({"name": parameter.name, "type": kind, "default": default, "doc": setting.doc})
    return options


def methods(cls: type[Configured]) -> list[str]:
    """The public methods to call from outside: not class methods, nor those for files or for authors of mechanisms."""
    found = inspect.getmembers(cls, inspect.isfunction)
    return [name for name, _ in found if not name.startswith("_") and name not in ("bind", "save_checkpoint")]
