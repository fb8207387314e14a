"""HNSWAwareAttention against its formula in float64."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels

Array = npt.NDArray[Any]
LAYERS = np.array([0, 2, 1, 0, 0, 2, 0])


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def made(**settings: Any) -> ra.HNSWAwareAttention:
    attention = ra.HNSWAwareAttention(dim=6, num_layers=3, **settings)
    attention.parameters()["layer_bias"][:] = [0.3, -0.5, 1.1]
    if "distance_weight" in attention.parameters():
        attention.parameters()["distance_weight"][:] = 0.7
    return attention


def expected(at: dict[str, Array], scale: float, temperature: float) -> tuple[Array, Array]:
    bias = at["layer_bias"][LAYERS] + at.get("bias", 0.0)
    if "distance_weight" in at:
        gaps = np.linalg.norm(at["query"][..., :, None, :] - at["keys"][..., None, :, :], axis=-1)
        bias = bias - at["distance_weight"] * gaps / temperature
    bias = np.broadcast_to(bias, (*at["query"].shape[:-1], len(LAYERS)))
    return oracle.attention(at["query"], at["keys"], at["values"], scale=scale, temperature=temperature, bias=bias)


@pytest.mark.parametrize("backend", kernels.backends())
@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize("scale", [None, 0.9])
def test_outputs_and_weights_are_the_formula(distance: bool, scale: float | None, backend: str) -> None:
    attention = made(distance=distance, temperature=1.3, scale=scale)
    at = {"query": normal(2, 4, 6), "keys": normal(2, 7, 6, seed=1), "values": normal(2, 7, 3, seed=2)}
    before = kernels.backend()
    kernels.use_backend(backend)
    try:
        output = attention(**at, layers=LAYERS)
        weights = attention.attention_weights(at["query"], at["keys"], layers=LAYERS)
    finally:
        kernels.use_backend(before)
    out, of_keys = expected({**at, **attention.parameters()}, scale or 6**-0.5, 1.3)
    oracle.assert_close(output, out)
    oracle.assert_close(weights, of_keys)


@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gradients_of_everything(distance: bool, with_bias: bool) -> None:
    attention = made(distance=distance, temperature=1.3)
    at = {"query": normal(2, 3, 6), "keys": normal(2, 7, 6, seed=1), "values": normal(2, 7, 2, seed=2)}
    at |= {"bias": normal(3, 7, seed=3)} if with_bias else {}
    output = attention(**at, layers=LAYERS, training=True)
    upstream = normal(*output.shape, seed=4)
    found = attention.backward(upstream)

    def loss(arrays: dict[str, Array]) -> float:
        return float((expected(arrays, 6**-0.5, 1.3)[0] * upstream).sum())

    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, {**at, **attention.parameters()}))


def test_layers_may_differ_in_a_batch() -> None:
    attention = made()
    q, k, v = normal(2, 4, 6), normal(2, 7, 6, seed=1), normal(2, 7, 3, seed=2)
    layers = np.stack([LAYERS, LAYERS[::-1]])
    both = attention(q, k, v, layers=layers, training=True)
    grads, total = attention.backward(np.ones(both.shape)), np.zeros(3)
    for index in range(2):
        single = attention(q[index], k[index], v[index], layers=layers[index], training=True)
        oracle.assert_close(both[index], single, 1e-6)
        total += attention.backward(np.ones(single.shape))["layer_bias"]
    oracle.assert_close(grads["layer_bias"], total, 1e-6)


def test_without_layers_it_is_scaled_dot_product() -> None:
    q, k, v = normal(4, 6), normal(7, 6, seed=1), normal(7, 3, seed=2)
    attention = made()
    output = attention(q, k, v, training=True)
    oracle.assert_close(output, ra.ScaledDotProductAttention(dim=6)(q, k, v), 1e-6)
    assert not attention.backward(np.ones(output.shape))["layer_bias"].any()


@pytest.mark.parametrize(
    ("layers", "error", "sentence"),
    [
        ([0, 1], ra.DimensionMismatchError, r"layers is \(2,\)"),
        ([0.0] * 7, ra.UnsupportedError, "layers is an array of float64"),
        ([0, 1, 2, 3, 0, 0, 0], ra.OutOfBoundsError, "layers holds 0 to 3; expected 0 to num_layers - 1 = 2"),
        ([-1] * 7, ra.OutOfBoundsError, "layers holds -1"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: Any, error: type[ra.AttentionError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        made()(normal(4, 6), normal(7, 6), normal(7, 3), layers=layers)
