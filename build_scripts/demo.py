#!/usr/bin/env python3
"""The whole path on real input: attention reads handwritten digits, natively and in a browser, then in front of you.

python3 build_scripts/demo.py                           # compare both, then serve the page until Ctrl-C
python3 build_scripts/demo.py --no-serve                # compare only; exit 0 if both agree and reach 99 %
python3 build_scripts/demo.py --screenshot page.png     # also keep a picture of the page reading a digit
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import toolchain
from build import build_native, build_web

WEB = toolchain.ROOT / "web"
REACH = 0.99


def run_natively() -> dict[str, Any]:
    """The job in CPython, on the native kernels."""
    toolchain.say("reading 297 held-out digits natively")
    return answer([toolchain.venv(), WEB / "demo" / "digits_job.py"])


def run_in_chromium(screenshot: Path | None, digit: int) -> dict[str, Any]:
    """The same job in the page, in headless Chromium, which also has a digit drawn on it."""
    toolchain.say("reading the same digits in headless Chromium")
    command: list[str | Path] = ["node", WEB / "drive.mjs", "--digit", str(digit)]
    if screenshot:
        command += ["--screenshot", screenshot.resolve()]
    return answer(command, CHROMIUM_PATH=str(toolchain.chromium()))


def answer(command: list[str | Path], **environment: str) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}, check=False)
    if done.returncode != 0:
        raise toolchain.ToolchainError(f"{Path(command[1]).name} failed (exit code {done.returncode})")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def table(native: dict[str, Any], browser: dict[str, Any]) -> str:
    rows = [
        ("", "CPython", f"Chromium {browser['browser'].split('.')[0]}"),
        ("kernels", native["backend"], browser["backend"]),
        ("read right", *(f"{run['correct']} of {run['total']}" for run in (native, browser))),
        ("accuracy", *(f"{run['accuracy']:.2%}" for run in (native, browser))),
        ("297 digits in one call", *(milliseconds(run["seconds"]) for run in (native, browser))),
        ("one digit", *(milliseconds(run["seconds_per_query"]) for run in (native, browser))),
        ("start of the page", "", f"{browser['startSeconds']:.1f} s"),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def disagreements(native: dict[str, Any], browser: dict[str, Any]) -> list[str]:
    """What would make the demo a failure, as sentences."""
    found = []
    for name, run in (("CPython", native), ("the browser", browser)):
        if run["accuracy"] < REACH:
            found.append(f"{name} read {run['accuracy']:.2%} right; expected at least {REACH:.0%}")
    pairs = zip(native["predicted"], browser["predicted"], strict=True)
    if different := sum(one != other for one, other in pairs):
        found.append(f"{different} digits are read differently by CPython and by the browser")
    if browser["read"] != browser["drawn"]:
        found.append(f"the {browser['drawn']} drawn on the page was read as {browser['read']}")
    if browser["outside"]:
        found.append(f"the page asked for {browser['outside'][0]}; expected nothing from outside")
    return found


def serve(port: int) -> None:
    """Until Ctrl-C, which the server gets too."""
    server = subprocess.Popen(["node", WEB / "serve.mjs", "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip() if server.stdout else ""
        if not url:
            server.wait()
            raise toolchain.ToolchainError(f"port {port} cannot be served; --port takes another")
        print(f"\n{url}  (Ctrl-C ends)", flush=True)
        server.wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-serve", action="store_true", help="end after the comparison")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="picture of the page after drawing a digit")
    parser.add_argument(
        "--digit", type=int, choices=range(10), default=3, metavar="0..9", help="the digit that is drawn"
    )
    parser.add_argument("--port", type=int, default=8000, help="of the page; default 8000, 0 takes a free one")
    arguments = parser.parse_args()

    build_native()
    build_web()
    native = run_natively()
    browser = run_in_chromium(arguments.screenshot, arguments.digit)
    print(table(native, browser))
    problems = disagreements(native, browser)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("both read every digit alike, and the page loaded nothing from outside")
    if not arguments.no_serve:
        serve(arguments.port)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
