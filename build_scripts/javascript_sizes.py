#!/usr/bin/env python3
"""What a page fetches and how long it waits for its first attention, beside the peers on npm.

python3 build_scripts/javascript_sizes.py             # print the table
python3 build_scripts/javascript_sizes.py --write     # and put it into docs/javascript/sizes.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import build
import toolchain
from benchmarks import environment

PAGE = toolchain.ROOT / "docs" / "javascript" / "sizes.md"
BEGIN, END = "<!-- table: build_scripts/javascript_sizes.py -->", "<!-- end of table -->"
# What issue 5 asks of the kernels' runtime.
WASM_LIMIT, SCRIPT_LIMIT, START_LIMIT = 45_000, 15_000, 60.0


def measure(rounds: int) -> dict[str, Any]:
    dist = build.build_web()
    peers = environment.node_project() / "node_modules"
    folders = ["--lib", dist / "lib", "--page", dist / "page", "--peers", peers]
    script = Path(__file__).with_name("javascript_sizes") / "measure.mjs"
    answer = toolchain.run(
        ["node", script, *folders, "--rounds", rounds],
        stdout=subprocess.PIPE,
        env={**os.environ, "CHROMIUM": str(toolchain.chromium())},
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def kilobytes(size: float) -> str:
    """
    >>> kilobytes(17230), kilobytes(2322000), kilobytes(0)
    ('17.2', '2 322', '')
    """
    if not size:
        return ""
    return f"{size / 1000:,.0f}".replace(",", " ") if size >= 1e5 else f"{size / 1000:.1f}"


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| library | JS, kB | wasm, kB | rest, kB | all, kB | first result, ms |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        parts = [row["script"], row["wasm"], row["other"]]
        sizes = " | ".join(map(kilobytes, [*parts, sum(parts)]))
        lines.append(f"| {row['name']} | {sizes} | {row['milliseconds']:.0f} |")
    return "\n".join(lines)


def verdict(row: dict[str, Any]) -> str:
    """How the kernels' runtime stands to what is asked of it."""
    asked: list[tuple[str, float, float, str]] = [
        ("JS", row["script"], SCRIPT_LIMIT, "bytes"),
        ("wasm", row["wasm"], WASM_LIMIT, "bytes"),
    ]
    asked.append(("first result", row["milliseconds"], START_LIMIT, "ms"))
    lines = []
    for what, figure, limit, unit in asked:
        word = "met" if figure <= limit else "missed"
        lines.append(f"{what}: {figure:,.0f} {unit}, at most {limit:,.0f} wanted: {word}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(toolchain.ROOT)}")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="starts of each library")
    arguments = parser.parse_args()
    note = environment.load_note()
    if note:
        toolchain.say(note)
    found = measure(arguments.rounds)
    shown = table(found["rows"])
    made = f"Chromium {found['browser']}, medians of {found['rounds']}" + (f"; {note}" if note else "")
    print(f"{shown}\n\n{made}\n\n{verdict(found['rows'][0])}")
    if arguments.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{made}.\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
