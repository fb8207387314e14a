"""Scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np

from .. import engine
from ..addends import ScoreShape, prepare_bias, prepare_mask
from ..arrays import FLOAT32, ArrayLike, Float32Array, as_output
from ..base import Attention
from ..config import AttentionConfig, Setting, score_scale
from ..errors import NumericalInstabilityError, UnsupportedError
from ..gradients import addend_gradients
from ..masks import AttentionMask, CausalMask
from ..memory import KeysLike, Memory
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, MaskLike, Out, Training, check_flags, is_causal
from ..ragged import prepare_key_lengths, without_unread
from ..registry import register
from ..rows import Rows
from ..specs import KEYS, QUERY, VALUES, Binding, are_plain_matrices
from ..tiles import Tiles


@dataclass(frozen=True, kw_only=True)
class SoftmaxConfig(AttentionConfig):
    """The settings of every mechanism that is softmax(scale * <q, k> / temperature) v inside."""

    scale: Annotated[float | None, Setting("factor on the dot products; None: 1 / sqrt(channels of a head)")] = None
    temperature: Annotated[float, Setting("divides the scores, after the scale", above=0)] = 1.0
    normalize: Annotated[bool, Setting("scale queries and keys to length 1 first: cosine attention")] = False
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False
    top_k: Annotated[int | None, Setting("keys of a query that count, those of the highest scores", at_least=1)] = None
    dropout: Annotated[float, Setting("share of weights dropped when training", at_least=0, below=1)] = 0.0

    def score_scale(self, channels: int) -> float:
        """The one factor between a dot product of ``channels`` products and its score."""
        scale = channels**-0.5 if self.scale is None else self.scale
        return score_scale(scale, self.temperature)


@dataclass(frozen=True)
class ScaledDotProductConfig(SoftmaxConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]


# The engine's keyword for each form in which a mask object says who sees what.
PLANS = {engine.Band: "band", Tiles: "tiles", engine.Edges: "edges"}

AttendBackward = Callable[[Float32Array], engine.Gradients]


class SoftmaxAttention(Attention):
    """What the mechanisms on the softmax engine share: one place where they call it."""

    config: SoftmaxConfig
    _scale: float  # on dot products; contains 1 / temperature

    def _attend(
        self,
        query: Float32Array,
        keys: Float32Array,
        values: Float32Array,
        score_options: dict[str, Any],
        out: Float32Array | None = None,
    ) -> Float32Array:
        """softmax(scores) v for all heads, query (..., n_query, heads * channels) and so on."""
        attended: Float32Array = engine.attend(query, keys, values, scale=self._scale, out=out, **score_options)
        return attended

    def _attend_training(
        self, query: Float32Array, keys: Float32Array, values: Float32Array, score_options: dict[str, Any]
    ) -> tuple[Float32Array, AttendBackward]:
        """The same with dropout, and the way back from a gradient of it."""
        options = {name: option for name, option in score_options.items() if name != "check_finite"}
        if self.config.dropout:
            options["dropout"] = engine.Dropout(self.config.dropout, int(self._random.integers(1 << 32)))
        checked = score_options["check_finite"]
        attended, lse = engine.attend(
            query, keys, values, scale=self._scale, return_lse=True, check_finite=checked, **options
        )

        def backward(grad: Float32Array) -> engine.Gradients:
            return engine.attend_backward(query, keys, values, attended, lse, grad, scale=self._scale, **options)

        return attended, backward

    def _finished(
        self,
        binding: Binding,
        arrays: tuple[Float32Array, ...],
        options: dict[str, Any],
        training: bool,
        target: Float32Array | None = None,
        more: Callable[[engine.Gradients], dict[str, Float32Array]] | None = None,
        *,
        mask: Any,
        bias: Any,
    ) -> Float32Array:
        """The outputs of a call whose arrays and options are ready; when training the way back is kept, to the
        gradients of the inputs and to ``more``, those of parameters."""
        query, keys, values = arrays
        with binding.blaming_inputs():
            if not training:
                return binding.restore(self._attend(query, keys, values, options, target))
            attended, attend_backward = self._attend_training(query, keys, values, options)
        output = binding.restore(attended)
        heads = options.get("num_heads", 1) > 1

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            grads = attend_backward(binding.lift(grad))
            return {
                "query": binding.restore(grads.query),
                **({} if binding.rows is not None else {"keys": grads.keys, "values": grads.values}),
                **addend_gradients(grads.bias, binding, heads=heads, mask=mask, bias=bias),
                **({} if more is None else more(grads)),
            }

        self._record(output.shape, backward)
        return output

    def _score_options(
        self,
        binding: Binding,
        *,
        mask: MaskLike,
        bias: ArrayLike | None,
        key_lengths: ArrayLike | None,
        causal: bool | None,
        check_finite: bool,
        num_heads: int | None = None,
    ) -> dict[str, Any]:
        """The keywords by which the engine is told how scores are made; masks, bias and lengths checked."""
        check_flags(check_finite=check_finite)
        causal = is_causal(causal, self.config.causal)
        options: dict[str, Any] = {"normalize": self.config.normalize, "check_finite": check_finite}
        scores = ScoreShape(binding.lead, binding.sizes["n_query"], binding.sizes["n_key"], num_heads)
        if isinstance(mask, AttentionMask):
            plan = (mask & CausalMask() if causal else mask).plan(scores.n_query, scores.n_key)
            options[PLANS[type(plan)]] = plan
        else:
            options["causal"] = causal
            if mask is not None:
                options["mask"] = prepare_mask(mask, scores, check_finite=check_finite)
        if self.config.top_k is not None:
            options["top_k"] = self.config.top_k
        if bias is not None:
            options["bias"] = prepare_bias(bias, scores, check_finite=check_finite)
        if key_lengths is not None:
            binding.key_lengths = prepare_key_lengths(key_lengths, binding.lead, binding.sizes["n_key"])
            options["key_lengths"] = binding.key_lengths
        return options

    def _target(self, out: Any, binding: Binding, training: bool, **addends: MaskLike) -> Float32Array:
        """The caller's array for the result, as the engine writes it."""
        if training:
            raise UnsupportedError("out came with training=True; expected None, for backward reads the output again")
        rows = () if binding.is_vector else (binding.sizes["n_query"],)
        inputs = dict(zip(binding.names, binding.arrays, strict=True))
        arrays = {name: addend for name, addend in addends.items() if not isinstance(addend, AttentionMask)}
        as_output(out, (*binding.lead, *rows, self._output_channels(binding)), **inputs, **arrays)
        return binding.lift(out)

    def _output_channels(self, binding: Binding) -> int:
        return binding.sizes["dim_value"]

    def _training_arrays(self, binding: Binding) -> tuple[Float32Array, ...]:
        """The inputs, zeros in rows that nobody reads: gradients are 0 times what lies there, and 0 * NaN is NaN."""
        query, *others = binding.arrays
        if binding.key_lengths is None:
            return binding.arrays
        return (query, *(without_unread(array, binding.key_lengths) for array in others))


@register
class ScaledDotProductAttention(SoftmaxAttention):
    """out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: none
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = ScaledDotProductAttention(dim=2)
    >>> attention([[1, 0]], [[1, 0]], [[3, 4]])
    array([[3., 4.]], dtype=float32)
    >>> attention([1, 0], [[1, 0], [0, 1]], [[1, 0], [0, 1]], mask=[True, False])
    array([1., 0.], dtype=float32)
    """

    name = "scaled_dot_product"
    Config = ScaledDotProductConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Vaswani et al., 2017, arXiv:1706.03762"

    config: ScaledDotProductConfig

    def _setup(self) -> None:
        self._dim = self.config.dim
        self._scale = self.config.score_scale(self._dim)

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
        out: Out = None,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        config = self.config
        # The everyday call has nothing to convert and nothing to say that it does not already satisfy.
        plain = training is False and (check_finite is True or check_finite is False)
        if plain and mask is None and bias is None and key_lengths is None and config.top_k is None:
            if are_plain_matrices(query, keys, values, self._dim, config.max_sequence_length):
                if out is not None:
                    as_output(out, (len(query), values.shape[1]), query=query, keys=keys, values=values)
                try:
                    output: Float32Array = engine.attend(
                        query,
                        keys,
                        values,
                        scale=self._scale,
                        causal=config.causal if causal is None else is_causal(causal, config.causal),
                        normalize=config.normalize,
                        check_finite=check_finite,
                        out=out,
                    )
                    return output
                except BufferError:  # an array that is not aligned, which bind copies
                    pass
            elif type(keys) is Memory and values is None:
                recalled = self._recall(query, keys.rows, causal, check_finite, out)
                if recalled is not None:
                    return recalled
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        options = self._score_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        target = None if out is None else self._target(out, binding, training, mask=mask, bias=bias)
        arrays = self._training_arrays(binding) if training else self._read(binding, options)
        output = self._finished(binding, arrays, options, training, target, mask=mask, bias=bias)
        return output if out is None else out

    def _recall(
        self, query: ArrayLike, rows: Rows, causal: bool | None, check_finite: bool, out: Any
    ) -> Float32Array | None:
        """The everyday call to a Memory, whose rows need no look; None where the query does, or they do not fit."""
        dim, config = self._dim, self.config
        if type(query) is not np.ndarray or query.dtype is not FLOAT32 or rows.dim != dim:
            return None
        is_vector = query.ndim == 1
        matrix = query[None] if is_vector else query
        if matrix.ndim != 2 or matrix.shape[1] != dim or not matrix.size:
            return None
        if not 0 < rows.count <= config.max_sequence_length:
            return None
        keys, values, target = rows.keys, rows.values, None
        if out is not None:
            as_output(out, (*query.shape[:-1], values.shape[1]), query=query, keys=keys, values=values)
            target = out[None] if is_vector else out
        if config.normalize:
            matrix, keys = engine.normalize_rows(matrix, dim), rows.unit_keys(dim)
        try:
            output: Float32Array = engine.attend(
                matrix,
                keys,
                values,
                scale=self._scale,
                causal=config.causal if causal is None else is_causal(causal, config.causal),
                check_finite=check_finite,
                out=target,
            )
        except NumericalInstabilityError:  # told in the words of the caller's query, the long way round
            return None
        if out is not None:
            return cast("Float32Array", out)
        return output[0] if is_vector else output

    def _read(self, binding: Binding, options: dict[str, Any]) -> tuple[Float32Array, ...]:
        """The inputs as the engine reads them: cosine attention to a Memory has its keys ready."""
        if binding.rows is None or not self.config.normalize:
            return binding.arrays
        query, _, *values = binding.arrays
        options["normalize"] = False
        return engine.normalize_rows(query, self._dim), binding.rows.unit_keys(self._dim), *values

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
        """The weights, (..., n_query, n_key): each row sums to 1, or is 0 where the mask leaves nothing.

        >>> ScaledDotProductAttention(dim=1).attention_weights([[0]], [[1], [2]])
        array([[0.5, 0.5]], dtype=float32)
        """
        binding = self.bind(query=query, keys=keys)
        options = self._score_options(
            binding, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        query, keys = self._read(binding, options)
        with binding.blaming_inputs():
            return binding.restore(engine.weights(query, keys, scale=self._scale, **options))
