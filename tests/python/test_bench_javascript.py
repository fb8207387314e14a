"""The benchmark's suite of the npm package: its parts, lanes, table and targets. No clock is read here."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from benchmarks import beyond, javascript, javascript_report, options, targets  # noqa: E402
from benchmarks.lanes import Lane  # noqa: E402
from benchmarks.report import ADDON, POOL, RESIDENT, THREADS  # noqa: E402
from benchmarks.runner import Contestant  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402

BY_NAME = {workload.name: workload for workload in WORKLOADS}
PEER = "ruvector-attention-wasm"


def row(place: str, queries: int, beyond: float) -> dict[str, Any]:
    times = {"whole_ms": 25.0 + beyond, "kernel_ms": 25.0, "python_ms": 0.05, "beyond_ms": beyond}
    return {"place": place, "queries": queries, **times}


STARTS: dict[str, Any] = {
    "browser": "156.0",
    "rounds": 7,
    "rows": [
        {"name": "ruvector-attention, `wasm`", "script": 17_230, "wasm": 25_973, "other": 0, "milliseconds": 43.6},
        {"name": PEER, "script": 6_700, "wasm": 48_300, "other": 0, "milliseconds": 1234.0},
    ],
}
BEYOND: dict[str, Any] = {
    "node": {"rows": [row("here", 1, 0.09), row("here", 1000, 0.4), row("worker", 1000, 0.7)]},
    "chromium": {"unavailable": "the wheel was not built"},
}


def timed(workload: str, runtime: str, engine: str, samples: list[float], threads: int = 1) -> Contestant:
    made = Contestant(BY_NAME[workload], Lane(runtime, (engine,), threads), engine)
    made.samples, made.error = samples, 1e-7
    return made


def measured() -> javascript.Found:
    small, one, batch = javascript.SMALL, javascript.ONE, javascript.BATCH
    contestants = [
        *(timed(small, runtime, javascript.WASM, [0.0061]) for runtime in javascript.RUNTIMES),
        timed(small, "node", ADDON, [0.0035]),
        # the machine was half as fast in the second round
        timed(one, "chromium", javascript.WASM, [0.1, 0.2]),
        timed(one, "chromium", RESIDENT, [0.05, 0.1]),
        timed(one, "chromium", PEER, [20.0, 40.0]),
        timed(one, "node", ADDON, [0.02]),
        timed(one, "node", "@ruvector/attention", [0.6]),
        *(timed(batch, "node", POOL, samples, threads) for threads, samples in ((1, [2.0, 4.0]), (2, [1.0, 2.0]))),
    ]
    samples = {1: [0.06, 0.12], 2: [0.03, 0.06]}
    contestants += [timed(javascript.SHARED, "node", THREADS, samples[threads], threads) for threads in (1, 2)]
    return javascript.Found(STARTS, contestants, BEYOND)


def told(found: javascript.Found) -> dict[str, str]:
    """The verdict on each target that was measured, by the beginning of its line."""
    known = targets.Measured(found.contestants, {}, beyond=found.beyond)
    lines = {target.name: target.line(known) for target in javascript.all_of(found)}
    return {name: " ".join(line.removeprefix(name).split()) for name, line in lines.items() if line}


def test_the_examples_hold() -> None:
    for module in (javascript, javascript_report):
        assert doctest.testmod(module).attempted >= 1
        assert doctest.testmod(module).failed == 0


def test_every_target_is_computed_from_what_was_measured() -> None:
    assert told(measured()) == {
        "wasm runtime, download: WebAssembly, brotli": "26 kB ≤ 45 kB met",
        "wasm runtime, download: JavaScript, brotli": "17.2 kB ≤ 15 kB NOT MET",
        "wasm runtime, first result in Chromium, no cache": "43.6 ms ≤ 60 ms met",
        "node 1×100×64, runtime wasm, the whole call": "6.1 µs ≤ 10 µs met",
        "chromium 1×100×64, runtime wasm, the whole call": "6.1 µs ≤ 10 µs met",
        "node 1×100×64, runtime native, the whole call": "3.5 µs ≤ 3 µs NOT MET",
        "chromium 1×1k×128 over ruvector-attention-wasm": "200 × ≥ 100 × met",
        "chromium 1×1k×128 over ruvector-attention-wasm, ours resident": "400 × ≥ 100 × met",
        "node 1×1k×128, runtime native, over @ruvector/attention": "30 × ≥ 10 × met",
        "node 1×1k×128, runtime pyodide, beyond the kernel": "0.09 ms ≤ 0.5 ms met",
        "node 1000×1k×128, runtime pyodide, beyond the kernel": "0.4 ms ≤ 0.5 ms met",
        "node 1000×1k×128, runtime pyodide in a worker, beyond the kernel": "0.7 ms ≤ 0.5 ms NOT MET",
        "node self 8×1024×64, two threads over one, runtime wasm": "2 × ≥ 1.8 × met",
        "node batch of 64 × 1k × 128, a pool of two over one": "2 × ≥ 1.7 × met",
    }


def test_what_pyodide_takes_beyond_the_kernel_is_told_by_place_and_size() -> None:
    here, _, worker, nothing = beyond.lines(BEYOND)
    assert here == (
        "pyodide in node, 1×1000×128: 25.09 ms, 0.09 beyond the kernel, 0.05 of it in the call that Python makes"
    )
    assert worker.startswith("pyodide in node in a worker, 1000×1000×128: 25.70 ms, 0.70 beyond the kernel")
    assert nothing == "pyodide in chromium: the wheel was not built"


def test_what_was_not_measured_is_named_and_not_met_by_nothing() -> None:
    nothing = javascript.Found()
    assert told(nothing) == {}
    text = targets.table(javascript.all_of(nothing), targets.Measured([], {}))
    assert text.count(";") == len(javascript.all_of(nothing)) - 1


def test_the_table_has_a_row_a_library_and_empty_cells_for_what_was_not_measured() -> None:
    found = measured()
    rows = [line.split("|")[1:-1] for line in javascript_report.table(found.starts, found.contestants).splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert cells["library"][-4:] == [
        "1×100×64 in Chromium, µs",
        "1×1k×128 in Chromium, µs",
        "1×100×64 in Node, µs",
        "1×1k×128 in Node, µs",
    ]
    ours = ["17.2", "26.0", "", "43.2", "44", "6.1", "150", "6.1", ""]
    assert cells["ruvector-attention, `wasm`"] == ours
    assert cells[PEER] == ["6.7", "48.3", "", "55.0", "1 234", "", "30 000", "", ""]
    assert cells["ruvector-attention, `native`"] == ["", "", "", "", "", "", "", "3.5", "20.0"]
    assert "tfjs, wasm" not in cells


def test_who_was_wrong_has_no_cell() -> None:
    wrong = timed(javascript.SMALL, "node", "tfjs-wasm", [0.05])
    wrong.reason = "WRONG answer: not timed"
    assert "tfjs" not in javascript_report.table({}, [wrong])


def test_every_engine_that_is_timed_has_a_row() -> None:
    assert {engine for _, engine in javascript_report.ROWS} - {""} == set(javascript.ENGINES)


def test_addons_are_for_node_and_pools_have_processes_of_their_own() -> None:
    node, chromium = javascript.lanes(["node", "chromium"])
    assert set(node.engines) - set(chromium.engines) == {ADDON, "@ruvector/attention"}
    pools = javascript.lanes(["node"], javascript.POOL)
    assert [(lane.engines, lane.threads) for lane in pools] == [((POOL,), 1), ((POOL,), 2)]


def test_parts_are_chosen_by_name() -> None:
    assert javascript.select([]) == list(javascript.PARTS)
    assert javascript.select(["batch"]) == [javascript.BATCH]
    with pytest.raises(SystemExit, match="no part matches 'sizes'; there are start, cross-1x100x64"):
        javascript.select(["sizes"])


def test_the_suite_runs_in_node_and_chromium_and_alone_writes_its_page() -> None:
    chosen = options.parse(["--suite", "javascript", "--write"])
    assert chosen.runtimes == ["node", "chromium"]
    assert chosen.write
    for words in (["--suite", "javascript", "--runtime", "cpython"], ["--suite", "growth", "--write"]):
        with pytest.raises(SystemExit):
            options.parse(words)


def test_the_page_has_a_place_for_the_table_and_keeps_what_is_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "sizes.md"
    text = javascript_report.PAGE.read_text()
    before, after = text.split(javascript_report.BEGIN)[0], text.split(javascript_report.END)[1]
    page.write_text(f"{before}{javascript_report.BEGIN}\n\nnothing yet\n\n{javascript_report.END}{after}")
    monkeypatch.setattr(javascript_report, "PAGE", page)
    for start, call, made in ((STARTS, [], "Chromium 1"), ({}, [timed(javascript.SMALL, "node", PEER, [1.5])], "")):
        javascript_report.write(javascript_report.table(start, call), made)
    table = javascript_report.table(STARTS, [timed(javascript.SMALL, "node", PEER, [1.5])])
    assert PEER in table  # the starts are those of the first run, the call that of the second
    middle = page.read_text().removeprefix(before).removesuffix(after)
    assert middle.startswith(f"{javascript_report.BEGIN}\n\n| library | JS, kB |")
    assert middle.endswith(f"\n\nChromium 1.\n\n{javascript_report.END}")
    assert set(table.splitlines()) <= set(middle.splitlines())


def test_a_table_of_other_columns_is_replaced() -> None:
    old, new = "| library | s |\n|---|--:|\n| tfjs, wasm | 1 |", "| library | ms |\n|---|--:|\n| tfjs, wasm |  |"
    assert javascript_report.merged(old, new) == new
