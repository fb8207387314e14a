"""Attention over events in time: scores fall with the gap, or know the time itself (Time2Vec)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import ArrayLike, Float32Array, as_numbers, require_finite
from ..config import Setting
from ..errors import DimensionMismatchError, OutOfBoundsError
from ..masks import AttentionMask
from ..memory import KeysLike
from ..options import Bias, CheckFinite, KeyLengths, Mask, Training, is_causal
from ..registry import register
from ..specs import Binding
from .scaled_dot_product import PLANS
from .scored import Addition, ScoredAttention, ScoredConfig
from .seen_until import SeenUntil

Times64 = npt.NDArray[np.float64]

KeyTimes = Annotated[
    ArrayLike,
    Setting("when each key was, numbers (n_key,) in order; None: 0, 1, 2, ...", type="array | None"),
]
QueryTimes = Annotated[
    ArrayLike,
    Setting("when each query is, numbers (n_query,) in order; None: the last of key_times", type="array | None"),
]
CausalInTime = Annotated[
    bool | None,
    Setting("a query sees keys of its own time and before; None: as the settings say", type="bool | None"),
]


@dataclass(frozen=True)
class TemporalConfig(ScoredConfig):
    encoding: Annotated[
        str,
        Setting("how time enters: a score that decays with the gap, or learned waves added to queries and keys",
                choices=("decay", "time2vec")),
    ] = "decay"  # fmt: skip
    decay: Annotated[float, Setting("start value of the factor before exp(-gap / theta)")] = 1.0
    theta: Annotated[float, Setting("start value of the gap after which the decay has fallen to 1/e", above=0)] = 1.0
    time_dim: Annotated[int, Setting("channels of the waves: one is linear, the others are sines", at_least=1)] = 8
    causal: Annotated[bool, Setting("a query sees keys of its own time and before")] = field(default=True, kw_only=True)


def _times(name: str, given: ArrayLike, count: int, axis: str) -> Times64:
    times = as_numbers(name, given).astype(np.float64)
    if times.shape != (count,):
        raise DimensionMismatchError(
            f"{name} is {times.shape}; expected ({axis},) with {axis} = {count}", expected=(count,), actual=times.shape
        )
    require_finite(name, times)
    falls = np.flatnonzero(np.diff(times) < 0)
    if falls.size:
        at = int(falls[0])
        raise OutOfBoundsError(
            f"{name} is not in order: {times[at + 1]} at index {at + 1} follows {times[at]}; expected sorted timestamps"
        )
    return times


@register
class TemporalAttention(ScoredAttention):
    """out_i = sum_j softmax_j(scale * <q_i, k_j> / temperature + a exp(-|t_i - t_j| / theta) + bias_ij) v_j

    encoding="time2vec" instead adds learned waves, q_i + W_q w(t_i) and k_j + W_k w(t_j), w(t) = (f_0 t + p_0,
    sin(f_1 t + p_1), ...), t counted from the first key. Timestamps may be irregular and equal, but must be in order.
    Causal by timestamp unless causal=False: a query sees the keys with t_j <= t_i. With num_heads each group of
    channels attends apart; time is the same to all of them.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value); timestamps
            (n_query,) and (n_key,), shared by a batch -> (..., n_query, dim_value) or (dim_value,), float32
    Units: timestamps and theta have the same one, whichever it is
    Parameters: decay (1,), log_theta (1,); or time_frequency, time_phase (time_dim,), time_query_weight,
            time_keys_weight (time_dim, dim), Xavier-uniform from the seed
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError for
            timestamps out of order, UnsupportedError

    >>> attention = TemporalAttention(dim=1, theta=2.0)
    >>> attention([[0], [0]], [[0], [0]], [[2], [4]], key_times=[0, 10]).round(2)
    array([[2.  ],
           [3.46]], dtype=float32)
    """

    name = "temporal"
    Config = TemporalConfig
    paper = "Kazemi et al., 2019, arXiv:1907.05321 (Time2Vec)"

    config: TemporalConfig

    def _setup(self) -> None:
        super()._setup()
        config, random = self.config, np.random.default_rng(self.config.seed)
        if config.encoding == "decay":
            self._parameters["decay"] = np.array([config.decay], np.float32)
            self._parameters["log_theta"] = np.array([np.log(config.theta)], np.float32)
            return
        self._parameters["time_frequency"] = random.standard_normal(config.time_dim).astype(np.float32)
        self._parameters["time_phase"] = random.standard_normal(config.time_dim).astype(np.float32)
        bound = (6 / (config.time_dim + config.dim)) ** 0.5
        for name in ("query", "keys"):
            weight = random.uniform(-bound, bound, (config.time_dim, config.dim))
            self._parameters[f"time_{name}_weight"] = weight.astype(np.float32)

    # --- time

    def _both_times(self, binding: Binding, query_times: ArrayLike, key_times: ArrayLike) -> tuple[Times64, Times64]:
        n_query, n_key = binding.sizes["n_query"], binding.sizes["n_key"]
        keys = np.arange(n_key, dtype=np.float64)
        if key_times is not None:
            keys = _times("key_times", key_times, n_key, "n_key")
        if query_times is not None:
            return _times("query_times", query_times, n_query, "n_query"), keys
        if n_query > n_key:
            raise DimensionMismatchError(
                f"query_times is None for {n_query} queries and {n_key} keys; expected it, or no more queries than keys"
            )
        return keys[n_key - n_query :], keys

    def _prepared(
        self, binding: Binding, own: dict[str, Any], addends: dict[str, Any]
    ) -> tuple[Addition, dict[str, Any]]:
        query, keys = self._both_times(binding, own["query_times"], own["key_times"])
        causal = is_causal(addends["causal"], self.config.causal)
        mask = addends["mask"]
        seen = SeenUntil(np.searchsorted(keys, query, side="right")) if causal else None
        if seen is not None and isinstance(mask, AttentionMask):
            mask, seen = mask & seen, None
        options = self._head_options(binding, **addends | {"mask": mask, "causal": False})
        if seen is not None:
            plan = seen.plan(binding.sizes["n_query"], binding.sizes["n_key"])
            options[PLANS[type(plan)]] = plan
        return self._in_time(query, keys), options

    def _in_time(self, query: Times64, keys: Times64) -> Addition:
        if self.config.encoding == "decay":
            rate = float(np.exp(-np.float64(self._parameters["log_theta"][0])))
            times = engine.Times(query, keys, float(self._parameters["decay"][0]), rate)

            def backward(grads: engine.Gradients) -> dict[str, Float32Array]:
                assert grads.times is not None
                of_decay, of_rate = grads.times.astype(np.float32)
                return {"decay": np.array([of_decay]), "log_theta": np.array([-np.float32(rate) * of_rate])}

            return Addition({"times": times}, backward=backward)
        waves = [self._waves(times - keys[0]) for times in (query, keys)]
        weights = [self._parameters[f"time_{name}_weight"] for name in ("query", "keys")]
        added = [engine.project(wave, weight) for wave, weight in zip(waves, weights, strict=True)]

        def waves_backward(grads: engine.Gradients) -> dict[str, Float32Array]:
            gradients = {name: np.zeros(self.config.time_dim, np.float32) for name in ("time_frequency", "time_phase")}
            both = (("query", query, grads.query), ("keys", keys, grads.keys))
            for (name, times, grad), wave, weight in zip(both, waves, weights, strict=True):
                of_rows = grad.reshape(-1, *grad.shape[-2:]).sum(axis=0)
                of_wave, gradients[f"time_{name}_weight"], _ = engine.project_backward(wave, weight, of_rows)
                since = times - keys[0]
                of_angle = of_wave * self._slopes(since)
                gradients["time_frequency"] += (of_angle * since[:, None]).sum(axis=0).astype(np.float32)
                gradients["time_phase"] += of_angle.sum(axis=0).astype(np.float32)
            return gradients

        return Addition({}, added[0], added[1], waves_backward)

    def _angles(self, times: Times64) -> Times64:
        frequency, phase = (self._parameters[f"time_{name}"].astype(np.float64) for name in ("frequency", "phase"))
        angles: Times64 = times[:, None] * frequency + phase
        return angles

    def _waves(self, times: Times64) -> Float32Array:
        angles = self._angles(times)
        return np.concatenate([angles[:, :1], np.sin(angles[:, 1:])], axis=1).astype(np.float32)

    def _slopes(self, times: Times64) -> Times64:
        angles = self._angles(times)
        return np.concatenate([np.ones_like(angles[:, :1]), np.cos(angles[:, 1:])], axis=1)

    # --- computing

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        query_times: QueryTimes = None,
        key_times: KeyTimes = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: CausalInTime = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        own = {"query_times": query_times, "key_times": key_times}
        return self._output(
            query, keys, values, own, training, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal,
            check_finite=check_finite,
        )  # fmt: skip

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        query_times: QueryTimes = None,
        key_times: KeyTimes = None,
        mask: Mask = None,
        bias: Bias = None,
        key_lengths: KeyLengths = None,
        causal: CausalInTime = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights, (..., n_query, n_key); of several heads, (..., num_heads, n_query, n_key)."""
        own = {"query_times": query_times, "key_times": key_times}
        return self._weights(
            query, keys, own, mask=mask, bias=bias, key_lengths=key_lengths, causal=causal, check_finite=check_finite
        )

    def compute(self, sequence: ArrayLike, timestamps: ArrayLike = None) -> dict[str, Any]:
        """{"values": the outputs, "weights", "metadata"} of a sequence (n, dim) that attends to itself, with its
        timestamps (n,) or 0, 1, 2, ..."""
        about = {
            "sequence_length": len(self.bind(keys=sequence).arrays[0]),
            "has_timestamps": timestamps is not None,
            "attention_type": self.name,
        }
        return {
            "values": self.forward(sequence, sequence, sequence, key_times=timestamps),
            "weights": self.attention_weights(sequence, sequence, key_times=timestamps),
            "metadata": about,
        }
