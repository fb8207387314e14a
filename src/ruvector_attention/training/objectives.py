"""Several objectives at once: weighted sums of losses, and what keeps an earlier task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..arrays import ArrayLike
from ..config import Setting, Settings
from ..errors import DimensionMismatchError, EmptyInputError, InvalidConfigError, UnsupportedError
from .losses import Arguments, Array, Loss, LossResult, quiet, ratio
from .part import register_part


@dataclass(frozen=True)
class MultiObjectiveConfig(Settings):
    weights: Annotated[tuple[float, ...], Setting("factors of the losses, in their order", at_least=0)]
    weighting: Annotated[
        str,
        Setting(
            "fixed: as given; uncertainty, gradnorm: learned from there", choices=("fixed", "uncertainty", "gradnorm")
        ),
    ] = "fixed"
    alpha: Annotated[float, Setting("gradnorm: how much slower objectives gain over faster ones", at_least=0)] = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.weights):
            raise InvalidConfigError(f"weights is {self.weights}; expected at least one number above 0")


@register_part
class MultiObjectiveLoss(Loss):
    """L = sum_i w_i L_i of the results L_i of other losses, their gradients added by name

    weighting="uncertainty" learns s_i, the logarithms of variances: sum_i (exp(-s_i) w_i L_i + s_i) / 2 (Kendall et
    al., 2018, arXiv:1705.07115). "gradnorm" learns w_i, so that the sizes G_i of the gradients w_i dL_i come to
    mean(G) r_i^alpha, with r_i how far L_i is from its first value by comparison to the others (Chen et al., 2018,
    arXiv:1711.02257); the sum of w_i stays.

    ``parameters()`` holds what is learned, "log_variances" or "weights", for an optimizer; the gradients hold its
    gradient by the same name (with gradnorm, that of sum_i |G_i - mean(G) r_i^alpha|).

    Raises: DimensionMismatchError, InvalidConfigError, NumericalInstabilityError, UnsupportedError

    >>> loss = MultiObjectiveLoss(weights=[1, 0.5])
    >>> first, second = LossResult(2.0, {"x": np.array([1.0])}), LossResult(4.0, {"x": np.array([3.0])})
    >>> loss([first, second])
    LossResult(value=4.0, gradients={'x': array([2.5])})
    """

    name = "multi_objective"
    paper = "Kendall et al., 2018, arXiv:1705.07115; Chen et al., 2018, arXiv:1711.02257"
    Config = MultiObjectiveConfig
    config: MultiObjectiveConfig

    def _setup(self) -> None:
        weights = np.array(self.config.weights, np.float32)
        learned = {"uncertainty": {"log_variances": np.zeros_like(weights)}, "gradnorm": {"weights": weights}}
        self._parameters: dict[str, Array] = learned.get(self.config.weighting, {})
        self._first = np.zeros(weights.size)  # values of the first call, which gradnorm compares to

    def parameters(self) -> dict[str, Array]:
        """The learned arrays by name, which an optimizer writes into."""
        return dict(self._parameters)

    def state_dict(self) -> dict[str, Array]:
        """A copy of all that distinguishes this object from a new one with the same settings."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over what state_dict gave.

        Raises: InvalidConfigError for names, DimensionMismatchError for shapes, NumericalInstabilityError.
        """
        own = self._state()
        if set(state) != set(own):
            raise InvalidConfigError(f"state has {sorted(state)}; expected {sorted(own)}")
        given = Arguments(False, **state)
        for name, array in own.items():
            given.expect(name, given[name].shape == array.shape, f"{array.shape}")
        for name, array in own.items():
            array[...] = given[name]

    def _state(self) -> dict[str, Array]:
        return {**self._parameters, "first": self._first} if self.config.weighting == "gradnorm" else self._parameters

    @quiet
    def __call__(
        self, results: Sequence[LossResult] | Mapping[str, LossResult], shared: Iterable[str] | None = None
    ) -> LossResult:
        """``shared``, with gradnorm: the names of the gradients whose sizes count; None: all that each loss has."""
        weights = np.array(self.config.weights)
        names, found = _named(results, weights.size)
        values = np.array([float(value) for value, _ in found])
        learned: dict[str, Array] = {}
        total = 0.0
        if self.config.weighting == "uncertainty":
            log_variances = self._parameters["log_variances"].astype(np.float64)
            weights = weights * np.exp(-log_variances) / 2
            learned["log_variances"] = 0.5 - weights * values
            total = log_variances.sum() / 2
        elif self.config.weighting == "gradnorm":
            weights, learned["weights"] = self._balanced(names, found, values, shared)
        gradients: dict[str, Array] = {}
        for weight, result in zip(weights, found, strict=True):
            for name, grad in result[1].items():
                grad = np.asarray(grad)
                weighted = np.asarray(weight * grad, grad.dtype)
                if name in gradients and gradients[name].shape != grad.shape:
                    raise DimensionMismatchError(
                        f"the gradients of {name} are {gradients[name].shape} and {grad.shape}; expected one shape"
                    )
                gradients[name] = gradients[name] + weighted if name in gradients else weighted
        clash = sorted(set(gradients) & set(learned))
        if clash:
            raise UnsupportedError(f"a loss has a gradient named {clash[0]}; expected another name beside the learned")
        given = Arguments(False, **self._parameters)
        whole = given.result(total + weights @ values, "sum", learned)
        return LossResult(whole.value, {**gradients, **whole.gradients})

    def _balanced(
        self, names: list[str], results: list[LossResult], values: Array, shared: Iterable[str] | None
    ) -> tuple[Array, Array]:
        """The weights, made to sum to what they summed to at first, and the gradient that balances them."""
        for name, value, first in zip(names, values, self._first, strict=True):
            if not first and not value > 0:
                raise UnsupportedError(f"{name} begins at {value}; expected more than 0, which gradnorm divides by")
        counted = set.intersection(*(set(result[1]) for result in results)) if shared is None else set(shared)
        if not counted:
            raise UnsupportedError("results have no gradient in common; expected one of the same name in each")
        for name, result in zip(names, results, strict=True):
            if missing := sorted(counted - set(result[1])):
                raise UnsupportedError(f"shared names {missing[0]}, of which {name} has no gradient")
        self._first[:] = np.where(self._first, self._first, values)
        kept, initial = self._parameters["weights"], np.array(self.config.weights)
        weights = np.maximum(kept, 0).astype(np.float64)
        weights = weights * (initial.sum() / weights.sum()) if weights.any() else initial
        kept[...] = weights
        sizes = np.array([np.sqrt(sum(np.sum(np.square(r[1][n], dtype=float)) for n in counted)) for r in results])
        progress = values / self._first
        rates = ratio(progress, progress.mean())
        target = (weights * sizes).mean() * rates**self.config.alpha
        return weights, np.sign(weights * sizes - target) * sizes


def _named(results: Any, count: int) -> tuple[list[str], list[LossResult]]:
    """The results and what error messages call them, once they are as many as the weights and each is a loss."""
    if not isinstance(results, Mapping | list | tuple):
        raise UnsupportedError(f"results is {results!r:.60}; expected a list or mapping of LossResults")
    named = results if isinstance(results, Mapping) else {f"results[{i}]": each for i, each in enumerate(results)}
    if len(named) != count:
        raise DimensionMismatchError(f"results has {len(named)} losses; expected {count}, as weights", expected=count)
    for name, each in named.items():
        is_pair = isinstance(each, tuple) and len(each) == 2 and isinstance(each[1], Mapping)
        if not is_pair or np.ndim(each[0]) or np.asarray(each[0]).dtype.kind not in "fiu":
            raise UnsupportedError(f"{name} is {each!r:.60}; expected a LossResult whose value is one number")
    return list(named), [LossResult(*each) for each in named.values()]


_KEPT = ("kept", "fisher")  # of each parameter: its value and its Fisher information


@dataclass(frozen=True)
class EWCConfig(Settings):
    weight: Annotated[float, Setting("lambda: how much the earlier task counts", at_least=0)] = 1.0


@register_part
class EWCLoss(Loss):
    """L = weight / 2 * sum_i F_i (theta_i - theta*_i)^2: elastic weight consolidation

    ``consolidate`` keeps the parameters theta* of a task that was learned, and the diagonal of its Fisher information,
    the mean of squared gradients of the log-likelihood of single examples. Then ``loss(parameters)`` holds them there.

    Raises: UnsupportedError before consolidate; InvalidConfigError for names, DimensionMismatchError for shapes,
            EmptyInputError, NumericalInstabilityError

    >>> loss = EWCLoss(weight=2)
    >>> loss.consolidate({"w": [1.0, 1.0]}, gradients=[{"w": [2.0, 0.0]}, {"w": [0.0, 0.0]}])
    >>> value, gradients = loss({"w": [2.0, 5.0]})
    >>> value, gradients["w"].tolist()
    (2.0, [4.0, 0.0])
    """

    name = "ewc"
    paper = "Kirkpatrick et al., 2017, arXiv:1612.00796"
    Config = EWCConfig
    config: EWCConfig

    def _setup(self) -> None:
        self._kept: dict[str, tuple[Array, Array]] = {}

    def consolidate(self, parameters: Mapping[str, ArrayLike], gradients: Iterable[Mapping[str, ArrayLike]]) -> None:
        """Keep copies of the parameters, and the mean of the squares of ``gradients``, a mapping for each example."""
        given = self._matched("parameters", parameters, None)
        if not parameters:
            raise EmptyInputError("parameters is empty; expected at least one array")
        fisher = {name: np.zeros(given[name].shape) for name in parameters}
        count = 0
        for example in gradients:
            count += 1
            for name, grad in self._matched("gradients", example, fisher).items():
                fisher[name] += grad**2
        if not count:
            raise EmptyInputError("gradients is empty; expected a mapping for each example")
        self._kept = {name: (given[name].copy(), total / count) for name, total in fisher.items()}

    def state_dict(self) -> dict[str, Array]:
        """Copies of what is kept: "<name>.kept" and "<name>.fisher" for each parameter."""
        pairs = ((name, zip(_KEPT, pair, strict=True)) for name, pair in self._kept.items())
        return {f"{name}.{key}": array.copy() for name, pair in pairs for key, array in pair}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over what state_dict gave.

        Raises: InvalidConfigError for names, DimensionMismatchError for shapes, NumericalInstabilityError.
        """
        names = {key.rpartition(".")[0] for key in state}
        expected = sorted(f"{name}.{key}" for name in names for key in _KEPT)
        if sorted(state) != expected:
            raise InvalidConfigError(f"state has {sorted(state)}; expected {expected}")
        given = Arguments(False, **state)
        pairs = {name: [given[f"{name}.{key}"].copy() for key in _KEPT] for name in names}
        for name, (kept, fisher) in pairs.items():
            given.expect(f"{name}.fisher", fisher.shape == kept.shape, f"{kept.shape}, as {name}.kept")
        self._kept = {name: (kept, fisher) for name, (kept, fisher) in pairs.items()}

    @quiet
    def __call__(self, parameters: Mapping[str, ArrayLike]) -> LossResult:
        if not self._kept:
            raise UnsupportedError(f"{self!r} keeps no task; call consolidate(parameters, gradients) first")
        given = self._matched("parameters", parameters, {name: pair[0] for name, pair in self._kept.items()})
        value, gradients = 0.0, {}
        for name, (kept, fisher) in self._kept.items():
            apart = given[name] - kept
            gradients[name] = self.config.weight * fisher * apart
            value += float((gradients[name] * apart).sum()) / 2
        return given.result(value, "sum", gradients)

    @staticmethod
    def _matched(what: str, arrays: Mapping[str, ArrayLike], kept: Mapping[str, Array] | None) -> Arguments:
        if not isinstance(arrays, Mapping):
            raise UnsupportedError(f"{what} is {type(arrays).__name__}; expected a mapping of names to arrays")
        if kept is None:
            return Arguments(False, **arrays)
        if set(arrays) != set(kept):
            raise InvalidConfigError(f"{what} has {sorted(arrays)}; expected {sorted(kept)}")
        given = Arguments(False, **arrays)
        for name, array in kept.items():
            given.expect(name, given[name].shape == array.shape, f"{array.shape}, as consolidated")
        return given
