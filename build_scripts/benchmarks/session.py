"""The worker's side of the conversation, in Python: the same code in CPython and inside Pyodide.

A request is a JSON object with `op`; the answer is one too. Arrays travel as raw float32 files.
  prepare  engine, workload, folder, answer -> {} after writing the engine's answer to the file `answer`,
                                               or {unavailable: reason}
  time     engine, workload, seconds        -> {ms, calls}: one turn of a round, of about `seconds`
  memory   engine, workload, folder         -> {mbytes}: what a call needs beyond in- and output, or {unavailable}
  release  engine, workload                 -> {}: forget the prepared call and its arrays
  peak                                      -> {gflops, gbytes, backend} or {unavailable: reason}
  overhead                                  -> {call_us, overhead_us} of our call on 1 × 100 × 64, or {unavailable}
  describe                                  -> {mechanisms, backend, backends}: what our library says of itself
  golden     cases                          -> {golden, autograd}: largest errors of outputs, of gradients on vectors
  gradients  cases                          -> {difference}: how far gradients are from differences, on a few of them
  tile_pairs window, global_tokens, n       -> {pairs} in the tiles of that mask that are not empty
"""

from __future__ import annotations

import gc
import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import engines
from .cases import MechanismCase
from .cases import from_description as case_from
from .rounds import repeats
from .workloads import Workload, from_description

Message = dict[str, Any]

# Read bandwidth is measured over as many bytes as the largest bank of keys and values holds (1 × 10 000 × 512): beyond
# the caches of a core, yet, like that bank, within a last-level cache where there is a large one.
READ_BYTES = 41_000_000


class Session:
    """The prepared calls of one process."""

    def __init__(self) -> None:
        self._engines: dict[str, engines.Engine] = {}
        self._calls: dict[tuple[str, str], engines.Call] = {}

    def handle(self, message: Message) -> Message:
        """Answer one request."""
        if message["op"] == "prepare":
            return self._prepare(message)
        if message["op"] == "time":
            milliseconds, calls = turn(self._calls[_of(message)], message["seconds"])
            return {"ms": milliseconds, "calls": calls}
        if message["op"] == "memory":
            return self._memory(message)
        if message["op"] == "release":
            self._calls.pop(_of(message), None)
            gc.collect()
            return {}
        if message["op"] == "peak":
            return _peak()
        if message["op"] == "overhead":
            return _overhead()
        if message["op"] in _ABOUT_OURS:
            return _ABOUT_OURS[message["op"]](message)
        return {"error": f"unknown op {message['op']!r}"}

    def _prepare(self, message: Message) -> Message:
        try:
            engine, call = self._open(message)
            answer = engine.answer(call())
        except engines.UnavailableError as reason:
            return {"unavailable": str(reason)}
        np.ascontiguousarray(answer, dtype="<f4").tofile(message["answer"])
        self._calls[_of(message)] = call
        return {}

    def _memory(self, message: Message) -> Message:
        try:
            engine, call = self._open(message)
            return {"mbytes": _peak_bytes(call, lambda result: engine.answer(result).nbytes) / 1e6}
        except engines.UnavailableError as reason:
            return {"unavailable": str(reason)}

    def _open(self, message: Message) -> tuple[engines.Engine, engines.Call]:
        name, workload = message["engine"], _described(message["workload"])
        if name not in self._engines:
            try:
                self._engines[name] = engines.load(name)
            except ImportError as error:
                raise engines.UnavailableError(f"cannot be imported: {error}") from error
        engine = self._engines[name]
        return engine, engine.prepare(workload, _read(workload, message["folder"]))


def _of(message: Message) -> tuple[str, str]:
    return message["engine"], message["workload"]["name"]


def _described(description: Message) -> Workload | MechanismCase:
    return case_from(description) if description["kind"] == MechanismCase.kind else from_description(description)


def _read(workload: Workload | MechanismCase, folder: str) -> engines.Arrays:
    return {
        name: np.fromfile(Path(folder) / f"{workload.name}.{name}.f32", dtype="<f4").reshape(shape)
        for name, shape in workload.inputs.items()
    }


def turn(call: engines.Call, seconds: float) -> tuple[float, int]:
    """Milliseconds per call: the median over up to 20 groups of calls that together take about `seconds`.

    The first call warms caches that another process has used in between, and only sizes the groups, unless it alone
    fills the turn.
    """
    gc.disable()
    try:
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        if first >= seconds:
            return first * 1e3, 1
        calls = repeats(first, seconds)
        group = max(1, calls // 20)
        taken = []
        for _ in range(math.ceil(calls / group)):
            start = time.perf_counter()
            for _ in range(group):
                call()
            taken.append((time.perf_counter() - start) / group)
        return median(taken) * 1e3, len(taken) * group
    finally:
        gc.enable()


def _peak_bytes(call: engines.Call, answer_bytes: Callable[[Any], int]) -> int:
    """The highest memory during one call, less that before it and less the answer.

    Linux resets and reports a process's high-water mark. Elsewhere (Pyodide) tracemalloc sees what Python and NumPy
    allocate, which is all there is: the kernels allocate nothing.
    """
    gc.collect()
    try:
        before = _resident("VmRSS", reset=True)
    except OSError:
        tracemalloc.start()
        result = call()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest - answer_bytes(result)
    result = call()
    return _resident("VmHWM") - before - answer_bytes(result)


def _resident(field: str, *, reset: bool = False) -> int:
    """VmRSS (now) or VmHWM (highest since the last reset) of this process, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _peak() -> Message:
    """Arithmetic and read bandwidth this machine reaches with the backend in use, by the library's own kernels."""
    try:
        import ruvector_attention as ra
        from ruvector_attention import kernels

        return {"gflops": kernels.peak_gflops(), "gbytes": kernels.read_gbytes(READ_BYTES), "backend": ra.backend()}
    except (ImportError, AttributeError) as error:
        return {"unavailable": str(error)}


def _overhead() -> Message:
    """Microseconds of one call on 1 × 100 × 64, and what is left of them without the arithmetic.

    The arithmetic of one problem is the slope between one call on 64 problems and one on 256.
    """
    try:
        from .engines.ours import stacked_calls
    except ImportError as error:
        return {"unavailable": str(error)}
    calls = [stacked_calls(count) for count in (1, 64, 256)]
    rounds = [[turn(call, 0.02)[0] * 1e3 for call in calls] for _ in range(9)]
    single, small, large = (median(column) for column in zip(*rounds, strict=True))
    return {"call_us": single, "overhead_us": single - (large - small) / 192}


def _describe(_message: Message) -> Message:
    import ruvector_attention as ra
    from ruvector_attention import kernels

    return {"mechanisms": ra.describe()["mechanisms"], "backend": ra.backend(), "backends": kernels.backends()}


def _golden(message: Message) -> Message:
    from .golden import autograd_error, golden_error, of_common_scores

    cases = message["cases"]
    gradients = max(map(autograd_error, of_common_scores(cases)))
    return {"golden": max(map(golden_error, cases)), "autograd": gradients}


def _gradients(message: Message) -> Message:
    from .golden import difference_error, few_of

    return {"difference": max(map(difference_error, few_of(message["cases"])), default=None)}


def _tile_pairs(message: Message) -> Message:
    import ruvector_attention as ra

    tiles = ra.WindowMask(message["window"], message["global_tokens"]).tiles(message["n"], message["n"])
    return {"pairs": sum((tile.query_end - tile.query_begin) * (tile.key_end - tile.key_begin) for tile in tiles)}


_ABOUT_OURS: dict[str, Callable[[Message], Message]] = {
    "describe": _describe,
    "golden": _golden,
    "gradients": _gradients,
    "tile_pairs": _tile_pairs,
}
