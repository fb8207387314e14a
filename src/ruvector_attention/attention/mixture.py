"""What mixtures of mechanisms share: rows of queries go to some of several mechanisms, whose outputs are summed."""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .. import registry
from ..arrays import FLOAT32, ArrayLike, Float32Array
from ..base import Attention
from ..config import AttentionConfig, Setting
from ..errors import InvalidConfigError
from ..gradients import addend_gradients, summed_to
from ..memory import KeysLike
from ..options import Causal, CheckFinite, KeyLengths, Mask, Training, check_flags, is_causal
from ..specs import KEYS, QUERY, VALUES, Binding
from .flash import FlashAttention
from .mixture_call import Call
from .scaled_dot_product import ScaledDotProductAttention

IntArray = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

MOST_EXPERTS = 4096  # each is an object with parameters of its own


class Routing(NamedTuple):
    """Which experts each row of queries goes to, (rows, slots), -1 for an empty slot, and their weights."""

    experts: IntArray
    weights: Float32Array


class Expert(NamedTuple):
    """A mechanism, and the options that its forward takes."""

    attention: Attention
    options: frozenset[str]

    @classmethod
    def of(cls, attention: Attention) -> Expert:
        """Raises InvalidConfigError for a mechanism that takes something else than query, keys and values."""
        names = tuple(spec.name for spec in attention.inputs if not spec.optional)
        if names != ("query", "keys", "values"):
            raise InvalidConfigError(f"{attention!r} takes {', '.join(names)}; expected query, keys and values")
        return cls(attention, frozenset(inspect.signature(attention.forward).parameters))

    @property
    def takes_rows_apart(self) -> bool:
        """Whether it can be told, query by query, which keys are seen."""
        return "mask" in self.options and getattr(self.attention, "masks_single_scores", True)

    @property
    def is_causal(self) -> bool:
        """Whether it is so by its own settings."""
        return "causal" in self.options and bool(getattr(self.attention.config, "causal", False))


class Scaled(NamedTuple):
    """Experts that differ in the scale of their scores alone, which may as well be a factor of the queries."""

    attention: ScaledDotProductAttention  # the one with the largest scale
    factors: Float32Array  # of every expert's queries for it, at most 1

    @classmethod
    def of(cls, experts: list[Expert]) -> Scaled | None:
        """None where they differ in more."""
        attentions = [expert.attention for expert in experts]
        kind = type(attentions[0])
        if kind not in (ScaledDotProductAttention, FlashAttention):
            return None
        same: list[ScaledDotProductAttention] = [a for a in attentions if type(a) is kind and not a.config.normalize]
        # of what is left, seeds and dropout matter to training alone
        left = {replace(a.config, scale=None, temperature=1.0, seed=0, dropout=0.0) for a in same}
        if len(same) < len(attentions) or len(left) > 1:
            return None
        most = max(same, key=lambda attention: abs(attention._scale))
        factors = [attention._scale / most._scale if most._scale else 1.0 for attention in same]
        return cls(most, np.array(factors, FLOAT32))


@dataclass(frozen=True)
class MixtureConfig(AttentionConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]
    experts: Annotated[
        str | None,
        Setting(
            "mechanisms by name, with commas between them, or a JSON list of their configs; None: as num_experts says"
        ),
    ] = None
    num_experts: Annotated[int | None, Setting("how many; None: as experts lists, or 4", at_least=1)] = None
    temperature: Annotated[float, Setting("divides the numbers that the router compares", above=0)] = 1.0
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_experts is not None and self.num_experts > MOST_EXPERTS:
            raise InvalidConfigError(f"num_experts is {self.num_experts}; expected at most {MOST_EXPERTS}")
        listed = self.expert_configs()
        if self.num_experts is not None and len(listed) != self.num_experts:
            raise InvalidConfigError(f"num_experts is {self.num_experts}; expected {len(listed)}, as experts lists")

    def expert_configs(self) -> list[dict[str, Any]]:
        """The config of each expert, of this mixture's width, with a seed of its own where it says none."""
        if self.experts is None:
            count = 4 if self.num_experts is None else self.num_experts
            defaults = [name for name in DEFAULT_EXPERTS if name in registry.mechanisms()]
            listed: list[Any] = [defaults[index % len(defaults)] for index in range(count)]
        elif self.experts.lstrip().startswith("["):
            listed = _parsed(self.experts)
        else:
            listed = [name.strip() for name in self.experts.split(",")]
        configs = []
        for index, entry in enumerate(listed):
            own = {"type": entry} if isinstance(entry, str) else entry
            if not isinstance(own, dict) or not isinstance(own.get("type"), str):
                raise InvalidConfigError(f"experts lists {entry!r}; expected a name, or a config with its 'type'")
            made = registry.get(own["type"])
            given = {"dim": self.dim, "seed": self.seed + index, "max_sequence_length": self.max_sequence_length}
            configs.append({**given, **own, "type": made.name})
        return configs


#: In this order, those that there are: near and far keys, trees, long sequences, exact weights.
DEFAULT_EXPERTS = ("scaled_dot_product", "hyperbolic", "linear", "local_global")


def _parsed(text: str) -> list[Any]:
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise InvalidConfigError(f"experts is no JSON list: {error}") from None
    if not listed:
        raise InvalidConfigError("experts lists nothing; expected at least one mechanism")
    return cast("list[Any]", listed)


class MixtureAttention(Attention):
    """Rows routed to experts: out_t = sum over the experts e of row t of w_te * expert_e(q_t, K, V)."""

    Config = MixtureConfig
    inputs = (QUERY, KEYS, VALUES)
    complexity = "that of the experts that are computed"

    config: MixtureConfig

    def _setup(self) -> None:
        made = [Attention.from_config(config) for config in self.config.expert_configs()]
        self._experts = [Expert.of(attention) for attention in made]
        self._scaled = Scaled.of(self._experts)
        count, dim = len(made), self.config.dim
        bound = (6 / (dim + count)) ** 0.5  # Xavier-uniform
        weight = np.random.default_rng(self.config.seed).uniform(-bound, bound, (dim, count))
        self._parameters["router_weight"] = weight.astype(np.float32)
        self._parameters["router_bias"] = np.zeros(count, np.float32)
        for index, attention in enumerate(made):
            self._adopt(index, attention)

    def _adopt(self, index: int, attention: Attention) -> None:
        """The expert's parameters are this object's: the same arrays under longer names."""
        for name, array in attention.parameters().items():
            self._parameters[f"experts.{index}.{name}"] = array

    @property
    def experts(self) -> list[Attention]:
        """The mechanisms, in the order in which the router numbers them."""
        return [expert.attention for expert in self._experts]

    def reset(self) -> None:
        super().reset()
        for expert in self._experts:
            expert.attention.reset()

    # --- routing, which each kind of mixture does in its own way

    @abstractmethod
    def _route(self, query: Float32Array, training: bool) -> tuple[Routing, Any]:
        """The routing of the rows of query (*lead, n_query, dim), and what the way back needs."""

    @abstractmethod
    def _route_backward(
        self, query: Float32Array, routing: Routing, kept: Any, of_weights: Float64Array
    ) -> dict[str, Float32Array]:
        """The gradients of query and of the router's parameters."""

    # --- computing

    def forward(
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
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        binding = self.bind(query=query, keys=keys, values=values)
        output, _, _ = self._mixed(binding, mask, key_lengths, causal, training, check_finite)
        return output

    def _mixed(
        self,
        binding: Binding,
        mask: Any,
        key_lengths: ArrayLike | None,
        causal: bool | None,
        training: bool,
        check_finite: bool,
    ) -> tuple[Float32Array, Routing, Any]:
        check_flags(training=training)
        call = self._call(binding, mask, key_lengths, causal, check_finite)
        routing, kept = self._route(call.query, training)
        with binding.blaming_inputs():
            attended, done = call.run(routing, training)
        output = binding.restore(attended)
        if training:

            def backward(grad: Float32Array) -> dict[str, Float32Array]:
                gradients, of_weights = call.back(routing, done, binding.lift(grad))
                of_router = self._route_backward(call.query, routing, kept, of_weights)
                query = binding.arrays[0]
                of_query = summed_to(gradients.pop("query") + of_router.pop("query"), query.shape)
                of_mask = gradients.pop("mask", None)
                if binding.rows is not None:
                    del gradients["keys"], gradients["values"]
                gradients = {"query": binding.restore(of_query), **gradients}
                return gradients | of_router | addend_gradients(of_mask, binding, mask=mask, bias=None)

            self._record(output.shape, backward)
        return output, routing, kept

    def _call(self, binding: Binding, mask: Any, key_lengths: Any, causal: bool | None, check_finite: bool) -> Call:
        check_flags(check_finite=check_finite)
        causal = is_causal(causal, self.config.causal)
        return Call(self._experts, self._scaled, binding, mask, key_lengths, causal, check_finite)

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of the experts, summed as their outputs are, (..., n_query, n_key); of heads, their mean.

        Raises: UnsupportedError where an expert has no weights.
        """
        binding = self.bind(query=query, keys=keys)
        call = self._call(binding, mask, key_lengths, causal, check_finite)
        routing, _ = self._route(call.query, False)
        with binding.blaming_inputs():
            return binding.restore(call.run(routing, False, weights=True)[0])
