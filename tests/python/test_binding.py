"""The binding between Python and C: nothing reaches a kernel that it could read or write out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ruvector_attention import kernels

Array = npt.NDArray[Any]

needs_c = pytest.mark.skipif(kernels.backend() == "numpy", reason="the NumPy bodies have no binding")


def gemm(**changed: Any) -> int:
    """out (2, 4) = a (2, 3) b (3, 4) + bias (4), with some arguments replaced."""
    arguments: dict[str, Any] = {
        "a": np.ones((2, 3), np.float32),
        "b": np.ones((3, 4), np.float32),
        "bias": None,
        "out": np.zeros((2, 4), np.float32),
        "m": 2,
        "n": 4,
        "k": 3,
        "a_row": 3,
        "a_col": 1,
        "b_row": 4,
        "b_col": 1,
        "start": 0,
        "stop": 2,
    }
    return int(kernels.active.gemm(*(arguments | changed).values()))


def read_only(shape: tuple[int, ...]) -> Array:
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


def misaligned(count: int) -> Array:
    return np.zeros(4 * count + 1, np.uint8)[1:].view(np.float32)


def test_a_call_that_fits_is_carried_out() -> None:
    out = np.zeros((2, 4), np.float32)
    assert gemm(out=out) == kernels.OK
    assert np.array_equal(out, np.full((2, 4), 3, np.float32))


@needs_c
@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"a": np.ones(5, np.float32)}, ValueError, "gemm: a holds 5 elements; expected at least 6"),
        ({"out": np.zeros(7, np.float32)}, ValueError, "gemm: out holds 7 elements; expected at least 8"),
        ({"m": 3, "stop": 3}, ValueError, "gemm: a holds 6 elements; expected at least 9"),
        ({"a_row": 100}, ValueError, "gemm: a holds 6 elements; expected at least 103"),
        ({"a": np.ones((2, 3))}, TypeError, "gemm: a holds items of format 'd'; expected float32"),
        ({"a": np.ones((2, 3), np.int32)}, TypeError, "expected float32"),
        ({"a": np.ones((2, 3), ">f4")}, TypeError, "expected float32"),
        ({"a": None}, TypeError, "gemm: a is None; expected a float32 buffer"),
        ({"a": "text"}, BufferError, "gemm: a is not a C-contiguous buffer"),
        ({"a": np.ones((3, 2), np.float32).T}, BufferError, "gemm: a is not a C-contiguous buffer"),
        ({"a": misaligned(6)}, BufferError, "gemm: a is not aligned to its 4-byte items"),
        ({"out": read_only((2, 4))}, BufferError, "gemm: out is not a C-contiguous, writable buffer"),
        ({"m": -1}, ValueError, "gemm: m is -1; expected at least 0"),
        ({"m": 2**62, "n": 2**62}, ValueError, "expected at least"),
        ({"m": 2**63}, OverflowError, "too (large|big)"),
        ({"m": "two"}, TypeError, "integer"),
        ({"m": 1.5}, TypeError, "integer"),
    ],
)
def test_what_does_not_fit_is_refused_before_c_runs(
    changed: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        gemm(**changed)


@needs_c
def test_an_output_that_overlaps_another_buffer_is_refused() -> None:
    memory = np.zeros(12, np.float32)
    with pytest.raises(ValueError, match="gemm: output out overlaps a"):
        gemm(a=memory[:6], out=memory[4:])
    assert gemm(a=memory[:6].reshape(2, 3), b=memory.reshape(3, 4)) == kernels.OK  # inputs may


@needs_c
@pytest.mark.parametrize("count", [0, 12, 14])
def test_the_number_of_arguments_is_checked(count: int) -> None:
    with pytest.raises(TypeError, match=r"gemm takes 13 arguments \(4 buffers, 9 integers, 0 floats\)"):
        kernels.active.gemm(*[None] * count)


@needs_c
def test_integers_that_contradict_one_another_are_answered_with_a_status() -> None:
    assert gemm(start=0, stop=3, out=np.zeros((3, 4), np.float32)) == kernels.BAD_ARGUMENT
    assert gemm(a=np.ones(30, np.float32), a_row=2, a_col=5) == kernels.BAD_ARGUMENT


@needs_c
def test_every_kernel_survives_arguments_of_every_wrong_kind() -> None:
    module = kernels._modules[kernels.backend()]
    junk: list[Any] = [None, -1, 2**40, 1.5, "x", b"bytes", np.zeros(3), np.zeros(0, np.float32), [1], object()]
    random = np.random.default_rng(0)
    for name, (buffers, integers, floats) in module.kernels().items():
        count = sum(role != "scratch" for _, _, role in buffers) + len(integers) + len(floats)
        for _ in range(200):
            picked = [junk[i] for i in random.integers(len(junk), size=count)]
            with pytest.raises((TypeError, ValueError, BufferError, OverflowError)):
                getattr(module, name)(*picked)


def test_every_kernel_has_a_numpy_body_and_every_backend_has_every_kernel() -> None:
    from ruvector_attention import reference

    for module in kernels._modules.values():
        assert set(module.kernels()) == set(reference.BODIES)


def test_scratch_memory_is_allocated_once_and_given_back() -> None:
    q, k = np.ones((300, 32), np.float32), np.ones((500, 32), np.float32)
    from ruvector_attention import engine

    for _ in range(3):
        engine.attend(q, k, k, scale=1.0, max_threads=1)
    before = kernels.scratch_stats()
    for _ in range(20):
        engine.attend(q, k, k, scale=1.0, max_threads=1)
    calls = 0 if kernels.backend() == "numpy" else 20
    assert kernels.scratch_stats() == {**before, "calls": before["calls"] + calls, "hits": before["hits"] + calls}
    assert before["lent"] == 0


STRIDES: dict[str, Callable[[Array], tuple[Array, int, int]]] = {
    "rows": lambda x: (np.ascontiguousarray(x), x.shape[1], 1),
    "columns": lambda x: (np.ascontiguousarray(x.T), 1, x.shape[0]),
}


@pytest.mark.parametrize("a_order", STRIDES)
@pytest.mark.parametrize("b_order", STRIDES)
@pytest.mark.parametrize("m", [1, 2, 7, 8, 9, 50])
@pytest.mark.parametrize("n", [1, 15, 16, 48, 49, 100])
@pytest.mark.parametrize("k", [1, 64, 257])
def test_matrix_products_of_every_transpose_and_tail(m: int, n: int, k: int, a_order: str, b_order: str) -> None:
    random = np.random.default_rng(m * n * k)
    a, b, bias = (random.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (n,)))
    out = np.full((m, n), np.nan, np.float32)
    (left, *left_strides), (right, *right_strides) = STRIDES[a_order](a), STRIDES[b_order](b)
    assert kernels.active.gemm(left, right, bias, out, m, n, k, *left_strides, *right_strides, 0, m) == kernels.OK
    exact = a.astype(np.float64) @ b.astype(np.float64) + bias
    bound = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(bias)  # rounding follows what is added, not its sum
    assert (np.abs(out - exact) <= 1e-6 * bound).all()


def test_a_product_of_some_rows_leaves_the_others_alone() -> None:
    out = np.full((5, 3), -1, np.float32)
    a, b = np.ones((5, 2), np.float32), np.ones((2, 3), np.float32)
    assert kernels.active.gemm(a, b, None, out, 5, 3, 2, 2, 1, 3, 1, 1, 3) == kernels.OK
    assert out[:, 0].tolist() == [-1, 2, 2, -1, -1]


@pytest.mark.parametrize("count", [1, 5, 16, 70_001])
def test_hyperbolic_tangents_are_right_at_every_magnitude(count: int) -> None:
    x = np.concatenate([np.linspace(-12, 12, count), np.logspace(-30, 30, count), [0, np.inf, -np.inf]])
    x = x.astype(np.float32)
    out = np.empty_like(x)
    assert kernels.active.tanh(x, out, x.size) == kernels.OK
    expected = np.tanh(x.astype(np.float64))
    assert (np.abs(out - expected) <= 2.5e-7 * np.abs(expected)).all()
    assert out[-2:].tolist() == [1, -1]


@pytest.mark.parametrize("dim", [1, 3, 16, 33, 64, 100])
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-38, 1e-42, 1e18, 1e30, 5e36])
def test_rows_are_normalised_at_every_magnitude(dim: int, size: float) -> None:
    x = (np.random.default_rng(dim).standard_normal((20, dim)) * size).astype(np.float32)
    x[3] = 0
    out = np.empty_like(x)
    assert kernels.active.normalize_rows(x, out, 20, dim) == kernels.OK
    wide = x.astype(np.float64) / max(np.abs(x).max().astype(np.float64), 1e-300)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    expected = wide / np.where(length == 0, 1, length)
    assert np.abs(out - expected).max() <= 3e-7


@pytest.mark.parametrize("count", [1, 3, 16, 63, 64, 65, 300])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found_at_every_place(count: int, bad: float) -> None:
    x = np.full(count, 3e38, np.float32)
    assert kernels.active.all_finite(x, count) == kernels.OK
    for index in range(count):
        x[index] = bad
        assert kernels.active.all_finite(x, count) == kernels.NON_FINITE
        x[index] = 0
