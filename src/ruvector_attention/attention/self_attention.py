"""Self-attention: multi-head attention of a sequence to itself (Vaswani et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..arrays import ArrayLike, Float32Array
from ..errors import InvalidConfigError
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Out, Training
from ..registry import register
from ..specs import Binding, TensorSpec
from .heads import HeadedAttention, HeadsConfig

# each row is a query and a key at once, so the length limit on keys holds for them
SEQUENCE = TensorSpec("query", "... n_key dim", "the sequence; (dim,) is one row", bare_vector=True)


@dataclass(frozen=True)
class SelfAttentionConfig(HeadsConfig):
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.key_channels != self.dim:
            raise InvalidConfigError(
                f"num_kv_heads is {self.num_kv_heads}; without projections expected num_heads = {self.num_heads}"
            )


@register
class SelfAttention(HeadedAttention):
    """O = MultiHead(X, X, X): every row of the query attends to all rows of it

    Fewer key/value heads need the projections, for without them keys would have to be narrower than queries.

    Shapes: query (..., n_key, dim) -> (..., n_key, dim), float32
    Parameters: query_weight (dim, dim), keys_weight, values_weight (dim, kv), output_weight (dim, dim),
            kv = num_kv_heads * dim / num_heads, and a bias for each. Xavier-uniform from the seed.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError, OutOfBoundsError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = SelfAttention(dim=4, num_heads=2)
    >>> attention([[1, 0, 0, 1], [0, 1, 1, 0]], causal=True).shape
    (2, 4)
    """

    name = "self_attention"
    Config = SelfAttentionConfig
    inputs = (SEQUENCE,)
    outputs = (TensorSpec("output", "... n_key dim"),)

    config: SelfAttentionConfig

    def forward(
        self,
        query: ArrayLike,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
        out: Out = None,
    ) -> Float32Array:
        """The outputs, (..., n_key, dim)."""
        return self._output(
            self._bind_self(query),
            training,
            out,
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            check_finite=check_finite,
        )

    def attention_weights(
        self,
        query: ArrayLike,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of every head, (..., num_heads, n_key, n_key)."""
        binding = self._bind_self(query)
        return self._weights(
            replace(binding, names=binding.names[:2], arrays=binding.arrays[:2]),
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            check_finite=check_finite,
        )

    def head_attention_weights(self, query: ArrayLike, **options: Any) -> Float32Array:
        """attention_weights by the name under which other packages have it."""
        return self.attention_weights(query, **options)

    def head_output(
        self,
        head: int,
        query: ArrayLike,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one head before the map out, (..., n_key, dim / num_heads)."""
        return self._one_head(
            head,
            self._bind_self(query),
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            check_finite=check_finite,
        )

    def _bind_self(self, query: ArrayLike) -> Binding:
        """The query in all three places."""
        binding = self.bind(query=query)
        sequence = binding.arrays[0]
        sizes = {**binding.sizes, "n_query": binding.sizes["n_key"]}
        return replace(binding, names=binding.names * 3, arrays=(sequence, sequence, sequence), sizes=sizes)
