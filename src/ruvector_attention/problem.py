"""One attention call's arrays as the kernels see them: contiguous, with strides for batch and heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import kernels, threads
from .finite import raise_non_finite
from .layout import Axes, leading_strides, size_of, walk
from .products import FLOAT32, QUERY_BLOCK, Angles, contiguous, normalize_rows, rotate_rows
from .recompute import backward_kernel
from .scoring import Scoring, as_arrays

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


class Gradients(NamedTuple):
    """Of a loss with respect to the arrays of ``attend``, each with its array's shape.

    spaces (n_spaces, 2): of every space's weight and c; times (2): of decay and rate.
    """

    query: Float32Array
    keys: Float32Array
    values: Float32Array
    bias: Float32Array | None
    spaces: npt.NDArray[np.float64] | None = None
    times: npt.NDArray[np.float64] | None = None


class _Operand(NamedTuple):
    """An array, how many axes lie behind its leading ones, and the stride of its heads."""

    array: Array | None
    behind: int = 2
    head: int = 0


NOTHING = _Operand(None)


class _Part(NamedTuple):
    """What one kernel call covers: sizes of the two walked axes, and for each operand a buffer and two strides."""

    batch: int
    heads: int
    kv_heads: int
    item: int  # of the first head, counted through all parts
    buffers: list[Array | None]
    strides: list[tuple[int, ...]]


class Problem:
    """The arrays of one call, checked by nobody but the binding; ``values`` is None for the weights alone."""

    def __init__(self, query: Array, keys: Array, values: Array | None, scoring: Scoring, check_finite: bool) -> None:
        self.scoring, self.check_finite = scoring, check_finite
        self.heads, self.kv_heads = scoring.num_heads, scoring.num_kv_heads
        self.n_query, self.n_key = query.shape[-2], keys.shape[-2]
        self.dim = query.shape[-1] // self.heads
        self.dim_value = 0 if values is None else values.shape[-1] // self.kv_heads
        self.lead = np.broadcast_shapes(query.shape[:-2], keys.shape[:-2], () if values is None else values.shape[:-2])
        query, keys = contiguous(query), contiguous(keys)
        if scoring.normalize:
            query, keys = normalize_rows(query, self.dim), normalize_rows(keys, self.dim)
        self.angles: tuple[Angles, Angles] | None = None
        if rotary := scoring.rotary:
            turned = self.dim // 2 * 2 if rotary.dim is None else rotary.dim
            both = (Angles.of(at, turned, rotary.base, rotary.interleaved) for at in rotary[:2])
            self.angles = (next(both), next(both))
            query, keys = (rotate_rows(x, a, self.dim) for x, a in zip((query, keys), self.angles, strict=True))
        self.query, self.keys = _Operand(query, 2, self.dim), _Operand(keys, 2, self.dim)
        self.values = NOTHING if values is None else _Operand(contiguous(values), 2, self.dim_value)
        self.mask = self._addend(scoring.mask, np.bool_)
        self.bias = self._addend(scoring.bias, np.float32)
        self.key_lengths = NOTHING
        if scoring.key_lengths is not None:
            lengths = contiguous(np.broadcast_to(scoring.key_lengths, self.lead), np.int64)
            self.key_lengths = _Operand(lengths, 0)
        self._set_spaces(query, keys)
        self.times = [NOTHING, NOTHING]
        if scoring.times:
            self.times = [_Operand(contiguous(t, np.float64), 1) for t in scoring.times[:2]]
        # A mask lets whole tiles go unread: then the arrays are looked through first, little beside many queries.
        skips = scoring.mask is not None or scoring.tiles is not None
        self.look_through = check_finite and skips and scoring.key_lengths is None and self.n_query > 16

    def _set_spaces(self, query: Array, keys: Array) -> None:
        """Segments, their numbers, and what distances need of every row."""
        self.segments: Array | None = None
        self.spaces: Array | None = None
        self.aux = [NOTHING, NOTHING]
        spaces = self.scoring.spaces
        if not spaces:
            return
        self.segments, self.spaces = as_arrays(spaces)
        if any(s.kind in ("poincare", "lorentz") for s in spaces):
            aux = self.scoring.aux or (self._aux_of(query), self._aux_of(keys))
            self.aux = [_Operand(contiguous(array), 2, len(spaces)) for array in aux]

    def _aux_of(self, x: Array) -> Float32Array:
        """(..., n, heads * n_spaces) of x (..., n, heads * dim)."""
        count, rows = len(self.scoring.spaces), x.size // self.dim
        out = np.empty((*x.shape[:-1], x.shape[-1] // self.dim * count), FLOAT32)
        kernels.active.space_aux(x, self.segments, self.spaces, out, rows, self.dim, count)
        return out

    def _addend(self, array: Array | None, dtype: type[np.generic]) -> _Operand:
        """A mask or bias; an axis more than the result (lead, n_query, n_key) has means one for each head."""
        if array is None:
            return NOTHING
        array = contiguous(array, dtype)
        if self.heads > 1 and array.ndim == len(self.lead) + 3:
            return _Operand(array, 3, 0 if array.shape[-3] == 1 else size_of(array.shape[-2:]))
        return _Operand(array)

    def _parts(self, *outputs: _Operand) -> Iterator[_Part]:
        operands = [self.query, self.keys, self.mask, self.bias, self.key_lengths, *self.aux, *self.times, self.values]
        operands += outputs
        given = [(o.array, o.behind) for o in operands if o.array is not None]
        axes = Axes(self.lead, tuple(self._lead_strides(array, behind) for array, behind in given))
        # Without heads in the channels the kernel's head axis is free for a second leading axis, unless something has
        # no stride for heads.
        free = self.heads == 1 and self.key_lengths.array is None and not self.scoring.times
        item = 0
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
            heads, kv_heads = (part.sizes[1], part.sizes[1]) if free else (self.heads, self.kv_heads)
            yield _Part(part.sizes[0], heads, kv_heads, item, buffers, strides)
            item += part.sizes[0] * heads

    def _lead_strides(self, array: Array, behind: int) -> tuple[int, ...]:
        first = array.ndim - behind
        return leading_strides(array.shape[:first], size_of(array.shape[first:]), self.lead)

    def _addend_steps(self, operand: _Operand) -> tuple[int, int]:
        """Strides of a mask's rows and columns, 0 where it is repeated."""
        if operand.array is None:
            return 0, 0
        rows, columns = operand.array.shape[-2:]
        return 0 if rows == 1 else columns, 0 if columns == 1 else 1

    # --- the arguments of a kernel: buffers, integers, floats, in the order of kernels.def

    def _shared(self, part: _Part) -> tuple[int, ...]:
        """RV_ATTENTION_INTS up to the band."""
        query, keys, mask, bias = part.strides[:4]
        return (
            part.batch, part.heads, part.kv_heads, self.n_query, self.n_key, self.dim,
            *query, self.heads * self.dim, *keys, self.kv_heads * self.dim,
            *mask, *self._addend_steps(self.mask), *bias, *self._addend_steps(self.bias), *self.scoring.band,
        )  # fmt: skip

    def _outputs(self, part: _Part) -> tuple[int, ...]:
        """RV_VALUE_INTS; the output is the first operand behind the values."""
        return (
            self.dim_value, *part.strides[9], self.kv_heads * self.dim_value, *part.strides[10],
            self.heads * self.dim_value,
        )  # fmt: skip

    def _score_buffers(self, part: _Part) -> tuple[Array | None, ...]:
        """RV_SCORE_BUFFERS."""
        tiles = self.scoring.tiles
        indptr, runs, bits = (
            (None,) * 3
            if tiles is None
            else (contiguous(tiles.indptr, np.int64), contiguous(tiles.runs, np.int64), tiles.bits.view(np.int64))
        )
        return (indptr, runs, bits, self.segments, self.spaces, *part.buffers[5:9])

    def _score_numbers(self, part: _Part) -> tuple[float, ...]:
        """RV_SCORE_INTS and RV_SCORE_FLOATS."""
        tiles, times, dropout = self.scoring.tiles, self.scoring.times, self.scoring.dropout
        sizes = (0, 0, 0) if tiles is None else (tiles.rows, len(tiles.runs), len(tiles.bits))
        count = len(self.scoring.spaces)
        return (
            *sizes, count, *part.strides[5], self.heads * count, *part.strides[6], self.kv_heads * count,
            part.strides[7][0], part.strides[8][0], dropout.seed if dropout else 0, part.item,
            self.scoring.scale, *((times.decay, times.rate) if times else (0.0, 0.0)),
            dropout.share if dropout else 0.0,
        )  # fmt: skip

    def _finite(self) -> bool:
        arrays = (self.query.array, self.keys.array, self.values.array)
        return not any(kernels.active.all_finite(a, a.size) for a in arrays if a is not None)

    def _run(self, part: _Part, call: Callable[[int, int], int], max_threads: int | None) -> int:
        tasks = part.batch * part.heads * -(-self.n_query // QUERY_BLOCK)
        work = part.batch * part.heads * self.n_query * self.n_key * (self.dim + self.dim_value)
        return threads.run(call, tasks, work, max_threads)

    # --- the calls

    def forward(self, out: Array, lse: Array | None, max_threads: int | None) -> int:
        if self.look_through and not self._finite():
            return kernels.NON_FINITE
        status = 0
        for part in self._parts(_Operand(out, 2, self.dim_value), _Operand(lse, 2, self.n_query)):
            before, outputs = self._shared(part), self._outputs(part)
            kernel = kernels.active.attention
            more: tuple[Array | None, ...] = ()
            numbers: tuple[float, ...] = (self.scoring.scale,)
            if not self.scoring.is_plain:
                kernel, more = kernels.active.attention_scored, self._score_buffers(part)
                numbers = self._score_numbers(part)
            buffers = (*part.buffers[:5], *more, *part.buffers[9:])

            def call(
                start: int, stop: int, *, kernel: Any = kernel, buffers: Any = buffers, before: Any = before,
                after: Any = (*outputs, *numbers),
            ) -> int:  # fmt: skip
                return int(kernel(*buffers, *before, start, stop, *after))

            status |= self._run(part, call, max_threads)
        return status

    def weigh(self, out: Array, max_threads: int | None) -> int:
        if self.look_through and not self._finite():
            return kernels.NON_FINITE
        status = 0
        output = _Operand(out, 3 if self.heads > 1 else 2, self.n_query * self.n_key)
        for part in self._parts(output):
            before, numbers = self._shared(part), self._score_numbers(part)
            buffers = (*part.buffers[:5], *self._score_buffers(part), part.buffers[10])

            def call(
                start: int, stop: int, *, buffers: Any = buffers, before: Any = before, numbers: Any = numbers
            ) -> int:
                return int(kernels.active.attention_weights(*buffers, *before, start, stop, *numbers))

            status |= self._run(part, call, max_threads)
        return status

    def select(self, top_k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of a problem without leading axes: the keys with the highest scores, (heads, n_query, top_k), -1 behind
        their counts, (heads, n_query)."""
        (part,) = self._parts()
        top_k = min(top_k, self.n_key)
        indices = np.empty((self.heads, self.n_query, top_k), np.int64)
        counts = np.empty((self.heads, self.n_query), np.int64)
        numbers = self._score_numbers(part)
        ints, floats = numbers[:-4], numbers[-4:]
        before, buffers = self._shared(part), (*part.buffers[:5], *self._score_buffers(part), indices, counts)

        def call(start: int, stop: int) -> int:
            return int(kernels.active.attention_top_k(*buffers, *before, start, stop, *ints, top_k, *floats))

        if self._run(part, call, None) and self.check_finite:
            raise_non_finite(
                query=self.query.array, keys=self.keys.array, mask=self.scoring.mask, bias=self.scoring.bias
            )
        return indices, counts

    def backward(self, out: Array, lse: Array, grad_out: Array, max_threads: int | None) -> Gradients:
        inputs = (self.query, self.keys, self.values, self.bias, *self.aux)
        grads = [None if o.array is None else np.zeros(o.array.shape, FLOAT32) for o in inputs]
        outputs = [
            _Operand(out, 2, self.dim_value),
            _Operand(grad_out, 2, self.dim_value),
            _Operand(lse, 2, self.n_query),
            *(operand._replace(array=grad) for operand, grad in zip(inputs, grads, strict=True)),
        ]
        count = len(self.scoring.spaces)
        total = np.zeros(2 * count + 2)
        kernel = backward_kernel("attention_backward", lse, lse.size * self.n_key)
        alone = kernel is not kernels.active.attention_backward  # a body computes all tasks in each call
        for part in self._parts(*outputs):
            tasks = part.batch * part.kv_heads
            scalars = np.zeros((tasks, total.size)) if count or self.scoring.times else None
            before = self._shared(part)
            after = (*self._outputs(part), *self._score_numbers(part))
            buffers = (*part.buffers[:5], *self._score_buffers(part), *part.buffers[9:], scalars)

            def call(start: int, stop: int, *, buffers: Any = buffers, before: Any = before, after: Any = after) -> int:
                return int(kernel(*buffers, *before, start, stop, *after))

            sums = any(
                size > 1 and step[axis] == 0
                for operand, step in zip(part.buffers, part.strides, strict=True)
                if operand is not None
                for axis, size in enumerate((part.batch, part.kv_heads))
            )  # tasks that add to the same gradient stay in one thread
            work = 3 * part.batch * part.heads * self.n_query * self.n_key * (self.dim + self.dim_value)
            threads.run(call, tasks, work, 1 if sums or alone else max_threads)
            if scalars is not None:
                total += scalars.sum(axis=0)
        query, keys, values, bias, *aux = grads
        assert query is not None and keys is not None and values is not None
        of_spaces = total[:-2].reshape(count, 2)
        for x, grad, of_aux in ((self.query.array, query, aux[0]), (self.keys.array, keys, aux[1])):
            if of_aux is not None:
                self._backward_aux(x, of_aux, grad, of_spaces)
        if self.angles:
            query, keys = (
                rotate_rows(x, a, self.dim, inverse=True) for x, a in zip((query, keys), self.angles, strict=True)
            )
        of_times = total[-2:] if self.scoring.times else None
        return Gradients(query, keys, values, bias, of_spaces if count else None, of_times)

    def _backward_aux(self, x: Any, grad_aux: Array, grad: Array, of_spaces: Array) -> None:
        """On from what distances need of every row, to the rows and the curvatures."""
        count = len(self.scoring.spaces)
        of_curvature = np.zeros(count)
        kernels.active.space_aux_backward(
            x, self.segments, self.spaces, grad_aux, grad, of_curvature, x.size // self.dim, self.dim, count
        )
        of_spaces[:, 1] += of_curvature
