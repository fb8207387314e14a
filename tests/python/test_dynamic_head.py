"""Heads behind gates against float64, head by head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra
from ruvector_attention import engine

Array = npt.NDArray[Any]
HEADS, WIDTH = 3, 4
DIM = HEADS * WIDTH


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def made_with_gates(*, seed: int = 1, **settings: Any) -> ra.DynamicHeadAttention:
    """A mechanism some of whose heads are shut, others for each item."""
    made = ra.DynamicHeadAttention(dim=DIM, num_heads=HEADS, **settings)
    random = np.random.default_rng(seed)
    for name, parameter in made.parameters().items():
        parameter[...] = random.standard_normal(parameter.shape) * (3.0 if name == "gate_weight" else 0.5)
    return made


def gates64(parameters: dict[str, Array], q: Array) -> Array:
    logits = q.astype(np.float64).mean(axis=-2) @ parameters["gate_weight"] + parameters["gate_bias"]
    gates: Array = 1 / (1 + np.exp(-logits))
    return gates


def forward64(parameters: dict[str, Array], q: Array, k: Array, v: Array, threshold: float, **options: Any) -> Array:
    gates = gates64(parameters, q)
    mapped = [
        x.astype(np.float64) @ parameters[f"{name}_weight"] + parameters[f"{name}_bias"]
        for name, x in (("query", q), ("keys", k), ("values", v))
    ]
    heads = []
    for head in range(HEADS):
        own = [x[..., head * WIDTH : (head + 1) * WIDTH] for x in mapped]
        share = np.where(gates[..., head] > threshold, gates[..., head], 0.0)
        heads.append(attention(*own, **options)[0] * share[..., None, None])
    output: Array = np.concatenate(heads, axis=-1) @ parameters["output_weight"] + parameters["output_bias"]
    return output


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    "shapes", [((5, DIM), (7, DIM)), ((2, 3, 5, DIM), (7, DIM)), ((6, 5, DIM), (6, 7, DIM)), ((5, DIM), (4, 7, DIM))]
)
def test_outputs_are_those_of_the_open_heads(threshold: float, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    q, k, v = drawn(*shapes, shapes[1])
    made = made_with_gates(threshold=threshold)
    assert_close(made.head_gates(q), gates64(made.parameters(), q))
    assert_close(made(q, k, v), forward64(made.parameters(), q, k, v, threshold))


def test_masks_biases_and_lengths_reach_the_right_items_and_heads() -> None:
    q, k, v = drawn((6, 5, DIM), (6, 7, DIM), (6, 7, DIM))
    random = np.random.default_rng(3)
    made = made_with_gates()
    active = made.active_heads(q)
    assert len(np.unique(active, axis=0)) > 2  # the case is what it says
    for shape in ((5, 7), (6, 5, 7), (6, HEADS, 5, 7)):
        mask, bias = random.random(shape) < 0.7, random.standard_normal(shape).astype(np.float32)
        expected = []
        for item in range(6):
            own = [
                np.broadcast_to(x if x.ndim > 3 else x[..., None, :, :], (6, HEADS, 5, 7))[item] for x in (mask, bias)
            ]
            gates = np.where(active[item], gates64(made.parameters(), q[item]), 0)
            expected.append(heads64(made.parameters(), q[item], k[item], v[item], gates, own[0], own[1]))
        assert_close(made(q, k, v, mask=mask, bias=bias), np.stack(expected))
    lengths = np.array([7, 1, 3, 7, 5, 2])
    seen = np.arange(7) < lengths[:, None, None]
    assert_close(made(q, k, v, key_lengths=lengths), forward64(made.parameters(), q, k, v, 0.5, mask=seen))
    seen = np.arange(7) <= np.arange(5)[:, None] + 2
    assert_close(made(q, k, v, causal=True), forward64(made.parameters(), q, k, v, 0.5, mask=seen))


def heads64(
    parameters: dict[str, Array], q: Array, k: Array, v: Array, gates: Array, mask: Array, bias: Array
) -> Array:
    mapped = [
        x.astype(np.float64) @ parameters[f"{name}_weight"] + parameters[f"{name}_bias"]
        for name, x in (("query", q), ("keys", k), ("values", v))
    ]
    heads = []
    for head in range(HEADS):
        own = [x[:, head * WIDTH : (head + 1) * WIDTH] for x in mapped]
        heads.append(gates[head] * attention(*own, mask=mask[head], bias=bias[head])[0])
    output: Array = np.concatenate(heads, axis=-1) @ parameters["output_weight"] + parameters["output_bias"]
    return output


def test_shut_heads_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = drawn((5, DIM), (7, DIM), (7, DIM))
    made = ra.DynamicHeadAttention(dim=DIM, num_heads=HEADS)
    made.parameters()["gate_bias"][...] = [9, -9, 9]
    counts = []
    attend = engine.attend

    def counted(*arrays: Any, **options: Any) -> Any:
        counts.append((options["num_heads"], arrays[0].shape[-1]))
        return attend(*arrays, **options)

    monkeypatch.setattr(engine, "attend", counted)
    made(q, k, v)
    assert counts == [(2, 2 * WIDTH)]
    made.parameters()["gate_bias"][...] = -9
    output = made(q, k, v)
    assert len(counts) == 1
    assert np.array_equal(output, np.broadcast_to(made.parameters()["output_bias"], output.shape))
    with pytest.raises(ra.NumericalInstabilityError, match=r"keys holds nan at index \(0, 0\)"):
        made(q, np.full_like(k, np.nan), v)


def test_the_weights_of_shut_heads_are_zero() -> None:
    q, k = drawn((6, 5, DIM), (6, 7, DIM))
    made = made_with_gates()
    weights = made.attention_weights(q, k)
    sums = weights.sum(axis=-1)
    assert np.abs(sums - made.active_heads(q)[..., None]).max() <= 1e-6
    open_ones = ra.MultiHeadAttention(dim=DIM, num_heads=HEADS)
    open_ones.load_state_dict({name: made.parameters()[name] for name in open_ones.parameters()})
    expected = open_ones.attention_weights(q, k) * made.active_heads(q)[..., None, None]
    assert_close(weights, expected.astype(np.float64))


@pytest.mark.parametrize("shapes", [((5, DIM), (7, DIM)), ((2, 5, DIM), (7, DIM))])
def test_gradients_equal_central_differences(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    q, k, v, grad = drawn(*shapes, shapes[1], shapes[0], seed=5)
    made = made_with_gates(threshold=0.4)
    wide = {"query": q, "keys": k, "values": v, **made.parameters()}
    wide = {name: array.astype(np.float64) for name, array in wide.items()}

    def loss() -> float:  # in training every head counts
        output = forward64(wide, wide["query"], wide["keys"], wide["values"], 0.0)
        return float((output * grad).sum())

    output = made(q, k, v, training=True)
    assert_close(output, forward64(made.parameters(), q, k, v, 0.0))
    found = made.backward(grad)
    assert set(found) == set(wide)
    largest = 0.0
    expected = {}
    for name, array in wide.items():
        expected[name] = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss()
            array[index] = kept - 1e-5
            expected[name][index] = (above - loss()) / 2e-5
            array[index] = kept
        largest = max(largest, float(np.abs(expected[name]).max()))
    for name, gradient in expected.items():
        assert found[name].shape == gradient.shape
        # a bias of the keys moves no weight: its gradient is 0
        assert np.abs(found[name] - gradient).max() <= 1e-3 * max(np.abs(gradient).max(), 1e-2 * largest), name


def test_settings_that_do_not_fit_are_named() -> None:
    with pytest.raises(ra.InvalidConfigError, match="dim is 10; expected a multiple of num_heads = 3"):
        ra.DynamicHeadAttention(dim=10, num_heads=3)
    with pytest.raises(ra.InvalidConfigError, match=r"threshold is 1\.0; expected below 1"):
        ra.DynamicHeadAttention(dim=12, threshold=1.0)


def test_a_memory_takes_the_place_of_keys_and_values() -> None:
    q, k, v = drawn((5, DIM), (30, DIM), (30, DIM))
    made = made_with_gates()
    assert np.array_equal(made(q, ra.Memory(k, v)), made(q, k, v))
