"""Attention in any space that knows its distances (Gulcehre et al., 2019; Gu et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import Float32Array
from ..config import Setting
from ..errors import InvalidConfigError, UnsupportedError
from ..geometry import EuclideanSpace, HyperbolicSpace, Manifold, ProductSpace, SphericalSpace, parse_space
from ..geometry.components import Component, Placed
from ..registry import register
from ..row_weights import RowWeights
from ..specs import KEYS, QUERY, VALUES, Binding
from .distance import INPUTS, Attended, DistanceAttention, DistanceConfig
from .manifold_means import ComponentMeans, OwnSpace

Array = npt.NDArray[Any]
OWN = "own"


@dataclass(frozen=True)
class ManifoldConfig(DistanceConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]
    space: Annotated[
        str,
        Setting("hyperbolic, spherical, euclidean, or a product with the channels and the curvature of each, "
                "'euclidean:4, hyperbolic:8:-0.5'; own: an object, as ManifoldAttention.over takes it"),
    ] = "hyperbolic"  # fmt: skip
    curvature: Annotated[float | None, Setting("of a space that does not say; None: -1 or 1")] = None
    power: Annotated[int, Setting("scores are -d^power; 1 for a single space only", at_least=1, at_most=2)] = 2
    aggregation: Annotated[
        str,
        Setting("sum: values of any kind; mean: values are points of the space, and the output is their Fréchet mean",
                choices=("sum", "mean")),
    ] = "sum"  # fmt: skip

    adaptive_curvature: Annotated[bool, Setting("the curvatures are parameters that are trained")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space == OWN:
            if self.adaptive_curvature:
                raise InvalidConfigError("adaptive_curvature is True in a space of your own; expected False there")
            return
        space = parse_space(self.space, self.dim, self.curvature)
        if self.power == 1 and isinstance(space, ProductSpace) and len(space.components) > 1:
            raise InvalidConfigError(
                f"power is 1 in the product {self.space!r}; expected 2, for squares of distances are what adds up there"
            )


@register
class ManifoldAttention(DistanceAttention):
    """out_i = sum_j w_ij v_j, or the mean of values that are points: the point with the least sum_j w_ij d(., v_j)^2;
    w_ij = softmax_j(-sum_s a_s d_s(q_i, k_j)^power / temperature + bias_ij)

    d_s are the distances in the components of a product of spaces, or in the one space that there is. It is named by
    the settings, and rows are projected into it (the ball, the sphere); or it is an object of your own with distance,
    exp_map, log_map, inner_product and curvature, see ``over``.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32; dim_value = dim with aggregation="mean"
    Units: curvatures are 1 / length^2, in the lengths that rows have: the ball and the sphere have the radius
            1 / sqrt(|curvature|)
    Parameters: component_weights (spaces of the product, or 1,), which are a, 1 at first; with adaptive_curvature
            log_curvatures (those that are curved,), the logarithms of their sizes.
    Memory: that of the inputs and outputs; for means, and in a space of your own, the weights of a few queries at a
            time besides.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = ManifoldAttention(dim=2, space="spherical", aggregation="mean")
    >>> attention([[1, 0]], [[1, 1], [1, -1]], [[1, 0], [0, 1]]).round(4)
    array([[0.7071, 0.7071]], dtype=float32)
    """

    name = "manifold"
    Config = ManifoldConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Gulcehre et al., 2019, arXiv:1805.09786; Gu et al., 2019, ICLR"

    config: ManifoldConfig

    @classmethod
    def over(cls, space: Any, dim: int, **settings: Any) -> Self:
        """Attention in a space that is an object: points are rows of its arrays, leading dimensions broadcast, and
        arrays come in float64.

        Gradients are made from log_map and inner_product, for the derivative of d(x, y)^2 along u is
        -2 <log_x(y), u>_x. A space of your own has no way back through its means.

        >>> import ruvector_attention as ra
        >>> ManifoldAttention.over(ra.geometry.HyperbolicSpace(-0.5), 4)
        ManifoldAttention(dim=4, curvature=-0.5)
        """
        named = _named(space)
        if named is not None:
            return cls(dim=dim, **named, **settings)
        if not isinstance(space, Manifold):
            raise UnsupportedError(
                f"space is {type(space).__name__}; expected distance, exp_map, log_map, inner_product and curvature"
            )
        attention = cls(dim=dim, space=OWN, **settings)
        attention._own = space
        return attention

    def _fixed_axes(self) -> dict[str, int]:
        axes = {"dim": self.config.dim}
        return {**axes, "dim_value": self.config.dim} if self.config.aggregation == "mean" else axes

    def _setup(self) -> None:
        config = self.config
        self._own: Any = None
        self._parts: list[Component] = []
        if config.space != OWN:
            space = parse_space(config.space, config.dim, config.curvature)
            pieces = space.components if isinstance(space, ProductSpace) else [(space, slice(0, config.dim))]
            self._parts = [_component(*piece) for piece in pieces]
        self._parameters["component_weights"] = np.ones(max(len(self._parts), 1), np.float32)
        curved = [part.c for part in self._parts if part.is_curved]
        if config.adaptive_curvature and curved:
            self._parameters["log_curvatures"] = np.log(curved).astype(np.float32)

    @property
    def components(self) -> list[Component]:
        """The spaces whose product this is, with the curvatures that they have now; none of a space of your own."""
        if "log_curvatures" not in self._parameters:
            return self._parts
        learned = iter(np.exp(self._parameters["log_curvatures"].astype(np.float64)).tolist())
        return [part._replace(c=next(learned)) if part.is_curved else part for part in self._parts]

    @property
    def space(self) -> Any:
        """The space, an object, with the curvatures that it has now."""
        if self.config.space != OWN:
            spaces = [(_space_of(part), part.end - part.begin) for part in self.components]
            return spaces[0][0] if len(spaces) == 1 else ProductSpace(spaces)
        if self._own is None:
            raise UnsupportedError(
                "space is 'own', which settings cannot hold; expected ManifoldAttention.over(space, dim)"
            )
        return self._own

    def _attended(
        self, binding: Binding, inputs: tuple[Float32Array, ...], options: dict[str, Any], training: bool
    ) -> Attended:
        is_own, is_mean = self.config.space == OWN, self.config.aggregation == "mean"
        if is_own and is_mean and training:
            raise UnsupportedError(f"training came with means in {self.space!r}; expected aggregation='sum' there")
        if is_own:  # a space of your own never sees what nobody reads
            inputs = self._training_arrays(binding)
        parts = self.components
        placed = [Placed(array, parts) for array in inputs[:2]]
        placed.append(Placed(inputs[2], parts if is_mean else []))
        attended, way_back = self._gathered(binding, parts, [one.rows for one in placed], options, training)

        def backward(grad: Float32Array) -> tuple[dict[str, Float32Array], Float32Array | None]:
            grads = way_back(grad)
            assert grads.spaces is not None
            of_weights, of_c = grads.spaces.T.copy()
            gradients: dict[str, Float32Array] = {}
            for name, one, of_rows in zip(INPUTS, placed, (grads.query, grads.keys, grads.values), strict=True):
                gradients[name], more = one.backward(of_rows)
                of_c[: len(more)] += more
            gradients["component_weights"] = of_weights.astype(np.float32)
            if "log_curvatures" in self._parameters:
                curved = [part.is_curved for part in parts]
                c = np.array([part.c for part in parts])
                gradients["log_curvatures"] = (of_c * c)[curved].astype(np.float32)
            return gradients, grads.bias

        return Attended(attended, backward)

    def _weighed(self, binding: Binding, options: dict[str, Any]) -> Float32Array:
        parts = self.components
        query, keys = (Placed(array, parts).rows for array in self._training_arrays(binding))
        if self.config.space != OWN:
            spaces = self._spaces(parts)
            return engine.weights(query, keys, scale=1 / self.config.temperature, **options, spaces=spaces)
        return self._own_space(RowWeights(query, keys, binding.lead, self._own_scale(), options), options).weights()

    def _spaces(self, parts: list[Component]) -> list[engine.Space]:
        power, weights = self.config.power, self._parameters["component_weights"].tolist()
        return [
            engine.Space(part.kind, part.begin, part.end, weight, part.c, power)
            for part, weight in zip(parts, weights, strict=True)
        ]

    def _own_scale(self) -> float:
        return float(self._parameters["component_weights"][0]) / self.config.temperature

    def _own_space(self, rows: RowWeights, options: dict[str, Any], **arrays: Array) -> OwnSpace:
        rows.check(options["check_finite"], query=rows.query, keys=rows.keys, **arrays)
        return OwnSpace(self.space, self.config.power, rows, options["check_finite"])

    def _gathered(
        self, binding: Binding, parts: list[Component], rows: list[Array], options: dict[str, Any], training: bool
    ) -> tuple[Float32Array, Callable[[Float32Array], engine.Gradients]]:
        """The outputs, and from a gradient of them those of the rows in their spaces."""
        config, scale, (query, keys, values) = self.config, 1 / self.config.temperature, rows
        share = config.dropout if training else 0.0
        if config.space != OWN:
            options = {**options, "spaces": self._spaces(parts)}
            if config.aggregation == "sum":
                return self._sum(query, keys, values, scale, options, training)
            weights = RowWeights(query, keys, binding.lead, scale, options)
            weights.check(options["check_finite"], query=query, keys=keys, values=values)
            means = ComponentMeans(weights, parts, values, share, self._dropout_seed(share))
            return means.points, means.backward
        weights = RowWeights(query, keys, binding.lead, self._own_scale(), options)
        own = self._own_space(weights, options, values=values)
        attended = own.attended(values, share, self._dropout_seed(share), config.aggregation == "mean")

        def backward(grad: Float32Array) -> engine.Gradients:
            grads = own.backward(grad)
            return grads._replace(spaces=np.array([[own.of_scale / config.temperature, 0.0]]))

        return attended, backward

    def _dropout_seed(self, share: float) -> int:
        return int(self._random.integers(1 << 32)) if share else 0


def _component(space: Any, channels: slice) -> Component:
    kind = {HyperbolicSpace: "poincare", SphericalSpace: "spherical", EuclideanSpace: "euclidean"}[type(space)]
    return Component(kind, channels.start, channels.stop, abs(space.curvature) or 1.0)


def _space_of(part: Component) -> Any:
    if part.kind == "euclidean":
        return EuclideanSpace()
    return HyperbolicSpace(-part.c) if part.kind == "poincare" else SphericalSpace(part.c)


def _named(space: Any) -> dict[str, Any] | None:
    """The settings that say what this space is, where settings can."""
    names: dict[type, str] = {HyperbolicSpace: "hyperbolic", SphericalSpace: "spherical"}
    if type(space) is EuclideanSpace:
        return {"space": "euclidean"}
    if type(space) in names:
        return {"space": names[type(space)], "curvature": space.curvature}
    if type(space) is not ProductSpace or any(_named(part) is None for part, _ in space.components):
        return None
    words = [
        f"euclidean:{channels.stop - channels.start}"
        if type(part) is EuclideanSpace
        else f"{names.get(type(part))}:{channels.stop - channels.start}:{part.curvature!r}"
        for part, channels in space.components
    ]
    return None if any(word.startswith("None") for word in words) else {"space": ", ".join(words)}
