"""Hyperbolic attention (Gulcehre et al., 2019, arXiv:1805.09786)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import engine, kernels
from ..arrays import ArrayLike, Float32Array, as_float32
from ..config import Setting, checked_setting
from ..geometry import frechet, midpoints, poincare
from ..gradients import addend_gradients
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, MaskLike, Training, check_flags
from ..products import FLOAT32
from ..registry import register
from ..row_weights import Part, RowWeights, item_of
from ..specs import KEYS, QUERY, VALUES, Binding
from .distance import (
    DistanceConfig,
    DistanceSums,
    check_curvature,
    kept_weights,
    log_parameter,
    sharpen_sums,
)

Array = npt.NDArray[Any]


FEW = 4  # queries for which reading keys and values is all of the work, so that it is done once


@dataclass(frozen=True)
class HyperbolicConfig(DistanceConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]
    curvature: Annotated[float, Setting("of the space, below 0")] = -1.0
    model: Annotated[
        str,
        Setting("which coordinates distances are computed in; inputs and outputs are points of the ball in both",
                choices=("poincare", "lorentz")),
    ] = "poincare"  # fmt: skip
    aggregation: Annotated[
        str,
        Setting("mean of the values: gyromidpoint and tangent in one pass, frechet exact and iterated",
                choices=("gyromidpoint", "frechet", "tangent")),
    ] = "gyromidpoint"  # fmt: skip
    adaptive_curvature: Annotated[bool, Setting("the curvature is a parameter that is trained")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_curvature("curvature", self.curvature)


class _Means(NamedTuple):
    """Means in the ball, (..., n_query, dim_value), and from their gradient those of queries, keys, bias and spaces,
    of values, and of c."""

    points: Array
    backward: Callable[[Array], tuple[engine.Gradients, Array, float]]


@register
class HyperbolicAttention(DistanceSums):
    """out_i = mean_j(w_ij, v_j) in the ball, w_ij = softmax_j(-d(q_i, k_j) / temperature + bias_ij)

    d is the distance in the Poincaré ball of that curvature; rows outside of the ball are projected to just inside
    (1 - 1e-6 of the radius), outputs are always strictly inside. The mean is the gyromidpoint,
    1/2 (*) (sum w lambda v / sum w (lambda - 1)), or the exact Fréchet mean, or exp_0(sum w log_0(v)).

    Near the boundary: distances come from differences of the rows, and midpoints beyond 0.95 of the radius from sums in
    float64. Gradients of values lose digits as lambda^2 grows, to 1e-3 at about 0.99 of the radius, except by the
    Fréchet mean, whose are in float64.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Units: curvature is 1 / length^2, in the lengths that rows have: the ball has the radius 1 / sqrt(-curvature)
    Parameters: log_curvature (1,), the logarithm of -curvature, with adaptive_curvature.
    Memory: O(n_query * dim_value) beside the inputs; the Fréchet mean holds the weights of 64 queries at a time.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = HyperbolicAttention(dim=2, curvature=-1.0)
    >>> attention([[0.1, 0.0]], [[0.1, 0.0], [0.1, 0.0]], [[0.5, 0.0], [-0.5, 0.0]])
    array([[0., 0.]], dtype=float32)
    >>> attention.attention_weights([0, 0], [[0.5, 0], [0, 0.5]])
    array([0.5, 0.5], dtype=float32)
    """

    name = "hyperbolic"
    Config = HyperbolicConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Gulcehre et al., 2019, arXiv:1805.09786"

    config: HyperbolicConfig

    def _setup(self) -> None:
        if self.config.adaptive_curvature:
            self._parameters["log_curvature"] = log_parameter(-self.config.curvature)

    @property
    def curvature(self) -> float:
        """Of the space as it is now, below 0."""
        if self.config.adaptive_curvature:
            return -float(np.exp(self._parameters["log_curvature"][0], dtype=np.float64))
        return self.config.curvature

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value), points of the ball. A Memory takes the place of keys and values."""
        binding = self.bind(query=query, keys=keys, values=values)
        options: dict[str, Any] = {"key_lengths": key_lengths, "causal": causal, "check_finite": check_finite}
        return self._output(binding, self.config.temperature, training, mask=mask, bias=bias, **options)

    def compute_with_temperature(
        self, query: ArrayLike, keys: ArrayLike, values: ArrayLike, temperature: float, **options: Any
    ) -> Float32Array:
        """``forward`` with another temperature for this call; ``options`` are those of ``forward``.

        >>> attention = HyperbolicAttention(dim=1)
        >>> attention.compute_with_temperature([[0.0]], [[0.0], [0.5]], [[0.0], [0.5]], 0.01)
        array([[0.]], dtype=float32)
        """
        given = checked_setting("temperature", temperature, float, Setting("", above=0))
        training = options.pop("training", False)
        chosen = {"mask": None, "bias": None, "key_lengths": None, "causal": None, "check_finite": True, **options}
        return self._output(self.bind(query=query, keys=keys, values=values), given, training, **chosen)

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing."""
        binding = self.bind(query=query, keys=keys)
        options = self._score_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        c = -self.curvature
        query, keys, spaces = self._points([midpoints.brought_inside(array, c) for array in binding.arrays], c)
        with binding.blaming_inputs():
            weights = engine.weights(query, keys, scale=1 / self.config.temperature, **options, **spaces)
        return binding.restore(weights)

    # --- the space, by itself

    def poincare_distance(self, x: ArrayLike, y: ArrayLike) -> float | Float32Array:
        """The distance of two points of the ball, or of rows of them, (...).

        >>> round(HyperbolicAttention(dim=2).poincare_distance([0, 0], [0.5, 0]), 6)
        1.098612
        """
        found = poincare.distance(x, y, self.curvature)
        return np.asarray(found, np.float32) if np.ndim(found) else float(found)

    def to_poincare(self, x: ArrayLike) -> Float32Array:
        """Vectors of any length as points of the ball: exp_0(x)."""
        rows = as_float32("x", x)
        points: Float32Array = poincare.exp_map(np.zeros(rows.shape[-1:], np.float32), rows, self.curvature)
        return points

    def from_poincare(self, x: ArrayLike) -> Float32Array:
        """The vectors from which to_poincare makes these points: log_0(x)."""
        rows = as_float32("x", x)
        vectors: Float32Array = poincare.log_map(np.zeros(rows.shape[-1:], np.float32), rows, self.curvature)
        return vectors

    def mobius_add(self, x: ArrayLike, y: ArrayLike) -> Float32Array:
        """x (+) y in the ball."""
        total: Float32Array = poincare.mobius_add(as_float32("x", x), as_float32("y", y), self.curvature)
        return total

    def project_to_ball(self, x: ArrayLike, eps: float | None = None) -> Float32Array:
        """x where it is inside, scaled to (1 - eps) of the radius where it is not."""
        inside: Float32Array = poincare.project_to_ball(as_float32("x", x), self.curvature, eps)
        return inside

    # --- computing

    def _points(self, inside: list[midpoints.Inside], c: float) -> tuple[Float32Array, Float32Array, dict[str, Any]]:
        """Queries and keys as the engine scores them, and by which space."""
        query, keys = inside[:2]
        spaces: dict[str, Any] = {"spaces": (engine.Space(self.config.model, 0, self.config.dim, 1.0, c),)}
        if self.config.model == "poincare":
            return query.rows, keys.rows, {**spaces, "aux": (query.half_factors, keys.half_factors)}
        return query.rows * (2 * query.half_factors), keys.rows * (2 * keys.half_factors), spaces

    def _output(
        self,
        binding: Binding,
        temperature: float,
        training: bool,
        *,
        mask: MaskLike,
        bias: ArrayLike | None,
        **options: Any,
    ) -> Float32Array:
        check_flags(training=training)
        score_options = self._score_options(binding, mask=mask, bias=bias, **options)
        c, scale = -self.curvature, 1 / temperature
        few = None if training or len(binding.arrays[0]) > FEW else self._few(binding, score_options, scale, c)
        if few is not None:
            return binding.restore(few)
        inputs = self._training_arrays(binding) if training else binding.arrays
        inside = [midpoints.brought_inside(array, c) for array in inputs]
        query, keys, spaces = self._points(inside, c)
        score_options |= spaces
        aggregate = {"gyromidpoint": self._gyromidpoints, "tangent": self._tangent, "frechet": self._frechet}
        with binding.blaming_inputs():
            means = aggregate[self.config.aggregation](
                binding, query, keys, inside[2], c, scale, score_options, training
            )
        output = binding.restore(midpoints.kept_inside(means.points, c).astype(np.float32))
        if not training:
            return output

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            grads, of_values, of_c = means.backward(binding.lift(grad).astype(np.float64))
            assert grads.spaces is not None
            of_c += float(grads.spaces[0, 1])
            gradients: dict[str, Float32Array] = {}
            of_points: list[Array] = [grads.query, grads.keys]
            if self.config.model == "lorentz":
                both = [midpoints.stretched_backward(x.rows, g, c) for x, g in zip(inside[:2], of_points, strict=True)]
                of_points, of_c = [g for g, _ in both], of_c + sum(of_one for _, of_one in both)
            of_points.append(of_values)
            for name, x, point, g in zip(binding.names, inputs, inside, of_points, strict=True):
                of_input, of_one = midpoints.brought_inside_backward(x, point.rows, point.outside, g, c)
                of_c += of_one
                if name == "query":
                    gradients[name] = binding.restore(of_input)
                elif binding.rows is None:
                    gradients[name] = of_input
            if self.config.adaptive_curvature:
                gradients["log_curvature"] = np.array([of_c * c], np.float32)
            return gradients | addend_gradients(grads.bias, binding, mask=mask, bias=bias)

        self._record(output.shape, backward)
        return output

    def _few(self, binding: Binding, options: dict[str, Any], scale: float, c: float) -> Float32Array | None:
        """Gyromidpoints of a few queries in one pass over keys and values, where nothing else is asked for and no point
        is so near to the boundary that it needs more care; None otherwise."""
        config, (query, keys, values) = self.config, binding.arrays
        if config.aggregation != "gyromidpoint" or config.model != "poincare":
            return None
        if not query.ndim == keys.ndim == values.ndim == 2 or options.keys() - {"normalize", "check_finite", "causal"}:
            return None
        if options.get("causal") and len(query) > 1:
            return None
        query, keys, values = (engine.contiguous(x) for x in (query, keys, values))
        (n_query, dim), (n_key, dim_value) = query.shape, values.shape
        out = np.empty((n_query, dim_value), FLOAT32)
        status = kernels.active.ball_attention(query, keys, values, out, n_query, n_key, dim, dim_value, scale, c)
        return None if status else out

    def _gyromidpoints(
        self, binding: Binding, query: Array, keys: Array, inside: midpoints.Inside, c: float, scale: float,
        options: dict[str, Any], training: bool,
    ) -> _Means:  # fmt: skip
        values, factors = inside.rows, 2 * inside.half_factors
        extended = midpoints.extended(values, factors)
        summed, way_back = self._sum(query, keys, extended, scale, options, training)
        sums = summed.astype(np.float64)
        dropped = training and self.config.dropout > 0
        if not dropped:
            sharpen_sums(sums, values, c, lambda: RowWeights(query, keys, binding.lead, scale, options))
        least = 0.0 if dropped else 1.0

        def backward(grad: Array) -> tuple[engine.Gradients, Array, float]:
            of_sums, of_c = midpoints.gyromidpoint_backward(sums, grad, c, least)
            grads = way_back(of_sums.astype(np.float32))
            of_values, more = midpoints.extended_backward(values, grads.values, c)
            return grads, of_values, of_c + more

        return _Means(midpoints.gyromidpoint(sums, c, least), backward)

    def _tangent(
        self, binding: Binding, query: Array, keys: Array, inside: midpoints.Inside, c: float, scale: float,
        options: dict[str, Any], training: bool,
    ) -> _Means:  # fmt: skip
        values = inside.rows
        logs = midpoints.log0(values, c).astype(np.float32)
        summed, way_back = self._sum(query, keys, logs, scale, options, training)

        def backward(grad: Array) -> tuple[engine.Gradients, Array, float]:
            of_sums, of_c = midpoints.exp0_backward(summed, grad, c)
            grads = way_back(of_sums.astype(np.float32))
            of_values, more = midpoints.log0_backward(values, grads.values, c)
            return grads, of_values, of_c + more

        return _Means(midpoints.exp0(summed, c), backward)

    def _frechet(
        self, binding: Binding, query: Array, keys: Array, inside: midpoints.Inside, c: float, scale: float,
        options: dict[str, Any], training: bool,
    ) -> _Means:  # fmt: skip
        values = inside.rows
        rows = RowWeights(query, keys, binding.lead, scale, options)
        rows.check(options["check_finite"], query=query, keys=keys, values=values)
        share = self.config.dropout if training else 0.0
        seed = int(self._random.integers(1 << 32)) if share else 0
        shape = (*binding.lead, query.shape[-2], values.shape[-1])
        points, found = np.empty(shape), np.empty((*shape[:-1], shape[-1] + 1))

        def weighed(part: Part) -> tuple[Array, Array, Array, Array]:
            """The weights before and after dropout, which keys are seen, and their values on the hyperboloid."""
            weights = rows.weights_of(part)
            kept = weights * kept_weights(weights.shape, share, seed, part) if share else weights
            seen = np.asarray(weights.any(axis=0))
            own = values[item_of(values, part.at)][seen]
            return weights, kept, seen, frechet.hyperboloid_rows(own, c)

        for part in rows.parts():
            _, kept, seen, own = weighed(part)
            found[part.index], points[part.index] = frechet.means(own, kept[:, seen], c)

        def backward(grad: Array) -> tuple[engine.Gradients, Array, float]:
            grads, of_values, of_c = rows.gradients(), np.zeros(values.shape), 0.0
            for part in rows.parts():
                weights, kept, seen, own = weighed(part)
                mine = part.index
                of_kept, of_rows, of_mean = frechet.means_backward(own, kept[:, seen], found[mine], grad[mine], c)
                of_weights = np.zeros_like(weights)
                of_weights[:, seen] = of_kept
                if share:
                    of_weights *= kept_weights(weights.shape, share, seed, part)
                rows.backward(part, weights, of_weights, grads)
                item = item_of(values, part.at)
                of_own, more = frechet.hyperboloid_rows_backward(values[item][seen], of_rows, c)
                of_values[item][seen] += of_own
                of_c += of_mean + more
            return grads, of_values, of_c

        return _Means(points, backward)
