"""What a page fetches of each library, and how long it waits for its first attention: measured by web/start/."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from toolchain_store import run

from .environment import BENCH
from .lanes import HERE

Start = dict[str, Any]
OURS = "ruvector-attention, `wasm`"


def measure(configuration: dict[str, Any], rounds: int) -> dict[str, Any]:
    """{browser, rounds, rows}: a row a library, with the bytes of what it fetched, compressed, and its milliseconds."""
    library = Path(configuration["library"])
    peers = Path(configuration["peers"]) / "node_modules"
    folders = ["--lib", library, "--page", library.with_name("page"), "--peers", peers]
    answer = run(
        [
            "node",
            HERE / "web" / "start" / "measure.mjs",
            *folders,
            "--rounds",
            rounds,
            "--known",
            BENCH / "brotli.json",
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "CHROMIUM": configuration["chromium"]},
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found
