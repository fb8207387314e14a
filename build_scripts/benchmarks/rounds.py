"""Interleaving and the figures made from it: pure functions, so that they can be tested without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def order(engines: Sequence[T], round_index: int) -> list[T]:
    """The engines of one round: every engine once, rotated, so that none always follows the same heater of caches."""
    if not engines:
        return []
    turn = round_index % len(engines)
    return [*engines[turn:], *engines[:turn]]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """How many times faster `ours` is: the median over the rounds both ran of theirs / ours, each pair of one round.

    A ratio inside one round compares two measurements taken next to each other, so that a machine that slows down
    for a minute slows both. Engines may have dropped out of later rounds: only the rounds in common count.
    """
    common = [peer / own for own, peer in zip(ours, theirs, strict=False) if own > 0]
    return median(common) if common else None


def share(gflops: float, peak: float | None) -> float | None:
    """The part of `peak` that `gflops` is, when a peak is known."""
    return gflops / peak if peak else None


def gflops(flops: int, milliseconds: float) -> float:
    return flops / milliseconds / 1e6


def repeats(first_seconds: float, budget_seconds: float) -> int:
    """How many calls fit the budget of one turn: at least one, at most 10 000."""
    return max(1, min(10_000, int(budget_seconds / max(first_seconds, 1e-7))))
