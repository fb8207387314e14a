"""What the suites of `npm test` need: a missing browser costs its own suites alone, and nothing is made twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import build  # noqa: E402
import prepare_javascript as preparation  # noqa: E402
import stages  # noqa: E402
import test as runner  # noqa: E402
from toolchain_store import ToolchainError  # noqa: E402

Variables = dict[str, str]
RUNTIME = {"PYODIDE_DIR": f"pyodide-{build.PAGE_PYODIDE}", "RUVECTOR_WHEEL": "some.whl"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces that were made, in order; each is a variable of its name."""
    names: list[str] = []

    def maker(piece: str) -> Callable[[], Variables]:
        def make() -> Variables:
            names.append(piece)
            return {piece.upper(): "there"}

        return make

    monkeypatch.setattr(build, "build_web", lambda: names.append("web"))
    monkeypatch.setattr(build, "build_pyodide_wheel", lambda: Path("some.whl"))
    monkeypatch.setattr(preparation.toolchain, "pyodide", lambda version: Path(f"pyodide-{version}"))
    for piece in preparation.PIECES:
        monkeypatch.setitem(preparation.PIECES, piece, maker(piece))
    return names


def refuse(message: str) -> Callable[[], Variables]:
    def make() -> Variables:
        raise ToolchainError(message)

    return make


def test_every_piece_that_a_suite_names_is_known() -> None:
    for suite in preparation.suites().values():
        assert {*suite.get("needs", []), *suite.get("uses", [])} <= preparation.PIECES.keys()


def test_a_piece_of_several_suites_is_made_once(made: list[str]) -> None:
    found = preparation.prepare(["page", "package"])
    assert made == ["web", "chromium", "fixtures"]
    assert found == preparation.Prepared({**RUNTIME, "CHROMIUM": "there", "FIXTURES": "there"})


def test_a_browser_that_cannot_be_had_is_said_once_and_costs_the_suites_that_need_it(
    made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(preparation.PIECES, "chromium", refuse("apt-get says a lot\nno Chromium was found"))
    found = preparation.prepare(["page", "package", "engines"])
    assert found.missing == {"page": "no Chromium was found"}
    assert "CHROMIUM" not in found.environment
    assert found.environment["FIREFOX"] == "there"
    assert capsys.readouterr().err.splitlines() == ["· without chromium: no Chromium was found"]


def test_what_is_no_browser_can_be_had_everywhere(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preparation.PIECES, "addon", refuse("no compiler"))
    with pytest.raises(ToolchainError, match="no compiler"):
        preparation.prepare(["native"])


def test_a_suite_without_its_browser_is_a_skipped_stage(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preparation.PIECES, "chromium", refuse("no Chromium was found"))
    found = runner.run_stage(stages.Stage("js-page", lambda: stages.javascript("page")))
    assert (found.ok, found.passed, found.skipped) == (True, 0, 1)


def test_a_stage_runs_the_suite_with_what_was_prepared(made: list[str]) -> None:
    [command] = stages.javascript("page")
    assert list(command.words) == ["npm", "test", "--silent", "--", "page"]
    assert command.env == {**RUNTIME, "CHROMIUM": "there", "RUVECTOR_PREPARED": "1"}


def test_the_package_is_built_again_when_its_sources_or_its_files_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    web = tmp_path / "web"
    (web / "src").mkdir(parents=True)
    (web / "dist" / "lib").mkdir(parents=True)
    builds: list[list[object]] = []
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "node_modules", lambda: None)
    for name in ("build_kernels", "build_pyodide_wheel"):
        monkeypatch.setattr(build, name, lambda: tmp_path / "input")
    monkeypatch.setattr(build, "pyodide", lambda _: tmp_path / "pyodide")
    built = web / "dist" / "lib" / "index.js"

    def run(words: list[object], **_: object) -> None:
        builds.append(words)
        built.write_text("built")

    monkeypatch.setattr(build, "run", run)
    for changed, times in [(None, 1), (None, 1), (web / "src" / "index.ts", 2), (tmp_path / "input", 3), (built, 4)]:
        if changed:
            changed.write_text("changed")
        assert build.build_web() == web / "dist"
        assert len(builds) == times
    assert builds[0][:2] == ["node", "build.mjs"]
