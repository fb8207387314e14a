"""The peers' own environment in `.cache/bench`: nothing of theirs may leak into what the project needs.

venv/    torch, onnxruntime, NumPy, matplotlib: the native peers, and the process that drives the benchmark;
         geoopt, torch_geometric, performer-pytorch once the suite of mechanisms has been asked for
node/    onnxruntime-web, tfjs, the two ruvector packages: the JavaScript peers
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from toolchain_store import CACHE, is_current, locked, mark_current, run, say

BENCH = CACHE / "bench"

PYTHON_PEERS = (
    "torch==2.13.0",
    "onnxruntime==1.32.0",
    "onnx==1.23.2",
    "numpy==2.4.6",
    "matplotlib==3.11.2",
    "threadpoolctl==3.8.0",
)

# Beside the ones above, whose versions pip is held to: these would do with another torch.
MECHANISM_PEERS = ("geoopt==0.5.1", "torch_geometric==2.8.1", "performer-pytorch==1.1.4")

NODE_PEERS = {
    "onnxruntime-web": "1.30.0",
    "@tensorflow/tfjs-core": "4.22.0",
    "@tensorflow/tfjs-backend-wasm": "4.22.0",
    "@ruvector/attention": "2.2.2",
    "ruvector-attention-wasm": "0.1.32",
}


def python() -> Path:
    """The bench environment's Python, set up on first use."""
    folder = BENCH / "venv"
    executable = folder / "bin" / "python"
    key = "\n".join([sys.version, str(folder), *PYTHON_PEERS])
    with locked("bench-venv"):
        if not is_current(folder, key):
            say("setting up the Python peers (torch, onnxruntime, ...) in .cache/bench/venv")
            shutil.rmtree(folder, ignore_errors=True)
            run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", folder], quiet=True)
            run([executable, "-m", "pip", "install", "-q", *PYTHON_PEERS], quiet=True)
            mark_current(folder, key)
    return executable


def mechanism_peers() -> None:
    """The peers of single mechanisms, added to that environment on first use."""
    executable = python()
    mark = executable.parents[1] / "mechanisms"
    key = "\n".join([*PYTHON_PEERS, *MECHANISM_PEERS])
    with locked("bench-venv"):
        if not is_current(mark, key):
            say("adding the peers of single mechanisms (geoopt, torch_geometric, performer-pytorch)")
            run([executable, "-m", "pip", "install", "-q", *PYTHON_PEERS, *MECHANISM_PEERS], quiet=True)
            mark.mkdir(exist_ok=True)
            mark_current(mark, key)


def node_project() -> Path:
    """The folder whose node_modules holds the JavaScript peers, set up on first use."""
    folder = BENCH / "node"
    manifest = json.dumps({"private": True, "type": "module", "dependencies": NODE_PEERS}, indent=2)
    with locked("bench-node"):
        if not is_current(folder, manifest):
            say("setting up the JavaScript peers (onnxruntime-web, tfjs, ...) in .cache/bench/node")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "package.json").write_text(manifest + "\n")
            run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], quiet=True, cwd=folder)
            mark_current(folder, manifest)
    return folder


def load_note() -> str:
    """A sentence where other programs keep this machine busy, for then a slow figure says little; else empty."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load <= 0.5 * processors:
        return ""
    return f"the machine is busy (load {load:.1f} on {processors} processors): figures will be worse than they are"


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without the settings that hobble or multiply a peer's BLAS, plus `extra`."""
    dropped = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "ATEN_CPU_CAPABILITY", "RUVECTOR_ATTENTION_BACKEND")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | extra
