"""The kernels in a program of their own (tests/native): with sanitizers, and for aarch64 with an emulator to run it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from toolchain_compilers import zig
from toolchain_store import CACHE, ROOT, ToolchainError, content_hash, is_current, locked, mark_current, piece, run, say

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1"]
# Compiling the checks is most of the stage's time: none that the address sanitizer makes too, those as calls where the
# compiler can (gcc), and -O1, since -O3 takes many times as long.
SANITIZERS += ["-fno-sanitize=null,object-size,pointer-overflow"]
AS_CALLS = ["--param", "asan-instrumentation-with-call-threshold=0"]
SANITIZED = "-O1"
# Addresses that are not drawn: where a kernel draws from many, the address sanitizer of gcc 12 finds its place taken
# now and then, and never ends.
AT_FIXED_ADDRESSES = ["setarch", "-R"]
EMULATORS = ["qemu-aarch64-static", "qemu-aarch64"]
EMULATED = ["aarch64", "arm"]
EMULATOR_PACKAGES = ["qemu-user-static", "qemu-user"]  # Debian 13 has the static ones in the second


def sanitized_calls(python: Path) -> Path:
    """For this machine, all instruction sets, with the address and undefined behaviour sanitizers."""
    compiler = os.environ.get("CC") or "cc"
    flags = next((flags for flags in (SANITIZERS + AS_CALLS, SANITIZERS) if _accepts(compiler, flags)), None)
    if flags is None:
        raise ToolchainError(
            f"{compiler} links no program with {SANITIZERS[0]}; expected a gcc or clang with its sanitizers (Debian: "
            "gcc, or clang with libclang-rt-dev), named in $CC where it is not `cc`"
        )
    settings = [f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS={' '.join(flags)}"]
    return _build("sanitize", python, [*settings, f"-DRV_KERNEL_OPTIONS={SANITIZED}"])


def _accepts(compiler: str, flags: list[str]) -> bool:
    """Whether it compiles and links a program with them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        command = [compiler, *flags, str(source), "-o", str(source.with_suffix(""))]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def sanitizing() -> list[str]:
    """The words before a sanitized program; none where a container forbids them."""
    try:
        works = subprocess.run([*AT_FIXED_ADDRESSES, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return AT_FIXED_ADDRESSES if works else []


def aarch64_calls(python: Path) -> Path:
    """For aarch64 Linux, without a libc to look for: static, made by zig."""
    settings = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    settings += [f"-DCMAKE_C_COMPILER={zig()};cc", "-DCMAKE_C_COMPILER_TARGET=aarch64-linux-musl"]
    return _build("aarch64", python, [*settings, "-DCMAKE_BUILD_TYPE=Release"])


def _build(name: str, python: Path, settings: list[str]) -> Path:
    folder = CACHE / "calls" / name
    native = ROOT / "tests" / "native"
    key = content_hash([ROOT / "wasm_kernels", native / "CMakeLists.txt", native / "calls.c"], *settings)
    program = folder / "calls"
    with locked(f"calls-{name}"):
        if is_current(folder, key) and program.is_file():
            return program
        say(f"compiling the kernels for the {name} stage")
        tools = python.parent
        ninja = f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"
        run([tools / "cmake", "--fresh", "-S", native, "-B", folder, "-G", "Ninja", ninja, *settings], quiet=True)
        run([tools / "ninja", "-C", folder], quiet=True)
        mark_current(folder, key)
    return program


def aarch64_emulator() -> list[str]:
    """The words before a program for aarch64 Linux: none on such a machine, else QEMU, Debian's where there is none."""
    if sys.platform == "linux" and platform.machine() == "aarch64":
        return []
    named = os.environ.get("QEMU_AARCH64")
    for name in [named] if named else EMULATORS:
        if found := shutil.which(name):
            return [found]
    if named:
        raise ToolchainError(f"$QEMU_AARCH64 is {named!r}; expected a program that runs aarch64 Linux programs")
    if sys.platform != "linux" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ToolchainError(
            "no qemu-aarch64-static on PATH, and no apt-get to fetch it with; on Linux, install QEMU's user mode "
            "emulation (Debian and Ubuntu: apt-get install qemu-user-static), or name it in $QEMU_AARCH64"
        )
    return [str(emulators() / EMULATORS[0])]


def emulators() -> Path:
    """The folder of QEMU's programs for ARM out of Debian's package: `qemu-aarch64-static` and `qemu-arm-static`."""
    return piece(CACHE / "qemu-user", "1", "fetching QEMU's emulators of ARM with apt-get (62 MB)", _unpack_emulators)


def _unpack_emulators(folder: Path) -> None:
    """In the cache alone: nothing is installed."""
    downloads = folder / "downloads"
    downloads.mkdir()
    if os.geteuid() == 0:
        run(["apt-get", "-qq", "update"], quiet=True)
    for package in EMULATOR_PACKAGES:
        run(["apt-get", "-qq", "download", package], quiet=True, cwd=downloads)
        [archive] = downloads.glob(f"{package}_*.deb")
        run(["dpkg-deb", "-x", archive, downloads], quiet=True)
        for name in EMULATED:
            candidates = [downloads / "usr/bin" / f"qemu-{name}{ending}" for ending in ("-static", "")]
            if program := next((one for one in candidates if one.is_file() and _runs(one)), None):
                shutil.copy(program.resolve(), folder / f"qemu-{name}-static")
        if all((folder / f"qemu-{name}-static").exists() for name in EMULATED):
            shutil.rmtree(downloads)
            return
    raise ToolchainError(
        f"{' and '.join(EMULATOR_PACKAGES)} hold no {EMULATORS[0]} that runs here; install one on PATH"
    )


def _runs(program: Path) -> bool:
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
