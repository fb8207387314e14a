"""Bytecode that a host keeps for the next start."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruvector_attention.bytecode import BytecodeWriter, bytecode

LIBRARY = {
    "zipped_package/__init__.py": "from . import inner\nNAME = 'package'\n",
    "zipped_package/inner.py": "def fails():\n    raise ValueError('inner')\n",
    "zipped_package/unused.py": "NAME = 'unused'\n",
}
PROBE = """
import inspect, json, sys, traceback
import plain_module, zipped_package, zipped_package.unused
try:
    zipped_package.inner.fails()
except ValueError as error:
    trace = "".join(traceback.format_exception(error))
print(json.dumps({
    "plain": plain_module.NAME,
    "files": [zipped_package.__file__, zipped_package.inner.__file__, zipped_package.unused.__file__],
    "source": inspect.getsource(zipped_package.inner.fails),
    "trace": trace,
}))
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path, Path]]:
    """Packages, a zipped library, and where its copy goes; both are imported here and are gone afterwards."""
    packages, library, copy = tmp_path / "packages", tmp_path / "library.zip", tmp_path / "copy.zip"
    packages.mkdir()
    (packages / "plain_module.py").write_text("NAME = 'as it was'\n")
    with zipfile.ZipFile(library, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in LIBRARY.items():
            archive.writestr(name, source)
    monkeypatch.setattr(sys, "path", [str(packages), str(library), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("plain_module", "zipped_package", "zipped_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("plain_module")
    importlib.import_module("zipped_package")
    yield packages, library, copy
    for name in ("plain_module", "zipped_package", "zipped_package.inner"):
        sys.modules.pop(name, None)


def test_what_was_imported_has_bytecode_that_python_takes_without_its_source(places: tuple[Path, Path, Path]) -> None:
    packages, library, copy = places
    writer = BytecodeWriter(str(packages), str(library), str(copy))
    steps = 0
    while writer.step():
        steps += 1
    assert steps == 3  # plain_module, zipped_package, its inner; not what nobody imported
    # Whatever is read now comes from the bytecode: the sources say something else.
    (packages / "plain_module.py").write_text("NAME = 'compiled anew'\n")
    library.unlink()
    copy.rename(library)
    run = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={"PYTHONPATH": f"{packages}:{library}"},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout)
    assert found["plain"] == "as it was"
    inner = f"{library}/zipped_package/inner.py"
    assert found["files"] == [
        f"{library}/zipped_package/__init__.pyc",
        f"{inner}c",
        f"{library}/zipped_package/unused.py",
    ]
    assert found["source"] == LIBRARY["zipped_package/inner.py"]
    assert f'File "{inner}", line 2, in fails' in found["trace"]


def test_bytecode_of_another_python_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "other_python.py"
    source.write_text("NAME = 'compiled anew'\n")
    compiled = bytearray(bytecode(b"NAME = 'of another Python'\n", str(source)))
    compiled[0] ^= 1  # the magic number
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir()
    target.write_bytes(compiled)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.import_module("other_python").NAME == "compiled anew"
    sys.modules.pop("other_python")
