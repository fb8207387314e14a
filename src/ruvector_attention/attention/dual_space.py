"""Attention in a Euclidean and a hyperbolic space at once: dot products and distances in one score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import ArrayLike, Float32Array, require_finite
from ..config import Setting
from ..errors import InvalidConfigError
from ..geometry import midpoints
from ..memory import KeysLike
from ..registry import register
from ..specs import Binding, TensorSpec
from .distance import INPUTS, Attended, DistanceAttention, DistanceConfig, check_curvature, log_parameter
from .heads import HEAD_KEYS, HEAD_QUERY, HEAD_VALUES

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DualSpaceConfig(DistanceConfig):
    dim: Annotated[int, Setting("channels of queries, keys, values and outputs", at_least=1)]
    num_heads: Annotated[int, Setting("heads; divides dim and the channels of both spaces", at_least=1, at_most=64)] = 8
    euclidean_dim: Annotated[
        int | None, Setting("channels of the Euclidean space, over all heads; None: half of dim", at_least=1)
    ] = None
    hyperbolic_dim: Annotated[
        int | None, Setting("channels of the hyperbolic space, over all heads; None: half of dim", at_least=1)
    ] = None
    curvature: Annotated[float, Setting("of the hyperbolic space, below 0")] = -1.0
    fusion_weight: Annotated[
        float, Setting("share of the hyperbolic part in the scores at first", at_least=0, at_most=1)
    ] = 0.5
    adaptive_curvature: Annotated[bool, Setting("the curvature is a parameter that is trained")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_curvature("curvature", self.curvature)
        for name in ("dim", "euclidean_dim", "hyperbolic_dim"):
            size = getattr(self, name)
            if size is not None and size % self.num_heads:
                raise InvalidConfigError(f"{name} is {size}; expected a multiple of num_heads = {self.num_heads}")

    @property
    def euclidean_size(self) -> int:
        """Channels of a head."""
        return self._of_head(self.euclidean_dim)

    @property
    def hyperbolic_size(self) -> int:
        """Channels of a head."""
        return self._of_head(self.hyperbolic_dim)

    def _of_head(self, size: int | None) -> int:
        return max(self.dim // 2 // self.num_heads, 1) if size is None else size // self.num_heads


class _Mapped(NamedTuple):
    """Queries or keys, (..., n, heads * (Euclidean + hyperbolic)): through their maps, and with the hyperbolic channels
    in the ball."""

    flat: Float32Array
    points: Float32Array
    aux: Float32Array  # as the engine asks for it, (..., n, heads * spaces)


@register
class DualSpaceAttention(DistanceAttention):
    """O = concat_h(softmax(S_h / temperature + bias) V W_v^h) W_o,
    S_h = w_e <q_e, k_e> / sqrt(Euclidean channels of a head) - w_h d(exp_0(q_h), exp_0(k_h))

    q_e, k_e, q_h, k_h are learned maps of queries and keys into the two spaces; d is the distance in the Poincaré ball
    of that curvature, into which exp_0 takes the mapped vectors.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim)
            -> (..., n_query, dim) or (dim,), float32
    Units: curvature is 1 / length^2, in the lengths that rows have: the ball has the radius 1 / sqrt(-curvature)
    Parameters: query_euclidean_weight, keys_euclidean_weight (dim, euclidean_dim), query_hyperbolic_weight,
            keys_hyperbolic_weight (dim, hyperbolic_dim), values_weight, output_weight (dim, dim), Xavier-uniform from
            the seed; space_weights (2,), which are w_e and w_h, at first 1 - fusion_weight and fusion_weight;
            log_curvature (1,), the logarithm of -curvature, with adaptive_curvature.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = DualSpaceAttention(dim=4, num_heads=2)
    >>> tokens = [[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]]
    >>> attention(tokens, tokens, tokens).shape
    (3, 4)
    >>> attention.curvature
    -1.0
    """

    name = "dual_space"
    Config = DualSpaceConfig
    inputs = (HEAD_QUERY, HEAD_KEYS, HEAD_VALUES)
    outputs = (TensorSpec("output", "... n_query dim"),)
    paper = "Gulcehre et al., 2019, arXiv:1805.09786; Vaswani et al., 2017, arXiv:1706.03762"
    complexity = "O(n_query * n_key * dim + (n_query + n_key) * dim^2)"

    config: DualSpaceConfig

    @classmethod
    def simple(cls, euclidean_dim: int, hyperbolic_dim: int, num_heads: int, curvature: float, **settings: Any) -> Self:
        """With as many channels of the inputs as both spaces have together."""
        sizes = {"dim": euclidean_dim + hyperbolic_dim, "num_heads": num_heads, "curvature": curvature}
        return cls(**sizes, euclidean_dim=euclidean_dim, hyperbolic_dim=hyperbolic_dim, **settings)

    @classmethod
    def simple_fused(cls, dim: int, num_heads: int, curvature: float, fusion_weight: float, **settings: Any) -> Self:
        """With half of the channels in each space."""
        return cls(dim=dim, num_heads=num_heads, curvature=curvature, fusion_weight=fusion_weight, **settings)

    @property
    def num_heads(self) -> int:
        return self.config.num_heads

    @property
    def curvature(self) -> float:
        """Of the hyperbolic space as it is now, below 0."""
        if self.config.adaptive_curvature:
            return -float(np.exp(self._parameters["log_curvature"][0], dtype=np.float64))
        return self.config.curvature

    def _fixed_axes(self) -> dict[str, int]:
        return dict.fromkeys(("dim", "kdim", "vdim"), self.config.dim)

    def _setup(self) -> None:
        config, random = self.config, np.random.default_rng(self.config.seed)
        widths = {"euclidean": config.euclidean_size, "hyperbolic": config.hyperbolic_size}
        maps = {
            f"{name}_{space}": size * config.num_heads for name in ("query", "keys") for space, size in widths.items()
        }
        for name, width in {**maps, "values": config.dim, "output": config.dim}.items():
            bound = (6 / (config.dim + width)) ** 0.5  # Xavier-uniform
            weight = random.uniform(-bound, bound, (config.dim, width))
            self._parameters[f"{name}_weight"] = weight.astype(np.float32)
        self._parameters["space_weights"] = np.array([1 - config.fusion_weight, config.fusion_weight], np.float32)
        if config.adaptive_curvature:
            self._parameters["log_curvature"] = log_parameter(-config.curvature)

    def _attended(
        self, binding: Binding, inputs: tuple[Float32Array, ...], options: dict[str, Any], training: bool
    ) -> Attended:
        c = -self.curvature
        mapped = [self._mapped(name, array, c) for name, array in zip(INPUTS[:2], inputs[:2], strict=True)]
        options["aux"] = (mapped[0].aux, mapped[1].aux)
        own = engine.project(inputs[2], self._parameters["values_weight"])
        attended, way_back = self._sum(
            mapped[0].points, mapped[1].points, own, 1 / self.config.temperature, options, training
        )

        def backward(grad: Float32Array) -> tuple[dict[str, Float32Array], Float32Array | None]:
            of_attended, of_output, _ = engine.project_backward(attended, self._parameters["output_weight"], grad)
            grads = way_back(of_attended)
            assert grads.spaces is not None
            of_values, of_map, _ = engine.project_backward(inputs[2], self._parameters["values_weight"], grads.values)
            gradients = {"values": of_values, "output_weight": of_output, "values_weight": of_map}
            of_c = float(grads.spaces[1, 1])
            for name, x, own_map, of_points in zip(
                INPUTS[:2], inputs[:2], mapped, (grads.query, grads.keys), strict=True
            ):
                gradients[name], of_maps, of_one = self._mapped_backward(name, x, own_map, of_points, c)
                gradients |= of_maps
                of_c += of_one
            factors = np.array([self.config.euclidean_size**-0.5, 1.0])
            gradients["space_weights"] = (grads.spaces[:, 0] * factors).astype(np.float32)
            if self.config.adaptive_curvature:
                gradients["log_curvature"] = np.array([of_c * c], np.float32)
            return gradients, grads.bias

        return Attended(engine.project(attended, self._parameters["output_weight"]), backward)

    def _weighed(self, binding: Binding, options: dict[str, Any]) -> Float32Array:
        c = -self.curvature
        q, k = (self._mapped(*pair, c) for pair in zip(INPUTS[:2], binding.arrays, strict=True))
        options["aux"] = (q.aux, k.aux)
        weights = engine.weights(q.points, k.points, scale=1 / self.config.temperature, **options)
        return weights[..., None, :, :] if self.num_heads == 1 else weights

    def get_space_contributions(self, query: ArrayLike, keys: KeysLike) -> tuple[Float32Array, Float32Array]:
        """The two parts of the scores before the temperature, each (..., num_heads, n_query, n_key):
        w_e <q, k> / sqrt(channels), and -w_h d.

        >>> attention = DualSpaceAttention(dim=4, num_heads=1)
        >>> flat, curved = attention.get_space_contributions([1, 0, 0, 1], [[1, 0, 0, 1], [0, 2, 0, 0]])
        >>> flat.shape, bool((curved < 0).all())
        ((1, 2), True)
        """
        binding = self.bind(query=query, keys=keys)
        for name, array in zip(binding.names, binding.arrays, strict=True):
            require_finite(name, array)
        config, c = self.config, -self.curvature
        q, k = (
            np.moveaxis(self._by_head(engine.project(array, self._map_of(name))).astype(np.float64), -2, -3)
            for name, array in zip(("query", "keys"), binding.arrays, strict=True)
        )
        own = self._parameters["space_weights"].astype(np.float64)
        first = config.euclidean_size
        for x in (q, k):
            x[..., first:] = midpoints.kept_inside(midpoints.exp0(x[..., first:], c), c)
        dots = q[..., :first] @ k[..., :first].swapaxes(-1, -2)
        square = np.zeros_like(dots)
        for channel in range(first, first + config.hyperbolic_size):
            square += (q[..., :, None, channel] - k[..., None, :, channel]) ** 2
        inner = [1 - c * (x[..., first:] ** 2).sum(axis=-1) for x in (q, k)]
        sine = np.sqrt(c * square / (inner[0][..., :, None] * inner[1][..., None, :]))
        parts = own[0] * dots * first**-0.5, -own[1] * 2 / np.sqrt(c) * np.arcsinh(sine)
        flat, curved = (binding.restore(part.astype(np.float32)) for part in parts)
        return flat, curved

    # --- computing

    def _options(self, binding: Binding, **options: Any) -> dict[str, Any]:
        config = self.config
        made = self._score_options(binding, num_heads=config.num_heads, **options)
        if config.num_heads == 1:  # for the engine a single head has no axis
            for name in ("mask", "bias"):
                if name in made and made[name].ndim > 2:
                    made[name] = made[name][..., 0, :, :]
        flat, curved = self._parameters["space_weights"].tolist()
        first = config.euclidean_size
        made["spaces"] = (
            engine.Space("dot", 0, first, flat * first**-0.5),
            engine.Space("poincare", first, first + config.hyperbolic_size, curved, -self.curvature),
        )
        return {**made, "num_heads": config.num_heads, "num_kv_heads": config.num_heads}

    def _by_head(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.config.num_heads, -1)

    def _map_of(self, name: str) -> Float32Array:
        """Both maps in one, (dim, heads * (Euclidean + hyperbolic)): head by head, as the engine reads them."""
        both = [self._by_head(self._parameters[f"{name}_{space}_weight"]) for space in ("euclidean", "hyperbolic")]
        return np.concatenate(both, axis=-1).reshape(self.config.dim, -1)

    def _mapped(self, name: str, x: Float32Array, c: float) -> _Mapped:
        flat = engine.project(x, self._map_of(name))
        points = flat.copy()
        curved = self._by_head(points)[..., self.config.euclidean_size :]
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is named by the engine
            factors = midpoints.half_factors_of_exp0(curved, c)
            curved[...] = midpoints.kept_inside(midpoints.exp0(curved, c), c)
        aux = np.concatenate([np.zeros_like(factors), factors], axis=-1)  # dot products need nothing of a row
        return _Mapped(flat, points, np.ascontiguousarray(aux.reshape(*x.shape[:-1], -1), np.float32))

    def _mapped_backward(
        self, name: str, x: Float32Array, mapped: _Mapped, grad: Array, c: float
    ) -> tuple[Float32Array, dict[str, Float32Array], float]:
        """The gradients of the input, of the two maps by name, and of c."""
        first = self.config.euclidean_size
        of_flat = grad.copy()
        of_curved, of_c = midpoints.exp0_backward(
            self._by_head(mapped.flat)[..., first:], self._by_head(grad)[..., first:], c
        )
        self._by_head(of_flat)[..., first:] = of_curved
        of_x, of_map, _ = engine.project_backward(x, self._map_of(name), of_flat)
        of_heads = self._by_head(of_map)
        return (
            of_x,
            {
                f"{name}_euclidean_weight": of_heads[..., :first].reshape(self.config.dim, -1),
                f"{name}_hyperbolic_weight": of_heads[..., first:].reshape(self.config.dim, -1),
            },
            of_c,
        )
