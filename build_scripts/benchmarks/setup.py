"""What a run needs, set up before it: the peers' environment, the library as a user installs it, Pyodide, a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import build
import toolchain
import toolchain_node

from . import environment

T = TypeVar("T")
PYODIDE = "314.0.7"


def prepare(runtimes: list[str], *, mechanisms: bool = False) -> tuple[Path, dict[str, Any]]:
    """The Python that drives the run, and the configuration that the run reads.

    With `mechanisms` the peers of single mechanisms are there too. A part of the project that cannot be built is
    reported and left out: the peers are measured all the same.
    """
    peers = environment.python()
    missing: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except toolchain.ToolchainError as error:
            missing[name] = error.message.strip().splitlines()[-1]
            toolchain.say(f"bench: without {name}: {missing[name]}")
            return None

    def native() -> Path:
        build.build_native()
        return toolchain.venv()

    if mechanisms:
        attempt("the peers of single mechanisms", environment.mechanism_peers)
    configuration: dict[str, Any] = {"peers_python": str(peers), "missing": missing}
    if "cpython" in runtimes:
        configuration["project_python"] = _text(attempt("the native package", native))
    if any(runtime != "cpython" for runtime in runtimes):
        configuration["peers"] = str(environment.node_project())
    if any(runtime != "cpython" for runtime in runtimes):
        configuration["pyodide"] = _text(attempt("Pyodide", lambda: toolchain.pyodide(PYODIDE)))
        configuration["wheel"] = _text(attempt("the Pyodide wheel", build.build_pyodide_wheel))
    if "node" in runtimes or "chromium" in runtimes:
        configuration["library"] = _text(attempt("the npm package", lambda: build.build_web() / "lib"))
    if "node" in runtimes:
        addon = attempt("the addon of Node's", lambda: toolchain_node.host_addon(toolchain.venv()))
        configuration["addon"] = _text(addon)
    if any(runtime.endswith("chromium") for runtime in runtimes):
        configuration["chromium"] = _text(attempt("Chromium", toolchain.chromium))
    return peers, configuration


def write(configuration: dict[str, Any]) -> Path:
    file = environment.BENCH / "configuration.json"
    file.write_text(json.dumps(configuration, indent=2))
    return file


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
