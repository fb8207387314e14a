"""The worker's side of the conversation, in Python: the same code in CPython and inside Pyodide.

A request is a JSON object with `op`; the answer is one too. Arrays travel as raw float32 files.
  prepare  engine, workload, folder, answer -> {} after writing the engine's answer to the file `answer`,
                                               or {unavailable: reason}
  time     engine, seconds                  -> {ms, calls}: one turn of a round, of about `seconds`
  memory   engine                           -> {mbytes}: memory one call needs beyond in- and output
  release  engine                           -> {}: forget the prepared call and its arrays
  peak                                      -> {gflops, gbytes, backend} or {unavailable: reason}
"""

from __future__ import annotations

import gc
import math
import os
import time
from statistics import median
from typing import Any

import numpy as np

from . import engines
from .rounds import repeats
from .workloads import Workload, from_description

Message = dict[str, Any]


class Session:
    """The prepared calls of one process."""

    def __init__(self) -> None:
        self._engines: dict[str, engines.Engine] = {}
        self._calls: dict[str, engines.Call] = {}

    def handle(self, message: Message) -> Message:
        """Answer one request."""
        if message["op"] == "prepare":
            return self._prepare(message)
        if message["op"] == "time":
            milliseconds, calls = turn(self._calls[message["engine"]], message["seconds"])
            return {"ms": milliseconds, "calls": calls}
        if message["op"] == "memory":
            return {"mbytes": _peak_mbytes(self._calls[message["engine"]])}
        if message["op"] == "release":
            self._calls.pop(message["engine"], None)
            gc.collect()
            return {}
        if message["op"] == "peak":
            return _peak()
        return {"error": f"unknown op {message['op']!r}"}

    def _prepare(self, message: Message) -> Message:
        name, workload = message["engine"], from_description(message["workload"])
        try:
            if name not in self._engines:
                self._engines[name] = engines.load(name)
            engine = self._engines[name]
            call = engine.prepare(workload, _read(workload, message["folder"]))
            answer = engine.answer(call())
        except engines.Unavailable as reason:
            return {"unavailable": str(reason)}
        except ImportError as error:
            return {"unavailable": f"cannot be imported: {error}"}
        np.ascontiguousarray(answer, dtype="<f4").tofile(message["answer"])
        self._calls[name] = call
        return {}


def _read(workload: Workload, folder: str) -> engines.Arrays:
    return {
        name: np.fromfile(os.path.join(folder, f"{workload.name}.{name}.f32"), dtype="<f4").reshape(shape)
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


def _peak_mbytes(call: engines.Call) -> float | None:
    """Resident memory at its highest during one call, less before it and less the answer; None where unknown."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        before = _status("VmRSS")
        result = call()
        after = _status("VmHWM")
    except OSError:
        return None
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return (after - before - sum(int(part.nbytes) for part in parts)) / 1e6


def _status(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def _peak() -> Message:
    """Arithmetic and read bandwidth this machine reaches with the backend in use, by the library's own kernels."""
    try:
        import ruvector_attention as ra
        from ruvector_attention import kernels

        return {"gflops": kernels.peak_gflops(), "gbytes": kernels.read_gbytes(), "backend": ra.backend()}
    except (ImportError, AttributeError) as error:
        return {"unavailable": str(error)}
