"""The logic of build_scripts/toolchain*.py: nothing here reaches a network."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

BUILD_SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(BUILD_SCRIPTS))

import build  # noqa: E402
import toolchain_calls as programs  # noqa: E402
import toolchain_compilers as compilers  # noqa: E402
import toolchain_emulated as emulated  # noqa: E402
import toolchain_pyodide as distributions  # noqa: E402
import toolchain_store as store  # noqa: E402
import toolchain_xbuildenv as xbuildenv  # noqa: E402

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def address() -> Iterator[str]:
    """A server on this machine that answers with CONTENT, and honours `Range: bytes=N-`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            if start >= len(CONTENT):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:])
            return None

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()


def test_a_tampered_file_is_rejected_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "wheel.whl"
    file.write_bytes(b"genuine")
    genuine = store.digest(file)
    store.verify(file, genuine)
    file.write_bytes(b"tampered")
    with pytest.raises(store.ToolchainError, match=r"wheel\.whl has hash .* expected"):
        store.verify(file, genuine)
    assert not file.exists()


def test_npm_integrity_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "empty.tgz"
    file.write_bytes(b"")
    # the well-known SHA-512 of nothing, as npm writes it
    nothing = "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    store.verify(file, f"sha512-{nothing}")
    with pytest.raises(store.ToolchainError, match="expected sha512-"):
        store.verify(file, "sha512-AAAA")


@pytest.mark.parametrize("have", [0, 1000, len(CONTENT)], ids=["fresh", "interrupted", "complete but unnamed"])
def test_an_interrupted_download_goes_on(tmp_path: Path, address: str, have: int) -> None:
    target = tmp_path / "file"
    if have:
        (tmp_path / "file.part").write_bytes(CONTENT[:have])
    reference = tmp_path / "reference"
    reference.write_bytes(CONTENT)
    store.fetch(address, target, store.digest(reference))
    assert target.read_bytes() == CONTENT
    assert not (tmp_path / "file.part").exists()


def test_a_wrong_download_gets_no_name(tmp_path: Path, address: str) -> None:
    with pytest.raises(store.ToolchainError, match="has hash"):
        store.fetch(address, tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_piece_is_made_once_for_each_key(cache: Path) -> None:
    made: list[str] = []

    def prepare(key: str) -> Path:
        return store.piece(cache / "thing", key, "making it", lambda folder: made.append(str(folder)))

    for key in ("1", "1", "2", "2"):
        assert prepare(key) == cache / "thing"
    assert len(made) == 2


def test_a_piece_that_failed_is_absent_and_made_anew(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise store.ToolchainError("no network")

    with pytest.raises(store.ToolchainError, match="no network"):
        store.piece(cache / "thing", "1", "making it", fail)
    assert not (cache / "thing").exists()
    store.piece(cache / "thing", "1", "making it", lambda folder: (folder / "whole").touch())
    assert {file.name for file in (cache / "thing").iterdir()} == {"whole", ".complete"}


def test_a_second_process_waits(cache: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(BUILD_SCRIPTS)!r}); import toolchain_store as s, pathlib\n"
        f"s.CACHE = pathlib.Path({str(cache)!r})\n"
        "with s.locked('thing'): print((s.CACHE / 'done').exists())"
    )
    with store.locked("thing"):
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert other.stderr is not None
        assert "waiting for another process or thread" in other.stderr.readline()
        (cache / "done").touch()
    assert other.communicate()[0] == "True\n"


def test_threads_make_a_piece_once(cache: Path) -> None:
    made: list[Path] = []

    def build(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "file").touch()

    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: store.piece(store.CACHE / "thing", "1", "making it", build), range(3)))
    assert len(made) == 1
    assert all((folder / "file").exists() for folder in folders)


def test_content_hash_sees_sources_and_ignores_products(tmp_path: Path) -> None:
    tree = tmp_path / "src"
    tree.mkdir()
    (tree / "a.py").write_text("1")
    before = store.content_hash([tree])
    (tree / "a.pyc").write_text("compiled")
    (tree / "kernels.so").write_text("built")
    assert store.content_hash([tree]) == before
    (tree / "a.py").write_text("2")
    changed = store.content_hash([tree])
    assert changed != before
    (tree / "a.py").rename(tree / "b.py")
    assert store.content_hash([tree]) not in (before, changed)


def test_a_failed_command_is_named_with_its_output() -> None:
    with pytest.raises(store.ToolchainError, match=r"(?s)the reason.*failed with exit code 3: .*python"):
        store.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], quiet=True)
    with pytest.raises(store.ToolchainError, match="cannot run 'no-such-program'"):
        store.run(["no-such-program"])


def test_the_lock_lists_the_present_wheels_only(tmp_path: Path) -> None:
    def entry(name: str, *depends: str) -> dict[str, object]:
        return {"name": name, "file_name": f"{name}-official.whl", "sha256": "0", "depends": list(depends)}

    lock = {
        "info": {"python": "3.14.2"},
        "packages": {"pytest": entry("pytest", "pluggy", "six"), "pluggy": entry("pluggy"), "six": entry("six")},
    }
    wheels = {name: tmp_path / f"{name}-1.whl" for name in ("pytest", "pluggy")}
    for name, wheel in wheels.items():
        wheel.write_text(name)
    trimmed = distributions.trimmed_lock(lock, wheels)
    assert trimmed["info"] == lock["info"]
    assert set(trimmed["packages"]) == {"pytest", "pluggy"}
    assert trimmed["packages"]["pytest"]["depends"] == ["pluggy"]
    assert trimmed["packages"]["pytest"]["sha256"] == store.digest(wheels["pytest"])
    assert trimmed["packages"]["pytest"]["file_name"] == "pytest-1.whl"
    assert lock["packages"]["pytest"]["sha256"] == "0", "the given lock is left alone"  # type: ignore[index]


def test_pyconfig_takes_names_from_the_host_and_values_from_the_target() -> None:
    host = "#define SIZEOF_LONG 8\n/* #undef WORDS_BIGENDIAN */\n#define HAVE_FORK 1\n#define ALIGNOF_MAX 16\n"
    config = xbuildenv.pyconfig(host, {"SIZEOF_LONG": 4, "HAVE_FORK": 0, "ALIGNOF_MAX": 0, "NOT_IN_HOST": 1})
    assert "#define SIZEOF_LONG 4\n" in config
    assert "#define ALIGNOF_MAX 0\n" in config
    assert "#define _GNU_SOURCE 1\n" in config
    assert not any(name in config for name in ("HAVE_FORK", "WORDS_BIGENDIAN", "NOT_IN_HOST"))


DEB822 = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
ONE_LINE = "deb-src http://x bookworm main\ndeb [trusted=yes] http://mirror.example/debian bookworm main\n"
SECURITY = "Types: deb\nURIs: http://security.example/debian\nSuites: bookworm-security\n"


@pytest.mark.parametrize(
    "name, text",
    [
        ("sources.list.d/debian.sources", f"{SECURITY}\n{DEB822}"),
        (
            "sources.list",
            "deb-src http://x bookworm main\ndeb [trusted=yes] http://mirror.example/debian bookworm main\n",
        ),
    ],
)
def test_the_mirror_is_the_one_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setattr(compilers.shutil, "which", lambda _: "/usr/bin/apt-get")
    file = tmp_path / "apt" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n')
    assert compilers.debian_mirror(tmp_path) == ("http://mirror.example/debian", "bookworm")


def test_other_systems_are_told_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=fedora\nPRETTY_NAME="Fedora 43"\n')
    with pytest.raises(store.ToolchainError, match=r"Fedora 43.*--compiler zig"):
        compilers.debian_mirror(tmp_path)


def test_a_wheel_without_side_modules_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"ruvector_attention/{build.MODULES[0]}", b"\x7fELF")
    with pytest.raises(store.ToolchainError, match="is no WebAssembly side module"):
        build.check_pyodide_wheel(wheel)


def test_a_missing_emulator_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.sys, "platform", "linux")
    monkeypatch.setattr(programs.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(programs.shutil, "which", lambda _name: None)
    monkeypatch.delenv("QEMU_AARCH64", raising=False)
    with pytest.raises(store.ToolchainError, match="apt-get install qemu-user-static"):
        programs.aarch64_emulator()
    monkeypatch.setenv("QEMU_AARCH64", "/nowhere/qemu")
    with pytest.raises(store.ToolchainError, match=r"QEMU_AARCH64 is '/nowhere/qemu'"):
        programs.aarch64_emulator()


def test_nodes_that_cannot_be_had_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.shutil, "which", lambda _name: None)
    nodes = emulated.foreign_nodes(Path("python"))
    platforms = json.loads((BUILD_SCRIPTS.parent / "web/src/native/platforms.json").read_text())
    assert set(nodes) < {platform["name"] for platform in platforms}
    for name, node in nodes.items():
        assert "there is no apt-get to fetch" in str(node["missing"]), name
    monkeypatch.setattr(emulated.shutil, "which", lambda name: name)
    monkeypatch.setattr(emulated.sys, "platform", "linux")
    monkeypatch.setattr(emulated.platform, "machine", lambda: "riscv64")
    with pytest.raises(store.ToolchainError, match="Node for Windows runs on x86_64 alone; this machine is riscv64"):
        emulated.foreign_node("win32-x64", Path("python"))


def test_an_aarch64_machine_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.sys, "platform", "linux")
    monkeypatch.setattr(programs.platform, "machine", lambda: "aarch64")
    assert programs.aarch64_emulator() == []


def test_a_compiler_without_sanitizers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(store.ToolchainError, match="no-such-compiler links no program with -fsanitize=address"):
        programs.sanitized_calls(Path("python"))


def test_a_program_of_llvm_is_found_where_emscripten_says_its_llvm_is(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "llvm", tmp_path / "elsewhere"
    scripts = {tmp_path / "em-config": f'echo "{root}"', root / "llvm-objdump": ":", elsewhere / "llvm-nm": ":"}
    for path, line in scripts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    environment = {"EMCC": str(tmp_path / "emcc"), "PATH": str(elsewhere)}
    assert compilers.llvm_tool("llvm-objdump", environment) == str(root / "llvm-objdump")
    assert compilers.llvm_tool("llvm-nm", environment) == str(elsewhere / "llvm-nm")
    assert compilers.llvm_tool("llvm-mc", environment) is None
    (tmp_path / "em-config").unlink()
    assert compilers.llvm_tool("llvm-objdump", environment) is None
