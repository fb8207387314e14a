"""Spaces as objects: what ManifoldAttention takes, and what a space of one's own has to bring along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..arrays import ArrayLike
from ..errors import DimensionMismatchError, InvalidConfigError, UnsupportedError
from . import poincare, sphere
from ._points import Array, Points, dot, length, negative, overflow_is_told, points, positive, weights_of


@runtime_checkable
class Manifold(Protocol):
    """Points are rows of arrays, and leading dimensions broadcast."""

    @property
    def curvature(self) -> float | None:
        """Of the whole space; None where it is not the same everywhere."""

    def distance(self, x: ArrayLike, y: ArrayLike) -> Any: ...

    def exp_map(self, x: ArrayLike, v: ArrayLike) -> Any: ...

    def log_map(self, x: ArrayLike, y: ArrayLike) -> Any: ...

    def inner_product(self, x: ArrayLike, u: ArrayLike, v: ArrayLike) -> Any: ...


class HyperbolicSpace:
    """The Poincaré ball of a curvature below 0.

    >>> HyperbolicSpace(-1.0).distance([0, 0], [0.5, 0])
    np.float32(1.0986123)
    """

    def __init__(self, curvature: float = -1.0) -> None:
        self._c = negative(curvature)

    @property
    def curvature(self) -> float:
        return -self._c

    def distance(self, x: ArrayLike, y: ArrayLike) -> Any:
        return poincare.distance(x, y, -self._c)

    def exp_map(self, x: ArrayLike, v: ArrayLike) -> Any:
        return poincare.exp_map(x, v, -self._c)

    def log_map(self, x: ArrayLike, y: ArrayLike) -> Any:
        return poincare.log_map(x, y, -self._c)

    def inner_product(self, x: ArrayLike, u: ArrayLike, v: ArrayLike) -> Any:
        return poincare.inner_product(x, u, v, -self._c)

    def transport(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Any:
        return poincare.transport(x, y, v, -self._c)

    def project(self, x: ArrayLike) -> Any:
        """The nearest point of the space, by the length of x."""
        return poincare.project_to_ball(x, -self._c)

    def mean(self, x: ArrayLike, weights: ArrayLike | None = None) -> Any:
        """The Fréchet mean of rows."""
        return poincare.frechet_mean(x, weights, -self._c)

    def __repr__(self) -> str:
        return f"HyperbolicSpace({-self._c!r})"


class SphericalSpace:
    """The sphere of a curvature above 0, whose radius is 1 / sqrt(curvature); points are rows of that length."""

    def __init__(self, curvature: float = 1.0) -> None:
        self._c = positive(curvature)

    @property
    def curvature(self) -> float:
        return self._c

    @property
    def radius(self) -> float:
        return float(self._c**-0.5)

    def distance(self, x: ArrayLike, y: ArrayLike) -> Any:
        return sphere.distance(x, y, self._c)

    def exp_map(self, x: ArrayLike, v: ArrayLike) -> Any:
        return sphere.exp_map(x, v, self._c)

    def log_map(self, x: ArrayLike, y: ArrayLike) -> Any:
        return sphere.log_map(x, y, self._c)

    def inner_product(self, x: ArrayLike, u: ArrayLike, v: ArrayLike) -> Any:
        return sphere.inner_product(x, u, v, self._c)

    def transport(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Any:
        return sphere.transport(x, y, v, self._c)

    def project(self, x: ArrayLike) -> Any:
        """x scaled to the radius."""
        return sphere.project_to_sphere(x, self._c)

    def mean(self, x: ArrayLike, weights: ArrayLike | None = None) -> Any:
        """The Fréchet mean of rows."""
        return sphere.frechet_mean(x, weights, self._c)

    def __repr__(self) -> str:
        return f"SphericalSpace({self._c!r})"


class EuclideanSpace:
    """Where all is straight."""

    curvature = 0.0

    def distance(self, x: ArrayLike, y: ArrayLike) -> Any:
        given = points(x=x, y=y)
        return given.answer(length(given.arrays[0] - given.arrays[1])[..., 0])

    def exp_map(self, x: ArrayLike, v: ArrayLike) -> Any:
        given = points(x=x, v=v)
        return given.answer(given.arrays[0] + given.arrays[1])

    def log_map(self, x: ArrayLike, y: ArrayLike) -> Any:
        given = points(x=x, y=y)
        return given.answer(given.arrays[1] - given.arrays[0])

    def inner_product(self, x: ArrayLike, u: ArrayLike, v: ArrayLike) -> Any:
        given = points(x=x, u=u, v=v)
        return given.answer(dot(*given.arrays[1:])[..., 0])

    def transport(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Any:
        given = points(x=x, y=y, v=v)
        return given.answer(np.broadcast_arrays(*given.arrays)[2])

    def project(self, x: ArrayLike) -> Any:
        given = points(x=x)
        return given.answer(given.arrays[0])

    def mean(self, x: ArrayLike, weights: ArrayLike | None = None) -> Any:
        given = points(x=x)
        return given.answer((weights_of(weights, given.arrays[0]) * given.arrays[0]).sum(axis=-2))

    def __repr__(self) -> str:
        return "EuclideanSpace()"


class ProductSpace:
    """Several spaces side by side, each with channels of its own: d^2 = sum of d_i^2 (Gu et al., 2019).

    >>> space = ProductSpace([(EuclideanSpace(), 1), (SphericalSpace(1.0), 2)])
    >>> space.distance([3.0, 1.0, 0.0], [3.0, 0.0, 1.0])
    np.float32(1.5707964)
    """

    def __init__(self, components: Iterable[tuple[Any, int]]) -> None:
        self._parts: list[tuple[Any, slice]] = []
        first = 0
        for space, dim in components:
            if not isinstance(space, Manifold):
                raise UnsupportedError(
                    f"{type(space).__name__} is no space; expected distance, exp_map, log_map, inner_product, curvature"
                )
            if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
                raise InvalidConfigError(f"the channels of {space!r} are {dim!r}; expected an integer of at least 1")
            self._parts.append((space, slice(first, first + dim)))
            first += dim
        if not self._parts:
            raise InvalidConfigError("components is empty; expected (space, channels) at least once")
        self.dim = first

    @property
    def components(self) -> list[tuple[Any, slice]]:
        """The spaces with their channels."""
        return list(self._parts)

    @property
    def curvature(self) -> float | None:
        """That of the components where it is the same in all; None in a mixture."""
        found = {space.curvature for space, _ in self._parts}
        return found.pop() if len(found) == 1 == len(self._parts) else None

    def distance(self, x: ArrayLike, y: ArrayLike) -> Any:
        parts = self._each("distance", x=x, y=y)
        return self._summed([part.astype(np.float64) ** 2 for part in parts], parts[0].dtype, np.sqrt)

    def exp_map(self, x: ArrayLike, v: ArrayLike) -> Any:
        return self._joined("exp_map", x=x, v=v)

    def log_map(self, x: ArrayLike, y: ArrayLike) -> Any:
        return self._joined("log_map", x=x, y=y)

    def inner_product(self, x: ArrayLike, u: ArrayLike, v: ArrayLike) -> Any:
        parts = self._each("inner_product", x=x, u=u, v=v)
        return self._summed(parts, parts[0].dtype)

    def transport(self, x: ArrayLike, y: ArrayLike, v: ArrayLike) -> Any:
        return self._joined("transport", x=x, y=y, v=v)

    def project(self, x: ArrayLike) -> Any:
        return self._joined("project", x=x)

    def mean(self, x: ArrayLike, weights: ArrayLike | None = None) -> Any:
        """The Fréchet mean of rows, component by component."""
        (array,), dtype = self._points(x=x)
        parts = [space.mean(array[..., channels].astype(dtype), weights) for space, channels in self._parts]
        return np.concatenate(parts, axis=-1)

    def _points(self, **named: ArrayLike) -> Any:
        given = points(**named)
        for (name, value), array in zip(named.items(), given.arrays, strict=True):
            if array.shape[-1] != self.dim:
                raise DimensionMismatchError(
                    f"{name} is {np.shape(value)}; expected (..., dim) with dim = {self.dim}, from {self!r}",
                    expected=self.dim,
                    actual=array.shape[-1],
                )
        lead = np.broadcast_shapes(*(array.shape[:-1] for array in given.arrays))
        spread = tuple(np.broadcast_to(array, (*lead, self.dim)) for array in given.arrays)
        return given._replace(arrays=spread)

    def _each(self, method: str, **named: ArrayLike) -> list[Array]:
        given = self._points(**named)
        return [
            np.asarray(getattr(space, method)(*(a[..., channels].astype(given.dtype) for a in given.arrays)))
            for space, channels in self._parts
        ]

    @staticmethod
    @overflow_is_told
    def _summed(parts: list[Array], dtype: np.dtype[Any], then: Callable[[Array], Array] = np.positive) -> Any:
        total: Array = np.stack(parts).sum(axis=0, dtype=np.float64)
        return Points((), dtype.type).answer(then(total))

    def _joined(self, method: str, **named: ArrayLike) -> Any:
        return np.concatenate(self._each(method, **named), axis=-1)

    def __repr__(self) -> str:
        parts = ", ".join(f"({space!r}, {channels.stop - channels.start})" for space, channels in self._parts)
        return f"ProductSpace([{parts}])"


NAMES = ("hyperbolic", "spherical", "euclidean")


def parse_space(text: str, dim: int, curvature: float | None = None) -> Any:
    """The space that a setting names: "hyperbolic", "spherical" or "euclidean", or a product of them with the channels
    and the curvature of each, "euclidean:4, hyperbolic:8:-0.5, spherical:4".

    ``curvature`` is that of components that do not say; None: -1 and 1.

    >>> parse_space("euclidean:2, hyperbolic:2:-0.5", 4)
    ProductSpace([(EuclideanSpace(), 2), (HyperbolicSpace(-0.5), 2)])
    """
    parts = [[word.strip() for word in part.split(":")] for part in text.split(",")]
    spaces = [_space(text, part, curvature) for part in parts]
    if len(parts) == 1 and len(parts[0]) == 1:
        return spaces[0]
    try:
        sizes = [int(part[1]) for part in parts]
    except (IndexError, ValueError):
        raise InvalidConfigError(
            f"space is {text!r}; expected each component with its channels, as in 'euclidean:4, hyperbolic:8:-0.5'"
        ) from None
    if sum(sizes) != dim:
        raise InvalidConfigError(f"space is {text!r}, {sum(sizes)} channels; expected dim = {dim}")
    return ProductSpace(list(zip(spaces, sizes, strict=True)))


def _space(text: str, part: list[str], curvature: float | None) -> Any:
    name = part[0]
    if name not in NAMES or len(part) > (2 if name == "euclidean" else 3):
        raise InvalidConfigError(f"space is {text!r}; expected hyperbolic, spherical, euclidean or a product of them")
    if name == "euclidean":
        return EuclideanSpace()
    given = curvature
    if len(part) == 3:
        try:
            given = float(part[2])
        except ValueError:
            raise InvalidConfigError(
                f"space is {text!r}; expected a number for the curvature, not {part[2]!r}"
            ) from None
    if name == "hyperbolic":
        return HyperbolicSpace(-1.0 if given is None else given)
    return SphericalSpace(1.0 if given is None else given)
