"""What the suite of the npm package prints, and puts into docs/javascript/sizes.md."""

from __future__ import annotations

from typing import Any

from toolchain_store import ROOT

from .lanes import Message
from .report import ADDON, RESIDENT
from .runner import Contestant
from .targets import SMALL

PAGE = ROOT / "docs" / "javascript" / "sizes.md"
BEGIN, END = "<!-- table: build_scripts/bench.py --suite javascript -->", "<!-- end of table -->"
# A row: the library as web/start/ names it, where it does, and the engine whose calls are timed.
ROWS = (
    ("ruvector-attention, `wasm`", "ruvector-attention-js-wasm"),
    ("ruvector-attention, `wasm`, keys and values resident", RESIDENT),
    ("ruvector-attention, `wasm` in a worker", ""),
    ("ruvector-attention, `native`", ADDON),
    ("ruvector-attention, `pyodide`", "ruvector-attention-js"),
    ("ruvector-attention, `pyodide`, started before", ""),
    ("ruvector-attention-wasm", "ruvector-attention-wasm"),
    ("@ruvector/attention", "@ruvector/attention"),
    ("tfjs, wasm", "tfjs-wasm"),
    ("onnxruntime-web, wasm", "onnxruntime-web"),
)
CALLS = ((SMALL, "1×100×64"), ("cross-1x1000x128", "1×1k×128"))
PLACES = (("chromium", "Chromium"), ("node", "Node"))


def kilobytes(size: float) -> str:
    """
    >>> kilobytes(17230), kilobytes(2322000), kilobytes(0)
    ('17.2', '2 322', '')
    """
    if not size:
        return ""
    return f"{size / 1000:,.0f}".replace(",", " ") if size >= 1e5 else f"{size / 1000:.1f}"


def microseconds(milliseconds: float) -> str:
    """
    >>> microseconds(0.0123), microseconds(3.4567)
    ('12.3', '3 457')
    """
    value = 1000 * milliseconds
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.1f}"


def table(started: Message, contestants: list[Contestant]) -> str:
    """A row a library: what a page fetches, how long it waits, and what calls take; an empty cell was not measured."""
    head = ["library", "JS, kB", "wasm, kB", "rest, kB", "all, kB", "first result, ms"]
    head += [f"{size} in {name}, µs" for _, name in PLACES for _, size in CALLS]
    rows = {row["name"]: row for row in started.get("rows", [])}
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for name, engine in ROWS:
        cells = _start_cells(rows.get(name)) + [
            _call_cell(contestants, engine, runtime, workload) for runtime, _ in PLACES for workload, _ in CALLS
        ]
        if any(cells):
            lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _start_cells(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return [""] * 5
    parts = [row["script"], row["wasm"], row["other"]]
    return [*map(kilobytes, [*parts, sum(parts)]), f"{row['milliseconds']:,.0f}".replace(",", " ")]


def _call_cell(contestants: list[Contestant], engine: str, runtime: str, workload: str) -> str:
    for c in contestants:
        if (c.engine, c.lane.runtime, c.workload.name) == (engine, runtime, workload) and c.ms and not c.reason:
            return microseconds(c.ms)
    return ""


def footnote(started: Message, note: str) -> str:
    """What measured it, and whether others used the machine meanwhile."""
    if not started:
        return note
    made = f"Chromium {started['browser']}, medians of up to {started['rounds']} starts"
    return f"{made}; {note}" if note else made


def write(shown: str, made: str) -> None:
    """Put the table into its page; what this run did not measure stays as it is there."""
    before, rest = PAGE.read_text().split(BEGIN)
    old, after = rest.split(END)
    told = f"{made}." if made else old.strip().splitlines()[-1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{merged(old, shown)}\n\n{told}\n\n{END}{after}")


def merged(old: str, new: str) -> str:
    """The rows of both tables in the order of ROWS, each cell from the new one where that has it.

    >>> head = "| library | ms | µs |\\n|---|"
    >>> print(merged(head + "\\n| tfjs, wasm | 2 | 7 |", head + "\\n| tfjs, wasm | 3 |  |"))
    | library | ms | µs |
    |---|
    | tfjs, wasm | 3 | 7 |
    """
    head, rule, *lines = new.splitlines()
    known = _rows(old.strip().splitlines()) if head in old else {}  # cells of other columns are no help
    for name, cells in _rows(lines).items():
        kept = known.get(name, [""] * len(cells))
        known[name] = [cell or was for cell, was in zip(cells, kept, strict=True)]
    return "\n".join([head, rule, *(f"| {' | '.join([name, *known[name]])} |" for name, _ in ROWS if name in known)])


def _rows(lines: list[str]) -> dict[str, list[str]]:
    parted = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {name: cells for name, *cells in parted}
