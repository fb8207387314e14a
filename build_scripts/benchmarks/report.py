"""What the run says: the table and the JSON list, from which the plot is drawn, all from the same contestants."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .lanes import Message
from .rounds import ratio, share
from .runner import Contestant
from .workloads import Workload

RESIDENT = "ruvector-attention-js-resident"
POOL = "ruvector-attention-js-pool"
THREADS = "ruvector-attention-js-threads"
ADDON = "ruvector-attention-js-native"
OURS = ("ruvector-attention", "ruvector-attention-js", "ruvector-attention-js-wasm", RESIDENT, POOL, THREADS, ADDON)
# Memory is the limit of workloads that do little with every byte, and too large to stay in a cache between calls.
FEW_FLOPS, IN_CACHE = 4, 4_000_000
Peaks = dict[tuple[str, str], Message]


def is_ours(contestant: Contestant) -> bool:
    return contestant.engine in OURS


def ours_for(contestant: Contestant, everyone: list[Contestant], engine: str = "") -> Contestant | None:
    """The entry of ours that a peer is compared with: same workload, threads and instruction set, nearest runtime.

    A JavaScript engine is compared with our own JavaScript package, and without one with our package in Pyodide in the
    same browser or Node; or with the one that `engine` names.
    """
    lane = contestant.lane
    nearest = [(lane.runtime, engine or "ruvector-attention")]
    if lane.runtime in ("node", "chromium") and not engine:
        packages = [(lane.runtime, f"ruvector-attention-js{kind}") for kind in ("-wasm", "")]
        nearest = [*packages, (f"pyodide-{lane.runtime}", "ruvector-attention")]
    isa = lane.isa.removesuffix("-aten")
    for place, engine in nearest:
        for other in everyone:
            same = other.workload == contestant.workload and (other.lane.threads, other.lane.isa) == (lane.threads, isa)
            if same and (other.lane.runtime, other.engine) == (place, engine) and other.samples:
                return other
    return None


def speedup(contestant: Contestant, everyone: list[Contestant], engine: str = "") -> float | None:
    """How many times faster ours is than this peer, by rounds; None for ours and where there is nothing to compare."""
    ours = None if is_ours(contestant) else ours_for(contestant, everyone, engine)
    return ratio(ours.samples, contestant.samples) if ours and contestant.samples else None


def peak_of(contestant: Contestant, peaks: Peaks, figure: str) -> float | None:
    """`gflops` or `gbytes` that this machine reaches in the contestant's runtime with its instruction set."""
    lane = contestant.lane
    runtime = f"pyodide-{lane.runtime}" if lane.runtime in ("node", "chromium") else lane.runtime
    value = peaks.get((runtime, lane.isa.removesuffix("-aten")), {}).get(figure)
    return None if value is None else float(value) * lane.threads


def table(workload: Workload, contestants: list[Contestant], peaks: Peaks) -> str:
    """One workload's lines, by runtime and time; who was not timed comes last, with the reason."""
    columns = f"{'runtime':17} {'engine':27}  thr         ms  GFLOP/s  %peak    GB/s  %read  rel.error  ours is"
    size = f"({workload.flops / 1e9:.4g} GFLOP, {workload.bytes_moved / 1e6:.3g} MB)"
    lines = ["", f"{workload.name}  {size}", columns + ("  extra MB" if workload.memory else "")]
    timed = [contestant for contestant in contestants if contestant.samples and not contestant.reason]
    timed.sort(key=lambda c: (c.lane.runtime, c.lane.threads, c.ms))
    lines += [_line(contestant, contestants, peaks) for contestant in timed]
    for contestant in contestants:
        if contestant not in timed:
            error = "" if contestant.error is None else f", relative error {contestant.error:.1e}"
            lines.append(f"{_who(contestant)}  {contestant.reason}{error}")
    return "\n".join(lines)


def _line(contestant: Contestant, everyone: list[Contestant], peaks: Peaks) -> str:
    assert contestant.ms is not None and contestant.gflops is not None and contestant.error is not None
    workload = contestant.workload
    gbytes = workload.bytes_moved / contestant.ms / 1e6
    streams = workload.bytes_moved > max(IN_CACHE, workload.flops / FEW_FLOPS)
    faster = speedup(contestant, everyone)
    cells = [
        _who(contestant),
        f"{contestant.ms:10.4g}" if contestant.ms < 1e4 else f"{contestant.ms:10.0f}",
        f"{contestant.gflops:8.1f}",
        _percent(share(contestant.gflops, peak_of(contestant, peaks, "gflops"))),
        f"{gbytes:7.2f}",
        _percent(share(gbytes, peak_of(contestant, peaks, "gbytes")) if streams else None),
        f"{contestant.error:10.1e}",
        "       ·" if faster is None else f"{faster:7.2f}×",
    ]
    if workload.memory:
        cells.append("        ·" if contestant.mbytes is None else f"{contestant.mbytes:9.1f}")
    return " ".join(cells)


def _who(contestant: Contestant) -> str:
    return f"{contestant.lane.runtime:17} {contestant.label:27} {contestant.lane.threads:4}"


def _percent(part: float | None) -> str:
    return "     ·" if part is None else f"{100 * part:5.0f}%"


def peaks_line(peaks: Peaks) -> str:
    """The measured limits, one line a runtime and instruction set."""
    lines = ["", "measured peaks of one thread (FMA natively, multiply and add in WebAssembly; reading 41 MB)"]
    for (runtime, isa), found in peaks.items():
        name = f"{runtime:17} {found.get('backend', isa or 'default'):20}"
        if "gflops" in found:
            lines.append(f"{name} {found['gflops']:8.1f} GFLOP/s {found['gbytes']:8.1f} GB/s")
        else:
            lines.append(f"{name} not known: {found.get('unavailable') or found.get('error')}")
    return "\n".join(lines)


def records(contestants: list[Contestant], peaks: Peaks) -> list[dict[str, Any]]:
    """The measurements for `--json`: an engine that was wrong has no time, one that cannot do it no entry."""
    found = []
    for contestant in contestants:
        if contestant.error is None:
            continue
        timed = contestant.ms is not None and not contestant.reason
        peak = peak_of(contestant, peaks, "gflops")
        found.append(
            {
                "runtime": contestant.lane.runtime,
                "engine": contestant.label,
                "workload": contestant.workload.name,
                "threads": contestant.lane.threads,
                "ms": contestant.ms if timed else None,
                "gflops": contestant.gflops if timed else None,
                "peak_share": share(contestant.gflops, peak) if timed and contestant.gflops else None,
                "ours_is": speedup(contestant, contestants) if timed else None,
                "max_rel_error": contestant.error if math.isfinite(contestant.error) else None,
            }
        )
    return found


def write_json(found: list[dict[str, Any]], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")
