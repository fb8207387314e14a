"""What the suite of mechanisms prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cases import AVX2, NATIVE, OURS, WASM
from .report import speedup
from .rounds import ratio
from .runner import Contestant

PLACES = {"ms": NATIVE, "ms avx2": AVX2, "ms wasm": WASM}


def table(contestants: list[Contestant]) -> str:
    """The lines of the cases of one group; who was not timed comes last, with the reason."""
    lines = ["", f"{'case':28} {'engine':22} {'rounds':>6} {'ms':>11}  rel.error  ours is"]
    timed = [contestant for contestant in contestants if contestant.samples and not contestant.reason]
    for contestant in timed:
        assert contestant.ms is not None and contestant.error is not None
        faster = speedup(contestant, contestants)
        beside = "       ·" if faster is None else f"{faster:7.2f}×"
        who = f"{contestant.workload.name:28} {contestant.label:22} {len(contestant.samples):6}"
        lines.append(f"{who} {contestant.ms:11.4g}  {contestant.error:9.1e} {beside}")
    others = [contestant for contestant in contestants if contestant not in timed]
    lines += [f"{contestant.workload.name:28} {contestant.label:22} {untimed(contestant)}" for contestant in others]
    return "\n".join(lines)


def untimed(contestant: Contestant) -> str:
    error = "" if contestant.error is None else f", relative error {contestant.error:.1e}"
    return f"{contestant.reason or 'no time'}{error}"


def mechanisms(names: Sequence[str], contestants: list[Contestant], errors: list[dict[str, Any]]) -> str:
    """A line for every mechanism: times in three places, WebAssembly over AVX2, errors on every backend."""
    backends = list(dict.fromkeys(record["backend"] for record in errors))
    head = f"{'mechanism':20} {'ms':>8} {'avx2':>8} {'wasm':>8} {'of avx2':>7}"
    head += "".join(f" {_short(backend):>8}" for backend in backends) + (" autograd    diff." if errors else "")
    about = "every mechanism: ms a call, the largest error on its golden vectors by backend, that of gradients against"
    lines = ["", f"{about} autograd on any backend and against differences on the best", head]
    by_name = {(record["mechanism"], record["backend"]): record for record in errors}
    problems = []
    for name in names:
        here = {
            (c.lane.runtime, c.lane.isa): c
            for c in contestants
            if c.workload.name == f"mechanism-{name}" and c.engine == OURS
        }
        if not here and not errors:
            continue
        timed = {place: c for place, c in here.items() if c.samples and not c.reason}
        cells = [f"{name:20}"]
        cells += [f"{timed[place].ms:8.3g}" if place in timed else f"{'·':>8}" for place in PLACES.values()]
        part = ratio(timed[WASM].samples, timed[AVX2].samples) if WASM in timed and AVX2 in timed else None
        cells.append(f"{'·':>7}" if part is None else f"{100 * part:6.0f}%")
        records = [by_name.get((name, backend), {}) for backend in backends]
        cells += [_error(record.get("golden_error")) for record in records]
        cells += [_error(largest(records, key)) for key in ("gradient_error", "difference_error") if errors]
        lines.append(" ".join(cells))
        problems += [f"{name} in {c.lane.runtime} {c.lane.isa}: {untimed(c)}" for c in here.values() if c.reason]
    return "\n".join([*lines, *problems])


def largest(records: Sequence[dict[str, Any]], key: str) -> float | None:
    """The largest of what these records have by that name."""
    return max((record[key] for record in records if record.get(key) is not None), default=None)


def _short(backend: str) -> str:
    return backend.removeprefix("wasm-")


def _error(value: float | None) -> str:
    return f"{'·':>8}" if value is None else f"{value:8.1e}"
