"""Routing of whole sequences against float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra
from ruvector_attention import registry

Array = npt.NDArray[Any]
TEMPERATURES = (1.0, 0.3, 3.0)


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def routing(**settings: Any) -> ra.LearnedRoutingAttention:
    experts = [{"type": "scaled_dot_product", "temperature": temperature} for temperature in TEMPERATURES]
    made = ra.LearnedRoutingAttention(dim=6, experts=json.dumps(experts), **settings)
    made.parameters()["router_weight"][...] *= 4
    return made


def shares64(parameters: dict[str, Array], q: Array, temperature: float, threshold: float) -> Array:
    mean = q.astype(np.float64).mean(axis=-2)
    logits = (mean @ parameters["router_weight"] + parameters["router_bias"]) / temperature
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    kept = np.where((shares >= threshold) | (shares == shares.max(axis=-1, keepdims=True)), shares, 0)
    scaled: Array = kept / kept.sum(axis=-1, keepdims=True)
    return scaled


def forward64(
    parameters: dict[str, Array], q: Array, k: Array, v: Array, temperature: float, threshold: float, **options: Any
) -> Array:
    shares = shares64(parameters, q, temperature, threshold)
    outputs = [attention(q, k, v, temperature=own, **options)[0] for own in TEMPERATURES]
    return sum(shares[..., index, None, None] * output for index, output in enumerate(outputs))


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.4, 1.0])
@pytest.mark.parametrize("shapes", [((5, 6), (7, 6)), ((4, 5, 6), (7, 6)), ((2, 3, 5, 6), (2, 3, 7, 6))])
def test_outputs_are_shared_out_sequence_by_sequence(
    threshold: float, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    q, k, v = drawn(*shapes, (*shapes[1][:-1], 2))
    made = routing(threshold=threshold, temperature=0.7)
    shares = shares64(made.parameters(), q, 0.7, threshold)
    assert_close(made.get_routing(q), shares)
    assert_close(made(q, k, v), forward64(made.parameters(), q, k, v, 0.7, threshold))
    seen = np.arange(7) <= np.arange(5)[:, None] + 2
    assert_close(made(q, k, v, causal=True), forward64(made.parameters(), q, k, v, 0.7, threshold, mask=seen))
    weights = made.attention_weights(q, k)
    assert_close(weights @ v, forward64(made.parameters(), q, k, v, 0.7, threshold))


def test_mechanisms_below_the_threshold_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = ra.ScaledDotProductAttention.forward

    def counted(self: Any, *inputs: Any, **options: Any) -> Any:
        calls.append(self.config.temperature)
        return forward(self, *inputs, **options)

    monkeypatch.setattr(ra.ScaledDotProductAttention, "forward", counted)
    made = routing(threshold=0.4)
    q, k, v = drawn((5, 6), (7, 6), (7, 2))
    made(q, k, v)
    used = [own for own, share in zip(TEMPERATURES, made.get_routing(q), strict=True) if share]
    assert calls == used
    assert len(used) < 3
    calls.clear()
    made(q, k, v, training=True)
    assert calls == list(TEMPERATURES)


@pytest.mark.parametrize("shapes", [((5, 6), (7, 6)), ((3, 5, 6), (7, 6))])
def test_gradients_equal_central_differences(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    q, k, v, grad = drawn(*shapes, (7, 2), (*shapes[0][:-1], 2), seed=2)
    made = routing(threshold=0.4, temperature=0.7)
    wide = {"query": q, "keys": k, "values": v, **made.parameters()}
    wide = {name: array.astype(np.float64) for name, array in wide.items()}

    def loss() -> float:  # in training all are computed
        return float((forward64(wide, wide["query"], wide["keys"], wide["values"], 0.7, 0.0) * grad).sum())

    made(q, k, v, training=True)
    found = made.backward(grad)
    assert set(found) == set(wide)
    for name, array in wide.items():
        expected = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss()
            array[index] = kept - 1e-5
            expected[index] = (above - loss()) / 2e-5
            array[index] = kept
        assert found[name].shape == expected.shape
        assert np.abs(found[name] - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_its_default_mechanisms_are_those_of_the_mixture_of_experts() -> None:
    made = ra.LearnedRoutingAttention(dim=4)
    assert [expert.name for expert in made.experts] == [expert.name for expert in ra.MoEAttention(dim=4).experts]
    assert all(expert.name in registry.mechanisms() for expert in made.experts)
