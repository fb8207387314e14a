#!/usr/bin/env python3
"""What is in the two wheels, how large they are, and whether their binaries hold the vector code that they are for.

python3 build_scripts/check_sizes.py                 # of the wheels in dist/, built when they are not up to date
python3 build_scripts/check_sizes.py a.whl b.whl     # of these

Exit code 1: a wheel is above its limit, a WebAssembly module has no v128 instruction, the relaxed one has none of the
relaxed, or the other one has some.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from build import NATIVE_WHEEL_LIMIT, WHEEL_LIMIT, build_native, build_pyodide_wheel
from toolchain import ToolchainError, emscripten, llvm_tool

SIMD_PREFIX = 0xFD  # begins every vector instruction of WebAssembly
FIRST_RELAXED = 0x100  # relaxed SIMD's opcodes are these and above
WASM_MAGIC = b"\0asm"
MODULE_SUFFIXES = {".so", ".pyd", ".wasm"}
# the widest vector register of a line; `v0.4s` is NEON's
REGISTERS = {"zmm": r"\bzmm\d", "ymm": r"\bymm\d", "xmm": r"\bxmm\d", "neon": r"\bv\d+\.\d*[bhsd]\b"}


def limit_of(wheel: Path) -> int:
    return WHEEL_LIMIT if "wasm32" in wheel.name else NATIVE_WHEEL_LIMIT


def listing(wheel: Path) -> str:
    """What `unzip -lv` tells of a wheel, largest first, and its size against the limit."""
    with zipfile.ZipFile(wheel) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: -entry.compress_size)
    rows = [(entry.filename, entry.file_size, entry.compress_size) for entry in entries]
    rows.append(("total of the files", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len("name"), *(len(row[0]) for row in rows))
    lines = [f"{'name':{width}}  {'size':>9}  {'compressed':>10}"]
    lines += [f"{name:{width}}  {size:9,}  {compressed:10,}" for name, size, compressed in rows]
    size, limit = wheel.stat().st_size, limit_of(wheel)
    lines.append(f"{'the wheel':{width}}  {'':9}  {size:10,}  {size / limit:.0%} of the limit of {limit:,}")
    return "\n".join([wheel.name, *lines])


def size_problems(wheel: Path) -> list[str]:
    size, limit = wheel.stat().st_size, limit_of(wheel)
    return [f"{wheel.name} has {size:,} bytes; expected at most {limit:,}"] if size > limit else []


def binaries(wheel: Path) -> dict[str, bytes]:
    """The compiled modules of a wheel; Pyodide's are WebAssembly under names that end in `.so` as well."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if Path(name).suffix in MODULE_SUFFIXES]
        return {name: archive.read(name) for name in names}


def count_wasm(disassembly: str) -> Counter[str]:
    """v128 instructions and, of them, relaxed ones, in what llvm-objdump prints.

    Read from the bytes that it shows, since LLVM 19 has no name for most of the relaxed ones:

    >>> lines = ["  1e9c: fd e4 01     \\tf32x4.add", "  1ea4: fd 85 02     \\t<unknown>", "  1ea7: 6a  \\ti32.add"]
    >>> dict(count_wasm("\\n".join(lines)))
    {'v128': 2, 'relaxed': 1}
    """
    found: Counter[str] = Counter(v128=0, relaxed=0)
    for line in re.findall(r"^\s*[0-9a-f]+:((?: [0-9a-f]{2})+)\s", disassembly, re.M):
        code = bytes.fromhex(line)
        if code[0] == SIMD_PREFIX:
            found["v128"] += 1
            found["relaxed"] += leb128(code[1:]) >= FIRST_RELAXED
    return found


def leb128(code: bytes) -> int:
    """
    >>> leb128(bytes([0x85, 0x02])), leb128(bytes([0x0C, 0xFF]))
    (261, 12)
    """
    value = 0
    for position, byte in enumerate(code):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    return value


def count_native(disassembly: str) -> Counter[str]:
    """Instructions by the widest vector register that they name.

    >>> lines = ["vaddps %zmm0,%zmm1,%zmm2", "vextractf128 $1,%ymm0,%xmm1", "addps %xmm0,%xmm1", "ret"]
    >>> +count_native("\\n".join(lines))
    Counter({'zmm': 1, 'ymm': 1, 'xmm': 1})
    """
    found: Counter[str] = Counter(dict.fromkeys(REGISTERS, 0))
    for line in disassembly.splitlines():
        for name, pattern in REGISTERS.items():
            if re.search(pattern, line):
                found[name] += 1
                break
    return found


def vector_problems(name: str, found: Counter[str]) -> list[str]:
    """What a WebAssembly module must and must not hold: a browser without relaxed SIMD refuses a module with it."""
    if not found["v128"]:
        return [f"{name} has no v128 instruction; expected a SIMD build"]
    if "relaxed" in name and not found["relaxed"]:
        return [f"{name} has no relaxed instruction; expected a relaxed SIMD build"]
    if "relaxed" not in name and found["relaxed"]:
        return [f"{name} has {found['relaxed']} relaxed instructions; expected none, for browsers without relaxed SIMD"]
    return []


def wasm_disassembler() -> str | None:
    try:
        return llvm_tool("llvm-objdump", emscripten())
    except ToolchainError as error:
        print(error.message, file=sys.stderr)
        return None


def disassemble(objdump: str, content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "module"
        module.write_bytes(content)
        done = subprocess.run([objdump, "-d", module], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolchainError(f"{objdump} failed: {done.stderr.strip()}")
    return done.stdout


def check_vectors(wheel: Path) -> list[str]:
    """Print the vector instructions of each binary; return what is wrong."""
    problems = []
    for name, content in binaries(wheel).items():
        if content.startswith(WASM_MAGIC):
            objdump, count = wasm_disassembler(), count_wasm
        else:
            objdump, count = shutil.which("objdump"), count_native
        if objdump is None:
            missing = "Emscripten's llvm-objdump" if count is count_wasm else "objdump (of binutils)"
            print(f"{name}: vector instructions not counted, as {missing} is not available")
            continue
        found = count(disassemble(objdump, content))
        shown = [f"{number:,} {kind}" for kind, number in found.items() if number or count is count_wasm]
        print(f"{name}: {', '.join(shown) or 'no vector'} instructions")
        if count is count_wasm:
            problems += vector_problems(name, found)
    return problems


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="*", type=Path, help="default: both that build.py makes")
    wheels: list[Path] = parser.parse_args(words).wheel
    for wheel in wheels:
        if not zipfile.is_zipfile(wheel):
            parser.error(f"{wheel} is no wheel")
    problems = []
    for wheel in wheels or [build_native(), build_pyodide_wheel()]:
        print(f"\n{listing(wheel)}\n", flush=True)
        problems += [*size_problems(wheel), *check_vectors(wheel)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
