"""All that JavaScript needs: four verbs over handles. Runs in Pyodide, and anywhere else for its tests.

    describe()                            -> the registry as plain data, and how many handles are alive
    create(name, config)                  -> {"handle", "class", "config"}
    call(handle, method, args, kwargs)    -> what the method returns
    release(handle)                       -> whether there was one

An array is ``{"$array": flat buffer, "shape": [...], "dtype": "float32"}`` in both directions. An object that
JavaScript holds, a Memory among the arguments, is ``{"$handle": number}``; a number that JSON lacks,
``{"$number": "nan"}``. An error is ``{"class", "message", ...}``.

Pyodide's host has a request cross as JSON, by ``exchange``. Its arrays are copied once, from JavaScript into ``room``
and from where NumPy has them into JavaScript: ``$array`` is then a place in memory.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import itertools
import json
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import registry, training
from .arrays import FLOAT32
from .config import Settings
from .errors import AttentionError, InvalidConfigError, OutOfBoundsError, UnsupportedError
from .masks import AttentionMask
from .suggest import did_you_mean

ALIGNMENT = 64  # bytes, of the arrays of a request
KEPT = 4 << 20  # bytes of room that stay from one request to the next
REPEATED = 2000  # characters of a request that may come again as it is
SAFE_INTEGER = 2**53 - 1  # the largest that a number of JavaScript's holds with all below it

NAMES = {char: np.dtype(char).name for char in "?bBhHiIlLqQfd"}  # to look up: it is made anew whenever it is asked for

_handles = itertools.count(1)
_objects: dict[int, Any] = {}
_room: np.ndarray[Any, Any] | None = None  # where the arrays of requests lie
_room_begins = 0
_idle = 0  # references to the room while nobody has an array in it
_leaving: list[np.ndarray[Any, Any]] = []  # what JavaScript has yet to read

anchor = bytearray(1)  # by which JavaScript finds the memory that all of this lies in


def describe() -> dict[str, Any]:
    described: dict[str, Any] = _sent({**registry.describe(), "handles": len(_objects)})
    return described


def create(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A mechanism or part of training by its name, or ``module:Class`` for a class that JavaScript brought along."""
    settings = _received_items(config)
    created = _class(name)(**settings)
    handle = next(_handles)
    _objects[handle] = created
    accepted = created.get_config() if hasattr(created, "get_config") else settings
    return {"handle": handle, "class": type(created).__name__, "config": _sent(accepted)}


def call(handle: int, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    return _sent(_result_of(handle, method, args, kwargs))


def _result_of(handle: int, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    found = _held(handle)
    function = None if method.startswith("_") else getattr(found, method, None)
    if not callable(function):
        raise UnsupportedError(f"{type(found).__name__} has no method '{method}'")
    positional = [_received(value) for value in args]
    if not kwargs:
        return function(*positional)
    named = _received_items(kwargs)
    if named and _is_argument(named, function, len(positional)):
        positional, named = [*positional, named], {}
    return function(*positional, **named)


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
    return _answer(_VERBS[verb], arguments)


def _answer(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"value": function(**arguments)}
    except Exception as error:  # noqa: BLE001  whatever it is, JavaScript must hear of it
        return {"error": _described(error)}


def room(size: int) -> int:
    """The address at which JavaScript writes the arrays of its requests from now on; 0 without memory for them.

    What keeps an array of a request keeps this memory too: the reply says so, and the next request asks for other.
    """
    global _room, _room_begins, _idle
    _room = None
    try:
        _room = np.empty(size + ALIGNMENT, np.uint8)
    except (MemoryError, OverflowError, ValueError):  # NumPy has all three for it, by the size
        return 0
    _idle = _holders_of_room()
    address = _address(_room)
    _room_begins = -address % ALIGNMENT
    return address + _room_begins


def _holders_of_room() -> int:
    """How many references there are, as this version of Python counts them."""
    return sys.getrefcount(_room)


def exchange(text: str) -> str:
    """``dispatch`` of ``{"verb", "args"}`` whose arrays begin so many bytes into the room; its reply, with addresses,
    and with ``keeps`` where the room is not to be written any more. What lies at the addresses stays until ``leave``.
    """
    global _room
    leave()
    request = _parsed(text) if len(text) < REPEATED else _PARSER.decode(text)
    verb = request["verb"]
    reply = _answer(_call if verb == "call" else _VERBS[verb], request["args"])
    keeps = ""
    if _room is not None and (_holders_of_room() != _idle or _room.size > KEPT):
        _room, keeps = None, ',"keeps":true'
    value = reply.get("value")
    written = f'{{"value":{value}' if type(value) is _Json else _ENCODER.encode(reply)[:-1]
    return f"{written}{keeps}}}"


class _Json(str):
    """A value that is written already."""

    __slots__ = ()


def _call(**arguments: Any) -> Any:
    """``call``; its usual result in few steps, each of which is slow after a kernel has had the caches."""
    result = _result_of(**arguments)
    if type(result) is np.ndarray and result.dtype is FLOAT32 and result.flags.carray:
        return _Json(f'{{"$array":{_leaving_from(result)},"shape":{[*result.shape]},"dtype":"float32"}}')
    return _sent(result)


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """An array in the room."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_bool: bool


def _placed(parsed: dict[str, Any]) -> Any:
    begin = parsed.get("$array")
    if not isinstance(begin, int):
        return parsed
    is_bool = parsed["dtype"] == "bool"
    return _Placed(begin, tuple(parsed["shape"]), np.dtype("uint8" if is_bool else parsed["dtype"]), is_bool)


_PARSER = json.JSONDecoder(object_hook=_placed)


@functools.lru_cache(maxsize=32)
def _parsed(text: str) -> dict[str, Any]:
    """Calls are mostly alike but for the numbers in their arrays. Nothing that a method gets is part of it."""
    parsed: dict[str, Any] = _PARSER.decode(text)
    return parsed


def leave() -> None:
    """JavaScript has read the arrays of the last reply."""
    _leaving.clear()


def _leaving_from(array: np.ndarray[Any, Any]) -> int:
    _leaving.append(array)
    return _address(array)


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


_ENCODER = json.JSONEncoder(default=_leaving_from, separators=(",", ":"), check_circular=False, allow_nan=False)


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
    """A value from JavaScript, its arrays as ndarrays over the memory that they came in."""
    if type(value) is _Placed:
        array: np.ndarray[Any, Any] = np.ndarray(value.shape, value.dtype, _room, _room_begins + value.begin)
        return array != 0 if value.is_bool else array
    if isinstance(value, dict):
        if "$array" in value:
            flat = np.frombuffer(value["$array"], dtype="uint8" if value["dtype"] == "bool" else value["dtype"])
            array = flat.reshape(tuple(value["shape"]))
            return array != 0 if value["dtype"] == "bool" else array
        if "$handle" in value:
            return _held(value["$handle"])
        if "$number" in value:
            return float(value["$number"])
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
        flat = np.ascontiguousarray(_for_javascript(value)).reshape(-1)
        return {
            "$array": flat.view("uint8") if flat.dtype == bool else flat,
            "shape": list(value.shape),
            "dtype": NAMES[flat.dtype.char],
        }
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"$number": str(int(value))}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$number": str(float(value))}
    if isinstance(value, np.generic):
        return _sent(value.item())
    if isinstance(value, AttentionMask):
        value = value.to_config()
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
    raise UnsupportedError(f"a result of type {type(value).__name__} cannot go to JavaScript")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _for_javascript(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.char not in NAMES:
        raise UnsupportedError(f"a result of dtype {array.dtype} cannot go to JavaScript")
    # 64-bit integers would arrive as BigInt, which nothing else in JavaScript mixes with
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and (not array.size or abs(array).max() < 2**31):
        return array.astype(np.int32)
    if not (array.flags.aligned and array.dtype.isnative):  # what no typed array can lie over
        return array.astype(array.dtype.newbyteorder("="))
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
