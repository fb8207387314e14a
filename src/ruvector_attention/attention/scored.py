"""What mechanisms share that are softmax attention with something of their own in the scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from .. import engine
from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..errors import DimensionMismatchError, InvalidConfigError
from ..memory import KeysLike
from ..options import check_flags
from ..specs import KEYS, QUERY, VALUES, Binding
from .scaled_dot_product import ScaledDotProductConfig, SoftmaxAttention


@dataclass(frozen=True)
class ScoredConfig(ScaledDotProductConfig):
    num_heads: Annotated[
        int, Setting("groups of channels that attend apart; divides dim and dim_value", at_least=1, at_most=64)
    ] = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise InvalidConfigError(f"dim is {self.dim}; expected a multiple of num_heads = {self.num_heads}")

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.dim // self.num_heads


def _nothing(grads: engine.Gradients) -> dict[str, Float32Array]:
    return {}


class Addition(NamedTuple):
    """What a mechanism adds to a call: more keywords of the engine, rows added to queries and keys, and the way from
    the engine's gradients to those of its parameters."""

    options: dict[str, Any]
    query: Float32Array | None = None
    keys: Float32Array | None = None
    backward: Callable[[engine.Gradients], dict[str, Float32Array]] = _nothing


class ScoredAttention(SoftmaxAttention):
    """Queries, keys and values as they come, their channels split into heads; a mechanism's ``forward`` says what it
    adds."""

    Config = ScoredConfig
    inputs = (QUERY, KEYS, VALUES)

    config: ScoredConfig

    def _setup(self) -> None:
        self._scale = self.config.score_scale(self.config.head_dim)

    @property
    def num_heads(self) -> int:
        return self.config.num_heads

    @property
    def _head_axis(self) -> int | None:
        """How many heads the scores have an axis for."""
        return self.config.num_heads if self.config.num_heads > 1 else None

    @abstractmethod
    def _prepared(
        self, binding: Binding, own: dict[str, Any], addends: dict[str, Any]
    ) -> tuple[Addition, dict[str, Any]]:
        """What the options of a call add that are the mechanism's own, and the others as the engine reads them."""

    def _head_options(self, binding: Binding, **addends: Any) -> dict[str, Any]:
        heads = self.config.num_heads
        width = binding.sizes.get("dim_value", heads)
        if width % heads:
            raise DimensionMismatchError(
                f"values have {width} channels; expected a multiple of num_heads = {heads}", actual=width
            )
        options = self._score_options(binding, num_heads=self._head_axis, **addends)
        return options if heads == 1 else {**options, "num_heads": heads, "num_kv_heads": heads}

    def _output(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike,
        own: dict[str, Any],
        training: bool,
        *,
        mask: Any,
        bias: Any,
        **addends: Any,
    ) -> Float32Array:
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        addition, options = self._prepared(binding, own, {"mask": mask, "bias": bias, **addends})
        options |= addition.options
        query, keys, values = self._training_arrays(binding) if training else binding.arrays
        query = query if addition.query is None else query + addition.query
        keys = keys if addition.keys is None else keys + addition.keys
        arrays = (query, keys, values)
        return self._finished(binding, arrays, options, training, more=addition.backward, mask=mask, bias=bias)

    def _weights(self, query: ArrayLike, keys: KeysLike, own: dict[str, Any], **addends: Any) -> Float32Array:
        binding = self.bind(query=query, keys=keys)
        addition, options = self._prepared(binding, own, addends)
        query, keys = binding.arrays
        query = query if addition.query is None else query + addition.query
        keys = keys if addition.keys is None else keys + addition.keys
        with binding.blaming_inputs():
            weights = engine.weights(query, keys, scale=self._scale, **options | addition.options)
        return binding.restore(weights)
