"""The run itself, in the peers' Python: bench.py has set everything up and says where in $BENCH_CONFIGURATION."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from toolchain_store import ROOT

from . import beyond, growth, javascript, mechanisms, options, plot, report, targets
from .browser import BrowserWorker
from .environment import BENCH, load_note
from .lanes import HERE, Lane, Worker, node_worker, python_worker
from .runner import Contestant, Runner, say
from .workloads import GROWTH, select

NATIVE_PEERS = ("numpy", "torch", "onnxruntime", "onnxruntime-attention")
JAVASCRIPT = (
    "ruvector-attention-js-wasm",
    "ruvector-attention-js-resident",
    "ruvector-attention-js-pool",
    "ruvector-attention-js-native",
    "ruvector-attention-js",
    "onnxruntime-web",
    "onnxruntime-web-attention",
    "tfjs-wasm",
    "@ruvector/attention",
    "ruvector-attention-wasm",
)
ADDONS = (report.ADDON, "@ruvector/attention")  # for Node alone


def lanes(runtimes: list[str], configuration: dict[str, Any]) -> list[Lane]:
    """Every process of a run. Threads and instruction sets get a process each: libraries read them once, at start."""
    found = []
    if "cpython" in runtimes:
        peers = Path(configuration["peers_python"])
        project = Path(configuration["project_python"]) if configuration["project_python"] else None
        for threads in (1, 2):
            if project:
                found.append(Lane("cpython", ("ruvector-attention",), threads, python=project))
            found.append(Lane("cpython", NATIVE_PEERS, threads, python=peers))
        if project:
            found.append(Lane("cpython", ("ruvector-attention",), isa="avx2", python=project))
        found += [Lane("cpython", ("torch",), isa=isa, python=peers) for isa in ("avx2", "avx2-aten")]
    for runtime in ("node", "chromium"):
        if runtime in runtimes and _has_browser(runtime, configuration):
            engines = tuple(name for name in JAVASCRIPT if runtime == "node" or name not in ADDONS)
            found.append(Lane(runtime, engines))
            ours_by_two = ("ruvector-attention-js-wasm", report.POOL, report.ADDON)
            found.append(Lane(runtime, tuple(name for name in ours_by_two if name in engines), threads=2))
    for runtime in ("pyodide-node", "pyodide-chromium"):
        if runtime in runtimes and configuration["pyodide"] and _has_browser(runtime, configuration):
            found.append(Lane(runtime, ("ruvector-attention", "numpy")))
    return found


def _has_browser(runtime: str, configuration: dict[str, Any]) -> bool:
    return not runtime.endswith("chromium") or bool(configuration["chromium"])


def opener(configuration: dict[str, Any], pace: options.Pace) -> Any:
    """How a lane's worker is started."""
    logs = BENCH / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    javascript = {name: configuration.get(name) for name in ("peers", "library", "addon")}
    if configuration.get("pyodide"):
        javascript["pyodide"] = {
            "index": configuration["pyodide"],
            "wheel": configuration["wheel"],
            "sources": _sources(),
            "limit": pace.limit,
        }
    file = BENCH / "javascript.json"
    file.write_text(json.dumps(javascript))

    def start(lane: Lane) -> Worker:
        log = logs / f"{lane.runtime}-{lane.threads}{lane.isa}.log"
        if lane.runtime == "cpython":
            return python_worker(lane, BENCH / "models", log, pace.limit)
        if lane.runtime.endswith("node"):
            return node_worker(file, log)
        roots = [BENCH]
        if configuration.get("library"):
            roots.append(Path(configuration["library"]))
        if configuration.get("pyodide"):
            roots.append(Path(configuration["pyodide"]))
            if configuration["wheel"]:
                roots.append(Path(configuration["wheel"]).parent)
        return BrowserWorker(Path(configuration["chromium"]), javascript, tuple(roots), log)

    return start


def _sources() -> dict[str, str]:
    """The Python files that run inside Pyodide too, by their path under its sys.path."""
    names = ["__init__", "session", "workloads", "cases", "golden", "rounds"]
    names += [f"engines/{name}" for name in ("__init__", "numpy_engine", "ours", "mechanism")]
    return {f"benchmarks/{name}.py": (HERE / f"{name}.py").read_text() for name in names}


def overheads(runner: Runner) -> dict[str, Any]:
    """The price of a call in every runtime that our own Python package runs in."""
    found = {}
    for lane in runner.lanes:
        if "ruvector-attention" in lane.engines and lane.threads == 1 and not lane.isa:
            found[lane.runtime] = runner.request(lane, "overhead")
            reply = found[lane.runtime]
            if "call_us" in reply:
                whole, beyond = reply["call_us"], reply["overhead_us"]
                say(f"{lane.runtime}: a call 1×100×64 takes {whole:.2f} µs, {beyond:.2f} beyond the arithmetic")
    return found


def wheel_sizes() -> dict[str, float]:
    """kB of the wheels in dist/, by kind."""
    wheels = (ROOT / "dist").glob("ruvector_attention-*.whl")
    return {"pyodide" if "wasm32" in wheel.name else "native": wheel.stat().st_size / 1000 for wheel in wheels}


def main() -> None:
    chosen = options.parse(sys.argv[1:])
    configuration = json.loads(Path(os.environ["BENCH_CONFIGURATION"]).read_text())
    found_lanes = lanes(chosen.runtimes, configuration)
    if busy := load_note():
        say(busy)
    if chosen.suite == "mechanisms":
        mechanisms.main(chosen, configuration, opener(configuration, chosen.pace))
        return
    if chosen.suite == "javascript":
        javascript.main(chosen, configuration, opener(configuration, chosen.pace))
        return
    grows = chosen.suite == "growth"
    if grows:
        found_lanes = growth.own(found_lanes)
    runner = Runner(found_lanes, opener(configuration, chosen.pace), chosen.pace, BENCH)
    everyone: list[Contestant] = []
    reach = chosen.suite == "reach"
    calls: dict[str, Any] = {}
    bridge: dict[str, Any] = {}
    try:
        only = [*chosen.only, *targets.FIRST_WORKLOADS] if reach else chosen.only
        if grows:
            everyone = runner.run(*select(only, chosen.quick, GROWTH))
        for workload in [] if grows else select(only, chosen.quick):
            contestants = runner.run(workload)
            everyone += contestants
            print(report.table(workload, contestants, runner.peaks), flush=True)
        if reach:
            calls = overheads(runner)
        elif not grows and (not chosen.only or any(word in beyond.PART for word in chosen.only)):
            bridge = beyond.measure(runner, chosen.quick)
    finally:
        runner.close()
    print(report.peaks_line(runner.peaks))
    if grows:
        print(growth.table(everyone))
    else:
        measured = targets.Measured(everyone, runner.peaks, calls, wheel_sizes() if reach else {}, bridge)
        print(*beyond.lines(bridge), sep="\n")
        print(targets.table(targets.FIRST if reach else targets.ENGINE, measured))
    for name, why in configuration["missing"].items():
        print(f"without {name}: {why}")
    found = report.records(everyone, runner.peaks)
    if grows:
        beside = growth.figures(everyone)
        found = [record | beside.get((record["runtime"], record["workload"]), {}) for record in found]
    if chosen.json:
        report.write_json(found, chosen.json)
        say(f"{len(found)} measurements in {chosen.json}")
    if chosen.plot:
        if any(record["ms"] is not None for record in found):
            (plot.growth if grows else plot.engines)(found, chosen.plot)
            say(f"plot in {chosen.plot}")
        else:
            say("nothing was timed, so there is nothing to plot")


if __name__ == "__main__":
    main()
