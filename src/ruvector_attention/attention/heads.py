"""Attention in several heads: learned maps in, the engine over all heads at once, and a map out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from .. import engine
from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..errors import InvalidConfigError, OutOfBoundsError, UnsupportedError
from ..gradients import add_into, addend_gradients
from ..options import MaskLike, check_flags
from ..rows import RowMap
from ..specs import Binding, TensorSpec
from .scaled_dot_product import SoftmaxAttention, SoftmaxConfig

INPUT_MAPS = ("query", "keys", "values")  # the maps that inputs go through, in their order
HEAD_QUERY = TensorSpec("query", "... n_query dim", "what looks; (dim,) is one query", bare_vector=True)
HEAD_KEYS = TensorSpec("keys", "... n_key kdim", "what is looked at")
HEAD_VALUES = TensorSpec("values", "... n_key vdim", "what is brought back")


@dataclass(frozen=True)
class HeadsConfig(SoftmaxConfig):
    """The settings of attention in several heads."""

    dim: Annotated[int, Setting("channels of queries and outputs, over all heads", at_least=1)]
    num_heads: Annotated[int, Setting("heads; divides dim", at_least=1, at_most=64)] = 8
    num_kv_heads: Annotated[
        int | None,
        Setting("heads of keys and values, each shared by num_heads / num_kv_heads; None: num_heads", at_least=1),
    ] = None
    projections: Annotated[
        bool, Setting("learned maps into the heads and out; False: channels are split as they are")
    ] = True
    bias: Annotated[bool, Setting("the learned maps add a bias")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise InvalidConfigError(f"dim is {self.dim}; expected a multiple of num_heads = {self.num_heads}")
        if self.num_heads % self.kv_heads:
            raise InvalidConfigError(
                f"num_kv_heads is {self.num_kv_heads}; expected a divisor of num_heads = {self.num_heads}"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def kv_heads(self) -> int:
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def kv_channels(self) -> int:
        """Channels of keys and of values where the heads read them."""
        return self.kv_heads * self.head_dim

    @property
    def key_channels(self) -> int:
        """Channels of keys as they come in."""
        return self.dim if self.projections else self.kv_channels

    @property
    def value_channels(self) -> int:
        """Channels of values as they come in."""
        return self.dim if self.projections else self.kv_channels


class HeadedAttention(SoftmaxAttention):
    """Projection into heads, the engine over all of them at once, projection out."""

    Config = HeadsConfig
    outputs = (TensorSpec("output", "... n_query dim"),)
    paper = "Vaswani et al., 2017, arXiv:1706.03762; Ainslie et al., 2023, arXiv:2305.13245"
    complexity = "O(n_query * n_key * dim + (n_query + n_key) * dim^2)"

    config: HeadsConfig

    @property
    def num_heads(self) -> int:
        return self.config.num_heads

    @property
    def head_dim(self) -> int:
        return self.config.head_dim

    def _fixed_axes(self) -> dict[str, int]:
        config = self.config
        return {
            "dim": config.dim,
            "kdim": config.key_channels,
            "vdim": config.value_channels,
        }

    def _setup(self) -> None:
        config = self.config
        self._scale = config.score_scale(config.head_dim)
        if not config.projections:
            return
        # in the order in which an input meets them; a weight is (channels in, channels out), x @ weight
        maps = {
            "query": (config.dim, config.dim),
            "keys": (config.key_channels, config.kv_channels),
            "values": (config.value_channels, config.kv_channels),
            "output": (config.dim, config.dim),
        }
        random = np.random.default_rng(config.seed)
        for name, (fan_in, fan_out) in maps.items():
            bound = (6 / (fan_in + fan_out)) ** 0.5  # Xavier-uniform
            weight = random.uniform(-bound, bound, (fan_in, fan_out))
            self._parameters[f"{name}_weight"] = weight.astype(np.float32)
            if config.bias:
                self._parameters[f"{name}_bias"] = np.zeros(fan_out, np.float32)

    def _memory_maps(self) -> dict[str, RowMap]:
        if not self.config.projections:
            return {}
        unit = self.config.normalize

        def keys(rows: Float32Array) -> Float32Array:
            mapped = self._projected("keys", rows)
            return engine.normalize_rows(mapped, self.head_dim) if unit else mapped

        return {"keys": keys, "values": lambda rows: self._projected("values", rows)}

    def _read(
        self, binding: Binding, options: dict[str, Any], own: slice | None = None, shared: slice | None = None
    ) -> tuple[Float32Array, ...]:
        """The inputs through their maps, as the engine reads them: what a Memory keeps of that is taken from it.

        ``own`` and ``shared`` are the channels wanted of queries, and of keys and values; None: all.
        """
        query, *others = binding.arrays
        query = self._projected("query", query, own)
        rows, unit = binding.rows, self.config.normalize
        kept: tuple[Float32Array, ...] | None = None
        if rows is not None and self.config.projections:
            kept = rows.mapped(self)
        elif rows is not None and unit:
            kept = (rows.unit_keys(self.head_dim), rows.values)
        if kept is None:
            pairs = zip(INPUT_MAPS[1:], others, strict=False)
            return query, *(self._projected(name, array, shared) for name, array in pairs)
        if unit:
            query = engine.normalize_rows(query, self.head_dim)
            options["normalize"] = False
        kept = kept[: len(others)]
        return query, *(kept if shared is None else (array[..., shared] for array in kept))

    def _output_channels(self, binding: Binding) -> int:
        return self.config.dim

    def _projected(
        self, name: str, array: Float32Array, channels: slice | None = None, out: Float32Array | None = None
    ) -> Float32Array:
        """The array through one of the learned maps, or those of its output channels that are asked for."""
        weight = self._parameters.get(f"{name}_weight")
        bias = self._parameters.get(f"{name}_bias")
        if weight is None:
            return array if channels is None else array[..., channels]
        if channels is not None:
            weight = weight[:, channels]
            bias = None if bias is None else bias[channels]
        return engine.project(array, weight, bias, out=out)

    def _head_options(self, binding: Binding, **options: Any) -> dict[str, Any]:
        heads = self.config.num_heads
        score_options = self._score_options(binding, num_heads=heads, **options)
        if heads == 1:  # for the engine a single head has no axis
            score_options |= {
                name: _of_head(score_options[name], 0) for name in ("mask", "bias") if name in score_options
            }
        return {**score_options, "num_heads": heads, "num_kv_heads": self.config.kv_heads}

    def _output(
        self,
        binding: Binding,
        training: bool,
        out: Any = None,
        *,
        mask: MaskLike,
        bias: ArrayLike | None,
        **options: Any,
    ) -> Float32Array:
        check_flags(training=training)
        head_options = self._head_options(binding, mask=mask, bias=bias, **options)
        target = None if out is None else self._target(out, binding, training, mask=mask, bias=bias)
        inputs = self._training_arrays(binding) if training else binding.arrays
        with binding.blaming_inputs():
            if not training:
                query, keys, values = self._read(binding, head_options)
                if not self.config.projections:
                    attended = self._attend(query, keys, values, head_options, target)
                else:
                    attended = self._attend(query, keys, values, head_options)
                    attended = self._projected("output", attended, out=target)
                return binding.restore(attended) if out is None else out
            query, keys, values = (self._projected(*pair) for pair in zip(INPUT_MAPS, inputs, strict=True))
            attended, attend_backward = self._attend_training(query, keys, values, head_options)
        output = binding.restore(self._projected("output", attended))

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            of_attended, gradients = self._projected_backward("output", attended, binding.lift(grad))
            grads = attend_backward(of_attended)
            of_projected = (grads.query, grads.keys, grads.values)
            for map_name, name, array, of_one in zip(INPUT_MAPS, binding.names, inputs, of_projected, strict=True):
                of_input, of_map = self._projected_backward(map_name, array, of_one)
                add_into(gradients, of_map)
                if name == "query":
                    add_into(gradients, {name: binding.restore(of_input)})
                elif binding.rows is None:
                    add_into(gradients, {name: of_input})
            heads = self.config.num_heads > 1
            return gradients | addend_gradients(grads.bias, binding, heads=heads, mask=mask, bias=bias)

        self._record(output.shape, backward)
        return output

    def _projected_backward(
        self, name: str, array: Float32Array, grad: Float32Array
    ) -> tuple[Float32Array, dict[str, Float32Array]]:
        """The gradients of a map's input, and of its weight and bias by name."""
        weight = self._parameters.get(f"{name}_weight")
        if weight is None:
            return grad, {}
        of_array, of_weight, of_bias = engine.project_backward(array, weight, grad)
        gradients = {f"{name}_weight": of_weight}
        if f"{name}_bias" in self._parameters:
            gradients[f"{name}_bias"] = of_bias
        return of_array, gradients

    def _weights(self, binding: Binding, **options: Any) -> Float32Array:
        head_options = self._head_options(binding, **options)
        with binding.blaming_inputs():
            query, keys = self._read(binding, head_options)
            weights = engine.weights(query, keys, scale=self._scale, **head_options)
        return binding.restore(weights[..., None, :, :] if self.num_heads == 1 else weights)

    def _one_head(self, head: int, binding: Binding, **options: Any) -> Float32Array:
        """The output of one head, (..., n_query, head_dim), before the map out; only that head is computed."""
        config = self.config
        if isinstance(head, bool) or not isinstance(head, int | np.integer):
            raise UnsupportedError(f"head is {head!r}; expected an integer")
        if not 0 <= head < config.num_heads:
            raise OutOfBoundsError(f"head is {head}; expected 0 to {config.num_heads - 1}")
        width = config.head_dim
        kv_head = head * config.kv_heads // config.num_heads
        own = slice(head * width, (head + 1) * width)
        shared = slice(kv_head * width, (kv_head + 1) * width)
        score_options = self._score_options(binding, num_heads=config.num_heads, **options)
        for name in ("mask", "bias"):
            if name in score_options:
                score_options[name] = _of_head(score_options[name], head)
        with binding.blaming_inputs():
            query, keys, values = self._read(binding, score_options, own, shared)
            attended = self._attend(query, keys, values, score_options)
        return binding.restore(attended)


def _of_head(mask: Float32Array, head: int) -> Float32Array:
    """One head of a mask with its head axis made explicit; a mask of two dimensions holds for every head."""
    if mask.ndim <= 2:
        return mask
    return mask[..., min(head, mask.shape[-3] - 1), :, :]
