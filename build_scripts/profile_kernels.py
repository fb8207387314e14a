#!/usr/bin/env python3
"""Where the time of the attention kernel goes, by instruction set, and how much of the measured peak each part reaches.

    python3 build_scripts/profile_kernels.py                      # natively, in Node and in Chromium
    python3 build_scripts/profile_kernels.py --runtime node       # one of native, node, chromium

Parts are differences of whole calls, each timed in rounds that alternate: without channels of values there is no
second product, without channels at all only maxima, weights and what is beside them. `peak` is what the `peak` kernel
reaches in the same rounds, without memory. What docs/performance.md says comes from this table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RUNTIMES = ("native", "node", "chromium")
ROUNDS, PIECE = 15, 8e-3  # rounds, and seconds of one call's piece of a round
PEAK_ROUNDS = 100_000
EVERYWHERE = 2**31 - 1

# What is timed: queries, keys, channels of keys and of values; or rows, depth and columns of a product.
SHAPES = {"self 1024 x 1024 x 64": (1024, 1024, 64), "32 x 1000 x 128": (32, 1000, 128)}
PRODUCT = (1024, 512, 512)
Case = tuple[str, ...] | tuple[str, int, int, int] | tuple[str, int, int, int, int]
CASES: dict[str, tuple[Any, ...]] = {"product": ("gemm", *PRODUCT)}
for _name, (_queries, _keys, _dim) in SHAPES.items():
    CASES[_name] = ("attention", _queries, _keys, _dim, _dim)
    CASES[f"{_name}, no values"] = ("attention", _queries, _keys, _dim, 0)
    CASES[f"{_name}, no channels"] = ("attention", _queries, _keys, 0, 0)

Timing = dict[str, Any]  # target, name, ms, and operations of `peak`


def report(runtime: str, timings: Sequence[Timing]) -> str:
    """A line for every instruction set and shape."""
    lines = []
    for target in dict.fromkeys(timing["target"] for timing in timings):
        own = {timing["name"]: timing for timing in timings if timing["target"] == target}
        peak = own["peak"]["operations"] / own["peak"]["ms"] / 1e6

        def of_peak(operations: float, ms: float, peak: float = peak) -> str:
            return f"{100 * operations / (ms * 1e6) / peak:3.0f} %"

        rows, depth, columns = PRODUCT
        whole = own["product"]["ms"]
        lines.append(f"{runtime} {target}: peak {peak:.1f} GFLOP/s")
        lines.append(
            f"  gemm {rows} x {depth} x {columns}: {whole:.2f} ms, {of_peak(2 * rows * depth * columns, whole)}"
        )
        for shape, (queries, keys, dim) in SHAPES.items():
            whole, scores, rest = (own[shape + part]["ms"] for part in ("", ", no values", ", no channels"))
            one = 2 * queries * keys * dim
            lines.append(
                f"  {shape}: {whole:.3f} ms, {of_peak(2 * one, whole)} of peak"
                f"; scores {100 * (scores - rest) / whole:.0f} % of the time at {of_peak(one, scores - rest)}"
                f", values {100 * (whole - scores) / whole:.0f} % at {of_peak(one, whole - scores)}"
                f", softmax {100 * rest / whole:.0f} %"
            )
    return "\n".join(lines)


def rounds(calls: dict[tuple[str, str], Callable[[], object]]) -> dict[tuple[str, str], float]:
    """Median milliseconds of each call."""
    samples: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < PIECE:
                calls[name]()
                count += 1
            samples[name].append(1e3 * (time.perf_counter() - start) / count)
    return {name: statistics.median(found) for name, found in samples.items()}


def measure_native() -> list[Timing]:
    """The same calls from Python, in the project's environment."""
    import numpy as np

    from ruvector_attention import kernels

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    def attention(n_query: int, n_key: int, dim: int, dim_value: int) -> Callable[[], object]:
        arrays = [normal(n_query, dim), normal(n_key, dim), None, None, None, normal(n_key, dim_value)]
        run, out = kernels.active.attention, np.empty((n_query, dim_value), np.float32)
        ints = [1, 1, 1, n_query, n_key, dim, 0, 0, dim, 0, 0, dim, *[0] * 8, EVERYWHERE, EVERYWHERE, 0, 0]
        ints += [-(-n_query // 192), dim_value, 0, 0, dim_value, 0, 0, dim_value]
        return lambda: run(*arrays, out, None, *ints, 0.125)

    def gemm(m: int, k: int, n: int) -> Callable[[], object]:
        run, a, b, out = kernels.active.gemm, normal(m, k), normal(k, n), np.empty((m, n), np.float32)
        return lambda: run(a, b, None, out, m, n, k, k, 1, n, 1, 0, m)

    def peak() -> Callable[[], object]:
        run, out = kernels.active.peak, np.ones(2, np.float32)
        return lambda: run(out, PEAK_ROUNDS)

    calls: dict[tuple[str, str], Callable[[], object]] = {}
    operations = {}
    for target in kernels.backends():
        if target in ("numpy", "scalar"):
            continue
        kernels.use_backend(target)
        out = np.ones(2, np.float32)
        kernels.active.peak(out, 1)
        operations[target] = 2 * PEAK_ROUNDS * float(out[1])
        calls[target, "peak"] = peak()
        for name, (kind, *sizes) in CASES.items():
            calls[target, name] = gemm(*sizes) if kind == "gemm" else attention(*sizes)
    found = []
    for target in operations:  # a backend is chosen for the whole process: one after the other
        kernels.use_backend(target)
        for (_, name), ms in rounds({key: call for key, call in calls.items() if key[0] == target}).items():
            found.append({"target": target, "name": name, "ms": ms, "operations": operations[target]})
    return found


def measure_web(modules: list[Path], chromium: Path | None) -> list[Timing]:
    """In Node, whose relaxed SIMD may need a flag, or in Chromium."""
    given = {"modules": [str(module) for module in modules], "cases": CASES, "chromium": str(chromium or "")}
    script = Path(__file__).resolve().parent / "profiling" / "run.mjs"
    flags = [] if chromium else relaxed_flags()
    done = subprocess.run(
        ["node", *flags, str(script), json.dumps(given)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: list[Timing] = json.loads(done.stdout)
    return found


def relaxed_flags() -> list[str]:
    """Node has relaxed SIMD from 22 on, and earlier as an experiment."""
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return ["--experimental-wasm-relaxed-simd"] if int(version[1:].split(".")[0]) < 22 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in the project's environment already
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure_native()))
        return
    import build
    import toolchain

    modules: list[Path] = []
    if {"node", "chromium"} & set(given.runtime):
        folder = build.build_kernels()
        modules = [folder / f"wasm-{name}.wasm" for name in ("simd128", "relaxed-simd")]
    for runtime in given.runtime:
        if runtime == "native":
            build.build_native()
            command = [str(toolchain.venv()), __file__, "--here"]
            environment = {**os.environ, "RUVECTOR_ATTENTION_THREADS": "1"}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            timings = json.loads(done.stdout)
        else:
            timings = measure_web(modules, toolchain.chromium() if runtime == "chromium" else None)
        print(report(runtime, timings), flush=True)


if __name__ == "__main__":
    main()
