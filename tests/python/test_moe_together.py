"""Experts that differ in the scale of their scores alone share their calls, and give what they would give apart."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra

Array = npt.NDArray[Any]
SCALES: list[dict[str, float]] = [{"temperature": 0.3}, {}, {"scale": 0.0}, {"scale": -0.7}, {"temperature": 50.0}]


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def moe(name: str = "scaled_dot_product", dim: int = 6, **settings: Any) -> ra.MoEAttention:
    experts = [{"type": name, **scale} for scale in SCALES]
    return ra.MoEAttention(dim=dim, experts=json.dumps(experts), **{"seed": 1, **settings})


def mixed64(made: ra.MoEAttention, q: Array, k: Array, v: Array, **options: Any) -> Array:
    """Softmax over the top_k largest logits of each row, of what each expert gives for all rows."""
    outputs = np.stack([attention(q, k, v, **scale, **options)[0] for scale in SCALES])
    parameters = made.parameters()
    logits = q.astype(np.float64) @ parameters["router_weight"] + parameters["router_bias"]
    kept = np.sort(logits, axis=-1)[..., -made.config.top_k, None]
    weights = np.where(logits >= kept, np.exp(logits - logits.max(axis=-1, keepdims=True)), 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Array = np.einsum("...e,e...d->...d", weights, outputs)
    return mixed


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the query of every call of an expert."""
    shapes: list[tuple[int, ...]] = []
    forward = ra.ScaledDotProductAttention.forward

    @functools.wraps(forward)  # a mixture reads its signature
    def counted(self: Any, query: Any, *inputs: Any, **options: Any) -> Any:
        shapes.append(query.shape)
        return forward(self, query, *inputs, **options)

    monkeypatch.setattr(ra.ScaledDotProductAttention, "forward", counted)
    return shapes


@pytest.mark.parametrize("name", ["scaled_dot_product", "flash"])
@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "shapes", [((20, 6), (30, 6)), ((2, 3, 9, 6), (9, 6)), ((3, 9, 6), (3, 12, 6)), ((1, 6), (5, 6)), ((6,), (5, 6))]
)
def test_a_slot_is_one_call(
    calls: list[tuple[int, ...]], name: str, top_k: int, causal: bool, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    q, k, v = drawn(*shapes, (*shapes[1][:-1], 4))
    made = moe(name, top_k=top_k, causal=causal)
    n_query, n_key = (1 if q.ndim == 1 else q.shape[-2]), k.shape[-2]
    seen = np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query
    expected = mixed64(made, np.atleast_2d(q), k, v, mask=seen if causal else np.ones_like(seen))
    output = made(q, k, v)
    assert_close(output, expected[0] if q.ndim == 1 else expected)
    assert [int(np.prod(shape)) for shape in calls] == [q.size] * top_k
    assert_close(made.attention_weights(q, k) @ v, expected[0] if q.ndim == 1 else expected)


@pytest.mark.parametrize("kind", ["row", "bool", "float", "item", "object", "lengths"])
def test_masks_and_lengths_hold_for_every_slot(calls: list[tuple[int, ...]], kind: str) -> None:
    q, k, v, mask = drawn((2, 9, 6), (2, 11, 6), (2, 11, 4), (2, 9, 11))
    made = moe()
    window = ra.WindowMask(3)
    lengths = np.array([11, 4])
    options: dict[str, dict[str, Any]] = {
        "row": {"mask": mask[0, 0] > 0},
        "bool": {"mask": mask[0] > -0.5},
        "float": {"mask": mask[0]},
        "item": {"mask": mask > -0.5},
        "object": {"mask": window},
        "lengths": {"key_lengths": lengths},
    }
    wide: dict[str, Any] = {
        "row": {"mask": np.broadcast_to(mask[0, 0] > 0, (9, 11))},
        "bool": {"mask": mask[0] > -0.5},
        "float": {"bias": mask[0].astype(np.float64)},
        "item": {"mask": mask > -0.5},
        "object": {"mask": window.to_dense(9, 11)},
        "lengths": {"mask": np.broadcast_to(np.arange(11) < lengths[:, None, None], (2, 9, 11))},
    }
    assert_close(made(q, k, v, **options[kind]), mixed64(made, q, k, v, **wide[kind]))
    assert calls == [q.shape] * 2


def test_what_differs_in_more_is_called_one_by_one(calls: list[tuple[int, ...]]) -> None:
    q, k, v = drawn((40, 6), (9, 6), (9, 4))
    for experts in (
        [{"type": "flash"}, {"type": "scaled_dot_product"}],
        [{"type": "flash"}, {"type": "flash", "top_k": 3}],
        [{"type": "flash"}, {"type": "flash", "normalize": True}],
        [{"type": "flash", "normalize": True}, {"type": "flash", "normalize": True}],
        [{"type": "flash"}, {"type": "flash", "causal": True}],
    ):
        calls.clear()
        ra.MoEAttention(dim=6, experts=json.dumps(experts), top_k=1)(q, k, v)
        assert len(calls) == 2, experts


def test_an_expert_of_another_kind_parts_them_and_one_of_theirs_does_not(calls: list[tuple[int, ...]]) -> None:
    q, k, v = drawn((40, 6), (9, 6), (9, 4))
    made = ra.MoEAttention.of([ra.FlashAttention(dim=6), ra.FlashAttention(dim=6, temperature=2.0)], top_k=1)
    made(q, k, v)
    made.add_expert(ra.FlashAttention(dim=6, scale=3.0))
    made(q, k, v)
    assert calls == [q.shape] * 2
    made.add_expert(ra.LinearAttention(dim=6))
    made(q, k, v)
    assert len(calls) == 2 + 3


@pytest.mark.parametrize(
    "shapes", [((90, 6), (120, 6)), ((2, 40, 6), (40, 6)), ((3, 4, 6), (9, 6)), ((50, 6), (20, 6))]
)
@pytest.mark.parametrize("experts", [2, 40])
@pytest.mark.parametrize("training", [False, True])
def test_local_experts_know_where_their_rows_stand(
    shapes: tuple[tuple[int, ...], ...], experts: int, training: bool
) -> None:
    """With two of them each computes all rows; with forty, those that chose it, by their positions."""
    q, k, v = drawn(*shapes, (*shapes[1][:-1], 4))
    own = [ra.LocalGlobalAttention(dim=6, window=w, global_tokens=2) for w in range(3, 3 + experts)]
    made = ra.MoEAttention.of(own, top_k=1, seed=1)
    chosen = made.get_routing(q).experts
    assert len(np.unique(chosen)) > 1
    expected = np.zeros((*q.shape[:-1], 4))
    for index, expert in enumerate(own):
        expected = np.where(chosen == index, expert(q, k, v), expected)
    assert_close(made(q, k, v, training=training), expected)


def test_no_row_is_computed_for_an_expert_without_room(calls: list[tuple[int, ...]]) -> None:
    q, k, v = drawn((40, 6), (9, 6), (9, 4))
    made = moe(capacity_factor=0.25)
    made(q, k, v)
    assert sum(shape[0] for shape in calls) == (made.get_routing(q).experts >= 0).sum() < 40
    calls.clear()
    moe(capacity_factor=5.0)(q, k, v)
    assert calls == [q.shape] * 2  # where all have room it is as without capacities


def test_training_gives_the_same_output(calls: list[tuple[int, ...]]) -> None:
    q, k, v = drawn((40, 6), (9, 6), (9, 4))
    made = moe()
    trained = made(q, k, v, training=True)
    assert len(calls) == len(SCALES)  # each has a way back
    assert_close(made(q, k, v), trained.astype(np.float64))


def test_errors_are_told_by_the_expert_that_meets_them() -> None:
    q, k, v = drawn((4, 6), (9, 6), (9, 4))
    k[3, 2] = np.nan
    with pytest.raises(ra.NumericalInstabilityError, match=r"keys holds nan at index \(3, 2\)"):
        moe()(q, k, v)
    assert np.isnan(moe()(q, k, v, check_finite=False)).all()
    q[1, 1] = np.inf
    with pytest.raises(ra.NumericalInstabilityError, match=r"query holds inf at index \(1, 1\)"):
        moe()(q, k, v)
    with pytest.raises(ra.NumericalInstabilityError, match="the result overflows float32"):
        moe()(np.full((4, 6), 1e30), np.full((9, 6), 1e30), v)


@pytest.mark.parametrize("capacity_factor", [None, 1.0])
def test_logits_beyond_float32_are_an_error(capacity_factor: float | None) -> None:
    k, v = drawn((5, 6), (5, 2))
    made = moe(capacity_factor=capacity_factor)
    made.parameters()["router_weight"][...] = 2.0
    with pytest.raises(ra.NumericalInstabilityError, match="the numbers that the router compares overflow float32"):
        made(np.full((4, 6), 1e38), k, v)
    with pytest.raises(ra.NumericalInstabilityError, match="the numbers that the router compares overflow float32"):
        moe(temperature=1e-30)(np.full((4, 6), 1e20), k, v)
    made.parameters()["router_weight"][:, :2] = -2.0
    routing = made.get_routing(np.full((4, 6), 2.5e37))  # logits of +-3e38: their differences are beyond float32
    assert_close(routing.weights.sum(axis=1), np.ones(4))
    q = np.ones((4, 6), np.float32)
    q[1] = np.nan
    assert np.isnan(made(q, k, v, check_finite=False)[1]).all()


def test_large_scores_keep_their_sums_of_weights() -> None:
    q, k, _ = drawn((30, 6), (40, 6), (1,))
    made = moe(top_k=3)
    ones = made(1e4 * q, 1e4 * k, np.ones((40, 1)))
    assert np.abs(ones - 1).max() <= 1e-5


def test_calls_may_run_at_once() -> None:
    q, k, v = drawn((300, 6), (50, 6), (50, 4))
    made = moe()
    expected = mixed64(made, q, k, v)
    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(lambda rows: made(q[:rows], k, v), [300, 20, 150, 1] * 8))
    for output in outputs:
        assert_close(output, expected[: len(output)])


class Echo(ra.Attention):
    """out = query, the array itself"""

    name = "echo"
    inputs = (ra.QUERY, ra.KEYS, ra.VALUES)

    @property
    def hidden_dim(self) -> int:
        return 6

    def get_config(self) -> dict[str, Any]:
        return {"type": "flash", "dim": 6}

    def forward(self, query: Any, keys: Any, values: Any) -> Any:
        return query


def test_an_output_may_be_the_query_itself() -> None:
    q, k, v = drawn((50, 6), (4, 6), (4, 6))
    made = ra.MoEAttention.of([Echo(), Echo(), Echo()], top_k=2)
    assert_close(made(q, k, v), q.astype(np.float64))
