"""The kernels as addons of Node's: this machine's by its own compiler, those of all platforms by zig."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from toolchain_compilers import zig
from toolchain_store import CACHE, ROOT, ToolchainError, content_hash, is_current, locked, mark_current, piece, run, say
from toolchain_store import verify as verify_hash

HEADERS_VERSION = "1.9.0"
HEADERS_HASH = "sha512-2oNILP4jXwRB4ywnYKjVk1YyJ96n2D4EOVJO6S3oYZ5PtbJrw3Yt9TpAuX3nBLMuzn74rnfGQrv13pS9vC+YiA=="
ADDON = "ruvector-attention.node"
PROCESSORS = {"x64": "x86_64", "arm64": "aarch64", "arm": "armv7-a"}
MACHINES = {"x64": "i386:x86-64", "arm64": "arm64"}  # what an import library for Windows is made for


@dataclass(frozen=True)
class Platform:
    """A package of npm's: what it is for, in npm's words, and zig's name of that."""

    name: str
    os: str
    cpu: str
    zig: str
    libc: str | None = None

    @property
    def package(self) -> str:
        return f"ruvector-attention-{self.name}"


def platforms() -> list[Platform]:
    listed = json.loads((ROOT / "web" / "src" / "native" / "platforms.json").read_text())
    return [Platform(**entry) for entry in listed]


def node_headers() -> Path:
    """The folder with `include/` and `def/` of npm's `node-api-headers`."""

    def build(folder: Path) -> None:
        package = f"node-api-headers@{HEADERS_VERSION}"
        run(["npm", "pack", "--silent", package, "--pack-destination", folder], quiet=True)
        [archive] = folder.glob("*.tgz")
        verify_hash(archive, HEADERS_HASH)
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        archive.unlink()

    folder = piece(CACHE / "node-headers", HEADERS_VERSION, "fetching the headers of Node-API from npm", build)
    return folder / "package"


def sources() -> list[Path]:
    scripts = [ROOT / "build_scripts" / name for name in ("toolchain_node.py", "zig_node.cmake")]
    return [ROOT / "wasm_kernels", ROOT / "web" / "src" / "native" / "platforms.json", *scripts]


def host_addon(python: Path) -> Path:
    """The addon for this machine, by its own compiler; zig's where that is none that CMakeLists.txt links with."""
    if sys.platform == "win32":
        answer = run(["node", "-p", "process.arch"], quiet=True).stdout.strip()
        [wanted] = [platform for platform in platforms() if (platform.os, platform.cpu) == ("win32", answer)]
        return cross_addons(python, [wanted])[wanted]
    folder = CACHE / "node-host"
    compiler = os.environ.get("CC") or "cc"
    key = content_hash(sources(), compiler)
    with locked("node-host"):
        if not is_current(folder, key):
            say("compiling the kernels as an addon of Node's")
            _cmake(python, folder, [f"-DCMAKE_C_COMPILER={compiler}"], dict(os.environ))
            mark_current(folder, key)
    return folder / "host.node"


def cross_addons(python: Path, wanted: Iterable[Platform]) -> dict[Platform, Path]:
    """The addon of each of these platforms. Those that differ in the C library alone share what is compiled."""
    with ThreadPoolExecutor(2) as pool:  # one links while the other compiles
        groups = [list(group) for _, group in groupby(wanted, key=lambda platform: (platform.os, platform.cpu))]
        built = pool.map(lambda group: _cross(python, group), groups)
        return {platform: file for files in built for platform, file in files.items()}


def _cross(python: Path, group: list[Platform]) -> dict[Platform, Path]:
    first = group[0]
    folder = CACHE / "node" / f"{first.os}-{first.cpu}"
    files = {platform: folder / f"{platform.zig}.node" for platform in group}
    key = content_hash(sources(), *(platform.zig for platform in group))
    if is_current(folder, key):
        return files
    say(f"compiling the addon for {first.os} {first.cpu}")
    compiler = zig()
    environment = {
        **os.environ,
        "RV_ZIG": str(compiler),
        "RV_ZIG_TARGET": first.zig,
        "RV_PROCESSOR": PROCESSORS[first.cpu],
        "RV_NODE_LINK": _link_options(first, compiler),
        "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig-libraries"),
    }
    toolchain = ROOT / "build_scripts" / "zig_node.cmake"
    settings = [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", f"-DRV_NODE_TARGETS={';'.join(p.zig for p in group)}"]
    shutil.rmtree(folder, ignore_errors=True)
    _cmake(python, folder, settings, environment)
    mark_current(folder, key)
    return files


def _link_options(platform: Platform, compiler: Path) -> str:
    """Where the functions of Node's are: macOS and Linux look for them when they load the addon."""
    if platform.os == "darwin":
        return "-Wl,-undefined,dynamic_lookup"
    if platform.os != "win32":
        return ""
    library = CACHE / "node" / f"node-{platform.cpu}.lib"
    library.parent.mkdir(parents=True, exist_ok=True)
    definitions = node_headers() / "def" / "node_api.def"
    machine = ["-m", MACHINES[platform.cpu]]
    run([compiler, "dlltool", *machine, "-D", "node.exe", "-d", definitions, "-l", library], quiet=True)
    return f'"{library}"'


def _cmake(python: Path, folder: Path, settings: list[str], environment: dict[str, str]) -> None:
    tools = python.parent
    options = [f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", "-DCMAKE_BUILD_TYPE=Release", "-DRV_NODE=ON"]
    options += [f"-DRV_NODE_INCLUDE={node_headers() / 'include'}", "-DRV_PYTHON=OFF", *settings]
    configure = [tools / "cmake", "--fresh", "-S", ROOT / "wasm_kernels", "-B", folder, "-G", "Ninja", *options]
    run(configure, quiet=True, env=environment)
    run([tools / "ninja", "-C", folder], quiet=True, env=environment)


def host_platform() -> Platform:
    """This machine's, as Node names it."""
    code = "const { glibcVersionRuntime: libc } = process.report.getReport().header;"
    code += "console.log(process.platform, process.arch, libc ? 'glibc' : 'musl')"
    answer = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True).stdout.split()
    for platform in platforms():
        if [platform.os, platform.cpu] == answer[:2] and platform.libc in (None, answer[2]):
            return platform
    raise ToolchainError(f"there is no package for {' '.join(answer)}; expected one of {[p.name for p in platforms()]}")
