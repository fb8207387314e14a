#!/usr/bin/env python3
"""Build the wheels, the kernels' WebAssembly modules, and the page.

python3 build_scripts/build.py native     # dist/ruvector_attention-*.whl for this system, also installed for the tests
python3 build_scripts/build.py pyodide    # dist/ruvector_attention-*-wasm32.whl
python3 build_scripts/build.py wasm       # dist/wasm/wasm-*.wasm: the kernels alone, by instruction set
python3 build_scripts/build.py web        # web/dist, with these modules and the Pyodide wheel in it
python3 build_scripts/build.py            # all of them
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import zipfile
from pathlib import Path

from toolchain import (
    CACHE,
    ROOT,
    ToolchainError,
    emscripten,
    emscripten_version,
    install_native,
    node_modules,
    package_sources,
    pyodide,
    run,
    say,
    venv,
    zig,
)
from toolchain_store import content_hash, is_current, locked, mark_current
from toolchain_xbuildenv import build_python, cross_build_environment, host_python, wasm_headers

DIST = ROOT / "dist"
# One abi3 side module runs on every Pyodide since 0.27; each generation has its own name for the platform.
PLATFORMS = [
    "pyodide_2024_0_wasm32",
    "pyodide_2025_0_wasm32",
    "pyemscripten_2025_0_wasm32",
    "pyemscripten_2026_0_wasm32",
]
PAGE_PYODIDE = "314.0.7"
WHEEL_LIMIT = 505_000  # bytes; a browser fetches this one (docs/decisions/0010)
NATIVE_WHEEL_LIMIT = 685_000  # it carries every instruction set of its processor
MODULES = ["_kernels.abi3.so", "_kernels_relaxed.wasm"]
THREAD_MODULES = ["wasm-relaxed-simd-threads.wasm", "wasm-simd128-threads.wasm"]  # their memory is the host's
KERNEL_MODULES = ["wasm-relaxed-simd.wasm", "wasm-simd128.wasm", "wasm-scalar.wasm", *THREAD_MODULES]
KERNEL_LIMIT = 45_000  # of a module, compressed as a server does it


def build_native() -> Path:
    """The wheel for this system, in dist/; the same sources are installed into the project's environment."""
    install_native()
    key = f"{content_hash(package_sources())} {DIST}"  # other clones may have the same cache
    folder = CACHE / "wheel-native"
    if is_current(folder, key) and (found := _wheels(native=True)):
        return found[0]
    with locked("native"):  # the same build folder as install_native
        say("building the native wheel")
        python = venv()
        for old in _wheels(native=True):
            old.unlink()
        tools = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
        options = ["--no-deps", "--no-build-isolation", "-C", f"build-dir={CACHE / 'native' / 'build'}"]
        run([python, "-m", "pip", "wheel", "-q", *options, "-w", DIST, ROOT], quiet=True, env=tools)
        folder.mkdir(parents=True, exist_ok=True)
        mark_current(folder, key)
    return _wheels(native=True)[0]


def _wheels(*, native: bool) -> list[Path]:
    return [wheel for wheel in DIST.glob("ruvector_attention-*.whl") if ("wasm32" in wheel.name) != native]


def build_pyodide_wheel(compiler: str = "auto") -> Path:
    """The wheel for Pyodide, in dist/, rebuilt only when its sources or the compiler changed.

    compiler: `emscripten`, `zig`, or `auto`, which is Emscripten and, where none can be had, zig.
    """
    scripts = [ROOT / "build_scripts" / name for name in ("build.py", "toolchain_xbuildenv.py", "zig.cmake")]
    sources = f"{content_hash([*package_sources(), *scripts])} {DIST}"  # other clones may have the same cache
    folder = CACHE / "wheel-pyodide"
    compiler, environment = _compiler(compiler)
    with locked("wheel-pyodide"):
        found = _wheels(native=False)
        if found and is_current(folder, f"{sources} {compiler}"):
            return found[0]
        work = folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        work.mkdir(parents=True)
        host = host_python() if compiler == "emscripten" and shutil.which("make") else None
        if host is not None:
            version = emscripten_version(environment)
            say(f"building the Pyodide wheel with pyodide-build and Emscripten {version}")
            built = _pyodide_build(host, environment, work)
        else:
            say(f"building the Pyodide wheel with CMake and {compiler}")
            built = _cmake_build(compiler, environment, work)
        wheel = _retag(built)
        check_pyodide_wheel(wheel)
        DIST.mkdir(exist_ok=True)
        for old in found:
            old.unlink()
        result = DIST / wheel.name
        shutil.copyfile(wheel, result)
        shutil.rmtree(work)
        mark_current(folder, f"{sources} {compiler}")
    say(f"{result.relative_to(ROOT)}: {result.stat().st_size / 1000:.0f} kB")
    return result


def _compiler(wanted: str) -> tuple[str, dict[str, str]]:
    if wanted != "zig":
        try:
            return "emscripten", emscripten()
        except ToolchainError as error:
            if wanted == "emscripten":
                raise
            say(f"{error.message}\n  continuing with zig")
    return "zig", {**os.environ, "RV_ZIG": str(zig())}


def _pyodide_build(host: Path, environment: dict[str, str], work: Path) -> Path:
    python = build_python(host)
    target = cross_build_environment(python)
    environment = {
        **environment,
        "PATH": f"{python.parent}{os.pathsep}{environment['PATH']}",
        "SKIP_EMSCRIPTEN_VERSION_CHECK": "1",
        "USE_LEGACY_PLATFORM": "1",  # the tag is rewritten below; this one is what Pyodide 0.27 knows
        "PYODIDE_XBUILDENV_PATH": str(target),
        "SIDE_MODULE_CFLAGS": "-fPIC",  # its default ends in -Oz, which would undo CMakeLists.txt's -O3
        "SIDE_MODULE_LDFLAGS": "",
    }
    source = _copied_sources(work / "source")  # pyodide-build leaves a folder in the tree it builds
    command = [python.parent / "pyodide", "build", source, "--outdir", work / "dist"]
    options = ["--no-isolation", "--exports", "pyinit", *_settings(work / "build")]
    run([*command, *options], quiet=True, env=environment, cwd=source)
    return _only_wheel(work / "dist")


def _settings(build_folder: Path) -> list[str]:
    headers = wasm_headers()
    return [
        f"-Cbuild-dir={build_folder}",
        "-Cwheel.py-api=cp312",
        f"-Ccmake.define.RV_PYTHON_INCLUDE={headers}",
    ]


def _copied_sources(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for path in package_sources():
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(path, folder)
    return folder


def _cmake_build(compiler: str, environment: dict[str, str], work: Path) -> Path:
    """The same wheel from the same CMakeLists.txt, without pyodide-build: a toolchain file names the compiler."""
    python = venv()
    environment = {**environment, "PATH": f"{python.parent}{os.pathsep}{environment['PATH']}"}
    toolchain = _toolchain_file(compiler, environment)
    settings = [*_settings(work / "build"), f"-Ccmake.define.CMAKE_TOOLCHAIN_FILE={toolchain}"]
    options = ["--no-deps", "--no-build-isolation", *settings]
    run([python, "-m", "pip", "wheel", "-q", *options, "-w", work / "dist", ROOT], quiet=True, env=environment)
    return _only_wheel(work / "dist")


def _toolchain_file(compiler: str, environment: dict[str, str]) -> Path:
    """What tells CMake of the compiler."""
    if compiler == "zig":
        return ROOT / "build_scripts" / "zig.cmake"
    return Path(environment["EMCC"]).parent / "cmake/Modules/Platform/Emscripten.cmake"


def _only_wheel(folder: Path) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ToolchainError(f"{folder} holds {len(wheels)} wheels after the build; expected one")
    return wheels[0]


def _retag(wheel: Path) -> Path:
    tags = ["--python-tag", "cp312", "--abi-tag", "abi3", "--platform-tag", ".".join(PLATFORMS)]
    run([venv(), "-m", "wheel", "tags", "--remove", *tags, wheel], quiet=True)
    return _only_wheel(wheel.parent)


def check_pyodide_wheel(wheel: Path) -> None:
    """Both modules are WebAssembly side modules, and the whole is small."""
    with zipfile.ZipFile(wheel) as archive:
        for name in MODULES:
            path = f"ruvector_attention/{name}"
            if path not in archive.namelist():
                raise ToolchainError(f"{wheel.name} has no {path}")
            start = archive.read(path)[:32]
            if not start.startswith(b"\0asm") or b"dylink.0" not in start:
                raise ToolchainError(f"{path} in {wheel.name} is no WebAssembly side module")
    size = wheel.stat().st_size
    if size > WHEEL_LIMIT:
        raise ToolchainError(f"{wheel.name} has {size} bytes; expected at most {WHEEL_LIMIT}")


def build_kernels(compiler: str = "auto") -> Path:
    """dist/wasm: the kernels without Python, a module for each instruction set of WebAssembly.

    compiler: as for the Pyodide wheel.
    """
    scripts = [ROOT / "build_scripts" / name for name in ("build.py", "zig.cmake")]
    compiler, environment = _compiler(compiler)
    key = f"{content_hash([ROOT / 'wasm_kernels', *scripts])} {compiler}"
    target = DIST / "wasm"
    with locked("kernels-wasm"):
        if is_current(target, key):
            return target
        say(f"building the kernels' WebAssembly modules with CMake and {compiler}")
        work = CACHE / "kernels-wasm"
        shutil.rmtree(work, ignore_errors=True)
        tools = venv().parent
        environment = {**environment, "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}
        settings = {
            "CMAKE_TOOLCHAIN_FILE": _toolchain_file(compiler, environment),
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": work / "modules",
            "RV_STANDALONE": "ON",
        }
        options = [f"-D{name}={value}" for name, value in settings.items()]
        cmake, folder = tools / "cmake", work / "build"
        run([cmake, "-S", ROOT / "wasm_kernels", "-B", folder, "-G", "Ninja", *options], quiet=True, env=environment)
        run([cmake, "--build", folder, "--target", "install"], quiet=True, env=environment)
        for name in KERNEL_MODULES:
            check_kernel_module(work / "modules" / name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(work / "modules", target)
        shutil.rmtree(work)
        mark_current(target, key)
    return target


# Prints the module's imports and its size compressed by Brotli.
INSPECT_MODULE = """
const bytes = require("node:fs").readFileSync(process.argv[1]);
require("node:v8").setFlagsFromString("--experimental-wasm-relaxed-simd");
const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ name }) => name);
console.log(JSON.stringify({ imports, size: require("node:zlib").brotliCompressSync(bytes).length }));
"""


def check_kernel_module(module: Path) -> None:
    """It compiles, asks nothing of its host but the memory that threads share, and is small."""
    answer = run(["node", "-e", INSPECT_MODULE, module], quiet=True).stdout
    found = json.loads(answer.splitlines()[-1])
    expected = ["memory"] if module.name in THREAD_MODULES else []
    if found["imports"] != expected:
        names = [", ".join(imports) or "nothing" for imports in (found["imports"], expected)]
        raise ToolchainError(f"{module.name} imports {names[0]}; expected {names[1]}")
    if found["size"] > KERNEL_LIMIT:
        raise ToolchainError(f"{module.name} has {found['size']} bytes compressed; expected at most {KERNEL_LIMIT}")


def build_web() -> Path:
    """web/dist: the npm package, and the page with Pyodide and the wheel beside it: it loads nothing from outside.

    Built only when the sources are others than the last time, or what was made of them is no longer as it was.
    """
    node_modules()
    kernels, runtime, wheel = build_kernels(), pyodide(PAGE_PYODIDE), build_pyodide_wheel()
    web = ROOT / "web"
    dist = web / "dist"
    code = [web / name for name in ("src", "demo", "build.mjs", "package.json", "package-lock.json")]
    sources = content_hash([*code, *web.glob("tsconfig*.json"), kernels, wheel], str(runtime))

    def key() -> str:
        return f"{sources} {content_hash([dist / 'lib', dist / 'page'])}"

    with locked("web"):
        if not is_current(dist, key()):
            say("building the page and the npm package")
            inputs = ["--kernels", kernels, "--pyodide", runtime, "--wheel", wheel]
            run(["node", "build.mjs", *inputs], quiet=True, cwd=web)
            mark_current(dist, key())
    return dist


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["native", "pyodide", "wasm", "web", "all"], default="all")
    compilers = ["auto", "emscripten", "zig"]
    parser.add_argument("--compiler", choices=compilers, default="auto", help="for WebAssembly")
    arguments = parser.parse_args()
    if arguments.what in ("native", "all"):
        print(build_native())
    if arguments.what in ("pyodide", "all"):
        print(build_pyodide_wheel(arguments.compiler))
    if arguments.what in ("wasm", "all"):
        print(build_kernels(arguments.compiler))
    if arguments.what in ("web", "all"):
        print(build_web())


if __name__ == "__main__":
    main()
