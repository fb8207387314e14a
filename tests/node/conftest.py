"""What `build_scripts/test.py --only node` sets up: $RV_PACKAGES, and in $RV_FOREIGN what runs other systems' Node."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign import ForeignNode


@pytest.fixture(scope="session")
def foreign() -> Callable[[str], ForeignNode]:
    """The Node of a platform, by its name; the test is skipped, and says why, where it cannot be had."""
    nodes = json.loads(os.environ.get("RV_FOREIGN", "{}"))

    def named(name: str) -> ForeignNode:
        if name not in nodes:
            pytest.skip("needs $RV_FOREIGN: `python3 build_scripts/test.py --only node` sets it")
        if reason := nodes[name].get("missing"):
            pytest.skip(f"{name}: {reason}")
        return ForeignNode(**nodes[name])

    return named


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of the npm packages."""
    if "RV_PACKAGES" not in os.environ:
        pytest.skip("needs $RV_PACKAGES: `python3 build_scripts/test.py --only node` sets it")
    return Path(os.environ["RV_PACKAGES"]).resolve()
