"""What losses and miners cannot take: a typed error that names the argument."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import ruvector_attention as ra
from ruvector_attention import training

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "build_scripts"))

from fuzzing import corrupt


def draw(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).random(shape).astype(np.float32)


BATCH = {"anchor": draw(3, 4), "positives": draw(3, 2, 4), "negatives": draw(3, 5, 4)}
PAIRS = {"anchor": draw(3, 4), "positives": draw(3, 4)}
TAUGHT = {"student": draw(3, 5), "teacher": draw(3, 5)}
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "info_nce": (training.InfoNCELoss(), BATCH),
    "info_nce-in-batch": (training.InfoNCELoss(), PAIRS),
    "local_contrastive": (training.LocalContrastiveLoss(), BATCH),
    "local_contrastive-graph": (
        lambda embeddings: training.LocalContrastiveLoss().on_graph(embeddings, [(0, 1)]),
        {"embeddings": draw(3, 4)},
    ),
    "triplet": (training.TripletLoss(), {name: draw(3, 4) for name in ("anchor", "positive", "negative")}),
    "spectral_regularization": (training.SpectralRegularization(), {"embeddings": draw(3, 4)}),
    "spectral_regularization-edges": (
        lambda embeddings: training.laplacian(embeddings, [(0, 1)]),
        {"embeddings": draw(3, 4)},
    ),
    "orthogonality": (training.orthogonality, {"embeddings": draw(3, 4)}),
    "norm_penalty": (training.norm_penalty, {"embeddings": draw(3, 4)}),
    "distillation": (training.DistillationLoss(), TAUGHT),
    "attention_distillation": (training.AttentionDistillationLoss(), TAUGHT),
    "relation_distillation": (training.RelationDistillationLoss(), TAUGHT),
    "hard_negative": (training.HardNegativeMiner().mine, BATCH),
    "in_batch": (training.InBatchMiner().mine, {**PAIRS, "negatives": draw(5, 4)}),
    "ewc": (lambda w: training.EWCLoss().consolidate({"w": w}, []), {"w": draw(3, 4)}),
}


def complaint(call: Callable[..., Any], good: dict[str, Any], argument: str, bad: corrupt.Bad) -> str | None:
    shown = f"{argument} = {bad.says}"
    try:
        call(**{**good, argument: bad.value})
    except ra.AttentionError as error:
        # two arrays that do not fit each other: whichever is read second is the one that is named
        named = any(
            name in str(error) for name in (good if isinstance(error, ra.DimensionMismatchError) else [argument])
        )
        return None if named and isinstance(error, bad.errors) else f"{shown}: {error!r}"
    except Exception as error:  # noqa: BLE001 - any other exception is the complaint
        return f"{shown}: {error!r}"
    return f"{shown}: no error"


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_that_is_bad_is_named(name: str) -> None:
    call, good = CALLS[name]
    call_is_good = name == "ewc" or call(**good) is not None
    assert call_is_good
    complaints = []
    for argument, value in good.items():
        scalar = [] if name != "ewc" else ["a single number", "no channels"]
        bads = [bad for bad in corrupt.numbers(value) if bad.says not in scalar]
        bads += [corrupt.Bad(None, ra.AttentionError, "None")] if argument != "negatives" else []
        complaints += [complaint(call, good, argument, bad) for bad in bads]
    assert [text for text in complaints if text] == []


def test_every_loss_and_miner_is_called_here() -> None:
    called = {name.split("-")[0] for name in CALLS} | {"multi_objective"}  # that one takes no arrays
    assert called >= {*training.parts("loss"), *training.parts("miner")}


SHAPES: list[tuple[Callable[[], Any], str]] = [
    (lambda: training.InfoNCELoss()(draw(3, 4), draw(2, 4), draw(5, 4)),
     r"positives is \(2, 4\); expected \(..., n_positive, dim\) or \(..., dim\) for anchor \(3, 4\)"),
    (lambda: training.InfoNCELoss()(draw(3, 4), draw(2, 2, 4), draw(5, 4)), r"positives is \(2, 2, 4\); expected"),
    (lambda: training.InfoNCELoss()(draw(3, 4), draw(3, 4), draw(2, 5, 4)),
     r"negatives is \(2, 5, 4\); expected \(n_negative, dim\) or \(..., n_negative, dim\) for anchor \(3, 4\)"),
    (lambda: training.InfoNCELoss()(draw(4), draw(4), draw(4)), r"negatives is \(4,\); expected"),
    (lambda: training.InfoNCELoss()(draw(3, 4), draw(3, 5), draw(5, 4)),
     r"positives is \(3, 5\); expected \(..., dim\) with dim = 4, from anchor \(3, 4\)"),
    (lambda: training.InfoNCELoss()(draw(1, 4), draw(1, 4)), r"anchor is \(1, 4\); expected \(n, dim\) with n of at"),
    (lambda: training.InfoNCELoss()(draw(3, 4), draw(2, 4)), r"positives is \(2, 4\); expected \(3, 4\)"),
    (lambda: training.LocalContrastiveLoss()(draw(4), draw(4), draw(5, 4)), r"positives is \(4,\); expected"),
    (lambda: training.LocalContrastiveLoss().on_graph(draw(2, 3, 4), [(0, 1)]), r"embeddings is \(2, 3, 4\); expected"),
    (lambda: training.TripletLoss()(draw(3, 4), draw(2, 4), draw(4)), r"positive is \(2, 4\); expected .* with \(3,\)"),
    (lambda: training.laplacian(draw(4)), r"embeddings is \(4,\); expected \(..., n, dim\)"),
    (lambda: training.laplacian(draw(3, 4), [(0, 1)], [1, 2]), r"edge_weight is \(2,\); expected \(1,\), one for each"),
    (lambda: training.laplacian(draw(3, 4), scipy.sparse.eye(2).tocsr()), r"edge_index is \(2, 2\); expected \(3, 3\)"),
    (lambda: training.DistillationLoss()(draw(3, 4), draw(2, 4)), r"teacher is \(2, 4\); expected \(3, 4\), as"),
    (lambda: training.RelationDistillationLoss()(draw(3, 4), draw(2, 4)), r"teacher is \(2, 4\); expected \(3,\) and"),
    (lambda: training.InBatchMiner().mine(draw(4), draw(4)), r"anchor is \(4,\); expected \(n, dim\), a batch"),
    (lambda: training.InBatchMiner().mine(draw(3, 4), draw(2, 4)), r"positives is \(2, 4\); expected \(3, 4\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), SHAPES, ids=[says.split(";")[0] for _, says in SHAPES])
def test_shapes_that_do_not_fit_are_told(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ra.DimensionMismatchError, match=says):
        call()


def test_edges_that_cannot_be_are_told() -> None:
    x = draw(3, 4)
    for call in (training.laplacian, training.LocalContrastiveLoss().on_graph):
        for bad in corrupt.nodes_of_edges([[0, 1], [1, 2]], 3):
            with pytest.raises(bad.errors, match="edge_index"):
                call(x, bad.value)
    with pytest.raises(ra.UnsupportedError, match="edge_weight came without edge_index; expected both"):
        training.laplacian(x, edge_weight=[1.0])
    with pytest.raises(ra.NumericalInstabilityError, match="edge_index holds nan"):
        training.laplacian(x, scipy.sparse.csr_matrix([[0, np.nan, 0], [0, 0, 0], [0, 0, 0]]))
    for bad in corrupt.numbers([0.5]):
        if bad.says != "a single number":
            with pytest.raises(bad.errors, match="edge_weight"):
                training.laplacian(x, [(0, 1)], bad.value)


def test_results_that_float32_does_not_hold_are_told() -> None:
    tiny = np.full((2, 3), 1e-42, np.float32)
    tiny[1] *= [-1, 1, 1]
    with pytest.raises(ra.NumericalInstabilityError, match="the gradient of anchor overflows"):
        training.InfoNCELoss(0.1)(tiny[0], tiny[0], [tiny[1]])
    large = np.full((2, 3), 1e38, np.float32)
    with pytest.raises(ra.NumericalInstabilityError, match="the gradient of embeddings overflows"):
        training.orthogonality(large)
    with pytest.raises(ra.NumericalInstabilityError, match="the loss overflows"):
        training.TripletLoss(distance="squared_euclidean", reduction="none")(large, -large, large)


BAD_SETTINGS: list[tuple[Callable[[], Any], str]] = [
    (lambda: training.InfoNCELoss(0), "temperature is 0.*expected above 0"),
    (lambda: training.InfoNCELoss(several="all"), "several is 'all'; known: each, together"),
    (lambda: training.InfoNCELoss(reduction="avg"), "reduction is 'avg'; known: mean, sum, none"),
    (lambda: training.TripletLoss(-1), "margin is -1.0; expected at least 0"),
    (lambda: training.TripletLoss(distance="euclid"), "distance is 'euclid'; did you mean 'euclidean'"),
    (lambda: training.LocalContrastiveLoss(temperature=0), "temperature is 0"),
    (lambda: training.SpectralRegularization(-1), "weight is -1.0"),
    (lambda: training.norm_penalty(draw(3, 4), -1), "target_norm is -1"),
    (lambda: training.HardNegativeMiner("semihard"), "strategy is 'semihard'; did you mean 'semi_hard'"),
    (lambda: training.InBatchMiner(exclude_positive=1), "exclude_positive is 1; expected True or False"),
]


@pytest.mark.parametrize(("call", "says"), BAD_SETTINGS, ids=[says for _, says in BAD_SETTINGS])
def test_settings_that_cannot_be_are_told(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=says):
        call()
