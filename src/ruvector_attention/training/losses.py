"""Losses: what they all share, and the triplet loss."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike, as_float32, as_numbers, require_finite
from ..config import Setting, Settings
from ..errors import DimensionMismatchError, EmptyInputError, NumericalInstabilityError
from ..gradients import summed_to
from .part import TrainingPart, register_part

Array = npt.NDArray[Any]


class LossResult(NamedTuple):
    """A loss, and what to descend along: ``value, gradients = loss(...)``.

    ``value`` is a float, or with reduction="none" an array. ``gradients`` are by name of the argument, each of its
    shape, and float64 where that is a float64 array, float32 otherwise; with reduction="none" they are of the sum.
    """

    value: Any
    gradients: dict[str, Array]


class Arguments:
    """Arguments of a loss by name, checked and in float64, and the way back to the caller's shapes.

    Raises: UnsupportedError, DimensionMismatchError, EmptyInputError, NumericalInstabilityError
    """

    def __init__(self, same_dim: bool = True, /, **named: ArrayLike) -> None:
        self._arrays: dict[str, Array] = {}
        self._dtypes: dict[str, type[np.floating[Any]]] = {}
        for name, value in named.items():
            array = as_numbers(name, value)
            if array.ndim == 0 and same_dim:
                self.refuse(name, "(..., dim)", array)
            if array.size == 0:
                raise EmptyInputError(f"{name} is {array.shape}, without numbers; expected at least one row")
            require_finite(name, as_float32(name, array))  # what float32 holds: squares of that are finite
            self._arrays[name] = array.astype(np.float64, copy=False)
            is_wide = isinstance(value, np.ndarray) and value.dtype == np.float64
            self._dtypes[name] = np.float64 if is_wide else np.float32
        first = next(iter(self._arrays), "")
        for name, array in self._arrays.items():
            if same_dim and array.shape[-1] != (dim := self[first].shape[-1]):
                self.refuse(name, f"(..., dim) with dim = {dim}, from {first} {self[first].shape}", array)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def items(self) -> ItemsView[str, Array]:
        return self._arrays.items()

    def expect(self, name: str, holds: bool, expected: str) -> Array:
        """The argument, once its shape is known to be what is said.

        Raises: DimensionMismatchError.
        """
        if not holds:
            self.refuse(name, expected, self[name])
        return self[name]

    @staticmethod
    def refuse(name: str, expected: str, array: Array) -> None:
        raise DimensionMismatchError(f"{name} is {array.shape}; expected {expected}", actual=array.shape)

    def result(self, values: Any, reduction: str, gradients: Mapping[str, Array]) -> LossResult:
        """Values and the gradients of their sum, as the caller asked for them.

        Raises: NumericalInstabilityError, where a result is too large.
        """
        values = np.asarray(values)
        factor = 1 / values.size if reduction == "mean" else 1.0
        dtype = np.float64 if np.float64 in self._dtypes.values() else np.float32
        value = values.astype(dtype) if reduction == "none" else float(values.sum() * factor)
        found = {name: np.asarray(grad * factor, self._dtypes[name]) for name, grad in gradients.items()}
        for name, array in {"the loss": np.asarray(value), **found}.items():
            if not np.isfinite(array).all():
                what = name if name == "the loss" else f"the gradient of {name}"
                raise NumericalInstabilityError(f"{what} overflows; expected inputs of smaller magnitude")
        return LossResult(value, found)


def quiet(function: Callable[..., LossResult]) -> Callable[..., LossResult]:
    """Overflow without NumPy's warnings: Arguments.result raises for what comes of it."""
    return np.errstate(over="ignore", invalid="ignore")(function)


@dataclass(frozen=True, kw_only=True)
class LossConfig(Settings):
    reduction: Annotated[
        str, Setting("of the losses of the items of a batch", choices=("mean", "sum", "none"))
    ] = "mean"  # fmt: skip


class Loss(TrainingPart):
    """A loss: called with arrays, it answers its value and the gradients of all of them, a LossResult."""

    kind = "loss"
    Config: ClassVar[type[Settings]] = LossConfig

    def compute(self, *arguments: Any, **named: Any) -> float | Array:
        """The value alone."""
        value: float | Array = self(*arguments, **named).value  # type: ignore[operator]
        return value

    def compute_with_gradients(self, *arguments: Any, **named: Any) -> LossResult:
        """The same as calling it, for languages in which objects are not called."""
        result: LossResult = self(*arguments, **named)  # type: ignore[operator]
        return result


# --- rows and what lies between them


def dot(x: Array, y: Array) -> Array:
    """<x_i, y_i> with the last axis kept: (..., 1)."""
    products: Array = np.einsum("...d,...d->...", x, y)
    return products[..., None]


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, and 0 where it has none."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.zeros(shape), where=denominator != 0)


def unit(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Rows of length 1, and the way back to the gradient of x; a row of zeros has no direction and stays as it is."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    u = ratio(x, length)
    return u, lambda grad: ratio(grad - u * dot(u, grad), length)


Between = Callable[[Array, Array], tuple[Array, Callable[[Array], tuple[Array, Array]]]]


def _cosine(x: Array, y: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    (u, to_x), (v, to_y) = unit(x), unit(y)
    return 1 - dot(u, v), lambda grad: (to_x(-grad * v), to_y(-grad * u))


def _squared(x: Array, y: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    apart = x - y
    return dot(apart, apart), lambda grad: (2 * grad * apart, -2 * grad * apart)


def _euclidean(x: Array, y: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    squared, back = _squared(x, y)
    distance = np.sqrt(squared)
    return distance, lambda grad: back(ratio(grad, 2 * distance))


#: name -> (rows x, rows y) -> (distances (..., 1), the way back to the gradients of x and of y)
DISTANCES: dict[str, Between] = {"euclidean": _euclidean, "squared_euclidean": _squared, "cosine": _cosine}


@dataclass(frozen=True)
class TripletConfig(LossConfig):
    margin: Annotated[float, Setting("how much farther the negative is to be", at_least=0)] = 1.0
    distance: Annotated[str, Setting("d(a, b); cosine is 1 - <a, b> / (|a| |b|)", choices=tuple(DISTANCES))] = (
        "euclidean"
    )


@register_part
class TripletLoss(Loss):
    """L = max(0, d(anchor, positive) - d(anchor, negative) + margin)

    Shapes: anchor, positive, negative (..., dim); leading dimensions broadcast, so that (n, 1, dim) takes several
            negatives (n, m, dim) each. value (...) with reduction="none".
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError

    Where points coincide, the gradient of their distance is 0.

    >>> loss = TripletLoss(margin=1)
    >>> value, gradients = loss(anchor=[[0, 0]], positive=[[3, 4]], negative=[[0, 5]])
    >>> value, gradients["positive"].tolist()
    (1.0, [[0.6000000238418579, 0.800000011920929]])
    """

    name = "triplet"
    paper = "Schroff et al., 2015, arXiv:1503.03832"
    Config = TripletConfig
    config: TripletConfig

    @quiet
    def __call__(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> LossResult:
        given = Arguments(anchor=anchor, positive=positive, negative=negative)
        a, p, n = (given[name] for name in ("anchor", "positive", "negative"))
        lead = a.shape[:-1]
        for name, array in (("positive", p), ("negative", n)):
            try:
                lead = np.broadcast_shapes(lead, array.shape[:-1])
            except ValueError:
                given.refuse(name, f"(..., dim) whose leading dimensions broadcast with {lead}", array)
        distance = DISTANCES[self.config.distance]
        (near, near_back), (far, far_back) = distance(a, p), distance(a, n)
        excess = near - far + self.config.margin
        grad = np.where(excess > 0, 1.0, 0.0)
        (to_a, to_p), (a_too, to_n) = near_back(grad), far_back(-grad)
        gradients = {"anchor": (to_a + a_too, a), "positive": (to_p, p), "negative": (to_n, n)}
        return given.result(
            np.maximum(excess, 0)[..., 0],
            self.config.reduction,
            {name: summed_to(grad, array.shape) for name, (grad, array) in gradients.items()},
        )
