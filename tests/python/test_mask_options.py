"""What every softmax mechanism can be told beside its arrays: masks as objects, top_k, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra

Array = npt.NDArray[Any]

N = 70
MASKS: dict[str, ra.AttentionMask] = {
    "window": ra.WindowMask(5),
    "window and globals": ra.WindowMask(5, global_tokens=2),
    "causal": ra.CausalMask(),
    "strided": ra.StridedMask(4, 8),
    "blocks": ra.BlockSparseMask(16, [(0, 0), (1, 3), (2, 2), (4, 0)]),
    "pairs": ra.COOMask([(0, 1), (0, 5), (3, 69), (68, 2)]),
    "dense": ra.DenseMask(np.random.default_rng(0).random((N, N)) < 0.3),
    "combined": ra.WindowMask(9) & ra.StridedMask(2, 3) | ra.BlockSparseMask(32, [(1, 1)]),
}
MECHANISMS: dict[str, Callable[..., ra.Attention]] = {
    "scaled dot-product": lambda **more: ra.ScaledDotProductAttention(dim=12, **more),
    "cosine": lambda **more: ra.FlashAttention(dim=12, normalize=True, temperature=0.1, **more),
    "heads": lambda **more: ra.MultiHeadAttention(dim=12, num_heads=3, num_kv_heads=1, **more),
    "one head": lambda **more: ra.SelfAttention(dim=12, num_heads=1, **more),
}


def arrays(attention: ra.Attention) -> list[Array]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((2, N, 12)).astype(np.float32) for _ in attention.inputs]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("made", MECHANISMS)
def test_a_mask_object_does_what_its_array_does(made: str, kind: str, causal: bool) -> None:
    attention, mask = MECHANISMS[made](), MASKS[kind]
    inputs, dense = arrays(attention), mask.to_dense(N, N)
    expected = attention(*inputs, mask=dense, causal=causal, training=True)
    upstream = np.random.default_rng(2).standard_normal(expected.shape).astype(np.float32)
    of_dense = attention.backward(upstream)
    oracle.assert_close(attention(*inputs, mask=mask, causal=causal), expected, 4e-6)
    attention(*inputs, mask=mask, causal=causal, training=True)
    of_object = attention.backward(upstream)
    assert of_object.keys() == of_dense.keys()
    for name, grad in of_dense.items():
        oracle.assert_close(of_object[name], grad, 2e-5)
    weights: Any = attention.attention_weights  # type: ignore[attr-defined]
    oracle.assert_close(
        weights(*inputs[:2], mask=mask, causal=causal), weights(*inputs[:2], mask=dense, causal=causal), 4e-6
    )


def test_a_mask_of_another_size_is_refused() -> None:
    attention = ra.ScaledDotProductAttention(dim=4)
    x = np.ones((3, 4), np.float32)
    with pytest.raises((ra.OutOfBoundsError, ra.DimensionMismatchError), match=r"DenseMask.allowed is \(5, 5\)"):
        attention(x, x, x, mask=ra.DenseMask(np.ones((5, 5), bool)))


def test_nan_is_found_where_a_mask_object_skips() -> None:
    x = np.ones((N, 4), np.float32)
    bad = x.copy()
    bad[60, 1] = np.nan
    with pytest.raises(ra.NumericalInstabilityError, match=r"keys holds nan at index \(60, 1\)"):
        ra.ScaledDotProductAttention(dim=4)(x, bad, x, mask=ra.BlockSparseMask(16, [(0, 0)]))


@pytest.mark.parametrize("made", ["scaled dot-product", "heads"])
@pytest.mark.parametrize("n_query", [1, 16, 17, 60])
@pytest.mark.parametrize("which", ["keys", "values"])
def test_what_is_hidden_from_all_queries_is_refused_or_left_out(made: str, n_query: int, which: str) -> None:
    """Never half: either the error names it, or the output is that of finite numbers in its place."""
    attention = MECHANISMS[made]()
    rng = np.random.default_rng(2)
    query, keys, values = (rng.standard_normal((n, 12)).astype(np.float32) for n in (n_query, 300, 300))
    spoiled = {"keys": keys.copy(), "values": values.copy()}
    spoiled[which][3, 1] = np.nan
    shown = np.broadcast_to(np.arange(300) > 200, (n_query, 300))
    masks: list[ra.AttentionMask] = [
        ra.WindowMask(4),
        ra.StridedMask(4, 1000),
        ra.DenseMask(shown),
        ra.COOMask([(0, 250), (0, 251)]),
        ra.BlockSparseMask(64, [(0, 3)]),
        ra.WindowMask(9) & ra.CausalMask(),
    ]
    for mask in masks:
        expected = attention(query, keys, values, mask=mask)
        try:
            found = attention(query, spoiled["keys"], spoiled["values"], mask=mask)
        except ra.NumericalInstabilityError as error:
            assert f"{which} holds nan at index (3, 1)" in str(error)
        else:
            assert np.isfinite(found).all()
            oracle.assert_close(found, expected.astype(np.float64))


@pytest.mark.parametrize("made", MECHANISMS)
def test_top_k_of_all_keys_is_plain_attention(made: str) -> None:
    plain, chosen, few = MECHANISMS[made](), MECHANISMS[made](top_k=N), MECHANISMS[made](top_k=4)
    inputs = arrays(plain)
    oracle.assert_close(chosen(*inputs), plain(*inputs), 4e-6)
    weights: Any = few.attention_weights  # type: ignore[attr-defined]
    assert ((weights(*inputs[:2]) > 0).sum(axis=-1) == 4).all()
    everything: Any = plain.attention_weights  # type: ignore[attr-defined]
    full = everything(*inputs[:2]).astype(np.float64)
    kept = np.where(full >= np.sort(full, axis=-1)[..., -4:-3], full, 0)
    oracle.assert_close(weights(*inputs[:2]), kept / kept.sum(axis=-1, keepdims=True), 1e-5)


@pytest.mark.parametrize("made", MECHANISMS)
def test_dropout_is_drawn_anew_and_begins_again_with_reset(made: str) -> None:
    attention = MECHANISMS[made](dropout=0.5)
    inputs = arrays(attention)
    first, second = attention(*inputs, training=True), attention(*inputs, training=True)
    assert (first != second).any()
    attention.reset()
    np.testing.assert_array_equal(attention(*inputs, training=True), first)
    np.testing.assert_array_equal(attention(*inputs), MECHANISMS[made]()(*inputs))
