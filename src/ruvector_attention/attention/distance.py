"""What the mechanisms share whose scores are distances: settings, and sums over keys with the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import Float32Array
from ..config import AttentionConfig, Setting
from ..errors import InvalidConfigError
from ..geometry import midpoints
from ..row_weights import Part, RowWeights, item_of
from .scaled_dot_product import SoftmaxAttention

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class DistanceConfig(AttentionConfig):
    """The settings of every mechanism whose scores are distances."""

    normalize: ClassVar[bool] = False  # of dot products; what SoftmaxConfig has as settings
    top_k: ClassVar[None] = None

    temperature: Annotated[float, Setting("divides the scores", above=0)] = 1.0
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False
    dropout: Annotated[float, Setting("share of weights dropped when training", at_least=0, below=1)] = 0.0


Summed = tuple[Float32Array, Callable[[Float32Array], engine.Gradients]]


class DistanceAttention(SoftmaxAttention):
    """Attention over distances on the softmax engine."""

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
