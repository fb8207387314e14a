"""Objects made, called and dropped over and over: memory must be where it was before."""

from __future__ import annotations

import gc
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

import ruvector_attention as ra

from .arguments import Problem, described, settings_of
from .draw import Draw

STATM = Path("/proc/self/statm")
PARTS = 4  # of the rounds, behind a first one
ALLOWED = 512  # bytes a life: less than any array of a mechanism, with its object


def resident() -> int:
    """Bytes of this process that are in memory; Linux says."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live_through(name: str, number: int) -> None:
    """One object's life: a forward, weights, a backward, a refusal, an end."""
    draw = Draw(0, number)
    try:
        attention = ra.create(name, **settings_of(draw, name, dim=8))
    except ra.AttentionError:
        return
    problem = Problem(draw, attention)
    try:
        output = attention.forward(**problem.inputs, **problem.options(attention.forward), training=True)
        attention.backward(np.ones(output.shape, np.float32))
        known = attention.attention_weights  # type: ignore[attr-defined]
        known(**{key: value for key, value in problem.inputs.items() if key != "values"})
        if {"keys", "values"} <= set(problem.inputs):
            memory = ra.Memory(np.ones((9, 8), np.float32), np.ones((9, 8), np.float32))
            memory.append(np.ones(8), np.ones(8))
            memory.project(attention)
            attention.forward(np.ones(8, np.float32), memory)
        attention.forward("no array", *["no array"] * (len(problem.inputs) - 1))
    except ra.AttentionError:
        pass


def growth(rounds: int, names: list[str] | None = None) -> list[int]:
    """Bytes that each part of the rounds added to those that were there after the first."""
    names = names or list(described())
    sizes = []
    for _ in range(PARTS + 1):
        for number in range(rounds // (PARTS + 1)):
            live_through(names[number % len(names)], number)
        sizes.append(resident())
    return [after - before for before, after in pairwise(sizes)]


def leaks(grown: list[int], rounds: int) -> bool:
    """Whether every part added more than ALLOWED a life. Pools, caches and the allocator grow in steps; a leak does at
    all times."""
    return min(grown) > ALLOWED * rounds / (PARTS + 1)
