"""Rotary positions on a graph (Su et al., 2021, arXiv:2104.09864): how far a node is turns its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from ..arrays import ArrayLike, Float32Array, as_float32, as_numbers, require_finite
from ..config import Setting
from ..engine import Rotary
from ..errors import DimensionMismatchError, OutOfBoundsError
from ..memory import KeysLike
from ..options import Bias, Causal, CheckFinite, KeyLengths, Mask, Training
from ..products import Angles, rotate_rows
from ..registry import register
from ..specs import Binding
from .scored import Addition, ScoredAttention, ScoredConfig

QueryPositions = Annotated[
    ArrayLike,
    Setting("real numbers (..., n_query), or one; None: 0", type="array | float | None"),
]
KeyPositions = Annotated[
    ArrayLike,
    Setting("real numbers (..., n_key), hop distances for example; None: 0", type="array | float | None"),
]


@dataclass(frozen=True)
class GraphRoPEConfig(ScoredConfig):
    max_position: Annotated[
        float | None, Setting("the largest position, without its sign, that a call may have; None: any", above=0)
    ] = None
    base: Annotated[float, Setting("pair i of a head turns by position / scaling / base^(2i / dim)", above=1)] = (
        10_000.0
    )
    scaling: Annotated[float, Setting("divides positions", above=0)] = 1.0
    interleaved: Annotated[bool, Setting("pairs are channels (2i, 2i + 1); False: (i, i + dim / 2)")] = False


@register
class GraphRoPEAttention(ScoredAttention):
    """out_i = sum_j softmax_j(scale * <R(p_i) q_i, R(p_j) k_j> / temperature + bias_ij) v_j

    R(p) turns pair c of channels by p / scaling / base^(2c / dim); of an odd dim the last channel stays. A score
    depends on the difference of positions alone. Positions are real numbers and are not rounded or clamped: hop
    distances from the query, or anything else. Without positions it is scaled dot-product attention. With num_heads
    each group of channels attends apart, its own pairs turned; dim is then that of a head.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Units: positions and scaling have the same one, hops for example; pairs turn by radians
    Parameters: none
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError,
            UnsupportedError

    >>> attention = GraphRoPEAttention(dim=2)
    >>> attention.attention_weights([1, 0], [[1, 0], [1, 0]], key_positions=[0, np.pi]).round(2)
    array([0.8, 0.2], dtype=float32)
    >>> attention.compute_with_positions([1, 0], [[1, 0], [1, 0]], [[0], [1]], 0, [1, 1])
    array([0.5], dtype=float32)
    """

    name = "graph_rope"
    Config = GraphRoPEConfig
    paper = "Su et al., 2021, arXiv:2104.09864"

    config: GraphRoPEConfig

    @classmethod
    def simple(cls, dim: int, max_position: float) -> Self:
        """By the two sizes alone."""
        return cls(dim=dim, max_position=max_position)

    def _positions(self, name: str, given: ArrayLike, shape: tuple[int, ...]) -> Any:
        """As the engine turns by them, (..., n)."""
        positions = as_numbers(name, 0.0 if given is None else given).astype(np.float64)
        try:
            positions = np.broadcast_to(positions, np.broadcast_shapes(positions.shape, shape[-1:]))
            if np.broadcast_shapes(positions.shape, shape) != shape:
                raise ValueError
        except ValueError:
            raise DimensionMismatchError(
                f"{name} is {positions.shape}; expected a shape that broadcasts to {shape}", expected=shape
            ) from None
        require_finite(name, positions)
        limit = self.config.max_position
        if limit is not None and abs(positions).max(initial=0) > limit:
            raise OutOfBoundsError(
                f"{name} reaches {float(abs(positions).max())}; expected at most max_position = {limit}, without sign"
            )
        return positions / self.config.scaling

    def _prepared(
        self, binding: Binding, own: dict[str, Any], addends: dict[str, Any]
    ) -> tuple[Addition, dict[str, Any]]:
        given = {"query": own["query_positions"], "keys": own["key_positions"]}
        added: dict[str, Any] = {}
        if any(positions is not None for positions in given.values()):
            shapes = {name: array.shape[:-1] for name, array in zip(binding.names, binding.arrays, strict=True)}
            positions = (
                self._positions("query_positions", given["query"], shapes["query"]),
                self._positions("key_positions", given["keys"], shapes["keys"]),
            )
            added["rotary"] = Rotary(*positions, base=self.config.base, interleaved=self.config.interleaved)
        return Addition(added), self._head_options(binding, **addends)

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        query_positions: QueryPositions = None,
        key_positions: KeyPositions = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        own = {"query_positions": query_positions, "key_positions": key_positions}
        return self._output(
            query, keys, values, own, training, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal,
            check_finite=check_finite,
        )  # fmt: skip

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        query_positions: QueryPositions = None,
        key_positions: KeyPositions = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key)."""
        own = {"query_positions": query_positions, "key_positions": key_positions}
        return self._weights(
            query, keys, own, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )

    def compute(self, query: ArrayLike, keys: KeysLike, values: ArrayLike = None) -> Float32Array:
        """forward without positions, by the name under which other packages have it."""
        return self.forward(query, keys, values)

    def compute_with_positions(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike,
        query_position: ArrayLike,
        key_positions: ArrayLike,
    ) -> Float32Array:
        """forward with positions, by the name under which other packages have it."""
        return self.forward(query, keys, values, query_positions=query_position, key_positions=key_positions)

    def apply_rotary(self, x: ArrayLike, positions: ArrayLike) -> Float32Array:
        """Rows (..., n, dim), or one, turned by positions (..., n): what a query or key becomes.

        >>> GraphRoPEAttention(dim=2).apply_rotary([1, 0], np.pi / 2).round(6)
        array([0., 1.], dtype=float32)
        """
        rows = as_float32("x", x)
        if rows.ndim < 1 or rows.shape[-1] != self.config.dim:
            raise DimensionMismatchError(f"x is {rows.shape}; expected (..., dim) with dim = {self.config.dim}")
        lifted = rows[None] if rows.ndim == 1 else rows
        at = np.broadcast_to(self._positions("positions", positions, lifted.shape[:-1]), lifted.shape[:-1])
        width = self.config.head_dim
        angles = Angles.of(at, width // 2 * 2, self.config.base, self.config.interleaved)
        return rotate_rows(lifted, angles, width).reshape(rows.shape)

    @staticmethod
    def distance_to_position(distance: ArrayLike, max_distance: float) -> Any:
        """Distances in a graph as positions: max_distance where a node is further away, or not reached (infinity).

        >>> GraphRoPEAttention.distance_to_position([0, 2, np.inf], 8).tolist()
        [0.0, 2.0, 8.0]
        """
        distances = as_numbers("distance", distance).astype(np.float64)
        if not max_distance > 0:
            raise OutOfBoundsError(f"max_distance is {max_distance}; expected more than 0")
        if not (distances >= 0).all():
            raise OutOfBoundsError("distance holds NaN or a negative number; expected at least 0")
        positions = np.minimum(distances, max_distance)
        return float(positions) if positions.ndim == 0 else positions
