"""Multi-head attention that decides how many heads it needs (after Voita et al., 2019, arXiv:1905.09418)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import FLOAT32, ArrayLike, Float32Array, require_finite
from ..config import Setting
from ..errors import InvalidConfigError
from ..gradients import add_into, addend_gradients, summed_to
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Training, check_flags
from ..registry import register
from ..specs import QUERY, Binding, TensorSpec
from .heads import INPUT_MAPS, HeadedAttention
from .scaled_dot_product import SoftmaxConfig

WIDE_KEYS = TensorSpec("keys", "... n_key dim", "what is looked at")
WIDE_VALUES = TensorSpec("values", "... n_key dim", "what is brought back")
OPEN = 2.0  # the gates' first bias: sigmoid(2) = 0.88, every head is in use


@dataclass(frozen=True)
class DynamicHeadConfig(SoftmaxConfig):
    dim: Annotated[int, Setting("channels of queries, keys, values and outputs, over all heads", at_least=1)]
    num_heads: Annotated[int, Setting("heads there are; divides dim", at_least=1, at_most=64)] = 8
    threshold: Annotated[float, Setting("heads whose gate is not above it are not computed", at_least=0, below=1)] = 0.5
    bias: Annotated[bool, Setting("the learned maps add a bias")] = True

    projections: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise InvalidConfigError(f"dim is {self.dim}; expected a multiple of num_heads = {self.num_heads}")

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def kv_heads(self) -> int:
        return self.num_heads

    @property
    def kv_channels(self) -> int:
        return self.dim

    @property
    def key_channels(self) -> int:
        return self.dim

    @property
    def value_channels(self) -> int:
        return self.dim


class _Part(NamedTuple):
    """Items of a batch, by their flat index, that use the same heads."""

    items: npt.NDArray[np.int64]
    heads: npt.NDArray[np.int64]


@register
class DynamicHeadAttention(HeadedAttention):
    """O = sum over heads h with g_h > threshold of g_h * head_h(Q, K, V) Wo_h, plus bo; g = sigmoid(mean(Q) Wg + bg)

    The gates are one number a head and sequence, made from the mean of its queries. Heads whose gate is not above the
    threshold are neither projected nor attended to. With ``training=True`` all heads are computed, each times its gate:
    a head that is shut can open again, and what it adds below the threshold is part of the output.

    Shapes: query (..., n_query, dim) or (dim,), keys and values (..., n_key, dim) -> (..., n_query, dim) or (dim,),
            float32
    Parameters: query_weight, keys_weight, values_weight, output_weight (dim, dim), their biases (dim,),
                gate_weight (dim, num_heads), gate_bias (num_heads,)
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = DynamicHeadAttention(dim=4, num_heads=2)
    >>> attention.parameters()["gate_bias"][1] = -9
    >>> attention.active_heads([[1, 0, 0, 1]])
    array([ True, False])
    >>> attention([[1, 0, 0, 1]], [[1, 0, 0, 1]], [[1, 2, 3, 4]]).shape
    (1, 4)
    """

    name = "dynamic_head"
    Config = DynamicHeadConfig  # type: ignore[assignment]  # it has what HeadedAttention reads of a HeadsConfig
    inputs = (QUERY, WIDE_KEYS, WIDE_VALUES)
    paper = "after Voita et al., 2019, arXiv:1905.09418"
    complexity = "O(n_query * n_key * dim + (n_query + n_key) * dim^2), times the share of heads in use"

    config: DynamicHeadConfig  # type: ignore[assignment]

    def _setup(self) -> None:
        super()._setup()
        dim, heads = self.config.dim, self.config.num_heads
        bound = (6 / (dim + heads)) ** 0.5
        random = np.random.default_rng([self.config.seed, heads])
        self._parameters["gate_weight"] = random.uniform(-bound, bound, (dim, heads)).astype(np.float32)
        self._parameters["gate_bias"] = np.full(heads, OPEN, np.float32)

    def _memory_maps(self) -> dict[str, Any]:
        return {}  # which channels are mapped depends on the query

    def head_gates(self, query: ArrayLike) -> Float32Array:
        """The gate of every head, (..., num_heads)."""
        binding = self.bind(query=query)
        return self._gates(binding)

    def active_heads(self, query: ArrayLike) -> npt.NDArray[np.bool_]:
        """Which heads these queries use, (..., num_heads)."""
        return self.head_gates(query) > np.float32(self.config.threshold)

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
        """The outputs, (..., n_query, dim). A Memory takes the place of keys and values."""
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        options = self._head_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        gates = self._gates(binding)
        if training:
            return self._trained(binding, gates, options, mask=mask, bias=bias)
        output = np.empty((max(int(np.prod(binding.lead)), 1), binding.sizes["n_query"], self.config.dim), FLOAT32)
        with binding.blaming_inputs():
            for part in self._parts(binding, gates):
                arrays, own = self._part_of(binding, part, options)
                if not part.heads.size:
                    self._look_through(binding, check_finite)
                    output[part.items] = self._parameters.get("output_bias", np.float32(0))
                    continue
                attended = self._attend(arrays[0], arrays[1], arrays[2], own)
                shares = gates.reshape(-1, gates.shape[-1])[part.items[:, None], part.heads]
                weight = self._parameters["output_weight"][self._channels(part.heads)]
                scaled = _by_head(attended, shares)
                output[part.items] = engine.project(scaled, weight, self._parameters.get("output_bias"))
        return binding.restore(output.reshape(*binding.lead, *output.shape[1:]))

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
        """The weights of every head, (..., num_heads, n_query, n_key), zeros for heads that are not in use."""
        binding = self.bind(query=query, keys=keys)
        options = self._head_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        sizes, heads = binding.sizes, self.config.num_heads
        out = np.zeros((max(int(np.prod(binding.lead)), 1), heads, sizes["n_query"], sizes["n_key"]), FLOAT32)
        with binding.blaming_inputs():
            for part in self._parts(binding, self._gates(binding)):
                if not part.heads.size:
                    self._look_through(binding, check_finite)
                    continue
                arrays, own = self._part_of(binding, part, options)
                weights = engine.weights(arrays[0], arrays[1], scale=self._scale, **own)
                shape = (part.items.size, part.heads.size, *out.shape[2:])
                out[part.items[:, None], part.heads] = weights.reshape(shape)
        return binding.restore(out.reshape(*binding.lead, *out.shape[1:]))

    # --- parts

    def _gates(self, binding: Binding) -> Float32Array:
        query = binding.arrays[0]
        require_finite("query", query[0] if binding.is_vector else query)
        mean = engine.contiguous(query).mean(axis=-2)
        logits = engine.project(mean[..., None, :], self._parameters["gate_weight"], self._parameters["gate_bias"])
        with np.errstate(over="ignore"):
            gates = 1 / (1 + np.exp(-logits[..., 0, :]))
        spread: Float32Array = np.broadcast_to(gates, (*binding.lead, self.config.num_heads))
        return spread

    def _parts(self, binding: Binding, gates: Float32Array) -> Iterator[_Part]:
        active = (gates > np.float32(self.config.threshold)).reshape(-1, self.config.num_heads)
        patterns, which = np.unique(active, axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            yield _Part(np.flatnonzero(which.reshape(-1) == index), np.flatnonzero(pattern))

    def _channels(self, heads: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (heads[:, None] * self.config.head_dim + np.arange(self.config.head_dim)).reshape(-1)

    def _part_of(
        self, binding: Binding, part: _Part, options: dict[str, Any]
    ) -> tuple[list[Float32Array], dict[str, Any]]:
        """The inputs of some items through the maps of some heads, and what the engine is told of these."""
        lead, count = binding.lead, part.heads.size
        channels = self._channels(part.heads)
        mapped = []
        for name, array in zip(INPUT_MAPS, binding.arrays, strict=False):
            weight, bias = self._parameters[f"{name}_weight"], self._parameters.get(f"{name}_bias")
            own = array if array.ndim == 2 else _items(array, lead, part.items, 2)
            if count:
                own = engine.project(own, weight[:, channels], None if bias is None else bias[channels])
            mapped.append(
                own if own.ndim > 2 or name != "query" else np.broadcast_to(own, (part.items.size, *own.shape))
            )
        changed = {"num_heads": count, "num_kv_heads": count}
        for name in ("mask", "bias"):
            addend = options.get(name)
            if addend is None or addend.ndim < 3:
                continue
            if self.config.num_heads > 1:  # (..., heads or 1, rows, columns)
                addend = _items(addend, lead, part.items, 3)
                addend = addend[:, part.heads] if addend.shape[1] > 1 else addend
                changed[name] = addend[:, 0] if count == 1 else addend
            else:
                changed[name] = _items(addend, lead, part.items, 2)
        if "key_lengths" in options:
            changed["key_lengths"] = options["key_lengths"].reshape(-1)[part.items]
        return mapped, options | changed

    def _look_through(self, binding: Binding, check_finite: bool) -> None:
        """What no head reads is looked at all the same: errors do not depend on gates."""
        for name, array in zip(binding.names[1:], binding.arrays[1:], strict=True):
            if check_finite and binding.key_lengths is None:
                require_finite(name, array)

    # --- training

    def _trained(self, binding: Binding, gates: Float32Array, options: dict[str, Any], **addends: Any) -> Float32Array:
        inputs = self._training_arrays(binding)
        with binding.blaming_inputs():
            mapped = [self._projected(*pair) for pair in zip(INPUT_MAPS, inputs, strict=True)]
            attended, attend_backward = self._attend_training(mapped[0], mapped[1], mapped[2], options)
        scaled = _by_head(attended, gates)
        output = binding.restore(self._projected("output", scaled))

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            of_scaled, gradients = self._projected_backward("output", scaled, binding.lift(grad))
            by_head = (*attended.shape[:-1], self.config.num_heads, self.config.head_dim)
            of_gates = (of_scaled * attended).reshape(by_head).sum(axis=(-1, -3))
            grads = attend_backward(_by_head(of_scaled, gates))
            for name, array, of_mapped in zip(INPUT_MAPS, inputs, grads[:3], strict=True):
                of_input, of_map = self._projected_backward(name, array, of_mapped)
                add_into(gradients, of_map)
                if name == "query" or binding.rows is None:
                    gradients[name] = of_input
            of_query, of_gate_maps = self._gates_backward(inputs[0], gates, of_gates)
            gradients["query"] = binding.restore(gradients["query"] + of_query)
            heads = self.config.num_heads > 1
            return gradients | of_gate_maps | addend_gradients(grads.bias, binding, heads=heads, **addends)

        self._record(output.shape, backward)
        return output

    def _gates_backward(
        self, query: Float32Array, gates: Float32Array, of_gates: Float32Array
    ) -> tuple[Float32Array, dict[str, Float32Array]]:
        of_logits = summed_to(of_gates * gates * (1 - gates), (*query.shape[:-2], gates.shape[-1]))
        mean = query.mean(axis=-2)
        of_mean, of_weight, of_bias = engine.project_backward(mean, self._parameters["gate_weight"], of_logits)
        return of_mean[..., None, :] / query.shape[-2], {"gate_weight": of_weight, "gate_bias": of_bias}


def _by_head(array: Float32Array, gates: Float32Array) -> Float32Array:
    """(..., n, heads * head_dim) with every head times its gate, (..., heads)."""
    heads = gates.shape[-1]
    split = array.reshape(*array.shape[:-1], heads, array.shape[-1] // heads)
    return (split * gates[..., None, :, None]).reshape(array.shape)


def _items(array: Any, lead: tuple[int, ...], items: npt.NDArray[np.int64], behind: int) -> Any:
    """Some items of an array whose leading dimensions broadcast to ``lead``, in one leading dimension."""
    own = array.shape[array.ndim - behind :]
    spread = np.broadcast_to(array, (*lead, *own)).reshape(-1, *own)
    return spread if items.size == len(spread) else spread[items]
