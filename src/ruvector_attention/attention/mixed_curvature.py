"""Attention in a product of spaces of different curvature (Gu et al., 2019, ICLR: "Learning mixed-curvature
representations in product spaces")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import Float32Array
from ..config import Setting
from ..errors import InvalidConfigError
from ..geometry.components import (
    Component,
    Placed,
    means_of_sums,
    means_of_sums_backward,
    summands,
    summands_backward,
    summed_channels,
)
from ..registry import register
from ..row_weights import RowWeights
from ..specs import KEYS, QUERY, VALUES, Binding
from .distance import (
    INPUTS,
    Attended,
    DistanceAttention,
    DistanceConfig,
    check_curvature,
    log_parameter,
    sharpen_sums,
)

Array = npt.NDArray[Any]
NAMES = {"euclidean": "euclidean", "poincare": "hyperbolic", "spherical": "spherical"}


@dataclass(frozen=True)
class MixedCurvatureConfig(DistanceConfig):
    dim: Annotated[int, Setting("channels of queries and keys: Euclidean, hyperbolic, spherical", at_least=1)]
    hyperbolic_dim: Annotated[int | None, Setting("channels of the hyperbolic part; None: dim // 3", at_least=0)] = None
    spherical_dim: Annotated[int | None, Setting("channels of the spherical part; None: dim // 3", at_least=0)] = None
    hyperbolic_curvature: Annotated[float, Setting("of the hyperbolic part, below 0")] = -1.0
    spherical_curvature: Annotated[float, Setting("of the spherical part, above 0")] = 1.0
    fusion: Annotated[
        str,
        Setting("distance: -sum w d^2; scores: w <q, k> / sqrt(channels) - w d - w d",
                choices=("distance", "scores")),
    ] = "distance"  # fmt: skip
    aggregation: Annotated[
        str,
        Setting("sum: values of any kind; product: values are points of the same product, averaged in each part",
                choices=("sum", "product")),
    ] = "sum"  # fmt: skip
    adaptive_curvature: Annotated[bool, Setting("the curvatures are parameters that are trained")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_curvature("hyperbolic_curvature", self.hyperbolic_curvature)
        check_curvature("spherical_curvature", self.spherical_curvature, below=False)
        if self.euclidean_dim < 0:
            raise InvalidConfigError(
                f"hyperbolic_dim and spherical_dim are {self.hyperbolic_size} and {self.spherical_size}; "
                f"expected no more than dim = {self.dim} together"
            )

    @property
    def hyperbolic_size(self) -> int:
        return self.dim // 3 if self.hyperbolic_dim is None else self.hyperbolic_dim

    @property
    def spherical_size(self) -> int:
        return self.dim // 3 if self.spherical_dim is None else self.spherical_dim

    @property
    def euclidean_dim(self) -> int:
        """What the others leave."""
        return self.dim - self.hyperbolic_size - self.spherical_size


@register
class MixedCurvatureAttention(DistanceAttention):
    """out_i = sum_j softmax_j(-sum_s w_s d_s(q_i, k_j)^2 / temperature + bias_ij) v_j

    The channels are those of a Euclidean, a hyperbolic (Poincaré ball) and a spherical part, in this order; rows are
    projected into the ball and onto the sphere. With fusion="scores" the Euclidean part scores by w <q, k> / sqrt(its
    channels) and the others by -w d. With aggregation="product" values are points as queries and keys are, and the
    output is their weighted mean in each part: the sum, the gyromidpoint, the sum projected onto the sphere.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32; dim_value = dim with aggregation="product"
    Units: curvatures are 1 / length^2, in the lengths that rows have: the ball and the sphere have the radius
            1 / sqrt(|curvature|)
    Parameters: component_weights (parts that have channels,), 1 at first; with adaptive_curvature
            log_hyperbolic_curvature and log_spherical_curvature (1,), the logarithms of their sizes.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = MixedCurvatureAttention(dim=3, hyperbolic_dim=1, spherical_dim=1)
    >>> attention([[0, 0, 1]], [[0, 0, 2], [9, 0, -1]], [[3], [5]])
    array([[3.]], dtype=float32)
    """

    name = "mixed_curvature"
    Config = MixedCurvatureConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Gu et al., 2019, ICLR"

    config: MixedCurvatureConfig

    def _fixed_axes(self) -> dict[str, int]:
        axes = {"dim": self.config.dim}
        return {**axes, "dim_value": self.config.dim} if self.config.aggregation == "product" else axes

    def _setup(self) -> None:
        config, parts = self.config, self.components
        self._parameters["component_weights"] = np.ones(len(parts), np.float32)
        if config.adaptive_curvature:
            for part in parts:
                if part.is_curved:
                    self._parameters[_log_name(part)] = log_parameter(part.c)

    @property
    def components(self) -> list[Component]:
        """The parts that have channels, with the curvatures that they have now."""
        config = self.config
        sizes = {
            "euclidean": (config.euclidean_dim, 1.0),
            "poincare": (config.hyperbolic_size, -config.hyperbolic_curvature),
            "spherical": (config.spherical_size, config.spherical_curvature),
        }
        found, first = [], 0
        for kind, (size, c) in sizes.items():
            part = Component(kind, first, first + size, c)
            learned = self._parameters.get(_log_name(part))
            if learned is not None:
                part = part._replace(c=float(np.exp(learned[0], dtype=np.float64)))
            if size:
                found.append(part)
            first += size
        return found

    def _attended(
        self, binding: Binding, inputs: tuple[Float32Array, ...], options: dict[str, Any], training: bool
    ) -> Attended:
        parts, is_product = self.components, self.config.aggregation == "product"
        factors, options["spaces"] = self._spaces(parts)
        scale = 1 / self.config.temperature
        q, k = (Placed(array, parts) for array in inputs[:2])
        v = Placed(inputs[2], parts if is_product else [])
        summed = summands(v.rows, parts) if is_product else v.rows
        dropped = training and self.config.dropout > 0
        least = 0.0 if dropped else 1.0
        attended, way_back = self._sum(q.rows, k.rows, summed, scale, options, training)
        if is_product:
            sums = attended.astype(np.float64)
            if not dropped:
                for part, at in zip(parts, summed_channels(parts), strict=True):
                    if part.kind == "poincare":
                        own = v.rows[..., part.channels]
                        rows = lambda: RowWeights(q.rows, k.rows, binding.lead, scale, options)  # noqa: E731
                        sharpen_sums(sums[..., at], own, part.c, rows)
            attended = means_of_sums(sums, parts, least)

        def backward(of_output: Float32Array) -> tuple[dict[str, Float32Array], Float32Array | None]:
            of_c = np.zeros(len(parts))
            if is_product:
                of_sums, more = means_of_sums_backward(sums, of_output.astype(np.float64), parts, least)
                of_output, of_c = of_sums.astype(np.float32), of_c + more
            grads = way_back(of_output)
            assert grads.spaces is not None
            of_c += grads.spaces[:, 1]
            of_values: Array = grads.values
            if is_product:
                of_values, more = summands_backward(v.rows, of_values, parts)
                of_c += more
            gradients: dict[str, Float32Array] = {}
            for name, placed, of_rows in zip(INPUTS, (q, k, v), (grads.query, grads.keys, of_values), strict=True):
                gradients[name], more = placed.backward(of_rows)
                of_c[: len(more)] += more
            gradients["component_weights"] = (grads.spaces[:, 0] * factors).astype(np.float32)
            for part, of_one in zip(parts, of_c, strict=True):
                if _log_name(part) in self._parameters:
                    gradients[_log_name(part)] = np.array([of_one * part.c], np.float32)
            return gradients, grads.bias

        return Attended(attended, backward)

    def _weighed(self, binding: Binding, options: dict[str, Any]) -> Float32Array:
        parts = self.components
        q, k = (Placed(array, parts).rows for array in binding.arrays)
        _, options["spaces"] = self._spaces(parts)
        return engine.weights(q, k, scale=1 / self.config.temperature, **options)

    def _spaces(self, parts: list[Component]) -> tuple[Array, list[engine.Space]]:
        """The engine's spaces, and what each component weight is multiplied by there."""
        by_distance = self.config.fusion == "distance"
        factors, spaces = np.ones(len(parts)), []
        for i, (part, weight) in enumerate(zip(parts, self._parameters["component_weights"].tolist(), strict=True)):
            kind = part.kind
            if kind == "euclidean" and not by_distance:
                kind, factors[i] = "dot", (part.end - part.begin) ** -0.5
            spaces.append(
                engine.Space(kind, part.begin, part.end, weight * factors[i], part.c, 2 if by_distance else 1)
            )
        return factors, spaces


def _log_name(part: Component) -> str:
    return f"log_{NAMES[part.kind]}_curvature"
