"""The figures this project has set itself, each computed from the contestants of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from build import NATIVE_WHEEL_LIMIT, WHEEL_LIMIT

from .lanes import Lane, Message
from .report import ADDON, OURS, POOL, RESIDENT, Peaks, is_ours, ours_for, peak_of, speedup
from .rounds import ratio, share
from .runner import Contestant


@dataclass(frozen=True)
class Measured:
    """What a run knows: everything timed, the peaks, the price of a call by runtime, the sizes of wheels in kB, and by
    runtime what `pyodide` takes beyond the kernel."""

    contestants: list[Contestant]
    peaks: Peaks
    overheads: dict[str, Message] = field(default_factory=dict)
    wheels: dict[str, float] = field(default_factory=dict)
    beyond: dict[str, Message] = field(default_factory=dict)

    def of(self, workload: str, runtime: str) -> list[Contestant]:
        """The contestants of one workload in one runtime that were timed (or, for memory, tried)."""
        return [c for c in self.contestants if c.workload.name == workload and c.lane.runtime == runtime and c.samples]

    def ours(self, workload: str, runtime: str, *, threads: int = 1, isa: str = "") -> Contestant | None:
        """Ours in that runtime; in Node and Chromium the nearest entry of ours that a peer there is compared with."""
        here = [c for c in self.of(workload, runtime) if (c.lane.threads, c.lane.isa) == (threads, isa)]
        own = next((c for c in here if is_ours(c)), None)
        return own or next((found for c in here if (found := ours_for(c, self.contestants))), None)


Figure = Callable[[Measured], float | None]


@dataclass(frozen=True)
class Target:
    """`figure` must be at least `bound`, or at most where `below`."""

    name: str
    figure: Figure
    bound: float
    unit: str = "×"
    below: bool = False

    def line(self, measured: Measured) -> str:
        """Name, figure, target, met or not; empty when the run did not measure it."""
        value = self.figure(measured)
        wanted = f"{'≤' if self.below else '≥'} {self.bound:g} {self.unit}"
        if value is None:
            return ""
        met = value <= self.bound if self.below else value >= self.bound
        return f"{self.name:62} {value:11.3g} {self.unit:2}  {wanted:12} {'met' if met else 'NOT MET'}"


def versus(workload: str, runtime: str, *peers: str, isa: str = "", threads: int = 1, engine: str = "") -> Figure:
    """How many times faster ours is than the fastest of `peers` (all when none are named) in that runtime.

    Ours is the entry that is nearest to each, or the one of `engine`.
    """

    def figure(measured: Measured) -> float | None:
        factors = [
            factor
            for contestant in measured.of(workload, runtime)
            if not is_ours(contestant) and (contestant.lane.isa, contestant.lane.threads) == (isa, threads)
            if not peers or contestant.engine in peers
            if (factor := speedup(contestant, measured.contestants, engine)) is not None
        ]
        return min(factors, default=None)

    return figure


def peak_share(workload: str, runtime: str, figure_of: str = "gflops") -> Figure:
    """Per cent of the measured peak (or, for `gbytes`, of the measured read bandwidth) that ours reaches."""

    def figure(measured: Measured) -> float | None:
        ours = measured.ours(workload, runtime)
        if ours is None or ours.ms is None or ours.gflops is None:
            return None
        reached = ours.gflops if figure_of == "gflops" else ours.workload.bytes_moved / ours.ms / 1e6
        part = share(reached, peak_of(ours, measured.peaks, figure_of))
        return None if part is None else 100 * part

    return figure


def two_threads(workload: str, runtime: str) -> Figure:
    def figure(measured: Measured) -> float | None:
        one, two = (measured.ours(workload, runtime, threads=threads) for threads in (1, 2))
        return ratio(two.samples, one.samples) if one and two else None

    return figure


def two_workers(workload: str, runtime: str, engine: str = POOL) -> Figure:
    """How many times faster a pool of two workers is than a pool of one, or two threads than one."""

    def figure(measured: Measured) -> float | None:
        found = {c.lane.threads: c.samples for c in measured.of(workload, runtime) if c.engine == engine}
        return ratio(found[2], found[1]) if {1, 2} <= found.keys() else None

    return figure


def microseconds(workload: str, runtime: str, engine: str) -> Figure:
    def figure(measured: Measured) -> float | None:
        plain = Lane(runtime, ()).limits
        found = [c.ms for c in measured.of(workload, runtime) if (c.engine, c.lane.limits) == (engine, plain)]
        return found[0] * 1e3 if found and found[0] else None

    return figure


def beyond_kernel(runtime: str, place: str, queries: int) -> Figure:
    """Milliseconds that a call of the npm package's `pyodide` takes beyond the kernel, as beyond.py says."""

    def figure(measured: Measured) -> float | None:
        rows = measured.beyond.get(runtime, {}).get("rows", [])
        found = [row["beyond_ms"] for row in rows if (row["place"], row["queries"]) == (place, queries)]
        return next(iter(found), None)

    return figure


def megabytes(workload: str, runtime: str) -> Figure:
    def figure(measured: Measured) -> float | None:
        found = [c for c in measured.of(workload, runtime) if c.engine in OURS and c.mbytes is not None]
        return next((c.mbytes for c in found), None)

    return figure


def overhead(runtime: str) -> Figure:
    return lambda measured: measured.overheads.get(runtime, {}).get("overhead_us")


def wheel(kind: str) -> Figure:
    return lambda measured: measured.wheels.get(kind)


SELF, ONE, BANK = "self-8x1024x64", "self-1x1024x64", "cross-32x1000x128"
SMALL, LONG, BATCH = "cross-1x100x64", "self-8x8192x64", "batch-64x1000x128"

FIRST = (
    Target("call 1×100×64 beyond the arithmetic, CPython", overhead("cpython"), 6, "µs", below=True),
    Target("call 1×100×64 beyond the arithmetic, Pyodide in Node", overhead("pyodide-node"), 25, "µs", below=True),
    Target(
        "call 1×100×64 beyond the arithmetic, Pyodide in Chromium", overhead("pyodide-chromium"), 25, "µs", below=True
    ),
    Target("self 8×1024×64, one thread, over torch", versus(SELF, "cpython", "torch"), 0.9),
    Target("self 8×1024×64 over NumPy, Pyodide in Node", versus(SELF, "pyodide-node", "numpy"), 4),
    Target("self 8×1024×64 over NumPy, Pyodide in Chromium", versus(SELF, "pyodide-chromium", "numpy"), 4),
    Target("wheel for Pyodide, WHEEL_LIMIT of build.py", wheel("pyodide"), WHEEL_LIMIT / 1000, "kB", below=True),
    Target(
        "wheel for this system, NATIVE_WHEEL_LIMIT of build.py",
        wheel("native"),
        NATIVE_WHEEL_LIMIT / 1000,
        "kB",
        below=True,
    ),
)
FIRST_WORKLOADS = (SELF,)

# Where `pyodide` runs, as web/beyond.mjs names it.
PLACES = {"here": "", "worker": " in a worker"}
QUERIES_BEYOND, KEYS_BEYOND = (1, 1_000), 1_000
BEYOND = tuple(
    Target(
        f"{runtime} {queries}×1k×128, runtime pyodide{told}, beyond the kernel",
        beyond_kernel(runtime, place, queries),
        0.5,
        "ms",
        below=True,
    )
    for runtime in ("node", "chromium")
    for place, told in PLACES.items()
    for queries in QUERIES_BEYOND
)

ENGINE = (
    Target("native self 8×1024×64 over torch", versus(SELF, "cpython", "torch"), 1.3),
    Target("native self 8×1024×64, share of peak", peak_share(SELF, "cpython"), 60, "%"),
    Target("native self 8×1024×64, AVX2, over torch held to AVX2", versus(SELF, "cpython", "torch", isa="avx2"), 1.2),
    Target(
        "native self 8×1024×64, AVX2, over ATEN_CPU_CAPABILITY=avx2 alone",
        versus(SELF, "cpython", "torch", isa="avx2-aten"),
        1.2,
    ),
    Target("native self 8×1024×64, two threads over one", two_threads(SELF, "cpython"), 1.8),
    Target("native self 1×1024×64 over the best peer", versus(ONE, "cpython"), 1.1),
    Target("native 32×1k×128 over the best peer", versus(BANK, "cpython"), 1.2),
    Target("native 1×1k×128 over the best peer", versus("cross-1x1000x128", "cpython"), 1.2),
    Target("native 1×10k×512 over the best peer (or the next line)", versus("cross-1x10000x512", "cpython"), 1.2),
    Target("native 1×10k×512, share of read bandwidth", peak_share("cross-1x10000x512", "cpython", "gbytes"), 85, "%"),
    Target("native 1×100×64, the whole call", microseconds(SMALL, "cpython", OURS[0]), 4, "µs", below=True),
    Target("native forward + backward 8×1024×64 over torch", versus("backward-8x1024x64", "cpython", "torch"), 1.2),
    Target("native self 8×8192×64, extra memory", megabytes(LONG, "cpython"), 2, "MB", below=True),
    *(
        target
        for runtime, factor in (("node", 1.3), ("chromium", 1.8))
        for target in (
            Target(f"{runtime} self 8×1024×64 over onnxruntime-web", versus(SELF, runtime, "onnxruntime-web"), factor),
            Target(
                f"Pyodide in {runtime}: self 8×1024×64, share of peak", peak_share(SELF, f"pyodide-{runtime}"), 75, "%"
            ),
            Target(f"{runtime} self 1×1024×64 over the best peer", versus(ONE, runtime), 1.3),
            Target(f"{runtime} 32×1k×128 over the best peer", versus(BANK, runtime), 1.5),
            *(
                Target(
                    f"{runtime} {size} over onnxruntime-web, keys and values resident",
                    versus(workload, runtime, "onnxruntime-web", engine=RESIDENT),
                    2,
                )
                for size, workload in (("1×1k×128", "cross-1x1000x128"), ("1×10k×512", "cross-1x10000x512"))
            ),
            Target(f"{runtime} self 8×1024×64, two workers over one thread", two_threads(SELF, runtime), 1.7),
            Target(f"{runtime} batch of 64 × 1k × 128, two workers over one", two_workers(BATCH, runtime), 1.7),
            Target(f"{runtime} self 8×8192×64, extra memory", megabytes(LONG, runtime), 2, "MB", below=True),
            Target(f"{runtime} 1×100×64 from JavaScript", microseconds(SMALL, runtime, OURS[2]), 10, "µs", below=True),
            Target(f"Pyodide in {runtime}: self 8×1024×64 over NumPy", versus(SELF, f"pyodide-{runtime}", "numpy"), 8),
            Target(
                f"Pyodide in {runtime}: 8×8192×64, extra memory",
                megabytes(LONG, f"pyodide-{runtime}"),
                2,
                "MB",
                below=True,
            ),
        )
    ),
    Target(
        "node 1×100×64 from JavaScript, runtime native, the whole call",
        microseconds(SMALL, "node", ADDON),
        3,
        "µs",
        below=True,
    ),
    Target(
        "node 1×1k×128, runtime native, over @ruvector/attention",
        versus("cross-1x1000x128", "node", "@ruvector/attention", engine=ADDON),
        10,
    ),
    Target(
        "chromium 1×1k×128 over ruvector-attention-wasm",
        versus("cross-1x1000x128", "chromium", "ruvector-attention-wasm"),
        100,
    ),
    *BEYOND,
)


def table(targets: Iterable[Target], measured: Measured) -> str:
    """A line for every target that this run measured, and the names of those it did not."""
    targets = list(targets)
    lines = {target.name: target.line(measured) for target in targets}
    missing = [" ".join(name.split()) for name, line in lines.items() if not line]
    shown = [f"\n{'target':62} {'figure':>14}  {'wanted':12}", *filter(None, lines.values())]
    return "\n".join([*shown, f"not measured in this run: {'; '.join(missing)}"] if missing else shown)
