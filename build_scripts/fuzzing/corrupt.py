"""Arguments that no call should take: each with the errors that may come for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import ruvector_attention as ra

UNSUPPORTED, MISMATCH = ra.UnsupportedError, ra.DimensionMismatchError
UNSTABLE, OUTSIDE, EMPTY = ra.NumericalInstabilityError, ra.OutOfBoundsError, ra.EmptyInputError
Errors = type[ra.AttentionError] | tuple[type[ra.AttentionError], ...]


class Bad(NamedTuple):
    """An argument in the place of a good one."""

    value: Any
    errors: Errors
    says: str


NOT_NUMBERS: tuple[Bad, ...] = (
    Bad("text", UNSUPPORTED, "a string"),
    Bad(b"bytes", UNSUPPORTED, "bytes"),
    Bad({"a": 1}, UNSUPPORTED, "a dict"),
    Bad({1.0, 2.0}, UNSUPPORTED, "a set"),
    Bad(object(), UNSUPPORTED, "an object"),
    Bad(np.array([["1", "2"]]), UNSUPPORTED, "strings"),
    Bad(np.array([[1, None]], object), UNSUPPORTED, "objects"),
    Bad(np.ones((2, 2), complex), UNSUPPORTED, "complex numbers"),
    Bad(np.zeros((2, 2), "datetime64[s]"), UNSUPPORTED, "dates"),
    Bad(np.zeros((2, 2), [("a", "f4")]), UNSUPPORTED, "records"),
    Bad(np.ma.ones((2, 2)), UNSUPPORTED, "a masked array"),
    Bad([[1.0, 2.0], [3.0]], MISMATCH, "a ragged list"),
    Bad([[1.0], "x"], (UNSUPPORTED, MISMATCH), "a mixed list"),
)


def numbers(good: Any) -> Iterator[Bad]:
    """In the place of float rows (..., n, channels)."""
    yield from NOT_NUMBERS
    array = np.array(good, np.float32)
    yield Bad(array > 0, UNSUPPORTED, "booleans")
    for wrong in (np.nan, np.inf, -np.inf):
        broken = array.copy()
        broken.flat[broken.size // 2] = wrong
        yield Bad(broken, UNSTABLE, f"{wrong}")
    yield Bad(np.full(array.shape, 1e300), UNSTABLE, "numbers beyond float32")
    yield Bad(np.float32(1), MISMATCH, "a single number")
    yield Bad(array[..., :0, :] if array.ndim > 1 else array[:0], (EMPTY, MISMATCH), "no rows")
    yield Bad(array[..., :0], (EMPTY, MISMATCH), "no channels")
    yield Bad(np.zeros((3, 0, *array.shape), np.float32), (EMPTY, MISMATCH), "no items")


def fixed_numbers(good: Any) -> Iterator[Bad]:
    """In the place of float rows whose channels are fixed."""
    array = np.array(good, np.float32)
    yield Bad(np.ones((*array.shape[:-1], array.shape[-1] + 1), np.float32), MISMATCH, "a channel too many")


def nodes_of_edges(good: Any, n_node: int) -> Iterator[Bad]:
    """In the place of an edge_index (2, n_edges)."""
    array = np.array(good, np.int64)
    yield from (
        bad for bad in NOT_NUMBERS if bad.says not in ("strings", "objects", "complex numbers", "dates", "records")
    )
    for wrong in (-1, n_node, 2**40, -(2**63)):
        broken = array.copy()
        broken[1, -1] = wrong
        yield Bad(broken, OUTSIDE, f"node {wrong}")
    for number in (0.5, np.nan, np.inf, 1e30):
        halves = array.astype(np.float64)
        halves[0, 0] = number
        yield Bad(halves, (UNSUPPORTED, OUTSIDE), f"node {number}")
    yield Bad(array.astype(np.uint64) + np.uint64(2**63), OUTSIDE, "nodes beyond int64")
    yield Bad(np.ones((3, 5), np.int64), MISMATCH, "three rows")
    yield Bad(np.zeros(4, np.int64), MISMATCH, "a flat list")
    yield Bad(np.zeros((2, 3, 4), np.int64), MISMATCH, "three axes")
    yield Bad(array.astype(complex), UNSUPPORTED, "complex numbers")
    yield Bad(array.astype(str), UNSUPPORTED, "strings")
    yield Bad(array.astype(object), UNSUPPORTED, "objects")
    yield Bad(array > 0, UNSUPPORTED, "booleans")
    yield Bad(ra.Graph([(0, 0)], n_node + 1), MISMATCH, "a graph of more nodes")


def levels(good: Any) -> Iterator[Bad]:
    array = np.array(good, np.int64)
    yield from NOT_NUMBERS
    yield Bad(array.astype(float), UNSUPPORTED, "floats")
    yield Bad(array[:-1], (MISMATCH, EMPTY), "one too few")
    yield Bad(-1 - array, OUTSIDE, "negative numbers")


def option(name: str, score_shape: tuple[int, ...]) -> Iterator[Bad]:
    """In the place of the option of that name, where scores are (*lead, n_query, n_key)."""
    lead, (n_query, n_key) = score_shape[:-2], score_shape[-2:]
    wrong_shape = np.ones((n_query + 1, n_key + 1))
    if name in ("mask", "bias"):
        yield from NOT_NUMBERS
        broken = np.zeros((n_query, n_key))
        for wrong in (np.nan, np.inf):
            broken[-1, -1] = wrong
            yield Bad(broken.copy(), UNSTABLE, f"{wrong}")
        yield Bad(wrong_shape, MISMATCH, "a wrong shape")
        yield Bad(np.broadcast_to(1.0, (9, 9, 9, *score_shape)), MISMATCH, "too many axes")
        yield Bad(np.ones((0, n_key)), EMPTY, "no rows")
        yield Bad(np.float32(1), MISMATCH, "a single number")
    if name == "mask":
        yield Bad(np.ones((n_query, n_key), int), UNSUPPORTED, "integers")
        # some mechanisms take few kinds of objects, and say that first
        yield Bad(ra.DenseMask(wrong_shape > 0), (MISMATCH, UNSUPPORTED), "a dense mask of another shape")
        yield Bad(ra.COOMask([(n_query, 0)]), (OUTSIDE, UNSUPPORTED), "a pair of no query")
        yield Bad(ra.COOMask([(0, n_key)]), (OUTSIDE, UNSUPPORTED), "a pair of no key")
        yield Bad(ra.CSRMask([0] * (n_query + 2), []), (MISMATCH, UNSUPPORTED), "rows of more queries")
        yield Bad(ra.BlockSparseMask(1, [(0, n_key)]), (OUTSIDE, UNSUPPORTED), "a block of no key")
    if name == "bias":
        yield Bad(wrong_shape > 0, UNSUPPORTED, "booleans")
    if name == "key_lengths":
        yield from NOT_NUMBERS
        yield Bad(-1, OUTSIDE, "-1")
        yield Bad(n_key + 1, OUTSIDE, "one too many")
        yield Bad(2.0, UNSUPPORTED, "a float")
        yield Bad(True, UNSUPPORTED, "a boolean")
        yield Bad([1] * 7, MISMATCH, "a wrong shape")
        yield Bad(np.full((*lead, 2, 2, 2), 1), MISMATCH, "too many axes")
    if name in ("causal", "training", "check_finite"):
        for word in ("False", 1.5, [True], np.ones(2), 2):
            yield Bad(word, UNSUPPORTED, repr(word))
    if name == "position":
        yield from NOT_NUMBERS
        yield Bad(-1, OUTSIDE, "-1")
        yield Bad(n_key, OUTSIDE, "one too many")
        yield Bad(0.5, UNSUPPORTED, "a float")
        yield Bad(np.zeros(n_query + 1, int), MISMATCH, "one too many")
    if name in ("query_times", "key_times", "query_positions", "key_positions"):
        count = n_query if name.startswith("query") else n_key
        yield from NOT_NUMBERS
        for wrong in (np.nan, np.inf):
            yield Bad([wrong] * count, UNSTABLE, f"{wrong}")
        yield Bad(np.zeros(count + 1), MISMATCH, "one too many")
        yield Bad(np.zeros((9, 9, count)), MISMATCH, "too many axes")
    if name in ("query_times", "key_times"):
        count = n_query if name.startswith("query") else n_key
        if count > 1:
            yield Bad(-np.arange(count), OUTSIDE, "times out of order")
        yield Bad(1.0, MISMATCH, "a single number")
    if name == "layers":
        yield from NOT_NUMBERS
        yield Bad(np.full(n_key, -1), OUTSIDE, "-1")
        yield Bad(np.full(n_key, 2**40), OUTSIDE, "no such layer")
        yield Bad(np.zeros(n_key), UNSUPPORTED, "floats")
        yield Bad(np.zeros(n_key + 1, int), MISMATCH, "one too many")
        yield Bad(np.zeros((7, 5, 3, n_key), int), MISMATCH, "too many axes")
    if name == "level_weights":
        yield from (bad for bad in NOT_NUMBERS)
        yield Bad([-1.0] * 4, (OUTSIDE, ra.InvalidConfigError), "negative numbers")
        yield Bad([0.0] * 4, (OUTSIDE, ra.InvalidConfigError), "zeros")
        yield Bad([np.nan] * 4, UNSTABLE, "nan")
        yield Bad(np.ones((2, 4)), MISMATCH, "two axes")
        yield Bad([], (MISMATCH, EMPTY), "none")
    if name == "edge_index":
        yield from NOT_NUMBERS
        yield Bad([[0], [n_query]], OUTSIDE, "no such query")
        yield Bad([[n_key], [0]], OUTSIDE, "no such key")
        yield Bad([[-1], [0]], OUTSIDE, "-1")
        yield Bad([[0.5], [0]], UNSUPPORTED, "half a key")
        yield Bad(np.zeros((3, 4), int), MISMATCH, "three rows")
