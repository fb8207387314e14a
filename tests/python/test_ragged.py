"""Ragged batches: with ``key_lengths`` a mechanism gives what it gives when the other keys are not there at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra

Array = npt.NDArray[Any]

DIM, N_QUERY, N_KEY = 12, 5, 9
LENGTHS = np.array([[9, 4, 1], [7, 0, 3]])
RANDOM = np.random.default_rng(0)
QUERY = RANDOM.standard_normal((2, 3, N_QUERY, DIM)).astype(np.float32)
KEYS = RANDOM.standard_normal((2, 3, N_KEY, DIM)).astype(np.float32)
VALUES = RANDOM.standard_normal((2, 3, N_KEY, DIM)).astype(np.float32)
GRAD = RANDOM.standard_normal(QUERY.shape).astype(np.float32)
BIAS = RANDOM.standard_normal((N_QUERY, N_KEY)).astype(np.float32)

MECHANISMS: list[tuple[str, dict[str, Any]]] = [
    ("scaled_dot_product", {}),
    ("flash", {"normalize": True, "scale": 2.0}),
    ("multi_head", {"num_heads": 3}),
    ("multi_head", {"num_heads": 1}),
    ("multi_head", {"num_heads": 4, "num_kv_heads": 2, "projections": True, "normalize": True}),
    ("multi_head", {"num_heads": 3, "projections": False}),
    ("cross_attention", {"num_heads": 2}),
]


@pytest.fixture(params=MECHANISMS, ids=lambda entry: f"{entry[0]}-{'-'.join(entry[1])}")
def attention(request: pytest.FixtureRequest) -> Any:
    name, options = request.param
    return ra.create(name, dim=DIM, seed=3, **options)


def spoiled(array: Array, lengths: Array = LENGTHS, bad: float = np.nan) -> Array:
    """The array with NaN in the rows that are not to be read."""
    return np.where((np.arange(array.shape[-2]) >= lengths[..., None])[..., None], np.float32(bad), array)


@pytest.mark.parametrize("options", [{}, {"bias": BIAS}, {"mask": BIAS > -0.5}], ids=["plain", "bias", "mask"])
def test_unread_keys_are_as_good_as_removed(attention: Any, options: dict[str, Any]) -> None:
    found = attention(QUERY, spoiled(KEYS), spoiled(VALUES, bad=np.inf), key_lengths=LENGTHS, **options)
    weights = attention.attention_weights(QUERY, spoiled(KEYS), key_lengths=LENGTHS, **options)
    for index in np.ndindex(LENGTHS.shape):
        length = int(LENGTHS[index])
        cut = {name: array[:, :length] for name, array in options.items()}
        assert not weights[index][..., length:].any()
        if length == 0:
            empty = np.zeros((N_QUERY, DIM), np.float32)
            assert np.array_equal(found[index], empty)  # a row without keys gives zeros; the maps' biases are 0
            continue
        inputs = QUERY[index], KEYS[index][:length], VALUES[index][:length]
        oracle.assert_close(found[index], attention(*inputs, **cut))
        oracle.assert_close(weights[index][..., :length], attention.attention_weights(*inputs[:2], **cut))


def test_it_equals_the_formula_in_float64() -> None:
    attention = ra.ScaledDotProductAttention(dim=DIM)
    allowed = np.arange(N_KEY) < LENGTHS[..., None, None]
    expected = oracle.attention(QUERY, KEYS, VALUES, mask=np.broadcast_to(allowed, (2, 3, N_QUERY, N_KEY)))
    oracle.assert_close(attention(QUERY, spoiled(KEYS), spoiled(VALUES), key_lengths=LENGTHS), expected[0])
    oracle.assert_close(attention.attention_weights(QUERY, spoiled(KEYS), key_lengths=LENGTHS), expected[1])


def test_causal_counts_positions_over_all_keys() -> None:
    # padding lies behind the keys, and a query stands where it stands without it
    attention = ra.FlashAttention(dim=DIM, causal=True)
    allowed = (np.arange(N_KEY) < LENGTHS[..., None, None]) & (
        np.arange(N_KEY) <= np.arange(N_QUERY)[:, None] + N_KEY - N_QUERY
    )
    expected = oracle.attention(QUERY, KEYS, VALUES, mask=allowed)[0]
    oracle.assert_close(attention(QUERY, spoiled(KEYS), spoiled(VALUES), key_lengths=LENGTHS), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_without_the_keys_and_zero_for_them(attention: Any, dropout: float) -> None:
    name, settings = attention.name, {**attention.get_config(), "dropout": dropout}
    trained = ra.create(name, **{key: value for key, value in settings.items() if key != "type"})
    trained(QUERY, spoiled(KEYS), spoiled(VALUES), key_lengths=LENGTHS, training=True, bias=BIAS)
    found = trained.backward(GRAD)
    # the same dropout is drawn for the same shape of weights: a mask removes the keys there
    trained.reset()
    allowed = np.broadcast_to(np.arange(N_KEY) < LENGTHS[..., None, None], (2, 3, 1, N_KEY))
    trained(QUERY, KEYS, VALUES, mask=allowed, training=True, bias=BIAS)
    expected = trained.backward(GRAD)
    assert set(found) == set(expected)
    for key, array in found.items():
        oracle.assert_close(array, expected[key], tolerance=1e-5)
    for key in ("keys", "values"):
        if key in found:
            assert not found[key][np.arange(N_KEY) >= LENGTHS[..., None]].any()


def test_gradients_of_one_item_are_those_of_the_item_alone() -> None:
    attention = ra.MultiHeadAttention(dim=DIM, num_heads=3)
    attention(QUERY[0], spoiled(KEYS)[0], spoiled(VALUES)[0], key_lengths=LENGTHS[0], training=True)
    found = attention.backward(GRAD[0])
    total: dict[str, Array] = {}
    for item, length in enumerate(LENGTHS[0]):
        attention(QUERY[0, item], KEYS[0, item, :length], VALUES[0, item, :length], training=True)
        one = attention.backward(GRAD[0, item])
        oracle.assert_close(found["query"][item], one["query"], tolerance=1e-5)
        oracle.assert_close(found["keys"][item, :length], one["keys"], tolerance=1e-5)
        oracle.assert_close(found["values"][item, :length], one["values"], tolerance=1e-5)
        for name, array in one.items():
            if name.endswith(("weight", "bias")):
                total[name] = total.get(name, 0) + array
    for name, array in total.items():
        oracle.assert_close(found[name], array, tolerance=1e-5)


def test_self_attention_leaves_padding_unread_as_keys() -> None:
    attention = ra.SelfAttention(dim=DIM, num_heads=3)
    tokens = KEYS[0]
    lengths = np.maximum(LENGTHS[0], 1)
    found = attention(tokens, key_lengths=lengths)
    weights = attention.attention_weights(tokens, key_lengths=lengths)
    for item, length in enumerate(lengths):
        oracle.assert_close(found[item, :length], attention(tokens[item, :length]))
        assert not weights[item, ..., length:].any()
    attention(tokens, key_lengths=lengths, training=True)
    gradients = attention.backward(np.where((np.arange(N_KEY) < lengths[:, None])[..., None], KEYS[1], 0))
    for item, length in enumerate(lengths):
        assert not gradients["query"][item, length:].any()
    with pytest.raises(ra.NumericalInstabilityError, match=r"query holds nan at index \(1, 4, 0\)"):
        attention(spoiled(tokens, lengths), key_lengths=lengths)  # a row of padding is a query all the same


@pytest.mark.parametrize("lead", [(), (1,)])
def test_keys_shared_by_the_batch_are_read_up_to_the_longest(lead: tuple[int, ...]) -> None:
    attention = ra.MultiHeadAttention(dim=DIM, num_heads=3)
    keys, values = KEYS[0, 0].copy(), VALUES[0, 0].copy()
    keys[7:], values[7:] = np.nan, np.nan
    lengths = np.array([7, 2, 5])
    shared = keys.reshape(*lead, N_KEY, DIM), values.reshape(*lead, N_KEY, DIM)
    found = attention(QUERY[0], *shared, key_lengths=lengths, training=True)
    for item, length in enumerate(lengths):
        oracle.assert_close(found[item], attention(QUERY[0, item], keys[:length], values[:length]))
    assert all(np.isfinite(array).all() for array in attention.backward(GRAD[0]).values())


def test_one_length_holds_for_all_items_and_for_a_single_matrix() -> None:
    attention = ra.FlashAttention(dim=DIM)
    oracle.assert_close(
        attention(QUERY, KEYS, VALUES, key_lengths=4), attention(QUERY, KEYS[..., :4, :], VALUES[..., :4, :])
    )
    q, k, v = QUERY[0, 0], KEYS[0, 0], VALUES[0, 0]
    oracle.assert_close(attention(q, k, v, key_lengths=np.int32(4)), attention(q, k[:4], v[:4]))
    oracle.assert_close(attention(q[0], k, v, key_lengths=4), attention(q[0], k[:4], v[:4]))
    per_row = np.array([[5], [3]])
    oracle.assert_close(
        attention(QUERY, KEYS, VALUES, key_lengths=per_row),
        attention(QUERY, KEYS, VALUES, key_lengths=np.broadcast_to(per_row, (2, 3))),
    )


def test_head_output_leaves_them_unread_too() -> None:
    attention = ra.MultiHeadAttention(dim=DIM, num_heads=3)
    found = attention.head_output(1, QUERY[0], spoiled(KEYS)[0], spoiled(VALUES)[0], key_lengths=LENGTHS[0])
    for item, length in enumerate(LENGTHS[0]):
        expected = attention.head_output(1, QUERY[0, item], KEYS[0, item, :length], VALUES[0, item, :length])
        oracle.assert_close(found[item], expected)


@pytest.mark.parametrize("training", [False, True])
def test_a_number_that_is_read_is_named_and_not_one_that_is_not(attention: Any, training: bool) -> None:
    for name in ("keys", "values"):
        arrays = {"keys": spoiled(KEYS), "values": spoiled(VALUES)}
        arrays[name][1, 2, 2, 5] = np.nan  # behind other NaNs, which nobody reads
        with pytest.raises(ra.NumericalInstabilityError, match=rf"{name} holds nan at index \(1, 2, 2, 5\)"):
            attention(QUERY, **arrays, key_lengths=LENGTHS, training=training)


def test_an_overflow_beside_unread_numbers_is_told_as_such() -> None:
    attention = ra.FlashAttention(dim=DIM)
    with pytest.raises(ra.NumericalInstabilityError, match="the result overflows float32"):
        attention(QUERY * 1e30, spoiled(KEYS * 1e30), spoiled(VALUES), key_lengths=LENGTHS)


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([1, 2, 3], ra.OutOfBoundsError, "never"),
        (LENGTHS + 1, ra.OutOfBoundsError, r"key_lengths holds 10 at index \(0, 0\); expected 0 to n_key = 9"),
        (LENGTHS - 1, ra.OutOfBoundsError, r"key_lengths holds -1 at index \(1, 1\)"),
        (2**63 + 1, ra.OutOfBoundsError, "key_lengths is 9223372036854775809; expected 0"),
        (LENGTHS[:, :2], ra.DimensionMismatchError, r"key_lengths is \(2, 2\); expected \(2, 3\)"),
        (LENGTHS[None], ra.DimensionMismatchError, r"key_lengths is \(1, 2, 3\); expected \(2, 3\)"),
        (LENGTHS * 1.0, ra.UnsupportedError, "key_lengths is an array of float64; expected integers"),
        (LENGTHS > 0, ra.UnsupportedError, "key_lengths is an array of bool"),
        ("all", ra.UnsupportedError, "key_lengths is a str"),
        ([[1, 2], [3]], ra.DimensionMismatchError, "key_lengths is a ragged list"),
    ],
)  # fmt: skip
def test_lengths_that_cannot_be_are_named(attention: Any, lengths: Any, error: type[Exception], words: str) -> None:
    if words == "never":  # (3,) broadcasts to (2, 3)
        assert attention(QUERY, KEYS, VALUES, key_lengths=lengths).shape == QUERY.shape
        return
    with pytest.raises(error, match=words):
        attention(QUERY, KEYS, VALUES, key_lengths=lengths)
    with pytest.raises(error, match=words):
        attention.attention_weights(QUERY, KEYS, key_lengths=lengths)
