"""The library on a case of mechanisms (cases.py): `create`, parameters where the case has any, one call."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

import ruvector_attention as ra

from ..cases import PARAMETER, MechanismCase
from . import Arrays, Call


def prepare(case: MechanismCase, arrays: Arrays) -> Call:
    attention = made(case.mechanism, case.settings)
    if case.parameters:
        state = {name: arrays[PARAMETER + name] for name in case.parameters}
        attention.load_state_dict({**attention.state_dict(), **state})
    given = {
        name: array.astype(np.int64) if name in case.whole else array
        for name, array in arrays.items()
        if not name.startswith(PARAMETER) and name != "grad"
    }
    if not case.backward:
        return partial(attention, **given)

    def call() -> tuple[Any, list[Any]]:
        output = attention(**given, training=True)
        gradients = attention.backward(arrays["grad"])
        return output, [gradients[name.removeprefix(PARAMETER)] for name in case.differentiated]

    return call


def made(name: str, settings: dict[str, Any]) -> Any:
    """The mechanism; settings that are lists of experts are the JSON that the library takes."""
    plain = {key: json.dumps(value) if isinstance(value, list) else value for key, value in settings.items()}
    return ra.create(name, **plain)
