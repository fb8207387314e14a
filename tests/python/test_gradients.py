"""Gradients against float64: closed forms that central differences confirm, and the kernels against those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import engine

Array = npt.NDArray[Any]
KERNEL_TOLERANCE = 2e-5  # float32 sums of a few hundred products
DIFFERENCE_TOLERANCE = 1e-5  # float64 central differences, relative


def softmax(scores: Array) -> Array:
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    weights: Array = exponentials / np.where(total == 0, 1, total)
    return weights


def forward64(q: Array, k: Array, v: Array, scale: float, addend: Array) -> Array:
    return softmax(scale * q @ k.swapaxes(-1, -2) + addend) @ v


def backward64(q: Array, k: Array, v: Array, scale: float, addend: Array, grad: Array) -> tuple[Array, ...]:
    """The gradients of sum(forward64 * grad): of q, k, v and the addend."""
    weights = softmax(scale * q @ k.swapaxes(-1, -2) + addend)
    of_weights = grad @ v.swapaxes(-1, -2)
    of_scores = weights * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True))
    of_keys = scale * of_scores.swapaxes(-1, -2) @ q
    return scale * of_scores @ k, of_keys, weights.swapaxes(-1, -2) @ grad, of_scores


def central_difference(function: Callable[[], float], array: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        gradient[index] = (above - function()) / (2 * step)
        array[index] = kept
    return gradient


def assert_close(actual: Array, expected: Array, size: float) -> None:
    """Within the tolerance of ``size``, the size of the numbers that were summed (their sum may well be 0)."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= KERNEL_TOLERANCE * size


def causal(n_query: int, n_key: int) -> Array:
    return np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query


def test_the_closed_form_is_the_derivative() -> None:
    random = np.random.default_rng(0)
    q, k, v, grad = (random.standard_normal(shape) for shape in ((3, 4), (5, 4), (5, 2), (3, 2)))
    addend = np.where(causal(3, 5), random.standard_normal((3, 5)), -np.inf)
    closed = backward64(q, k, v, 0.7, addend, grad)

    def loss() -> float:
        return float((forward64(q, k, v, 0.7, addend) * grad).sum())

    for array, gradient in zip((q, k, v), closed, strict=False):
        numeric = central_difference(loss, array)
        assert np.abs(numeric - gradient).max() <= DIFFERENCE_TOLERANCE * np.abs(gradient).max()


@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (1, 129), (5, 7), (17, 300), (50, 131), (200, 200), (130, 40)])
@pytest.mark.parametrize("dims", [(1, 1), (3, 5), (16, 16), (33, 20), (64, 64)])
@pytest.mark.parametrize("seen", ["all", "some", "causal"])
def test_gradients_equal_the_closed_form(n_query: int, n_key: int, dims: tuple[int, int], seen: str) -> None:
    random = np.random.default_rng(n_query * n_key)
    dim, dim_value = dims
    q, k, v, grad = (
        random.standard_normal((2, n, d)).astype(np.float32)
        for n, d in ((n_query, dim), (n_key, dim), (n_key, dim_value), (n_query, dim_value))
    )
    mask = random.random((n_query, n_key)) < 0.6 if seen == "some" else None
    everything = np.ones((n_query, n_key), bool)
    allowed = causal(n_query, n_key) if seen == "causal" else everything if mask is None else mask
    options: dict[str, Any] = {"scale": dim**-0.5, "mask": mask, "causal": seen == "causal"}
    out, lse = engine.attend(q, k, v, return_lse=True, **options)
    found = engine.attend_backward(q, k, v, out, lse, grad, **options)
    addend = np.where(allowed, 0.0, -np.inf)
    wide = [array.astype(np.float64) for array in (q, k, v, grad)]
    expected = backward64(wide[0], wide[1], wide[2], dim**-0.5, addend, wide[3])[:3]
    size = max(np.abs(gradient).max() for gradient in expected)
    for actual, wanted in zip(found[:3], expected, strict=True):
        assert_close(actual, wanted, size)


@pytest.mark.parametrize("shape", [(2, 3, 20, 30), (1, 3, 1, 30), (20, 30), (1, 30), (20, 1)])
def test_the_gradient_of_a_bias_is_summed_over_what_it_was_repeated_along(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    q, k, v, grad = (random.standard_normal((2, n, 3 * 4)).astype(np.float32) for n in (20, 30, 30, 20))
    bias = random.standard_normal(shape).astype(np.float32)
    options: dict[str, Any] = {"scale": 0.5, "num_heads": 3, "num_kv_heads": 3, "bias": bias}
    out, lse = engine.attend(q, k, v, return_lse=True, **options)
    found = engine.attend_backward(q, k, v, out, lse, grad, **options).bias
    heads = [a.reshape(2, -1, 3, 4).swapaxes(1, 2).astype(np.float64) for a in (q, k, v, grad)]
    full = backward64(heads[0], heads[1], heads[2], 0.5, np.broadcast_to(bias, (2, 3, 20, 30)), heads[3])[3]
    first = full.ndim - len(shape)
    summed = tuple(i for i in range(full.ndim) if i < first or shape[i - first] == 1)
    assert found is not None
    size = np.abs(full).sum(axis=summed).max()
    assert_close(found, full.sum(axis=summed, keepdims=True).reshape(shape), size)


def test_keys_shared_by_a_batch_and_by_heads_get_the_sum_of_their_gradients() -> None:
    random = np.random.default_rng(4)
    q, grad = (random.standard_normal((3, 20, 4 * 8)).astype(np.float32) for _ in range(2))
    k, v = (random.standard_normal((25, 2 * 8)).astype(np.float32) for _ in range(2))
    options: dict[str, Any] = {"scale": 0.3, "num_heads": 4, "num_kv_heads": 2}
    out, lse = engine.attend(q, k, v, return_lse=True, **options)
    found = engine.attend_backward(q, k, v, out, lse, grad, **options)
    qh, gh = (a.reshape(3, 20, 4, 8).swapaxes(1, 2).astype(np.float64) for a in (q, grad))
    kh, vh = (np.repeat(a.reshape(25, 2, 8).swapaxes(0, 1), 2, axis=0).astype(np.float64) for a in (k, v))
    of_query, of_keys, of_values, _ = backward64(qh, kh, vh, 0.3, np.zeros((20, 25)), gh)
    assert_close(found.query, of_query.swapaxes(1, 2).reshape(3, 20, 32), np.abs(of_query).max())
    for actual, full in ((found.keys, of_keys), (found.values, of_values)):
        summed = full.sum(axis=0).reshape(2, 2, 25, 8).sum(axis=1)
        assert_close(actual, summed.swapaxes(0, 1).reshape(25, 16), np.abs(summed).max())


def test_gradients_do_not_depend_on_the_number_of_threads() -> None:
    random = np.random.default_rng(5)
    q, k, v, grad = (random.standard_normal((4, 130, 32)).astype(np.float32) for _ in range(4))
    out, lse = engine.attend(q, k, v, scale=0.2, return_lse=True)
    one, two = (engine.attend_backward(q, k, v, out, lse, grad, scale=0.2, max_threads=n) for n in (1, 2))
    for first, second in zip(one[:3], two[:3], strict=True):
        assert np.array_equal(first, second)


MECHANISMS: dict[str, tuple[Callable[[], ra.Attention], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]] = {
    "scaled dot-product": (
        lambda: ra.ScaledDotProductAttention(dim=5),
        {"query": (2, 4, 5), "keys": (6, 5), "values": (2, 6, 3)},
        {"bias": (6,)},
    ),
    "one query": (lambda: ra.ScaledDotProductAttention(dim=5), {"query": (5,), "keys": (6, 5), "values": (6, 3)}, {}),
    "cosine": (
        lambda: ra.ScaledDotProductAttention(dim=5, normalize=True, temperature=0.5),
        {"query": (4, 5), "keys": (6, 5), "values": (6, 3)},
        {"mask": (4, 6)},
    ),
    "dropout": (
        lambda: ra.ScaledDotProductAttention(dim=5, dropout=0.4, seed=1),
        {"query": (4, 5), "keys": (6, 5), "values": (6, 3)},
        {"bias": (4, 6)},
    ),
    "grouped heads": (
        lambda: ra.MultiHeadAttention(dim=8, num_heads=4, num_kv_heads=2, kdim=5, vdim=3),
        {"query": (2, 4, 8), "keys": (6, 5), "values": (2, 6, 3)},
        {"bias": (2, 4, 6)},
    ),
    "split channels": (
        lambda: ra.MultiHeadAttention(dim=8, num_heads=4, projections=False),
        {"query": (4, 8), "keys": (6, 8), "values": (6, 8)},
        {"mask": (4, 4, 6)},
    ),
    "dropout in heads": (
        lambda: ra.MultiHeadAttention(dim=8, num_heads=2, dropout=0.3, seed=3, normalize=True),
        {"query": (2, 4, 8), "keys": (6, 8), "values": (6, 8)},
        {},
    ),
    "self-attention": (lambda: ra.SelfAttention(dim=8, num_heads=2, causal=True), {"query": (2, 4, 8)}, {}),
    "one head": (lambda: ra.SelfAttention(dim=8, num_heads=1), {"query": (4, 8)}, {"bias": (4, 4)}),
    "cross-attention, keys for values": (
        lambda: ra.CrossAttention(dim=8, num_heads=2, kdim=3),
        {"query": (4, 8), "keys": (5, 3)},
        {},
    ),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_mechanism_moves_its_output_as_its_gradients_say(name: str) -> None:
    """Central differences of the float32 output along every number: 1e-3, the contract for float32 kernels."""
    make, input_shapes, option_shapes = MECHANISMS[name]
    random = np.random.default_rng(7)
    inputs = {key: random.standard_normal(shape).astype(np.float32) for key, shape in input_shapes.items()}
    options = {key: random.standard_normal(shape).astype(np.float32) for key, shape in option_shapes.items()}
    attention = make()
    grad = random.standard_normal(attention(**inputs, **options, training=True).shape)
    gradients = attention.backward(grad)
    changed = {**inputs, **options, **attention.parameters()}
    assert set(gradients) == set(changed)

    def loss() -> float:
        attention.reset()  # the same dropout every time
        return float((attention(**inputs, **options, training=True).astype(np.float64) * grad).sum())

    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for key, array in changed.items():
        assert gradients[key].shape == array.shape
        numeric = central_difference(loss, array, step=5e-3)
        assert np.abs(gradients[key] - numeric).max() <= 1e-3 * largest, key


def test_backward_without_a_training_forward_says_what_to_do() -> None:
    attention = ra.ScaledDotProductAttention(dim=2)
    attention([[1, 0]], [[1, 0]], [[1, 0]])
    with pytest.raises(ra.UnsupportedError, match=r"forward\(\.\.\., training=True\)"):
        attention.backward([[1, 0]])


def test_backward_names_a_gradient_that_does_not_fit() -> None:
    attention = ra.ScaledDotProductAttention(dim=2)
    attention([[1, 0]], [[1, 0]], [[1, 0]], training=True)
    with pytest.raises(ra.DimensionMismatchError, match=r"grad_output is \(1, 3\); expected \(1, 2\)"):
        attention.backward([[1, 0, 0]])
    with pytest.raises(ra.NumericalInstabilityError, match="grad_output"):
        attention.backward([[1, np.nan]])
