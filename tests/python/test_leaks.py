"""Making, calling and dropping objects leaves memory where it was: the short form of `fuzz.py --leaks 100000`.

Each in a process of its own: what earlier tests gave back would be taken again, and a leak not be seen.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ruvector_attention as ra

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzzing import leaks  # noqa: E402

needs_linux = pytest.mark.skipif(not leaks.STATM.exists(), reason="needs /proc/self/statm: run it on Linux")
ROUNDS = 1_000


def in_a_process_of_its_own(measure: Callable[[], list[int]]) -> list[int]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure).result()


def growth() -> list[int]:
    return leaks.growth(ROUNDS)


def growth_where_all_is_kept() -> list[int]:
    kept: list[object] = []

    def keeping(name: str, number: int) -> None:
        kept.append((ra.create("scaled_dot_product", dim=8), np.ones(1 << 15, np.float32)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "live_through", keeping)
        return growth()


@needs_linux
def test_lives_of_objects_leave_nothing_behind() -> None:
    grown = in_a_process_of_its_own(growth)
    assert not leaks.leaks(grown, ROUNDS), grown


@needs_linux
def test_what_stays_behind_is_seen() -> None:
    grown = in_a_process_of_its_own(growth_where_all_is_kept)
    assert leaks.leaks(grown, ROUNDS), grown
