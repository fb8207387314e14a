"""The pictures of `--plot`, drawn from the same records as `--json`.

A dot is an engine and its place is its speed: a bar would begin nowhere on a logarithmic scale. Ours is red; what
stands left of it is slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]

PANELS = {  # runtimes that share a panel, since what runs in them is compared
    "cpython": "CPython",
    "node": "Node",
    "pyodide-node": "Node",
    "chromium": "Chromium",
    "pyodide-chromium": "Chromium",
}
RED, GREY = "#c1272d", "#5f6368"
# engine -> marker, colour, filled; in the order of the legend
MARKS = {
    "ruvector-attention": ("o", RED, True),
    "ruvector-attention-js": ("D", RED, False),
    "ruvector-attention-js-wasm": ("D", RED, True),
    "ruvector-attention-js-resident": ("*", RED, True),
    "ruvector-attention-js-pool": ("p", RED, True),
    "ruvector-attention-js-threads": ("h", RED, True),
    "ruvector-attention-js-native": ("d", RED, True),
    "numpy": ("s", GREY, True),
    "torch": ("^", "#e08214", True),
    "torch@avx2-aten": ("^", "#e08214", False),
    "onnxruntime": ("v", "#2166ac", True),
    "onnxruntime-attention": ("v", "#2166ac", False),
    "onnxruntime-web": ("v", "#2166ac", True),
    "onnxruntime-web-attention": ("v", "#2166ac", False),
    "tfjs-wasm": ("P", "#4d9221", True),
    "@ruvector/attention": ("X", "#762a83", True),
    "ruvector-attention-wasm": ("X", "#762a83", False),
}
LEGEND = {
    "ruvector-attention": "ruvector-attention (Python)",
    "ruvector-attention-js": "… called from JavaScript, runtime pyodide",
    "ruvector-attention-js-wasm": "… called from JavaScript, runtime wasm",
    "ruvector-attention-js-resident": "… the same, keys and values resident",
    "ruvector-attention-js-native": "… called from JavaScript, runtime native",
    "ruvector-attention-js-pool": "… a batch spread over a pool of workers",
    "ruvector-attention-js-threads": "… over threads on shared memory",
    "torch@avx2-aten": "torch, ATen alone held to AVX2",
}
UNKNOWN = ("h", "#000000", True)
RATIO_AT = 1.015  # just right of a panel, in its width


def engines(found: list[Record], file: Path) -> None:
    """GFLOP/s of every engine with one thread: a panel a runtime, a line a workload."""
    shown = [record for record in found if record["ms"] is not None and record["threads"] == 1]
    panels: dict[str, list[Record]] = {}
    for record in shown:
        panels.setdefault(_panel(record), []).append(record)
    workloads = list(dict.fromkeys(record["workload"] for record in shown))
    columns = 2 if len(panels) > 1 else 1
    rows = math.ceil(len(panels) / columns)
    pyplot = pyplot_without_screen()
    figure, axes = pyplot.subplots(
        rows,
        columns,
        squeeze=False,
        sharey=True,
        layout="constrained",
        figsize=(2.2 + 5.2 * columns, 1.3 + rows * (1.0 + 0.3 * len(workloads))),
    )
    for axis, (title, records) in zip(axes.flat, panels.items(), strict=False):
        _draw_panel(axis, title, records, workloads)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    names = [name for name in MARKS if any(_engine(record) == name for record in shown)]
    handles = [_mark(pyplot.Line2D, name) for name in names]
    labels = [LEGEND.get(name, name) for name in names]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns, frameon=False, fontsize=9)
    figure.suptitle("Attention with one thread; beside each line, ours over the fastest peer", fontsize=13)
    save(figure, file)


def _panel(record: Record) -> str:
    isa = record["engine"].partition("@")[2] if "@avx2" in record["engine"] else ""
    place = PANELS.get(record["runtime"], str(record["runtime"]))
    return f"{place}, held to AVX2" if isa else place


def _engine(record: Record) -> str:
    """Without what limits all of it, which the panel says: `torch@avx2` is torch, `torch@avx2-aten` is itself."""
    name: str = record["engine"]
    return name.removesuffix("@avx2")


def _draw_panel(axis: Any, title: str, records: list[Record], workloads: list[str]) -> None:
    for line, workload in enumerate(workloads):
        here = [record for record in records if record["workload"] == workload]
        if not here:
            continue
        speeds = [record["gflops"] for record in here]
        axis.plot([min(speeds), max(speeds)], [line, line], color="#d9d9d9", linewidth=3, zorder=1)
        for record in here:
            marker, colour, filled = MARKS.get(_engine(record), UNKNOWN)
            own = colour == RED
            axis.plot(
                record["gflops"],
                line,
                marker=marker,
                markersize=7 if not own else 9 if marker == "D" else 11,
                markerfacecolor=colour if filled else "white",
                markeredgecolor="white" if filled else colour,
                linestyle="none",
                zorder=2 if own else 3,  # the smaller ones in front, so that none hides another
            )
        _write_ratio(axis, line, [r["ours_is"] for r in here if r["ours_is"] is not None])
    peaks = [record["gflops"] / record["peak_share"] for record in records if record["peak_share"]]
    for peak in {round(peak): peak for peak in peaks}.values():
        axis.axvline(peak, color=GREY, linewidth=1, linestyle=":", zorder=0)
        axis.annotate("peak", (peak, 1), (-3, -3), ("data", "axes fraction"), "offset points", **_SMALL_RIGHT)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axis.set_yticks(range(len(workloads)), workloads)
    axis.set_ylim(len(workloads) - 0.5, -0.5)
    axis.set_xlabel("GFLOP/s")
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.grid(axis="x", color="#eeeeee", zorder=0)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


_SMALL_RIGHT: dict[str, Any] = {"fontsize": 7, "color": GREY, "ha": "right", "va": "top", "rotation": 90}


def _write_ratio(axis: Any, line: int, factors: Iterable[float]) -> None:
    """How many times as fast as the fastest peer ours is."""
    least = min(factors, default=None)
    if least is not None:
        colour = "#1b7837" if least >= 1 else "#b35806"
        place = axis.get_yaxis_transform()
        axis.text(
            RATIO_AT,
            line,
            f"{least:.2f}×" if least < 10 else f"{least:.0f}×",
            transform=place,
            fontsize=9,
            color=colour,
            va="center",
        )


def _mark(line: Any, name: str) -> Any:
    marker, colour, filled = MARKS[name]
    face = colour if filled else "white"
    return line([], [], linestyle="none", marker=marker, markersize=8, color=colour, markerfacecolor=face)


def growth(found: list[Record], file: Path) -> None:
    """Milliseconds against n, both logarithmic: slope 2 for all pairs, slope 1 for a window."""
    shown = [record for record in found if record["ms"] is not None and "n" in record]
    pyplot = pyplot_without_screen()
    figure, axis = pyplot.subplots(figsize=(7.5, 5), layout="constrained")
    colours = dict(
        zip(dict.fromkeys(r["runtime"] for r in shown), (RED, "#2166ac", "#4d9221", "#762a83"), strict=False)
    )
    for runtime, colour in colours.items():
        for window in sorted({r["window"] or 0 for r in shown if r["runtime"] == runtime}):
            points = sorted(
                (r["n"], r["ms"]) for r in shown if r["runtime"] == runtime and (r["window"] or 0) == window
            )
            sizes, times = zip(*points, strict=True)
            style = "--" if window else "-"
            last = f"{times[-1]:,.0f} ms" if times[-1] >= 100 else f"{times[-1]:.3g} ms"
            label = f"{runtime}, {f'window {window}' if window else 'all pairs'}: {last} at {sizes[-1]:,}"
            axis.plot(sizes, times, style, color=colour, marker="o", markersize=5, label=label)
            power = 1 if window else 2
            theory = [times[-1] * (n / sizes[-1]) ** power for n in sizes]
            axis.plot(sizes, theory, ":", color="#bbbbbb", linewidth=1.2, zorder=0)
    every = sorted({record["n"] for record in shown})
    axis.set(
        xscale="log", yscale="log", xlabel="n (queries and keys)", ylabel="ms", xlim=(every[0] / 1.3, every[-1] * 1.3)
    )
    axis.set_xticks(every, [f"{n:,}" for n in every])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axis.plot([], [], ":", color="#bbbbbb", label="n², and n, from the last point back")
    axis.legend(frameon=False, fontsize=8)
    axis.grid(color="#eeeeee")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.set_title("Self-attention, one head of 64 channels, one thread", loc="left", fontsize=11, fontweight="bold")
    save(figure, file)


def pyplot_without_screen() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    pyplot_without_screen().close(figure)
