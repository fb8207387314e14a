"""Every call of a kernel beside its float64 body, on the same numbers: whatever mechanism makes it, with whatever.

Kernels take float32 and give float32, so between them a mechanism's two ways, C and NumPy, round alike: a kernel beside
its body is the whole of their difference, and its bound follows from that one kernel's inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ruvector_attention import kernels, reference

from . import verdicts
from .draw import Array

MOST = 60_000  # pairs of query and key, or products: a call of more is left alone


compared: Counter[str] = Counter()
called: Counter[str] = Counter()


class Outputs:
    """The buffers that a kernel writes: as they were, for the body to write into copies."""

    def __init__(self, arguments: tuple[Any, ...], places: tuple[int, ...]) -> None:
        self.places = places
        self.before = {i: arguments[i].copy() for i in places if arguments[i] is not None}

    def given(self, arguments: tuple[Any, ...], dtype: Any = None) -> list[Any]:
        """The arguments with copies in the places of outputs, for the body."""
        copies = {i: array.astype(dtype or array.dtype) for i, array in self.before.items()}
        return [copies.get(i, argument) for i, argument in enumerate(arguments)]


Checker = Callable[[tuple[Any, ...], Outputs, int], bool]
_checkers: dict[str, tuple[tuple[int, ...], Checker]] = {}


def checks(name: str, *places: int) -> Callable[[Checker], Checker]:
    """Enter a comparison of a kernel, whose outputs are the arguments at these places. It answers whether there was
    anything to compare and raises FindingError."""

    def enter(checker: Checker) -> Checker:
        _checkers[name] = (places, checker)
        return checker

    return enter


def known() -> frozenset[str]:
    return frozenset(_checkers)


@contextmanager
def beside() -> Iterator[None]:
    """While this lasts, every kernel is called beside its body. Not for calls that are split over threads."""
    if kernels.backend() == "numpy":
        yield
        return
    active: dict[str, kernels.Kernel] = dict(kernels.active.__dict__)
    plain: dict[str, Any] = {
        name: getattr(kernel, "beside", kernel) for name, kernel in active.items()
    }  # which may be so already
    kernels.active.__dict__.update({name: _both(name, kernel) for name, kernel in plain.items() if name in _checkers})
    try:
        yield
    finally:
        kernels.active.__dict__.update(active)


def _both(name: str, kernel: kernels.Kernel) -> kernels.Kernel:
    places, checker = _checkers[name]

    def call(*arguments: Any) -> int:
        outputs = Outputs(arguments, places)
        status = kernel(*arguments)
        called[name] += 1
        if status != kernels.BAD_ARGUMENT:
            with np.errstate(all="ignore"):
                compared[name] += checker(arguments, outputs, status)
        return status

    call.beside = kernel  # type: ignore[attr-defined]
    return call


def body(name: str, arguments: list[Any]) -> int:
    return int(reference.BODIES[name](*arguments))


def within(what: str, found: Array, exact: Array, bound: Array | float) -> None:
    """Raises: FindingError that says where, by how much, and how much there might be."""
    bound = np.broadcast_to(bound, exact.shape)
    off = np.abs(found.astype(np.float64) - exact)
    room = bound + np.abs(exact) * 2.0**-24 + 2.0**-149  # the answer itself is rounded
    same_kind = (found == exact) | ((found != found) & (exact != exact))  # an infinity is told by nothing less
    bad = ~same_kind & ~((off <= room) & np.isfinite(exact))
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        ratio = np.where(bad & (off == off), off / np.maximum(room, 1e-300), 0.0)
        raise verdicts.FindingError(
            f"{what} is {float(found[place])!r} at {place} of {found.shape}; float64 gives {float(exact[place])!r}, "
            f"with room for {float(room[place]):.3g}; {int(bad.sum())} of {bad.size} are off, "
            f"up to {float(ratio.max()):.3g} times the room"
        )


def same(what: str, found: Array, expected: Array) -> None:
    """To the bit, NaN included."""
    differ = (found != expected) & ~((found != found) & (expected != expected))
    if differ.any():
        place = tuple(int(i) for i in np.argwhere(differ)[0])
        raise verdicts.FindingError(
            f"{what} is {found[place]!r} at {place} of {found.shape}; expected {expected[place]!r}, to the bit"
        )


# Last: they enter themselves above.
from . import list_checks, row_checks, sensitivity, softmax_checks  # noqa: E402, F401
