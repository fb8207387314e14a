"""The figures that the mechanisms have been set, each from the contestants of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .cases import AVX2, CROSSING_SIZES, NATIVE, OURS, WASM
from .rounds import ratio
from .runner import Contestant
from .targets import Figure, Measured, Target, versus

# From this n on, LinearAttention's docstring says, it beats exact attention (8 heads of 64 channels, 256 features).
STATED_CROSSING = 1_000
DENSE_PAIRS = 2_048**2


def ours(measured: Measured, case: str, place: tuple[str, str] = NATIVE) -> Contestant | None:
    """Ours on that case in that place, if it was timed."""
    runtime, isa = place
    found = (c for c in measured.of(case, runtime) if (c.engine, c.lane.isa) == (OURS, isa) and not c.reason)
    return next(found, None)


def cost(measured: Measured, case: str, other: str) -> float | None:
    """The time of ours on one case over that on another, by rounds."""
    one, two = ours(measured, case), ours(measured, other)
    return ratio(two.samples, one.samples) if one and two else None


def times(case: str, other: str) -> Figure:
    return lambda measured: cost(measured, case, other)


def over_tiles(pairs: int | None) -> Figure:
    """The time of the local-global case over that of its tiles, at the price of a pair of dense self-attention."""

    def figure(measured: Measured) -> float | None:
        whole = cost(measured, "local-global-16384x64", "dense-2048x64")
        return whole * DENSE_PAIRS / pairs if whole and pairs else None

    return figure


def crossing(measured: Measured) -> float | None:
    """The n from which linear attention is faster than exact attention, at every larger size too.

    Between two sizes it is where the line through their ratios, both logarithmic, meets 1.
    """
    points = []
    for n in CROSSING_SIZES:
        found = cost(measured, f"linear-8x{n}x64", f"flash-8x{n}x64")
        if found is not None:
            points.append((n, found))
    return crossing_of(points)


def crossing_of(points: Sequence[tuple[int, float]]) -> float | None:
    """Of (n, linear time / exact time), ascending; None where the largest n is not faster."""
    if not points or points[-1][1] > 1:
        return None
    slower = [index for index, (_, factor) in enumerate(points) if factor > 1]
    if not slower:
        return float(points[0][0])
    (n, above), (larger, below) = points[slower[-1]], points[slower[-1] + 1]
    share = math.log(above) / (math.log(above) - math.log(below))
    return float(n * (larger / n) ** share)


def wasm_share(mechanism: str) -> Figure:
    """Per cent of the speed with AVX2 that the same mechanism has in WebAssembly."""

    def figure(measured: Measured) -> float | None:
        case = f"mechanism-{mechanism}"
        native, wasm = ours(measured, case, AVX2), ours(measured, case, WASM)
        part = ratio(wasm.samples, native.samples) if native and wasm else None
        return None if part is None else 100 * part

    return figure


def all_of(mechanisms: Sequence[str], pairs: int | None) -> list[Target]:
    """The targets of these mechanisms; `pairs` are those in the tiles of the local-global case."""
    distances = [("1×1k×128", "1x1000x128"), ("1×10k×128", "1x10000x128"), ("self 1024×64", "self-1024x64")]
    graphs = [("1 000 nodes, 10 000 edges", "gatv2-1k-10k"), ("10 000 nodes, 100 000 edges", "gatv2-10k-100k")]
    return [
        *(
            Target(f"hyperbolic {size} over {label}", versus(f"hyperbolic-{case}", "cpython", peer), 6)
            for peer, label in (("geoopt", "geoopt"), ("geoopt-products", "geoopt by matrix products"))
            for size, case in distances
        ),
        *(
            Target(f"GATv2 {size}{what}", versus(f"{case}{suffix}", "cpython", "torch_geometric"), bound)
            for size, case in graphs
            for what, suffix, bound in ((", forward", "", 3.0), (", with backward", "-backward", 2.5))
        ),
        Target("linear 8×4096×64, m = 256, over performer-pytorch", versus("linear-8x4096x64", "cpython"), 2),
        Target("linear beats exact attention (8 heads, m = 256) from n =", crossing, STATED_CROSSING, "", below=True),
        Target("local-global 16 384 over the cost of its tiles", over_tiles(pairs), 1.3, below=True),
        Target("MoE, 4 experts, top 2, over one expert", times("moe-4-experts", "moe-one-expert"), 2.2, below=True),
        *(Target(f"wasm SIMD128, share of AVX2: {name}", wasm_share(name), 25, "%") for name in mechanisms),
    ]
