"""Runs one command of the tests, and reads from its output how many passed.

Nothing red may look green: see tests/python/test_test.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolchain import ROOT

SILENCE = 600.0  # seconds without a line after which a command counts as hung, however long it took until then
SHOWN_AGAIN = 40  # lines of a command that failed, at the end of all output


@dataclass(frozen=True)
class Command:
    """One check, or one test run that says itself how many tests it ran."""

    words: Sequence[object]
    cwd: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)
    is_check: bool = False  # has no figures of its own: counts as one test


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    ok: bool = True
    seconds: float = 0.0
    last_lines: list[str] = field(default_factory=list)  # of each command that failed

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.ok = self.ok and other.ok
        self.last_lines += other.last_lines


def run_command(command: Command) -> Outcome:
    """Run it, its output shown as it comes, and read its figures from that."""
    words = [str(word) for word in command.words]
    shown = " ".join(words if len(words) < 9 else [*words[:6], f"… {len(words) - 6} more"])
    print(f"$ {shown.replace(f'{ROOT}{os.sep}', '')}", flush=True)
    process = subprocess.Popen(
        words,
        cwd=command.cwd,
        env={**os.environ, **command.env},
        text=True,
        encoding="utf-8",
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that a browser or server it started ends with it
    )
    assert process.stdout is not None
    lines = []
    watchdog = watch(process)
    try:
        with process.stdout as output:
            for line in output:
                watchdog.cancel()
                watchdog = watch(process)
                print(line, end="", flush=True)
                lines.append(line.rstrip())
        code = process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        watchdog.cancel()
    outcome = judged(command, code, lines)
    if not outcome.ok:
        outcome.last_lines = lines[-SHOWN_AGAIN:]
    return outcome


def judged(command: Command, code: int, lines: Sequence[str]) -> Outcome:
    outcome = Outcome(ok=code == 0)
    if command.is_check:
        outcome.passed, outcome.failed = int(code == 0), int(code != 0)
        return outcome
    for name, count in figures(lines):
        setattr(outcome, name, getattr(outcome, name) + count)
    if outcome.passed + outcome.failed == 0:  # a run that found no tests, or died before its last line
        outcome.ok = False
    outcome.ok = outcome.ok and outcome.failed == 0
    if not outcome.ok and outcome.failed == 0:
        outcome.failed = 1
    return outcome


def watch(process: subprocess.Popen[str]) -> threading.Timer:
    watchdog = threading.Timer(SILENCE, end_group, [process])
    watchdog.start()
    return watchdog


def end_group(process: subprocess.Popen[str]) -> None:
    """End a command that took too long, and all that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


PYTEST_LAST_LINE = re.compile(r"^=*\s*\d+ (passed|failed|error|skipped|deselected|xfailed|warning).* in [\d.]+s")
PYTEST_FIGURE = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)\b")
NODE_FIGURE = re.compile(r"^[#ℹ] (pass|fail|cancelled|skipped) (\d+)$")
MEANING = {
    "passed": "passed",
    "pass": "passed",
    "xfailed": "passed",
    "skipped": "skipped",
}


def figures(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(passed, failed or skipped; how many) from the last words of pytest and of `node --test`.

    >>> list(figures(["=== 2 failed, 7 passed, 1 skipped in 0.5s ==="]))
    [('failed', 2), ('passed', 7), ('skipped', 1)]
    >>> list(figures(["ℹ pass 3", "ℹ fail 0"]))
    [('passed', 3), ('failed', 0)]
    """
    for line in lines:
        plain = re.sub(r"\x1b\[[\d;]*m", "", line)
        if PYTEST_LAST_LINE.match(plain):
            for count, word in PYTEST_FIGURE.findall(plain):
                yield MEANING.get(word, "failed"), int(count)
        elif found := NODE_FIGURE.match(plain):
            yield MEANING.get(found[1], "failed"), int(found[2])
