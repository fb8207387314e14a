"""HierarchicalAttention against its formula in float64."""

from __future__ import annotations

from typing import Any

import graph_oracle
import numpy as np
import numpy.typing as npt
import oracle
import pytest

import ruvector_attention as ra

Array = npt.NDArray[Any]
LEVELS = np.array([2, 0, 0, 2, 4, 2, 0, 4])


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def made(**settings: Any) -> ra.HierarchicalAttention:
    attention = ra.HierarchicalAttention(dim=5, temperature=0.7, **settings)
    for name in ("item_bias", "summary_bias"):
        attention.parameters()[name][:] = normal(5, seed=len(name))
    return attention


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max())
    weights: Array = exponentials / exponentials.sum()
    return weights


def expected(p: dict[str, Array], items: Array, level_weights: Array | None = None) -> tuple[Array, Array]:
    """(output, weights of the items) of one matrix of items."""

    def scores(name: str, x: Array) -> Array:
        found: Array = np.tanh(x @ p[f"{name}_weight"] + p[f"{name}_bias"]) @ p[f"{name}_context"] / 0.7
        return found

    present = np.unique(LEVELS)
    weights, summaries = np.zeros(len(items)), []
    for level in present:
        own = level == LEVELS
        weights[own] = softmax(scores("item", items[own]))
        summaries.append(weights[own] @ items[own])
    rows = np.stack(summaries)
    of_levels = softmax(scores("summary", rows))
    if level_weights is not None:
        of_levels = level_weights[present] / level_weights[present].sum()
    return of_levels @ rows, weights * of_levels[np.searchsorted(present, LEVELS)]


@pytest.mark.parametrize("given", [None, np.array([1.0, 9.0, 2.0, 0.0, 3.0])])
def test_outputs_weights_and_gradients_are_the_formula(given: Array | None) -> None:
    attention, items = made(), normal(2, 8, 5)
    p = {name: array.astype(np.float64) for name, array in attention.parameters().items()}
    output = attention(items, LEVELS, level_weights=given, training=True)
    weights = attention.attention_weights(items, LEVELS, level_weights=given)
    for index in range(2):
        out, of_items = expected(p, items[index].astype(np.float64), given)
        oracle.assert_close(output[index], out)
        oracle.assert_close(weights[index], of_items)
    upstream = normal(2, 5, seed=4)
    found = attention.backward(upstream)

    def loss(at: dict[str, Array]) -> float:
        return float(sum(expected(at, at["items"][i], given)[0] @ upstream[i] for i in range(2)))

    graph_oracle.assert_gradients(found, graph_oracle.gradients(loss, {"items": items, **attention.parameters()}))


def test_compute_takes_ragged_levels() -> None:
    attention, items = made(), normal(8, 5)
    parts = [items[level == LEVELS] for level in range(5)]
    order = np.argsort(LEVELS, kind="stable")
    found = attention.compute(parts)
    oracle.assert_close(found["values"], attention(items, LEVELS), 1e-6)
    assert [len(weights) for weights in found["weights"]] == [len(part) for part in parts]
    oracle.assert_close(np.concatenate(found["weights"]), attention.attention_weights(items, LEVELS)[order], 1e-6)
    assert found["metadata"] == {"num_levels": 5, "has_level_weights": False, "attention_type": "hierarchical"}
    listed = attention.compute([part.tolist() for part in parts], [1, 2, 3, 4, 5])
    oracle.assert_close(listed["values"], attention(items, LEVELS, level_weights=[1, 2, 3, 4, 5]), 1e-6)
    with pytest.raises(ra.EmptyInputError, match="hierarchical_features holds no item"):
        attention.compute([[], []])
    with pytest.raises(ra.DimensionMismatchError, match=r"level 1 is \(1, 4\)"):
        attention.compute([np.ones((2, 5)), np.ones((1, 4))])


def test_numbers_of_levels_may_have_gaps() -> None:
    attention, items = made(), normal(8, 5)
    assert np.array_equal(attention(items, LEVELS * 1000), attention(items, LEVELS))


@pytest.mark.parametrize(
    ("levels", "level_weights", "error", "sentence"),
    [
        ([0] * 7, None, ra.DimensionMismatchError, r"levels is \(7,\); expected \(n_item,\) with n_item = 8"),
        ([0.0] * 8, None, ra.UnsupportedError, "levels is an array of float64"),
        ([-1] * 8, None, ra.OutOfBoundsError, "levels holds -1; expected at least 0"),
        (LEVELS, [1, 1], ra.DimensionMismatchError, r"level_weights is \(2,\); expected .* n_level = 5"),
        (LEVELS, [1, 1, -1, 1, 1], ra.OutOfBoundsError, "level_weights holds a negative number"),
        (LEVELS, [0, 1, 0, 1, 0], ra.OutOfBoundsError, "nothing but 0"),
        (LEVELS, [np.nan] * 5, ra.NumericalInstabilityError, "level_weights holds nan"),
    ],
)
def test_levels_that_do_not_fit_are_refused(
    levels: Any, level_weights: Any, error: type[ra.AttentionError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        made()(normal(8, 5), levels, level_weights=level_weights)
