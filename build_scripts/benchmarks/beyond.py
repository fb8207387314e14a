"""What a call of the npm package's `pyodide` takes beyond the kernel, of which both suites with JavaScript tell.

The kernel is the function in C that attends. It is timed within the calls that are timed from JavaScript, by
web/beyond.mjs: what is left is the way of the arrays there and back, the bridge, and what Python does about the kernel.
"""

from __future__ import annotations

from .lanes import Lane, Message
from .runner import Runner
from .targets import KEYS_BEYOND, PLACES, QUERIES_BEYOND

PART = "pyodide-1000x128"
DIM = 128
# An engine takes memory for results from the system until a collection gives it some back: a second is no measure.
SECONDS = {False: 5.0, True: 1.0}  # by whether the run is a quick one
PYODIDE = "ruvector-attention-js"


def measure(runner: Runner, quick: bool) -> dict[str, Message]:
    """By runtime the medians of each place and number of queries."""
    found = {}
    for lane in filter(_is_meant, runner.lanes):
        size = {"n": KEYS_BEYOND, "dim": DIM, "queries": QUERIES_BEYOND, "places": [*PLACES]}
        found[lane.runtime] = runner.request(lane, "beyond", engine=PYODIDE, seconds=SECONDS[quick], **size)
    return found


def _is_meant(lane: Lane) -> bool:
    return PYODIDE in lane.engines and lane.threads == 1 and not lane.isa


def lines(found: dict[str, Message]) -> list[str]:
    """One for each that was measured, with what Python has of it, or why there is none."""
    told = []
    for runtime, reply in found.items():
        if "rows" not in reply:
            told.append(f"pyodide in {runtime}: {reply.get('unavailable') or reply.get('error')}")
        for row in reply.get("rows", []):
            size = f"{row['queries']}×{KEYS_BEYOND}×{DIM}"
            told.append(
                f"pyodide in {runtime}{PLACES[row['place']]}, {size}: {row['whole_ms']:.2f} ms,"
                f" {row['beyond_ms']:.2f} beyond the kernel, {row['python_ms']:.2f} of it in the call that Python makes"
            )
    return told
