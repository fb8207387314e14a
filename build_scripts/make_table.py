#!/usr/bin/env python3
"""Write docs/mechanisms.md: every registered mechanism, what holds it to the truth, and what it costs.

python3 build_scripts/make_table.py               # run bench.py --suite mechanisms, then write the page
python3 build_scripts/make_table.py --from FILE   # of the --json of such a run
python3 build_scripts/make_table.py --keep        # write names, papers and sources anew, keep what was measured
python3 build_scripts/make_table.py --check       # exit 1 if names, papers or sources on the page are not as they are

Nothing on the page is written by hand. What was measured differs from run to run, so --check looks at its names alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import toolchain
from benchmarks.cases import CROSSING_SIZES, NATIVE, OURS, PARAMETER, REACH, SETTINGS, SIZES, WASM
from benchmarks.mechanism_report import largest
from benchmarks.mechanism_targets import crossing_of

PAGE = toolchain.ROOT / "docs" / "mechanisms.md"
VECTORS = toolchain.ROOT / "tests" / "vectors"
COMMAND = "python3 build_scripts/make_table.py"
MEASURED = "<!-- measured: what follows is printed by a run -->"
NONE = "–"

Record = dict[str, Any]


def static_part() -> str:
    """All that the registry and the golden vectors say, without a measurement."""
    import ruvector_attention as ra

    rows = []
    for name in ra.mechanisms():
        cls = ra.registry.get(name)
        rows.append([f"`{name}`", f"`{cls.__name__}`", _shapes(cls), cls.complexity, cls.paper or NONE, _sources(name)])
    head = ["mechanism", "class", "shapes", "cost of a call", "paper", "golden vectors from"]
    return "\n".join(
        [
            "# Mechanisms",
            "",
            f"This page is written by `{COMMAND}`, from the registry, the golden vectors and a run of",
            "`python3 build_scripts/bench.py --suite mechanisms`. `help()` of a class has its formula and an example.",
            "",
            *_table(head, rows),
            "",
            "The golden vectors (`tests/vectors`, made by `build_scripts/make_vectors.py`) are what these libraries",
            "say in float64, or their operations put together as the formula has it.",
            "",
            MEASURED,
        ]
    )


def _shapes(cls: Any) -> str:
    def axes(spec: Any) -> str:
        return f"({', '.join(spec.describe()['axes'])})"

    named = [(spec, f"{spec.name} {axes(spec)}") for spec in cls.inputs]
    given = [f"[{text}]" if spec.optional else text for spec, text in named]
    return f"{', '.join(given)} → {', '.join(axes(spec) for spec in cls.outputs)}"


def _sources(name: str) -> str:
    file = VECTORS / f"{name}.json"
    cases = json.loads(file.read_text())["cases"] if file.exists() else []
    return "; ".join(dict.fromkeys(case["source"] for case in cases)) or NONE


def measured_part(records: Sequence[Record]) -> str:
    """What a run measured: errors and times of every mechanism, and the cases beside peers."""
    about = next((record["about"] for record in records if "about" in record), "an unknown machine")
    errors = [record for record in records if "golden_error" in record]
    timed = [record for record in records if record.get("ms") is not None]
    return "\n".join(
        [
            "",
            "## Errors",
            "",
            f"Measured by `{COMMAND}` on {about}.",
            "",
            "The largest error of each backend on the golden vectors, `max |found - expected| / (1 + max |expected|)`;",
            "the same of gradients against torch's autograd in float64, on the worst of these backends, but for the",
            "cases whose scores are so large that float32 rounds them by more; and, on the best backend,",
            "`max |gradient - difference| / max |gradient|` against differences of its own output, summed and",
            "extrapolated in float64, whose own error is some 1e-5, since the output is float32.",
            "",
            *_errors(errors),
            "",
            "## Times",
            "",
            f"Milliseconds a call, one thread, median of interleaved rounds: {SIZES['n_query']} queries and keys, or "
            f"{SIZES['n_node']} nodes and {SIZES['n_edges']} edges;",
            f"{SETTINGS['dim']} channels, {SETTINGS['num_heads']} heads where a mechanism has any.",
            "",
            *_times(timed),
            "",
            "## Beside others",
            "",
            "One thread, the same inputs and parameters, every answer checked against float64 first.",
            "",
            *_peers(timed),
            "",
            *_crossing(timed),
        ]
    )


def _errors(errors: Sequence[Record]) -> list[str]:
    backends = list(dict.fromkeys(record["backend"] for record in errors))
    found = {(record["mechanism"], record["backend"]): record for record in errors}
    rows = []
    for name in dict.fromkeys(record["mechanism"] for record in errors):
        here = [found.get((name, backend), {}) for backend in backends]
        gradients = [_error(largest(here, key)) for key in ("gradient_error", "difference_error")]
        rows.append([f"`{name}`", *(_error(record.get("golden_error")) for record in here), *gradients])
    return _table(["mechanism", *backends, "gradients: autograd", "differences"], rows)


def _times(timed: Sequence[Record]) -> list[str]:
    own = [record for record in timed if record["workload"] == f"mechanism-{record['mechanism']}"]
    backends = list(dict.fromkeys(record["backend"] for record in own))
    found = {(record["mechanism"], record["backend"]): record["ms"] for record in own}
    shares = {record["mechanism"]: record["share_of_avx2"] for record in own if "share_of_avx2" in record}
    rows = []
    for name in dict.fromkeys(record["mechanism"] for record in own):
        cells = [_ms(found.get((name, backend))) for backend in backends]
        share = shares.get(name)
        rows.append([f"`{name}`", *cells, NONE if share is None else f"{share:.0f} %"])
    return _table(["mechanism", *backends, f"{WASM[1]} as a share of avx2's speed, by rounds"], rows)


def _peers(timed: Sequence[Record]) -> list[str]:
    cases = {case.name: case for group in REACH for case in group}
    ours = {record["workload"]: record["ms"] for record in timed if _is_native(record)}
    rows = []
    for record in timed:
        if record["workload"] in cases and not record["engine"].startswith(OURS) and record["ours_is"]:
            case = cases[record["workload"]]
            given = [name for name in case.shapes if not name.startswith(PARAMETER) and name != "grad"]
            shapes = ", ".join(f"{name} {case.shapes[name]}" for name in given)
            what = f"`{case.mechanism}`{', forward and backward' if case.backward else ''}: {shapes}"
            both = [_ms(ours.get(case.name)), _ms(record["ms"])]
            rows.append([what, record["engine"], *both, f"{record['ours_is']:.1f}×"])
    return _table(["case", "peer", "ours, ms", "peer, ms", "ours is"], rows)


def _crossing(timed: Sequence[Record]) -> list[str]:
    ours = {record["workload"]: record["ms"] for record in timed if _is_native(record)}
    pairs = [(n, ours.get(f"linear-8x{n}x64"), ours.get(f"flash-8x{n}x64")) for n in CROSSING_SIZES]
    rows = [[str(n), _ms(linear), _ms(exact)] for n, linear, exact in pairs]
    cross = crossing_of([(n, linear / exact) for n, linear, exact in pairs if linear and exact])
    sentence = "in this run at no n of these" if cross is None else f"in this run from n = {cross:.0f}"
    return [
        f"`linear` (FAVOR+, 256 features, 8 heads of 64 channels) is faster than exact attention {sentence}:",
        "",
        *_table(["n", "`linear`, ms", "`flash`, ms"], rows),
    ]


def _is_native(record: Record) -> bool:
    return (record["runtime"], record["engine"]) == (NATIVE[0], OURS)


def _ms(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _error(value: float | None) -> str:
    return NONE if value is None else "0" if value == 0 else f"{value:.0e}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def stale(page: str) -> str:
    """What on the page is not as registry and vectors have it now; empty where all is."""
    import ruvector_attention as ra

    static, marker, measured = page.partition(MEASURED)
    if static + marker != static_part():
        return "its names, classes, shapes, papers or sources are not those of the registry and the golden vectors"
    sections = {part.partition("\n")[0]: part for part in measured.split("## ")}
    for title in ("Errors", "Times"):
        lines = [line for line in sections.get(title, "").splitlines() if line.startswith("| `")]
        names = [line.split("`")[1] for line in lines]
        if names != ra.mechanisms():
            return f"{title} has lines of {', '.join(names) or 'no mechanism'}; expected {', '.join(ra.mechanisms())}"
    return ""


def measured() -> list[Record]:
    """The records of a run that is made now."""
    file = toolchain.CACHE / "bench" / "mechanisms.json"
    bench = toolchain.ROOT / "build_scripts" / "bench.py"
    toolchain.run([sys.executable, bench, "--suite", "mechanisms", "--json", file])
    records: list[Record] = json.loads(file.read_text())
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE", help="the --json of a run of the suite")
    parser.add_argument("--keep", action="store_true", help="write the part that no run measures, keep the other")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    try:
        import ruvector_attention  # noqa: F401  is this the environment that has it?
    except ImportError:
        toolchain.install_native()
        toolchain.run([toolchain.venv(), *sys.argv])
        return 0
    if arguments.check:
        problem = stale(PAGE.read_text()) if PAGE.exists() else "it is missing"
        if problem:
            print(f"{PAGE.relative_to(toolchain.ROOT)}: {problem}; run {COMMAND}")
        return 1 if problem else 0
    if arguments.keep:
        PAGE.write_text(static_part() + PAGE.read_text().partition(MEASURED)[2])
        return 0
    records = json.loads(arguments.file.read_text()) if arguments.file else measured()
    PAGE.write_text(f"{static_part()}\n{measured_part(records)}\n")
    toolchain.say(f"{PAGE.relative_to(toolchain.ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
