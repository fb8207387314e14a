"""What the mechanisms share whose scores are distances: settings, and sums over keys with the way back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import ArrayLike, Float32Array
from ..config import AttentionConfig, Setting
from ..errors import InvalidConfigError
from ..geometry import midpoints
from ..gradients import addend_gradients
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Training, check_flags
from ..row_weights import Part, RowWeights, item_of
from ..specs import Binding
from .scaled_dot_product import SoftmaxAttention

Array = npt.NDArray[Any]
INPUTS = ("query", "keys", "values")


@dataclass(frozen=True, kw_only=True)
class DistanceConfig(AttentionConfig):
    """The settings of every mechanism whose scores are distances."""

    normalize: ClassVar[bool] = False  # of dot products; SoftmaxConfig has it as a setting

    temperature: Annotated[float, Setting("divides the scores", above=0)] = 1.0
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False
    top_k: Annotated[int | None, Setting("keys of a query that count, those of the highest scores", at_least=1)] = None
    dropout: Annotated[float, Setting("share of weights dropped when training", at_least=0, below=1)] = 0.0


Summed = tuple[Float32Array, Callable[[Float32Array], engine.Gradients]]


class Attended(NamedTuple):
    """Outputs (*lead, n_query, channels), and the way from their gradient to those of the inputs and parameters by
    name, and to that of what was added to the scores."""

    output: Float32Array
    backward: Callable[[Float32Array], tuple[dict[str, Float32Array], Float32Array | None]]


class DistanceSums(SoftmaxAttention):
    """What mechanisms share whose scores are distances, whatever they do before the sums over keys and behind them."""

    config: DistanceConfig  # type: ignore[assignment]

    def _sum(
        self,
        query: Float32Array,
        keys: Float32Array,
        values: Float32Array,
        scale: float,
        options: dict[str, Any],
        training: bool,
    ) -> Summed:
        """softmax(scale * scores) values, and when training the way back from a gradient of it."""
        if not training:
            summed: Float32Array = engine.attend(query, keys, values, scale=scale, **options)
            return summed, no_way_back
        checked = options["check_finite"]
        kept = {name: option for name, option in options.items() if name != "check_finite"}
        if self.config.dropout:
            kept["dropout"] = engine.Dropout(self.config.dropout, int(self._random.integers(1 << 32)))
        out, lse = engine.attend(query, keys, values, scale=scale, return_lse=True, check_finite=checked, **kept)

        def backward(grad: Float32Array) -> engine.Gradients:
            return engine.attend_backward(query, keys, values, out, lse, grad, scale=scale, **kept)

        return out, backward


def no_way_back(grad: Float32Array) -> engine.Gradients:
    raise AssertionError("a forward that is not for training keeps nothing")


class DistanceAttention(DistanceSums):
    """Attention over distances: what a mechanism adds is ``_attended`` and ``_weighed``."""

    config: DistanceConfig

    @abstractmethod
    def _attended(
        self, binding: Binding, inputs: tuple[Float32Array, ...], options: dict[str, Any], training: bool
    ) -> Attended:
        """The outputs of a call whose arrays and options are ready."""

    @abstractmethod
    def _weighed(self, binding: Binding, options: dict[str, Any]) -> Float32Array:
        """The weights of all rows."""

    def _options(self, binding: Binding, **options: Any) -> dict[str, Any]:
        """The keywords by which the engine is told how scores are made."""
        return self._score_options(binding, **options)

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
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        options = self._options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        inputs = self._training_arrays(binding) if training else binding.arrays
        with binding.blaming_inputs():
            attended, way_back = self._attended(binding, inputs, options, training)
        output = binding.restore(attended)
        if not training:
            return output

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            gradients, of_bias = way_back(binding.lift(grad))
            gradients["query"] = binding.restore(gradients["query"])
            if binding.rows is not None:
                del gradients["keys"], gradients["values"]
            heads = options.get("num_heads", 1) > 1
            return gradients | addend_gradients(of_bias, binding, heads=heads, mask=mask, bias=bias)

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
        """The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing. A mechanism
        that has heads gives those of every head, (..., num_heads, n_query, n_key)."""
        binding = self.bind(query=query, keys=keys)
        options = self._options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        with binding.blaming_inputs():
            return binding.restore(self._weighed(binding, options))


def check_curvature(name: str, curvature: float, below: bool = True) -> None:
    """Hyperbolic spaces are those of curvature below 0, spheres those of curvature above."""
    if (curvature >= 0) if below else (curvature <= 0):
        space, side = ("hyperbolic space", "below") if below else ("sphere", "above")
        raise InvalidConfigError(f"{name} is {curvature!r}; expected a number {side} 0, as a {space} has")


def sharpen_sums(sums: Array, values: Array, c: float, row_weights: Callable[[], RowWeights]) -> None:
    """Sum again in float64, a few queries at a time, where the gyromidpoint's sums (..., n_query, 1 + dim_value) lie
    so far out that float32 does not tell them from the boundary."""
    cancelling = midpoints.is_cancelling(sums, c)
    if not cancelling.any():
        return
    rows = row_weights()
    for part in rows.parts(cancelling):
        weights = rows.weights_of(part)
        seen = weights.any(axis=0)  # what is not may hold anything
        points = values[item_of(values, part.at)][seen].astype(np.float64)
        factors = 2 / (1 - c * (points**2).sum(axis=1, keepdims=True))
        sums[part.index] = weights[:, seen] @ np.concatenate([factors * points, factors - 1], axis=1)


def log_parameter(value: float) -> Float32Array:
    """A positive number as a parameter that may take any step: its logarithm, (1,)."""
    return np.array([np.log(value)], np.float32)


def kept_weights(shape: tuple[int, ...], share: float, seed: int, part: Part) -> Array:
    """What dropout multiplies each weight by: 0, or 1 / (1 - share)."""
    random = np.random.default_rng([seed, *part.at, int(part.rows[0])])
    return np.where(random.random(shape) < share, 0.0, 1 / (1 - share))
