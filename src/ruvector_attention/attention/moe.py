"""Mixture of experts (Shazeer et al., 2017, arXiv:1701.06538; Fedus et al., 2021, arXiv:2101.03961)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, Self

import numpy as np

from .. import engine, kernels
from ..arrays import FLOAT32, ArrayLike, Float32Array, require_finite
from ..base import Attention
from ..config import Setting
from ..errors import InvalidConfigError, NumericalInstabilityError
from ..layout import tally
from ..memory import KeysLike
from ..options import Causal, CheckFinite, KeyLengths, Mask, Training
from ..registry import register
from .mixture import Expert, Float64Array, MixtureAttention, MixtureConfig, Routing, Scaled

LOWEST = np.finfo(FLOAT32).min


@dataclass(frozen=True)
class MoEConfig(MixtureConfig):
    top_k: Annotated[int, Setting("experts that a query goes to", at_least=1)] = 2
    capacity_factor: Annotated[
        float | None,
        Setting("an expert takes at most this times its even share of a call's queries; None: all that come", above=0),
    ] = None
    aux_loss_weight: Annotated[float, Setting("of the load-balance loss in backward", at_least=0)] = 0.01
    z_loss_weight: Annotated[float, Setting("of the router's z-loss in backward", at_least=0)] = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.expert_configs())
        if self.top_k > count:
            raise InvalidConfigError(f"top_k is {self.top_k}; expected at most {count}, the experts")


class MoEOutput(NamedTuple):
    """The output, and the losses that keep a router even and its numbers small."""

    output: Float32Array
    aux_loss: float
    z_loss: float


class _Routed(NamedTuple):
    """What the router computed; (experts, rows), for numpy is slow over a short last axis."""

    logits: Float32Array
    wanted: Any  # how many choices each expert is, before capacities

    @property
    def share(self) -> Float64Array:
        """Of the choices that each expert is, before capacities."""
        share: Float64Array = self.wanted / self.wanted.sum()
        return share

    @property
    def wide(self) -> Float64Array:
        """The logits, for sums over all rows."""
        return self.logits.astype(np.float64)


@register
class MoEAttention(MixtureAttention):
    """out_t = sum over the top_k experts e of w_te * expert_e(q_t, K, V), w_t = softmax of their z_t = (q_t W + b) / T

    Only chosen experts are computed, each for the queries that chose it. With a ``capacity_factor`` an expert takes at
    most ceil(capacity_factor * top_k * queries / experts) queries of a call, the first that come; a query that finds
    its expert full goes to the next best one with room, and without any to fewer experts, or gets zeros.

    ``experts`` are any mechanisms that take query, keys and values; by default ``num_experts`` of scaled dot-product,
    hyperbolic, linear and local-global attention. ``MoEAttention.of`` takes objects. Where queries differ in what they
    see (a mask with a row for each), linear attention, which has one for all, is called once for each different row;
    causal linear attention, whose sums pass by every row, computes all of them. Scaled dot-product experts that differ
    in scale or temperature alone share a call for each of a query's choices.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: router_weight (dim, num_experts), router_bias (num_experts,), and experts.<i>.<name>
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = MoEAttention(dim=2, experts="flash, linear, flash", top_k=1)
    >>> attention([[1, 0], [0, 1]], [[1, 0]], [[3, 4]])
    array([[3., 4.],
           [3., 4.]], dtype=float32)
    >>> float(attention.get_expert_usage().sum())
    1.0
    """

    name = "moe"
    Config = MoEConfig
    paper = "Shazeer et al., 2017, arXiv:1701.06538; Fedus et al., 2021, arXiv:2101.03961"
    complexity = "top_k experts for each query"

    config: MoEConfig
    _usage: Any  # choices so far, of each expert

    def _setup(self) -> None:
        super()._setup()
        self.reset_routing_stats()
        self._with_losses = False

    @classmethod
    def of(cls, experts: Sequence[Attention], **settings: Any) -> Self:
        """A mixture of these objects, which it uses as they are.

        Raises: InvalidConfigError.
        """
        if not experts:
            raise InvalidConfigError("experts is empty; expected at least one mechanism")
        listed = json.dumps([expert.get_config() for expert in experts])
        made = cls(**{"dim": experts[0].hidden_dim, "experts": listed, **settings})
        for index, expert in enumerate(experts):
            made._experts[index] = Expert.of(expert)
            made._adopt(index, expert)
        made._scaled = Scaled.of(made._experts)
        return made

    def add_expert(self, expert: Attention) -> None:
        """One more expert, used as it is; the router chooses it as often as chance has it, until it is trained."""
        taken = Expert.of(expert)
        if expert.hidden_dim != self.config.dim:
            raise InvalidConfigError(f"{expert!r} has dim = {expert.hidden_dim}; expected {self.config.dim}")
        configs = [*(other.attention.get_config() for other in self._experts), expert.get_config()]
        count = len(configs)
        self.config = replace(
            self.config, experts=json.dumps(configs), num_experts=None if self.config.num_experts is None else count
        )
        random = np.random.default_rng([self.config.seed, count])
        bound = (6 / (self.config.dim + count)) ** 0.5
        column = random.uniform(-bound, bound, (self.config.dim, 1)).astype(np.float32)
        self._parameters["router_weight"] = np.concatenate([self._parameters["router_weight"], column], axis=1)
        self._parameters["router_bias"] = np.concatenate([self._parameters["router_bias"], np.zeros(1, FLOAT32)])
        self._experts.append(taken)
        self._adopt(count - 1, expert)
        self._scaled = Scaled.of(self._experts)
        self._usage = np.concatenate([self._usage, np.zeros(1, np.int64)])
        self._recorded = None

    def get_routing(self, query: ArrayLike) -> Routing:
        """The experts (..., n_query, top_k) that queries go to, best first, -1 where none had room, and the weights.

        >>> attention = MoEAttention(dim=2, experts="flash, linear", top_k=1)
        >>> attention.get_routing([1, 0]).weights
        array([1.], dtype=float32)
        """
        binding = self.bind(query=query)
        rows = np.ascontiguousarray(binding.arrays[0])
        require_finite("query", rows[0] if binding.is_vector else rows)
        routing, _ = self._routed(rows)
        shape = (*rows.shape[:-1], self.config.top_k)
        experts = routing.experts.reshape(shape)
        return Routing(experts[0] if binding.is_vector else experts, binding.restore(routing.weights.reshape(shape)))

    def get_expert_usage(self) -> Float32Array:
        """The share of all choices since ``reset_routing_stats`` that each expert was, (num_experts,); zeros before."""
        usage: Float32Array = (self._usage / max(int(self._usage.sum()), 1)).astype(np.float32)
        return usage

    def reset_routing_stats(self) -> None:
        """Count the choices anew."""
        self._usage = np.zeros(len(self._experts), np.int64)

    def compute_with_aux_loss(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> MoEOutput:
        """forward, and two losses: experts * sum_e f_e P_e, f_e the share of choices and P_e the mean probability of
        expert e (1 where all are even), and the mean square of log sum_e exp z_te.

        With ``training``, ``backward`` gives the gradients of what ``grad_output`` is of, plus ``aux_loss_weight``
        times the one and ``z_loss_weight`` times the other.
        """
        self._with_losses = True
        try:
            output, _, routed = self._mixed(
                self.bind(query=query, keys=keys, values=values), mask, key_lengths, causal, training, check_finite
            )
        finally:
            self._with_losses = False
        probabilities = _softmax(routed[0].wide)
        aux_loss = len(probabilities) * float(routed[0].share @ probabilities.mean(axis=1))
        return MoEOutput(output, aux_loss, float(np.square(_log_sum(routed[0].wide)).mean()))

    # --- the router

    def _route(self, query: Float32Array, training: bool) -> tuple[Routing, Any]:
        routing, routed = self._routed(query)
        if self.config.capacity_factor is None:
            self._usage += routed.wanted
        else:
            self._usage += tally(routing.experts[routing.experts >= 0], minlength=self._usage.size)
        return routing, (routed, self._with_losses)

    def _routed(self, query: Float32Array) -> tuple[Routing, _Routed]:
        rows = query.reshape(-1, query.shape[-1])
        projected = engine.project(rows, self._parameters["router_weight"], self._parameters["router_bias"])
        logits = np.ascontiguousarray(projected.T)
        if self.config.temperature != 1:
            with np.errstate(over="ignore"):  # told below
                logits /= np.float32(self.config.temperature)
        if kernels.active.all_finite(logits, logits.size) and not kernels.active.all_finite(rows, rows.size):
            raise NumericalInstabilityError(
                "the numbers that the router compares overflow float32; expected queries of smaller magnitude"
            )
        order = np.argsort(-logits, axis=0, kind="stable")
        experts, row = order[: self.config.top_k], np.arange(len(rows))
        wanted = tally(experts.reshape(-1), minlength=len(logits))
        chosen = logits[experts, row]
        if (factor := self.config.capacity_factor) is not None:
            experts = self._assigned(order, factor)
            chosen = np.where(experts >= 0, logits[experts, row], -np.inf)
        with np.errstate(over="ignore"):  # differences beyond float32 are weights of 0
            chosen -= np.maximum(chosen[0], LOWEST)  # the best comes first; of a row without any this leaves -inf
        weights = np.exp(chosen, out=chosen)
        weights /= np.maximum(weights.sum(axis=0), 1)
        return Routing(experts.T, weights.T), _Routed(logits, wanted)

    def _assigned(self, order: Any, factor: float) -> Any:
        """The experts of every row, (top_k, rows), from all of them in the order of its preference."""
        top_k = self.config.top_k
        count, rows = order.shape
        room = np.full(count, math.ceil(factor * top_k * rows / count))
        experts, filled = np.full((top_k, rows), -1, np.int64), np.zeros(rows, np.int64)
        for preference in order:  # first everybody's best, then the second best of those who still want one
            asking = np.flatnonzero(filled < top_k)
            wanted = preference[asking]
            # how many rows before this one ask for the same expert
            before = (np.cumsum(wanted[:, None] == np.arange(count), axis=0) - 1)[np.arange(asking.size), wanted]
            admitted = before < room[wanted]
            at, wanted = asking[admitted], wanted[admitted]
            experts[filled[at], at] = wanted
            filled[at] += 1
            room -= tally(wanted, minlength=count)
        return experts

    def _route_backward(
        self, query: Float32Array, routing: Routing, kept: Any, of_weights: Float64Array
    ) -> dict[str, Float32Array]:
        routed, with_losses = kept
        weights, experts = routing.weights.astype(np.float64), routing.experts
        of_taken = weights * (of_weights - (weights * of_weights).sum(axis=1, keepdims=True))
        of_logits = np.zeros(routed.logits.shape)
        row, slot = np.nonzero(experts >= 0)
        of_logits[experts[row, slot], row] = of_taken[row, slot]
        if with_losses:
            probabilities, count = _softmax(routed.wide), len(experts)
            even = self.config.aux_loss_weight * len(probabilities) / count * routed.share
            of_logits += probabilities * (even[:, None] - even @ probabilities)
            of_logits += self.config.z_loss_weight * 2 / count * _log_sum(routed.wide) * probabilities
        of_projected = np.ascontiguousarray((of_logits / self.config.temperature).T, FLOAT32)
        rows = query.reshape(-1, query.shape[-1])
        of_rows, of_weight, of_bias = engine.project_backward(rows, self._parameters["router_weight"], of_projected)
        return {"query": of_rows.reshape(query.shape), "router_weight": of_weight, "router_bias": of_bias}


def _softmax(logits: Float64Array) -> Float64Array:
    """Over the first axis."""
    exponentials = np.exp(logits - logits.max(axis=0))
    weights: Float64Array = exponentials / exponentials.sum(axis=0)
    return weights


def _log_sum(logits: Float64Array) -> Float64Array:
    """Of the exponentials along the first axis."""
    top = logits.max(axis=0)
    log_sum: Float64Array = np.log(np.exp(logits - top).sum(axis=0)) + top
    return log_sum
