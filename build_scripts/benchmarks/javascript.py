"""The suite of the npm package: what a page fetches and waits for, and what calls take, beside the peers on npm.

Downloads and first results are those of web/start/. Calls are those of the lanes of the engine suite, each library with
its own best form of input. `pyodide` is measured beyond the kernel (beyond.py); threads on shared memory and pools, of
two over one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from . import beyond, javascript_report, report, starts, targets
from .environment import BENCH, load_note
from .lanes import Lane, Message
from .options import Options
from .report import ADDON, POOL, RESIDENT, THREADS
from .runner import Contestant, Open, Runner, say
from .targets import BATCH, SMALL, Figure, Target, microseconds, two_workers, versus
from .workloads import WORKLOADS

WASM = "ruvector-attention-js-wasm"
ENGINES = (
    WASM,
    RESIDENT,
    ADDON,
    beyond.PYODIDE,
    "onnxruntime-web",
    "tfjs-wasm",
    "@ruvector/attention",
    "ruvector-attention-wasm",
)
FOR_NODE = (ADDON, "@ruvector/attention")
RUNTIMES = ("node", "chromium")
START, ONE, SHARED = "start", "cross-1x1000x128", "self-8x1024x64"
PARTS = (START, SMALL, ONE, beyond.PART, SHARED, BATCH)
START_ROUNDS = {False: 7, True: 3}  # by whether the run is a quick one
# A batch takes seconds: with less, the ratio of two pools would be that of two or three rounds.
BATCH_CAP = 12.0


@dataclass
class Found:
    """What a run has measured: starts by library, calls, and what `pyodide` takes beyond the kernel, by runtime."""

    starts: Message = field(default_factory=dict)
    contestants: list[Contestant] = field(default_factory=list)
    beyond: dict[str, Message] = field(default_factory=dict)


def select(only: list[str]) -> list[str]:
    """The parts whose name contains one of these, all where there are none.

    >>> select(["1x1000", "start"])
    ['start', 'cross-1x1000x128']
    """
    chosen = [part for part in PARTS if not only or any(word in part for word in only)]
    if not chosen:
        raise SystemExit(f"bench: no part matches {' '.join(only)!r}; there are {', '.join(PARTS)}")
    return chosen


def lanes(runtimes: Iterable[str], of_two: str = "") -> list[Lane]:
    """A process for the libraries in each runtime; or one for a single worker or thread, and one for two of them."""
    if of_two:
        return [Lane(runtime, (of_two,), threads) for runtime in runtimes for threads in (1, 2)]
    return [
        Lane(runtime, tuple(name for name in ENGINES if runtime == "node" or name not in FOR_NODE))
        for runtime in runtimes
    ]


def measure(chosen: Options, configuration: dict[str, Any], start: Open) -> Found:
    """Everything that was asked for, the starts first: they want the machine's caches as a visitor finds them."""
    found, parts = Found(), select(chosen.only)
    runtimes = [name for name in RUNTIMES if name in chosen.runtimes]
    if not configuration.get("chromium"):
        runtimes = [name for name in runtimes if name != "chromium"]
    if START in parts and "chromium" in runtimes:
        found.starts = starts.measure(configuration, START_ROUNDS[chosen.quick])
        say(f"starts in Chromium {found.starts['browser']}")
    workloads = {workload.name: workload for workload in WORKLOADS}
    calls = [workloads[name] for name in (SMALL, ONE) if name in parts]
    runner = Runner(lanes(runtimes), start, chosen.pace, BENCH)
    try:
        for workload in calls:
            found.contestants += runner.run(workload)
            print(report.table(workload, found.contestants[-sum(len(lane.engines) for lane in runner.lanes) :], {}))
        if beyond.PART in parts:
            found.beyond = beyond.measure(runner, chosen.quick)
    finally:
        runner.close()
    for part, engine in ((SHARED, THREADS), (BATCH, POOL)):
        if part not in parts:
            continue
        runner = Runner(lanes(runtimes, engine), start, replace(chosen.pace, cap=BATCH_CAP), BENCH)
        try:
            contestants = runner.run(workloads[part])
        finally:
            runner.close()
        found.contestants += contestants
        print(report.table(workloads[part], contestants, {}), flush=True)
    return found


def all_of(found: Found) -> list[Target]:
    """The figures that the npm package has been set."""

    def start(figure: str, factor: float = 1.0) -> Figure:
        rows = {row["name"]: row for row in found.starts.get("rows", [])}
        return lambda _: rows[starts.OURS][figure] * factor if starts.OURS in rows else None

    return [
        Target("wasm runtime, download: WebAssembly, brotli", start("wasm", 1e-3), 45, "kB", below=True),
        Target("wasm runtime, download: JavaScript, brotli", start("script", 1e-3), 15, "kB", below=True),
        Target("wasm runtime, first result in Chromium, no cache", start("milliseconds"), 60, "ms", below=True),
        *(
            Target(
                f"{runtime} 1×100×64, runtime wasm, the whole call", microseconds(SMALL, runtime, WASM), 10, "µs", True
            )
            for runtime in RUNTIMES
        ),
        Target(
            "node 1×100×64, runtime native, the whole call", microseconds(SMALL, "node", ADDON), 3, "µs", below=True
        ),
        *(
            Target(f"chromium 1×1k×128 over ruvector-attention-wasm{how}", figure, 100)
            for how, figure in {
                "": versus(ONE, "chromium", "ruvector-attention-wasm", engine=WASM),
                ", ours resident": versus(ONE, "chromium", "ruvector-attention-wasm", engine=RESIDENT),
            }.items()
        ),
        Target(
            "node 1×1k×128, runtime native, over @ruvector/attention",
            versus(ONE, "node", "@ruvector/attention", engine=ADDON),
            10,
        ),
        *targets.BEYOND,
        *(
            Target(
                f"{runtime} self 8×1024×64, two threads over one, runtime wasm",
                two_workers(SHARED, runtime, THREADS),
                1.8,
            )
            for runtime in RUNTIMES
        ),
        *(
            Target(f"{runtime} batch of 64 × 1k × 128, a pool of two over one", two_workers(BATCH, runtime), 1.7)
            for runtime in RUNTIMES
        ),
    ]


def main(chosen: Options, configuration: dict[str, Any], start: Open) -> None:
    found = measure(chosen, configuration, start)
    note = load_note()
    shown = javascript_report.table(found.starts, found.contestants)
    print(f"\n{shown}\n\n{javascript_report.footnote(found.starts, note)}")
    print(*beyond.lines(found.beyond), sep="\n")
    measured = targets.Measured(found.contestants, {}, beyond=found.beyond)
    print(targets.table(all_of(found), measured))
    for name, why in configuration["missing"].items():
        print(f"without {name}: {why}")
    if chosen.write:
        javascript_report.write(shown, javascript_report.footnote(found.starts, note) if found.starts else "")
        say(f"table in {javascript_report.PAGE.name}")
    if chosen.json:
        records = [{"start": row} for row in found.starts.get("rows", [])]
        records += [{"runtime": runtime, "beyond": reply} for runtime, reply in found.beyond.items()]
        records += report.records(found.contestants, {})
        report.write_json(records, chosen.json)
        say(f"{len(records)} measurements in {chosen.json}")
