"""Lanes: one worker process each, with its own threads and instruction set, that answers requests one at a time.

While one lane works the others wait for a line of input, so that rounds interleave across processes.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .environment import clean_environment

Message = dict[str, Any]
HERE = Path(__file__).resolve().parent


class LaneError(Exception):
    """The worker died, or did not answer in time; the message says which."""


class Worker(Protocol):
    def ask(self, message: Message, timeout: float) -> Message:
        """The reply to `message`. Raises LaneError, after which the worker is gone."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Lane:
    """Which engines run where. `isa` limits an engine to an instruction set and shows in its label; for ours it may be
    any of the library's backends.

    avx2       everything in the process, torch's matrix products by MKL and oneDNN included
    avx2-aten  torch as ATEN_CPU_CAPABILITY=avx2 leaves it: ATen's own kernels are limited, MKL still runs AVX-512
    """

    runtime: str
    engines: tuple[str, ...]
    threads: int = 1
    isa: str = ""
    python: Path | None = None

    @property
    def limits(self) -> tuple[int, str]:
        return self.threads, self.isa

    @property
    def backend(self) -> str:
        """Of our library; empty: the best that there is."""
        return self.isa.removesuffix("-aten")

    def label(self, engine: str) -> str:
        return f"{engine}@{self.isa}" if self.isa else engine


class ProcessWorker:
    """A child process that speaks JSON lines on its standard input and output; its errors go to a log file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
        self._log = log
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, message: Message, timeout: float) -> Message:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=timeout)
        except (BrokenPipeError, queue.Empty) as error:
            self.close()
            if isinstance(error, queue.Empty):
                raise LaneError(f"no answer within {timeout:.0f} s") from error
            line = ""
        if not line:
            self.close()
            raise LaneError(f"the worker ended with status {self._process.wait()} (see {self._log})")
        reply: Message = json.loads(line)
        return reply

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")


def python_worker(lane: Lane, models: Path, log: Path, limit: float) -> ProcessWorker:
    """A CPython lane. Every library is told its threads before it is imported."""
    threads = str(lane.threads)
    settings = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RUVECTOR_ATTENTION_THREADS"), threads
    )
    settings |= {"BENCH_MODELS": str(models), "BENCH_LIMIT": str(limit), "PYTHONPATH": str(HERE.parent)}
    if lane.isa:
        settings["RUVECTOR_ATTENTION_BACKEND"] = lane.backend
    if lane.backend == "avx2":
        settings["ATEN_CPU_CAPABILITY"] = "avx2"
    if lane.isa == "avx2":
        settings |= {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [str(lane.python), "-m", "benchmarks.python_worker"]
    return ProcessWorker(command, clean_environment(**settings), log)


def node_worker(configuration: Path, log: Path) -> ProcessWorker:
    """A Node lane: the JavaScript engines, or Pyodide."""
    command = ["node", str(HERE / "web" / "node_worker.mjs"), str(configuration)]
    return ProcessWorker(command, clean_environment(), log)
