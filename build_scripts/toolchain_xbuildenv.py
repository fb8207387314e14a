"""What `pyodide build` must know of its target, put together from npm's `pyodide` and this machine's Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from toolchain_pyodide import pyodide
from toolchain_store import CACHE, build_requirements, content_hash, is_current, locked, mark_current, piece, run

PYODIDE_BUILD = "pyodide-build==0.39.2"
TARGET = "0.27.8"  # the oldest Pyodide that the wheel serves: an abi3 module for it runs in every later one
OLDEST_HOST = (3, 12)  # pyodide-build's floor, and the limited API of the wheel
SYSCONFIG = "_sysconfigdata__emscripten_wasm32-emscripten"

# sysconfig keeps no name that begins with an underscore, and without these musl hides half of stdio.h
_FEATURES = ["_GNU_SOURCE 1", "_ALL_SOURCE 1", "_POSIX_PTHREAD_SEMANTICS 1", "_TANDEM_SOURCE 1", "__EXTENSIONS__ 1"]
_FEATURES += ["_XOPEN_SOURCE 700", "_POSIX_C_SOURCE 200809L"]


def host_python() -> Path | None:
    """A Python of at least 3.12 on this machine: this one, one on PATH, or one of pyenv's."""
    if sys.version_info >= OLDEST_HOST:
        return Path(sys.executable)
    names = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [Path(name) for name in names if name] + sorted(pyenv.glob("3.1[234].*/bin/python"))
    for python in found:
        # pyenv's shims exist for versions that are not selected, and fail
        if subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def build_python(host: Path) -> Path:
    """The venv with pyodide-build."""
    folder = CACHE / "venv-pyodide"
    python = folder / "bin" / "python"
    requirements = [PYODIDE_BUILD, *build_requirements()]
    key = "\n".join([str(host), str(folder), *requirements])
    if is_current(folder, key):
        return python
    with locked("venv-pyodide"):  # made in place: a venv cannot be moved
        if not is_current(folder, key):
            shutil.rmtree(folder, ignore_errors=True)
            run([host, "-m", "venv", folder], quiet=True)
            run([python, "-m", "pip", "install", "-q", *requirements], quiet=True)
            mark_current(folder, key)
    return python


def wasm_headers() -> Path:
    """Python.h and its kin for wasm32: any CPython's headers, with the pyconfig.h of Pyodide's build."""
    host = host_python() or Path(sys.executable)
    key = f"{host} {content_hash([Path(__file__)])}"

    def build(folder: Path) -> None:
        include = _ask(host, "import sysconfig; print(sysconfig.get_path('include'))")
        config = _ask(host, "import sysconfig; print(sysconfig.get_config_h_filename())")
        shutil.copytree(include, folder, dirs_exist_ok=True, symlinks=False)
        (folder / "pyconfig.h").write_text(pyconfig(Path(config).read_text(), sysconfig_variables(pyodide(TARGET))))

    return piece(CACHE / "wasm-headers", key, f"deriving Python headers for wasm32 from {host}", build)


def _ask(python: Path, code: str) -> str:
    return run([python, "-c", code], quiet=True).stdout.strip()


def sysconfig_source(distribution: Path) -> str:
    with zipfile.ZipFile(distribution / "python_stdlib.zip") as archive:
        return archive.read(f"{SYSCONFIG}.py").decode()


def sysconfig_variables(distribution: Path) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(sysconfig_source(distribution), names)
    variables: dict[str, Any] = names["build_time_vars"]
    return variables


def pyconfig(host: str, variables: dict[str, Any]) -> str:
    """A pyconfig.h with the names of the host's and the values of the target's sysconfig."""
    lines = ["#ifndef Py_PYCONFIG_H", "#define Py_PYCONFIG_H"]
    for feature in _FEATURES:
        lines += [f"#ifndef {feature.split()[0]}", f"#define {feature}", "#endif"]
    names = re.findall(r"^\s*(?:/\*\s*)?#\s*(?:define|undef)\s+([A-Za-z]\w*)", host, re.M)
    for name in dict.fromkeys(names):
        value = variables.get(name)
        zero_counts = name.startswith(("SIZEOF_", "ALIGNOF_"))
        if name != "Py_PYCONFIG_H" and value not in ("", None) and (value != 0 or zero_counts):
            lines.append(f"#define {name} {value}")
    return "\n".join([*lines, "#endif", ""])


def cross_build_environment(python: Path) -> Path:
    """The folder for `pyodide build --xbuildenv-path`, as `pyodide xbuildenv install` makes it of a local archive."""
    distribution, headers = pyodide(TARGET), wasm_headers()
    version = _ask(python, "import platform; print(platform.python_version())")
    folder = CACHE / "xbuildenv"
    key = f"{version} {python} {folder} {content_hash([Path(__file__)])}"
    if is_current(folder, key):
        return folder
    with locked("xbuildenv"):
        if not is_current(folder, key):
            shutil.rmtree(folder, ignore_errors=True)
            _install(python, folder, _archive(distribution, headers, version))
            mark_current(folder, key)
    return folder


def _archive(distribution: Path, headers: Path, version: str) -> Path:
    root = CACHE / "xbuildenv.source"
    shutil.rmtree(root, ignore_errors=True)
    pyodide_root = root / "xbuildenv" / "pyodide-root"
    major, minor, micro = version.split(".")
    python = f"cpython/installs/python-{version}"
    shutil.copytree(headers, pyodide_root / python / f"include/python{major}.{minor}")
    sysconfig_folder = pyodide_root / python / "sysconfigdata"
    sysconfig_folder.mkdir(parents=True)
    (sysconfig_folder / f"{SYSCONFIG}.py").write_text(sysconfig_source(distribution))
    (root / "xbuildenv" / "requirements.txt").write_text("")
    (pyodide_root / "dist").mkdir()
    shutil.copy(distribution / "pyodide-lock.full.json", pyodide_root / "dist" / "pyodide-lock.json")
    info = json.loads((distribution / "pyodide-lock.json").read_text())["info"]
    install = f"$(PYODIDE_ROOT)/{python}"
    variables = {
        "PYVERSION": version,
        "PYMAJOR": major,
        "PYMINOR": minor,
        "PYMICRO": micro,
        "PYODIDE_VERSION": info["version"],
        "PYODIDE_ABI_VERSION": info["abi_version"],
        "PYODIDE_EMSCRIPTEN_VERSION": info["platform"].removeprefix("emscripten_").replace("_", "."),
        "PLATFORM_TRIPLET": "wasm32-emscripten",
        "SYSCONFIG_NAME": SYSCONFIG,
        "CPYTHONINSTALL": install,
        "TARGETINSTALLDIR": install,
        "SYSCONFIGDATA_DIR": f"{install}/sysconfigdata",
        "PYTHONINCLUDE": f"{install}/include/python{major}.{minor}",
        "CFLAGS_BASE": "-g0 -fPIC",
        "CXXFLAGS_BASE": "-g0 -fPIC",
        "LDFLAGS_BASE": "-g0",
    }
    makefile = "".join(f"export {name}={value}\n" for name, value in variables.items()) + ".output_vars:\n\tenv\n"
    (pyodide_root / "Makefile.envs").write_text(makefile)
    archive = CACHE / "downloads" / "xbuildenv.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(root / "xbuildenv", "xbuildenv")
    shutil.rmtree(root)
    return archive


def _install(python: Path, folder: Path, archive: Path) -> None:
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [python.parent / "pyodide", "xbuildenv", "install"]
    run([*command, "--path", folder, "--url", archive.as_uri()], quiet=True, env=environment)
    archive.unlink()
