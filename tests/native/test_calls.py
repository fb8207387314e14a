"""Every kernel on every instruction set that the program of calls.c has, without Python around it.

test.py builds that program with sanitizers (stage `sanitize`) and for aarch64 (stage `neon`), and sets $RV_CALLS.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from calls import TIMEOUT, Call, Program, recording, write
from row_cases import CASES, Case

if "RV_CALLS" not in os.environ:
    pytest.skip("needs $RV_CALLS: `python3 build_scripts/test.py --only sanitize` sets it", allow_module_level=True)

Array = npt.NDArray[Any]

pytestmark = pytest.mark.timeout(2 * TIMEOUT)  # the first test records all calls before it waits for some

PROGRAM = Program()
KERNELS = PROGRAM.kernels()
TARGETS = PROGRAM.targets()
UNCOMPARED = {"peak"}  # multiply-adds as fast as possible: how many, and what they give, is each backend's own


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[Call]]:
    found = {}
    for name, case in CASES.items():
        with recording({k: v for k, v in KERNELS.items() if k not in UNCOMPARED}) as calls:
            case.call()
        found[name] = calls
    return found


@pytest.fixture(scope="module")
def running(recorded: dict[str, list[Call]]) -> Iterator[dict[tuple[str, str], Future[list[str]]]]:
    """What is wrong in every (instruction set, case), as many at a time as there are processors.

    No more than that is kept: the outputs of all would be gigabytes.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, calls in recorded.items():
            given = Path(folder) / f"{case}.bin"
            write(calls, given)
            for target in TARGETS:
                found[target, case] = pool.submit(wrong_calls, target, CASES[case], calls, given)
        yield found
        pool.shutdown(cancel_futures=True)


def wrong_calls(target: str, case: Case, calls: list[Call], given: Path) -> list[str]:
    wrong = []
    for call, (status, outputs) in zip(calls, PROGRAM.run(target, calls, given), strict=True):
        if status != call.status:
            wrong.append(f"{call}: status {status}, expected {call.status}")
        elif status == 0 and (share := worst(call, outputs, case)) > 1.0:
            wrong.append(f"{call}: {share:.3g} of the tolerance")
    return wrong


def worst(call: Call, outputs: dict[str, Array], case: Case) -> float:
    """The largest error of a call as a share of its tolerance; infinite where something is wrong altogether."""
    adds = call.kernel.adds
    before = dict(zip((b.name for b in call.kernel.arguments), call.buffers, strict=True))
    errors, sizes = [0.0], [0.0]
    for name, actual in outputs.items():
        held = before[name]
        assert held is not None
        start, expected = held[: actual.size], call.outputs[name][: actual.size]
        untouched, finite = expected == start, np.isfinite(expected)
        if not np.array_equal(actual[~finite], expected[~finite]) or not np.isfinite(actual[finite]).all():
            return np.inf
        if not adds and not np.array_equal(actual[untouched], start[untouched]):
            return np.inf
        given = expected.astype(np.float64) - (start if adds else 0.0)  # by the kernel: -inf for an empty row's lse
        errors.append(float(np.abs(actual[finite].astype(np.float64) - expected[finite]).max(initial=0.0)))
        sizes.append(float(np.abs(given[finite & ~untouched]).max(initial=0.0)))
    if adds:  # one size for all gradients: each alone may be a sum that is 0
        return max(errors) / (case.gradient_tolerance * (1.0 + max(sizes)))
    return max(error / (case.tolerance * (1.0 + size)) for error, size in zip(errors, sizes, strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_every_call_gives_what_numpy_gives(
    target: str, case: str, recorded: dict[str, list[Call]], running: dict[tuple[str, str], Future[list[str]]]
) -> None:
    wrong = running[target, case].result()
    assert not wrong, f"{len(wrong)} of {len(recorded[case])} calls:\n" + "\n".join(wrong[:20])


def test_every_kernel_is_called(recorded: dict[str, list[Call]]) -> None:
    called = {call.kernel.name for calls in recorded.values() for call in calls}
    assert set(KERNELS) - UNCOMPARED - called == set(), "add what calls it to cases.py"


@pytest.mark.parametrize("target", TARGETS)
def test_multiply_adds_are_counted(target: str, tmp_path: Path) -> None:
    call = Call(KERNELS["peak"], [np.array([0.5, 1.0], np.float32)], (60,), 0, {})
    write([call], tmp_path / "call.bin")
    [(status, outputs)] = PROGRAM.run(target, [call], tmp_path / "call.bin")
    total, lanes = outputs["out"]
    assert status == 0
    assert lanes >= 1
    assert total == 2 * lanes  # x -> x / 2 + 1 ends at 2 from everywhere, in every lane


def test_a_wrong_result_would_be_seen(recorded: dict[str, list[Call]]) -> None:
    call = recorded["attention"][0]
    wrong = {name: array.copy() for name, array in call.outputs.items()}
    assert worst(call, wrong, CASES["attention"]) == 0.0
    wrong["out"][0] += 1e-4
    assert worst(call, wrong, CASES["attention"]) > 1.0
    wrong["out"][0] = np.nan
    assert worst(call, wrong, CASES["attention"]) == np.inf
