"""Attention that knows the layers of a hierarchical small world (HNSW: Malkov & Yashunin, 2018, arXiv:1603.09320)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from .. import engine
from ..addends import ScoreShape, prepare_bias
from ..arrays import ArrayLike, Float32Array, as_array
from ..config import Setting
from ..errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from ..gradients import summed_to
from ..layout import tally
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Training
from ..registry import register
from ..specs import Binding
from .scored import Addition, ScoredAttention, ScoredConfig

Layers = Annotated[
    ArrayLike,
    Setting("layer of every key, integers (..., n_key) from 0, the lowest; None: all on layer 0", type="array | None"),
]


@dataclass(frozen=True)
class HNSWAwareConfig(ScoredConfig):
    num_layers: Annotated[int, Setting("layers of the index, each with a bias of its own", at_least=1)] = 8
    distance: Annotated[bool, Setting("a learned multiple of the Euclidean distance is taken from the score")] = False


@register
class HNSWAwareAttention(ScoredAttention):
    """out_i = sum_j softmax_j((scale * <q_i, k_j> - w |q_i - k_j|) / temperature + b_layer(j) + bias_ij) v_j

    b holds a learned number for each HNSW layer, so that hubs of the upper layers may count more, or less; w, with
    ``distance``, is learned too. Both start at 0, b, and at 1, w. With num_heads each group of channels attends apart,
    with a b of its own.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: layer_bias (num_layers,), of several heads (num_heads, num_layers); distance_weight (1,)
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError,
            UnsupportedError

    >>> attention = HNSWAwareAttention(dim=1, num_layers=2)
    >>> attention.parameters()["layer_bias"][:] = [0, np.log(3)]
    >>> attention([0], [[1], [1]], [[0], [4]], layers=[0, 1]).round(4)
    array([3.], dtype=float32)
    """

    name = "hnsw_aware"
    Config = HNSWAwareConfig
    paper = "Malkov & Yashunin, 2018, arXiv:1603.09320"

    config: HNSWAwareConfig

    def _setup(self) -> None:
        super()._setup()
        heads = () if self._head_axis is None else (self.config.num_heads,)
        self._parameters["layer_bias"] = np.zeros((*heads, self.config.num_layers), np.float32)
        if self.config.distance:
            self._parameters["distance_weight"] = np.ones(1, np.float32)

    def _biases(self) -> Float32Array:
        """(num_heads, num_layers)."""
        return self._parameters["layer_bias"].reshape(-1, self.config.num_layers)

    def _checked(self, layers: ArrayLike, binding: Binding) -> Any:
        """(..., n_key) integers."""
        shape = (*binding.lead, binding.sizes["n_key"])
        array = as_array("layers", layers)
        if array.dtype.kind not in "iu":
            raise UnsupportedError(f"layers is an array of {array.dtype.name}; expected integers")
        if array.ndim < 1 or array.shape[-1] != shape[-1] or array.ndim > len(shape):
            raise DimensionMismatchError(f"layers is {array.shape}; expected (n_key,) or {shape}", expected=shape)
        if not 0 <= array.min() <= array.max() < self.config.num_layers:
            raise OutOfBoundsError(
                f"layers holds {array.min()} to {array.max()}; expected 0 to num_layers - 1 = "
                f"{self.config.num_layers - 1}"
            )
        return array

    def _prepared(
        self, binding: Binding, own: dict[str, Any], addends: dict[str, Any]
    ) -> tuple[Addition, dict[str, Any]]:
        layers, bias = own["layers"], own["bias"]
        config, options = self.config, dict[str, Any]()
        of_layers = None if layers is None else self._checked(layers, binding)
        if of_layers is not None:
            combined = np.moveaxis(self._biases()[:, of_layers], 0, -2)[..., None, :]  # (..., heads, 1, n_key)
            if self._head_axis is None:
                combined = combined[..., 0, :, :]
            else:  # as the engine reads heads: behind all leading axes
                combined = combined.reshape((1,) * (len(binding.lead) + 3 - combined.ndim) + combined.shape)
            if bias is not None:
                shape = ScoreShape(binding.lead, binding.sizes["n_query"], binding.sizes["n_key"], self._head_axis)
                combined = combined + prepare_bias(bias, shape)
            options["bias"] = combined
        width = config.head_dim
        unit = config.scale if config.scale is not None else width**-0.5  # the engine's scale multiplies all
        if config.distance:
            weight = float(self._parameters["distance_weight"][0])
            options["spaces"] = [engine.Space("dot", 0, width), engine.Space("euclidean", 0, width, weight / unit)]

        def backward(grads: engine.Gradients) -> dict[str, Float32Array]:
            gradients = {"layer_bias": np.zeros_like(self._parameters["layer_bias"])}
            if of_layers is not None and grads.bias is not None:
                heads = () if self._head_axis is None else (config.num_heads,)
                of_keys = summed_to(grads.bias, (*of_layers.shape[:-1], *heads, 1, of_layers.shape[-1]))
                for head, total in enumerate(gradients["layer_bias"].reshape(-1, config.num_layers)):
                    own = (of_keys if self._head_axis is None else of_keys[..., head, :, :]).reshape(-1)
                    total += tally(of_layers.reshape(-1), own, config.num_layers).astype(np.float32)
            if grads.spaces is not None:
                gradients["distance_weight"] = (grads.spaces[1:, 0] / unit).astype(np.float32)
            return gradients

        return Addition(options, backward=backward), self._head_options(binding, **addends)

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        layers: Layers = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        return self._output(
            query, keys, values, {"layers": layers, "bias": bias}, training, mask=mask, bias=bias,
            key_lengths=key_lengths, causal=causal, check_finite=check_finite,
        )  # fmt: skip

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        layers: Layers = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key)."""
        return self._weights(
            query, keys, {"layers": layers, "bias": bias}, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal,
            check_finite=check_finite,
        )  # fmt: skip
