"""One Pyodide for all tests here, with the wheel installed as a user would: micropip, from a URL on loopback."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_pyodide.runner import _BrowserBaseRunner
from pytest_pyodide.server import spawn_web_server

PATIENCE = 300  # seconds for one program: to load Pyodide and NumPy takes more than their 20 on a busy machine
_BrowserBaseRunner.script_timeout = PATIENCE


class Pyodide:
    """Runs programs in the interpreter and answers with their last expression, which must be plain data."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def run(self, program: str) -> Any:
        return self._runner.run_async(textwrap.dedent(program))


@pytest.fixture(scope="module")
def playwright_browsers(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """pytest-pyodide's own starts the browser that Playwright downloads; here it is the one of $CHROMIUM."""
    if request.config.option.runner.lower() != "playwright":
        yield {}
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(
            executable_path=os.environ["CHROMIUM"], args=flags, timeout=1000 * PATIENCE
        )
        with contextlib.closing(browser):
            yield {"chrome": browser}


@pytest.fixture(scope="module")
def pyodide(selenium_module_scope: Any) -> Iterator[Pyodide]:
    wheel = Path(os.environ["RUVECTOR_TEST_WHEEL"])
    with spawn_web_server(wheel.parent) as (host, port, _):
        selenium_module_scope.load_package(["numpy", "micropip"])
        interpreter = Pyodide(selenium_module_scope)
        interpreter.run(
            f"""
            import micropip
            await micropip.install("http://{host}:{port}/{wheel.name}")
            import ruvector_attention
            None
            """
        )
        yield interpreter
