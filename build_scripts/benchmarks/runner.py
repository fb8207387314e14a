"""The rounds: prepare and check every engine of a workload, then let each take its turn in every round."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from . import inputs
from .cases import MechanismCase
from .lanes import Lane, LaneError, Message, Worker
from .options import Pace
from .rounds import gflops, order
from .workloads import Workload, shorter

# float32 products of a few thousand terms stay well below this; a wrong formula is far above it.
TOLERANCE = 1e-4
READINGS = 3
# Rounds that the budget leaves, so that the ratio of what stays below the cap is no single reading.
FEWEST = 2
ERROR_LENGTH = 160


@dataclass
class Contestant:
    """One engine in one lane on one workload, and what came of it."""

    workload: Workload | MechanismCase
    lane: Lane
    engine: str
    reason: str = ""
    """Why it was not timed; empty when it was."""
    error: float | None = None
    samples: list[float] = field(default_factory=list)
    """Milliseconds per call, one for each round it took part in (always the first ones)."""
    spent: float = 0.0
    mbytes: float | None = None

    @property
    def key(self) -> tuple[Lane, str, str]:
        """What its worker keeps the prepared call under."""
        return self.lane, self.engine, self.workload.name

    @property
    def label(self) -> str:
        return self.lane.label(self.engine)

    @property
    def ms(self) -> float | None:
        return median(self.samples) if self.samples else None

    @property
    def gflops(self) -> float | None:
        return gflops(self.workload.flops, self.ms) if self.ms and self.workload.flops else None

    def drops_out(self, cap: float) -> bool:
        """Whether it takes part in no further round."""
        return bool(self.reason) or self.spent >= cap


Task = Workload | MechanismCase
Open = Callable[[Lane], Worker]
Expected = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Runner:
    """Runs workloads over lanes. `open_worker` starts the process of a lane; it is kept for all workloads.

    `reference` is the float64 answer that a contestant owes, where it is not the workload's own.
    """

    def __init__(
        self,
        lanes: list[Lane],
        open_worker: Open,
        pace: Pace,
        cache: Path,
        reference: Callable[[Contestant], Expected] | None = None,
    ) -> None:
        self.lanes, self._open_worker, self._pace, self._cache = lanes, open_worker, pace, cache
        self._reference = reference
        self._workers: dict[Lane, Worker] = {}
        self._ready: set[tuple[Lane, str, str]] = set()
        self._scratch = tempfile.TemporaryDirectory(prefix="answers-", dir=cache)
        self.peaks: dict[tuple[str, str], Message] = {}

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._scratch.cleanup()

    def run(self, *workloads: Task) -> list[Contestant]:
        """One workload; or several, in the same rounds, where their times are compared with one another."""
        started = time.monotonic()
        contestants: list[Contestant] = []
        for workload in workloads:
            self._write(workload)
            several = [
                Contestant(workload, lane, engine)
                for lane in self.lanes
                for engine in lane.engines
                if workload.runs(engine, lane.runtime, lane.threads, lane.isa)
            ]
            for contestant in several:
                self._prepare(contestant, self._expected(contestant))
            contestants += several
        if any(isinstance(workload, Workload) for workload in workloads):
            self.measure_peaks()
        begun = time.monotonic()
        for index in range(self._pace.rounds):
            if index >= FEWEST and time.monotonic() - begun >= self._pace.budget:
                break
            for contestant in order(contestants, index):
                if not contestant.drops_out(self._pace.cap):
                    self._time(contestant)
        for contestant in contestants:
            if contestant.lane in self._workers:
                self._ask(contestant, "release")
        self._measure_memory([contestant for contestant in contestants if contestant.workload.memory])
        say(f"{_span(workloads)}: {time.monotonic() - started:.0f} s")
        return contestants

    def measure_peaks(self) -> None:
        """The peak of each one-thread lane of our own: the highest of a few readings, taken with the first workload."""
        own = [lane for lane in self.lanes if "ruvector-attention" in lane.engines and lane.threads == 1]
        for lane in [] if self.peaks else own * READINGS:
            found = self.request(lane, "peak")
            kept = self.peaks.setdefault((lane.runtime, lane.isa), {})
            for name, value in found.items():
                kept[name] = max(value, kept[name]) if isinstance(value, float) and name in kept else value

    def answer(self, workload: Task, lane: Lane, engine: str) -> Expected | str:
        """What that engine answers, or why it does not."""
        self._write(workload)
        asked = Contestant(workload, lane, engine)
        reply = self._ask(asked, "prepare")
        self._ask(asked, "release")
        return reply.get("unavailable") or reply.get("error") or self._read_answer().astype(np.float64)

    def request(self, lane: Lane, op: str, **more: object) -> Message:
        """The reply to a request that concerns a lane and none of its engines."""
        message = {"op": op, "runtime": lane.runtime, "environment": _environment(lane), **more}
        try:
            return self._worker(lane).ask(message, 60 + 6 * self._pace.limit)
        except LaneError as error:
            self._drop(lane)
            return {"error": str(error)}

    def _worker(self, lane: Lane) -> Worker:
        if lane not in self._workers:
            self._workers[lane] = self._open_worker(lane)
        return self._workers[lane]

    def _ask(self, contestant: Contestant, op: str, workload: Task | None = None, **more: object) -> Message:
        """The reply, or {"error"}: a worker that dies is dropped, and its other engines are prepared anew."""
        workload = workload or contestant.workload
        message: Message = {
            "op": op,
            "engine": contestant.engine,
            "runtime": contestant.lane.runtime,
            "environment": _environment(contestant.lane),
            "workload": workload.describe(),
            "folder": str(inputs.folder(workload, self._cache)),
            "models": str(self._cache / "models"),
            "answer": str(Path(self._scratch.name) / "answer.f32"),
            "limit": self._pace.limit,
            "threads": contestant.lane.threads,
            **more,
        }
        try:
            reply = self._worker(contestant.lane).ask(message, timeout=60 + 6 * self._pace.limit)
        except LaneError as error:
            self._drop(contestant.lane)
            return {"error": str(error)}
        if "error" in reply:
            reply["error"] = " ".join(reply["error"].split())[:ERROR_LENGTH]
        return reply

    def _drop(self, lane: Lane) -> None:
        self._ready = {ready for ready in self._ready if ready[0] != lane}
        if worker := self._workers.pop(lane, None):
            worker.close()

    def _expected(self, contestant: Contestant) -> Expected:
        if self._reference is not None:
            return self._reference(contestant)
        assert isinstance(contestant.workload, Workload)
        return inputs.reference(contestant.workload, self._cache / "references")

    def _read_answer(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.fromfile(Path(self._scratch.name) / "answer.f32", dtype="<f4")

    def _prepare(self, contestant: Contestant, expected: Expected) -> None:
        reply = self._ask(contestant, "prepare")
        if "unavailable" in reply:
            contestant.reason = f"unavailable: {reply['unavailable']}"
        elif "error" in reply:
            contestant.reason = f"failed: {reply['error']}"
        else:
            answer = inputs.checked(contestant.workload, self._read_answer())
            contestant.error = inputs.max_relative_error(answer, expected)
            if not contestant.error <= TOLERANCE:
                size = f", {answer.size} values for {expected.size}" if answer.size != expected.size else ""
                contestant.reason = f"WRONG answer{size}: not timed"
            self._ready.add(contestant.key)

    def _time(self, contestant: Contestant) -> None:
        if contestant.key not in self._ready and (reply := self._ask(contestant, "prepare")):
            contestant.reason = f"failed: {reply}"
            return
        self._ready.add(contestant.key)
        started = time.monotonic()
        reply = self._ask(contestant, "time", seconds=self._pace.turn)
        contestant.spent += time.monotonic() - started
        if "ms" in reply:
            contestant.samples.append(reply["ms"])
        else:
            contestant.reason = f"failed: {reply.get('error', reply)}"

    def _measure_memory(self, contestants: list[Contestant]) -> None:
        """Each engine in a fresh process, so that nothing kept from an earlier call hides what this one needs.

        Calls of the same form on a fraction of the tokens come first: what a library sets up once, or an engine that
        compiles what is called often, is not what a call costs.
        """
        if not contestants:
            return
        small = shorter(next(c.workload for c in contestants if isinstance(c.workload, Workload)))
        self._write(small)
        with _pages_returned():
            self._measure_each(contestants, small)
        for contestant in contestants:
            self._drop(contestant.lane)

    def _measure_each(self, contestants: list[Contestant], small: Workload) -> None:
        for contestant in contestants:
            if contestant.reason:
                continue
            self._drop(contestant.lane)
            self._ask(contestant, "prepare", small)
            self._ask(contestant, "time", small, seconds=0.5)
            reply = self._ask(contestant, "memory")
            if reply.get("mbytes") is not None:
                # Pages come and go by the hundred kilobytes: below zero is zero.
                contestant.mbytes = max(0.0, reply["mbytes"])
            elif "error" in reply:
                say(f"memory of {contestant.label} on {contestant.workload.name}: {reply['error']}")

    def _write(self, workload: Task) -> None:
        # onnx exists in the peers' environment alone; tests read this module without it.
        from . import models

        inputs.write(workload, inputs.folder(workload, self._cache))
        if isinstance(workload, Workload):
            models.write(workload, self._cache / "models")


def _environment(lane: Lane) -> dict[str, str]:
    """What a Pyodide that is still to be started gets; processes of their own have it already."""
    return {"RUVECTOR_ATTENTION_BACKEND": lane.backend} if lane.backend else {}


def _span(workloads: tuple[Task, ...]) -> str:
    names = [workload.name for workload in workloads]
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}, {len(names)} workloads"


@contextmanager
def _pages_returned() -> Iterator[None]:
    """Processes started in here return what they free: else glibc keeps large blocks, and a call that reuses one seems
    to need nothing, for its own answer as well."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    try:
        yield
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]


def say(message: str) -> None:
    print(f"· bench: {message}", file=sys.stderr, flush=True)
