"""Losses: against torch's and pytorch-metric-learning's values (tests/vectors/training), scipy's Laplacian, NumPy in
float64, and central differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import ruvector_attention as ra
from ruvector_attention import training

Array = npt.NDArray[Any]
FOLDER = Path(__file__).parents[1] / "vectors" / "training"
CASES = [
    (path.stem, case)
    for path in sorted(FOLDER.glob("*.json"))
    for case in json.loads(path.read_text())["cases"]
    if "value" in case
]
TOLERANCE = 1e-6  # of 1 + the largest; the inputs are float32, and so are gradients


def array(given: dict[str, Any]) -> Array:
    return np.array(given["data"], given["dtype"]).reshape(given["shape"])


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def close(found: Any, expected: Any, tolerance: float) -> None:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * (1 + np.abs(expected).max())


@pytest.mark.parametrize(("part", "case"), CASES, ids=lambda x: x if isinstance(x, str) else x["name"])
def test_a_golden_case(part: str, case: dict[str, Any]) -> None:
    loss = training.create_part(part, **case["config"])
    inputs = {name: array(given) for name, given in case["inputs"].items()}
    value, gradients = loss(**inputs)  # type: ignore[operator]
    expected = array(case["value"]).astype(np.float64) if isinstance(case["value"], dict) else case["value"]
    close(value, expected, TOLERANCE)
    assert set(gradients) == set(case["gradients"])
    for name, grad in gradients.items():
        assert grad.dtype == np.float32
        close(grad, array(case["gradients"][name]), TOLERANCE)


def test_golden_cases_are_of_every_loss_that_a_library_has() -> None:
    own = {"ewc", "multi_objective", "norm_penalty", "orthogonality", "spectral_regularization"}  # scipy, NumPy: below
    assert {part for part, _ in CASES} | own == set(training.parts("loss"))


# --- gradients

EDGES = np.array([[0, 1, 2, 2, 4], [1, 2, 0, 3, 4]])
HALF = np.random.default_rng(5).dirichlet(np.ones(4), (2, 3))
LOSSES: dict[str, tuple[Callable[..., Any], dict[str, Array]]] = {}
for _several in ("each", "together"):
    LOSSES[f"info_nce-{_several}"] = (
        training.InfoNCELoss(0.3, several=_several),
        {"anchor": draw(3, 4), "positives": draw(3, 2, 4), "negatives": draw(3, 5, 4)},
    )
LOSSES["info_nce-shared"] = (
    training.InfoNCELoss(0.3, reduction="sum"),
    {"anchor": draw(2, 3, 4), "positives": draw(2, 3, 4), "negatives": draw(5, 4)},
)
for _in_batch in ("all", "across"):
    LOSSES[f"info_nce-{_in_batch}"] = (
        training.InfoNCELoss(0.2, in_batch=_in_batch),
        {"anchor": draw(5, 3), "positives": draw(5, 3, seed=1)},
    )
for _distance in ("euclidean", "squared_euclidean", "cosine"):
    LOSSES[f"triplet-{_distance}"] = (
        training.TripletLoss(2, _distance),
        {"anchor": draw(3, 1, 4), "positive": draw(4), "negative": draw(2, 4)},
    )
for _temperature in (None, 0.5):
    _loss = training.LocalContrastiveLoss(3, temperature=_temperature)
    LOSSES[f"local-{_temperature}"] = (
        _loss,
        {"anchor": draw(3, 4), "positives": draw(3, 2, 4), "negatives": draw(3, 5, 4)},
    )
    LOSSES[f"local-shared-{_temperature}"] = (
        _loss,
        {"anchor": draw(3, 4), "positives": draw(3, 2, 4), "negatives": draw(5, 4)},
    )
    LOSSES[f"local-one-{_temperature}"] = (
        _loss,
        {"anchor": draw(4), "positives": draw(2, 4), "negatives": draw(5, 4)},
    )
    LOSSES[f"local-graph-{_temperature}"] = (
        lambda embeddings, loss=_loss: loss.on_graph(embeddings, EDGES),
        {"embeddings": draw(6, 3)},
    )
LOSSES |= {
    "spectral": (training.SpectralRegularization(0.3), {"embeddings": draw(2, 5, 3)}),
    "spectral-edges": (
        lambda **arrays: training.SpectralRegularization(0.3)(edge_index=EDGES, **arrays),
        {"embeddings": draw(2, 5, 3), "edge_weight": draw(5)},
    ),
    "orthogonality": (training.OrthogonalityRegularization(0.3), {"embeddings": draw(2, 5, 3)}),
    "norm_penalty": (training.NormPenalty(0.3, target_norm=1.5), {"embeddings": draw(2, 5, 3)}),
    "distillation": (
        lambda student: training.DistillationLoss(3)(student, draw(4, 5, seed=1)),
        {"student": draw(4, 5)},
    ),
    "attention-kl": (lambda student: training.AttentionDistillationLoss()(student, HALF[::-1]), {"student": HALF}),
    "attention-mse": (
        lambda student: training.AttentionDistillationLoss("mse")(student, HALF[::-1]),
        {"student": HALF},
    ),
    "relation": (
        lambda student: training.RelationDistillationLoss(2)(student, draw(2, 4, 6)),
        {"student": draw(2, 4, 3)},
    ),
}


def differences(value: Callable[..., float], arrays: dict[str, Array], name: str, step: float = 1e-6) -> Array:
    """Central differences of the value by each number of the array of that name."""
    found = np.zeros(arrays[name].shape)
    for index in np.ndindex(found.shape):
        ends = []
        for sign in (1, -1):
            moved = arrays[name].copy()
            moved[index] += sign * step
            ends.append(value(**{**arrays, name: moved}))
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_value(name: str) -> None:
    loss, arrays = LOSSES[name]
    _, gradients = loss(**arrays)
    assert set(gradients) == set(arrays)
    for argument, grad in gradients.items():
        assert grad.dtype == np.float64  # as the arrays are
        close(grad, differences(lambda **moved: loss(**moved).value, arrays, argument), 1e-7)


@pytest.mark.parametrize("name", ["triplet", "info_nce", "local_contrastive", "norm_penalty", "distillation"])
def test_reductions_are_of_one_list_of_losses(name: str) -> None:
    arguments: Any = {
        "triplet": (draw(4, 3), draw(4, 3, seed=1), draw(4, 3, seed=2)),
        "norm_penalty": (draw(4, 3, 2),),
        "distillation": (draw(4, 3), draw(4, 3, seed=1)),
    }.get(name, (draw(4, 3), draw(4, 2, 3), draw(5, 3)))
    none, total, mean = (
        training.create_part(name, reduction=how)(*arguments)  # type: ignore[operator]
        for how in ("none", "sum", "mean")
    )
    assert none.value.shape == (4,)
    close(total.value, none.value.sum(), 1e-12)
    close(mean.value, none.value.mean(), 1e-12)
    for argument, grad in none.gradients.items():
        close(total.gradients[argument], grad, 1e-12)
        close(mean.gradients[argument], grad / 4, 1e-12)


# --- InfoNCE


def test_blocks_of_a_large_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    anchor, positives = draw(40, 6), draw(40, 6, seed=1)
    losses = (training.InfoNCELoss(), training.InfoNCELoss(in_batch="across"))
    graph_losses = (training.LocalContrastiveLoss(2), training.LocalContrastiveLoss(temperature=0.3))
    edges = np.random.default_rng(0).integers(0, 40, (2, 60))

    def all_of_them() -> list[training.LossResult]:
        return [loss(anchor, positives) for loss in losses] + [loss.on_graph(anchor, edges) for loss in graph_losses]

    whole = all_of_them()
    monkeypatch.setattr("ruvector_attention.training.contrastive.BLOCK", 7 * 80)
    for one, other in zip(whole, all_of_them(), strict=True):
        close(one.value, other.value, 1e-13)
        for name, grad in one.gradients.items():
            close(grad, other.gradients[name], 1e-13)


@given(seed=st.integers(0, 1000), size=st.floats(1e-3, 1e3), temperature=st.floats(0.05, 5))
def test_info_nce_sees_directions_alone(seed: int, size: float, temperature: float) -> None:
    anchor, positives, negatives = draw(3, 4, seed=seed), draw(3, 4, seed=seed + 1), draw(6, 4, seed=seed)
    loss = training.InfoNCELoss(temperature)
    value, gradients = loss(anchor, positives, negatives)
    assert 0 < value <= np.log(7) + 2 / temperature
    close(loss(size * anchor, positives, negatives).value, value, 1e-12)
    close((gradients["anchor"] * anchor).sum(axis=-1), np.zeros(3), 1e-12)


def test_info_nce_of_cosines_a_thousand_temperatures_apart_is_exact() -> None:
    loss = training.InfoNCELoss(1e-3)
    right, wrong = loss([1, 0], [1, 0], [[-1, 0]]), loss([1, 0], [-1, 0], [[1, 0]])
    assert right.value == 0.0
    assert wrong.value == 2000.0


def test_a_row_of_zeros_has_no_direction() -> None:
    value, gradients = training.InfoNCELoss(1)([0, 0], [1, 0], [[0, 1]])
    close(value, np.log(2), 1e-15)
    assert not gradients["anchor"].any()


def test_compute_is_the_value_alone() -> None:
    vector, rows = [1.0, 0.0], [[0.0, 1.0], [1.0, 1.0]]
    loss = training.InfoNCELoss(0.5)
    assert isinstance(loss.compute(vector, vector, rows), float)
    assert loss.compute(vector, vector, rows) == loss(vector, vector, rows).value
    assert training.LocalContrastiveLoss(2).compute(vector, [vector], rows) > 0
    assert training.SpectralRegularization(0.1).compute([rows, rows]) == pytest.approx(0.1)


# --- points that coincide


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_triplets_of_points_that_coincide_have_finite_gradients(distance: str) -> None:
    point = [[1.0, 2.0]]
    value, gradients = training.TripletLoss(0.5, distance)(point, point, point)
    close(value, 0.5, 1e-15)
    for grad in gradients.values():
        close(grad, np.zeros((1, 2)), 1e-7)


def test_neighbours_that_coincide_have_finite_gradients() -> None:
    value, gradients = training.LocalContrastiveLoss(2)([1.0, 2.0], [[1.0, 2.0]], [[1.0, 2.0]])
    assert value == 4.0
    assert not any(grad.any() for grad in gradients.values())


def test_close_points_far_from_the_origin_keep_their_distances() -> None:
    rows = 1000 + draw(6, 3) * 1e-3
    exact = ((rows[:, None] - rows) ** 2).sum(-1)
    linked = np.zeros((6, 6), bool)
    linked[[0, 1], [1, 0]] = True
    apart = ~linked & ~np.eye(6, dtype=bool)
    short = np.maximum(0.01 - np.sqrt(exact), 0) ** 2
    expected = (exact * linked).sum(1) / np.maximum(linked.sum(1), 1) + (short * apart).sum(1) / apart.sum(1)
    found = training.LocalContrastiveLoss(0.01, reduction="none").on_graph(rows, [(0, 1)]).value
    assert np.abs(found - expected).max() <= 1e-9 * expected.max()


# --- graphs


def test_the_loss_on_a_graph_is_that_of_each_node_with_its_neighbours() -> None:
    x, pairs = draw(7, 3), [(0, 1), (1, 0), (2, 0), (3, 3), (4, 5), (4, 5)]
    neighbours = {0: [1, 2], 1: [0], 2: [0], 4: [5], 5: [4]}
    for loss in (training.LocalContrastiveLoss(2, reduction="none"), training.LocalContrastiveLoss(temperature=0.3)):
        whole = loss.on_graph(x, pairs).value
        alone = np.zeros(7)
        for node, near in neighbours.items():
            far = [other for other in range(7) if other not in (node, *near)]
            alone[node] = loss.compute(x[node], x[near], x[far])
        if loss.config.temperature is None:
            for node in (3, 6):  # pushed only
                distances = np.linalg.norm(np.delete(x, node, 0) - x[node], axis=1)
                alone[node] = (np.maximum(2 - distances, 0) ** 2).mean()
            close(whole, alone, 1e-12)
        else:
            close(whole, alone.mean(), 1e-12)


def _adjacency(n: int = 8, seed: int = 3) -> Array:
    random = np.random.default_rng(seed)
    upper = np.triu(random.random((n, n)) * (random.random((n, n)) < 0.4), 1)
    return np.asarray(upper + upper.T, np.float32).astype(np.float64)


def test_the_laplacian_is_scipys() -> None:
    adjacency, x = _adjacency(), draw(8, 5)
    expected = np.trace(x.T @ scipy.sparse.csgraph.laplacian(adjacency) @ x)
    gradient = 2 * scipy.sparse.csgraph.laplacian(adjacency) @ x
    graph = nx.from_numpy_array(adjacency)
    sources, targets = np.nonzero(np.triu(adjacency))
    forms = {
        "scipy": (scipy.sparse.csr_matrix(adjacency), None),
        "networkx": (graph, None),
        "edge_index": (np.stack([sources, targets]), adjacency[sources, targets]),
    }
    for edges, weights in forms.values():
        value, gradients = training.laplacian(x, edges, weights)
        close(value, expected, 1e-12)
        close(gradients["embeddings"], gradient, 1e-12)
    both = np.stack([np.concatenate([sources, targets]), np.concatenate([targets, sources])])
    close(training.laplacian(x, both, np.tile(adjacency[sources, targets], 2)).value, 2 * expected, 1e-12)


def test_the_laplacian_of_chunks_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x, edges = draw(3, 8, 5), np.random.default_rng(0).integers(0, 8, (2, 50))
    loss = training.SpectralRegularization(reduction="none")
    whole = loss(x, edges)
    monkeypatch.setattr("ruvector_attention.training.regularization.CHUNK", 7 * 15)
    part = loss(x, edges)
    close(part.value, whole.value, 1e-13)
    close(part.gradients["embeddings"], whole.gradients["embeddings"], 1e-13)
    close(whole.value, [((each[edges[0]] - each[edges[1]]) ** 2).sum() for each in x], 1e-12)


def test_without_edges_all_rows_are_joined() -> None:
    x = draw(6, 4)
    complete = scipy.sparse.csr_matrix(1 - np.eye(6))
    one, other = training.laplacian(x), training.laplacian(x, complete)
    close(one.value, other.value, 1e-12)
    close(one.gradients["embeddings"], other.gradients["embeddings"], 1e-12)


def test_a_graph_without_edges_is_smooth() -> None:
    value, gradients = training.laplacian(draw(4, 3), np.zeros((2, 0), int))
    assert value == 0
    assert not gradients["embeddings"].any()


def test_orthogonality_and_norm_penalty_are_numpys() -> None:
    x = draw(9, 4)
    close(training.orthogonality(x).value, np.linalg.norm(x.T @ x / 9 - np.eye(4)) ** 2, 1e-13)
    close(training.norm_penalty(x, 2).value, np.mean((np.linalg.norm(x, axis=1) - 2) ** 2), 1e-13)
    columns = np.linalg.qr(draw(9, 4))[0] * 3
    close(training.orthogonality(columns).value, 0, 1e-13)
    assert not training.norm_penalty(np.zeros((2, 3))).gradients["embeddings"].any()


# --- distillation


@given(seed=st.integers(0, 1000), shift=st.floats(-100, 100))
def test_a_student_that_says_the_same_is_not_taught(seed: int, shift: float) -> None:
    logits = draw(4, 6, seed=seed)
    value, gradients = training.DistillationLoss()(logits + shift, logits)
    close(value, 0, 1e-12)
    close(gradients["student"], np.zeros((4, 6)), 1e-12)
    turned = logits @ np.linalg.qr(draw(6, 6, seed=seed))[0]  # turned embeddings have the same relations
    close(training.RelationDistillationLoss()(turned, logits).value, 0, 1e-12)


def test_a_key_that_only_the_teacher_sees_is_refused() -> None:
    with pytest.raises(
        ra.NumericalInstabilityError, match=r"student holds 0.0 at index \(0, 1\); expected more than 0"
    ):
        training.AttentionDistillationLoss()([[1.0, 0.0]], [[0.5, 0.5]])
    with pytest.raises(ra.NumericalInstabilityError, match=r"teacher holds -0.5 at index \(0, 1\)"):
        training.AttentionDistillationLoss()([[0.5, 0.5]], [[1.5, -0.5]])
    assert training.AttentionDistillationLoss("mse")([[1.0, 0.0]], [[0.5, 0.5]]).value == 0.25
