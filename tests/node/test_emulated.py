"""The addons for ARM, in a Node for ARM that an emulator runs: golden vectors, on the event loop and off it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

if "RV_EMULATED" not in os.environ:
    pytest.skip("needs $RV_EMULATED: `python3 build_scripts/test.py --only node` sets it", allow_module_level=True)

EMULATED: dict[str, list[str]] = json.loads(os.environ["RV_EMULATED"])
PACKAGES = Path(os.environ["RV_PACKAGES"])
SCRIPT = Path(__file__).resolve().parents[2] / "web" / "test" / "emulated.mjs"


@pytest.mark.parametrize(
    ("cpu", "package", "backends"),
    [("arm64", "linux-arm64-gnu", ["neon", "scalar"]), ("arm", "linux-arm-gnueabihf", ["scalar"])],
)
def test_golden_vectors(cpu: str, package: str, backends: list[str]) -> None:
    binary = (PACKAGES / f"ruvector-attention-{package}" / "ruvector-attention.node").resolve()
    done = subprocess.run([*EMULATED[cpu], str(SCRIPT), str(binary)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[cpu, backend] for backend in backends]
    assert all(int(line[2]) >= 40 for line in lines)
