"""The short form of build_scripts/fuzz.py, on the backend of this run; and that it finds what it looks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzzing import campaign, geometry, options, verdicts  # noqa: E402
from fuzzing.cases import Case  # noqa: E402

CASES = 80


@pytest.mark.parametrize("seed", [1, 2])
def test_no_answer_that_nobody_should_get(seed: int) -> None:
    operations = 0
    for number in range(CASES):
        case = Case(seed, number)
        try:
            case.run()
        except Exception as error:
            raise AssertionError(f"fuzz.py --seed {seed} --only {number}: {case.trail}") from error
        operations += case.operations
    assert operations > 10 * CASES


@pytest.mark.parametrize("name", ra.mechanisms())
def test_every_mechanism_computes_more_than_it_refuses(name: str) -> None:
    """Otherwise it would be refusals that are tested."""
    operations = refused = 0
    for number in range(8):
        case = Case(3, number, name)
        case.run()
        operations += case.operations
        refused += sum(case.refusals.values())
    assert operations > 40
    assert refused < operations / 2


def test_a_case_is_the_same_each_time() -> None:
    first, second = Case(4, 17), Case(4, 17)
    first.run()
    second.run()
    assert first.trail == second.trail
    assert first.operations == second.operations > 0


def test_every_function_of_geometry_is_called() -> None:
    names = {name for module in geometry.MODULES for name, _ in geometry.functions(module)}
    assert names >= geometry.IN_BALL | {"distance", "log_map", "transport", "inner_product", "centroid"}


class Answering(ra.ScaledDotProductAttention):
    """What a mechanism must not answer."""

    answer: Callable[[Any], Any] = staticmethod(lambda output: output)

    def forward(self, *inputs: Any, **chosen: Any) -> Any:
        return self.answer(super().forward(*inputs, **chosen))


def with_nan(output: Any) -> Any:
    output.flat[-1] = np.nan
    return output


def raising(error: type[Exception]) -> Callable[[Any], Any]:
    def raises(output: Any) -> Any:
        raise error("unexpected")

    return raises


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (with_nan, verdicts.FindingError, "the output holds nan"),
        (lambda output: output.astype(np.float64), verdicts.FindingError, "no float32 array"),
        (lambda output: output / np.float32(0), RuntimeWarning, "divide by zero|invalid value"),
        (raising(ZeroDivisionError), ZeroDivisionError, "unexpected"),
        (raising(ValueError), ValueError, "unexpected"),
        (raising(ra.AttentionError), None, ""),
    ],
)
def test_what_is_wrong_is_found(
    answer: Callable[[Any], Any], error: type[Exception] | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answering, "answer", staticmethod(answer))
    monkeypatch.setitem(ra.registry._MECHANISMS, Answering.name, Answering)
    case = Case(1, 1, Answering.name)
    if error is None:
        case.run()
        assert sum(case.refusals.values()) > 0
        return
    with pytest.raises(error, match=sentence):
        case.run()


@pytest.mark.parametrize(
    ("weights", "seen", "sentence"),
    [
        ([[0.5, 0.4]], [[True, True]], "sums to"),
        ([[0.5, 0.5]], [[True, False]], "where the mask leaves nothing"),
        ([[1.5, -0.5]], [[True, True]], "below 0"),
        ([[0.0, 0.0]], [[True, True]], "sums to"),
        ([[np.nan, 0.0]], [[True, True]], "holds nan"),
    ],
)
def test_weights_that_are_none_are_found(weights: Any, seen: Any, sentence: str) -> None:
    with pytest.raises(verdicts.FindingError, match=sentence):
        verdicts.weights_of_pairs("the weights", np.array(weights, np.float32), np.array(seen), False, True)


def test_points_outside_of_the_ball_are_found() -> None:
    with pytest.raises(verdicts.FindingError, match="not inside of the ball"):
        verdicts.in_ball("a point", np.array([[0.6, 0.8]], np.float32), -1.0)
    verdicts.in_ball("a point", np.array([[0.6, 0.8]], np.float32), -0.99)


def fuzz(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPTS), *sys.path])}
    command = [sys.executable, "-m", "fuzzing", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)


def test_the_script_counts_what_it_ran() -> None:
    done = fuzz("--operations", "200", "--seed", "1", "--processes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "operations in about" in done.stdout
    assert "0 findings" in done.stdout
    again = fuzz("--seed", "1", "--only", "3")
    assert again.returncode == 0
    assert "case 3:" in again.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--backend", "sse9"), "backend 'sse9' is not available"), (("--mechanism", "flsh"), "did you mean 'flash'")],
)
def test_what_there_is_not_is_told_before_anything_runs(words: tuple[str, ...], sentence: str) -> None:
    done = fuzz(*words)
    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals: run it on Linux or macOS")
def test_a_case_that_ends_its_process_is_a_finding_and_the_next_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    watched = campaign._Watched(options.parse(["--seed", "1", "--operations", "10000000", "--seconds", "0.3"]))
    lane = watched._lanes[0]

    def run_until(done: Callable[[], bool]) -> None:
        while not done():
            watched._started = time.monotonic()
            watched.run()

    try:
        run_until(lambda: lane.operations > 0)
        os.kill(lane._process.pid, signal.SIGSEGV)
        lane._process.join(10)
        before = lane.operations
        run_until(lambda: lane.operations > before)
    finally:
        watched.close()
    assert watched.summary() == 1
    assert "the process ended with exit code -11" in capsys.readouterr().out
