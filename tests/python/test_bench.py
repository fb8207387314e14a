"""The benchmark's arithmetic: order, medians, ratios, counts and shares. No clock is read here."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import build  # noqa: E402
from benchmarks import environment, growth, inputs, options, plot, report, rounds, runner, targets  # noqa: E402
from benchmarks.__main__ import JAVASCRIPT, NATIVE_PEERS  # noqa: E402
from benchmarks.cases import MechanismCase  # noqa: E402
from benchmarks.lanes import Lane  # noqa: E402
from benchmarks.runner import Contestant  # noqa: E402
from benchmarks.workloads import GROWTH, WORKLOADS, Workload, from_description, select, shorter  # noqa: E402

SMALL = Workload("small", n_query=6, n_key=6, dim=4, heads=2)
KINDS = [
    SMALL,
    Workload("one-query", n_query=1, n_key=9, dim=4),
    Workload("causal", n_query=5, n_key=5, dim=4, causal=True),
    Workload("window", n_query=12, n_key=12, dim=4, kind="window", window=4),
    Workload("layer", n_query=5, n_key=5, dim=4, heads=2, kind="layer"),
    Workload("backward", n_query=5, n_key=5, dim=4, heads=2, kind="backward"),
]


def contestant(
    engine: str, samples: list[float], runtime: str = "cpython", threads: int = 1, isa: str = ""
) -> Contestant:
    made = Contestant(SMALL, Lane(runtime, (engine,), threads, isa), engine)
    made.samples, made.error = samples, 1e-7
    return made


def test_every_round_runs_every_engine_once() -> None:
    for index in range(7):
        assert sorted(rounds.order("abcd", index)) == list("abcd")


def test_every_engine_is_first_and_last_once_in_as_many_rounds_as_engines() -> None:
    orders = [rounds.order("abcd", index) for index in range(4)]
    assert sorted(order[0] for order in orders) == list("abcd")
    assert sorted(order[-1] for order in orders) == list("abcd")


def test_order_of_no_engines_is_empty() -> None:
    assert rounds.order([], 3) == []


def test_ratio_is_the_median_of_ratios_within_rounds() -> None:
    # The machine slows down threefold in the second round: the medians would say 3, each round says 2.
    assert rounds.ratio(ours=[1.0, 3.0, 1.0], theirs=[2.0, 6.0, 2.0]) == 2.0


def test_ratio_uses_the_rounds_that_both_ran() -> None:
    assert rounds.ratio(ours=[1.0, 100.0, 100.0], theirs=[5.0]) == 5.0
    assert rounds.ratio(ours=[], theirs=[5.0]) is None


def test_repeats_fill_the_budget_and_stay_within_bounds() -> None:
    assert rounds.repeats(first_seconds=0.01, budget_seconds=0.1) == 10
    assert rounds.repeats(first_seconds=5.0, budget_seconds=0.1) == 1
    assert rounds.repeats(first_seconds=0.0, budget_seconds=0.1) == 10_000


def test_share_of_an_unknown_peak_is_unknown() -> None:
    assert rounds.share(50.0, 200.0) == 0.25
    assert rounds.share(50.0, None) is None


@pytest.mark.parametrize("workload", KINDS, ids=lambda workload: workload.name)
def test_pairs_are_those_a_dense_mask_would_count(workload: Workload) -> None:
    query, key = np.arange(workload.n_query)[:, None], np.arange(workload.n_key)
    seen = np.ones((workload.n_query, workload.n_key), dtype=bool)
    if workload.causal:
        seen &= key <= query
    if workload.window:
        seen &= np.abs(query - key) <= workload.window // 2
    assert workload.pairs == seen.sum()


def test_flops_of_dense_attention_are_two_products() -> None:
    assert SMALL.flops == 2 * (2 * 2 * 6 * 6 * 4)


def test_flops_of_a_layer_add_four_projections() -> None:
    layer = Workload("layer", n_query=6, n_key=6, dim=4, heads=2, kind="layer")
    assert layer.flops == SMALL.flops + 4 * 2 * 6 * 8 * 8


def test_flops_of_backward_are_seven_products() -> None:
    backward = Workload("backward", n_query=6, n_key=6, dim=4, heads=2, kind="backward")
    assert backward.flops * 2 == SMALL.flops * 7


def test_workloads_survive_the_trip_to_a_worker() -> None:
    for workload in (*WORKLOADS, *GROWTH):
        assert from_description(json.loads(json.dumps(workload.describe()))) == workload


def test_names_of_workloads_are_unique_and_selection_finds_them() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    assert [workload.name for workload in select(["causal"], quick=False)] == ["causal-8x1024x64"]
    assert all(workload.quick for workload in select([], quick=True))
    with pytest.raises(SystemExit, match="no workload matches 'nothing'"):
        select(["nothing"], quick=False)


def naive(workload: Workload, wide: dict[str, np.ndarray]) -> np.ndarray:
    """Row by row from the definition, with nothing of the benchmark's own code."""
    q, k, v = (wide[name].reshape(workload.heads, -1, workload.dim) for name in ("q", "k", "v"))
    out = np.zeros_like(q)
    for head, i in itertools.product(range(workload.heads), range(workload.n_query)):
        seen = [
            j
            for j in range(workload.n_key)
            if not (workload.causal and j > i) and not (workload.window and abs(i - j) > workload.window // 2)
        ]
        weights = np.array([math.exp(float(q[head, i] @ k[head, j]) / math.sqrt(workload.dim)) for j in seen])
        out[head, i] = (weights / weights.sum()) @ v[head, seen]
    return out


@pytest.mark.parametrize("workload", KINDS[:4], ids=lambda workload: workload.name)
def test_reference_is_the_definition(workload: Workload, tmp_path: Path) -> None:
    wide = {name: array.astype(np.float64) for name, array in inputs.arrays(workload).items()}
    expected = naive(workload, wide).reshape(-1)
    np.testing.assert_allclose(inputs.reference(workload, tmp_path), expected, rtol=1e-12, atol=1e-14)


def test_reference_of_a_layer_is_projection_attention_projection(tmp_path: Path) -> None:
    workload = KINDS[4]
    wide = {name: array.astype(np.float64) for name, array in inputs.arrays(workload).items()}
    heads = {}
    for part in "qkv":
        projected = np.einsum("nk,ok->no", wide["x"], wide[f"w{part}"]) + wide[f"b{part}"]
        heads[part] = np.stack([projected[:, 4 * head : 4 * head + 4] for head in range(2)])
    mixed = np.concatenate(list(naive(workload, heads)), axis=1)
    expected = np.einsum("nk,ok->no", mixed, wide["wo"]) + wide["bo"]
    np.testing.assert_allclose(inputs.reference(workload, tmp_path), expected.reshape(-1), rtol=1e-12, atol=1e-14)


def test_reference_gradients_are_float64_differences(tmp_path: Path) -> None:
    workload, step = KINDS[5], 1e-6
    wide = {name: array.astype(np.float64) for name, array in inputs.arrays(workload).items()}
    _, *gradients = inputs.reference(workload, tmp_path).reshape(4, -1)
    for name, gradient in zip("qkv", gradients, strict=True):
        for index in (0, 7, 39):
            sides = []
            for sign in (1, -1):
                moved = {key: array.copy() for key, array in wide.items()}
                moved[name].reshape(-1)[index] += sign * step
                sides.append(float((naive(workload, moved) * wide["grad"]).sum()))
            assert gradient[index] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_inputs_are_the_same_every_time_and_differ_between_arrays() -> None:
    first, second = inputs.arrays(SMALL), inputs.arrays(SMALL)
    assert all(np.array_equal(first[name], second[name]) for name in "qkv")
    assert not np.array_equal(first["q"], first["k"])


def test_relative_error_is_infinite_for_a_wrong_size_or_a_nan() -> None:
    expected = np.array([1.0, -4.0])
    assert inputs.max_relative_error(np.array([1.0, -3.9], np.float32), expected) == pytest.approx(0.025)
    assert inputs.max_relative_error(np.array([1.0], np.float32), expected) == math.inf
    assert inputs.max_relative_error(np.array([1.0, math.nan], np.float32), expected) == math.inf


def test_a_peer_is_compared_with_ours_of_the_same_threads_and_instruction_set() -> None:
    ours, two, narrow = (
        contestant("ruvector-attention", [1.0]),
        contestant("ruvector-attention", [0.5], threads=2),
        contestant("ruvector-attention", [2.0], isa="avx2"),
    )
    everyone = [ours, two, narrow]
    assert report.speedup(contestant("torch", [3.0]), everyone) == 3.0
    assert report.speedup(contestant("torch", [3.0], threads=2), everyone) == 6.0
    assert report.speedup(contestant("torch", [3.0], isa="avx2"), everyone) == 1.5
    assert report.speedup(contestant("torch", [3.0], isa="avx2-aten"), everyone) == 1.5
    assert report.speedup(ours, everyone) is None


def test_a_javascript_peer_is_compared_with_the_nearest_of_ours() -> None:
    python, package = (
        contestant("ruvector-attention", [1.0], "pyodide-node"),
        contestant("ruvector-attention-js", [2.0], "node"),
    )
    peer = contestant("onnxruntime-web", [4.0], "node")
    assert report.speedup(peer, [python, peer]) == 4.0
    assert report.speedup(peer, [python, package, peer]) == 2.0


@pytest.mark.parametrize("settings", [{}, {"causal": True}, {"kind": "window", "window": 4}], ids=str)
def test_a_sample_of_rows_is_checked_against_those_of_the_whole(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = Workload("whole", n_query=40, n_key=40, dim=4, **settings)
    sampled = Workload("sampled", n_query=40, n_key=40, dim=4, checked_rows=7, **settings)
    everything = inputs.reference(whole, tmp_path)
    expected = inputs.reference(sampled, tmp_path)
    answer = inputs.checked(sampled, everything)
    assert answer.shape == (7, 4)
    assert np.array_equal(answer[[0, -1]], everything.reshape(40, 4)[[0, -1]])
    assert inputs.max_relative_error(answer, expected) < 1e-14
    wrong = everything.copy()
    wrong[-1] += 1.0
    assert inputs.max_relative_error(inputs.checked(sampled, wrong), expected) > 0.1
    assert inputs.max_relative_error(inputs.checked(sampled, everything[:-4]), expected) == math.inf


def grown(n: int, samples: list[float], window: int = 0) -> Contestant:
    kind: dict[str, Any] = {"kind": "window", "window": window} if window else {}
    made = contestant("ruvector-attention", samples)
    made.workload = Workload(f"growth-{window}-{n}", n, n, 64, **kind)
    return made


def test_growth_is_told_per_pair_or_per_query_and_by_rounds() -> None:
    # the machine was half as fast in the second round: a ratio inside each round does not see it
    runs = [grown(100, [1.0, 2.0]), grown(400, [16.0, 32.0]), grown(400, [8.0], 10), grown(100, [2.0], 10)]
    pairs, window = growth.series(runs)
    told = [(step.contestant.workload.n_query, step.grown, step.expected) for step in pairs]
    assert told == [(100, None, None), (400, 16.0, 16.0)]
    assert [step.unit_ns for step in pairs] == [pytest.approx(1.5e6 / 100**2), pytest.approx(24e6 / 400**2)]
    assert [(step.ms, step.grown, step.expected) for step in window] == [(2.0, None, None), (8.0, 4.0, 4.0)]
    assert window[1].unit_ns == pytest.approx(8e6 / 400)
    text = growth.table(runs)
    assert "16.00× (theory 16×)" in text
    assert "ns per n²" in text
    assert growth.figures(runs)["cpython", "growth-10-400"]["ratio"] == 4.0


def test_growth_names_who_was_not_timed() -> None:
    slow = grown(16_384, [])
    slow.reason = "unavailable: too slow to time"
    assert growth.table([slow]) == "cpython ruvector-attention, growth-0-16384: unavailable: too slow to time"


def test_growth_runs_ours_alone() -> None:
    own = Lane("cpython", ("ruvector-attention",))
    mixed = Lane("pyodide-node", ("ruvector-attention", "numpy"))
    others = [Lane("cpython", ("numpy", "torch")), Lane("cpython", ("ruvector-attention",), threads=2)]
    assert growth.own([own, mixed, *others]) == [own, Lane("pyodide-node", ("ruvector-attention",))]


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(environment.os, "getloadavg", lambda: (0.3, 9.0, 9.0), raising=False)
    assert environment.load_note() == ""
    monkeypatch.setattr(environment.os, "getloadavg", lambda: (1.7, 0.0, 0.0), raising=False)
    assert "load 1.7 on 2 processors" in environment.load_note()


def test_the_plot_puts_what_is_compared_into_one_panel_and_knows_every_engine() -> None:
    def record(runtime: str, engine: str) -> dict[str, Any]:
        return {"runtime": runtime, "engine": engine}

    assert plot._panel(record("pyodide-node", "numpy")) == plot._panel(record("node", "tfjs-wasm")) == "Node"
    assert plot._panel(record("cpython", "torch@avx2")) == "CPython, held to AVX2"
    assert plot._engine(record("cpython", "torch@avx2")) == "torch"
    assert plot._engine(record("node", "@ruvector/attention")) == "@ruvector/attention"
    assert set(plot.MARKS) >= {"ruvector-attention", *NATIVE_PEERS, *JAVASCRIPT}


def test_records_have_the_documented_keys_and_leave_out_who_cannot_do_it() -> None:
    timed = contestant("torch", [2.0, 1.0, 3.0], threads=2)
    wrong = contestant("tfjs-wasm", [], "node")
    wrong.error, wrong.reason = math.inf, "WRONG answer: not timed"
    unable = Contestant(SMALL, Lane("cpython", ("numpy",)), "numpy", reason="unavailable: no gradients")
    found = report.records([timed, wrong, unable], {("cpython", ""): {"gflops": 1.0}})
    keys = ["runtime", "engine", "workload", "threads", "ms", "gflops", "peak_share", "ours_is", "max_rel_error"]
    assert [list(record) for record in found] == [keys, keys]
    assert found[0]["ms"] == 2.0
    assert found[0]["peak_share"] == pytest.approx(SMALL.flops / 2e6 / 2)
    assert (found[1]["ms"], found[1]["max_rel_error"]) == (None, None)
    json.dumps(found, allow_nan=False)


def test_the_table_names_a_wrong_engine_and_gives_it_no_time() -> None:
    wrong = contestant("tfjs-wasm", [], "node")
    wrong.error, wrong.reason = 0.3, "WRONG answer: not timed"
    text = report.table(SMALL, [contestant("torch", [2.0]), wrong], {})
    assert text.splitlines()[-1].split() == [
        "node",
        "tfjs-wasm",
        "1",
        "WRONG",
        "answer:",
        "not",
        "timed,",
        "relative",
        "error",
        "3.0e-01",
    ]


def test_a_target_is_met_missed_or_not_measured() -> None:
    peers = [contestant("ruvector-attention", [2.0]), contestant("torch", [3.0]), contestant("numpy", [8.0])]
    measured = targets.Measured(peers, {})
    over = targets.versus("small", "cpython")
    assert targets.Target("over the best peer", over, 1.4).line(measured).split()[-1] == "met"
    assert targets.Target("over the best peer", over, 1.6).line(measured).split()[-2:] == ["NOT", "MET"]
    elsewhere = targets.Target("elsewhere", targets.versus("small", "node"), 1.0)
    assert elsewhere.line(measured) == ""
    assert targets.table([elsewhere], measured).endswith("not measured in this run: elsewhere")


def test_the_price_of_the_bridge_is_what_comes_beyond_the_kernel() -> None:
    rows = [
        {"place": place, "queries": 1, "beyond_ms": beyond} for place, beyond in {"here": 0.1, "worker": 0.6}.items()
    ]
    measured = targets.Measured([], {}, beyond={"node": {"rows": rows}, "chromium": {"error": "no answer"}})
    told = {target.name: target.line(measured).split() for target in targets.BEYOND}
    assert told["node 1×1k×128, runtime pyodide, beyond the kernel"][-1] == "met"
    assert told["node 1×1k×128, runtime pyodide in a worker, beyond the kernel"][-2:] == ["NOT", "MET"]
    assert sum(map(bool, told.values())) == 2
    assert len(told) == 8
    assert set(targets.BEYOND) <= set(targets.ENGINE)


def test_two_threads_are_compared_within_rounds() -> None:
    one = contestant("ruvector-attention", [2.0, 20.0])
    two = contestant("ruvector-attention", [1.0, 10.0], threads=2)
    assert targets.two_threads("small", "cpython")(targets.Measured([one, two], {})) == 2.0


def test_a_wheel_is_held_to_the_limit_of_the_build() -> None:
    bounds = {target.name: target.bound for target in targets.FIRST if target.name.startswith("wheel")}
    assert bounds == {
        "wheel for Pyodide, WHEEL_LIMIT of build.py": build.WHEEL_LIMIT / 1000,
        "wheel for this system, NATIVE_WHEEL_LIMIT of build.py": build.NATIVE_WHEEL_LIMIT / 1000,
    }


def test_a_slow_engine_takes_fewer_turns() -> None:
    slow = contestant("torch", [])
    for spent, drops in [(0.0, False), (3.9, False), (4.0, True)]:
        slow.spent = spent
        assert slow.drops_out(cap=4.0) is drops
    slow.spent, slow.reason = 0.0, "failed"
    assert slow.drops_out(cap=4.0)


class SlowWorker:
    """Answers as a worker does; a turn of it takes a second of a clock that the test has."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def ask(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        if message["op"] == "prepare":
            Path(message["answer"]).write_bytes(np.ones(4, "<f4").tobytes())
        if message["op"] == "time":
            self.clock[0] += 1.0
            return {"ms": 1000.0}
        return {}

    def close(self) -> None: ...


@pytest.mark.parametrize(("budget", "taken"), [(0.0, 2), (5.0, 3), (100.0, 4)])
def test_a_budget_ends_the_rounds_for_all_alike(
    budget: float, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    pace = options.Pace(rounds=4, turn=0.1, limit=1.0, cap=50.0, budget=budget)
    lane = Lane("cpython", ("one", "two"))
    case = MechanismCase("tiny", "x", {}, engines=("one", "two"))
    run = runner.Runner([lane], lambda _: SlowWorker(clock), pace, tmp_path, lambda _: np.ones(4))
    monkeypatch.setattr(run, "_write", lambda _: None)
    assert [len(contestant.samples) for contestant in run.run(case)] == [taken, taken]
    run.close()


class Listener:
    """Writes down what it is asked, and says that a call took 3 MB."""

    def __init__(self, asked: list[tuple[str, str]]) -> None:
        self.asked = asked

    def ask(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.asked.append((message["op"], message["workload"]["name"]))
        return {"mbytes": 3.0} if message["op"] == "memory" else {}

    def close(self) -> None:
        self.asked.append(("close", ""))


def test_memory_is_measured_in_a_fresh_process_after_shorter_calls_of_the_same_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    long = Workload("long", n_query=64, n_key=64, dim=4, heads=2, memory=True)
    lane = Lane("node", ("one",))
    run = runner.Runner([lane], lambda _: Listener(asked), options.QUICK, tmp_path)
    monkeypatch.setattr(run, "_write", lambda _: None)
    run.request(lane, "describe", workload=long.describe())
    measured = Contestant(long, lane, "one")
    run._measure_memory([measured])
    quarter = "long-quarter"
    begun = [("describe", "long"), ("close", ""), ("prepare", quarter), ("time", quarter)]
    assert asked == [*begun, ("memory", "long"), ("close", "")]
    assert measured.mbytes == 3.0
    run.close()


def test_a_shorter_workload_differs_in_its_tokens_alone() -> None:
    short = shorter(Workload("long", n_query=64, n_key=3, dim=4, heads=2, causal=True))
    assert (short.name, short.n_query, short.n_key) == ("long-quarter", 16, 1)
    assert (short.dim, short.heads, short.causal, short.kind) == (4, 2, True, "attention")


def test_the_suite_of_mechanisms_runs_in_two_runtimes() -> None:
    assert options.parse(["--suite", "mechanisms"]).runtimes == ["cpython", "pyodide-node"]
    with pytest.raises(SystemExit):
        options.parse(["--suite", "mechanisms", "--runtime", "node"])


def test_a_lane_held_to_an_instruction_set_asks_for_that_backend() -> None:
    told = {isa: Lane("cpython", (), isa=isa).backend for isa in ("", "avx2", "avx2-aten", "numpy")}
    assert told == {"": "", "avx2": "avx2", "avx2-aten": "avx2", "numpy": "numpy"}
    wasm = Lane("pyodide-node", (), isa="wasm-simd128")
    assert runner._environment(wasm) == {"RUVECTOR_ATTENTION_BACKEND": "wasm-simd128"}
    assert runner._environment(Lane("pyodide-node", ())) == {}


def test_quick_is_a_faster_pace() -> None:
    assert options.parse(["--quick"]).pace.rounds < options.parse([]).pace.rounds
    assert options.parse(["--runtime", "node"]).runtimes == ["node"]
