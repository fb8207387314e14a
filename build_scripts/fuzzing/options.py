"""The command line of fuzz.py, read twice: by the process that sets up and by the one that runs."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

DESCRIPTION = """\
Call the library with whatever it may meet, and look for answers that nobody should get.

Every case draws, from the seed and its own number, a mechanism of the registry (or functions of geometry, a memory, a
mask, a graph, a stream), settings, shapes, scales from 1e-30 to 1e15, layouts, dtypes and options, and calls forward,
attention_weights, backward and other public methods; some calls get an argument that is wrong. Each call must give
finite numbers (points inside of their space, weights that sum to 1 or 0 and are 0 where masked, gradients of the right
shapes) or a typed AttentionError that names the argument. Anything else is reported: NaN, a warning, any other
exception, a crash, a case that takes longer than --limit.

And the numbers must be right. In most cases every call of a kernel, whatever mechanism makes it, is compared with its
NumPy body in float64 on the same numbers, within bounds that follow from these numbers (rounding.py). Half of the
forwards that answer are computed by another way as well (twins.py, float64.py): to the bit in another layout, over
threads, in a batch and item by item, from a memory, from settings and state; up to rounding by a dense mask, by weights
times values, on NumPy, by the definition, and gradients beside differences.

An operation is one call of the public interface: making a mechanism, a forward, weights, a backward, another method, a
function of geometry, a change or a reading of a memory. A case makes between one and some forty of them.
"""


@dataclass(frozen=True)
class Options:
    operations: int
    seconds: float
    processes: int
    backend: str | None
    seed: int
    only: list[int]
    mechanism: str | None
    limit: float
    refusals: bool
    leaks: int


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="fuzz.py", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=100_000, metavar="N", help="stop after so many (100000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S", help="stop after so long")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that run cases side by side (1)")
    parser.add_argument("--backend", metavar="NAME", help="avx512, numpy, ...; the best one of this machine by default")
    parser.add_argument("--seed", type=int, metavar="S", help="of all cases; the time by default")
    parser.add_argument("--only", type=int, nargs="+", default=[], metavar="N", help="run these cases again, here")
    parser.add_argument("--mechanism", metavar="NAME", help="cases of this mechanism alone")
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="that one case may take (60)")
    parser.add_argument(
        "--refusals", action="store_true", help="print which typed errors came, how often, and what was compared"
    )
    parser.add_argument(
        "--leaks", type=int, default=0, metavar="N", help="instead, N lives of objects, and their memory"
    )
    given = vars(parser.parse_args(arguments))
    given["seed"] = int(time.time()) if given["seed"] is None else given["seed"]
    return Options(**given)
