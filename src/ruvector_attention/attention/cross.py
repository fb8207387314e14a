"""Cross-attention: one sequence attends to another, of its own width (Vaswani et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..errors import UnsupportedError
from ..memory import KeysLike, Memory
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Out, Training
from ..registry import register
from .heads import HEAD_KEYS, HEAD_QUERY, HEAD_VALUES
from .multi_head import MultiHeadAttention, MultiHeadConfig

CONTEXT = replace(HEAD_KEYS, doc="the other sequence")
CONTEXT_VALUES = replace(HEAD_VALUES, optional=True, doc="what is brought back; None: the keys")


@dataclass(frozen=True)
class CrossAttentionConfig(MultiHeadConfig):
    vdim: Annotated[int | None, Setting("channels of values; None: those of keys", at_least=1)] = None

    @property
    def value_channels(self) -> int:
        return self.vdim or self.key_channels


@register
class CrossAttention(MultiHeadAttention):
    """O = MultiHead(X, Y, Y): every row of the query attends to the rows of another sequence

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, kdim), values (..., n_key, vdim), the keys if
            they are left out -> (..., n_query, dim) or (dim,), float32
    Parameters: query_weight (dim, dim), keys_weight (kdim, kv), values_weight (vdim, kv), output_weight (dim, dim),
            kv = num_kv_heads * dim / num_heads, and a bias for each. Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = CrossAttention(dim=4, num_heads=2, kdim=3)
    >>> attention([[1, 0, 0, 1]], [[1, 0, 0], [0, 1, 0]]).shape
    (1, 4)
    """

    name = "cross_attention"
    Config = CrossAttentionConfig
    inputs = (HEAD_QUERY, CONTEXT, CONTEXT_VALUES)
    _values_are_keys = False

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike | None = None,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
        out: Out = None,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim). A Memory takes the place of keys and values."""
        self._values_are_keys = values is None and not isinstance(keys, Memory)
        return super().forward(
            query,
            keys,
            self._values_or_keys(values, keys),
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            training=training,
            check_finite=check_finite,
            out=out,
        )

    def backward(self, grad_output: ArrayLike) -> dict[str, Float32Array]:
        """As everywhere; keys that stood in for the values get both gradients."""
        gradients = super().backward(grad_output)
        if self._values_are_keys:
            gradients["keys"] = gradients["keys"] + gradients.pop("values")
        return gradients

    def head_output(
        self,
        head: int,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike | None = None,
        **options: Any,
    ) -> Float32Array:
        """The output of one head before the map out, (..., n_query, dim / num_heads)."""
        return super().head_output(head, query, keys, self._values_or_keys(values, keys), **options)

    def _values_or_keys(self, values: ArrayLike | None, keys: KeysLike) -> ArrayLike | None:
        if values is not None or isinstance(keys, Memory):
            return values
        config = self.config
        if config.key_channels != config.value_channels:
            raise UnsupportedError(
                f"values is None; expected values of {config.value_channels} channels, "
                f"for keys of {config.key_channels} cannot stand in for them"
            )
        return keys
