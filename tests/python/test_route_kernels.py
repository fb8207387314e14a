"""Kernels that choose experts for rows and bring rows there and back, under every backend, against a mixture's own
routing and float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels

Array = npt.NDArray[Any]


@pytest.fixture(params=[*kernels.backends()], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.backend()
    kernels.use_backend(request.param)
    yield request.param
    kernels.use_backend(before)


def route(
    logits: Array, top_k: int, capacity: int = 0, temperature: float = 1.0
) -> tuple[int, Array, Array, tuple[float, float]]:
    z = np.array(logits, np.float32)
    rows, n_expert = z.shape
    experts, weights = np.full((2, rows, top_k), np.nan, np.float32)
    losses = np.full(2, np.nan, np.float32)
    sizes = (rows, n_expert, top_k, capacity)
    status = kernels.active.route_rows(z, experts, weights, losses, *sizes, temperature)
    again = np.empty_like(experts), np.empty_like(weights)
    assert kernels.active.route_rows(z, *again, None, *sizes, temperature) == status
    assert np.array_equal(again[0], experts)
    assert np.array_equal(again[1], weights, equal_nan=True)
    return int(status), experts, weights, (float(losses[0]), float(losses[1]))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
@pytest.mark.parametrize(("rows", "n_expert", "top_k"), [(1, 1, 1), (9, 4, 2), (5, 3, 3), (40, 17, 5), (3, 70, 33)])
def test_a_row_goes_to_its_best_experts(rows: int, n_expert: int, top_k: int, temperature: float) -> None:
    logits = np.random.default_rng(rows).normal(size=(rows, n_expert)).astype(np.float32) * 4
    status, experts, weights, losses = route(logits, top_k, temperature=temperature)
    assert status == kernels.OK
    wide = logits.astype(np.float64) / temperature
    best = np.argsort(-wide, axis=1)[:, :top_k]
    assert np.array_equal(experts, best)
    assert np.abs(weights - softmax(np.take_along_axis(wide, best, axis=1))).max() <= 2e-6
    share = np.bincount(best.reshape(-1), minlength=n_expert) / best.size
    assert losses[0] == pytest.approx(n_expert * float(share @ softmax(wide).mean(axis=0)), rel=2e-6)
    log_sum = np.log(np.exp(wide).sum(axis=1))
    assert losses[1] == pytest.approx(float(np.square(log_sum).mean()), rel=2e-6)


@pytest.mark.parametrize("factor", [0.2, 0.7, 1.0, 1.6, 4.0])
def test_capacities_are_those_of_a_mixture(factor: float) -> None:
    mixture = ra.MoEAttention(dim=6, experts="flash, flash, flash, flash, flash", top_k=3, capacity_factor=factor)
    query = np.random.default_rng(3).normal(size=(23, 6)).astype(np.float32)
    router = mixture.parameters()
    logits = query.astype(np.float64) @ router["router_weight"] + router["router_bias"]
    _, experts, weights, _ = route(logits, 3, capacity=math.ceil(factor * 3 * 23 / 5))
    routing = mixture.get_routing(query)
    assert np.array_equal(experts, routing.experts)
    assert np.abs(weights - routing.weights).max() <= 2e-6
    assert (experts == -1).any() == (factor <= 1)  # at 1 too: a row takes no expert twice


def test_a_full_expert_sends_rows_to_the_next_best() -> None:
    logits = [[3, 2, 1], [3, 1, 2], [3, 2, 1], [3, 2, 1]]
    _, experts, weights, _ = route(np.array(logits), 1, capacity=1)
    assert experts[:, 0].tolist() == [0, 2, 1, -1]
    assert weights[:, 0].tolist() == [1, 1, 1, 0]
    _, experts, weights, _ = route(np.array(logits), 2, capacity=2)
    assert experts.tolist() == [[0, 1], [0, 2], [1, 2], [-1, -1]]
    assert weights[3].tolist() == [0, 0]


def test_of_equal_logits_the_first_is_chosen() -> None:
    status, experts, weights, _ = route(np.array([[1, 5, 5, 5], [0, -0.0, 0, 0], [-3e38, 1, 3e38, 1]]), 3)
    assert status == kernels.OK
    assert experts.tolist() == [[1, 2, 3], [0, 1, 2], [2, 1, 3]]
    assert np.abs(weights - [[1 / 3] * 3, [1 / 3] * 3, [1, 0, 0]]).max() <= 1e-7


def test_what_is_not_finite_is_said_and_is_chosen_last() -> None:
    status, experts, weights, _ = route(np.array([[np.nan, 1, 2], [1, 2, 3]]), 2)
    assert status == kernels.NON_FINITE
    assert experts.tolist() == [[2, 1], [2, 1]]
    assert np.abs(weights - softmax(np.array([2.0, 1.0]))).max() <= 1e-7
    status, _, weights, _ = route(np.array([[np.nan, np.nan, 2]]), 2)
    assert status == kernels.NON_FINITE
    assert np.isnan(weights).all()
    assert route(np.array([[1e30, 0]]), 1, temperature=1e-10)[0] == kernels.NON_FINITE


def test_sizes_that_contradict_one_another_are_refused() -> None:
    few = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    assert kernels.active.route_rows(*few, None, 2, 3, 4, 0, 1.0) == kernels.BAD_ARGUMENT
    assert kernels.active.route_rows(*few, None, 2, 3, 0, 0, 1.0) == kernels.BAD_ARGUMENT
    assert kernels.active.route_rows(*few, None, 2, 3, 2, 0, 0.0) == kernels.BAD_ARGUMENT
    x, out, ones = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), np.ones(2, np.float32)
    for wrong in ([0, 2], [-1, 0]):
        index = np.array(wrong, np.int64)
        assert kernels.active.gather_rows(x, index, out, 2, 2, 3) == kernels.BAD_ARGUMENT
        assert kernels.active.scatter_rows(x, ones, index, out, 2, 2, 3, 3, 1.0) == kernels.BAD_ARGUMENT
    assert kernels.active.scatter_rows(x, ones, np.zeros(2, np.int64), out, 2, 2, 3, 2, 1.0) == kernels.BAD_ARGUMENT


@pytest.mark.parametrize("dim", [1, 3, 8, 17, 64, 67])
def test_rows_go_there_and_come_back_weighted(dim: int) -> None:
    random = np.random.default_rng(dim)
    x = random.normal(size=(9, dim)).astype(np.float32)
    index = np.array([7, 0, 3, 3, 8], np.int64)
    out = np.full((5, dim), np.nan, np.float32)
    assert kernels.active.gather_rows(x, index, out, 9, 5, dim) == kernels.OK
    assert np.array_equal(out, x[index])
    weights = random.normal(size=5).astype(np.float32)
    sums = random.normal(size=(9, dim + 2)).astype(np.float32)
    expected = sums.astype(np.float64)
    for i, row in enumerate(index):
        expected[row, :dim] += 0.5 * float(weights[i]) * out[i].astype(np.float64)
    assert kernels.active.scatter_rows(out, weights, index, sums, 9, 5, dim, dim + 2, 0.5) == kernels.OK
    assert np.abs(sums - expected).max() <= 1e-6
    assert np.array_equal(sums[:, dim:], expected[:, dim:].astype(np.float32))
    out[1], weights[1] = np.nan, 0.0
    before = sums.copy()
    assert kernels.active.scatter_rows(out, weights, index, sums, 9, 5, dim, dim + 2, 0.5) == kernels.OK
    assert np.array_equal(sums[0], before[0])
    assert np.isfinite(sums).all()
