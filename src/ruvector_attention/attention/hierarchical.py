"""Hierarchical attention (Yang et al., 2016, N16-1174): inside each level, then across the summaries of the levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from .. import kernels
from ..arrays import ArrayLike, Float32Array, as_array, as_float32, require_finite
from ..base import Attention
from ..config import AttentionConfig, Setting
from ..engine import contiguous, project, project_backward, raise_non_finite
from ..errors import DimensionMismatchError, EmptyInputError, OutOfBoundsError, UnsupportedError
from ..layout import repeated, tally
from ..options import CheckFinite, Training, check_flags
from ..products import tanh
from ..registry import register
from ..scoring import Edges
from ..sparse import attend_sparse, attend_sparse_backward
from ..specs import TensorSpec

LevelWeights = Annotated[
    ArrayLike,
    Setting("weights (n_level,) of the levels in place of the learned ones, at least 0", type="array | None"),
]


@dataclass(frozen=True)
class HierarchicalConfig(AttentionConfig):
    dim: Annotated[int, Setting("channels of items and of the output", at_least=1)]
    temperature: Annotated[float, Setting("divides the scores", above=0)] = 1.0


class _Pooled(NamedTuple):
    """Rows pooled into groups, (..., n_group, dim); their weights, (..., n_row), for who asks; and the way back, from
    gradients of the groups to those of the rows, which adds those of the parameters."""

    output: Float32Array
    weights: Callable[[], Float32Array]
    backward: Callable[[Float32Array, dict[str, Float32Array]], Float32Array]


@register
class HierarchicalAttention(Attention):
    """s_l = sum over items i of level l of softmax_i(<tanh(W h_i + b), u> / temperature) h_i, out = sum_l a_l s_l

    a is the same attention once more, over the summaries s with parameters of its own, or the given ``level_weights``
    divided by their sum. A level without items takes no part.

    Shapes: items (..., n_item, dim), levels (n_item,) integers from 0, the level of each item -> (..., dim), float32
    Parameters: item_weight, summary_weight (dim, dim), item_bias, summary_bias, item_context, summary_context (dim,),
            Xavier-uniform from the seed
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError,
            UnsupportedError

    >>> attention = HierarchicalAttention(dim=2)
    >>> attention([[1, 0], [1, 0], [0, 1]], [0, 0, 1], level_weights=[3, 1])
    array([0.75, 0.25], dtype=float32)
    >>> attention.compute([[[1, 0], [1, 0]], [[0, 1]]], level_weights=[3, 1])["values"]
    array([0.75, 0.25], dtype=float32)
    """

    name = "hierarchical"
    Config = HierarchicalConfig
    inputs = (
        TensorSpec("items", "... n_item dim", "features of every item"),
        TensorSpec("levels", "n_item", "the level of every item, from 0", dtype="int64"),
    )
    outputs = (TensorSpec("output", "... dim"),)
    paper = "Yang et al., 2016, aclanthology.org/N16-1174"
    complexity = "O(n_item * dim^2)"

    config: HierarchicalConfig

    def _setup(self) -> None:
        dim, random = self.config.dim, np.random.default_rng(self.config.seed)
        for name in ("item", "summary"):
            bound = (3 / dim) ** 0.5  # Xavier-uniform
            self._parameters[f"{name}_weight"] = random.uniform(-bound, bound, (dim, dim)).astype(np.float32)
            self._parameters[f"{name}_bias"] = np.zeros(dim, np.float32)
            bound = (6 / (dim + 1)) ** 0.5
            self._parameters[f"{name}_context"] = random.uniform(-bound, bound, dim).astype(np.float32)

    def _levels(self, levels: ArrayLike, n_item: int) -> Any:
        array = as_array("levels", levels)
        if array.dtype.kind not in "iu":
            raise UnsupportedError(f"levels is an array of {array.dtype.name}; expected integers")
        if array.shape != (n_item,):
            raise DimensionMismatchError(
                f"levels is {array.shape}; expected (n_item,) with n_item = {n_item}",
                expected=(n_item,),
                actual=array.shape,
            )
        if array.min() < 0:
            raise OutOfBoundsError(f"levels holds {array.min()}; expected at least 0")
        return array.astype(np.int64)

    def _pooled(self, name: str, rows: Float32Array, groups: Any, n_group: int, check_finite: bool) -> _Pooled:
        """rows (..., n, dim) pooled by the groups (n,) that they belong to."""
        weight, bias = self._parameters[f"{name}_weight"], self._parameters[f"{name}_bias"]
        context, scale = self._parameters[f"{name}_context"], 1 / self.config.temperature
        order = np.argsort(groups, kind="stable")
        indptr = np.zeros(n_group + 1, np.int64)
        np.cumsum(tally(groups, minlength=n_group), out=indptr[1:])
        edges = Edges(indptr, order)
        hidden = tanh(project(rows, weight, bias))
        query = np.tile(context, (n_group, 1))
        out, lse = attend_sparse(
            query, hidden, rows, edges, scale=scale, return_lse=True, check_finite=False
        )  # (..., n_group, dim), (..., 1, n_group)
        if check_finite and kernels.active.all_finite(out, out.size):
            raise_non_finite(items=rows)

        def weights() -> Float32Array:
            return _shares(scale * (hidden.astype(np.float64) @ context.astype(np.float64)), edges, groups)

        def backward(grad: Float32Array, gradients: dict[str, Float32Array]) -> Float32Array:
            found = attend_sparse_backward(query, hidden, rows, edges, out, lse, contiguous(grad), scale=scale)
            gradients[f"{name}_context"] = found.query.reshape(-1, context.size).sum(axis=0)
            of_angles = found.keys * (1 - hidden * hidden)
            of_rows, gradients[f"{name}_weight"], gradients[f"{name}_bias"] = project_backward(rows, weight, of_angles)
            return found.values + of_rows

        return _Pooled(out, weights, backward)

    def _given(self, level_weights: ArrayLike, present: Any, n_level: int) -> Float32Array:
        """Those of the levels that have items, summing to 1."""
        weights = as_float32("level_weights", level_weights)
        if weights.shape != (n_level,):
            raise DimensionMismatchError(
                f"level_weights is {weights.shape}; expected (n_level,) with n_level = {n_level}",
                expected=(n_level,),
                actual=weights.shape,
            )
        require_finite("level_weights", weights)
        own = weights[present]
        if (weights < 0).any() or not own.sum() > 0:
            raise OutOfBoundsError("level_weights holds a negative number or nothing but 0; expected weights")
        return np.asarray(own / own.sum(), np.float32)

    def _both(
        self, items: ArrayLike, levels: ArrayLike, level_weights: ArrayLike, check_finite: bool
    ) -> tuple[_Pooled, _Pooled | None, Float32Array, Any]:
        """Inside the levels, across them (None: by given weights), those weights (..., n_level) of the levels that have
        items (else nothing), and each item's place among these levels."""
        check_flags(check_finite=check_finite)
        (rows,) = self.bind(items=items).arrays
        if check_finite and kernels.active.all_finite(contiguous(rows), rows.size):
            raise_non_finite(items=rows)
        given = self._levels(levels, rows.shape[-2])
        present, groups = np.unique(given, return_inverse=True)
        inside = self._pooled("item", rows, groups, present.size, check_finite)
        if level_weights is None:
            across = self._pooled("summary", inside.output, np.zeros(present.size, np.int64), 1, check_finite)
            return inside, across, np.zeros(0, np.float32), groups
        n_level = max(int(given.max()) + 1, as_array("level_weights", level_weights).size)
        of_levels = np.broadcast_to(self._given(level_weights, present, n_level), (*rows.shape[:-2], present.size))
        return inside, None, of_levels, groups

    def forward(
        self,
        items: ArrayLike,
        levels: ArrayLike,
        *,
        level_weights: LevelWeights = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The output, (..., dim)."""
        check_flags(training=training)
        inside, across, of_levels, _ = self._both(items, levels, level_weights, check_finite)
        if across is None:  # by given weights
            output = contiguous((of_levels[..., None] * inside.output).sum(axis=-2))
        else:
            output = across.output[..., 0, :]
        if training:

            def backward(grad: Float32Array) -> dict[str, Float32Array]:
                gradients: dict[str, Float32Array] = {}
                if across is None:
                    of_summaries = np.asarray(of_levels[..., None] * grad[..., None, :], np.float32)
                    for name in ("weight", "bias", "context"):
                        gradients[f"summary_{name}"] = np.zeros_like(self._parameters[f"summary_{name}"])
                else:
                    of_summaries = across.backward(grad[..., None, :], gradients)
                return {"items": inside.backward(of_summaries, gradients), **gradients}

            self._record(output.shape, backward)
        return output

    def attention_weights(
        self,
        items: ArrayLike,
        levels: ArrayLike,
        *,
        level_weights: LevelWeights = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weight of every item in the output, (..., n_item): that inside its level times that of the level."""
        inside, across, of_levels, groups = self._both(items, levels, level_weights, check_finite)
        of_levels = of_levels if across is None else across.weights()
        return np.asarray(inside.weights() * of_levels[..., groups], np.float32)

    def compute(self, hierarchical_features: Any, level_weights: ArrayLike = None) -> dict[str, Any]:
        """{"values": the output (dim,), "weights": a list of those of each level's items, "metadata"} of features
        [level][item][channel], of which each level may have as many items as it likes."""
        parts = [as_float32(f"level {index}", level) for index, level in enumerate(hierarchical_features)]
        parts = [part.reshape(0, self.config.dim) if part.size == 0 else part for part in parts]
        if not any(len(part) for part in parts):
            raise EmptyInputError("hierarchical_features holds no item; expected at least one")
        for index, part in enumerate(parts):
            if part.ndim != 2 or part.shape[1] != self.config.dim:
                raise DimensionMismatchError(
                    f"level {index} is {part.shape}; expected (n_item, dim) with dim = {self.config.dim}"
                )
        sizes = [len(part) for part in parts]
        levels = repeated(np.arange(len(parts)), sizes)
        items = np.concatenate(parts)
        weights = self.attention_weights(items, levels, level_weights=level_weights)
        about = {
            "num_levels": len(parts),
            "has_level_weights": level_weights is not None,
            "attention_type": self.name,
        }
        return {
            "values": self.forward(items, levels, level_weights=level_weights),
            "weights": np.split(weights, np.cumsum(sizes)[:-1]),
            "metadata": about,
        }


def _shares(scores: Any, edges: Edges, groups: Any) -> Float32Array:
    """The softmax of scores (..., n_row) inside each group, none of which is empty: summed here, for a float32
    logarithm of a sum is off by more than 1 where scores are large."""
    starts = edges.indptr[:-1].astype(np.intp)
    peaks = np.maximum.reduceat(scores[..., edges.indices], starts, axis=-1)
    exponentials = np.exp(scores - peaks[..., groups])
    sums = np.add.reduceat(exponentials[..., edges.indices], starts, axis=-1)
    return np.asarray(exponentials / sums[..., groups], np.float32)
