"""Learned routing between mechanisms, one decision a sequence (after Jordan & Jacobs, 1994)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from .. import engine
from ..arrays import ArrayLike, Float32Array, require_finite
from ..config import Setting
from ..errors import NumericalInstabilityError
from ..registry import register
from .mixture import Float64Array, MixtureAttention, MixtureConfig, Routing


@dataclass(frozen=True)
class LearnedRoutingConfig(MixtureConfig):
    threshold: Annotated[
        float, Setting("mechanisms with a smaller share are not computed, but for the best", at_least=0, at_most=1)
    ] = 0.1


@register
class LearnedRoutingAttention(MixtureAttention):
    """O = sum over mechanisms e of p_e * attention_e(Q, K, V), p = softmax((mean(Q) W + b) / temperature)

    Where a mixture of experts decides query by query, this decides once a sequence, from the mean of its queries.
    Shares below ``threshold`` are not computed, and the others are scaled to sum to 1; with ``threshold=1`` the best
    mechanism alone is. With ``training=True`` all are computed, so that all learn.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: router_weight (dim, num_experts), router_bias (num_experts,), and experts.<i>.<name>
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = LearnedRoutingAttention(dim=2, experts="flash, linear", threshold=1)
    >>> attention([[1, 0], [0, 1]], [[1, 0]], [[3, 4]])
    array([[3., 4.],
           [3., 4.]], dtype=float32)
    >>> attention.get_routing([[1, 0], [0, 1]]).shape
    (2,)
    """

    name = "learned_routing"
    Config = LearnedRoutingConfig
    paper = "after Jordan & Jacobs, 1994, 10.1162/neco.1994.6.2.181"

    config: LearnedRoutingConfig

    def get_routing(self, query: ArrayLike) -> Float32Array:
        """The share that each mechanism has in the output, (..., num_experts); zeros for those not computed."""
        binding = self.bind(query=query)
        rows = np.ascontiguousarray(binding.arrays[0])
        require_finite("query", rows[0] if binding.is_vector else rows)
        return self._kept(self._shares(rows)).astype(np.float32)

    def _shares(self, query: Float32Array) -> Float64Array:
        with np.errstate(over="ignore"):  # told below
            mean = query.mean(axis=-2)
        logits = engine.project(mean[..., None, :], self._parameters["router_weight"], self._parameters["router_bias"])
        scaled = logits[..., 0, :].astype(np.float64) / self.config.temperature
        if not np.isfinite(scaled).all() and np.isfinite(query).all():
            raise NumericalInstabilityError(
                "the numbers that the router compares overflow float32; expected queries of smaller magnitude"
            )
        exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        shares: Float64Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
        return shares

    def _kept(self, shares: Float64Array) -> Float64Array:
        best = shares.max(axis=-1, keepdims=True)
        kept = np.where(shares >= np.minimum(best, self.config.threshold), shares, 0.0)
        scaled: Float64Array = kept / kept.sum(axis=-1, keepdims=True)
        return scaled

    def _route(self, query: Float32Array, training: bool) -> tuple[Routing, Any]:
        shares = self._shares(query)
        used = (shares if training else self._kept(shares)).reshape(-1, shares.shape[-1])
        by_row = np.repeat(used, query.shape[-2], axis=0)
        experts = np.where(by_row > 0, np.arange(used.shape[1]), -1)
        return Routing(experts, by_row.astype(np.float32)), shares

    def _route_backward(
        self, query: Float32Array, routing: Routing, kept: Any, of_weights: Float64Array
    ) -> dict[str, Float32Array]:
        shares: Float64Array = kept
        of_shares = of_weights.reshape(*query.shape[:-1], shares.shape[-1]).sum(axis=-2)
        of_logits = shares * (of_shares - (shares * of_shares).sum(axis=-1, keepdims=True)) / self.config.temperature
        of_mean, of_weight, of_bias = engine.project_backward(
            query.mean(axis=-2), self._parameters["router_weight"], of_logits.astype(np.float32)
        )
        of_query = np.broadcast_to(of_mean[..., None, :] / np.float32(query.shape[-2]), query.shape)
        return {"query": of_query, "router_weight": of_weight, "router_bias": of_bias}
