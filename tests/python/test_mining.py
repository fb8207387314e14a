"""Miners: against plain sorts, pytorch-metric-learning's triplets (tests/vectors/training), and the laws of their
draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import ruvector_attention as ra
from ruvector_attention import training
from ruvector_attention.training.mining import STRATEGIES, HardNegativeMiner, InBatchMiner

Array = npt.NDArray[Any]
VECTORS = Path(__file__).parents[1] / "vectors" / "training" / "hard_negative.json"


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def array(given: dict[str, Any]) -> Array:
    return np.array(given["data"], given["dtype"]).reshape(given["shape"])


def degrees_for(strategy: str, n: int) -> dict[str, Any]:
    return {"degrees": np.arange(n), "anchor_degree": 3} if strategy in ("degree", "mixed") else {}


def test_semi_hard_negatives_are_those_of_pytorch_metric_learning() -> None:
    (case,) = json.loads(VECTORS.read_text())["cases"]
    rows, labels = array(case["embeddings"]), array(case["labels"])
    expected: dict[tuple[int, int], set[int]] = {}
    for a, p, n in array(case["triplets"]).tolist():
        expected.setdefault((a, p), set()).add(n)
    assert len(expected) > 20
    miner = HardNegativeMiner("semi_hard", **case["config"])
    for (a, p), negatives in expected.items():
        others = np.flatnonzero(labels != labels[a])
        found = others[miner.mine(rows[a], rows[p], rows[others], len(negatives))]
        assert set(found.tolist()) == negatives


@given(seed=st.integers(0, 500), n=st.integers(1, 40), sizes=st.tuples(*map(st.integers, (1, 1, 0), (3, 4, 1))))
def test_hard_and_semi_hard_are_plain_sorts(seed: int, n: int, sizes: tuple[int, int, int]) -> None:
    positives, batch, own = sizes
    a, p = draw(batch, 3, seed=seed), draw(batch, positives, 3, seed=seed)
    negatives = draw(batch, n, 3, seed=seed + 1) if own else draw(n, 3, seed=seed + 1)
    count = 1 + seed % n
    hard = HardNegativeMiner("hard").mine(a, p, negatives, count)
    semi = HardNegativeMiner("semi_hard", margin=0.8).mine(a, p, negatives, count)
    for i in range(batch):
        distance = np.linalg.norm((negatives[i] if own else negatives) - a[i], axis=-1)
        farthest = np.linalg.norm(p[i] - a[i], axis=-1).max()
        assert hard[i].tolist() == sorted(range(n), key=lambda j: distance[j])[:count]
        is_semi = (farthest < distance) & (distance < farthest + 0.8)
        assert semi[i].tolist() == sorted(range(n), key=lambda j: (not is_semi[j], distance[j]))[:count]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shapes_of_anchors_are_shapes_of_indices(strategy: str) -> None:
    miner = HardNegativeMiner(strategy)
    more = degrees_for(strategy, 9)
    for lead in ((), (3,), (2, 3)):
        for negatives in (draw(9, 4), draw(*lead, 9, 4)):
            for positives in (draw(*lead, 4), draw(*lead, 2, 4)):
                found = miner.mine(draw(*lead, 4), positives, negatives, 5, **more)
                assert found.shape == (*lead, 5)
                assert found.dtype == np.int64
                assert found.min() >= 0
                assert found.max() < 9
                assert all(len(set(row)) == 5 for row in found.reshape(-1, 5).tolist())
    assert sorted(miner.mine(draw(4), draw(4), draw(9, 4), 9, **more).tolist()) == list(range(9))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_seed_repeats_the_draws(strategy: str) -> None:
    arguments = (draw(5, 4), draw(5, 4, seed=1), draw(30, 4), 6)
    more = degrees_for(strategy, 30)
    miner = HardNegativeMiner(strategy, seed=3)
    first, second = miner.mine(*arguments, **more), miner.mine(*arguments, **more)
    assert (first == HardNegativeMiner(strategy, seed=3).mine(*arguments, **more)).all()
    assert (first == second).all() == (strategy in ("hard", "semi_hard"))
    miner.reset()
    assert (miner.mine(*arguments, **more) == first).all()


def test_random_negatives_are_all_alike() -> None:
    found = HardNegativeMiner("random").mine(draw(6000, 2), draw(6000, 2), draw(10, 2), 3)
    for column in found.T:
        assert scipy.stats.chisquare(np.bincount(column, minlength=10)).pvalue > 1e-3


@pytest.mark.parametrize("dim", [4, 16])
def test_distance_weighted_draws_are_even_over_distances(dim: int) -> None:
    """Among points that are even on the sphere weights 1 / q(d) make distances even: Wu et al., section 4.1."""
    negatives, anchor = draw(8000, dim), draw(250, dim, seed=1)
    miner = HardNegativeMiner("distance_weighted")
    found = np.concatenate([miner.mine(each, each, negatives, 4) for each in np.split(anchor, 10)])
    u, v = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (anchor, negatives))
    distance = np.linalg.norm(u[:, None] - v[found], axis=-1).ravel()
    nearest = 0.5 if dim == 4 else 0.9  # 8000 points of 16 channels have few that are nearer
    reached = distance[distance > nearest]
    assert reached.size > 500
    assert distance.max() <= 1.4
    assert scipy.stats.kstest(reached, scipy.stats.uniform(nearest, 1.4 - nearest).cdf).pvalue > 1e-3


def test_distance_weighted_takes_what_is_beyond_the_reach_last() -> None:
    anchor, negatives = [1.0, 0.0, 0.0], [[-1.0, 0, 0], [1, 0.3, 0], [-1, 0.1, 0], [1, 1, 0]]
    miner = HardNegativeMiner("distance_weighted")
    ends = [miner.mine(anchor, anchor, negatives, 4).tolist() for _ in range(50)]
    assert all(set(order[:2]) == {1, 3} for order in ends)
    assert {tuple(order[2:]) for order in ends} == {(0, 2), (2, 0)}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_degree_draws_prefer_degrees_like_the_anchors(temperature: float) -> None:
    degrees, n = np.array([0, 1, 3, 7, 31]), 20000
    miner = HardNegativeMiner("degree", temperature=temperature)
    found = miner.mine(draw(n, 2), draw(n, 2), draw(5, 2), 1, degrees=degrees, anchor_degree=np.full(n, 3))
    weights = np.exp(-np.abs(np.log((1 + degrees) / 4)) / temperature)
    expected = n * weights / weights.sum()
    assert scipy.stats.chisquare(np.bincount(found[:, 0], minlength=5), expected).pvalue > 1e-3


def test_mixed_is_half_the_nearest_and_half_drawn() -> None:
    a, p, n = draw(2000, 3), draw(2000, 3, seed=1), draw(12, 3)
    found = HardNegativeMiner("mixed").mine(a, p, n, 5)
    assert (found[:, :3] == HardNegativeMiner("hard").mine(a, p, n, 3)).all()
    order = HardNegativeMiner("hard").mine(a, p, n, 12)
    rank = (found[:, 3:, None] == order[:, None]).argmax(-1)
    assert rank.min() == 3
    assert scipy.stats.chisquare(np.bincount(rank.ravel() - 3, minlength=9)).pvalue > 1e-3
    by_degree = HardNegativeMiner("mixed", temperature=0.01)
    found = by_degree.mine(a[0], p[0], n, 3, degrees=np.arange(12), anchor_degree=7)
    rest = [j for j in (7, 6, 8) if j not in found[:2]]
    assert found[2] == rest[0]


def test_many_candidates_are_not_sorted_whole_and_come_out_the_same() -> None:
    a, n = draw(3, 4), draw(5000, 4)
    exact = np.argsort(np.linalg.norm(n - a[:, None], axis=-1), axis=-1)
    assert (HardNegativeMiner("hard").mine(a, a, n, 7) == exact[:, :7]).all()
    assert (HardNegativeMiner("hard").mine(a, a, n, 5000) == exact).all()


# --- within a batch


def test_a_batch_has_the_positives_of_others_as_negatives() -> None:
    a, p = draw(4, 3), draw(4, 3, seed=1)
    others = [[j for j in range(4) if j != i] for i in range(4)]
    assert InBatchMiner().mine(a, p).tolist() == others
    assert InBatchMiner(exclude_positive=False).mine(a, p).tolist() == [[0, 1, 2, 3]] * 4
    more = draw(2, 3, seed=2)
    assert InBatchMiner().mine(a, p, more).tolist() == [[*row, 4, 5] for row in others]
    assert InBatchMiner().mine(a[:1], p[:1], more).tolist() == [[1, 2]]


@given(seed=st.integers(0, 500), exclude=st.booleans(), extra=st.integers(0, 4))
def test_the_nearest_of_a_batch_are_a_plain_sort(seed: int, exclude: bool, extra: int) -> None:
    a, p, more = draw(6, 3, seed=seed), draw(6, 3, seed=seed + 1), draw(extra, 3, seed=seed + 2)
    candidates = np.concatenate([p, more])
    count = 1 + seed % (len(candidates) - exclude)
    found = InBatchMiner(exclude_positive=exclude).mine(a, p, more if extra else None, count)
    for i in range(6):
        distance = np.linalg.norm(candidates - a[i], axis=-1)
        allowed = [j for j in range(len(candidates)) if not (exclude and i == j)]
        assert found[i].tolist() == sorted(allowed, key=lambda j: distance[j])[:count]


# --- what cannot be


def test_counts_that_cannot_be_are_told() -> None:
    a, n = draw(4), draw(5, 4)
    for count in (0, 6, 1.5, "2", None, True):
        with pytest.raises(ra.InvalidConfigError, match="num_negatives is "):
            HardNegativeMiner().mine(a, a, n, count)  # type: ignore[arg-type]
    with pytest.raises(ra.InvalidConfigError, match="num_negatives is 4; expected at most 3, the negatives that there"):
        InBatchMiner().mine(draw(4, 3), draw(4, 3), num_negatives=4)
    with pytest.raises(ra.InvalidConfigError, match="anchor has one row; expected at least 2, or negatives"):
        InBatchMiner().mine(draw(1, 3), draw(1, 3))


def test_degrees_that_cannot_be_are_told() -> None:
    a, n, miner = draw(2, 4), draw(5, 4), HardNegativeMiner("degree")
    with pytest.raises(ra.UnsupportedError, match="degrees is missing"):
        miner.mine(a, a, n)
    with pytest.raises(ra.UnsupportedError, match="degrees is missing"):
        miner.mine(a, a, n, anchor_degree=3)
    with pytest.raises(ra.UnsupportedError, match="anchor_degree is missing"):
        HardNegativeMiner("mixed").mine(a, a, n, degrees=np.ones(5))
    with pytest.raises(ra.DimensionMismatchError, match=r"degrees is \(4,\); expected \(5,\) or \(2, 5\)"):
        miner.mine(a, a, n, degrees=np.ones(4), anchor_degree=1)
    with pytest.raises(ra.DimensionMismatchError, match=r"anchor_degree is \(3,\); expected a number or \(2,\)"):
        miner.mine(a, a, n, degrees=np.ones(5), anchor_degree=np.ones(3))
    with pytest.raises(ra.InvalidConfigError, match="degrees holds -1; expected degrees of at least 0"):
        miner.mine(a, a, n, degrees=-np.ones(5), anchor_degree=1)
    with pytest.raises(ra.NumericalInstabilityError, match="anchor_degree holds nan"):
        miner.mine(a, a, n, degrees=np.ones(5), anchor_degree=[1, np.nan])


def test_a_mined_negative_is_one_that_a_loss_takes() -> None:
    a, p, n = draw(8, 4), draw(8, 4, seed=1), draw(50, 4)
    chosen = n[HardNegativeMiner("hard").mine(a, p, n, 6)]
    loss = training.InfoNCELoss(0.1)
    assert loss(a, p, chosen).value > loss(a, p, n[:6]).value
