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

from .arrays import FLOAT32, ArrayLike, Float32Array, as_float32, require_finite
from .errors import (
    DimensionMismatchError,
    EmptyInputError,
    InputTooLargeError,
    InvalidConfigError,
    NumericalInstabilityError,
)

LEADING = "..."


@dataclass(frozen=True)
class TensorSpec:
    """One array argument or result: its name and its axes, the last ones named, ``...`` for the leading."""

    name: str
    axes: str
    doc: str = ""
    optional: bool = False
    #: A query of one row may come without its row axis; so then does the result.
    bare_vector: bool = False

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
            "dtype": "float32",
            "optional": self.optional,
            "doc": self.doc,
        }


#: What most mechanisms take and give.
QUERY = TensorSpec("query", "... n_query dim", "what looks; (dim,) is one query", bare_vector=True)
KEYS = TensorSpec("keys", "... n_key dim", "what is looked at")
VALUES = TensorSpec("values", "... n_key dim_value", "what is brought back")
OUTPUT = TensorSpec("output", "... n_query dim_value")


@dataclass(frozen=True)
class Binding:
    """The arrays of one call, in the order in which they were bound, and the sizes of its axes."""

    names: tuple[str, ...]
    arrays: tuple[Float32Array, ...]
    sizes: Mapping[str, int]
    lead: tuple[int, ...]
    is_vector: bool

    def restore(self, output: Float32Array, axis: int = -2) -> Float32Array:
        """Drop the row axis again that a bare vector was given."""
        return output.squeeze(axis) if self.is_vector else output

    @contextmanager
    def blaming_inputs(self) -> Iterator[None]:
        """Where the engine meets NaN or infinity, name the input that brought it, at the index the caller knows.

        The engine sees projected arrays, in which one bad number has become a row of them.
        """
        try:
            yield
        except NumericalInstabilityError:
            for name, array in zip(self.names, self.arrays, strict=True):
                require_finite(name, array[0] if self.is_vector and name == self.names[0] else array)
            raise


@dataclass(frozen=True)
class _Size:
    size: int
    source: str


class Signature:
    """The specs of one mechanism with the axis sizes its settings fix; made once, bound on every call."""

    def __init__(self, owner: str, specs: Iterable[TensorSpec], fixed: Mapping[str, int], max_keys: int) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.max_keys = max_keys
        settings = f"the settings of {owner}"
        self._fixed = {axis: _Size(size, settings) for axis, size in fixed.items()}

    def bind(self, **inputs: ArrayLike) -> Binding:
        """Convert and check arrays by name; those whose names are not given take no part.

        Raises: UnsupportedError, EmptyInputError, DimensionMismatchError, InputTooLargeError.
        """
        sizes = dict(self._fixed)
        arrays: list[Float32Array] = []
        lead: tuple[int, ...] = ()
        lead_source = ""
        is_vector = False
        for name, value in inputs.items():
            spec = self.specs[name]
            array = as_float32(name, value)
            shape = array.shape
            if array.size == 0:
                raise EmptyInputError(f"{name} is {shape}, without elements; expected {_written(spec)}")
            if spec.bare_vector and array.ndim == 1:
                array, is_vector = array[None, :], True
            self._bind_axes(spec, array, shape, sizes)
            self._check_length(spec, array, shape)
            leading = array.shape[: array.ndim - len(spec.named_axes)]
            try:
                lead = np.broadcast_shapes(lead, leading)
            except ValueError:
                raise DimensionMismatchError(
                    f"{name} is {shape}; its leading dimensions {leading} do not broadcast with {lead}, "
                    f"from {lead_source}",
                    expected=lead,
                    actual=leading,
                ) from None
            lead_source = lead_source + (" and " if lead_source else "") + f"{name} {shape}"
            arrays.append(array)
        bound = {axis: entry.size for axis, entry in sizes.items()}
        return Binding(tuple(inputs), tuple(arrays), bound, lead, is_vector)

    def _bind_axes(
        self,
        spec: TensorSpec,
        array: Float32Array,
        shape: tuple[int, ...],
        sizes: dict[str, _Size],
    ) -> None:
        axes = spec.named_axes
        if array.ndim < len(axes) or (array.ndim > len(axes) and not spec.has_leading):
            raise DimensionMismatchError(
                f"{spec.name} is {shape}, of {len(shape)} dimensions; expected {_written(spec)}",
                expected=len(axes),
                actual=len(shape),
            )
        for axis, size in zip(axes, array.shape[array.ndim - len(axes) :], strict=True):
            bound = sizes.get(axis)
            if bound is None:
                sizes[axis] = _Size(size, f"{spec.name} {shape}")
            elif bound.size != size:
                expected = ", ".join(axes) if array.ndim == len(axes) else f"..., {', '.join(axes)}"
                raise DimensionMismatchError(
                    f"{spec.name} is {shape}; expected ({expected}) with {axis} = {bound.size}, from {bound.source}",
                    expected=bound.size,
                    actual=size,
                )
            elif axis in self._fixed:
                # an argument that agreed is a better witness than the settings: the caller has it before his eyes
                sizes[axis] = _Size(size, f"{spec.name} {shape}")

    def _check_length(self, spec: TensorSpec, array: Float32Array, shape: tuple[int, ...]) -> None:
        if "n_key" not in spec.named_axes:
            return
        n_key = array.shape[spec.named_axes.index("n_key") - len(spec.named_axes)]
        if n_key > self.max_keys:
            raise InputTooLargeError(
                f"{spec.name} is {shape}, {n_key} keys; expected at most {self.max_keys} "
                f"(max_sequence_length raises the limit)"
            )


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
    if not (type(query) is np.ndarray and type(keys) is np.ndarray and type(values) is np.ndarray):
        return False
    # NumPy holds one dtype object for native float32, so identity suffices here; a lookalike goes the longer way
    if not (query.dtype is FLOAT32 and keys.dtype is FLOAT32 and values.dtype is FLOAT32):
        return False
    rows, keyed, valued = query.shape, keys.shape, values.shape
    return (
        len(rows) == 2
        and len(keyed) == 2
        and len(valued) == 2
        and rows[1] == dim == keyed[1]
        and rows[0] > 0
        and valued[1] > 0
        and 0 < keyed[0] == valued[0] <= max_keys
    )
