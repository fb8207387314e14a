"""Arrays by their names, as optimizers take them: a mapping, a list of arrays, or one array alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike, as_numbers, require_finite
from ..errors import DimensionMismatchError, EmptyInputError, UnsupportedError

Array = npt.NDArray[Any]

#: Arrays by name, a list of them, or one.
ArraysLike: TypeAlias = Mapping[str, ArrayLike | None] | list[ArrayLike | None] | ArrayLike
#: The same, as it comes back: in the form in which it was given.
Arrays: TypeAlias = Any

FLOATS = (np.float32, np.float64)


def by_name(argument: str, given: Any) -> dict[str, Any]:
    """What is given, by name: the items of a list have their numbers for names, and so has a single array, 0.

    Raises: UnsupportedError, EmptyInputError.
    """
    if isinstance(given, Mapping):
        named = {str(name): value for name, value in given.items()}
    elif isinstance(given, list | tuple) and not all(isinstance(item, int | float) for item in given):
        named = {str(index): value for index, value in enumerate(given)}
    elif given is None or isinstance(given, str | bytes | set):
        raise UnsupportedError(f"{argument} is {given!r}; expected arrays by name, a list of arrays, or an array")
    else:
        named = {"0": given}
    if not named or (isinstance(given, list | tuple) and not len(given)):
        raise EmptyInputError(f"{argument} is empty; expected at least one array")
    return named


def as_given(given: Any, named: Mapping[str, Array]) -> Arrays:
    """The arrays by name in the form of what was given."""
    if isinstance(given, Mapping):
        return {name: named[str(name)] for name in given}
    is_list = isinstance(given, list | tuple) and not all(isinstance(item, int | float) for item in given)
    return list(named.values()) if is_list else named["0"]


def as_floats(label: str, value: Any) -> Array:
    """The numbers of a value, finite, in float64 where they are that, else in float32."""
    array = as_numbers(label, value)
    if array.dtype not in FLOATS:
        array = array.astype(np.float32)
    require_finite(label, array)
    return array


def to_change(label: str, value: Any) -> Array:
    """An array that can be changed in place.

    Raises: UnsupportedError, NumericalInstabilityError.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in FLOATS:
        kind = f"an array of {value.dtype.name}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise UnsupportedError(f"{label} is {kind}; expected a NumPy array of float32 or float64, to change in place")
    if not value.flags.writeable:
        raise UnsupportedError(f"{label} is read-only; expected an array to change in place")
    require_finite(label, value)
    return value


def fitting(gradients: Any, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The gradient of each parameter in its dtype, without those that are None: such a parameter stays as it is.

    Gradients of other names are none of this optimizer's: ``Attention.backward`` gives those of the inputs too.

    Raises: UnsupportedError, DimensionMismatchError, NumericalInstabilityError.
    """
    given = by_name("gradients", gradients)
    missing = [name for name in parameters if name not in given]
    if missing:
        raise UnsupportedError(
            f"gradients has none of {', '.join(missing)}; expected one for each of {', '.join(parameters)} "
            "(None for what is to stay)"
        )
    found = {}
    for name, parameter in parameters.items():
        if given[name] is None:
            continue
        label = f"gradients[{name!r}]"
        gradient = as_floats(label, given[name])
        if gradient.shape != parameter.shape:
            raise DimensionMismatchError(
                f"{label} is {gradient.shape}; expected {parameter.shape}, the shape of its parameter",
                expected=parameter.shape,
                actual=gradient.shape,
            )
        found[name] = gradient.astype(parameter.dtype, copy=False)
    return found
