"""`--suite mechanisms`: the cases of cases.py in interleaved rounds, and every mechanism's errors on every backend.

What is timed was checked: the cases with a target against float64 formulas, those derived from the registry against the
library's float64 bodies, which the golden vectors of the same run hold to independent libraries.
"""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from toolchain_store import ROOT

from . import inputs, mechanism_report, mechanism_targets, plot_mechanisms, report, targets
from .cases import GLOBAL_TOKENS, LONG, NATIVE, OURS, REACH, REFERENCE, WASM, WINDOW, MechanismCase, representative
from .environment import BENCH, load_note
from .lanes import Lane
from .options import Options
from .runner import Contestant, Expected, Open, Runner, say

PEERS = ("geoopt", "geoopt-products", "torch_geometric", "performer-pytorch")
VECTORS = ROOT / "tests" / "vectors"
Record = dict[str, Any]


class Suite:
    """One run. `runner` measures; what is asked of a lane alone is asked here."""

    def __init__(self, chosen: Options, configuration: dict[str, Any], start: Open) -> None:
        if not configuration.get("project_python"):
            raise SystemExit(f"bench: {configuration['missing'].get('the native package', 'no native package')}")
        self.chosen, project = chosen, Path(configuration["project_python"])
        self.native = Lane(NATIVE[0], (OURS,), python=project)
        self._project = project
        found = [self.native, self.held_to("avx2"), Lane("cpython", PEERS, python=Path(configuration["peers_python"]))]
        self.wasm = None
        if "pyodide-node" in chosen.runtimes and configuration.get("pyodide") and configuration.get("wheel"):
            self.wasm = Lane(WASM[0], (OURS,), isa=WASM[1])
            found.append(self.wasm)
        self.runner = Runner(found, start, chosen.pace, BENCH, self._reference)
        self._bodies: dict[str, Expected] = {}

    def held_to(self, backend: str) -> Lane:
        """Ours with that backend."""
        return Lane(NATIVE[0], (OURS,), isa=backend, python=self._project)

    def _reference(self, contestant: Contestant) -> Expected:
        case = contestant.workload
        assert isinstance(case, MechanismCase)
        if case.reference:
            return inputs.case_reference(case, contestant.engine, BENCH / "references")
        if case.name not in self._bodies:
            answered = self.runner.answer(case, self.held_to(REFERENCE[1]), OURS)
            if isinstance(answered, str):
                say(f"no reference for {case.name}: {answered}")
                answered = np.array([math.nan])
            self._bodies[case.name] = answered
        return self._bodies[case.name]

    def described(self) -> tuple[list[dict[str, Any]], list[str]]:
        """The mechanisms as the library describes them, and the backends of this machine."""
        reply = self.runner.request(self.native, "describe")
        if "error" in reply:
            raise SystemExit(f"bench: the library does not answer: {reply['error']}")
        return reply["mechanisms"], reply["backends"]

    def groups(self, described: list[dict[str, Any]]) -> list[tuple[MechanismCase, ...]]:
        """The cases that were asked for, those of one line together."""
        derived = [(representative(entry),) for entry in described]
        wanted = [
            tuple(case for case in group if case.quick or not self.chosen.quick)
            for group in (*REACH, *derived)
            if not self.chosen.only or any(part in case.name for case in group for part in self.chosen.only)
        ]
        return [group for group in wanted if group]

    def errors(self, described: list[dict[str, Any]], backends: list[str]) -> list[Record]:
        """A record for every mechanism and backend: the largest error on its golden vectors, once of its gradients."""
        lanes = {backend: self.held_to(backend) for backend in backends}
        lanes |= {self.wasm.isa: self.wasm} if self.wasm else {}
        found = []
        for backend, lane in lanes.items():
            for entry in described:
                name, file = entry["name"], VECTORS / f"{entry['name']}.json"
                if not file.exists():  # one that is being written
                    say(f"{name} has no golden vectors")
                    continue
                vectors = json.loads(file.read_text())["cases"]
                reply = self.runner.request(lane, "golden", cases=vectors)
                if "golden" not in reply:
                    say(f"{name} on {backend}: {reply.get('error', reply)}")
                record = {"mechanism": name, "runtime": lane.runtime, "engine": lane.label(OURS), "backend": backend}
                record["golden_error"] = _finite(reply.get("golden"))
                record["gradient_error"] = _finite(reply.get("autograd"))
                if backend == backends[0]:
                    differences = self.runner.request(lane, "gradients", cases=vectors)
                    record["difference_error"] = _finite(differences.get("difference"))
                found.append(record)
            say(f"golden vectors on {backend}")
        return found

    def tile_pairs(self) -> int | None:
        """Pairs of queries and keys in the tiles of the local-global case that are not empty."""
        asked = {"window": WINDOW, "global_tokens": GLOBAL_TOKENS, "n": LONG}
        pairs: int | None = self.runner.request(self.native, "tile_pairs", **asked).get("pairs")
        return pairs


def main(chosen: Options, configuration: dict[str, Any], start: Open) -> None:
    suite = Suite(chosen, configuration, start)
    everyone: list[Contestant] = []
    try:
        described, backends = suite.described()
        for group in suite.groups(described):
            contestants = suite.runner.run(*group)
            everyone += contestants
            if any(case.reference for case in group):
                print(mechanism_report.table(contestants), flush=True)
        errors = [] if chosen.only else suite.errors(described, backends)
        pairs = suite.tile_pairs()
    finally:
        suite.runner.close()
    names = [entry["name"] for entry in described]
    print(mechanism_report.mechanisms(names, everyone, errors))
    measured = targets.Measured(everyone, {})
    print(targets.table(mechanism_targets.all_of(names, pairs), measured))
    for name, why in configuration["missing"].items():
        print(f"without {name}: {why}")
    found = [{"about": about(backends[0])}, *records(everyone, backends[0]), *errors]
    if chosen.json:
        report.write_json(found, chosen.json)
        say(f"{len(found)} measurements in {chosen.json}")
    if chosen.plot:
        plot_mechanisms.draw(everyone, names, chosen.plot)
        say(f"plot in {chosen.plot}")


def about(best: str) -> str:
    """The class of this machine, and whether others used it, in a phrase."""
    busy = load_note()
    python = ".".join(platform.python_version_tuple()[:2])
    system = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors"
    known = f"{system}, best backend `{best}`, Python {python}"
    return f"{known}; {busy}" if busy else known


def records(contestants: list[Contestant], best: str) -> list[Record]:
    """The measurements for `--json`, as those of the other suites, with the mechanism and the backend."""
    mechanisms = {contestant.workload.name: contestant.workload for contestant in contestants}
    found = []
    for record in report.records(contestants, {}):
        case = mechanisms[record["workload"]]
        assert isinstance(case, MechanismCase)
        _, _, limit = record["engine"].partition("@")
        ours = {"backend": limit or best} if record["engine"].startswith(OURS) else {}
        found.append(record | {"mechanism": case.mechanism} | ours)
        if (record["runtime"], limit) == WASM:
            found[-1]["share_of_avx2"] = mechanism_targets.wasm_share(case.mechanism)(targets.Measured(contestants, {}))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
