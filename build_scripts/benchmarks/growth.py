"""How the cost of self-attention grows with n: by the pair where all are seen, by the query where a window is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from .lanes import Lane
from .rounds import ratio
from .runner import Contestant

ENGINE = "ruvector-attention"


@dataclass(frozen=True)
class Step:
    """One size in one lane. Of two neighbours in a series, the time grows by `expected` where theory is met."""

    contestant: Contestant
    ms: float
    unit_ns: float
    """Nanoseconds per pair of query and key (n²), or for a window per query (n)."""
    grown: float | None = None
    """Its time over that of the size before: the median over rounds, in each of which one follows the other."""
    expected: float | None = None


def own(lanes: list[Lane]) -> list[Lane]:
    """The lanes of our Python package with one thread and its best instruction set, without the peers."""
    chosen = [lane for lane in lanes if ENGINE in lane.engines and lane.limits == (1, "")]
    return [replace(lane, engines=(ENGINE,)) for lane in chosen]


def series(contestants: list[Contestant]) -> Iterator[list[Step]]:
    """For every runtime and kind of workload its sizes, smallest first."""

    def key(contestant: Contestant) -> tuple[str, str, str]:
        return contestant.lane.runtime, contestant.label, contestant.workload.kind

    timed = [contestant for contestant in contestants if contestant.samples and not contestant.reason]
    for _, group in groupby(sorted(timed, key=key), key):
        steps: list[Step] = []
        for contestant in sorted(group, key=lambda c: c.workload.n_query):
            n, ms = contestant.workload.n_query, contestant.ms
            assert ms is not None
            power = 1 if contestant.workload.window else 2
            step = Step(contestant, ms, 1e6 * ms / n**power)
            if steps:
                last = steps[-1]
                expected = (n / last.contestant.workload.n_query) ** power
                step = replace(step, grown=ratio(last.contestant.samples, contestant.samples), expected=expected)
            steps.append(step)
        yield steps


def table(contestants: list[Contestant]) -> str:
    """A block a series; who was not timed comes last, with the reason."""
    lines = []
    for steps in series(contestants):
        first = steps[0].contestant
        seen = f"window {first.workload.window}" if first.workload.window else "all pairs"
        unit = "ns per n" if first.workload.window else "ns per n²"
        lines.append(f"\n{first.lane.runtime} {first.label}, {seen}, one head of {first.workload.dim}, one thread")
        lines.append(f"{'n':>7} {'ms':>11} {unit:>11}  {'over the size before':22}  rel.error")
        for step in steps:
            grown = "·" if step.grown is None else f"{step.grown:6.2f}× (theory {step.expected:g}×)"
            n, error = step.contestant.workload.n_query, step.contestant.error
            lines.append(f"{n:7} {step.ms:11.4g} {step.unit_ns:11.4g}  {grown:22}  {error:9.1e}")
    untimed = [c for c in contestants if c.reason or not c.samples]
    lines += [f"{c.lane.runtime} {c.label}, {c.workload.name}: {c.reason or 'no time'}" for c in untimed]
    return "\n".join(lines)


def figures(contestants: list[Contestant]) -> dict[tuple[str, str], dict[str, float | int | None]]:
    """(runtime, workload) -> what `--json` has beside the measurement."""
    return {
        (step.contestant.lane.runtime, step.contestant.workload.name): {
            "n": step.contestant.workload.n_query,
            "window": step.contestant.workload.window or None,
            "ns_per_unit": step.unit_ns,
            "ratio": step.grown,
            "expected_ratio": step.expected,
        }
        for steps in series(contestants)
        for step in steps
    }
