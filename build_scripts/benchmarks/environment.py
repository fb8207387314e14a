"""The peers' own environment in `.cache/bench`, apart from the project's: they must never leak into what the project needs.

venv/    torch, onnxruntime, NumPy, matplotlib: the native peers, and the process that drives the benchmark
node/    onnxruntime-web, tfjs, the two ruvector packages: the JavaScript peers
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".cache" / "bench"

PYTHON_PEERS = (
    "torch==2.13.0",
    "onnxruntime==1.32.0",
    "onnx==1.23.2",
    "numpy==2.4.6",
    "matplotlib==3.11.2",
    "threadpoolctl==3.8.0",
)

NODE_PEERS = {
    "onnxruntime-web": "1.30.0",
    "@tensorflow/tfjs-core": "4.22.0",
    "@tensorflow/tfjs-backend-wasm": "4.22.0",
    "@ruvector/attention": "2.2.2",
    "ruvector-attention-wasm": "0.1.32",
}


def python() -> Path:
    """The bench environment's Python, set up on first use."""
    executable = BENCH / "venv" / "bin" / "python"
    stamp = _stamp("venv", [sys.version, *PYTHON_PEERS])
    if stamp.exists():
        return executable
    print("bench: setting up the Python peers (torch, onnxruntime, ...) in .cache/bench/venv", flush=True)
    shutil.rmtree(BENCH / "venv", ignore_errors=True)
    BENCH.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(BENCH / "venv")])
    _run([str(executable), "-m", "pip", "install", "--quiet", "--progress-bar", "on", *PYTHON_PEERS])
    stamp.touch()
    return executable


def node_project() -> Path:
    """The folder whose node_modules holds the JavaScript peers, set up on first use."""
    folder = BENCH / "node"
    stamp = _stamp("node", [json.dumps(NODE_PEERS, sort_keys=True)])
    if stamp.exists():
        return folder
    print("bench: setting up the JavaScript peers (onnxruntime-web, tfjs, ...) in .cache/bench/node", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = {"private": True, "type": "module", "dependencies": NODE_PEERS}
    (folder / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
    _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    stamp.touch()
    return folder


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without the settings that hobble or multiply a peer's BLAS, plus `extra`."""
    dropped = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "ATEN_CPU_CAPABILITY", "RUVECTOR_ATTENTION_BACKEND")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | extra


def _stamp(name: str, contents: list[str]) -> Path:
    """A file whose existence says that set-up `name` was finished for exactly these contents."""
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]
    return BENCH / f"{name}-{digest}.done"


def _run(command: list[str], cwd: Path | None = None) -> None:
    result = subprocess.run(command, cwd=cwd, check=False)
    if result.returncode != 0:
        raise SystemExit(f"bench: set-up failed with status {result.returncode}: {' '.join(command)}")
