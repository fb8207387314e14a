#!/usr/bin/env python3
"""Build the addons of Node's and their npm packages.

python3 build_scripts/build_node.py            # dist/npm/*.tgz: the package, and one for each platform with its addon
python3 build_scripts/build_node.py --host     # only this machine's platform beside the package
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import build
from toolchain import ROOT, run, venv
from toolchain_node import ADDON, Platform, cross_addons, host_platform, platforms
from toolchain_store import locked, say

PACKAGES = ROOT / "dist" / "npm"
WEB = ROOT / "web"


def build_packages(wanted: list[Platform], target: Path = PACKAGES) -> list[Path]:
    """The tarballs of the package itself and of these platforms, and nothing else, in that folder."""
    addons = cross_addons(venv(), wanted)
    web = build.build_web()
    with locked("npm-packages"):
        say("packing the npm packages")
        shutil.rmtree(target, ignore_errors=True)
        platform_packages = (_platform_package(target, platform, addons[platform]) for platform in wanted)
        folders = [_main_package(target, web), *platform_packages]
        run(["npm", "pack", "--silent", *(f"./{folder.name}" for folder in folders)], quiet=True, cwd=target)
    return sorted(target.glob("*.tgz"))


def manifest() -> dict[str, object]:
    return dict(json.loads((WEB / "package.json").read_text()))


def _main_package(target: Path, web: Path) -> Path:
    """As web/package.json has it, and the packages of all platforms, of which npm installs the one that fits. They are
    not listed there, because npm would look for them in the registry before they are in it."""
    folder = target / "package"
    package = manifest()
    for name in ("devDependencies", "scripts"):
        package.pop(name, None)
    package["optionalDependencies"] = {platform.package: package["version"] for platform in platforms()}
    shutil.copytree(web / "lib", folder / "dist" / "lib")
    shutil.copy(WEB / "README.md", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    _write(folder / "package.json", package)
    return folder


def _platform_package(target: Path, platform: Platform, addon: Path) -> Path:
    folder = target / platform.package
    folder.mkdir(parents=True)
    shutil.copy(addon, folder / ADDON)
    shutil.copy(ROOT / "LICENSE", folder)
    about = f"The addon of ruvector-attention for {platform.name}."
    (folder / "README.md").write_text(f"# {platform.package}\n\n{about} npm installs it with ruvector-attention.\n")
    main = manifest()
    described = {
        "name": platform.package,
        "version": main["version"],
        "description": about,
        "license": main["license"],
        "main": ADDON,
        "files": [ADDON],
        "engines": main["engines"],
        "os": [platform.os],
        "cpu": [platform.cpu],
        **({"libc": [platform.libc]} if platform.libc else {}),
    }
    _write(folder / "package.json", described)
    return folder


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", action="store_true", help="only the platform of this machine")
    wanted = [host_platform()] if parser.parse_args().host else platforms()
    print("\n".join(map(str, build_packages(wanted))))


if __name__ == "__main__":
    main()
