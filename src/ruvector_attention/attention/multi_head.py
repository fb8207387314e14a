"""Multi-head attention (Vaswani et al., 2017), grouped-query by option (Ainslie et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from ..arrays import ArrayLike, Float32Array
from ..config import Setting
from ..errors import InvalidConfigError
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Out, Training
from ..registry import register
from .heads import HEAD_KEYS, HEAD_QUERY, HEAD_VALUES, HeadedAttention, HeadsConfig


@dataclass(frozen=True)
class MultiHeadConfig(HeadsConfig):
    """Heads whose keys and values may have widths of their own."""

    kdim: Annotated[int | None, Setting("channels of keys; None: as the heads need them", at_least=1)] = None
    vdim: Annotated[int | None, Setting("channels of values; None: as the heads need them", at_least=1)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projections:
            return
        for name, size in (("kdim", self.kdim), ("vdim", self.vdim)):
            if size not in (None, self.kv_channels):
                raise InvalidConfigError(
                    f"{name} is {size}; without projections expected {self.kv_channels}, num_kv_heads * dim / num_heads"
                )

    @property
    def key_channels(self) -> int:
        return self.kdim or super().key_channels

    @property
    def value_channels(self) -> int:
        return self.vdim or super().value_channels


@register
class MultiHeadAttention(HeadedAttention):
    """O = concat_h(SDPA(Q Wq_h, K Wk_h, V Wv_h)) Wo, with biases

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, kdim), values (..., n_key, vdim)
            -> (..., n_query, dim) or (dim,), float32
    Parameters: query_weight (dim, dim), keys_weight (kdim, kv), values_weight (vdim, kv), output_weight (dim, dim),
            kv = num_kv_heads * dim / num_heads, and a bias for each: (channels in, channels out), the transpose of
            torch's. Xavier-uniform from the seed. None of them with projections=False, where head h simply takes
            the h-th group of channels.
    Raises: InvalidConfigError; DimensionMismatchError, EmptyInputError, InputTooLargeError,
            NumericalInstabilityError, UnsupportedError

    >>> attention = MultiHeadAttention(dim=4, num_heads=2)
    >>> tokens = [[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]]
    >>> attention(tokens, tokens, tokens).shape
    (3, 4)
    >>> split = MultiHeadAttention(dim=2, num_heads=2, projections=False)
    >>> split([[9, -9]], [[9, 9], [-9, -9]], [[1, 2], [3, 4]])
    array([[1., 4.]], dtype=float32)
    """

    name = "multi_head"
    Config = MultiHeadConfig
    inputs = (HEAD_QUERY, HEAD_KEYS, HEAD_VALUES)

    config: MultiHeadConfig

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
        """The outputs, (..., n_query, dim). A Memory takes the place of keys and values."""
        return self._output(
            self.bind(query=query, keys=keys, values=values),
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
        keys: KeysLike,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of every head, (..., num_heads, n_query, n_key)."""
        return self._weights(
            self.bind(query=query, keys=keys),
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            check_finite=check_finite,
        )

    def head_attention_weights(self, query: ArrayLike, keys: KeysLike, **options: Any) -> Float32Array:
        """attention_weights by the name under which other packages have it."""
        return self.attention_weights(query, keys, **options)

    def head_output(
        self,
        head: int,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output of one head before the map out, (..., n_query, dim / num_heads).

        Raises: OutOfBoundsError for a head that does not exist, and what forward raises.
        """
        return self._one_head(
            head,
            self.bind(query=query, keys=keys, values=values),
            mask=mask,
            bias=bias,
            key_lengths=key_lengths,
            causal=causal,
            check_finite=check_finite,
        )
