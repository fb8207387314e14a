"""The test runner itself: what it reads from the tools' output, and that nothing red can look green."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import stage_commands  # noqa: E402
import test as runner  # noqa: E402
import toolchain  # noqa: E402
from stage_commands import Command, Outcome, figures, run_command  # noqa: E402
from stages import MissingHereError, Stage  # noqa: E402


def outcome(program: str, **options: bool) -> Outcome:
    return run_command(Command([sys.executable, "-c", program], **options))


def test_the_examples_in_the_script_hold() -> None:
    assert doctest.testmod(stage_commands).failed == 0
    assert doctest.testmod(stage_commands).attempted >= 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3 passed in 0.10s", {"passed": 3}),
        ("\x1b[31m===== 1 failed, 2 passed, 1 error in 61.20s (0:01:01) =====\x1b[0m", {"failed": 2, "passed": 2}),
        ("1 failed, 4 passed, 1 xpassed, 2 xfailed in 1.00s", {"failed": 2, "passed": 6}),
        ("5 skipped in 0.01s", {"skipped": 5}),
        ("# fail 2", {"failed": 2}),
        ("ℹ cancelled 1", {"failed": 1}),
        ("a test said: 3 passed", {}),
    ],
)
def test_the_figures_of_pytest_and_node_are_read(line: str, expected: dict[str, int]) -> None:
    found: dict[str, int] = {}
    for name, count in figures([line]):
        found[name] = found.get(name, 0) + count
    assert found == expected


def test_a_run_without_tests_is_a_failure() -> None:
    found = outcome("print('no tests ran in 0.01s')")
    assert (found.ok, found.failed) == (False, 1)


def test_a_run_that_dies_after_its_figures_is_a_failure() -> None:
    found = outcome("print('3 passed in 0.10s'); raise SystemExit(139)")
    assert (found.ok, found.passed, found.failed) == (False, 3, 1)


def test_failures_count_even_where_the_exit_code_is_zero() -> None:
    found = outcome("print('ℹ pass 3'); print('ℹ fail 1')")
    assert (found.ok, found.failed) == (False, 1)


@pytest.mark.parametrize(("code", "passed"), [(0, 1), (1, 0)])
def test_a_check_counts_as_one_test(code: int, passed: int) -> None:
    found = outcome(f"raise SystemExit({code})", is_check=True)
    assert (found.ok, found.passed, found.failed) == (code == 0, passed, 1 - passed)


def test_a_run_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would say that all is well, if later."""
    monkeypatch.setattr(stage_commands, "SILENCE", 0.5)
    found = outcome("import time; print('3 passed in 0.10s', flush=True); time.sleep(60); print('went on')")
    assert (found.ok, found.failed) == (False, 1)
    assert "went on" not in found.last_lines


def test_a_run_that_still_says_something_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line restarts the clock: seen by clocks that only the test turns."""
    clocks: list[Clock] = []

    class Clock:
        def __init__(self, seconds: float, end: object, arguments: list[object]) -> None:
            assert (seconds, end) == (stage_commands.SILENCE, stage_commands.end_group)
            self.runs = False
            clocks.append(self)

        def start(self) -> None:
            assert not any(clock.runs for clock in clocks)
            self.runs = True

        def cancel(self) -> None:
            self.runs = False

    monkeypatch.setattr(stage_commands.threading, "Timer", Clock)
    found = outcome("print('.'); print('..'); print('3 passed in 0.10s')")
    assert (found.ok, found.passed) == (True, 3)
    assert len(clocks) == 1 + 3
    assert not any(clock.runs for clock in clocks)


def test_a_stage_that_cannot_be_set_up_fails_and_the_others_go_on() -> None:
    def broken() -> list[Command]:
        raise toolchain.ToolchainError("no browser here")

    found = runner.run_stage(Stage("page", broken))
    assert (found.ok, found.failed) == (False, 1)


def test_a_stage_that_this_machine_cannot_run_is_skipped_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> list[Command]:
        raise MissingHereError("no emulator: apt-get install qemu-user-static")

    found = runner.run_stage(Stage("neon", missing))
    assert (found.ok, found.passed, found.failed, found.skipped) == (True, 0, 0, 1)
    assert "skipped: no emulator: apt-get install" in capsys.readouterr().out
    assert runner.summary({"neon": found}).splitlines()[1].split()[:2] == ["neon", "skipped"]


def test_the_last_line_sums_everything_up() -> None:
    outcomes = {"lint": Outcome(passed=8), "js": Outcome(passed=2, failed=1, ok=False)}
    text = runner.summary(outcomes)
    assert text.splitlines()[-1] == "10 passed, 1 failed"
    assert "FAILED" in text


def test_what_failed_is_shown_again_at_the_end() -> None:
    found = outcome("print('\\n'.join(map(str, range(99)))); print('1 failed in 0.1s'); raise SystemExit(1)")
    shown = runner.failures({"lint": Outcome(passed=8), "js": found}).split("\n")
    assert shown[1] == "=== js, at its end"
    assert shown[2:-1] == [*map(str, range(99 - stage_commands.SHOWN_AGAIN + 1, 99)), "1 failed in 0.1s"]
    assert runner.failures({"lint": Outcome(passed=8)}) == ""


def test_what_could_not_be_set_up_is_shown_again_too() -> None:
    def broken() -> list[Command]:
        raise toolchain.ToolchainError("no browser here")

    assert "=== page, at its end\nno browser here\n" in runner.failures(
        {"page": runner.run_stage(Stage("page", broken))}
    )
