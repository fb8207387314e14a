"""All that JavaScript needs: four verbs over handles. Runs in Pyodide, and anywhere else for its tests.

    describe()                            -> the registry as plain data, and how many handles are alive
    create(name, config)                  -> {"handle", "class", "config"}
    call(handle, method, args, kwargs)    -> what the method returns
    release(handle)                       -> whether there was one

An array is ``{"$array": flat buffer, "shape": [...], "dtype": "float32"}`` in both directions, so that one call is
one conversion each way and no proxy outlives it. An object that JavaScript holds, a Memory among the arguments, is
``{"$handle": number}``. An error is ``{"class", "message", ...}``.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import registry, training
from .config import Settings
from .errors import AttentionError, InvalidConfigError, OutOfBoundsError, UnsupportedError
from .masks import AttentionMask
from .suggest import did_you_mean

_handles = itertools.count(1)
_objects: dict[int, Any] = {}


def describe() -> dict[str, Any]:
    return {**registry.describe(), "handles": len(_objects)}


def create(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A mechanism or part of training by its name, or ``module:Class`` for a class that JavaScript brought along."""
    settings = _received_items(config)
    created = _class(name)(**settings)
    handle = next(_handles)
    _objects[handle] = created
    accepted = created.get_config() if hasattr(created, "get_config") else settings
    return {"handle": handle, "class": type(created).__name__, "config": _sent(accepted)}


def call(handle: int, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    found = _held(handle)
    function = None if method.startswith("_") else getattr(found, method, None)
    if not callable(function):
        raise UnsupportedError(f"{type(found).__name__} has no method '{method}'")
    positional = [_received(value) for value in args]
    named = _received_items(kwargs)
    if named and _is_argument(named, function, len(positional)):
        positional, named = [*positional, named], {}
    return _sent(function(*positional, **named))


def _held(handle: int) -> Any:
    found = _objects.get(handle)
    if found is None:
        raise OutOfBoundsError(f"handle {handle} is not alive; expected one that create() gave")
    return found


def release(handle: int) -> bool:
    return _objects.pop(handle, None) is not None


_VERBS: dict[str, Callable[..., Any]] = {
    "describe": describe,
    "create": create,
    "call": call,
    "release": release,
}


def dispatch(verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The one entry for JavaScript: never raises what Python code can raise, answers with it."""
    try:
        return {"value": _VERBS[verb](**arguments)}
    except Exception as error:  # noqa: BLE001  whatever it is, JavaScript must hear of it
        return {"error": _described(error)}


def _class(path: str) -> Callable[..., Any]:
    if ":" not in path:
        if path in training.parts():
            return training.get_part(path)
        try:
            return registry.get(path)
        except InvalidConfigError as error:
            meant = did_you_mean(path, training.parts())
            if "did you mean" in str(error) or "did you mean" not in meant:
                raise
            raise InvalidConfigError(f"unknown part of training '{path}'{meant}") from None
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidConfigError(f"'{path}' names no class: {error}") from error
    if not isinstance(found, type) or name.startswith("_"):
        raise InvalidConfigError(f"'{path}' is not a public class; expected module:Class")
    return found


def _is_argument(named: Mapping[str, Any], function: Callable[..., Any], given: int) -> bool:
    """JavaScript writes keywords and a mapping alike: it is a mapping where one is missing and no key is a keyword."""
    parameters = list(inspect.signature(function).parameters.values())
    if given >= len(parameters) or any(parameter.name in named for parameter in parameters):
        return False
    missing = parameters[given]
    return missing.kind is missing.POSITIONAL_OR_KEYWORD and missing.default is missing.empty


def _received(value: Any) -> Any:
    """A value from JavaScript, its arrays as ndarrays over the buffers that came."""
    if isinstance(value, Mapping):
        if "$handle" in value:
            return _held(value["$handle"])
        if "$array" in value:
            flat = np.frombuffer(value["$array"], dtype="uint8" if value["dtype"] == "bool" else value["dtype"])
            array = flat.reshape(tuple(value["shape"]))
            return array != 0 if value["dtype"] == "bool" else array
        return _received_items(value)
    return [_received(item) for item in value] if isinstance(value, list) else value


def _received_items(items: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their names; what is called a mask may be the config of one: {"type": "window", "window": 4}."""
    received = {key: _received(value) for key, value in items.items()}
    if isinstance(received.get("mask"), dict):
        received["mask"] = AttentionMask.from_config(received["mask"])
    return received


def _sent(value: Any) -> Any:
    """A value for JavaScript: plain data, arrays as flat buffers of a dtype that it has."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(_for_javascript(value))
        flat = array.reshape(-1)
        return {
            "$array": flat.view("uint8") if flat.dtype == bool else flat,
            "shape": list(value.shape),
            "dtype": flat.dtype.name,
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, AttentionMask):
        return value.to_config()
    if isinstance(value, Settings):  # the stage of a curriculum, by the names that JavaScript gives it
        return {_camel(key): _sent(item) for key, item in value.to_dict().items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _sent(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _sent(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sent(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UnsupportedError(f"a result of type {type(value).__name__} cannot go to JavaScript")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _for_javascript(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(f"a result of dtype {array.dtype} cannot go to JavaScript")
    if array.dtype == np.float16:
        return array.astype(np.float32)
    # 64-bit integers would arrive as BigInt, which nothing else in JavaScript mixes with
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and (not array.size or abs(array).max() < 2**31):
        return array.astype(np.int32)
    return array


def _described(error: Exception) -> dict[str, Any]:
    known = isinstance(error, AttentionError)
    return {
        "class": type(error).__name__,
        "message": str(error),
        "bases": [base.__name__ for base in type(error).__mro__[1:]],
        "expected": _sent(getattr(error, "expected", None)) if known else None,
        "actual": _sent(getattr(error, "actual", None)) if known else None,
        "traceback": "" if known else "".join(traceback.format_exception(error)),
    }
