"""The suite of mechanisms: every registered one has a case, formulas and figures are right, the page is not stale."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra

SCRIPTS = Path(__file__).resolve().parents[2] / "build_scripts"
sys.path.insert(0, str(SCRIPTS))

import make_table  # noqa: E402
from benchmarks import (  # noqa: E402
    case_reference,
    cases,
    golden,
    inputs,
    mechanism_report,
    mechanism_targets,
    mechanisms,
    targets,
)
from benchmarks.engines import mechanism as engine  # noqa: E402
from benchmarks.engines import ours  # noqa: E402
from benchmarks.lanes import Lane  # noqa: E402
from benchmarks.runner import Contestant  # noqa: E402
from benchmarks.workloads import Workload  # noqa: E402

DESCRIBED = {entry["name"]: entry for entry in ra.describe()["mechanisms"]}
VECTORS = SCRIPTS.parent / "tests" / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return found


# --- cases


@pytest.mark.parametrize("name", ra.mechanisms())
def test_every_mechanism_has_a_case_that_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"n_query": 9, "n_key": 9, "n_item": 9, "n_node": 7, "n_edges": 30, "n_latent": 20}
    monkeypatch.setattr(cases, "SIZES", cases.SIZES | few)
    monkeypatch.setattr(cases, "WHOLE", cases.WHOLE | {"edge_index": 7, "latent_index": 7})
    case = cases.representative(DESCRIBED[name])
    output = engine.prepare(case, inputs.case_arrays(case))()
    axes = [axis for axis in DESCRIBED[name]["outputs"][0]["axes"] if axis != "..."]
    assert output.shape == tuple(cases.SIZES[axis] for axis in axes)
    assert np.isfinite(output).all()
    wanted = {option["name"] for option in DESCRIBED[name]["options"]} & set(cases.OPTIONS)
    assert wanted <= set(case.inputs)


def test_a_mechanism_that_no_case_can_be_derived_for_is_named() -> None:
    entry: dict[str, Any] = {"name": "new", "config": [], "inputs": [], "options": []}
    axis = {"name": "query", "axes": ["...", "n_thing"], "dtype": "float32"}
    with pytest.raises(cases.NoCaseError, match="new has an axis n_thing: add it to SIZES"):
        cases.representative({**entry, "inputs": [axis]})
    whole = {"name": "parents", "axes": ["n_node"], "dtype": "int64"}
    with pytest.raises(cases.NoCaseError, match="new takes whole numbers parents: add them to WHOLE"):
        cases.representative({**entry, "inputs": [whole]})
    with pytest.raises(cases.NoCaseError, match="new requires depth: add it to SETTINGS"):
        cases.representative({**entry, "config": [{"name": "depth", "required": True}]})


def test_cases_survive_the_trip_to_a_worker_and_their_names_are_unique() -> None:
    every = [case for group in cases.REACH for case in group]
    every += [cases.representative(entry) for entry in DESCRIBED.values()]
    for case in every:
        assert cases.from_description(json.loads(json.dumps(case.describe()))) == case
    assert len({case.name for case in every}) == len(every)
    assert {case.reference for group in cases.REACH for case in group} == set(case_reference.FORMULAS)


def test_a_case_runs_where_and_with_whom_it_says() -> None:
    case = cases.MechanismCase("one", "linear", {}, engines=("a", "b"), places=(("cpython", "avx2"),))
    assert case.runs("a", "cpython", 1, "avx2")
    assert not case.runs("c", "cpython", 1, "avx2")
    assert not case.runs("a", "cpython", 2, "avx2")
    assert not case.runs("a", "cpython", 1, "")


def test_inputs_are_whole_ascending_or_of_their_size() -> None:
    shapes = {"edge_index": (2, 500), "times": (500,), "rows": (500, 20), "parameter-w": (500, 20)}
    case = cases.MechanismCase(
        "drawn", "x", shapes, size=0.1, sizes={"parameter-w": 3.0}, whole={"edge_index": 11}, ascending=("times",)
    )
    made = inputs.case_arrays(case)
    assert sorted(set(made["edge_index"].reshape(-1).tolist())) == list(range(11))
    assert (np.diff(made["times"]) >= 0).all()
    assert made["rows"].std() == pytest.approx(0.1, rel=0.05)
    assert made["parameter-w"].std() == pytest.approx(3.0, rel=0.05)
    other = cases.MechanismCase("drawn", "x", shapes, size=0.2)
    assert inputs.folder(case, Path("cache")) != inputs.folder(other, Path("cache"))


# --- the formulas, beside the library, which the golden vectors hold to other libraries


def small(name: str, shapes: dict[str, tuple[int, ...]], **more: Any) -> cases.MechanismCase:
    return cases.MechanismCase(name, name, shapes, {"dim": 8, **more.pop("settings", {})}, **more)


ROWS = {"query": (60, 8), "keys": (70, 8), "values": (70, 8)}
LONG = dict.fromkeys(("query", "keys", "values"), (1_100, 8))
SMALL = [
    small("scaled_dot_product", ROWS, reference="softmax"),
    small("flash", {name: (3, *shape) for name, shape in ROWS.items()}, reference="softmax"),
    small("hyperbolic", ROWS, size=0.2, reference="hyperbolic"),
    small("linear", ROWS | {"parameter-features": (16, 8)}, reference="favor", settings={"num_features": 16}),
    small(
        "local_global", LONG, reference="local_global",
        settings={"window": cases.WINDOW, "global_tokens": cases.GLOBAL_TOKENS},
    ),
    small(
        "moe", ROWS | {"parameter-router_weight": (8, 4), "parameter-router_bias": (4,)}, reference="moe",
        settings={"experts": cases.EXPERTS, "top_k": 2},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_the_formula_of_a_case_is_what_the_library_computes(case: cases.MechanismCase) -> None:
    arrays = inputs.case_arrays(case)
    expected = case_reference.answer(case, cases.OURS, arrays)
    assert inputs.max_relative_error(engine.prepare(case, arrays)(), expected) < 1e-5
    wrong = arrays | {"values": arrays["values"][..., ::-1].copy()}
    assert inputs.max_relative_error(engine.prepare(case, wrong)(), expected) > 1e-2


def test_the_peer_that_adds_to_every_feature_is_held_to_its_own_formula() -> None:
    case = SMALL[3]
    arrays = inputs.case_arrays(case)
    engines = (cases.OURS, "performer-pytorch")
    own, theirs = (case_reference.answer(case, name, arrays) for name in engines)
    assert np.abs(own - theirs).max() > 1e-5
    arrays["values"][:] = 2.0  # weights that sum to 1 leave what is the same everywhere
    for name in engines:
        assert np.abs(case_reference.answer(case, name, arrays) - 2).max() < 1e-12


WORKLOADS = [
    Workload("heads", n_query=6, n_key=6, dim=4, heads=2),
    Workload("causal", n_query=5, n_key=5, dim=4, causal=True),
    Workload("window", n_query=40, n_key=40, dim=4, kind="window", window=6),
    Workload("layer", n_query=5, n_key=5, dim=4, heads=2, kind="layer"),
    Workload("backward", n_query=5, n_key=5, dim=4, heads=2, kind="backward"),
]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_the_library_answers_every_kind_of_workload_rightly(workload: Workload, tmp_path: Path) -> None:
    own = ours.create("ruvector-attention")
    answer = own.answer(own.prepare(workload, inputs.arrays(workload))())
    assert inputs.max_relative_error(answer, inputs.reference(workload, tmp_path)) < 1e-5


# --- errors


def test_a_golden_error_is_small_and_a_wrong_answer_is_not() -> None:
    case = vectors("hyperbolic")[0]
    assert golden.golden_error(case) <= case["tolerance"]
    expected = case["expected"]["output"]
    moved = {**expected, "data": [value + 0.5 for value in expected["data"]]}
    assert golden.golden_error({**case, "expected": {"output": moved}}) > 0.1
    short = {**expected, "shape": [1, 1], "data": [0.0]}
    assert golden.golden_error({**case, "expected": {"output": short}}) == math.inf


def test_a_gradient_that_is_wrong_by_a_hundredth_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = vectors("scaled_dot_product")[2]
    assert golden.difference_error(case) < 1e-4
    assert golden.autograd_error(case) <= case["gradient_tolerance"]
    backward = ra.ScaledDotProductAttention.backward

    def wrong(self: ra.ScaledDotProductAttention, grad_output: Any) -> dict[str, Any]:
        found = backward(self, grad_output)
        return {**found, "values": found["values"] * np.float32(1.01)}

    monkeypatch.setattr(ra.ScaledDotProductAttention, "backward", wrong)
    assert golden.difference_error(case) > 1e-3
    assert golden.autograd_error(case) > 1e-3


def test_a_derivative_says_where_it_cannot_be_trusted() -> None:
    x = np.array([0.3, 0.003])  # the last step stays on its side of the edge, the one before does not

    def loss() -> float:
        return float(np.exp(x[0]) + abs(x[1]))

    derivative, error, unsettled = golden._derivative(loss, x, (0,))
    assert derivative == pytest.approx(math.exp(0.3), rel=1e-9)
    assert max(error, unsettled) < 1e-4
    _, error, unsettled = golden._derivative(loss, x, (1,))
    assert max(error, unsettled) > 0.01
    assert x.tolist() == [0.3, 0.003]


def test_only_cases_of_common_size_are_differentiated() -> None:
    chosen = [case["name"] for case in golden.few_of(vectors("scaled_dot_product"), most=100)]
    assert "dim-16" in chosen
    assert not {"large-scores", "huge-scores", "one-query-many-keys"} & set(chosen)
    assert all(golden.few_of(vectors(name)) for name in ra.mechanisms())


# --- figures


def timed(
    case: str, samples: list[float], isa: str = "", runtime: str = "cpython", engine: str = cases.OURS
) -> Contestant:
    task = next((c for group in cases.REACH for c in group if c.name == case), None)
    task = task or cases.MechanismCase(case, case.removeprefix("mechanism-"), {})
    made = Contestant(task, Lane(runtime, (engine,), 1, isa), engine)
    made.samples, made.error = samples, 1e-7
    return made


def figures(contestants: list[Contestant], names: list[str], pairs: int | None = None) -> dict[str, float | None]:
    measured = targets.Measured(contestants, {})
    return {target.name: target.figure(measured) for target in mechanism_targets.all_of(names, pairs)}


def test_a_crossing_lies_where_the_ratio_is_one_and_stays_below() -> None:
    crossing = mechanism_targets.crossing_of
    assert crossing([(256, 4.0), (1024, 0.25)]) == pytest.approx(512)
    assert crossing([(256, 0.9), (512, 1.1), (1024, 1 / 1.1)]) == pytest.approx(512 * math.sqrt(2))
    assert crossing([(256, 0.9), (512, 0.5)]) == 256
    assert crossing([(256, 3.0), (512, 1.5)]) is None
    assert crossing([]) is None


def test_figures_compare_rounds_with_one_another() -> None:
    # the second round is ten times as slow for everybody
    found = figures(
        [
            timed("moe-4-experts", [4.0, 40.0]),
            timed("moe-one-expert", [2.0, 20.0]),
            timed("local-global-16384x64", [3.0]),
            timed("dense-2048x64", [1.0]),
            timed("mechanism-linear", [1.0, 10.0], "avx2"),
            timed("mechanism-linear", [2.5, 25.0], "wasm-simd128", "pyodide-node"),
            timed("gatv2-1k-10k", [2.0]),
            timed("gatv2-1k-10k", [9.0], engine="torch_geometric"),
        ],
        ["linear", "flash"],
        pairs=2 * 2_048**2,
    )
    assert found["MoE, 4 experts, top 2, over one expert"] == 2.0
    assert found["local-global 16 384 over the cost of its tiles"] == 1.5
    assert found["wasm SIMD128, share of AVX2: linear"] == pytest.approx(40)
    assert found["wasm SIMD128, share of AVX2: flash"] is None
    assert found["GATv2 1 000 nodes, 10 000 edges, forward"] == 4.5
    assert found["GATv2 1 000 nodes, 10 000 edges, with backward"] is None


def test_every_mechanism_has_a_target_and_the_docstring_the_crossing() -> None:
    names = [target.name for target in mechanism_targets.all_of(ra.mechanisms(), None)]
    assert {f"wasm SIMD128, share of AVX2: {name}" for name in ra.mechanisms()} <= set(names)
    assert len(set(names)) == len(names)
    stated = f"from {mechanism_targets.STATED_CROSSING:,} queries".replace(",", " ")
    assert stated in str(ra.LinearAttention.__doc__)


def test_a_wrong_answer_has_no_time_in_the_report() -> None:
    wrong = timed("gatv2-1k-10k", [], engine="torch_geometric")
    wrong.reason, wrong.error = "WRONG answer: not timed", 0.5
    last = mechanism_report.table([timed("gatv2-1k-10k", [2.0]), wrong]).splitlines()[-1]
    expected = "gatv2-1k-10k torch_geometric WRONG answer: not timed, relative error 5.0e-01"
    assert " ".join(last.split()) == expected


def test_the_table_of_mechanisms_names_what_failed() -> None:
    failed = timed("mechanism-linear", [], "wasm-simd128", "pyodide-node")
    failed.reason, failed.error = "failed: out of memory", None
    errors = [{"mechanism": "linear", "backend": "avx2", "golden_error": 2e-7, "gradient_error": 3e-5}]
    lines = mechanism_report.mechanisms(["linear"], [timed("mechanism-linear", [1.5]), failed], errors).splitlines()
    assert lines[-2].split() == ["linear", "1.5", "·", "·", "·", "2.0e-07", "3.0e-05", "·"]
    assert lines[-1] == "linear in pyodide-node wasm-simd128: failed: out of memory"


# --- the page


def test_the_page_is_what_registry_and_vectors_say() -> None:
    assert make_table.stale(make_table.PAGE.read_text()) == ""


def test_a_stale_page_is_told() -> None:
    page = make_table.PAGE.read_text()
    assert "registry" in make_table.stale(page.replace("`LinearAttention`", "`LinearAttentions`", 1))
    head, marker, measured = page.partition(make_table.MEASURED)
    lines = measured.splitlines(keepends=True)
    without = "".join(line for line in lines if not line.startswith("| `linear` | "))
    assert make_table.stale(head + marker + without).startswith("Errors has lines of")


def test_the_page_has_every_measurement_of_a_run() -> None:
    contestants = [
        timed("mechanism-linear", [1.0], "avx2"),
        timed("mechanism-linear", [2.5], "wasm-simd128", "pyodide-node"),
        timed("hyperbolic-1x1000x128", [0.5]),
        timed("hyperbolic-1x1000x128", [4.0], engine="geoopt"),
        timed("linear-8x256x64", [2.0]),
        timed("flash-8x256x64", [4.0]),
    ]
    records = [{"about": "a quiet machine"}, *mechanisms.records(contestants, "avx512")]
    records.append({"mechanism": "linear", "backend": "avx2", "golden_error": 2e-7, "gradient_error": 3e-5})
    json.dumps(records, allow_nan=False)
    page = make_table.measured_part(records)
    assert "on a quiet machine." in page
    assert "| `linear` | 2e-07 | 3e-05 | – |" in page
    assert "| `linear` | 1 | 2.5 | 40 % |" in page
    assert "keys (1000, 128), values (1000, 128) | geoopt | 0.5 | 4 | 8.0× |" in page
    assert "faster than exact attention in this run from n = 256" in page
