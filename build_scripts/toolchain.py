#!/usr/bin/env python3
"""Everything that the project's scripts need, obtained once and kept in `.cache/`: nothing is installed by hand.

python3 build_scripts/toolchain.py                    # prepare everything, print where it is
python3 build_scripts/toolchain.py venv emscripten    # only these
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from toolchain_compilers import emscripten, emscripten_version, llvm_tool, zig
from toolchain_engines import firefox, npm_packages, webkit, windowless
from toolchain_pyodide import VERSIONS as PYODIDE_VERSIONS
from toolchain_pyodide import pyodide
from toolchain_store import (
    CACHE,
    ROOT,
    ToolchainError,
    build_requirements,
    content_hash,
    is_current,
    locked,
    mark_current,
    pyproject,
    run,
    say,
)

__all__ = [
    "CACHE",
    "PYODIDE_VERSIONS",
    "ROOT",
    "ToolchainError",
    "chromium",
    "emscripten",
    "emscripten_version",
    "firefox",
    "fixtures",
    "install_native",
    "llvm_tool",
    "node_modules",
    "package_sources",
    "pyodide",
    "run",
    "say",
    "venv",
    "webkit",
    "windowless",
    "zig",
]

CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]


def package_sources() -> list[Path]:
    """All that the wheels are made of."""
    names = ["pyproject.toml", "README.md", "LICENSE", "src", "wasm_kernels"]
    return [path for name in names if (path := ROOT / name).exists()]


def development_requirements() -> list[str]:
    """The `dev` extra, and what builds the package: both written in pyproject.toml and nowhere else."""
    project = pyproject()["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"], *build_requirements()]


def venv() -> Path:
    """The Python of the project's own environment, with all that builds, tests and lints need."""
    folder = CACHE / "venv"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    requirements = development_requirements()
    base = getattr(sys, "_base_executable", sys.executable)
    key = "\n".join([str(folder), *requirements])
    if is_current(folder, key):
        return python
    with locked("venv"):  # made in place: a venv cannot be moved
        if is_current(folder, key):
            return python
        if not _usable(python):
            say(f"creating the Python environment {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            run([base, "-m", "venv", folder], quiet=True)
        say(f"installing {len(requirements)} requirements from PyPI")
        run([python, "-m", "pip", "install", "-q", "--upgrade", *requirements], quiet=True)
        mark_current(folder, key)
    return python


def _usable(python: Path) -> bool:
    # an interrupted creation leaves a Python without pip; an upgraded system one leaves a link to nothing
    return python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


def install_native(*, isolated: bool = False) -> None:
    """`pip install .` into that environment, unless the sources are those of the last time.

    isolated: as a user's pip does it, fetching the build tools afresh; else with the environment's, which is faster.
    """
    python = venv()
    folder = CACHE / "native"
    key = f"{python} {content_hash(package_sources())}"
    with locked("native"):
        if is_current(folder, key) and _installed(python):
            return
        say("compiling the kernels and installing the package")
        fast = [] if isolated else ["--no-build-isolation", "-C", f"build-dir={folder / 'build'}"]
        command = [python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", *fast, ROOT]
        run(command, quiet=True, env=_tools(python))
        folder.mkdir(parents=True, exist_ok=True)
        mark_current(folder, key)


def _tools(python: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def _installed(python: Path) -> bool:
    return any(python.parent.parent.glob("[lL]ib*/**/site-packages/ruvector_attention/__init__.py"))


def chromium() -> Path:
    """A Chromium or Chrome: $CHROMIUM, one on PATH, one fetched earlier, Debian's package, Playwright's own."""
    if found := _find_chromium():
        return found
    with locked("chromium"):
        if found := _find_chromium():
            return found
        if shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0:
            say("installing Chromium with apt-get")
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "-qq", "update"], quiet=True, env=environment)
            run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"], quiet=True, env=environment)
        else:
            say("fetching Chromium with Playwright")
            environment = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(CACHE / "browsers")}
            run([venv(), "-m", "playwright", "install", "chromium"], quiet=True, env=environment)
    if found := _find_chromium():
        return found
    raise ToolchainError("no Chromium or Chrome was found or could be fetched; install one, or name it in $CHROMIUM")


def _find_chromium() -> Path | None:
    if named := os.environ.get("CHROMIUM"):
        if Path(named).is_file():
            return Path(named)
        raise ToolchainError(f"$CHROMIUM is {named!r}; expected the path of a browser")
    names = [shutil.which(name) for name in CHROMIUM_NAMES]
    places = [Path(name) for name in names if name]
    places += [Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")]
    places += sorted((CACHE / "browsers").glob("chromium-*/*/chrome*"))
    return next((place for place in places if place.is_file() and os.access(place, os.X_OK)), None)


def node_modules() -> Path:
    """`web/node_modules`, as package-lock.json has it."""
    return npm_packages(ROOT / "web")


def fixtures() -> Path:
    """What the fixtures of `web/fixtures` are built with."""
    return npm_packages(ROOT / "web" / "fixtures")


def main() -> None:
    pieces: dict[str, Callable[[], object]] = {
        "venv": venv,
        "native": install_native,
        "emscripten": lambda: emscripten()["EMCC"],
        "zig": zig,
        **{f"pyodide-{version}": partial(pyodide, version) for version in PYODIDE_VERSIONS},
        "chromium": chromium,
        "node_modules": node_modules,
        "fixtures": fixtures,
        "windowless": lambda: " ".join(windowless().values()),
        "firefox": firefox,
        "webkit": lambda: webkit()["WEBKIT_BROWSER"],
    }
    extra = {"zig", "firefox", "webkit"}
    usual = [name for name in pieces if name not in extra]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(pieces)
    parser.add_argument(
        "piece", nargs="*", metavar="PIECE", help=f"one of {known}; default: all but zig, firefox, webkit"
    )
    chosen = parser.parse_args().piece or usual
    if unknown := [name for name in chosen if name not in pieces]:
        parser.error(f"unknown piece {unknown[0]!r}; expected one of {known}")
    for name in chosen:
        started = time.monotonic()
        place = pieces[name]()
        print(f"{name:16} {time.monotonic() - started:6.1f} s  {place or 'installed'}", flush=True)


if __name__ == "__main__":
    main()
