"""The fused attention call: between a mechanism, which has bound and cast its arrays, and a kernel.

Every mechanism with a softmax over keys goes through ``attend`` (output) or ``weights`` (the weights alone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .errors import DimensionMismatchError, NumericalInstabilityError
from .layout import Axes, leading_strides, size_of, walk

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

QUERY_BLOCK = 192  # queries of one task, RV_QUERY_BLOCK
UNLIMITED = 1 << 40  # of a window's reach
SMALL = 1_000_000  # multiply-adds below which a call is never split, so need not be measured further
FLOAT32 = np.dtype(np.float32)


class Band(NamedTuple):
    """Where a query at key position p may look: keys p - behind .. p + ahead, and the first ``global_tokens``, which
    themselves see everything (as far as p where ahead is 0)."""

    behind: int
    ahead: int
    global_tokens: int = 0


EVERYWHERE, CAUSAL = Band(UNLIMITED, UNLIMITED), Band(UNLIMITED, 0)


def attend(
    query: Array,
    keys: Array,
    values: Array,
    *,
    scale: float,
    causal: bool = False,
    band: Band | None = None,
    mask: Array | None = None,
    bias: Array | None = None,
    key_lengths: Array | None = None,
    num_heads: int = 1,
    num_kv_heads: int = 1,
    normalize: bool = False,
    check_finite: bool = True,
    return_lse: bool = False,
    max_threads: int | None = None,
) -> Any:
    """out = softmax(scale * q kT + bias) v

    query (..., n_query, heads * dim), keys (..., n_key, kv_heads * dim), values (..., n_key, kv_heads * dim_value)
    -> (..., n_query, heads * dim_value), float32; with ``return_lse`` also the log-sum-exp (..., heads, n_query).
    Heads are groups of channels and are read where they lie. ``mask`` is bool (True = may attend) or float (added),
    broadcastable to (..., n_query, n_key), or with one more axis for the heads. A row without keys gives zeros.
    ``band`` takes the place of ``causal``; tiles outside of it are not computed.
    ``key_lengths`` (leading shape): keys from there on are never read.

    Raises NumericalInstabilityError that names the array and its first bad index.
    """
    if (
        mask is None and bias is None and key_lengths is None and band is None and num_heads == 1
        and not (normalize or return_lse) and query.ndim == 2 == keys.ndim == values.ndim
    ):  # fmt: skip
        n_query, dim = query.shape
        n_key, dim_value = values.shape
        if n_query * n_key * dim < SMALL and query.dtype is keys.dtype is values.dtype is FLOAT32:
            out = np.empty((n_query, dim_value), FLOAT32)
            try:
                status = kernels.active.attention(
                    query, keys, None, None, None, values, out, None,
                    1, 1, 1, n_query, n_key, dim, 0, 0, dim, 0, 0, dim, 0, 0, 0, 0, 0, 0, 0, 0,
                    UNLIMITED, 0 if causal else UNLIMITED, 0,
                    0, -(-n_query // QUERY_BLOCK), dim_value, 0, 0, dim_value, 0, 0, dim_value, scale,
                )  # fmt: skip
            except BufferError:  # not contiguous or not aligned: copied below
                pass
            else:
                if status and check_finite:
                    raise_non_finite(query=query, keys=keys, values=values)
                return out
    problem = _Problem(query, keys, values, mask, bias, key_lengths, num_heads, num_kv_heads, normalize, check_finite)
    out = np.empty((*problem.lead, problem.n_query, num_heads * problem.dim_value), FLOAT32)
    lse = np.empty((*problem.lead, num_heads, problem.n_query), FLOAT32) if return_lse else None
    status = problem.forward(out, lse, scale, band or (CAUSAL if causal else EVERYWHERE), max_threads)
    if status and check_finite:
        raise_non_finite(query=query, keys=keys, values=values, mask=mask, bias=bias)
    return (out, lse) if return_lse else out


class Gradients(NamedTuple):
    """Of a loss with respect to the arrays of ``attend``, each with its array's shape."""

    query: Float32Array
    keys: Float32Array
    values: Float32Array
    bias: Float32Array | None


def attend_backward(
    query: Array,
    keys: Array,
    values: Array,
    out: Array,
    lse: Array,
    grad_out: Array,
    *,
    scale: float,
    causal: bool = False,
    band: Band | None = None,
    mask: Array | None = None,
    bias: Array | None = None,
    key_lengths: Array | None = None,
    num_heads: int = 1,
    num_kv_heads: int = 1,
    normalize: bool = False,
    max_threads: int | None = None,
) -> Gradients:
    """The gradients of ``attend``'s inputs from that of its output; ``out`` and ``lse`` are what it returned.

    The weights are recomputed tile by tile from the log-sum-exp. The gradient of a float mask comes as ``bias``'s.
    """
    problem = _Problem(query, keys, values, mask, bias, key_lengths, num_heads, num_kv_heads, normalize, False)
    seen = band or (CAUSAL if causal else EVERYWHERE)
    grads = problem.backward(contiguous(out), contiguous(lse), contiguous(grad_out), scale, seen, max_threads)
    if not normalize:
        return grads
    return grads._replace(
        query=normalize_rows_backward(query, grads.query, problem.dim),
        keys=normalize_rows_backward(keys, grads.keys, problem.dim),
    )


def weights(
    query: Array,
    keys: Array,
    *,
    scale: float,
    causal: bool = False,
    band: Band | None = None,
    mask: Array | None = None,
    bias: Array | None = None,
    key_lengths: Array | None = None,
    num_heads: int = 1,
    num_kv_heads: int = 1,
    normalize: bool = False,
    check_finite: bool = True,
    max_threads: int | None = None,
) -> Float32Array:
    """softmax(scale * q kT + bias), arguments as in ``attend``: (..., n_query, n_key), with several heads
    (..., heads, n_query, n_key)."""
    problem = _Problem(query, keys, None, mask, bias, key_lengths, num_heads, num_kv_heads, normalize, check_finite)
    heads = (num_heads,) if num_heads > 1 else ()
    out = np.empty((*problem.lead, *heads, problem.n_query, problem.n_key), FLOAT32)
    status = problem.weigh(out, scale, band or (CAUSAL if causal else EVERYWHERE), max_threads)
    if status and check_finite:
        raise_non_finite(query=query, keys=keys, mask=mask, bias=bias)
    return out


def project(x: Array, weight: Array, bias: Array | None = None, *, max_threads: int | None = None) -> Float32Array:
    """x (..., k) @ weight (k, n) + bias (n) -> (..., n), float32."""
    if weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise DimensionMismatchError(
            f"weight is {weight.shape}; expected (k, n) with k = {x.shape[-1]}, from x {x.shape}"
        )
    x = contiguous(x)
    weight = contiguous(weight)
    if bias is not None:
        bias = contiguous(bias)
    k, n = weight.shape
    m = size_of(x.shape[:-1])
    out = np.empty((*x.shape[:-1], n), FLOAT32)
    blocks = -(-m // QUERY_BLOCK)

    def call(start: int, stop: int) -> int:
        first, last = start * QUERY_BLOCK, min(stop * QUERY_BLOCK, m)
        return int(kernels.active.gemm(x, weight, bias, out, m, n, k, k, 1, n, 1, first, last))

    threads.run(call, blocks, m * n * k, max_threads)
    return out


def project_backward(x: Array, weight: Array, grad_out: Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """The gradients of ``project``: of x (..., k), of weight (k, n) and of bias (n), from grad_out (..., n)."""
    x, weight, grad_out = contiguous(x), contiguous(weight), contiguous(grad_out)
    k, n = weight.shape
    m = size_of(x.shape[:-1])
    grad_x, grad_weight = np.empty((*x.shape[:-1], k), FLOAT32), np.empty((k, n), FLOAT32)
    kernels.active.gemm(grad_out, weight, None, grad_x, m, k, n, n, 1, 1, n, 0, m)
    kernels.active.gemm(x, grad_out, None, grad_weight, k, n, m, 1, k, n, 1, 0, k)
    return grad_x, grad_weight, grad_out.reshape(m, n).sum(axis=0)


def contiguous(x: Array, dtype: npt.DTypeLike = FLOAT32) -> Array:
    """x as a kernel reads it: this dtype, C order, aligned; x itself where it is so already."""
    if x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned:
        return x
    return np.require(x, dtype, ("C_CONTIGUOUS", "ALIGNED"))


def normalize_rows(x: Array, dim: int) -> Float32Array:
    """Every group of ``dim`` channels of x (..., groups * dim) divided by its length; zeros stay zeros."""
    x = contiguous(x)
    out = np.empty_like(x)
    kernels.active.normalize_rows(x, out, x.size // dim, dim)
    return out


def normalize_rows_backward(x: Array, grad_out: Array, dim: int) -> Float32Array:
    """The gradient of x from that of ``normalize_rows(x, dim)``."""
    x, grad_out = contiguous(x), contiguous(grad_out)
    grad = np.zeros_like(x)
    kernels.active.normalize_rows_backward(x, grad_out, grad, x.size // dim, dim)
    return grad


def raise_non_finite(**arrays: Array | None) -> None:
    """Raise the error for the first of the arrays that holds NaN or infinity."""
    for name, array in arrays.items():
        if array is None or array.dtype == np.bool_:
            continue
        bad = np.isnan(array) if name in ("mask", "bias") else ~np.isfinite(array)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise NumericalInstabilityError(f"{name} holds {array[index]} at index {index}; expected finite numbers")
    raise NumericalInstabilityError(
        f"the result overflows float32 although {', '.join(arrays)} are finite; expected inputs of smaller magnitude"
    )


class _Operand(NamedTuple):
    """An array, how many axes lie behind its leading ones, and the stride of its heads."""

    array: Array | None
    behind: int = 2
    head: int = 0


class _Part(NamedTuple):
    """What one kernel call covers: sizes of the two walked axes, and for each operand a buffer and two strides."""

    batch: int
    heads: int
    kv_heads: int
    buffers: list[Array | None]
    strides: list[tuple[int, ...]]


class _Problem:
    """One call's arrays as the kernel sees them: contiguous, with strides for batch and heads."""

    def __init__(
        self, query: Array, keys: Array, values: Array | None, mask: Array | None, bias: Array | None,
        key_lengths: Array | None, num_heads: int, num_kv_heads: int, normalize: bool, check_finite: bool,
    ) -> None:  # fmt: skip
        self.heads, self.kv_heads = num_heads, num_kv_heads
        self.n_query, self.n_key = query.shape[-2], keys.shape[-2]
        self.dim = query.shape[-1] // num_heads
        self.dim_value = 0 if values is None else values.shape[-1] // num_kv_heads
        self.lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2], () if values is None else values.shape[:-2])
        query, keys = contiguous(query), contiguous(keys)
        if normalize:
            query, keys = normalize_rows(query, self.dim), normalize_rows(keys, self.dim)
        if mask is not None and mask.dtype != np.bool_:
            mask, bias = None, mask if bias is None else bias + mask
        self.query = _Operand(query, 2, self.dim)
        self.keys = _Operand(keys, 2, self.dim)
        self.values = _Operand(None)
        if values is not None:
            values = contiguous(values)
            self.values = _Operand(values, 2, self.dim_value)
        self.mask = self._score_operand(mask, np.bool_)
        self.bias = self._score_operand(bias, np.float32)
        self.key_lengths = _Operand(None)
        if key_lengths is not None:
            self.key_lengths = _Operand(contiguous(np.broadcast_to(key_lengths, self.lead), np.int64), 0)
        # A mask lets whole tiles go unread: then the arrays are looked through first, little beside many queries.
        self.look_through = check_finite and mask is not None and key_lengths is None and self.n_query > 16

    def _score_operand(self, array: Array | None, dtype: type[np.generic]) -> _Operand:
        """A mask or bias; an axis more than the result (lead, n_query, n_key) has means one for each head."""
        if array is None:
            return _Operand(None)
        array = contiguous(array, dtype)
        if self.heads > 1 and array.ndim == len(self.lead) + 3:
            return _Operand(array, 3, 0 if array.shape[-3] == 1 else size_of(array.shape[-2:]))
        return _Operand(array)

    def _lead_strides(self, array: Array, behind: int) -> tuple[int, ...]:
        first = array.ndim - behind
        return leading_strides(array.shape[:first], size_of(array.shape[first:]), self.lead)

    def _parts(self, *outputs: _Operand) -> Iterator[_Part]:
        operands = [self.query, self.keys, self.mask, self.bias, self.key_lengths, self.values, *outputs]
        given = [(o.array, o.behind) for o in operands if o.array is not None]
        axes = Axes(self.lead, tuple(self._lead_strides(array, behind) for array, behind in given))
        # Without heads in the channels the kernel's head axis is free for a second leading axis.
        free = self.heads == 1 and self.key_lengths.array is None
        for offsets, part in walk(axes, 2 if free else 1):
            starts, steps = iter(offsets), iter(part.strides)
            buffers: list[Array | None] = []
            strides: list[tuple[int, ...]] = []
            for operand in operands:
                if operand.array is None:
                    buffers.append(None)
                    strides.append((0, 0))
                    continue
                offset, step = next(starts), next(steps)
                buffers.append(operand.array.reshape(-1)[offset:] if offset else operand.array)
                strides.append(step if free else (step[0], operand.head))
            if free:
                yield _Part(part.sizes[0], part.sizes[1], part.sizes[1], buffers, strides)
            else:
                yield _Part(part.sizes[0], self.heads, self.kv_heads, buffers, strides)

    def _score_steps(self, operand: _Operand) -> tuple[int, int]:
        """Strides of a mask's rows and columns, 0 where it is repeated."""
        if operand.array is None:
            return 0, 0
        rows, columns = operand.array.shape[-2:]
        return 0 if rows == 1 else columns, 0 if columns == 1 else 1

    def _shared(self, part: _Part, band: Band) -> tuple[int, ...]:
        """The integers that both kernels begin with, up to the band."""
        query, keys, mask, bias = part.strides[:4]
        return (
            part.batch, part.heads, part.kv_heads, self.n_query, self.n_key, self.dim,
            *query, self.heads * self.dim, *keys, self.kv_heads * self.dim,
            *mask, *self._score_steps(self.mask), *bias, *self._score_steps(self.bias), *band,
        )  # fmt: skip

    def _finite(self) -> bool:
        arrays = (self.query.array, self.keys.array, self.values.array)
        return not any(kernels.active.all_finite(a, a.size) for a in arrays if a is not None)

    def _run(self, part: _Part, call: Callable[[int, int], int], max_threads: int | None) -> int:
        tasks = part.batch * part.heads * -(-self.n_query // QUERY_BLOCK)
        work = part.batch * part.heads * self.n_query * self.n_key * (self.dim + self.dim_value)
        return threads.run(call, tasks, work, max_threads)

    def forward(self, out: Array, lse: Array | None, scale: float, band: Band, max_threads: int | None) -> int:
        row = self.heads * self.dim_value
        if self.look_through and not self._finite():
            return kernels.NON_FINITE
        status = 0
        outputs = (
            _Operand(out, 2, self.dim_value),
            _Operand(lse, 2, self.n_query),
        )
        for part in self._parts(*outputs):
            query, keys, mask, bias, lengths, values, part_out, part_lse = part.buffers
            before = self._shared(part, band)
            after = (
                self.dim_value, *part.strides[5], self.kv_heads * self.dim_value, *part.strides[6], row, scale
            )  # fmt: skip
            buffers = (query, keys, mask, bias, lengths, values, part_out, part_lse)

            def call(start: int, stop: int, *, buffers: Any = buffers, before: Any = before, after: Any = after) -> int:
                return int(kernels.active.attention(*buffers, *before, start, stop, *after))

            status |= self._run(part, call, max_threads)
        return status

    def backward(
        self, out: Array, lse: Array, grad_out: Array, scale: float, band: Band, max_threads: int | None
    ) -> Gradients:
        given = [self.query.array, self.keys.array, self.values.array, self.bias.array]
        grads = [None if array is None else np.zeros(array.shape, FLOAT32) for array in given]
        row = self.heads * self.dim_value
        outputs = [
            _Operand(out, 2, self.dim_value),
            _Operand(grad_out, 2, self.dim_value),
            _Operand(lse, 2, self.n_query),
            *(o._replace(array=g) for o, g in zip((self.query, self.keys, self.values, self.bias), grads, strict=True)),
        ]
        for part in self._parts(*outputs):
            before = self._shared(part, band)
            after = (
                self.dim_value, *part.strides[5], self.kv_heads * self.dim_value, *part.strides[6], row, scale
            )  # fmt: skip

            def call(start: int, stop: int, *, part: _Part = part, before: Any = before, after: Any = after) -> int:
                return int(kernels.active.attention_backward(*part.buffers, *before, start, stop, *after))

            sums = any(
                size > 1 and step[axis] == 0
                for operand, step in zip(part.buffers, part.strides, strict=True)
                if operand is not None
                for axis, size in enumerate((part.batch, part.kv_heads))
            )  # tasks that add to the same gradient stay in one thread
            tasks = part.batch * part.kv_heads
            work = 3 * part.batch * part.heads * self.n_query * self.n_key * (self.dim + self.dim_value)
            threads.run(call, tasks, work, 1 if sums else max_threads)
        query, keys, values, bias = grads
        assert query is not None and keys is not None and values is not None
        return Gradients(query, keys, values, bias)

    def weigh(self, out: Array, scale: float, band: Band, max_threads: int | None) -> int:
        if self.look_through and not self._finite():
            return kernels.NON_FINITE
        status = 0
        output = _Operand(out, 3 if self.heads > 1 else 2, self.n_query * self.n_key)
        for part in self._parts(output):
            query, keys, mask, bias, lengths, _, part_out = part.buffers
            before = self._shared(part, band)
            buffers = (query, keys, mask, bias, lengths, part_out)

            def call(start: int, stop: int, *, buffers: Any = buffers, before: Any = before) -> int:
                return int(kernels.active.attention_weights(*buffers, *before, start, stop, scale))

            status |= self._run(part, call, max_threads)
        return status
