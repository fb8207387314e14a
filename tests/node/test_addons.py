"""The addons of all platforms, of which this machine can run few: their format, what they export, what they ask for.

`python3 build_scripts/test.py --only node` builds them and sets $RV_PACKAGES, the folder of their npm packages.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

if "RV_PACKAGES" not in os.environ:
    pytest.skip("needs $RV_PACKAGES: `python3 build_scripts/test.py --only node` sets it", allow_module_level=True)

lief: Any = pytest.importorskip("lief", reason="the `dev` extra has it")

PACKAGES = Path(os.environ["RV_PACKAGES"])
ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = {entry["name"]: entry for entry in json.loads((ROOT / "web/src/native/platforms.json").read_text())}
EXPORTS = {"napi_register_module_v1", "node_api_module_get_api_version_v1"}
MACHINES = {
    ("linux", "x64"): "X86_64",
    ("linux", "arm64"): "AARCH64",
    ("linux", "arm"): "ARM",
    ("darwin", "x64"): "X86_64",
    ("darwin", "arm64"): "ARM64",
    ("win32", "x64"): "AMD64",
    ("win32", "arm64"): "ARM64",
}
# C's own functions, by whatever name a platform's library has them; Windows' start of a library asks for more
LIBC = {"calloc", "free", "malloc", "memcpy", "memset", "memmove", "strcmp", "vsnprintf", "dyld_stub_binder"}
LIBC |= {"bzero", "__bzero", "memset_pattern16"}
LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
NODE_API_8 = {"napi_get_typedarray_info", "napi_create_async_work", "napi_set_instance_data"}
OLDEST_GLIBC = (2, 28)  # Node 20's own
SIZE_LIMIT = 950_000  # four instruction sets of every kernel, 903 kB at most; half of that compressed


def binary(name: str) -> Any:
    return lief.parse(str(PACKAGES / f"ruvector-attention-{name}" / "ruvector-attention.node"))


def named(entries: Any) -> set[str]:
    return {str(getattr(entry, "name", entry)) for entry in entries}


def plain(names: set[str]) -> set[str]:
    """Without the underscore that macOS puts before every name of C's."""
    return {name.removeprefix("_") for name in names}


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_package_says_where_it_belongs(name: str) -> None:
    folder, platform = PACKAGES / f"ruvector-attention-{name}", PLATFORMS[name]
    package = json.loads((folder / "package.json").read_text())
    main = json.loads((ROOT / "web/package.json").read_text())
    assert package["name"] == folder.name
    assert package["version"] == main["version"]
    assert [package["os"], package["cpu"]] == [[platform["os"]], [platform["cpu"]]]
    assert package.get("libc") == ([platform["libc"]] if "libc" in platform else None)
    assert (folder / package["main"]).stat().st_size < SIZE_LIMIT
    assert (folder / "LICENSE").is_file()


def test_the_main_package_asks_for_all_of_them() -> None:
    package = json.loads((PACKAGES / "package/package.json").read_text())
    wanted = {f"ruvector-attention-{name}": package["version"] for name in PLATFORMS}
    assert package["optionalDependencies"] == wanted


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name.startswith("linux")])
def test_linux(name: str) -> None:
    addon, platform = binary(name), PLATFORMS[name]
    assert isinstance(addon, lief.ELF.Binary)
    assert addon.header.machine_type.name == MACHINES["linux", platform["cpu"]]
    assert named(addon.exported_functions) == EXPORTS
    libc = "libc.so.6" if platform["libc"] == "glibc" else "libc.so"
    assert list(addon.libraries) == [libc]
    wanted = [symbol for symbol in addon.dynamic_symbols if symbol.shndx == 0 and symbol.name]
    imported = {symbol.name for symbol in wanted}
    node = {symbol for symbol in imported if symbol.startswith("napi_")}
    assert node >= NODE_API_8
    assert imported - node <= LIBC
    for symbol in wanted:
        version = symbol.symbol_version and symbol.symbol_version.symbol_version_auxiliary
        if version and version.name.startswith("GLIBC_"):
            assert tuple(map(int, version.name.removeprefix("GLIBC_").split("."))) <= OLDEST_GLIBC, symbol.name
    if platform["cpu"] == "arm":
        assert addon.header.has(lief.ELF.PROCESSOR_FLAGS.ARM_VFP_FLOAT)


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name.startswith("darwin")])
def test_macos(name: str) -> None:
    addon, platform = binary(name), PLATFORMS[name]
    assert isinstance(addon, lief.MachO.Binary)
    assert addon.header.cpu_type.name == MACHINES["darwin", platform["cpu"]]
    assert plain(named(addon.exported_functions)) >= EXPORTS
    assert [library.name for library in addon.libraries if not library.name.endswith(".node")] == [LIBSYSTEM]
    imported = {str(symbol.name).removeprefix("_") for symbol in addon.imported_symbols}
    node = {symbol for symbol in imported if symbol.startswith("napi_")}
    assert node >= NODE_API_8
    assert imported - node <= LIBC
    assert list(addon.build_version.minos)[:2] == [11, 0]
    if platform["cpu"] == "arm64":
        assert addon.has_code_signature  # macOS loads nothing unsigned there


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name.startswith("win32")])
def test_windows(name: str) -> None:
    addon, platform = binary(name), PLATFORMS[name]
    assert isinstance(addon, lief.PE.Binary)
    assert addon.header.machine.name == MACHINES["win32", platform["cpu"]]
    assert named(addon.exported_functions) == EXPORTS
    libraries = {library.name.lower(): named(library.entries) for library in addon.imports}
    assert libraries["node.exe"] >= NODE_API_8
    assert all(entry.startswith("napi_") for entry in libraries["node.exe"])
    others = set(libraries) - {"node.exe", "kernel32.dll"}
    assert {library for library in others if not library.startswith("api-ms-win-crt-")} == set()
