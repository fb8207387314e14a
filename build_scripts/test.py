#!/usr/bin/env python3
"""Set everything up, build it, and run all checks and tests.

python3 build_scripts/test.py                       # everything; exit code 0 only if every stage passes
python3 build_scripts/test.py --quick               # linters, the best backend and NumPy, doctests: no browser
python3 build_scripts/test.py --only lint           # one stage, or all that begin so: native, pyodide-314.0.7
python3 build_scripts/test.py --list                # the stages
python3 build_scripts/test.py --fix                 # format the code and write the generated types; no tests
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import toolchain
from stage_commands import Outcome, run_command
from stages import PYTHON, WEB, MissingHereError, Stage, c_files, python, stages, tool
from toolchain import ROOT


def run_stage(stage: Stage) -> Outcome:
    started = time.monotonic()
    print(f"\n=== {stage.name}", flush=True)
    total = Outcome()
    try:
        for command in stage.commands():
            total.add(run_command(command))
    except MissingHereError as reason:
        print(f"skipped: {reason}", flush=True)
        total.skipped += 1
    except toolchain.ToolchainError as error:  # what the stage needs could not be set up
        print(error.message, flush=True)
        total.add(Outcome(failed=1, ok=False, last_lines=error.message.splitlines()))
    total.seconds = time.monotonic() - started
    return total


def summary(outcomes: dict[str, Outcome]) -> str:
    width = max(map(len, outcomes))
    lines = [f"{'stage':{width}}  result   passed  failed  skipped   seconds"]
    for name, outcome in outcomes.items():
        nothing = outcome.passed + outcome.failed == 0
        result = "FAILED" if not outcome.ok else "skipped" if nothing else "ok"
        figures_ = f"{outcome.passed:6}  {outcome.failed:6}  {outcome.skipped:7}  {outcome.seconds:8.1f}"
        lines.append(f"{name:{width}}  {result:7}  {figures_}")
    passed, failed = (sum(getattr(o, name) for o in outcomes.values()) for name in ("passed", "failed"))
    return "\n".join([*lines, "", f"{passed} passed, {failed} failed"])


def failures(outcomes: dict[str, Outcome]) -> str:
    """The last lines of what failed, again: in a long log it is the end that is read, or kept."""
    failed = {name: outcome for name, outcome in outcomes.items() if not outcome.ok}
    return "".join("\n".join(["", f"=== {name}, at its end", *o.last_lines, ""]) for name, o in failed.items())


def fix() -> None:
    """Put the code into the form that the linters want."""
    toolchain.node_modules()
    toolchain.run([tool("ruff"), "check", "--fix-only", "--quiet", *PYTHON], cwd=ROOT)
    toolchain.run([tool("ruff"), "format", *PYTHON], cwd=ROOT)
    toolchain.run([tool("clang-format"), "-i", *c_files()], cwd=ROOT)
    toolchain.install_native()
    toolchain.run([python(), "build_scripts/make_types.py"], cwd=ROOT)
    toolchain.run(["npm", "run", "--silent", "format"], cwd=WEB)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="STAGE", action="append", help="a stage, or what its name begins with")
    parser.add_argument("--quick", action="store_true", help="no browser, no Pyodide, the best backend and NumPy")
    parser.add_argument("--list", action="store_true", help="print the names of the stages")
    parser.add_argument("--fix", action="store_true", help="format instead of testing")
    arguments = parser.parse_args()
    if arguments.fix:
        fix()
        return 0
    known = stages()
    if arguments.list:
        print("\n".join(stage.name for stage in known))
        return 0
    chosen = [stage for stage in known if stage.quick or not arguments.quick]
    for prefix in arguments.only or []:
        if not any(stage.name.startswith(prefix) for stage in known):
            parser.error(f"no stage begins with {prefix!r}; known: {', '.join(stage.name for stage in known)}")
    if arguments.only:
        chosen = [stage for stage in chosen if stage.name.startswith(tuple(arguments.only))]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that commands are ended too
    started = time.monotonic()
    outcomes = {stage.name: run_stage(stage) for stage in chosen}
    print(f"{failures(outcomes)}\n{summary(outcomes)} in {time.monotonic() - started:.0f} s", flush=True)
    return 0 if all(outcome.ok for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
