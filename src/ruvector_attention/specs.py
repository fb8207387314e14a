"""Tensor specs: named axes that bind across the arguments of one call.

``TensorSpec("keys", "... n_key dim")`` is any number of leading axes, then n_key, then dim. Within a call an axis
has one size, whichever argument or setting brought it first, and the error for another size says where it is from:
``keys is (5, 3); expected (n_key, dim) with dim = 4, from query (2, 4)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import FLOAT32, ArrayLike, Float32Array, as_float32, as_numbers, require_finite
from .errors import (
    DimensionMismatchError,
    EmptyInputError,
    InputTooLargeError,
    InvalidConfigError,
    NumericalInstabilityError,
    UnsupportedError,
)
from .memory import Memory
from .ragged import IntArray, without_unread
from .rows import Rows

LEADING = "..."
KEY_AXES = ("n_key", "n_node", "n_item")  # what is looked at: max_sequence_length limits them


@dataclass(frozen=True)
class TensorSpec:
    """One array argument or result: its name and its axes, the last ones named, ``...`` for the leading."""

    name: str
    axes: str
    doc: str = ""
    optional: bool = False
    #: A query of one row may come without its row axis; so then does the result.
    bare_vector: bool = False
    dtype: str = "float32"

    @property
    def named_axes(self) -> tuple[str, ...]:
        return tuple(axis for axis in self.axes.split() if axis != LEADING)

    @property
    def has_leading(self) -> bool:
        return LEADING in self.axes.split()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "axes": self.axes.split(),
            "dtype": self.dtype,
            "optional": self.optional,
            "doc": self.doc,
        }


#: What most mechanisms take and give.
QUERY = TensorSpec("query", "... n_query dim", "what looks; (dim,) is one query", bare_vector=True)
KEYS = TensorSpec("keys", "... n_key dim", "what is looked at")
VALUES = TensorSpec("values", "... n_key dim_value", "what is brought back")
OUTPUT = TensorSpec("output", "... n_query dim_value")


@dataclass(slots=True)
class Binding:
    """The arrays of one call, in the order in which they were bound, and the sizes of its axes."""

    names: tuple[str, ...]
    arrays: tuple[Float32Array, ...]
    sizes: Mapping[str, int]
    lead: tuple[int, ...]
    is_vector: bool
    rows: Rows | None = None  # of the Memory that came for keys and values
    key_lengths: IntArray | None = None  # of shape lead

    def restore(self, output: Float32Array, axis: int = -2) -> Float32Array:
        """Drop the row axis again that a bare vector was given."""
        return output.squeeze(axis) if self.is_vector else output

    def lift(self, array: Float32Array) -> Float32Array:
        """Give the row axis back to a gradient of what ``restore`` dropped it from."""
        return array[..., None, :] if self.is_vector else array

    @contextmanager
    def blaming_inputs(self) -> Iterator[None]:
        """Where the engine meets NaN or infinity, name the input that brought it, at the index the caller knows.

        The engine sees projected arrays, in which one bad number has become a row of them.
        """
        try:
            yield
        except NumericalInstabilityError as error:
            for name, array in zip(self.names, self.arrays, strict=True):
                if self.key_lengths is not None and name != self.names[0]:
                    array = without_unread(array, self.key_lengths)
                require_finite(name, array[0] if self.is_vector and name == self.names[0] else array)
            blamed = str(error).startswith(("query holds", "keys holds", "values holds"))
            if self.key_lengths is None and not blamed:
                raise
            # the engine named what a map has made of inputs, or a number that nobody reads
            names = ", ".join(dict.fromkeys(self.names))
            raise NumericalInstabilityError(
                f"the result overflows float32 although what is read of {names} is finite; "
                "expected inputs of smaller magnitude"
            ) from None


class _Compiled:
    """A TensorSpec with what every call asks of it."""

    __slots__ = ("axes", "bare_vector", "has_leading", "keys", "spec")

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.axes = spec.named_axes
        self.has_leading = spec.has_leading
        self.bare_vector = spec.bare_vector
        self.keys = next((axis for axis in self.axes if axis in KEY_AXES), None)


class Signature:
    """The specs of one mechanism with the axis sizes its settings fix; made once, bound on every call."""

    def __init__(self, owner: str, specs: Iterable[TensorSpec], fixed: Mapping[str, int], max_keys: int) -> None:
        self._owner = owner
        self._specs = {spec.name: _Compiled(spec) for spec in specs}
        self._fixed = dict(fixed)
        self._max_keys = max_keys

    def bind(self, **inputs: ArrayLike) -> Binding:
        """Convert and check arrays by name; those whose names are not given take no part.

        Raises: UnsupportedError, EmptyInputError, DimensionMismatchError, InputTooLargeError.
        """
        sizes = self._fixed.copy()
        arrays: list[Float32Array] = []
        seen: list[tuple[_Compiled, tuple[int, ...]]] = []
        lead: tuple[int, ...] = ()
        is_vector = False
        rows: Rows | None = None
        if isinstance(memory := inputs.get("keys"), Memory):
            rows = memory.rows
            inputs = _from_memory(rows, inputs)
        for name, value in inputs.items():
            compiled = self._specs[name]
            numbers = as_numbers(name, value)
            shape = full = numbers.shape
            if compiled.bare_vector and len(shape) == 1:
                full, is_vector = (1, *shape), True
            leading = self._bind_axes(compiled, shape, full, sizes, seen)
            if lead and leading and lead != leading:
                lead = _broadcast(name, shape, leading, lead, seen)
            elif leading:
                lead = leading
            seen.append((compiled, shape))
            array = as_float32(name, numbers)  # only now: what does not fit is not converted first
            arrays.append(array if full is shape else array[None, :])
        return Binding(tuple(inputs), tuple(arrays), sizes, lead, is_vector, rows)

    def _bind_axes(
        self,
        compiled: _Compiled,
        shape: tuple[int, ...],
        full: tuple[int, ...],
        sizes: dict[str, int],
        seen: list[tuple[_Compiled, tuple[int, ...]]],
    ) -> tuple[int, ...]:
        """Give the named axes their sizes, or find them agreeing; the leading dimensions are the answer."""
        name, axes = compiled.spec.name, compiled.axes
        first = len(full) - len(axes)
        if first < 0 or (first and not compiled.has_leading):
            raise DimensionMismatchError(
                f"{name} is {shape}, {len(shape)}-dimensional; expected {_written(compiled.spec)}",
                expected=len(axes),
                actual=len(shape),
            )
        if 0 in shape:
            raise EmptyInputError(f"{name} is {shape}, without elements; expected {_written(compiled.spec)}")
        for axis, size in zip(axes, full[first:], strict=True):
            bound = sizes.setdefault(axis, size)
            if bound != size:
                expected = f"({'..., ' if first else ''}{', '.join(axes)})"
                raise DimensionMismatchError(
                    f"{name} is {shape}; expected {expected} with {axis} = {bound}, from {self._source(axis, seen)}",
                    expected=bound,
                    actual=size,
                )
        if compiled.keys and sizes[compiled.keys] > self._max_keys:
            raise InputTooLargeError(
                f"{name} is {shape}, {sizes[compiled.keys]} keys; expected at most {self._max_keys} "
                f"(max_sequence_length raises the limit)"
            )
        return full[:first]

    def _source(self, axis: str, seen: list[tuple[_Compiled, tuple[int, ...]]]) -> str:
        """Where an axis has its size from: an argument, which the caller has before his eyes, or else the settings."""
        for compiled, shape in seen:
            if axis in compiled.axes:
                return f"{compiled.spec.name} {shape}"
        return f"the settings of {self._owner}"


def _from_memory(rows: Rows, inputs: dict[str, ArrayLike]) -> dict[str, ArrayLike]:
    """The inputs with the rows of a Memory in the places of keys and, where they are asked for, values."""
    if inputs.get("values") is not None:
        raise UnsupportedError("values came beside a Memory; expected none, for it holds its own")
    return {**inputs, "keys": rows.keys, **({"values": rows.values} if "values" in inputs else {})}


def _broadcast(
    name: str,
    shape: tuple[int, ...],
    leading: tuple[int, ...],
    lead: tuple[int, ...],
    seen: list[tuple[_Compiled, tuple[int, ...]]],
) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(lead, leading)
    except ValueError:
        sources = " and ".join(f"{compiled.spec.name} {earlier}" for compiled, earlier in seen)
        raise DimensionMismatchError(
            f"{name} is {shape}; its leading dimensions {leading} do not broadcast with {lead}, from {sources}",
            expected=lead,
            actual=leading,
        ) from None


def check_specs(owner: str, specs: Iterable[TensorSpec]) -> None:
    """Refuse a class whose specs could not bind: doubled names, ``...`` anywhere but in front."""
    seen: set[str] = set()
    for spec in specs:
        axes = spec.axes.split()
        if spec.name in seen or not axes or LEADING in axes[1:] or axes == [LEADING]:
            raise InvalidConfigError(
                f"{owner}: the spec {spec.name} '{spec.axes}' is doubled or not of the form '... axis axis'"
            )
        seen.add(spec.name)


def _written(spec: TensorSpec) -> str:
    axes = spec.named_axes
    written = f"({', '.join(spec.axes.split())}{',' if len(axes) == 1 and not spec.has_leading else ''})"
    return written + (f" or ({axes[-1]},)" if spec.bare_vector else "")


def are_plain_matrices(query: ArrayLike, keys: ArrayLike, values: ArrayLike, dim: int, max_keys: int) -> bool:
    """True for three float32 matrices that fit each other: what Signature.bind would pass on unchanged.

    This is the everyday call, and it is recognised in a fraction of the time that binding takes. False says
    nothing: bind decides, and words the error if there is one.
    """
    if not type(query) is type(keys) is type(values) is np.ndarray:
        return False
    # NumPy holds one dtype object for native float32, so identity suffices here; a lookalike goes the longer way
    if not query.dtype is keys.dtype is values.dtype is FLOAT32:
        return False
    try:
        n_query, dim_query = query.shape
        n_key, dim_key = keys.shape
        n_value, dim_value = values.shape
    except ValueError:  # not two axes
        return False
    fit: bool = dim_query == dim == dim_key and n_query > 0 and dim_value > 0 and 0 < n_key == n_value <= max_keys
    return fit
