"""Settings of a mechanism: a frozen dataclass that checks itself and round-trips through JSON.

A field says what it is once, in its annotation, and everything else (checks, describe(), the types of other
languages) reads it there:

    @dataclass(frozen=True)
    class MyConfig(AttentionConfig):
        dim: Annotated[int, Setting("channels of query and keys", at_least=1)]
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from types import NoneType
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from .errors import InvalidConfigError
from .suggest import did_you_mean

#: The default guard against exhaustion: keys per call. Each mechanism has it as a setting.
MAX_SEQUENCE_LENGTH = 100_000


#: What float32 holds with all its digits, and so does the inverse of.
LEAST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True)
class Setting:
    """What an annotation says about a setting or an option: one sentence, and its range."""

    doc: str
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    type: str | None = None  # spelled out where the annotation would not say it: "array | None"
    in_process: bool = False  # of use only to a caller that shares memory with the call


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a configuration does, whatever its settings are: checks them, and turns into JSON and back."""

    def __post_init__(self) -> None:
        for field, kind, optional, setting in _typed_fields(type(self)):
            value = getattr(self, field.name)
            if value is None and optional:
                continue
            checked = checked_setting(field.name, value, kind, setting)
            object.__setattr__(self, field.name, checked)  # frozen: only here, before anyone sees it

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one for each setting."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_arguments(cls, owner: str, positional: tuple[Any, ...], named: Mapping[str, Any]) -> Self:
        """The configuration of a call ``owner(*positional, **named)``; unknown and missing names are told."""
        known = [field.name for field in settings_of(cls)]
        for name in named:
            if name not in known:
                raise InvalidConfigError(f"{owner} has no setting '{name}'{did_you_mean(name, known)}")
        ordered = [field.name for field in fields(cls) if not field.kw_only]
        if len(positional) > len(ordered):
            raise InvalidConfigError(
                f"{owner} takes {len(ordered)} settings by position ({', '.join(ordered)}), got {len(positional)}"
            )
        twice = [name for name in ordered[: len(positional)] if name in named]
        if twice:
            raise InvalidConfigError(f"{owner} got the setting '{twice[0]}' twice")
        given = dict(zip(ordered, positional, strict=False)) | dict(named)
        for field in settings_of(cls):
            if field.default is MISSING and field.name not in given:
                raise InvalidConfigError(f"{owner} needs the setting '{field.name}'")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(Settings):
    """The settings that every mechanism has; each mechanism adds its own."""

    seed: Annotated[int, Setting("seed of the initial parameters and of dropout", at_least=0)] = 0
    max_sequence_length: Annotated[
        int, Setting("keys that one call may have; more is an InputTooLargeError", at_least=1)
    ] = MAX_SEQUENCE_LENGTH


def settings_of(config: type[Settings]) -> list[Field[Any]]:
    """The fields of a configuration, the mechanism's own before the common ones."""
    return sorted(fields(config), key=lambda field: bool(field.kw_only))


def signature_of(config: type[Settings]) -> inspect.Signature:
    """The constructor's parameters as help() shows them: names, plain types, defaults."""
    kinds = {
        field.name: f"{_kind_name(kind)}{' | None' * optional}" for field, kind, optional, _ in _typed_fields(config)
    }
    return inspect.Signature(
        [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY if field.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=kinds[field.name],
            )
            for field in settings_of(config)
        ]
    )


def describe_settings(config: type[Settings]) -> list[dict[str, Any]]:
    """The settings as plain data, for other languages and for the command line."""
    described = []
    kinds = {field.name: (kind, optional, setting) for field, kind, optional, setting in _typed_fields(config)}
    for field in settings_of(config):
        kind, optional, setting = kinds[field.name]
        required = field.default is MISSING
        entry: dict[str, Any] = {
            "name": field.name,
            "type": _kind_name(kind) + (" | None" if optional else ""),
            "required": required,
            "default": None if required else _plain(field.default),
            "doc": setting.doc,
        }
        if setting.choices:
            entry["choices"] = list(setting.choices)
        for bound in ("at_least", "at_most", "above", "below"):
            if (limit := getattr(setting, bound)) is not None:
                entry[bound] = limit
        described.append(entry)
    return described


def nested(config: type[Settings]) -> list[type[Settings]]:
    """The settings that are items of this one's lists."""
    return [item for _, kind, *_ in _typed_fields(config) if _is_settings(item := _item_of(kind), inside=[kind])]


def _plain(value: Any) -> Any:
    """A setting as JSON has it: lists for tuples, mappings for settings among their items."""
    if isinstance(value, Settings):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _typed_fields(config: type) -> tuple[tuple[Field[Any], type, bool, Setting], ...]:
    """(field, type, may it be None, its Setting) for each field, read once a class."""
    if config not in _TYPED_FIELDS:
        hints = get_type_hints(config, include_extras=True)
        _TYPED_FIELDS[config] = tuple(
            (field, *_annotation(config, field.name, hints[field.name])) for field in fields(config)
        )
    return _TYPED_FIELDS[config]


_TYPED_FIELDS: WeakKeyDictionary[type, tuple[tuple[Field[Any], type, bool, Setting], ...]] = WeakKeyDictionary()


def _annotation(config: type, name: str, hint: Any) -> tuple[type, bool, Setting]:
    setting = Setting("")
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        setting = next((extra for extra in extras if isinstance(extra, Setting)), setting)
    choices = (hint,) if isinstance(hint, type) or _item_of(hint) else get_args(hint)
    kinds = [kind for kind in choices if kind is not NoneType]
    item = (_item_of(kinds[0]) or kinds[0]) if len(kinds) == 1 else None
    if item not in _WORDS and not _is_settings(item, inside=kinds[:1]):
        raise InvalidConfigError(
            f"{config.__name__}.{name} is annotated {hint}; "
            "a setting is int, float, bool or str, a tuple[..., ...] of them, or one of these | None"
        )
    return kinds[0], NoneType in choices, setting


def _item_of(kind: Any) -> Any:
    """What the items of ``tuple[kind, ...]`` are; None for what is no such tuple."""
    return get_args(kind)[0] if get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,) else None


def _is_settings(item: Any, inside: list[Any]) -> bool:
    """Whether these are the items of a tuple of settings, such as the stages of a curriculum."""
    return isinstance(item, type) and issubclass(item, Settings) and _item_of(inside[0]) is item


def _kind_name(kind: Any) -> str:
    item = _item_of(kind)
    return f"tuple[{item.__name__}, ...]" if item else str(kind.__name__)


def score_scale(scale: float, temperature: float) -> float:
    """The one factor of scores that are multiplied by one and divided by the other."""
    factor = scale / temperature
    if abs(factor) > LARGEST:
        raise InvalidConfigError(f"scale / temperature is {scale:g} / {temperature:g}; expected at most {LARGEST:.3g}")
    return factor


def checked_setting(name: str, value: Any, kind: type, setting: Setting) -> Any:
    """The value as exactly ``kind``, inside its range; the items of a tuple are each inside it."""
    if (item := _item_of(kind)) is not None:
        if not isinstance(value, list | tuple):
            raise InvalidConfigError(f"{name} is {value!r}; expected a list")
        return tuple(checked_setting(f"{name}[{index}]", each, item, setting) for index, each in enumerate(value))
    if issubclass(kind, Settings):
        if not isinstance(value, kind | Mapping):
            raise InvalidConfigError(f"{name} is {value!r}; expected a {kind.__name__} or a mapping of its settings")
        try:
            return kind.from_arguments(name, (), value) if isinstance(value, Mapping) else value
        except InvalidConfigError as error:
            raise error if str(error).startswith(name) else error.within(name) from None
    value = _converted(name, value, kind)
    rules = (
        (setting.at_least, operator.ge, "at least"),
        (setting.at_most, operator.le, "at most"),
        (setting.above, operator.gt, "above"),
        (setting.below, operator.lt, "below"),
    )
    for limit, holds, words in rules:
        if limit is not None and not holds(value, limit):
            raise InvalidConfigError(f"{name} is {value!r}; expected {words} {limit}")
    if setting.choices and value not in setting.choices:
        raise InvalidConfigError(f"{name} is {value!r}{did_you_mean(value, setting.choices)}")
    return value


def _converted(name: str, value: Any, kind: type) -> Any:
    wrong = InvalidConfigError(f"{name} is {value!r}; expected {_WORDS[kind]}")
    is_boolean = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if kind is bool:
        if not is_boolean:
            raise wrong
        return bool(value)
    if kind is str:
        if not isinstance(value, str):
            raise wrong
        return str(value)
    if is_boolean or isinstance(value, str | bytes):
        raise wrong
    try:
        # index() takes what is an integer by nature, so 8.5 heads are refused and numpy.int64(8) is not
        number = operator.index(value) if kind is int else float(value)
    except (TypeError, ValueError, OverflowError):
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)  # JSON written by other languages says 8.0
        raise wrong from None
    if kind is float and not math.isfinite(number):
        raise wrong
    if kind is float and number and not LEAST <= abs(number) <= LARGEST:  # kernels would compute with 0 or infinity
        raise InvalidConfigError(f"{name} is {value!r}; expected 0, or {LEAST:.3g} to {LARGEST:.3g} without its sign")
    return number


_WORDS = {int: "an integer", float: "a finite number", bool: "True or False", str: "a string"}
