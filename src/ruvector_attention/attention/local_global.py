"""Local and global attention (Beltagy et al., 2020, arXiv:2004.05150)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import ArrayLike, Float32Array, as_array
from ..config import Setting
from ..errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from ..masks import AttentionMask, WindowMask
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, MaskLike, Out, Training, check_flags, is_causal
from ..registry import register
from ..specs import KEYS, QUERY, VALUES, Binding
from .scaled_dot_product import PLANS, ScaledDotProductConfig, SoftmaxAttention

Position = Annotated[
    ArrayLike | None,
    Setting(
        "where each query stands among the keys, an integer or (n_query,); None: query i at i + (n_key - n_query)",
        type="array | None",
    ),
]


@dataclass(frozen=True)
class LocalGlobalConfig(ScaledDotProductConfig):
    window: Annotated[int, Setting("keys that a token sees on either side of itself", at_least=0)] = 256
    global_tokens: Annotated[int, Setting("first tokens, which see all keys and which all see", at_least=0)] = 1


@register
class LocalGlobalAttention(SoftmaxAttention):
    """out_i = sum over j near i, and over global j, of softmax_j(scale * <q_i, k_j> / temperature + bias_ij) v_j

    j is near i where |i - j| <= window, and global where j < global_tokens; a global token attends to all keys. With
    ``causal`` nobody sees a key behind its own place. Query i stands at key i + (n_key - n_query), or at ``position``.
    Nothing is computed outside of the pattern.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Units: window, global_tokens and position count tokens
    Parameters: none
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError,
            UnsupportedError

    >>> attention = LocalGlobalAttention(dim=1, window=1, global_tokens=1)
    >>> attention([0], [[0]] * 6, [[6], [0], [0], [0], [3], [3]], position=5)
    array([4.], dtype=float32)
    """

    name = "local_global"
    Config = LocalGlobalConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Beltagy et al., 2020, arXiv:2004.05150"
    complexity = "O(n_query * (window + global_tokens) * dim)"

    config: LocalGlobalConfig

    def _setup(self) -> None:
        self._scale = self.config.score_scale(self.config.dim)

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        position: Position = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
        out: Out = None,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A mask or a bias counts inside the pattern."""
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        options = self._pattern_options(
            binding, position, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        target = None if out is None else self._target(out, binding, training, mask=mask, bias=bias)
        arrays = self._training_arrays(binding) if training else binding.arrays
        output = self._finished(binding, arrays, options, training, target, mask=mask, bias=bias)
        return output if out is None else out

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        position: Position = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights, (..., n_query, n_key), zeros outside of the pattern."""
        binding = self.bind(query=query, keys=keys)
        options = self._pattern_options(
            binding, position, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )
        with binding.blaming_inputs():
            return binding.restore(engine.weights(*binding.arrays, scale=self._scale, **options))

    def get_attention_mask(self, n: int, *, position: int | None = None) -> WindowMask | npt.NDArray[np.bool_]:
        """The pattern over n tokens as a mask object, planned for n; of one query at ``position``, its row (n,).

        >>> attention = LocalGlobalAttention(dim=8, window=10, global_tokens=5)
        >>> attention.get_attention_mask(1000).count_nonzero(1000)
        30760
        >>> int(attention.get_attention_mask(1000, position=500).sum())
        26

        Raises: OutOfBoundsError.
        """
        pattern = self._pattern(None)
        if position is None:
            pattern.plan(n, n)
            return pattern
        row = np.zeros(n, bool)
        row[self._listed(np.array([position]), n, None).indices] = True
        return row

    def _pattern(self, causal: bool | None) -> WindowMask:
        config = self.config
        return WindowMask(config.window, config.global_tokens, is_causal(causal, config.causal))

    def _pattern_options(
        self, binding: Binding, position: ArrayLike | None, *, mask: MaskLike, causal: bool | None, **options: Any
    ) -> dict[str, Any]:
        sizes = binding.sizes
        n_query, n_key = sizes["n_query"], sizes["n_key"]
        if position is not None:
            if isinstance(mask, AttentionMask):
                raise UnsupportedError(f"mask is {mask!r} beside a position; expected an array, (..., n_query, n_key)")
            made = self._score_options(binding, mask=mask, causal=False, **options)
            plan: Any = self._listed(_positions(position, n_query, n_key), n_key, causal)
            made["checks_unlisted"] = False  # a look at every row would cost more than the few that are read
        else:
            pattern = self._pattern(causal)
            if isinstance(mask, AttentionMask):
                return self._score_options(binding, mask=mask & pattern, causal=False, **options)
            made = self._score_options(binding, mask=mask, causal=False, **options)
            plan = pattern.plan(n_query, n_key)
        del made["causal"]
        return made | {PLANS[type(plan)]: plan}

    def _listed(self, positions: npt.NDArray[np.int64], n_key: int, causal: bool | None) -> engine.Edges:
        """The keys that queries at these positions see, one list each."""
        pattern = self._pattern(causal)
        tokens = min(pattern.global_tokens, n_key)
        lists = []
        for position in positions.tolist():
            end = position + 1 if pattern.causal else n_key
            first, last = max(position - pattern.window, 0), min(position + pattern.window + 1, end)
            seen = [np.arange(end)] if position < tokens else [np.arange(min(tokens, first)), np.arange(first, last)]
            lists.append(np.concatenate(seen))
        ends = np.concatenate([[0], np.cumsum([len(seen) for seen in lists])])
        return engine.Edges.checked(ends, np.concatenate(lists), len(lists), n_key)


def _positions(position: ArrayLike, n_query: int, n_key: int) -> npt.NDArray[np.int64]:
    array = as_array("position", position)
    if array.dtype.kind not in "iu":
        raise UnsupportedError(f"position is an array of {array.dtype.name}; expected integers")
    if array.shape not in ((), (n_query,)):
        raise DimensionMismatchError(
            f"position is {array.shape}; expected ({n_query},), one for each query",
            expected=n_query,
            actual=array.shape,
        )
    bad = (array < 0) | (array >= n_key)
    if bad.any():
        raise OutOfBoundsError(f"position holds {array[bad].flat[0]}; expected 0 to {n_key - 1}")
    return np.broadcast_to(array, (n_query,)).astype(np.int64)
