"""Bytecode of what a start imports, for a host that keeps it for the next one: Pyodide compiles anew every time."""

from __future__ import annotations

import importlib.util
import marshal
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

HASH_BASED_UNCHECKED = 0b01
"""The flag of PEP 552: whoever keeps the file answers for its source, and Python compares neither time nor hash."""


class BytecodeWriter:
    """Writes the bytecode of modules under `packages` beside them, and of a zipped `library` into a copy of it.

    Modules are those that are loaded, and all of this package. A step compiles one, so that the host can turn to
    something else between two of them. A module whose bytecode is of another Python is compiled as if it had none.
    """

    def __init__(self, packages: str, library: str, copy: str) -> None:
        self._packages = Path(packages)
        self._library = f"{library}/"
        shutil.copyfile(library, copy)
        self._copy = zipfile.ZipFile(copy, "a")  # stored: what inflating costs is more than what reading does
        self._sources = self._find()

    def step(self) -> bool:
        """Compiles the next module; False when there is none, and the copy is complete."""
        path = next(self._sources, None)
        if path is None:
            self._copy.close()
            return False
        if path.startswith(self._library):
            name = path.removeprefix(self._library)
            self._copy.writestr(f"{name}c", bytecode(self._copy.read(name), path))
        else:
            target = Path(importlib.util.cache_from_source(path))
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(bytecode(Path(path).read_bytes(), path))
        return True

    def _find(self) -> Iterator[str]:
        own = Path(__file__).parent
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        paths = {file for file in files if file and file.endswith(".py")}
        for path in sorted(paths | {str(path) for path in own.rglob("*.py")}):
            if path.startswith(self._library) or self._packages in Path(path).parents:
                yield path


def bytecode(source: bytes, path: str) -> bytes:
    """What a .pyc of that source holds."""
    code = compile(source, path, "exec", dont_inherit=True)
    head = importlib.util.MAGIC_NUMBER + HASH_BASED_UNCHECKED.to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code)
