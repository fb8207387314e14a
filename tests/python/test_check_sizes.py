"""check_sizes.py: what it reads from a wheel and a disassembly, and that nothing too large or without SIMD passes."""

from __future__ import annotations

import doctest
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import check_sizes as sizes  # noqa: E402
import toolchain  # noqa: E402

LOAD = b"\x20\x00\xfd\x00\x04\x00"  # local.get 0; v128.load
ADD = b"\xfd\xe4\x01"  # f32x4.add
MULTIPLY_ADD = b"\xfd\x85\x02"  # f32x4.relaxed_madd


def module(*instructions: bytes) -> bytes:
    """A WebAssembly module with one function (i32) -> () of these instructions."""
    body = b"\x00" + b"".join(instructions) + b"\x0b"
    code = b"\x01" + bytes([len(body)]) + body
    sections = [(1, b"\x01\x60\x01\x7f\x00"), (3, b"\x01\x00"), (5, b"\x01\x00\x01"), (10, code)]
    return b"\0asm\x01\0\0\0" + b"".join(bytes([kind, len(content)]) + content for kind, content in sections)


def wheel(folder: Path, **contents: bytes) -> Path:
    path = folder / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def answer(monkeypatch: pytest.MonkeyPatch, disassembly: str) -> None:
    """Stand in for llvm-objdump, so that no compiler is needed."""
    monkeypatch.setattr(sizes, "wasm_disassembler", lambda: "llvm-objdump")
    monkeypatch.setattr(sizes, "disassemble", lambda _objdump, _content: disassembly)


def test_the_examples_in_the_script_hold() -> None:
    results = doctest.testmod(sizes)
    assert results.failed == 0
    assert results.attempted >= 5


def test_the_table_lists_every_file_and_the_total(tmp_path: Path) -> None:
    path = wheel(tmp_path, small__py=b"x" * 10, large__so=bytes(range(256)) * 40)
    lines = sizes.listing(path).splitlines()
    rows = {line.split("  ")[0]: line.replace(",", "").split() for line in lines}
    assert rows["small.py"][1] == "10"
    assert rows["large.so"][1] == "10240"
    assert rows["total of the files"][4] == "10250"
    assert str(path.stat().st_size) in rows["the wheel"]


def test_a_wheel_above_the_limit_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, limit in (("a-wasm32.whl", sizes.WHEEL_LIMIT), ("a-x86_64.whl", sizes.NATIVE_WHEEL_LIMIT)):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("data.bin", bytes(limit + 1))
        assert sizes.main([str(tmp_path / name)]) == 1
        assert f"expected at most {limit:,}" in capsys.readouterr().err


def test_a_wheel_below_the_limit_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sizes.main([str(wheel(tmp_path, data__bin=b"12"))]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "disassembly", "problem"),
    [
        ("_kernels.abi3.so", " 3: fd e4 01  \tf32x4.add", None),
        ("_kernels.abi3.so", " 3: 6a  \ti32.add", "no v128 instruction"),
        ("_kernels.abi3.so", " 3: fd e4 01  \tf32x4.add\n 6: fd 85 02  \t<unknown>", "1 relaxed instructions"),
        ("_kernels_relaxed.wasm", " 3: fd e4 01  \tf32x4.add\n 6: fd 85 02  \t<unknown>", None),
        ("_kernels_relaxed.wasm", " 3: fd e4 01  \tf32x4.add", "no relaxed instruction"),
        ("_kernels_relaxed.wasm", "", "no v128 instruction"),
    ],
)
def test_modules_hold_the_instructions_of_their_build(
    name: str,
    disassembly: str,
    problem: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(monkeypatch, disassembly)
    path = wheel(tmp_path, **{name.replace(".", "__"): module()})
    assert sizes.main([str(path)]) == (0 if problem is None else 1)
    assert (problem or "") in capsys.readouterr().err


def test_a_missing_disassembler_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "wasm_disassembler", lambda: None)
    assert sizes.main([str(wheel(tmp_path, _kernels__so=module()))]) == 0
    assert "not counted, as Emscripten's llvm-objdump is not available" in capsys.readouterr().out


def test_every_register_width_counts_once_a_line() -> None:
    lines = ["vmovups (%rax),%zmm1", "vaddps %ymm0,%ymm1,%ymm2", "movaps %xmm0,%xmm1", "fmla v0.4s, v1.4s, v2.s[0]"]
    assert sizes.count_native("\n".join(lines)) == Counter(zmm=1, ymm=1, xmm=1, neon=1)


def test_a_real_disassembly_is_counted() -> None:
    objdump = toolchain.CACHE / "emscripten/bin/llvm-objdump"
    if not objdump.is_file():
        pytest.skip("needs llvm-objdump: `python3 build_scripts/toolchain.py emscripten` fetches it")
    drop, load_twice = b"\x1a", LOAD + LOAD
    content = module(load_twice, ADD, drop, load_twice, LOAD, MULTIPLY_ADD, drop)
    assert sizes.count_wasm(sizes.disassemble(str(objdump), content)) == Counter(v128=7, relaxed=1)
