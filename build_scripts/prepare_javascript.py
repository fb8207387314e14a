#!/usr/bin/env python3
"""Set up what suites of the JavaScript tests need: the built package always, and what web/test/suites.json names.

python3 build_scripts/prepare_javascript.py node page    # as `npm test -- node page` in web/ does it by itself

The last line printed is JSON: the variables that the tests read, and the suites that this machine cannot run, with why.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import build
import build_node
import toolchain
import toolchain_node

Variables = dict[str, str]


@dataclass
class Prepared:
    environment: Variables = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Suites that cannot run here, and why."""


def suites() -> dict[str, dict[str, Any]]:
    """THE list of suites. A suite without a piece that it needs is skipped; one that it uses, its tests do without."""
    return dict(json.loads((toolchain.ROOT / "web" / "test" / "suites.json").read_text()))


def prepare(names: Sequence[str]) -> Prepared:
    """Everything for these suites.

    Raises: ToolchainError where something is missing that can be had everywhere.
    """
    build.build_web()
    # as the build has found them: the cache may be elsewhere
    runtime = {"PYODIDE_DIR": toolchain.pyodide(build.PAGE_PYODIDE), "RUVECTOR_WHEEL": build.build_pyodide_wheel()}
    prepared, pieces = Prepared({name: str(place) for name, place in runtime.items()}), Pieces()
    for name in names:
        for piece in [*suites()[name].get("needs", []), *suites()[name].get("uses", [])]:
            environment, why = pieces.get(piece)
            prepared.environment |= environment
            if why and piece in suites()[name].get("needs", []):
                prepared.missing[name] = why
    return prepared


class Pieces:
    """Each is made once, however many suites ask for it; a browser that cannot be had is said so, in one line."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Variables, str]] = {}

    def get(self, piece: str) -> tuple[Variables, str]:
        """Its variables, and why it is missing where it is."""
        if piece not in self._found:
            try:
                self._found[piece] = PIECES[piece](), ""
            except toolchain.ToolchainError as error:
                if piece not in BROWSERS:
                    raise
                why = error.message.strip().splitlines()[-1]
                toolchain.say(f"without {piece}: {why}")
                self._found[piece] = {}, why
        return self._found[piece]


def _addon() -> Variables:
    return {"RUVECTOR_NATIVE_BINARY": str(toolchain_node.host_addon(toolchain.venv()))}


def _packages() -> Variables:
    """What npm installs on this machine; the packages of all platforms are the business of build_node.py."""
    folder = toolchain.ROOT / "dist" / "npm-here"
    build_node.build_packages([toolchain_node.host_platform()], folder)
    return {"RUVECTOR_NPM_PACKAGES": str(folder)}


def _fixtures() -> Variables:
    toolchain.fixtures()
    return {}


BROWSERS = ("chromium", "firefox", "webkit")
PIECES: dict[str, Callable[[], Variables]] = {
    "addon": _addon,
    "packages": _packages,
    "fixtures": _fixtures,
    "windowless": toolchain.windowless,
    "chromium": lambda: {"CHROMIUM": str(toolchain.chromium())},
    "firefox": lambda: {"FIREFOX": str(toolchain.firefox())},
    "webkit": toolchain.webkit,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="*", metavar="SUITE", help=f"of {', '.join(suites())}; default: all")
    names = parser.parse_args().suite or list(suites())
    if unknown := [name for name in names if name not in suites()]:
        parser.error(f"unknown suite {unknown[0]!r}; expected one of {', '.join(suites())}")
    print(json.dumps(asdict(prepare(names))))


if __name__ == "__main__":
    main()
