"""THE list of workloads. Everything else (inputs, references, engines in four runtimes, table, plot) reads it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["attention", "window", "backward", "layer"]


@dataclass(frozen=True)
class Workload:
    """One computation. Arrays are (heads, n, dim), or (n, dim) when there is one head; float32, seeded normal.

    attention  softmax(dim ** -0.5 * q k^T) v, causal or not
    window     the same, query i seeing the keys j with |i - j| <= window / 2
    backward   the same, followed by the gradients of q, k and v for the upstream gradient `grad`
    layer      multi-head self-attention with its four projections: x (n, heads * dim), weights (out, in) and biases
    """

    name: str
    n_query: int
    n_key: int
    dim: int
    heads: int = 1
    kind: Kind = "attention"
    causal: bool = False
    window: int = 0
    threads: tuple[int, ...] = (1,)
    quick: bool = False
    memory: bool = False
    checked_rows: int = 0
    """How many rows of the answer are checked, evenly spread; 0: all. For one head and no gradients."""

    def runs(self, engine: str, runtime: str, threads: int, isa: str) -> bool:
        """Whether that engine there is measured: every one is, with the workload's numbers of threads."""
        return threads in self.threads

    @property
    def pairs(self) -> int:
        """The number of (query, key) pairs of one head that count."""
        if self.causal:
            return self.n_query * (self.n_query + 1) // 2
        if self.window:
            half = self.window // 2
            return self.n_query * (2 * half + 1) - half * (half + 1)
        return self.n_query * self.n_key

    @property
    def flops(self) -> int:
        """Multiplications and additions of the matrix products; the softmax is not counted.

        Backward counts five products (one recomputes the scores) beside the two of forward, as FlashAttention does.
        """
        products = 7 if self.kind == "backward" else 2
        attention = products * 2 * self.heads * self.pairs * self.dim
        width = self.heads * self.dim
        projections = 4 * 2 * self.n_query * width * width if self.kind == "layer" else 0
        return attention + projections

    @property
    def bytes_moved(self) -> int:
        """Bytes of the in- and outputs, each counted once: what a bandwidth-bound call must at least move."""
        answer = math.prod(self.answer_shape)
        return 4 * (answer + sum(math.prod(shape) for shape in self.inputs.values()))

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every input array, in the order in which they are generated."""
        if self.kind == "layer":
            width = self.heads * self.dim
            shapes: dict[str, tuple[int, ...]] = {"x": (self.n_query, width)}
            for part in ("q", "k", "v", "o"):
                shapes |= {f"w{part}": (width, width), f"b{part}": (width,)}
            return shapes
        lead = (self.heads,) if self.heads > 1 else ()
        query, key = (*lead, self.n_query, self.dim), (*lead, self.n_key, self.dim)
        shapes = {"q": query, "k": key, "v": key}
        return shapes | {"grad": query} if self.kind == "backward" else shapes

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of what an engine answers; backward answers (output, dq, dk, dv) one after the other, flat."""
        if self.kind == "backward":
            return (4 * self.heads * self.n_query * self.dim,)
        if self.kind == "layer":
            return self.inputs["x"]
        return self.inputs["q"]

    def describe(self) -> dict[str, Any]:
        """This workload as plain data for a worker in another process or language."""
        return asdict(self) | {"inputs": {name: list(shape) for name, shape in self.inputs.items()}}


def shorter(workload: Workload) -> Workload:
    """The same on a quarter of the tokens, a sixteenth of the work.

    >>> shorter(Workload("self-2x4096x8", 4096, 4096, 8, heads=2)).name
    'self-2x4096x8-quarter'
    """
    n_query, n_key = (max(1, n // 4) for n in (workload.n_query, workload.n_key))
    return replace(workload, name=f"{workload.name}-quarter", n_query=n_query, n_key=n_key)


def from_description(description: dict[str, Any]) -> Workload:
    """The workload whose `describe()` is `description`."""
    fields = {name: value for name, value in description.items() if name != "inputs"}
    return Workload(**(fields | {"threads": tuple(fields["threads"])}))


def _one_query(n_key: int, dim: int, quick: bool = False) -> Workload:
    return Workload(f"cross-1x{n_key}x{dim}", 1, n_key, dim, quick=quick)


WORKLOADS: tuple[Workload, ...] = (
    _one_query(100, 64, quick=True),
    _one_query(100, 128),
    _one_query(100, 512),
    _one_query(1_000, 64),
    _one_query(1_000, 128, quick=True),
    _one_query(1_000, 512),
    _one_query(10_000, 64),
    _one_query(10_000, 128),
    _one_query(10_000, 512),
    Workload("cross-32x1000x128", 32, 1_000, 128, quick=True),
    Workload("self-1x1024x64", 1_024, 1_024, 64, quick=True),
    Workload("self-8x1024x64", 1_024, 1_024, 64, heads=8, threads=(1, 2), quick=True),
    Workload("batch-64x1000x128", 1_000, 1_000, 128, heads=64, threads=(1, 2)),
    Workload("self-8x8192x64", 8_192, 8_192, 64, heads=8, memory=True),
    Workload("causal-8x1024x64", 1_024, 1_024, 64, heads=8, causal=True, quick=True),
    Workload("window-256-16384x64", 16_384, 16_384, 64, kind="window", window=256),
    Workload("backward-8x1024x64", 1_024, 1_024, 64, heads=8, kind="backward", threads=(1, 2)),
    Workload("layer-512-1024", 1_024, 1_024, 64, heads=8, kind="layer"),
)


GROWTH_SIZES = (256, 1_024, 4_096, 16_384)
GROWTH_WINDOW = 256
# How the cost grows with n: with n² where every query sees every key, with n where it sees a window.
GROWTH: tuple[Workload, ...] = (
    *(Workload(f"growth-{n}", n, n, 64, quick=n <= 4_096, checked_rows=min(n, 256)) for n in GROWTH_SIZES),
    *(
        Workload(
            f"growth-window-{n}", n, n, 64, kind="window", window=GROWTH_WINDOW, quick=True, checked_rows=min(n, 256)
        )
        for n in GROWTH_SIZES
    ),
)


def select(patterns: list[str], quick: bool, among: tuple[Workload, ...] = WORKLOADS) -> list[Workload]:
    """The workloads whose name contains one of `patterns` (all when empty); only the quick ones when `quick`."""
    chosen = [
        workload
        for workload in among
        if (workload.quick or not quick) and (not patterns or any(part in workload.name for part in patterns))
    ]
    if not chosen:
        names = ", ".join(workload.name for workload in among)
        raise SystemExit(f"bench: no workload matches {' '.join(patterns)!r}; there are {names}")
    return chosen
