"""Linear attention against its formulas in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra
from ruvector_attention import prefix
from ruvector_attention.attention.linear import orthogonal_features

Array = npt.NDArray[Any]
KERNELS = ("favor", "elu", "relu")
GRADIENT_TOLERANCE = 1e-3


def drawn(*shapes: tuple[int, ...], size: float = 1.0, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [(size * random.standard_normal(shape)).astype(np.float32) for shape in shapes]


def features64(x: Array, kernel: str, factor: float, rows: Array | None) -> Array:
    """The logarithms of the features."""
    x = x * factor
    if kernel == "favor":
        assert rows is not None
        logarithms: Array = x @ rows.T - (x * x).sum(axis=-1, keepdims=True) / 2
        return logarithms
    mapped = np.maximum(x, 0) if kernel == "relu" else np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mapped))


def weights64(
    q: Array,
    k: Array,
    kernel: str,
    rows: Array | None,
    *,
    factor: float,
    addend: Array | None = None,
    causal: bool = False,
) -> Array:
    """Weights from the definition: logarithms of similarities, summed over features in float64."""
    lq, lk = (features64(x.astype(np.float64), kernel, factor, rows) for x in (q, k))
    if addend is not None:
        lk = lk + np.asarray(addend, np.float64)[..., :, None]
    pairs = lq[..., :, None, :] + lk[..., None, :, :]
    top = pairs.max(axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), 0, top)
    with np.errstate(divide="ignore"):
        scores = np.log(np.exp(pairs - top).sum(axis=-1)) + top[..., 0]
    n_query, n_key = scores.shape[-2:]
    if causal:
        scores = np.where(np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query, scores, -np.inf)
    peak = scores.max(axis=-1, keepdims=True)
    similarities = np.exp(scores - np.where(np.isneginf(peak), 0, peak))
    total = similarities.sum(axis=-1, keepdims=True)
    weights: Array = similarities / np.where(total == 0, 1, total)
    return weights


def rows_of(made: ra.Attention) -> Array | None:
    found = made.parameters().get("features")
    return None if found is None else found.astype(np.float64)


def factor_of(kernel: str, dim: int) -> float:
    return dim**-0.25 if kernel == "favor" else 1.0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_query", "n_key"), [(1, 1), (1, 9), (5, 5), (3, 40), (40, 3), (129, 129), (200, 300)])
@pytest.mark.parametrize("dims", [(1, 1, 3), (5, 7, 16), (16, 4, 33)])
def test_outputs_and_weights_equal_the_formula(
    kernel: str, causal: bool, n_query: int, n_key: int, dims: tuple[int, int, int]
) -> None:
    dim, dim_value, num_features = dims
    q, k, v = drawn((n_query, dim), (n_key, dim), (n_key, dim_value))
    made = ra.LinearAttention(dim=dim, num_features=num_features, kernel=kernel, causal=causal, seed=3)
    weights = weights64(q, k, kernel, rows_of(made), factor=factor_of(kernel, dim), causal=causal)
    assert_close(made(q, k, v), weights @ v)
    assert_close(made.attention_weights(q, k), weights)


@pytest.mark.parametrize("kernel", KERNELS)
def test_scale_temperature_and_cosine(kernel: str) -> None:
    q, k, v = drawn((20, 8), (30, 8), (30, 4))
    unit = [x / np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True) for x in (q, k)]
    for settings, rows, factor in (
        ({"scale": 0.7, "temperature": 0.4}, (q, k), (0.7 / 0.4) ** 0.5),
        ({"temperature": 2.0}, (q, k), factor_of(kernel, 8) / 2**0.5),
        ({"normalize": True, "scale": 3.0}, unit, 3**0.5),
    ):
        made = ra.LinearAttention(dim=8, num_features=32, kernel=kernel, **settings)
        expected = weights64(rows[0], rows[1], kernel, rows_of(made), factor=factor) @ v
        assert_close(made(q, k, v), expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("causal", [False, True])
def test_masks_are_one_for_all_queries(kernel: str, causal: bool) -> None:
    q, k, v = drawn((2, 9, 6), (2, 9, 6), (2, 9, 4))
    random = np.random.default_rng(1)
    hidden = random.random(9) < 0.4
    hidden[0] = False
    added = random.standard_normal((2, 1, 9)).astype(np.float32)
    made = ra.LinearAttention(dim=6, num_features=16, kernel=kernel, causal=causal)
    for mask, addend in ((~hidden, np.where(hidden, -np.inf, 0.0)), (added, added[:, 0].astype(np.float64))):
        weights = weights64(q, k, kernel, rows_of(made), factor=factor_of(kernel, 6), addend=addend, causal=causal)
        assert_close(made(q, k, v, mask=mask), weights @ v)
        assert_close(made.attention_weights(q, k, mask=mask), weights)
    v[1, 4:] = np.nan  # never read
    lengths = np.where(np.arange(9) < np.array([[9], [4]]), 0.0, -np.inf)
    weights = weights64(q, k, kernel, rows_of(made), factor=factor_of(kernel, 6), addend=lengths, causal=causal)
    assert_close(made(q, k, v, key_lengths=[9, 4]), weights @ np.nan_to_num(v))
    assert not made(q, k, v, key_lengths=[0, 0]).any()
    assert np.array_equal(made(q, k, q, mask=ra.CausalMask()), made(q, k, q, causal=True))


def test_masks_of_single_scores_are_refused() -> None:
    q, k, v = drawn((5, 4), (6, 4), (6, 4))
    made = ra.LinearAttention(dim=4)
    with pytest.raises(ra.UnsupportedError, match=r"mask is \(5, 6\), one row for each query; expected \(..., 1, 6\)"):
        made(q, k, v, mask=np.ones((5, 6), bool))
    with pytest.raises(ra.UnsupportedError, match=r"mask is WindowMask.*expected a CausalMask"):
        made(q, k, v, mask=ra.WindowMask(2))
    with pytest.raises(ra.InvalidConfigError, match="kernel is 'favour'; did you mean 'favor'"):
        ra.LinearAttention(dim=4, kernel="favour")


def frobenius_error(num_features: int, size: float, seed: int) -> float:
    q, k, v = drawn(*((1024, 64),) * 3, size=size, seed=100 + seed)
    exact, _ = attention(q, k, v)
    found = ra.LinearAttention(dim=64, num_features=num_features, seed=seed)(q, k, v)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize(("num_features", "bound"), [(64, 0.11), (256, 0.06), (1024, 0.03)])
def test_the_error_against_exact_attention_is_what_the_specification_bounds(num_features: int, bound: float) -> None:
    errors = [frobenius_error(num_features, 0.25, seed) for seed in range(8)]
    assert 0.005 < np.mean(errors) <= bound


def test_the_estimate_of_a_single_similarity_is_unbiased() -> None:
    (q, k) = drawn((8,), (8,), size=0.5, seed=4)
    exact = np.exp(q @ k / 8**0.5)
    x, y = (row.astype(np.float64) / 8**0.25 for row in (q, k))
    estimates = []
    for seed in range(4000):
        rows = orthogonal_features(5, 8, seed).astype(np.float64)
        estimates.append(np.mean(np.exp(rows @ (x + y) - (x @ x + y @ y) / 2)))
    deviation = np.std(estimates) / len(estimates) ** 0.5
    assert abs(np.mean(estimates) - exact) < 4 * deviation


@pytest.mark.parametrize("size", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("causal", [False, True])
def test_large_rows_do_not_collapse(size: float, causal: bool) -> None:
    """With the same features float64 gives the same: no denominator is lost, however far apart the features are."""
    q, k, v = drawn((150, 16), (150, 16), (150, 3), size=size)
    made = ra.LinearAttention(dim=16, num_features=32, causal=causal)
    weights = weights64(q, k, "favor", rows_of(made), factor=16**-0.25, causal=causal)
    rounding = 6e-8 * 4 * np.abs(k / 2 @ rows_of(made).T).max()  # of a logarithm of that size in float32
    assert_close(made(q, k, v), weights @ v, tolerance=max(4e-6, 4 * rounding))
    output = made(1e10 * q, 1e10 * k, v)
    assert np.isfinite(output).all()
    assert np.abs(output).max() > 0.1
    with pytest.raises(ra.NumericalInstabilityError):
        made(1e25 * q, 1e25 * k, v)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("kernel", "query_size", "key_size"),
    [("elu", 200.0, 1.0), ("elu", 1.0, 200.0), ("elu", 1e-20, 1e-18), ("relu", 1e-20, 1e-18), ("relu", 1e12, 1e10)],
)
def test_features_that_would_underflow_or_overflow_do_not(
    kernel: str, query_size: float, key_size: float, causal: bool
) -> None:
    """exp(-200) is no float32, and sums of products of features of 1e22 are none beside those of 1e-38."""
    q, k, v = drawn((150, 8), (150, 8), (150, 3))
    q, k = q * np.float32(query_size), k * np.float32(key_size)
    weights = weights64(q, k, kernel, None, factor=1.0, causal=causal)
    logarithm = 600 if kernel == "elu" else 60  # the largest there are; float32 rounds them by 6e-8 of that
    made = ra.LinearAttention(dim=8, kernel=kernel, causal=causal)
    assert_close(made(q, k, v), weights @ v, tolerance=6e-8 * logarithm)


def test_a_gradient_that_overflows_is_told() -> None:
    q, k, v, grad = drawn((5, 4), (6, 4), (6, 4), (5, 4))
    made = ra.LinearAttention(dim=4, kernel="elu")
    made(q, k, 1e20 * v, training=True)
    with pytest.raises(ra.NumericalInstabilityError, match="the gradient of query overflows float32"):
        made.backward(1e20 * grad)


def test_a_key_behind_a_query_leaves_no_trace_in_causal_outputs() -> None:
    q, k, v = drawn((40, 8), (40, 8), (40, 3))
    made = ra.LinearAttention(dim=8, causal=True)
    expected = made(q, k, v)
    k[30:] *= 60
    v[30:] = 1e6
    found = made(q, k, v)
    assert_close(found[:30], expected[:30].astype(np.float64))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stream_gives_what_a_causal_forward_gives(kernel: str) -> None:
    q, k, v = drawn((2, 50, 8), (2, 50, 8), (2, 50, 5))
    made = ra.LinearAttention(dim=8, num_features=24, kernel=kernel)
    weights = weights64(q, k, kernel, rows_of(made), factor=factor_of(kernel, 8), causal=True)
    stream = made.stream(dim_value=5, lead=(2,))
    pieces = [stream.step(q[:, i : i + 7], k[:, i : i + 7], v[:, i : i + 7]) for i in range(0, 50, 7)]
    assert_close(np.concatenate(pieces, axis=1), weights @ v)
    assert len(stream) == 50
    assert_close(stream.attend(q), weights64(q, k, kernel, rows_of(made), factor=factor_of(kernel, 8)) @ v)
    stream.reset()
    stream.append(k[:, :30], v[:, :30])
    assert_close(stream.step(q[:, 30:], k[:, 30:], v[:, 30:]), (weights @ v)[:, 30:])


def test_a_stream_refuses_what_does_not_fit_and_stays_as_it_was() -> None:
    made = ra.LinearAttention(dim=4)
    stream = made.stream(dim_value=2)
    with pytest.raises(ra.EmptyInputError, match="holds no keys"):
        stream.attend(np.ones((1, 4)))
    q, k, v = drawn((3, 4), (3, 4), (3, 2))
    stream.append(k, v)
    before = stream.attend(q)
    for arguments, error in (
        ((q, k, np.ones((3, 3))), ra.DimensionMismatchError),
        ((q[:2], k, v), ra.DimensionMismatchError),
        ((q, np.full((3, 4), np.nan), v), ra.NumericalInstabilityError),
    ):
        with pytest.raises(error):
            stream.step(*arguments)
    assert np.array_equal(stream.attend(q), before)
    assert len(stream) == 3


def central_difference(function: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    gradient = np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        gradient[index] = (above - function()) / (2 * step)
        array[index] = kept
    return gradient


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [((2, 7, 4), (2, 7, 4)), ((2, 3, 4), (6, 4)), ((7, 4), (4, 4))])
def test_gradients_equal_central_differences(
    kernel: str, causal: bool, shape: tuple[tuple[int, ...], tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "BLOCK", 3)
    q, k = drawn(*shape, seed=5)
    v, grad = drawn((*shape[1][:-1], 3), (*shape[0][:-1], 3), seed=6)
    addend = drawn((1, shape[1][-2]), seed=7)[0]
    made = ra.LinearAttention(dim=4, num_features=6, kernel=kernel, causal=causal, temperature=0.8)
    factor = factor_of(kernel, 4) / 0.8**0.5
    wide = {"query": q, "keys": k, "values": v, "mask": addend, "features": rows_of(made)}
    wide = {name: array.astype(np.float64) for name, array in wide.items() if array is not None}

    def loss() -> float:
        weights = weights64(
            wide["query"],
            wide["keys"],
            kernel,
            wide.get("features"),
            factor=factor,
            addend=wide["mask"][0],
            causal=causal,
        )
        return float((weights @ wide["values"] * grad).sum())

    made(q, k, v, mask=addend, training=True)
    found = made.backward(grad)
    assert set(found) == set(wide)
    expected = {name: central_difference(loss, array) for name, array in wide.items()}
    least = 1e-3 * max(np.abs(gradient).max() for gradient in expected.values())  # one of them may be 0
    for name, gradient in expected.items():
        assert found[name].shape == gradient.shape
        size = max(np.abs(gradient).max(), least)
        assert np.abs(found[name] - gradient).max() <= GRADIENT_TOLERANCE * size, name


def test_gradients_of_cosine_attention_and_of_blocks_that_had_to_be_cut() -> None:
    """Rows so far apart that a block of them underflows, checked against the same in blocks of one."""
    q, k, v, grad = drawn((60, 6), (60, 6), (60, 3), (60, 3), size=9.0)
    made = ra.LinearAttention(dim=6, num_features=8, causal=True)
    made(q, k, v, training=True)
    found = made.backward(grad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "BLOCK", 1)
        made(q, k, v, training=True)
        for name, expected in made.backward(grad).items():
            assert np.abs(found[name] - expected).max() <= GRADIENT_TOLERANCE * np.abs(expected).max(), name
    unit = ra.LinearAttention(dim=6, num_features=8, normalize=True)
    unit(q, k, v, training=True)
    along = (unit.backward(grad)["query"] * q).sum(axis=1)  # the length of a row does not matter
    assert np.abs(along).max() <= 1e-4 * np.abs(grad).max()


def test_memory_stays_linear() -> None:
    """64k keys: n_query x n_key would be 16 GB."""
    q, k, v = drawn((65536, 2), (65536, 2), (65536, 1))
    output = ra.LinearAttention(dim=2, num_features=8)(q, k, v)
    assert output.shape == (65536, 1)
    assert np.abs(output).max() <= np.abs(v).max()
