"""Attention to the highest scores in one kernel, under every backend, against float64: choose, softmax, sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import kernels
from ruvector_attention.scoring import Space, as_arrays

Array = npt.NDArray[Any]
EVERYWHERE = 2**31 - 1


@pytest.fixture(params=[*kernels.backends()], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.backend()
    kernels.use_backend(request.param)
    yield request.param
    kernels.use_backend(before)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


class Call:
    """One of the kernel: queries (batch, n, heads * dim), keys and values of kv_heads."""

    def __init__(self, query: Array, keys: Array, values: Array | None, top_k: int, heads: int = 1, kv_heads: int = 1):
        self.query, self.keys, self.values, self.top_k = query, keys, values, top_k
        self.batch, self.n_query, channels = query.shape
        self.n_key, self.heads, self.kv_heads, self.dim = keys.shape[1], heads, kv_heads, channels // heads
        self.dim_value = 0 if values is None else values.shape[2] // kv_heads
        self.mask: Array | None = None  # (batch, heads, n_query, n_key)
        self.bias: Array | None = None
        self.key_lengths: Array | None = None
        self.ahead = EVERYWHERE
        self.spaces: tuple[Space, ...] = ()
        self.times: tuple[Array, Array] | None = None  # both (batch, n)

    def run(self, *, blocks: tuple[int, int] | None = None, outputs: tuple[bool, bool] = (True, True)) -> Any:
        """Its status, the output and the weights."""
        n_query, n_key, heads, kv_heads, dim = self.n_query, self.n_key, self.heads, self.kv_heads, self.dim
        out = np.full((self.batch, n_query, heads * self.dim_value), np.nan, np.float32) if outputs[0] else None
        weights = np.full((self.batch, heads, n_query, n_key), np.nan, np.float32) if outputs[1] else None
        segments, spaces = as_arrays(self.spaces) if self.spaces else (None, None)
        count = len(self.spaces)
        aux: list[Array | None] = [None, None]
        if count:
            for i, x in enumerate((self.query, self.keys)):
                aux[i] = np.zeros((*x.shape[:2], x.shape[2] // dim * count), np.float32)
                kernels.active.space_aux(x, segments, spaces, aux[i], x.size // dim, dim, count)
        pairs = [0 if a is None else heads * n_query * n_key for a in (self.mask, self.bias)]
        steps = [(s, s // heads, n_key if s else 0, 1 if s else 0) for s in pairs]
        start, stop = blocks or (0, self.batch * heads * -(-n_query // 192))
        dim_value = self.dim_value
        numbers = (
            self.batch, heads, kv_heads, n_query, n_key, dim,
            n_query * heads * dim, dim, heads * dim, n_key * kv_heads * dim, dim, kv_heads * dim,
            *steps[0], *steps[1], EVERYWHERE, self.ahead, 0, start, stop,
            dim_value, n_key * kv_heads * dim_value, dim_value, kv_heads * dim_value,
            n_query * heads * dim_value, dim_value, heads * dim_value,
            0, 0, 0, count, n_query * heads * count, count, heads * count, n_key * kv_heads * count, count,
            kv_heads * count, n_query, n_key, 0, 0, self.top_k, 0.7, 1.5 if self.times else 0.0, 0.3, 0.0,
        )  # fmt: skip
        buffers = (
            self.query, self.keys, self.mask, self.bias, self.key_lengths, None, None, None, segments, spaces,
            *aux, *(self.times or (None, None)), self.values, out, weights,
        )  # fmt: skip
        return kernels.active.attention_best(*buffers, *numbers), out, weights

    def expected(self) -> tuple[Array, Array]:
        """The output and the weights in float64, from the definition."""
        q = self.query.reshape(self.batch, self.n_query, self.heads, self.dim).astype(np.float64)
        group = self.heads // self.kv_heads
        k, v = (
            np.repeat(x.reshape(self.batch, self.n_key, self.kv_heads, -1), group, axis=2).astype(np.float64)
            for x in (self.keys, np.zeros((self.batch, self.n_key, 0)) if self.values is None else self.values)
        )
        if self.spaces:
            (space,) = self.spaces
            c = space.curvature
            square = ((q[:, :, None] - k[:, None]) ** 2).sum(axis=-1)
            room = [1 - c * (x**2).sum(axis=-1) for x in (q, k)]
            distance = np.arccosh(1 + 2 * c * square / (room[0][:, :, None] * room[1][:, None]))
            scores = -0.7 * space.weight * np.moveaxis(distance, -1, 1) / np.sqrt(c)
        else:
            scores = 0.7 * np.einsum("bqhd,bkhd->bhqk", q, k)
        if self.times:
            gaps = np.abs(self.times[0][:, :, None] - self.times[1][:, None])
            scores += 1.5 * np.exp(-0.3 * gaps)[:, None]
        if self.bias is not None:
            scores += self.bias
        seen = np.ones(scores.shape, bool)
        if self.mask is not None:
            seen &= self.mask
        if self.key_lengths is not None:
            seen &= (np.arange(self.n_key) < self.key_lengths[:, None])[:, None, None]
        if self.ahead < EVERYWHERE:
            at = np.arange(self.n_query)[:, None] + self.n_key - self.n_query
            seen &= np.arange(self.n_key) <= at + self.ahead
        weights = np.zeros(scores.shape)
        for index in np.ndindex(*scores.shape[:3]):
            may = [j for j in range(self.n_key) if seen[index][j] and scores[index][j] > -np.inf]
            best = sorted(may, key=lambda j, row=scores[index]: (-row[j], j))[: self.top_k]  # type: ignore[misc]
            powers = np.exp(scores[index][best] - scores[index][best].max(initial=-np.inf))
            weights[index][best] = powers / powers.sum()
        out = np.einsum("bhqk,bkhc->bqhc", weights, v)
        return out.reshape(self.batch, self.n_query, -1), weights

    def check(self) -> None:
        status, out, weights = self.run()
        assert status == kernels.OK
        of_values, of_scores = self.expected()
        assert np.array_equal(weights > 0, of_scores > 0)
        assert np.abs(weights - of_scores).max() <= 4e-6
        assert np.abs(out - of_values).max() <= 4e-6 * (1 + np.abs(of_values).max())
        for outputs, own in (((True, False), out), ((False, True), weights)):
            again = self.run(outputs=outputs)
            assert again[0] == kernels.OK
            assert np.array_equal(again[1] if outputs[0] else again[2], own)


@pytest.mark.parametrize("top_k", [1, 5, 40, 1000])
@pytest.mark.parametrize(("n_query", "n_key", "dim"), [(1, 9, 8), (5, 300, 33), (17, 40, 1), (200, 50, 16)])
def test_the_highest_scores_alone_count(n_query: int, n_key: int, dim: int, top_k: int) -> None:
    call = Call(normal(2, n_query, dim), normal(2, n_key, dim, seed=1), normal(2, n_key, 7, seed=2), top_k)
    call.check()


def many(n_query: int = 30, n_key: int = 70) -> Call:
    query, keys = normal(2, n_query, 24), normal(2, n_key, 12, seed=1) / np.float32(4)
    return Call(query / np.float32(4), keys, normal(2, n_key, 10, seed=2), 6, heads=4, kv_heads=2)


def test_heads_choose_within_masks_biases_lengths_and_causally() -> None:
    call = many()
    random = np.random.default_rng(5)
    call.mask = random.random((2, 4, 30, 70)) < 0.2
    call.mask[0, 1, 3] = False
    call.bias = normal(2, 4, 30, 70, seed=6)
    call.bias[1, 2, :, ::2] = -np.inf
    call.check()
    call.key_lengths = np.array([70, 4])
    call.check()
    assert not call.run()[1][0, 3, 5:10].any()
    call.key_lengths, call.ahead = None, 0
    call.check()
    call.key_lengths = np.array([0, 70])
    call.check()
    assert not call.run()[1][0].any()


def test_distances_and_gaps_in_time_choose_as_well() -> None:
    call = many()
    call.spaces = (Space("poincare", 0, 6, 0.8, 0.02),)
    call.check()
    call.spaces = ()
    call.times = np.sort(normal(2, 30, seed=8).astype(np.float64)), np.sort(normal(2, 70, seed=9).astype(np.float64))
    call.check()


def test_tasks_are_blocks_of_queries_of_one_head() -> None:
    call = many(n_query=200)
    _, out, weights = call.run()
    total, of_weights = np.full_like(out, np.nan), np.full_like(weights, np.nan)
    for first in range(0, 16, 3):
        status, part, rows = call.run(blocks=(first, min(first + 3, 16)))
        assert status == kernels.OK
        total, of_weights = (np.where(np.isnan(x), y, x) for x, y in ((total, part), (of_weights, rows)))
    assert np.array_equal(total, out)
    assert np.array_equal(of_weights, weights)


def test_of_equal_scores_the_first_keys_are_taken() -> None:
    keys = np.ones((1, 9, 4), np.float32)
    _, _, weights = Call(np.ones((1, 3, 4), np.float32), keys, keys, 2).run()
    assert np.array_equal(weights[0, 0], np.tile([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], (3, 1)).astype(np.float32))


def test_large_scores_keep_their_weights() -> None:
    query, keys = normal(1, 3, 8) * np.float32(1000), normal(1, 50, 8, seed=1) * np.float32(10)
    status, _, weights = Call(query, keys, keys, 5).run()
    assert status == kernels.OK
    assert np.abs(weights.sum(axis=-1) - 1).max() <= 1e-5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["query", "keys", "values"])
def test_what_is_not_finite_is_told_where_it_was_read(name: str, bad: float) -> None:
    call = Call(normal(1, 20, 4), normal(1, 30, 4, seed=1), normal(1, 30, 3, seed=2), 3)
    _, _, weights = call.run()
    chosen = int(np.flatnonzero(weights[0, 0, 7])[0])
    unread = int(np.flatnonzero(~weights[0, 0].any(axis=0))[0])
    array = getattr(call, name)
    array[0, 7 if name == "query" else chosen, 1] = bad
    assert call.run()[0] == kernels.NON_FINITE
    if name == "values":  # of a key that nobody chose: nobody reads them
        array[0, chosen, 1], array[0, unread, 1] = 0, bad
        assert call.run()[0] == kernels.OK


def test_contradictions_are_refused() -> None:
    call = Call(normal(1, 3, 4), normal(1, 5, 4), normal(1, 5, 4), 0)
    assert call.run()[0] == kernels.BAD_ARGUMENT
    call.top_k = 2
    assert call.run()[0] == kernels.OK
    call.values = None
    assert call.run()[0] == kernels.BAD_ARGUMENT
    assert call.run(outputs=(False, True))[0] == kernels.OK


def test_it_is_what_the_engine_computes() -> None:
    query, keys, values = normal(2, 40, 16), normal(2, 90, 16, seed=1), normal(2, 90, 16, seed=2)
    attention = ra.ScaledDotProductAttention(16, scale=0.7, top_k=9)
    _, out, weights = Call(query, keys, values, 9).run()
    assert np.abs(out - attention(query, keys, values)).max() <= 4e-6
    assert np.abs(weights[:, 0] - attention.attention_weights(query, keys)).max() <= 4e-6
