"""The picture of the suite of mechanisms: how many times as fast as a peer, what a call takes natively and in wasm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import AVX2, NATIVE, WASM
from .mechanism_targets import all_of, ours, wasm_share
from .plot import GREY, RATIO_AT, RED, pyplot_without_screen, save
from .runner import Contestant
from .targets import Measured, Target

GREEN, BROWN = "#1b7837", "#b35806"
# place -> marker, colour, in the legend
PLACES = {
    NATIVE: ("o", RED, "native, best instruction set"),
    AVX2: ("D", "#2166ac", "native, AVX2"),
    WASM: ("s", "#4d9221", "Pyodide, wasm SIMD128"),
}


def draw(contestants: list[Contestant], names: Sequence[str], file: Path) -> None:
    measured = Measured(contestants, {})
    beside = [target for target in all_of([], None) if not target.below and target.figure(measured) is not None]
    shown = [name for name in names if ours(measured, f"mechanism-{name}")]
    pyplot = pyplot_without_screen()
    figure, (left, right) = pyplot.subplots(
        1, 2, layout="constrained", figsize=(13, 2.2 + 0.27 * max(len(beside), len(shown), 6)), width_ratios=(1, 1.25)
    )
    for axis, draw_panel, lines in ((left, _peers, beside), (right, _mechanisms, shown)):
        if lines:
            draw_panel(axis, lines, measured)
        else:
            axis.set_visible(False)
    figure.suptitle("Attention mechanisms, one thread", fontsize=13)
    save(figure, file)


def _peers(axis: Any, shown: list[Target], measured: Measured) -> None:
    """A dot for how many times faster ours is, a bar where the target is."""
    figures = [target.figure(measured) or 1.0 for target in shown]
    for line, (target, figure) in enumerate(zip(shown, figures, strict=True)):
        met = figure >= target.bound
        colour = GREEN if met else BROWN
        axis.plot([1, figure], [line, line], color="#d9d9d9", linewidth=3, zorder=1)
        axis.plot(target.bound, line, marker="|", markersize=16, markeredgewidth=2, color=GREY, linestyle="none")
        axis.plot(figure, line, marker="o", markersize=9, color=RED, linestyle="none", zorder=3)
        _beside(axis, line, f"{figure:.2g}×" if figure < 10 else f"{figure:.0f}×", colour)
    axis.set_xscale("log")
    axis.set_xlim(0.8 * min([1, *figures]), 1.3 * max([8, *figures]))
    _tidy(axis, [_short(target.name) for target in shown], "times as fast as the peer; the bar is the target")
    axis.set_title("Beside the peers", loc="left", fontsize=11, fontweight="bold")


def _mechanisms(axis: Any, shown: list[str], measured: Measured) -> None:
    """Milliseconds of one call in three places."""
    for line, name in enumerate(shown):
        found = {place: c for place in PLACES if (c := ours(measured, f"mechanism-{name}", place))}
        taken = [c.ms for c in found.values() if c.ms is not None]
        axis.plot([min(taken), max(taken)], [line, line], color="#d9d9d9", linewidth=3, zorder=1)
        for place, c in found.items():
            marker, colour, _ = PLACES[place]
            axis.plot(c.ms, line, marker=marker, markersize=8, color=colour, linestyle="none", zorder=3)
        part = wasm_share(name)(measured)
        if part is not None:
            _beside(axis, line, f"{part:.0f}%", GREEN if part >= 25 else BROWN)
    for marker, colour, label in PLACES.values():
        axis.plot([], [], marker=marker, color=colour, linestyle="none", markersize=8, label=label)
    axis.set_xscale("log")
    _tidy(axis, shown, "ms a call; at the right, the speed of wasm over that of AVX2")
    axis.figure.legend(loc="outside lower right", frameon=False, fontsize=9, ncols=3)
    axis.set_title("Every mechanism", loc="left", fontsize=11, fontweight="bold")


def _tidy(axis: Any, names: list[str], label: str) -> None:
    axis.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(label)
    axis.grid(axis="x", color="#eeeeee", zorder=0)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _beside(axis: Any, line: int, text: str, colour: str) -> None:
    axis.text(RATIO_AT, line, text, transform=axis.get_yaxis_transform(), fontsize=9, color=colour, va="center")


def _short(name: str) -> str:
    """The name of a target without what the panel says, in two lines where it is long."""
    return name.replace(" over ", "\nover ", 1)
