#!/usr/bin/env python3
"""Measure the library against its peers: every workload × runtime × engine, in interleaved rounds.

    python3 build_scripts/bench.py --quick                   # the main workloads, under two minutes
    python3 build_scripts/bench.py --json out.json --plot out.png
    python3 build_scripts/bench.py --only self-8x1024x64 --runtime cpython
    python3 build_scripts/bench.py --suite reach             # the target figures: figure, target, met or not
    python3 build_scripts/bench.py --suite growth            # our own cost against n: n² for all pairs, n for a window
    python3 build_scripts/bench.py --suite mechanisms        # every mechanism: peers, errors, native and WebAssembly
    python3 build_scripts/bench.py --suite javascript        # the npm package: sizes, starts, calls, beside peers
    python3 build_scripts/bench.py --suite javascript --write      # and put the table into docs/javascript/sizes.md

The peers (torch, onnxruntime, tfjs, ...) live in an environment of their own in `.cache/bench`, set up on first use.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import options, setup


def main() -> None:
    chosen = options.parse(sys.argv[1:])
    python, configuration = setup.prepare(chosen.runtimes, mechanisms=chosen.suite == "mechanisms")
    variables = {
        "BENCH_CONFIGURATION": str(setup.write(configuration)),
        "PYTHONPATH": str(Path(__file__).resolve().parent),
    }
    os.execve(python, [str(python), "-m", "benchmarks", *sys.argv[1:]], {**os.environ, **variables})


if __name__ == "__main__":
    main()
