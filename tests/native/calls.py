"""Calls of kernels as data: recorded while the package runs on its NumPy bodies, run again by the program calls.c.

The NumPy bodies (float64 inside) give what each call is to answer. Nothing here names a kernel.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ruvector_attention import kernels, reference, threads

Array = npt.NDArray[Any]

DTYPES = {"f32": np.float32, "u8": np.uint8, "i32": np.int32, "i64": np.int64, "f64": np.float64}
NOT_GIVEN = -1
TIMEOUT = 300.0  # seconds for the calls of one case: they take a few, on an emulator some ten
UNWRITTEN = 12345.0  # what an output holds before a kernel fills it


class Buffer(NamedTuple):
    name: str
    dtype: str
    role: str  # in, in?, out, out? or scratch

    @property
    def is_output(self) -> bool:
        return self.role.startswith("out")


class Kernel(NamedTuple):
    """A line of `calls --kernels`: what kernels.def says."""

    number: int  # its place in kernels.def
    name: str
    buffers: tuple[Buffer, ...]
    ints: tuple[str, ...]
    floats: tuple[str, ...]

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The buffers that a caller passes: scratch is lent."""
        return tuple(buffer for buffer in self.buffers if buffer.role != "scratch")

    @property
    def adds(self) -> bool:
        """Whether it adds to its outputs, as gradients are, instead of filling them."""
        return self.name.endswith("_backward") or self.name == "scatter_rows"


class Call(NamedTuple):
    kernel: Kernel
    buffers: list[Array | None]  # as they are before the call
    numbers: tuple[Any, ...]
    status: int
    outputs: dict[str, Array]  # as the NumPy body leaves them

    def __str__(self) -> str:
        names = (*self.kernel.ints, *self.kernel.floats)
        told = ", ".join(f"{n}={v}" for n, v in zip(names, self.numbers, strict=True) if v)
        given = [b.name for b, a in zip(self.kernel.arguments, self.buffers, strict=True) if a is not None]
        return f"{self.kernel.name}({told}) with {', '.join(given)}"


class Program:
    """The compiled calls.c, from test.py: $RV_CALLS, $RV_CALLS_RUNNER (an emulator), $RV_CALLS_TARGETS."""

    def __init__(self) -> None:
        self.words = [*shlex.split(os.environ.get("RV_CALLS_RUNNER", "")), os.environ["RV_CALLS"]]

    def lines(self, option: str) -> list[str]:
        return subprocess.run([*self.words, option], check=True, capture_output=True, text=True).stdout.splitlines()

    def targets(self) -> list[str]:
        """The instruction sets to test; one that is wanted and missing is an error."""
        found = self.lines("--targets")
        wanted = os.environ.get("RV_CALLS_TARGETS", "").split() or found
        assert set(wanted) <= set(found), f"{self.words[-1]} has {', '.join(found)}; expected {', '.join(wanted)}"
        return wanted

    def kernels(self) -> dict[str, Kernel]:
        found = {}
        for number, line in enumerate(self.lines("--kernels")):
            name, buffers, ints, floats = line.split(";")
            parts = tuple(Buffer(*buffer.split(":")) for buffer in buffers.split())
            found[name] = Kernel(number, name, parts, tuple(ints.split()), tuple(floats.split()))
        return found

    def run(self, target: str, calls: list[Call], given: Path) -> list[tuple[int, dict[str, Array]]]:
        """Status and outputs of the calls that `write` put into a file.

        What the program or a sanitizer objects to is an AssertionError, and so is a program that does not end.
        """
        with tempfile.TemporaryDirectory() as folder:
            taken = Path(folder) / "results.bin"
            command = [*self.words, target, str(given), str(taken)]
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, timeout=TIMEOUT
            )
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-8000:]}"
            return read(calls, taken)


def write(calls: list[Call], path: Path) -> None:
    with path.open("wb") as file:

        def put(array: Array) -> None:
            content = array.tobytes()
            file.write(content + bytes(-len(content) % 8))

        put(np.array([len(calls)], np.int64))
        for call in calls:
            kernel, count = call.kernel, len(call.kernel.ints)
            put(np.array([kernel.number, *call.numbers[:count]], np.int64))
            put(np.array(call.numbers[count:], np.float64))
            for array in call.buffers:
                put(np.array([NOT_GIVEN if array is None else array.size], np.int64))
                if array is not None:
                    put(array)


def read(calls: list[Call], path: Path) -> list[tuple[int, dict[str, Array]]]:
    """Of each output as many elements as kernels.def promises: what lies behind them is no kernel's to touch."""
    content, at, results = path.read_bytes(), 0, []

    def take(count: int, dtype: npt.DTypeLike) -> Array:
        nonlocal at
        array = np.frombuffer(content, dtype, count, at)
        at += -(-array.nbytes // 8) * 8
        return array

    for call in calls:
        status = int(take(1, np.int64)[0])
        pairs = zip(call.kernel.arguments, call.buffers, strict=True)
        given = [buffer for buffer, array in pairs if buffer.is_output and array is not None]
        results.append((status, {b.name: take(int(take(1, np.int64)[0]), DTYPES[b.dtype]) for b in given}))
    assert at == len(content)
    return results


@contextlib.contextmanager
def recording(program_kernels: dict[str, Kernel]) -> Iterator[list[Call]]:
    """Within it, every kernel that the package calls goes into the list, with what its NumPy body answers."""
    calls: list[Call] = []
    before, count = kernels.backend(), threads.threads()
    kernels.use_backend("numpy")
    threads.set_threads(1)  # outputs are filled before a call, which would undo another thread's
    try:
        for kernel in program_kernels.values():
            setattr(kernels.active, kernel.name, _recorder(kernel, reference.BODIES[kernel.name], calls))
        yield calls
    finally:
        threads.set_threads(count)
        kernels.use_backend(before)


def _recorder(kernel: Kernel, body: kernels.Kernel, calls: list[Call]) -> Callable[..., int]:
    count = len(kernel.arguments)

    def recorded(*arguments: Any) -> int:
        numbers = tuple(arguments[count:])
        status = _record(kernel, body, list(arguments[:count]), numbers, calls)
        if part := _later_tasks(kernel, numbers):
            _record(kernel, body, [None if a is None else a.copy() for a in arguments[:count]], part, calls)
        return status

    return recorded


def _later_tasks(kernel: Kernel, numbers: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The same call without its first task or row, as the second of two threads gets it."""
    if "start" not in kernel.ints:
        return None
    start, stop = kernel.ints.index("start"), kernel.ints.index("stop")
    if numbers[stop] - numbers[start] < 2:
        return None
    return (*numbers[:start], numbers[start] + 1, *numbers[start + 1 :])


def _record(
    kernel: Kernel, body: kernels.Kernel, buffers: list[Array | None], numbers: tuple[Any, ...], calls: list[Call]
) -> int:
    random = np.random.default_rng(len(calls))
    for buffer, array in zip(kernel.arguments, buffers, strict=True):
        if buffer.is_output and array is not None:
            flat = array.reshape(-1)
            flat[:] = random.standard_normal(flat.size) if kernel.adds else UNWRITTEN
    kept = [_stored(b, a) for b, a in zip(kernel.arguments, buffers, strict=True)]
    status = body(*buffers, *numbers)
    pairs = zip(kernel.arguments, buffers, strict=True)
    outputs = {b.name: a.reshape(-1).copy() for b, a in pairs if b.is_output and a is not None}
    calls.append(Call(kernel, kept, numbers, status, outputs))
    return status


def _stored(buffer: Buffer, array: Array | None) -> Array | None:
    if array is None:
        return None
    flat = array.reshape(-1)
    if array.dtype == np.bool_:
        flat = flat.view(np.uint8)
    assert flat.dtype == DTYPES[buffer.dtype], f"{buffer.name} is {array.dtype}; expected {buffer.dtype}"
    return flat.copy()
