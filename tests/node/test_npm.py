"""What npm installs from a registry: on each platform its own addon and no other, and that one runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from foreign import ROOT, ForeignNode

PLATFORMS = {entry["name"]: entry for entry in json.loads((ROOT / "web/src/native/platforms.json").read_text())}
MAIN = "ruvector-attention"
PROGRAM = ROOT / "web" / "test" / "installed_program.mjs"
WITHOUT_LDD = {"NODE_OPTIONS": f"--require={ROOT / 'tests' / 'node' / 'without_ldd.cjs'}"}
QUIET = ["--no-audit", "--no-fund", "--no-update-notifier"]
GetNode = Callable[[str], ForeignNode]
pytestmark = pytest.mark.timeout(900)  # npm is slow on a busy machine


class Registry(ThreadingHTTPServer):
    """The packages of that folder as npm's registry answers, and the names of what was downloaded."""

    def __init__(self, packages: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.packages = packages
        self.downloaded: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def described(self, name: str) -> bytes:
        manifest = json.loads((self.packages / ("package" if name == MAIN else name) / "package.json").read_text())
        version = manifest["version"]
        tarball = f"{name}-{version}.tgz"
        found = hashlib.sha512((self.packages / tarball).read_bytes()).digest()
        place = {
            "tarball": f"{self.address}/{name}/-/{tarball}",
            "integrity": f"sha512-{base64.b64encode(found).decode()}",
        }
        versions = {version: {**manifest, "dist": place}}
        return json.dumps({"name": name, "dist-tags": {"latest": version}, "versions": versions}).encode()


class _Answers(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name.endswith(".tgz"):
            self.server.downloaded.append(name)
            self.answer((self.server.packages / name).read_bytes())
        else:
            self.answer(self.server.described(name))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Not on stderr."""


@pytest.fixture
def registry(packages: Path) -> Iterator[Registry]:
    with Registry(packages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def install(registry: Registry, project: Path, *options: str, node: ForeignNode | None = None) -> list[str]:
    """What `npm install` puts into a new project."""
    (project / "package.json").write_text('{ "private": true, "type": "module" }')
    environment = {**os.environ, **(node.environment | WITHOUT_LDD if node else {})}
    places = [f"--registry={registry.address}", f"--cache={project / 'cache'}"]
    command = ["npm", "install", MAIN, *QUIET, *places, *options]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in (project / "node_modules").iterdir() if not path.name.startswith("."))


def runs_the_addon(node: ForeignNode, project: Path) -> None:
    (project / "program.js").write_text(PROGRAM.read_text())
    done = node("program.js", cwd=project)
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    for result, typed in zip(lines[:6:2], lines[1:6:2], strict=True):
        backend, *numbers = result.split()
        assert backend in {"avx512", "avx2", "sse4", "scalar"}
        assert (numbers, typed) == (["5", "7"], "true")


def test_each_platform_gets_its_own(registry: Registry, tmp_path: Path) -> None:
    def installed(name: str) -> list[str]:
        options = [f"--{key}={PLATFORMS[name][key]}" for key in ("os", "cpu", "libc") if key in PLATFORMS[name]]
        (tmp_path / name).mkdir()
        return install(registry, tmp_path / name, *options)

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(PLATFORMS, pool.map(installed, PLATFORMS), strict=True))
    assert len(found) == 9
    assert found == {name: [MAIN, f"{MAIN}-{name}"] for name in PLATFORMS}
    version = json.loads((ROOT / "web/package.json").read_text())["version"]
    tarballs = [f"{MAIN}-{version}.tgz"] * 9 + [f"{MAIN}-{name}-{version}.tgz" for name in PLATFORMS]
    assert sorted(registry.downloaded) == sorted(tarballs)  # nobody pays for the others


def test_other_platforms_get_none(registry: Registry, tmp_path: Path) -> None:
    assert install(registry, tmp_path, "--os=freebsd", "--cpu=x64") == [MAIN]


def test_on_musl(registry: Registry, tmp_path: Path, foreign: GetNode) -> None:
    """Nobody tells that npm where it is."""
    node = foreign("linux-x64-musl")
    assert install(registry, tmp_path, node=node) == [MAIN, f"{MAIN}-linux-x64-musl"]
    runs_the_addon(node, tmp_path)


def test_on_musl_beside_the_other_one(registry: Registry, tmp_path: Path, packages: Path, foreign: GetNode) -> None:
    """As package managers install that know nothing of `libc`: the first that loads is taken, and gives the same."""
    node = foreign("linux-x64-musl")
    install(registry, tmp_path, node=node)
    other = f"{MAIN}-linux-x64-gnu"
    shutil.copytree(packages / other, tmp_path / "node_modules" / other)
    runs_the_addon(node, tmp_path)


def test_on_windows(registry: Registry, tmp_path: Path, foreign: GetNode) -> None:
    node = foreign("win32-x64")
    assert install(registry, tmp_path, "--os=win32", "--cpu=x64") == [MAIN, f"{MAIN}-win32-x64"]
    runs_the_addon(node, tmp_path)


def test_on_windows_without_the_addon(registry: Registry, tmp_path: Path, foreign: GetNode) -> None:
    node = foreign("win32-x64")
    assert install(registry, tmp_path, "--os=win32", "--cpu=ia32") == [MAIN]
    (tmp_path / "program.js").write_text(PROGRAM.read_text())
    done = node("program.js", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert [line.split()[1:] for line in done.stdout.splitlines()[::2]] == [["5", "7"]] * 3
    assert all(line.startswith("wasm-") for line in done.stdout.splitlines()[::2])
    assert f"{MAIN}-win32-x64 is not installed" in done.stderr
