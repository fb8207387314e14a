#!/usr/bin/env python3
"""Call the library with whatever it may meet, and look for answers that nobody should get.

python3 build_scripts/fuzz.py                                         # a hundred thousand operations
python3 build_scripts/fuzz.py --operations 10000000 --processes 2 --backend avx2
python3 build_scripts/fuzz.py --seed 5 --only 1234                    # one case again, with a traceback
python3 build_scripts/fuzz.py --help                                  # what an operation is, and what must hold
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import toolchain
from fuzzing import options


def main() -> None:
    options.parse(sys.argv[1:])  # a wrong word is told before anything is built
    toolchain.install_native()
    python = toolchain.venv()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent)}
    os.execve(python, [str(python), "-m", "fuzzing", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
