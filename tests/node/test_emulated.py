"""The addons for other systems than this machine's, in a Node for them: golden vectors and the suite `native`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign import ROOT, Done, ForeignNode

GetNode = Callable[[str], ForeignNode]
pytestmark = pytest.mark.timeout(900)  # emulated, they take long on a busy machine
SUITE = sorted((ROOT / "web" / "test").glob("*.native.test.mjs"))


def addon(packages: Path, name: str) -> Path:
    return packages / f"ruvector-attention-{name}" / "ruvector-attention.node"


def golden_vectors(node: ForeignNode, binary: Path) -> list[list[str]]:
    """System, processor and backend of each line that says how many cases agreed."""
    done = node("test/emulated.mjs", binary)
    assert done.code == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert all(int(line[3]) >= 40 for line in lines)
    return [line[:3] for line in lines]


@pytest.mark.parametrize(
    ("name", "system", "cpu", "backends"),
    [
        ("linux-arm64-gnu", "glibc", "arm64", ["neon", "scalar"]),
        ("linux-arm64-musl", "musl", "arm64", ["neon", "scalar"]),
        ("linux-arm-gnueabihf", "glibc", "arm", ["scalar"]),
    ],
)
def test_golden_vectors_under_an_emulator(
    foreign: GetNode, packages: Path, name: str, system: str, cpu: str, backends: list[str]
) -> None:
    expected = [[system, cpu, backend] for backend in backends]
    assert golden_vectors(foreign(name), addon(packages, name)) == expected


@pytest.mark.parametrize(
    ("node", "name", "system"),
    [
        ("linux-x64-musl", "linux-x64-gnu", "musl"),  # what an image of Alpine finds in a folder copied from outside
        ("win32-x64", "win32-x64", "win32"),
    ],
)
def test_golden_vectors_on_this_processor(foreign: GetNode, packages: Path, node: str, name: str, system: str) -> None:
    found = golden_vectors(foreign(node), addon(packages, name))
    known = ["avx512", "avx2", "sse4", "scalar"]
    assert [backend for _, _, backend in found] == known[-len(found) :]  # all from the best that this machine has
    assert all(line[:2] == [system, "x64"] for line in found)


def passed(done: Done) -> int:
    assert done.code == 0, done.stdout[-4000:] + done.stderr[-2000:]
    figures = {word: int(count) for word, count in re.findall(r"^(?:#|ℹ) (\w+) (\d+)", done.stdout, re.M)}
    assert figures["fail"] == figures["cancelled"] == figures["skipped"] == 0
    return figures["pass"]


def test_the_suite_on_musl(foreign: GetNode, packages: Path) -> None:
    """All of `npm test -- native`, what npm installs there as well."""
    node = foreign("linux-x64-musl")
    binary = {
        "RUVECTOR_NATIVE_BINARY": str(addon(packages, "linux-x64-musl")),
        "RUVECTOR_NPM_PACKAGES": str(packages),
        "NODE_OPTIONS": f"--require={ROOT / 'tests' / 'node' / 'without_ldd.cjs'}",
    }
    files = [file.relative_to(ROOT / "web") for file in SUITE]
    assert len(files) >= 4
    assert passed(node("--test", "--test-concurrency=2", *files, env=binary)) >= 300


@pytest.mark.parametrize("file", ["binding", "async"])
def test_the_suite_on_windows(foreign: GetNode, packages: Path, file: str) -> None:
    """Threads, transfers and what is refused; the mechanisms are in the golden vectors."""
    node = foreign("win32-x64")
    binary = f"Z:{addon(packages, 'win32-x64')}".replace("/", "\\")
    # the file by itself: the runner of tests would start processes, for which this Windows is too small
    assert passed(node(f"test/{file}.native.test.mjs", env={"RUVECTOR_NATIVE_BINARY": binary})) >= 7


def test_the_other_runtimes_on_windows(foreign: GetNode, packages: Path) -> None:
    """They are WebAssembly wherever they run, but the paths of their files are the system's."""
    assert packages.is_dir()  # web/dist was built with them
    done = foreign("win32-x64")("test/other_runtimes.mjs")
    assert done.code == 0, done.stderr[-2000:]
    runs = [["win32", "wasm", "here"], ["win32", "wasm", "worker"], ["win32", "pyodide", "worker"]]
    assert [line.split() for line in done.stdout.splitlines()] == runs
