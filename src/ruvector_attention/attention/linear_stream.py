"""Linear attention as a recurrence: a state of fixed size in place of the keys and values so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import prefix
from ..arrays import ArrayLike, Float32Array, require_finite
from ..errors import DimensionMismatchError, EmptyInputError
from ..layout import size_of

if TYPE_CHECKING:
    from .linear import LinearAttention


class LinearStream:
    """The sums of linear attention over the keys and values that came so far: O(num_features * dim_value) memory.

    What ``step`` gives row by row, or in pieces of any lengths, is what one causal forward over all rows gives.

    Shapes: query (*lead, n, dim), keys (*lead, n, dim), values (*lead, n, dim_value) -> (*lead, n, dim_value)
    Raises: DimensionMismatchError, EmptyInputError, NumericalInstabilityError, UnsupportedError
    """

    def __init__(self, attention: LinearAttention, dim_value: int, lead: tuple[int, ...] = ()) -> None:
        self._attention, self._dim_value, self._lead = attention, dim_value, tuple(lead)
        self.reset()

    def reset(self) -> None:
        """Forget all keys."""
        config = self._attention.config
        features = config.num_features if config.kernel == "favor" else config.dim
        self._table = prefix.Table.empty(size_of(self._lead), features, self._dim_value)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def step(self, query: ArrayLike, keys: ArrayLike, values: ArrayLike) -> Float32Array:
        """Take in as many keys and values as there are queries; query i sees the earlier keys and its own."""
        bound = self._attention.bind(query=query, keys=keys, values=values)
        rows = bound.sizes["n_query"], bound.sizes["n_key"]
        if rows[0] != rows[1]:
            raise DimensionMismatchError(
                f"query has {rows[0]} rows and keys {rows[1]}; expected as many", expected=rows[0], actual=rows[1]
            )
        return bound.restore(self._advance(bound.lead, *bound.arrays, causal=True))

    def append(self, keys: ArrayLike, values: ArrayLike) -> None:
        """Take in keys and values that no query asks about yet."""
        bound = self._attention.bind(keys=keys, values=values)
        keys, values = bound.arrays
        self._advance(bound.lead, keys[..., :0, :], keys, values, causal=False)

    def attend(self, query: ArrayLike) -> Float32Array:
        """The outputs of queries that see all keys so far."""
        if not self._length:
            raise EmptyInputError("the stream holds no keys; expected some before the first query")
        bound = self._attention.bind(query=query)
        (query,) = bound.arrays
        none = np.zeros((*query.shape[:-2], 0, self._dim_value), np.float32)
        return bound.restore(self._advance(bound.lead, query, query[..., :0, :], none, causal=False))

    def _advance(
        self, lead: tuple[int, ...], query: Float32Array, keys: Float32Array, values: Float32Array, *, causal: bool
    ) -> Float32Array:
        if lead != self._lead or values.shape[-1] != self._dim_value:
            raise DimensionMismatchError(
                f"the leading dimensions are {lead}, the values of {values.shape[-1]} channels; expected {self._lead} "
                f"and {self._dim_value}, as the stream was made",
                expected=(*self._lead, self._dim_value),
                actual=(*lead, values.shape[-1]),
            )
        for name, array in (("query", query), ("keys", keys), ("values", values)):
            require_finite(name, array)
        query, keys = (self._attention._unit(rows) for rows in (query, keys))
        features = self._attention._features(lead, query, keys, None, True)
        done = prefix.forward(features, prefix.flat(values, lead), causal=causal, table=self._table)
        out = done.output.reshape(*lead, *done.output.shape[1:])
        require_finite("output", out)
        self._table = done.table  # all or none
        self._length += keys.shape[-2]
        return out
