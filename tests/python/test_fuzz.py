"""The short form of build_scripts/fuzz.py, on the backend of this run; and that it finds what it looks for."""

from __future__ import annotations

import os
import re
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
from ruvector_attention import kernels

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzzing import campaign, geometry, options, rounding, shadow, twins, verdicts  # noqa: E402
from fuzzing.cases import Case  # noqa: E402

CASES = 20


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
    for number in range(4):
        case = Case(3, number, name)
        case.run()
        operations += case.operations
        refused += sum(case.refusals.values())
    assert operations > 20
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
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_the_script_counts_what_it_ran() -> None:
    done = fuzz("--operations", "100", "--seed", "1", "--processes", "2")
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


def test_every_kernel_that_a_class_calls_is_compared() -> None:
    sources = "".join(path.read_text("utf-8") for path in Path(ra.__file__).parent.rglob("*.py"))
    called = set(re.findall(r"kernels\.active\.(\w+)\(|backward_kernel\(\"(\w+)\"", sources))
    names = {name for pair in called for name in pair if name in vars(kernels.active)}
    assert len(names) > 15
    assert shadow.known() >= names - {"peak"}  # which measures


def off_by(share: float) -> Callable[[Any], None]:
    return lambda array: array.__setitem__(Ellipsis, array * np.float32(1 + share))


def ends(array: Any) -> None:
    array.reshape(-1)[-1] += np.float32(1e-3)


CALLS: dict[str, Callable[[], Any]] = {
    "attention": lambda: ra.ScaledDotProductAttention(8)(QUERY, KEYS, VALUES),
    "attention_scored": lambda: ra.HyperbolicAttention(8)(QUERY * 0.1, KEYS * 0.1, VALUES * 0.1),
    "attention_weights": lambda: ra.FlashAttention(8).attention_weights(QUERY, KEYS),
    "attention_sparse": lambda: ra.FlashAttention(8)(QUERY, KEYS, VALUES, mask=ra.COOMask([(1, 2), (2, 30), (2, 4)])),
    "edge_attention": lambda: ra.EdgeFeaturedAttention(8, num_heads=2)(KEYS, [(0, 1), (2, 1), (3, 4)]),
    "prefix_attention": lambda: ra.LinearAttention(8, num_features=8, causal=True)(KEYS, KEYS, VALUES),
    "gemm": lambda: ra.MultiHeadAttention(8, num_heads=2)(QUERY, KEYS, KEYS),
    "normalize_rows": lambda: ra.MultiHeadAttention(8, num_heads=2, normalize=True)(QUERY, KEYS, KEYS),
    "space_aux": lambda: ra.HyperbolicAttention(8)(QUERY * 0.1, KEYS * 0.1, VALUES * 0.1),
    "rotate_rows": lambda: ra.GraphRoPEAttention(8)(QUERY, KEYS, VALUES, query_positions=3.0, key_positions=1.0),
    "attention_backward": lambda: trained(ra.ScaledDotProductAttention(8)),
}
QUERY, KEYS, VALUES = (np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32) for n in (20, 40, 40))


def trained(attention: ra.Attention) -> Any:
    output = attention.forward(QUERY, KEYS, VALUES, training=True)
    return attention.backward(output)


@pytest.mark.skipif(ra.backend() == "numpy", reason="needs another backend to compare: run it where there is a binary")
@pytest.mark.parametrize("wrong", [off_by(3e-4), ends], ids=["a share", "the last number"])
@pytest.mark.parametrize("name", CALLS)
def test_wrong_numbers_are_found(name: str, wrong: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """And right ones are not."""
    with shadow.beside():
        CALLS[name]()
    kernel = getattr(kernels.active, name)
    (first, *_), _ = shadow._checkers[name]

    def off(*arguments: Any) -> int:
        status = int(kernel(*arguments))
        wrong(arguments[first])
        return status

    monkeypatch.setattr(kernels.active, name, off)
    with shadow.beside(), pytest.raises(verdicts.FindingError, match="float64 gives"):
        CALLS[name]()


@pytest.mark.skipif(ra.backend() == "numpy", reason="needs another backend to compare: run it where there is a binary")
def test_a_wrong_key_among_large_scores_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reading found once: above 2^31 all weights were equal, or another key's was 1."""
    kernel = kernels.active.attention

    def off(*arguments: Any) -> int:
        status = int(kernel(*arguments))
        arguments[6][...] = VALUES.mean(axis=0)
        return status

    monkeypatch.setattr(kernels.active, "attention", off)
    with shadow.beside(), pytest.raises(verdicts.FindingError, match="float64 gives"):
        ra.ScaledDotProductAttention(8, scale=1e11)(QUERY, KEYS, VALUES)


@pytest.mark.parametrize("largest", [1.0, 30.0, 1e4])
def test_bounds_of_weights_hold_for_the_scores_they_are_for(largest: float) -> None:
    """Nothing that the errors allow lies outside, and the extremes are reached: beside weights of moved scores."""
    random = np.random.default_rng(3)
    scores, errors = random.standard_normal((50, 7)) * largest, random.random((50, 7)) * random.choice([1e-6, 0.1, 3.0])
    scores[0, 2:] = -np.inf
    scores[1] = -np.inf
    soft = rounding.softmax(scores, errors)
    assert (soft.weights[1] == 0).all()
    for own in range(7):
        for sign, bound in ((1, soft.most), (-1, soft.least)):
            signs = np.where(np.arange(7) == own, sign, -sign)
            moved = rounding.softmax(scores + signs * errors, errors * 0).weights[:, own]
            assert (sign * (bound[:, own] - moved) >= -1e-12).all()
            assert np.abs(bound[:, own] - moved).max() <= 1e-3 + 8e-6 * largest  # and the making of powers of two


def test_another_answer_by_another_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1000))
    monkeypatch.setattr(Answering, "answer", staticmethod(lambda output: output + np.float32(next(calls))))
    monkeypatch.setitem(ra.registry._MECHANISMS, Answering.name, Answering)
    attention, case = Answering(8), Case(1, 1)
    problem = twins.Problem(case.draw, ra.ScaledDotProductAttention(8))
    problem.inputs, problem.lead, problem.is_vector = {"query": QUERY, "keys": KEYS, "values": VALUES}, (), False
    for name in ("in_plain_layout", "over_threads", "from_state", "from_a_memory"):
        call = twins.Call(case, attention, problem, {}, attention.forward(QUERY, KEYS, VALUES))
        with pytest.raises(verdicts.FindingError, match="to the bit"):
            getattr(twins, name)(call)
