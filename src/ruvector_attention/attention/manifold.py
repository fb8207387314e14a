"""Attention in any space that knows its distances (Gulcehre et al., 2019; Gu et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy.typing as npt

from .. import engine
from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..errors import InvalidConfigError, UnsupportedError
from ..geometry import EuclideanSpace, HyperbolicSpace, Manifold, ProductSpace, SphericalSpace, parse_space
from ..geometry.components import Component, Placed
from ..gradients import addend_gradients
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Training
from ..registry import register
from ..row_weights import RowWeights
from ..specs import KEYS, QUERY, VALUES, Binding
from .distance import DistanceAttention, DistanceConfig
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.space == OWN:
            return
        space = parse_space(self.space, self.dim, self.curvature)
        if self.power == 1 and isinstance(space, ProductSpace) and len(space.components) > 1:
            raise InvalidConfigError(
                f"power is 1 in the product {self.space!r}; expected 2, for squares of distances are what adds up there"
            )


@register
class ManifoldAttention(DistanceAttention):
    """out_i = sum_j w_ij v_j, or the mean of values that are points: the point with the least sum_j w_ij d(., v_j)^2;
    w_ij = softmax_j(-d(q_i, k_j)^power / temperature + bias_ij)

    The space is named by the settings, and rows are projected into it (the ball, the sphere); or it is an object of
    your own with distance, exp_map, log_map, inner_product and curvature, see ``over``.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32; dim_value = dim with aggregation="mean"
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

    @property
    def space(self) -> Any:
        """The space, an object."""
        if self.config.space != OWN:
            return parse_space(self.config.space, self.config.dim, self.config.curvature)
        if self._own is None:
            raise UnsupportedError(
                "space is 'own', which settings cannot hold; expected ManifoldAttention.over(space, dim)"
            )
        return self._own

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
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        binding = self.bind(query=query, keys=keys, values=values)
        options = self._score_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        is_own, is_mean = self.config.space == OWN, self.config.aggregation == "mean"
        if is_own and is_mean and training:
            raise UnsupportedError(f"training came with means in {self.space!r}; expected aggregation='sum' there")
        # a space of your own never sees what nobody reads
        inputs = self._training_arrays(binding) if training or is_own else binding.arrays
        placed = [Placed(array, self._parts) for array in inputs[:2]]
        placed.append(Placed(inputs[2], self._parts if is_mean else []))
        query, keys, values = (one.rows for one in placed)
        with binding.blaming_inputs():
            attended, way_back = self._attended(binding, query, keys, values, options, training)
        output = binding.restore(attended)
        if not training:
            return output

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            grads = way_back(binding.lift(grad))
            gradients: dict[str, Float32Array] = {}
            of_rows = (grads.query, grads.keys, grads.values)
            for name, one, of_one in zip(binding.names, placed, of_rows, strict=True):
                of_input, _ = one.backward(of_one)
                if name == "query":
                    gradients[name] = binding.restore(of_input)
                elif binding.rows is None:
                    gradients[name] = of_input
            return gradients | addend_gradients(grads.bias, binding, mask=mask, bias=bias)

        self._record(output.shape, backward)
        return output

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
        query, keys = (Placed(array, self._parts).rows for array in self._training_arrays(binding))
        scale = 1 / self.config.temperature
        with binding.blaming_inputs():
            if self.config.space != OWN:
                return binding.restore(engine.weights(query, keys, scale=scale, **options, **self._spaces()))
            rows = RowWeights(query, keys, binding.lead, scale, options)
            rows.check(check_finite, query=query, keys=keys)
            return binding.restore(OwnSpace(self.space, self.config.power, rows, check_finite).weights())

    def _spaces(self) -> dict[str, Any]:
        power = self.config.power
        return {"spaces": [engine.Space(part.kind, part.begin, part.end, 1.0, part.c, power) for part in self._parts]}

    def _attended(
        self, binding: Binding, query: Array, keys: Array, values: Array, options: dict[str, Any], training: bool
    ) -> tuple[Float32Array, Callable[[Float32Array], engine.Gradients]]:
        """The outputs, and from a gradient of them those of the rows in their spaces."""
        config, scale = self.config, 1 / self.config.temperature
        is_own = config.space == OWN
        if not is_own:
            options = {**options, **self._spaces()}
        if not is_own and config.aggregation == "sum":
            return self._sum(query, keys, values, scale, options, training)
        rows = RowWeights(query, keys, binding.lead, scale, options)
        rows.check(options["check_finite"], query=query, keys=keys, values=values)
        share = config.dropout if training else 0.0
        seed = int(self._random.integers(1 << 32)) if share else 0
        if is_own:
            own = OwnSpace(self.space, config.power, rows, options["check_finite"])
            return own.attended(values, share, seed, config.aggregation == "mean"), own.backward
        means = ComponentMeans(rows, self._parts, values, share, seed)
        return means.points, means.backward


def _component(space: Any, channels: slice) -> Component:
    kind = {HyperbolicSpace: "poincare", SphericalSpace: "spherical", EuclideanSpace: "euclidean"}[type(space)]
    return Component(kind, channels.start, channels.stop, abs(space.curvature) or 1.0)


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
