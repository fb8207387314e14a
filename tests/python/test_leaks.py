"""Making, calling and dropping objects leaves memory where it was: the short form of `fuzz.py --leaks 100000`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import ruvector_attention as ra

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzzing import leaks  # noqa: E402

needs_linux = pytest.mark.skipif(not leaks.STATM.exists(), reason="needs /proc/self/statm: run it on Linux")
ROUNDS = 1_000


@needs_linux
def test_lives_of_objects_leave_nothing_behind() -> None:
    grown = leaks.growth(ROUNDS)
    assert not leaks.leaks(grown, ROUNDS), grown


@needs_linux
def test_what_stays_behind_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []

    def keeping(name: str, number: int) -> None:
        kept.append((ra.create("scaled_dot_product", dim=8), np.ones(1 << 15, np.float32)))

    monkeypatch.setattr(leaks, "live_through", keeping)
    grown = leaks.growth(ROUNDS)
    assert leaks.leaks(grown, ROUNDS), grown
