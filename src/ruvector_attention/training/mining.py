"""Which negatives to train against: the nearest, those at a useful distance, or a draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from ..arrays import ArrayLike
from ..config import Setting, Settings, checked_setting
from ..errors import InvalidConfigError, UnsupportedError
from .contrastive import candidates_of, squared_distances
from .losses import Arguments, Array, ratio, unit
from .part import TrainingPart, register_part

Int64Array = npt.NDArray[np.int64]

STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted", "degree", "mixed")
#: Distances on the unit sphere, of Wu et al.: nearer ones count as this one, farther ones have no loss to learn from.
NEAREST, FARTHEST = 0.5, 1.4


def _first(order: Array, count: int) -> Int64Array:
    """The positions of the ``count`` least of each row, least first."""
    if 4 * count < order.shape[-1]:
        some = np.sort(np.argpartition(order, count - 1, axis=-1)[..., :count], axis=-1)
        within = np.argsort(np.take_along_axis(order, some, axis=-1), axis=-1, kind="stable")
        return np.take_along_axis(some, within, axis=-1).astype(np.int64)
    return np.argsort(order, axis=-1, kind="stable")[..., :count].astype(np.int64)


def _count(name: str, value: Any, most: int) -> int:
    count = int(checked_setting(name, value, int, Setting("", at_least=1)))
    if count > most:
        raise InvalidConfigError(f"{name} is {count}; expected at most {most}, the negatives that there are")
    return count


@dataclass(frozen=True)
class HardNegativeMinerConfig(Settings):
    strategy: Annotated[str, Setting("which negatives are chosen", choices=STRATEGIES)] = "semi_hard"
    margin: Annotated[float, Setting("semi_hard: how much farther than the positive they may be", at_least=0)] = 0.2
    temperature: Annotated[float, Setting("what logarithms of weights of draws are divided by", above=0)] = 1.0
    seed: Annotated[int, Setting("of the draws", at_least=0)] = 0


@register_part
class HardNegativeMiner(TrainingPart):
    """argmin_n d_n, d_n = |anchor - n|, or indices chosen otherwise: the negatives to learn from, none of them twice

    hard: the nearest. semi_hard: the nearest with d_p < d_n < d_p + margin, where d_p is the distance of the farthest
    positive; if they are too few, the nearest of the others behind them (Schroff et al., 2015, arXiv:1503.03832).
    random: any. distance_weighted: drawn with weights 1 / q(d), q the density of distances d on the unit sphere, on
    which rows are projected, d at least 0.5; those beyond 1.4 come last. degree: drawn with weights
    exp(-|log(1 + degree) - log(1 + anchor_degree)|), nodes as well connected as the anchor. mixed: the nearest for the
    first half, drawn for the rest, by degree if degrees are given, else any.

    Shapes: anchor (..., dim); positives (..., dim) or (..., n_positive, dim); negatives (n_negative, dim), the same for
            all, or (..., n_negative, dim); degrees (n_negative,) or (..., n_negative); anchor_degree a number or (...)
            -> (..., num_negatives), int64. Distances are Euclidean.
    Raises: DimensionMismatchError, EmptyInputError, InvalidConfigError, NumericalInstabilityError, UnsupportedError

    >>> miner = HardNegativeMiner("semi_hard", margin=1)
    >>> miner.mine(anchor=[0.0], positives=[[1.0]], negatives=[[0.5], [9.0], [1.8], [1.2]], num_negatives=3)
    array([3, 2, 0])
    """

    name, kind = "hard_negative", "miner"
    paper = "Wu et al., 2017, arXiv:1706.07567"
    Config = HardNegativeMinerConfig
    config: HardNegativeMinerConfig

    def _setup(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Draws start again from the seed."""
        self._random = np.random.default_rng(self.config.seed)

    def mine(
        self,
        anchor: ArrayLike,
        positives: ArrayLike,
        negatives: ArrayLike,
        num_negatives: int = 1,
        *,
        degrees: ArrayLike | None = None,
        anchor_degree: ArrayLike | None = None,
    ) -> Int64Array:
        """The indices of ``num_negatives`` of the negatives for each anchor."""
        given = Arguments(anchor=anchor, positives=positives, negatives=negatives)
        a, p, n = candidates_of(given, one=True)
        shape = (*a.shape[:-1], n.shape[-2])
        count = _count("num_negatives", num_negatives, shape[-1])
        strategy = self.config.strategy
        if (degrees is None) != (anchor_degree is None) or (strategy == "degree" and degrees is None):
            missing = "anchor_degree" if anchor_degree is None and degrees is not None else "degrees"
            raise UnsupportedError(f"{missing} is missing; expected degrees of the negatives and anchor_degree")
        if strategy == "random":
            return self._drawn(np.zeros(shape), count)
        if strategy == "distance_weighted":
            return self._drawn(_sphere_weights(a, n, beyond=-100 * self.config.temperature), count)
        alike = np.zeros(shape) if degrees is None else _alike(degrees, anchor_degree, shape)
        if strategy == "degree":
            return self._drawn(alike, count)
        squared = squared_distances(a, n)
        if strategy == "hard":
            return _first(squared, count)
        if strategy == "semi_hard":
            distance, farthest = np.sqrt(squared), np.sqrt(squared_distances(a, p).max(axis=-1, keepdims=True))
            is_semi = (farthest < distance) & (distance < farthest + self.config.margin)
            return _first(np.where(is_semi, -ratio(np.ones(()), distance), distance), count)  # negative ones come first
        hard = _first(squared, -(-count // 2))
        np.put_along_axis(alike, hard, -np.inf, axis=-1)
        return np.concatenate([hard, self._drawn(alike, count - hard.shape[-1])], axis=-1)

    def _drawn(self, log_weights: Array, count: int) -> Int64Array:
        """Without replacement: the largest of log-weight + Gumbel noise (Efraimidis & Spirakis, 2006)."""
        return _first(-log_weights / self.config.temperature - self._random.gumbel(size=log_weights.shape), count)


def _sphere_weights(a: Array, n: Array, beyond: float) -> Array:
    """-log q(d) = -((dim - 2) log d + (dim - 3) / 2 log(1 - d^2 / 4)) of rows projected on the unit sphere; ``beyond``
    less than the least of them, where d is."""
    dim = a.shape[-1]
    d = np.sqrt(squared_distances(unit(a)[0], unit(n)[0]))
    reached = np.clip(d, NEAREST, FARTHEST)
    log_weights: Array = -((dim - 2) * np.log(reached) + (dim - 3) / 2 * np.log1p(-(reached**2) / 4))
    log_weights[d > FARTHEST] = log_weights.min() + beyond
    return log_weights


def _alike(degrees: ArrayLike, anchor_degree: ArrayLike, shape: tuple[int, ...]) -> Array:
    given = Arguments(False, degrees=degrees, anchor_degree=anchor_degree)
    expected = f"{shape[-1:]} or {shape}"
    their = given.expect("degrees", given["degrees"].shape in (shape[-1:], shape), expected)
    own = given.expect("anchor_degree", given["anchor_degree"].shape in ((), shape[:-1]), f"a number or {shape[:-1]}")
    for name, array in given.items():
        if array.min() < 0:
            raise InvalidConfigError(f"{name} holds {array.min():g}; expected degrees of at least 0")
    return np.broadcast_to(-np.abs(np.log1p(their) - np.log1p(own)[..., None]), shape).copy()


@dataclass(frozen=True)
class InBatchMinerConfig(Settings):
    exclude_positive: Annotated[bool, Setting("an anchor's own positive is none of its negatives")] = True


@register_part
class InBatchMiner(TrainingPart):
    """negatives of anchor_i = all positives_j with j != i, and those that are given to all

    ``mine`` answers indices into the rows of positives followed by the rows of negatives: all of them in their order,
    or the ``num_negatives`` nearest to the anchor (Euclidean), nearest first.

    Shapes: anchor (n, dim), positives (n, dim), a row for each of anchor; negatives (n_negative, dim) or None
            -> (n, number of negatives), int64
    Raises: DimensionMismatchError, EmptyInputError, InvalidConfigError, NumericalInstabilityError, UnsupportedError

    >>> InBatchMiner().mine(anchor=[[0.0], [5.0], [9.0]], positives=[[1.0], [4.0], [8.0]])
    array([[1, 2],
           [0, 2],
           [0, 1]])
    """

    name, kind = "in_batch", "miner"
    paper = "Karpukhin et al., 2020, arXiv:2004.04906"
    Config = InBatchMinerConfig
    config: InBatchMinerConfig

    def mine(
        self,
        anchor: ArrayLike,
        positives: ArrayLike,
        negatives: ArrayLike | None = None,
        num_negatives: int | None = None,
    ) -> Int64Array:
        """The indices of ``num_negatives`` candidates for each anchor; None: of all."""
        extra = {} if negatives is None else {"negatives": negatives}
        given = Arguments(anchor=anchor, positives=positives, **extra)
        a = given.expect("anchor", given["anchor"].ndim == 2, "(n, dim), a batch")
        rows = [given.expect("positives", given["positives"].shape == a.shape, f"{a.shape}, a row for each of anchor")]
        if negatives is not None:
            rows.append(given.expect("negatives", given["negatives"].ndim == 2, "(n_negative, dim)"))
        candidates = np.concatenate(rows)
        n, total = len(a), len(candidates)
        own = np.eye(n, total, dtype=bool) & self.config.exclude_positive
        most = total - self.config.exclude_positive
        if not most:
            raise InvalidConfigError("anchor has one row; expected at least 2, or negatives")
        count = most if num_negatives is None else _count("num_negatives", num_negatives, most)
        return _first(own if num_negatives is None else np.where(own, np.inf, squared_distances(a, candidates)), count)
