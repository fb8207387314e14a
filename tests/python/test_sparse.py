"""Attention over CSR rows: the same numbers as the dense call with the edges as its mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import engine
from ruvector_attention.sparse import Edges, attend_sparse, attend_sparse_backward

Array = npt.NDArray[Any]


def edges_of(mask: npt.NDArray[np.bool_]) -> Edges:
    counts = mask.sum(axis=1)
    return Edges.checked(np.concatenate([[0], np.cumsum(counts)]), np.nonzero(mask)[1], *mask.shape)


def dense64(q: Array, k: Array, v: Array, grad: Array, scale: float, addend: Array) -> tuple[Array, ...]:
    """The output, and the gradients of q, k, v and the addend, for arrays (..., n, d) in float64."""
    scores = scale * q @ k.swapaxes(-1, -2) + addend
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exponentials.sum(axis=-1, keepdims=True)
    weights = exponentials / np.where(total == 0, 1, total)
    of_weights = grad @ v.swapaxes(-1, -2)
    of_scores = weights * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True))
    of_keys = scale * of_scores.swapaxes(-1, -2) @ q
    return weights @ v, scale * of_scores @ k, of_keys, weights.swapaxes(-1, -2) @ grad, of_scores


@pytest.mark.parametrize(("n_query", "n_key", "share"), [(1, 1, 1.0), (5, 9, 0.4), (50, 40, 0.1), (200, 300, 0.7)])
@pytest.mark.parametrize("dims", [(1, 1), (5, 3), (16, 16), (33, 20), (64, 64)])
@pytest.mark.parametrize("heads", [(1, 1), (4, 2)])
def test_edges_equal_a_mask(
    n_query: int, n_key: int, share: float, dims: tuple[int, int], heads: tuple[int, int]
) -> None:
    random = np.random.default_rng(n_query)
    (dim, dim_value), (h, kv) = dims, heads
    mask = random.random((n_query, n_key)) <= share
    mask[-1] = n_query == 1  # a query without edges, unless it is the only one
    edges = edges_of(mask)
    bias = random.standard_normal(edges.indices.size).astype(np.float32)
    q, k, v, grad = (
        random.standard_normal((2, n, width)).astype(np.float32)
        for n, width in ((n_query, h * dim), (n_key, kv * dim), (n_key, kv * dim_value), (n_query, h * dim_value))
    )
    options: dict[str, Any] = {"scale": 0.4, "bias": bias, "num_heads": h, "num_kv_heads": kv}
    out, lse = attend_sparse(q, k, v, edges, return_lse=True, **options)
    found = attend_sparse_backward(q, k, v, edges, out, lse, grad, **options)

    addend = np.full((n_query, n_key), -np.inf)
    addend[mask] = bias

    def split(array: Array, groups: int) -> Any:
        parts = array.astype(np.float64).reshape(2, array.shape[1], groups, -1).swapaxes(1, 2)
        return np.repeat(parts, h // groups, axis=1)

    expected = dense64(split(q, h), split(k, kv), split(v, kv), split(grad, h), 0.4, addend)

    def joined(array: Array, groups: int) -> Array:
        n, width = array.shape[-2:]
        grouped: Array = array.reshape(2, groups, h // groups, n, width).sum(axis=2)
        return grouped.swapaxes(1, 2).reshape(2, n, groups * width)

    assert np.abs(out - joined(expected[0], h)).max() <= 2e-6 * (1 + np.abs(expected[0]).max())
    size = max(np.abs(gradient).max() for gradient in expected[1:4])
    wanted = (joined(expected[1], h), joined(expected[2], kv), joined(expected[3], kv))
    for actual, gradient in zip(found[:3], wanted, strict=True):
        assert np.abs(actual - gradient).max() <= 2e-5 * size
    assert found.bias is not None
    assert np.abs(found.bias - expected[4].sum(axis=(0, 1))[mask]).max() <= 2e-5 * h * size


def test_edges_equal_the_dense_engine_with_shared_keys() -> None:
    random = np.random.default_rng(1)
    mask = random.random((30, 40)) < 0.3
    q = random.standard_normal((3, 30, 8)).astype(np.float32)
    k, v = (random.standard_normal((40, 8)).astype(np.float32) for _ in range(2))
    dense = engine.attend(q, k, v, scale=0.3, mask=mask)
    assert np.abs(attend_sparse(q, k, v, edges_of(mask), scale=0.3) - dense).max() <= 2e-6 * (1 + np.abs(dense).max())


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [([0, 1], [0]), ([0, 2, 1], [0]), ([1, 1, 1], [0]), ([0, 1, 3], [0, 1]), ([0, 1, 2], [0, 5]), ([0, 1, 2], [-1, 0])],
)
def test_lists_that_do_not_fit_are_refused(indptr: list[int], indices: list[int]) -> None:
    with pytest.raises(ra.OutOfBoundsError, match=r"indptr|indices"):
        Edges.checked(indptr, indices, n_query=2, n_key=5)


def test_a_nan_among_the_keys_of_an_edge_is_named() -> None:
    keys = np.ones((4, 3), np.float32)
    keys[2, 1] = np.nan
    edges = Edges.checked([0, 2], [1, 2], 1, 4)
    with pytest.raises(ra.NumericalInstabilityError, match=r"keys holds nan at index \(2, 1\)"):
        attend_sparse(np.ones((1, 3), np.float32), keys, np.ones((4, 3), np.float32), edges, scale=1.0)
