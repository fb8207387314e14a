"""What fetches browser engines: bad settings are told by name, nothing is installed twice."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import toolchain_engines  # noqa: E402
from toolchain_store import ROOT, ToolchainError, content_hash, mark_current  # noqa: E402


def test_a_firefox_that_is_named_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = tmp_path / "firefox"
    monkeypatch.setenv("FIREFOX", str(browser))
    with pytest.raises(ToolchainError, match=r"\$FIREFOX is '.*firefox'; expected the path of a browser"):
        toolchain_engines.firefox()
    browser.touch()
    assert toolchain_engines.firefox() == browser


def test_without_root_nothing_is_installed_and_the_message_says_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain_engines, "_find_webkit", lambda: None)
    monkeypatch.setattr(toolchain_engines.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(toolchain_engines, "run", lambda *_, **__: pytest.fail("something was installed"))
    with pytest.raises(ToolchainError, match="apt-get install webkit2gtk-driver xvfb"):
        toolchain_engines.webkit()


def test_npm_packages_are_installed_once_for_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "build" / "test-npm-packages"
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    try:
        with pytest.raises(ToolchainError, match=r"build/test-npm-packages/package-lock\.json is missing"):
            toolchain_engines.npm_packages(folder)
        files = [folder / "package-lock.json", folder / "package.json"]
        for file in files:
            file.write_text("{}")
        mark_current(folder / "node_modules", content_hash(files))
        monkeypatch.setattr(toolchain_engines, "run", lambda *_, **__: pytest.fail("npm ran"))
        assert toolchain_engines.npm_packages(folder) == folder / "node_modules"
    finally:
        shutil.rmtree(folder)


def test_what_somebody_installed_by_hand_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`npm ci` on a fresh clone, and then the tests: as npm writes it down, packages of other systems left out."""
    folder = ROOT / "build" / "test-npm-by-hand"
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    one, two, other = {"version": "1.0.0"}, {"version": "2.0.0"}, {"version": "3.0.0", "optional": True}
    wanted = {"": {"name": "x"}, "node_modules/one": one, "node_modules/two": two, "node_modules/other": other}
    ran: list[object] = []
    monkeypatch.setattr(toolchain_engines, "run", lambda words, **_: ran.append(words))
    try:
        (folder / "package-lock.json").write_text(json.dumps({"packages": wanted}))
        for installed, times in [
            ({"node_modules/one": one}, 1),
            ({"node_modules/one": one, "node_modules/two": {"version": "1.9.0"}}, 2),
            ({"node_modules/one": one, "node_modules/two": two}, 2),
        ]:
            (folder / "package.json").write_text(json.dumps({"version": str(installed)}))
            written = folder / "node_modules" / ".package-lock.json"
            written.write_text(json.dumps({"packages": installed}))
            toolchain_engines.npm_packages(folder)
            assert len(ran) == times
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["fixtures", "engines"])
def test_every_version_that_fixtures_ask_for_is_exact(name: str) -> None:
    package = json.loads((ROOT / "web" / name / "package.json").read_text())
    asked = {**package.get("devDependencies", {}), **package.get("optionalDependencies", {})}
    lock = json.loads((ROOT / "web" / name / "package-lock.json").read_text())["packages"]
    assert asked
    for library, version in asked.items():
        assert lock[f"node_modules/{library}"]["version"] == version
