"""A Node for another system, and what it answers: build_scripts/toolchain_emulated.py sets it up."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class ForeignNode:
    words: list[str]
    environment: dict[str, str]

    def __call__(self, *arguments: object, cwd: Path = ROOT / "web", env: Mapping[str, str] | None = None) -> Done:
        # into files: Node for Windows cannot write into a pipe of Linux's
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            done = subprocess.run(
                [*self.words, *map(str, arguments)],
                cwd=cwd,
                env={**os.environ, **self.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=300,
                check=False,
            )
            texts = []
            for file in (stdout, stderr):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Done(done.returncode, *texts)
