"""Attention: the contract that every mechanism fulfils."""

from __future__ import annotations

import inspect
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from . import checkpoint, registry
from .arrays import ArrayLike, Float32Array, as_float32, require_finite
from .config import AttentionConfig
from .configured import Configured
from .errors import (
    AttentionError,
    DimensionMismatchError,
    EmptyInputError,
    InputTooLargeError,
    InvalidConfigError,
    NumericalInstabilityError,
    UnsupportedError,
)
from .memory import Memory
from .specs import OUTPUT, Binding, Signature, TensorSpec
from .suggest import did_you_mean


class _Recorded(NamedTuple):
    """A training forward: the shape of its output, and the way back from there."""

    shape: tuple[int, ...]
    backward: Callable[[Float32Array], dict[str, Float32Array]]


class Attention(Configured):
    """A mechanism: settings, parameters, and a ``forward`` from queries, keys and values to outputs.

    A mechanism of your own is a subclass with a name, its inputs and a ``forward``; ``@ra.register`` before it makes
    it known to ``create`` and to everything that reads the registry:

    >>> import numpy as np
    >>> import ruvector_attention as ra
    >>> class NearestAttention(ra.Attention):
    ...     '''out_i = v_j of the key j with the largest dot product'''
    ...     name = "nearest"
    ...     inputs = (ra.QUERY, ra.KEYS, ra.VALUES)
    ...     def forward(self, query, keys, values):
    ...         bound = self.bind(query=query, keys=keys, values=values)
    ...         query, keys, values = bound.arrays
    ...         nearest = np.argmax(query @ keys.swapaxes(-1, -2), axis=-1)
    ...         return bound.restore(np.take_along_axis(values, nearest[..., None], axis=-2))
    >>> NearestAttention()([[1, 0]], [[0, 1], [1, 0]], [[5, 6], [7, 8]])
    array([[7., 8.]], dtype=float32)
    """

    noun = "mechanism"
    Config: ClassVar[type[AttentionConfig]] = AttentionConfig
    inputs: ClassVar[tuple[TensorSpec, ...]] = ()
    outputs: ClassVar[tuple[TensorSpec, ...]] = (OUTPUT,)
    paper: ClassVar[str] = ""
    complexity: ClassVar[str] = "O(n_query * n_key * dim)"
    supports_variable_length: ClassVar[bool] = True

    config: AttentionConfig

    @classmethod
    def _named(cls, name: str) -> type[Attention]:
        return registry.get(name)

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        self.config = self.Config.from_arguments(type(self).__name__, settings, named_settings)
        self._parameters: dict[str, Float32Array] = {}
        self._random = np.random.default_rng(self.config.seed)
        self._recorded: _Recorded | None = None
        self._set_up()
        self._signature = Signature(repr(self), self.inputs, self._fixed_axes(), self.config.max_sequence_length)

    def _set_up(self) -> None:
        """Raises: InputTooLargeError, for sizes that no memory holds."""
        try:
            self._setup()
        except AttentionError:
            raise
        except (MemoryError, OverflowError, ValueError) as error:  # NumPy has all three for it, by the size
            if isinstance(error, ValueError) and not re.search("too (big|large)|maximum allowed", str(error), re.I):
                raise
            raise InputTooLargeError(f"{self!r} has parameters that memory does not hold: {error}") from error

    def _setup(self) -> None:
        """Make what the settings call for (parameters, above all); once, when the object is made."""

    def _fixed_axes(self) -> dict[str, int]:
        """The axes of the inputs whose sizes the settings fix: those that are settings by the same name."""
        axes = {axis for spec in self.inputs for axis in spec.named_axes}
        return {axis: size for axis in axes if isinstance(size := getattr(self.config, axis, None), int)}

    # --- computing

    @abstractmethod
    def forward(self, *inputs: Any, **options: Any) -> Float32Array:
        """The outputs for one set of inputs; leading dimensions are a batch of equal shapes."""

    def __call__(self, *inputs: Any, **options: Any) -> Float32Array:
        return self.forward(*inputs, **options)

    def forward_batch(
        self, items: Iterable[tuple[ArrayLike, ...] | Mapping[str, Any]], **options: Any
    ) -> list[Float32Array]:
        """The outputs of many items whose shapes may differ; ``options`` hold for all of them.

        An item is a tuple of inputs, ``(query, keys, values)``, or a mapping, which may also hold options of its
        own, ``{"query": q, "keys": k, "values": v, "mask": m}``; where there is one input only, it is that.

        Raises: EmptyInputError without items; an item's error says which item it was.
        """
        outputs = []
        for index, item in enumerate(items):
            try:
                outputs.append(self._forward_item(item, options))
            except AttentionError as error:
                raise error.within(f"item {index}") from None
        if not outputs:
            raise EmptyInputError("items is empty; expected at least one tuple of inputs")
        return outputs

    def _forward_item(self, item: Any, options: Mapping[str, Any]) -> Float32Array:
        wanted = f"({', '.join(spec.name for spec in self.inputs)})"
        if isinstance(item, Mapping):
            known = list(inspect.signature(self.forward).parameters)
            for name in item:
                if name not in known:
                    raise UnsupportedError(f"unknown '{name}'{did_you_mean(name, known)}")
            from_memory = isinstance(item.get("keys"), Memory)
            for spec in self.inputs:
                if not (spec.optional or spec.name in item or (from_memory and spec.name == "values")):
                    raise UnsupportedError(f"{spec.name} is missing; expected {wanted}")
            return self.forward(**{**options, **item})
        if len(self.inputs) == 1 and not isinstance(item, tuple):
            return self.forward(item, **options)
        if not isinstance(item, tuple | list):
            raise UnsupportedError(f"{type(item).__name__} came; expected a tuple {wanted}")
        needed = sum(not spec.optional for spec in self.inputs) - any(isinstance(value, Memory) for value in item)
        if not needed <= len(item) <= len(self.inputs):
            raise UnsupportedError(f"{len(item)} inputs came; expected {wanted}")
        return self.forward(*item, **options)

    def backward(self, grad_output: ArrayLike) -> dict[str, Float32Array]:
        """The gradients of the last ``forward(..., training=True)``, by name: of its inputs, of a bias or float mask
        that was given, and of every parameter; each has the shape of what it is the gradient of.

        ``grad_output`` is the gradient of a loss with respect to the output, of the output's shape.

        >>> import ruvector_attention as ra
        >>> attention = ra.ScaledDotProductAttention(dim=1)
        >>> attention([[0]], [[1], [2]], [[3], [5]], training=True)
        array([[4.]], dtype=float32)
        >>> attention.backward([[1]])["values"]
        array([[0.5],
               [0.5]], dtype=float32)

        Raises: UnsupportedError without such a forward; DimensionMismatchError, NumericalInstabilityError.
        """
        recorded = self._recorded
        if recorded is None:
            raise UnsupportedError(
                f"{self!r} has no forward to go back through; call forward(..., training=True) first"
            )
        grad = as_float32("grad_output", grad_output)
        if grad.shape != recorded.shape:
            raise DimensionMismatchError(
                f"grad_output is {grad.shape}; expected {recorded.shape}, the shape of the output",
                expected=recorded.shape,
                actual=grad.shape,
            )
        require_finite("grad_output", grad)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            gradients = recorded.backward(grad)
        for name, gradient in gradients.items():
            if not np.isfinite(gradient).all():
                raise NumericalInstabilityError(
                    f"the gradient of {name} overflows float32, or what it is summed from does; "
                    "expected inputs of smaller magnitude"
                )
        return gradients

    def _record(self, shape: tuple[int, ...], backward: Callable[[Float32Array], dict[str, Float32Array]]) -> None:
        """Keep what ``backward`` needs, until the next training forward or reset."""
        self._recorded = _Recorded(shape, backward)

    def bind(self, **inputs: ArrayLike) -> Binding:
        """The inputs, by name, as checked float32 arrays: the first line of a ``forward``."""
        return self._signature.bind(**inputs)

    def _memory_maps(self) -> dict[str, Callable[[Float32Array], Float32Array]]:
        """By the names "keys" and "values": what this mechanism makes of each row of a Memory before it attends to it,
        and so what ``Memory.project`` may keep; empty where it reads the rows as they are."""
        return {}

    def reset(self) -> None:
        """Back to the state in which the object was made, parameters excepted: dropout starts again from its seed."""
        self._random = np.random.default_rng(self.config.seed)
        self._recorded = None

    @property
    def hidden_dim(self) -> int:
        """Channels of a query."""
        return int(getattr(self.config, "dim", 0))

    # --- parameters

    def parameters(self) -> dict[str, Float32Array]:
        """The learned arrays by name; they are the object's own, so writing into them changes it."""
        return dict(self._parameters)

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(array.size for array in self._parameters.values())

    def state_dict(self) -> dict[str, Float32Array]:
        """A copy of all that distinguishes this object from a new one with the same settings."""
        return {name: array.copy() for name, array in self._parameters.items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over parameters; nothing is changed unless all fit.

        Raises: InvalidConfigError for names, DimensionMismatchError for shapes, NumericalInstabilityError.
        """
        unknown = sorted(set(state) - set(self._parameters))
        missing = sorted(set(self._parameters) - set(state))
        if unknown or missing:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
            raise InvalidConfigError(f"the state for {self!r} {' and '.join(parts)}")
        arrays = {name: as_float32(name, value) for name, value in state.items()}
        for name, array in arrays.items():
            expected = self._parameters[name].shape
            if array.shape != expected:
                raise DimensionMismatchError(
                    f"{name} is {array.shape}; expected {expected}", expected=expected, actual=array.shape
                )
            if not np.isfinite(array).all():
                raise NumericalInstabilityError(f"{name} holds NaN or infinity")
        for name, array in arrays.items():
            self._parameters[name][...] = array

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write settings and parameters to one safetensors file, whole or not at all."""
        checkpoint.save(Path(path), self.get_config(), self.state_dict())

    @classmethod
    def load_checkpoint(cls, path: str | os.PathLike[str]) -> Self:
        """The mechanism that save_checkpoint wrote; ``Attention.load_checkpoint`` makes whichever it was."""
        config, state = checkpoint.load(Path(path))
        attention = cls.from_config(config)
        attention.load_state_dict(state)
        return attention
