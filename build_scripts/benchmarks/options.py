"""The command line of bench.py, read twice: by the process that sets up and by the one that measures."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

RUNTIMES = ("cpython", "node", "chromium", "pyodide-node", "pyodide-chromium")


@dataclass(frozen=True)
class Pace:
    """How long things may take, in seconds."""

    rounds: int
    turn: float
    """One engine's part of one round."""
    limit: float
    """An engine whose single call takes longer is reported, not timed."""
    cap: float
    """An engine that has spent this on one workload drops out of its later rounds."""
    budget: float = math.inf
    """After this, what is measured together begins no further round, but for the first few."""


# A workload has some thirty contestants: cap and budget are what keeps the slow ones, or a busy machine, from making a
# run of the suite an hour.
FULL = Pace(rounds=7, turn=0.1, limit=10.0, cap=4.0, budget=30.0)
# Growth has few, and its largest sizes are what it is about.
LONG = Pace(rounds=9, turn=0.2, limit=20.0, cap=25.0)
QUICK = Pace(rounds=3, turn=0.05, limit=4.0, cap=1.0)


@dataclass(frozen=True)
class Options:
    suite: str
    quick: bool
    json: Path | None
    plot: Path | None
    only: list[str]
    runtimes: list[str]
    write: bool = False

    @property
    def pace(self) -> Pace:
        if self.quick:
            return QUICK
        return LONG if self.suite == "growth" else FULL


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="Every workload × runtime × engine in interleaved rounds, each answer checked against float64.",
    )
    parser.add_argument(
        "--suite",
        choices=("engine", "reach", "growth", "mechanisms", "javascript"),
        default="engine",
        help="all workloads, the few target figures, how our cost grows with n, every mechanism, or the npm package",
    )
    parser.add_argument("--quick", action="store_true", help="the main workloads, under two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements as a JSON list")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw GFLOP/s of every engine, or how the cost grows (PNG, SVG or PDF)",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="only workloads whose name contains one of these"
    )
    parser.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=list(RUNTIMES), help="only these runtimes")
    parser.add_argument("--write", action="store_true", help="of javascript: put the table into its page of docs/")
    given = parser.parse_args(arguments)
    if given.write and given.suite != "javascript":
        parser.error(f"--write is of --suite javascript; got --suite {given.suite}")
    if given.suite == "javascript":
        given.runtime = [runtime for runtime in given.runtime if runtime in ("node", "chromium")]
        if not given.runtime:
            parser.error("--suite javascript runs in node and chromium; expected one of them among --runtime")
    if given.suite == "mechanisms":
        given.runtime = [runtime for runtime in given.runtime if runtime in ("cpython", "pyodide-node")]
        if "cpython" not in given.runtime:
            parser.error("--suite mechanisms compares with CPython; expected cpython among --runtime")
    return Options(given.suite, given.quick, given.json, given.plot, given.only, given.runtime, given.write)
