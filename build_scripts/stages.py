"""The stages of the tests: which commands each has, and what has to be set up before."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import build
import build_node
import prepare_javascript
import toolchain
import toolchain_calls
import toolchain_emulated
import toolchain_node
from stage_commands import Command
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
    )
]
# it reads a disassembly, by tools that the sizes themselves need
SIZE_TEST = "tests/python/test_check_sizes.py"
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


@dataclass(frozen=True)
class Stage:
    name: str
    commands: Callable[[], list[Command]]
    quick: bool = False


class MissingHereError(Exception):
    """This machine lacks what the stage needs, and it cannot be fetched; the message says how to get it."""


def python() -> str:
    return str(toolchain.venv())


def tool(name: str) -> str:
    """A program of the project's environment."""
    return str(toolchain.venv().with_name(name))


def c_files() -> list[Path]:
    return sorted(path for folder in C_FOLDERS for pattern in C_SOURCES for path in (ROOT / folder).rglob(pattern))


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
    left_out = [*SCRIPT_TESTS, SIZE_TEST, *([] if backend == "numpy" else TRAINING_TESTS)]
    ignored = [f"--ignore={name}" for name in left_out]
    # As many processes as there are processors, whole files each: what a file sets up is set up once.
    spread = ["-n", "auto", "--dist", "loadfile"]
    return pytest_run("tests/python", *ignored, *spread, RUVECTOR_ATTENTION_BACKEND=backend)


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
        return calls(toolchain_calls.sanitized_calls(toolchain.venv()), toolchain_calls.sanitizing())
    except toolchain.ToolchainError as error:
        raise MissingHereError(error.message) from error


def neon() -> list[Command]:
    try:
        emulator = toolchain_calls.aarch64_emulator()
    except toolchain.ToolchainError as error:
        raise MissingHereError(error.message) from error
    return calls(toolchain_calls.aarch64_calls(toolchain.venv()), emulator, targets="neon")


def sizes() -> list[Command]:
    return [Command([sys.executable, "build_scripts/check_sizes.py"], is_check=True), *pytest_run(SIZE_TEST)]


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
    """The addons of all platforms, as npm gets them; what runs them is fetched while they are compiled."""
    environment = toolchain.venv()
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(toolchain_emulated.foreign_nodes, environment)
        build_node.build_packages(toolchain_node.platforms())
        nodes = fetched.result()
    return pytest_run("tests/node", RV_PACKAGES=str(build_node.PACKAGES), RV_FOREIGN=json.dumps(nodes))


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
