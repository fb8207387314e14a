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
import contextlib
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import build
import build_node
import prepare_javascript
import toolchain
import toolchain_calls
import toolchain_emulated
import toolchain_node
from toolchain import PYODIDE_VERSIONS, ROOT

WEB = ROOT / "web"
PYTHON = ["src", "tests", "build_scripts"]
C_FOLDERS, C_SOURCES = ("wasm_kernels", "tests/native"), ("*.c", "*.h")
RUNTIMES = {"node": [], "chrome": ["--runner", "playwright"]}
# these test the scripts, which no instruction set changes
SCRIPT_TESTS = [
    f"tests/python/test_{name}.py"
    for name in (
        "toolchain",
        "toolchain_engines",
        "prepare_javascript",
        "bench",
        "bench_javascript",
        "test",
        "check_sizes",
    )
]
# They run no kernels but to train one: once is enough.
TRAINING_TESTS = [
    f"tests/python/test_{name}.py"
    for name in (
        "losses",
        "mining",
        "optimizers",
        "schedules",
        "training_bridge",
        "training_contract",
        "training_input",
    )
]
COMMAND_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Command:
    """One check, or one test run that says itself how many tests it ran."""

    words: Sequence[object]
    cwd: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)
    is_check: bool = False  # has no figures of its own: counts as one test


@dataclass(frozen=True)
class Stage:
    name: str
    commands: Callable[[], list[Command]]
    quick: bool = False


class MissingHereError(Exception):
    """This machine lacks what the stage needs, and it cannot be fetched; the message says how to get it."""


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    ok: bool = True
    seconds: float = 0.0


def python() -> str:
    return str(toolchain.venv())


def tool(name: str) -> str:
    """A program of the project's environment."""
    return str(toolchain.venv().with_name(name))


def c_files() -> list[Path]:
    return sorted(path for folder in C_FOLDERS for pattern in C_SOURCES for path in (ROOT / folder).rglob(pattern))


# --- the stages


def lint() -> list[Command]:
    toolchain.install_native()
    toolchain.node_modules()
    checks: list[Command] = [
        Command([tool("ruff"), "check", *PYTHON]),
        Command([tool("ruff"), "format", "--check", *PYTHON]),
        Command([tool("mypy")]),
        Command([tool("mypy"), *scripts()], env={"MYPYPATH": str(ROOT / "build_scripts")}),
        Command([tool("clang-format"), "--dry-run", "-Werror", *c_files()]),
        Command([python(), "build_scripts/make_types.py", "--check"]),
        Command(["npm", "run", "--silent", "lint"], cwd=WEB),
        Command(["npm", "run", "--silent", "typecheck"], cwd=WEB),
    ]
    return [Command(check.words, check.cwd, check.env, is_check=True) for check in checks]


def scripts() -> list[Path]:
    return sorted((ROOT / "build_scripts").glob("*.py"))


def pytest_run(*words: object, **env: str) -> list[Command]:
    return [Command([python(), "-m", "pytest", *words], env=env)]


def native(backend: str) -> list[Command]:
    toolchain.install_native()
    left_out = SCRIPT_TESTS if backend == "numpy" else [*SCRIPT_TESTS, *TRAINING_TESTS]
    ignored = [f"--ignore={name}" for name in left_out]
    return pytest_run("tests/python", *ignored, RUVECTOR_ATTENTION_BACKEND=backend)


def script_tests() -> list[Command]:
    return pytest_run(*[name for name in SCRIPT_TESTS if (ROOT / name).exists()])


def doctests() -> list[Command]:
    toolchain.install_native()
    return pytest_run("--doctest-modules", "--pyargs", "ruvector_attention", "-p", "no:cacheprovider")


def calls(program: Path, runner: Sequence[str] = (), targets: str = "") -> list[Command]:
    """The kernels without Python around them: what to expect comes from the package's NumPy bodies, in src."""
    return pytest_run(
        "tests/native",
        PYTHONPATH=str(ROOT / "src"),
        RUVECTOR_ATTENTION_BACKEND="numpy",
        RV_CALLS=str(program),
        RV_CALLS_RUNNER=shlex.join(runner),
        RV_CALLS_TARGETS=targets,
        ASAN_OPTIONS="detect_leaks=0",  # leaks are not what it is for, and looking for them fails in some containers
    )


def sanitize() -> list[Command]:
    try:
        return calls(toolchain_calls.sanitized_calls(toolchain.venv()))
    except toolchain.ToolchainError as error:
        raise MissingHereError(error.message) from error


def neon() -> list[Command]:
    try:
        emulator = toolchain_calls.aarch64_emulator()
    except toolchain.ToolchainError as error:
        raise MissingHereError(error.message) from error
    return calls(toolchain_calls.aarch64_calls(toolchain.venv()), emulator, targets="neon")


def sizes() -> list[Command]:
    return [Command([sys.executable, "build_scripts/check_sizes.py"], is_check=True)]


def pyodide(version: str, runtime: str) -> list[Command]:
    wheel, distribution = build.build_pyodide_wheel(), toolchain.pyodide(version)
    options = ["--dist-dir", distribution, "--rt", runtime, *RUNTIMES[runtime]]
    env = {"RUVECTOR_TEST_WHEEL": str(wheel)}
    if runtime != "node":
        env["CHROMIUM"] = str(toolchain.chromium())
    return pytest_run("tests/pyodide", *options, **env)


def javascript(suite: str) -> list[Command]:
    """What `npm test -- SUITE` does, prepared here: fetching a browser or a compiler takes as long as it takes."""
    prepared = prepare_javascript.prepare([suite])
    if suite in prepared.missing:
        raise MissingHereError(prepared.missing[suite])
    env = {**prepared.environment, "RUVECTOR_PREPARED": "1"}
    return [Command(["npm", "test", "--silent", "--", suite], cwd=WEB, env=env)]


def node() -> list[Command]:
    """The addons of all platforms, as npm gets them."""
    build_node.build_packages(toolchain_node.platforms())
    try:
        words = {cpu: toolchain_emulated.emulated_node(cpu) for cpu in toolchain_emulated.EMULATED}
        emulated = {"RV_EMULATED": json.dumps(words)}
    except toolchain.ToolchainError as error:
        print(error.message, flush=True)
        emulated = {}
    return pytest_run("tests/node", RV_PACKAGES=str(build_node.PACKAGES), **emulated)


def backends() -> list[str]:
    """All that the native package can run on this machine, best first."""
    toolchain.install_native()
    code = "import ruvector_attention as ra; print(*ra.backends())"
    env = {name: value for name, value in os.environ.items() if name != "RUVECTOR_ATTENTION_BACKEND"}
    return toolchain.run([python(), "-c", code], stdout=subprocess.PIPE, env=env).stdout.split()


def stages() -> list[Stage]:
    names = backends()
    fast = {names[0], "numpy"}
    return [
        Stage("lint", lint, quick=True),
        Stage("scripts", script_tests, quick=True),
        Stage("doctest", doctests, quick=True),
        *(Stage(f"native-{name}", functools.partial(native, name), quick=name in fast) for name in names),
        Stage("sanitize", sanitize),
        Stage("neon", neon),
        Stage("sizes", sizes),
        *(
            Stage(f"pyodide-{version}-{runtime}", functools.partial(pyodide, version, runtime))
            for version in PYODIDE_VERSIONS
            for runtime in RUNTIMES
        ),
        Stage("node", node),
        *(Stage(f"js-{suite}", functools.partial(javascript, suite)) for suite in prepare_javascript.suites()),
    ]


# --- running them


def run_stage(stage: Stage) -> Outcome:
    started = time.monotonic()
    print(f"\n=== {stage.name}", flush=True)
    total = Outcome()
    try:
        for command in stage.commands():
            done = run_command(command)
            total.passed += done.passed
            total.failed += done.failed
            total.skipped += done.skipped
            total.ok = total.ok and done.ok
    except MissingHereError as reason:
        print(f"skipped: {reason}", flush=True)
        total.skipped += 1
    except toolchain.ToolchainError as error:  # what the stage needs could not be set up
        print(error.message, flush=True)
        total.failed, total.ok = total.failed + 1, False
    total.seconds = time.monotonic() - started
    return total


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
    watchdog = threading.Timer(COMMAND_TIMEOUT, end_group, [process])
    watchdog.start()
    try:
        with process.stdout as output:
            for line in output:
                print(line, end="", flush=True)
                lines.append(line.rstrip())
        code = process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        watchdog.cancel()
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
    print(f"\n{summary(outcomes)} in {time.monotonic() - started:.0f} s", flush=True)
    return 0 if all(outcome.ok for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
