"""Compilers for WebAssembly: Emscripten (the machine's own, else Debian's in a private folder), or else zig."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from toolchain_store import (
    CACHE,
    Bar,
    ToolchainError,
    directory_size,
    is_current,
    locked,
    mark_current,
    piece,
    pip_download,
    run,
    say,
)

OLDEST_EMSCRIPTEN = (3, 1, 58)  # Pyodide 0.27's own; Debian 12's 3.1.6 makes side modules that Pyodide refuses
EMSCRIPTEN_SUITE = "trixie"  # carries Emscripten 3.1.69
LLVM_PACKAGES = ["clang-19", "lld-19", "llvm-19", "libllvm19", "libclang-cpp19", "libclang-common-19-dev"]
LLVM_PACKAGES += ["llvm-19-linker-tools", "llvm-19-runtime"]
EMSCRIPTEN_PACKAGES = ["emscripten", "binaryen", "node-acorn"]
LIBC_PACKAGES = ["libc6", "libstdc++6", "libgcc-s1"]  # for binaryen only, which needs a newer libc than Debian 12's
ZIG_VERSION = "0.17.1"

# What no build here needs of its 1.9 GB: libraries for link-time optimisation, sanitizers, OpenGL, wasm workers
_UNUSED = ["*/lto/*", "*/lto-pic/*", "*/libGL*emu*", "*/libGL*full*", "*/libGL*webgl2*", "*-ww*.a"]
_UNUSED += ["*asan*.a", "*lsan*.a", "*ubsan*.a", "*sanitizer*.a"]
_UNUSED += ["*/libwasmfs*", "*/libwebgpu*", "*/libemmalloc-*", "*/emscripten/test/*", "*/emscripten/docs/*"]
_UNUSED += ["./usr/share/doc/*", "./usr/share/man/*", "*.js.map"]

_SMOKE_SOURCE = """
#include <wasm_simd128.h>
static float four[4] = {1, 2, 3, 4};
float sum_of_squares(void) {
  v128_t v = wasm_v128_load(four), s = wasm_f32x4_mul(v, v);
  return wasm_f32x4_extract_lane(s, 0) + wasm_f32x4_extract_lane(s, 1) + wasm_f32x4_extract_lane(s, 2)
       + wasm_f32x4_extract_lane(s, 3);
}
"""


def emscripten() -> dict[str, str]:
    """The environment in which `emcc` works: $EMCC or PATH first, else Debian's packages in `.cache/emscripten`."""
    own = _installed_emscripten()
    environment = own or _debian_emscripten()
    return _smoke_tested(environment)


def emscripten_version(environment: dict[str, str]) -> str:
    return _version_of(environment["EMCC"], environment) or "unknown"


def llvm_tool(name: str, environment: dict[str, str]) -> str | None:
    """A program of the LLVM that this Emscripten runs on, or one on PATH."""
    asked = str(Path(environment["EMCC"]).with_name("em-config"))
    answer = None
    with contextlib.suppress(OSError):
        answer = subprocess.run([asked, "LLVM_ROOT"], capture_output=True, text=True, check=False, env=environment)
    root = answer.stdout.strip() if answer and answer.returncode == 0 else ""
    return shutil.which(name, path=os.pathsep.join(filter(None, [root, environment["PATH"]])))


def _version_of(emcc: str, environment: dict[str, str] | None = None) -> str | None:
    try:
        answer = subprocess.run([emcc, "--version"], capture_output=True, text=True, check=False, env=environment)
    except OSError:
        return None
    found = re.search(r"\b(\d+\.\d+\.\d+)\b", answer.stdout)
    return found.group(1) if found and answer.returncode == 0 else None


def _installed_emscripten() -> dict[str, str] | None:
    emcc = os.environ.get("EMCC") or shutil.which("emcc")
    version = _version_of(emcc) if emcc else None
    if emcc is None or version is None:
        return None
    if tuple(map(int, version.split("."))) < OLDEST_EMSCRIPTEN:
        oldest = ".".join(map(str, OLDEST_EMSCRIPTEN))
        say(f"{emcc} is Emscripten {version}; at least {oldest} is needed, so it is not used")
        return None
    emcc = shutil.which(emcc) or emcc
    return {**os.environ, "EMCC": emcc, "PATH": f"{Path(emcc).parent}{os.pathsep}{os.environ['PATH']}"}


def _smoke_tested(environment: dict[str, str]) -> dict[str, str]:
    """Compile a SIMD128 module and run it in Node, once for each compiler."""
    folder = CACHE / "smoke"
    key = f"{environment['EMCC']} {emscripten_version(environment)}"
    with locked("smoke"):
        if not is_current(folder, key):
            folder.mkdir(parents=True, exist_ok=True)
            _smoke_test(environment, folder)
            mark_current(folder, key)
            version = emscripten_version(environment)
            say(f"Emscripten {version} compiles SIMD128 that runs in Node: {environment['EMCC']}")
    return environment


def _smoke_test(environment: dict[str, str], folder: Path) -> None:
    source, module = folder / "smoke.c", folder / "smoke.wasm"
    source.write_text(_SMOKE_SOURCE)
    flags = ["-O2", "-msimd128", "--no-entry", "-sEXPORTED_FUNCTIONS=_sum_of_squares"]
    run([environment["EMCC"], *flags, source, "-o", module], quiet=True, env=environment)
    script = (
        "WebAssembly.instantiate(require('fs').readFileSync(process.argv[1])).then("
        "({instance}) => process.exit(instance.exports.sum_of_squares() === 30 ? 0 : 1))"
    )
    run(["node", "-e", script, module], quiet=True)


def _debian_emscripten() -> dict[str, str]:
    prefix = CACHE / "emscripten"
    node = shutil.which("node")
    if node is None:
        raise ToolchainError("Emscripten needs Node.js 18 or newer on PATH; none was found")
    key = f"debian {EMSCRIPTEN_SUITE} 3 {node} {CACHE}"
    if not is_current(prefix, key):
        mirror, release = debian_mirror()  # outside the piece: fails at once where there is no Debian
        message = (
            f"fetching Emscripten from Debian {EMSCRIPTEN_SUITE} into {prefix} (310 MB; the system stays as it is)"
        )
        piece(prefix, key, message, lambda folder: _unpack_debian_emscripten(folder, prefix, mirror, release, node))
    tools = prefix / "usr/share/emscripten"
    path = os.pathsep.join([str(tools), os.environ["PATH"], str(prefix / "bin")])
    return {
        **os.environ,
        "PATH": path,
        "EMCC": str(tools / "emcc"),
        "EM_CONFIG": str(tools / ".emscripten"),
        "EMSDK_PYTHON": sys.executable,
    }


def debian_mirror(etc: Path = Path("/etc")) -> tuple[str, str]:
    """(URI, code name) of the Debian archive that this system itself uses."""
    facts = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', _text(etc / "os-release"), re.M))
    release = facts.get("VERSION_CODENAME", "")
    if facts.get("ID") != "debian" or release not in {"bookworm", "trixie"} or shutil.which("apt-get") is None:
        system = facts.get("PRETTY_NAME", sys.platform)
        raise ToolchainError(
            f"no emcc on PATH or in $EMCC, and this system ({system}) is not Debian 12 or 13, from which one could "
            "be fetched; install Emscripten 3.1.58 or newer (https://emscripten.org), or build with `--compiler zig`"
        )
    files = [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]
    for file in files:
        for block in re.split(r"\n\s*\n", re.sub(r"^\s*#.*\n?", "", _text(file), flags=re.M)):
            suites = re.search(r"^Suites:(.*)$", block, re.M)
            uris = re.search(r"^URIs:\s*(\S+)", block, re.M)
            if suites and uris and release in suites.group(1).split():
                return uris.group(1), release
            if line := re.search(rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{release}\s", block, re.M):
                return line.group(1), release
    raise ToolchainError(f"no source for Debian {release} in {etc}/apt; expected one in sources.list or sources.list.d")


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _unpack_debian_emscripten(folder: Path, final: Path, mirror: str, release: str, node: str) -> None:
    # the downloads live beside the piece, so that an interrupted run goes on with what it has
    apt, debs = CACHE / "downloads/apt", CACHE / "downloads/debs"
    options = _isolated_apt(apt, mirror, dict.fromkeys([release, EMSCRIPTEN_SUITE]), release)
    run(["apt-get", *options, "-qq", "update"], quiet=True)

    llvm_suite = release if _offers(options, "clang-19", release) else EMSCRIPTEN_SUITE
    missing = _missing_libraries(options, [f"{name}/{llvm_suite}" for name in LLVM_PACKAGES[:3]])
    groups = {
        ".": [f"{n}/{llvm_suite}" for n in LLVM_PACKAGES]
        + [n for n in missing if n not in LLVM_PACKAGES]
        + [f"{n}/{EMSCRIPTEN_SUITE}" for n in EMSCRIPTEN_PACKAGES],
        "newer-libc": [f"{n}/{EMSCRIPTEN_SUITE}" for n in LIBC_PACKAGES],
    }
    for group, packages in groups.items():
        (debs / group).mkdir(parents=True, exist_ok=True)
        listing = run(["apt-get", *options, "download", "--print-uris", *packages], quiet=True, cwd=debs / group).stdout
        files = {name: int(size) for name, size in re.findall(r"^'[^']+' (\S+) (\d+)", listing, re.M)}
        bar = Bar(f"download {len(files)} Debian packages", sum(files.values()))
        with bar.watching(lambda: directory_size(debs)):  # apt checks every hash itself, against the signed index
            run(["apt-get", *options, "-qq", "download", *packages], quiet=True, cwd=debs / group)
        for name in files:
            _unpack(debs / group / name, folder / group)
    _write_wrappers(folder, final, node)
    shutil.rmtree(debs)


def _isolated_apt(folder: Path, mirror: str, suites: Iterable[str], default: str) -> list[str]:
    """apt options that read the system's installed packages and keys, and write nothing outside the folder."""
    for name in ["lists/partial", "archives/partial", "preferences.d"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"[signed-by={keyring}] " if keyring.exists() else ""
    (folder / "sources.list").write_text("".join(f"deb {signed}{mirror} {suite} main\n" for suite in suites))
    settings = {
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": folder / "preferences.d",
        "APT::Default-Release": default,
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _offers(options: list[str], package: str, suite: str) -> bool:
    answer = run(["apt-cache", *options, "madison", package], quiet=True).stdout
    return any(f" {suite}/" in line for line in answer.splitlines())


def _missing_libraries(options: list[str], packages: list[str]) -> list[str]:
    """Shared libraries that LLVM needs and this system has not."""
    command = ["apt-get", *options, "install", "-y", "--no-install-recommends", "--print-uris", *packages]
    names = re.findall(r"^'[^']+' ([^_\s]+)_", run(command, quiet=True).stdout, re.M)
    return [name for name in names if name.startswith("lib") and not name.endswith("-dev")]


def _unpack(deb: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    excluded = [part for pattern in _UNUSED for part in ("--exclude", pattern)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as archive:
        run(["tar", "-x", "-C", folder, "--wildcards", *excluded, "-f", "-"], quiet=True, stdin=archive.stdout)
    if archive.returncode != 0:
        raise ToolchainError(f"cannot unpack {deb.name}: dpkg-deb ended with {archive.returncode}")


def _write_wrappers(folder: Path, final: Path, node: str) -> None:
    """One script a program, each setting its own library path: nothing leaks into other programs."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    [libraries] = folder.glob("usr/lib/*-linux-gnu")
    [libc] = folder.glob("newer-libc/usr/lib/*-linux-gnu")
    loader = next(libc.glob("ld-linux*.so*"))

    def moved(path: Path) -> str:
        return shlex.quote(str(final / path.relative_to(folder)))

    for program in sorted((folder / "usr/lib/llvm-19/bin").iterdir()):
        script = f'LD_LIBRARY_PATH={moved(libraries)} exec {moved(program)} "$@"'
        _write_script(bin_folder / program.name, script)
    for program in sorted((folder / "usr/bin").glob("wasm*")):
        if program.is_symlink() or (bin_folder / program.name).exists():
            continue
        script = f'exec {moved(loader)} --library-path {moved(libc)}:{moved(libraries)} {moved(program)} "$@"'
        _write_script(bin_folder / program.name, script)
    (folder / "usr/share/emscripten/node_modules").symlink_to("../nodejs")  # where Node looks for acorn
    settings = {"LLVM_ROOT": str(final / "bin"), "BINARYEN_ROOT": str(final), "NODE_JS": node, "FROZEN_CACHE": True}
    # Emscripten finds this one by its place, also where a build passes no EM_CONFIG on
    config = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    (folder / "usr/share/emscripten/.emscripten").write_text(config)


def _write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def zig() -> Path:
    """The zig compiler, from its PyPI wheel: works on every system that has Python."""
    folder = CACHE / "zig"

    def build(partial: Path) -> None:
        downloads = partial / "wheel"
        wheel = pip_download(f"ziglang=={ZIG_VERSION}", downloads)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
        shutil.rmtree(downloads)
        next((partial / "ziglang").glob("zig*")).chmod(0o755)

    piece(folder, ZIG_VERSION, f"fetching zig {ZIG_VERSION} from PyPI (about 100 MB)", build)
    return folder / "ziglang" / ("zig.exe" if sys.platform == "win32" else "zig")
