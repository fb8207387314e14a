"""Several objectives at once: weighted sums, learned weights, and elastic weight consolidation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import training
from ruvector_attention.training import LossResult, MultiObjectiveLoss

Array = npt.NDArray[Any]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def results(x: Array) -> dict[str, LossResult]:
    return {"length": training.norm_penalty(x, 2), "smooth": training.laplacian(x, [(0, 1), (1, 2)])}


def test_a_weighted_sum_adds_values_and_gradients_by_name() -> None:
    x = draw(4, 3)
    found = results(x)
    other = LossResult(2.0, {"embeddings": np.ones((4, 3)), "bias": np.array([3.0])})
    value, gradients = MultiObjectiveLoss((2, 0.5, 4))([*found.values(), other])
    lengths, smooth = found.values()
    assert value == pytest.approx(2 * lengths.value + 0.5 * smooth.value + 8, rel=1e-14)
    expected = 2 * lengths.gradients["embeddings"] + 0.5 * smooth.gradients["embeddings"] + 4
    assert np.abs(gradients["embeddings"] - expected).max() <= 1e-14
    assert gradients["bias"].tolist() == [12.0]
    assert MultiObjectiveLoss([1, 1])(found).value == pytest.approx(lengths.value + smooth.value, rel=1e-14)


def test_uncertainty_weighs_by_learned_variances() -> None:
    x, loss = draw(4, 3), MultiObjectiveLoss((1, 3), "uncertainty")
    s = loss.parameters()["log_variances"]
    s[:] = [0.5, -1.25]
    found = results(x)
    values = np.array([result.value for result in found.values()])
    weighted = np.array([1, 3]) * values

    def formula(s: Array) -> float:  # sum L / (2 sigma^2) + log sigma
        return float((weighted / (2 * np.exp(s)) + np.log(np.sqrt(np.exp(s)))).sum())

    value, gradients = loss(found)
    assert value == pytest.approx(formula(s.astype(float)), rel=1e-13)
    for i, step in enumerate(np.eye(2) * 1e-6):
        difference = (formula(s + step) - formula(s - step)) / 2e-6
        assert gradients["log_variances"][i] == pytest.approx(difference, rel=1e-6)
    expected = sum(
        w * np.exp(-each) / 2 * r.gradients["embeddings"]
        for w, each, r in zip((1, 3), s.astype(float), found.values(), strict=True)
    )
    assert np.abs(gradients["embeddings"] - expected).max() <= 1e-13


def test_variances_settle_where_the_losses_are() -> None:
    loss = MultiObjectiveLoss((1, 1), "uncertainty")
    found = [LossResult(4.0, {}), LossResult(0.25, {})]
    for _ in range(400):
        loss.parameters()["log_variances"][:] -= 0.2 * loss(found).gradients["log_variances"]
    assert np.exp(loss.parameters()["log_variances"]) == pytest.approx([4, 0.25], rel=1e-4)


def gradnorm(values: Array, first: Array, sizes: Array, weights: Array, alpha: float) -> Array:
    """d/dw of sum |w_i size_i - target_i|, the target fixed: Algorithm 1 of the paper, by central differences."""
    rates = values / first / np.mean(values / first)
    target = np.mean(weights * sizes) * rates**alpha
    found = []
    for step in np.eye(weights.size) * 1e-6:
        ends = [np.abs((weights + sign * step) * sizes - target).sum() for sign in (1, -1)]
        found.append((ends[0] - ends[1]) / 2e-6)
    return np.array(found)


def test_gradnorm_balances_rates_of_training() -> None:
    loss = MultiObjectiveLoss([1, 2], "gradnorm", alpha=0.7)
    first = {"a": LossResult(2.0, {"w": draw(3, 2)}), "b": LossResult(8.0, {"w": draw(3, 2, seed=1)})}
    loss(first)
    later = {"a": LossResult(1.5, {"w": draw(3, 2, seed=2)}), "b": LossResult(2.0, {"w": draw(3, 2, seed=3)})}
    loss.parameters()["weights"][:] = [1.0, 0.5]
    value, gradients = loss(later)
    weights = np.array([2.0, 1.0])  # scaled back to a sum of 3
    assert loss.parameters()["weights"].tolist() == weights.tolist()
    assert value == pytest.approx(2 * 1.5 + 2.0, rel=1e-14)
    sizes = np.array([np.linalg.norm(result.gradients["w"]) for result in later.values()])
    expected = gradnorm(np.array([1.5, 2]), np.array([2.0, 8]), sizes, weights, 0.7)
    assert gradients["weights"] == pytest.approx(expected, rel=1e-6)


def test_gradnorm_training_lets_the_slower_objective_gain_weight() -> None:
    loss = MultiObjectiveLoss((1, 1), "gradnorm")
    slow, fast = LossResult(1.0, {"w": np.ones(4)}), LossResult(1.0, {"w": np.ones(4)})
    for step in range(50):
        gradients = loss([slow, LossResult(0.9**step, fast.gradients)]).gradients
        loss.parameters()["weights"][:] -= 0.01 * gradients["weights"]
    loss([slow, fast])
    weights = loss.parameters()["weights"]
    assert weights[0] > 1.2 > 0.8 > weights[1]
    assert weights.sum() == pytest.approx(2, rel=1e-6)


def test_gradnorm_counts_the_shared_gradients() -> None:
    one = LossResult(1.0, {"shared": np.array([3.0, 4.0]), "own": np.array([100.0])})
    two = LossResult(1.0, {"shared": np.array([1.0, 0.0])})
    implied = MultiObjectiveLoss([1, 1], "gradnorm")([one, two])
    named = MultiObjectiveLoss([1, 1], "gradnorm")([one, two], shared=["shared"])
    assert implied.gradients["weights"].tolist() == named.gradients["weights"].tolist() == [5.0, -1.0]
    with pytest.raises(ra.UnsupportedError, match=r"shared names own, of which results\[1\] has no gradient"):
        MultiObjectiveLoss([1, 1], "gradnorm")([one, two], shared=["own"])
    with pytest.raises(ra.UnsupportedError, match="results have no gradient in common"):
        MultiObjectiveLoss([1, 1], "gradnorm")([one, LossResult(1.0, {"other": np.ones(1)})])
    with pytest.raises(ra.UnsupportedError, match=r"b begins at 0\.0; expected more than 0"):
        MultiObjectiveLoss([1, 1], "gradnorm")({"a": one, "b": LossResult(0.0, two.gradients)})


def test_the_state_of_learned_weights_goes_on_elsewhere() -> None:
    found = [LossResult(2.0, {"w": draw(3)}), LossResult(1.0, {"w": draw(3, seed=1)})]
    later = [LossResult(1.0, found[0].gradients), LossResult(0.9, found[1].gradients)]
    loss = MultiObjectiveLoss([1, 1], "gradnorm")
    loss(found)
    loss.parameters()["weights"][:] = [1.5, 0.5]
    other = MultiObjectiveLoss([1, 1], "gradnorm")
    other.load_state_dict(loss.state_dict())
    one, two = loss(later), other(later)
    assert one.value == two.value
    assert one.gradients["weights"].tolist() == two.gradients["weights"].tolist()
    with pytest.raises(ra.InvalidConfigError, match=r"state has \['weights'\]; expected \['first', 'weights'\]"):
        other.load_state_dict({"weights": [1, 1]})
    with pytest.raises(ra.DimensionMismatchError, match=r"first is \(3,\); expected \(2,\)"):
        other.load_state_dict({"weights": [1, 1], "first": [1, 1, 1]})
    assert MultiObjectiveLoss([1, 1]).state_dict() == {}


def test_what_is_no_list_of_losses_is_told() -> None:
    loss = MultiObjectiveLoss([1, 1])
    good = LossResult(1.0, {"w": np.ones(3)})
    with pytest.raises(ra.DimensionMismatchError, match="results has 1 losses; expected 2, as weights"):
        loss([good])
    for bad in (3.0, ("x", {}), (1.0, np.ones(3)), (1.0, {}, 2), None):
        with pytest.raises(ra.UnsupportedError, match=r"results\[1\] is .*; expected a LossResult"):
            loss([good, bad])  # type: ignore[list-item]
    with pytest.raises(ra.UnsupportedError, match=r"results is 3; expected a list or mapping of LossResults"):
        loss(3)  # type: ignore[arg-type]
    with pytest.raises(
        ra.UnsupportedError, match=r"b is LossResult.*; expected a LossResult whose value is one number"
    ):
        loss({"a": good, "b": LossResult(np.ones(2), {})})
    with pytest.raises(ra.DimensionMismatchError, match=r"the gradients of w are \(3,\) and \(2,\)"):
        loss([good, LossResult(1.0, {"w": np.ones(2)})])
    with pytest.raises(ra.NumericalInstabilityError, match="the loss overflows"):
        loss([good, LossResult(np.inf, {})])
    with pytest.raises(ra.UnsupportedError, match="a loss has a gradient named log_variances"):
        MultiObjectiveLoss([1, 1], "uncertainty")([good, LossResult(1.0, {"log_variances": np.ones(2)})])
    for weights in ([], [0, 0]):
        with pytest.raises(ra.InvalidConfigError, match=r"weights is .*; expected at least one number above 0"):
            MultiObjectiveLoss(weights)
    with pytest.raises(ra.InvalidConfigError, match=r"weights\[1\] is -1.0"):
        MultiObjectiveLoss([1, -1])


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_embeddings_that_follow_the_gradients_put_neighbours_next_to_each_other(temperature: float | None) -> None:
    edges = np.array([(a, b) for c in range(6) for a in range(5 * c, 5 * c + 5) for b in range(5 * c, a)])
    x = draw(30, 4).astype(np.float32)
    losses = (training.LocalContrastiveLoss(2, temperature=temperature), MultiObjectiveLoss([1, 0.1]))
    optimizer = training.Adam(learning_rate=0.05)
    optimizer.add({"embeddings": x})

    def share_of_neighbours() -> float:
        rows = x if temperature is None else x / np.linalg.norm(x, axis=-1, keepdims=True)
        distance = np.linalg.norm(rows[:, None] - rows, axis=-1) + 1e9 * np.eye(30)
        nearest = np.argsort(distance, axis=-1)[:, :4]
        return float((nearest // 5 == np.arange(30)[:, None] // 5).mean())

    assert share_of_neighbours() < 0.4
    for _ in range(150):
        result = losses[1]([losses[0].on_graph(x, edges), training.norm_penalty(x)])
        optimizer.step(result.gradients)
    assert share_of_neighbours() > 0.95


# --- EWC


def test_ewc_is_its_formula() -> None:
    kept = {"w": draw(3, 2), "b": draw(2)}
    examples = [{"w": draw(3, 2, seed=i), "b": draw(2, seed=i)} for i in range(1, 6)]
    loss = training.EWCLoss(weight=0.7)
    loss.consolidate(kept, iter(examples))
    fisher = {name: np.mean([each[name] ** 2 for each in examples], axis=0) for name in kept}
    moved = {name: array + draw(*array.shape, seed=9) for name, array in kept.items()}
    value, gradients = loss(moved)
    expected = 0.35 * sum((fisher[name] * (moved[name] - kept[name]) ** 2).sum() for name in kept)
    assert value == pytest.approx(expected, rel=1e-13)
    for name in kept:
        assert gradients[name] == pytest.approx(0.7 * fisher[name] * (moved[name] - kept[name]), rel=1e-13)
    assert loss(kept).value == 0
    kept["w"][:] = 0  # it holds copies
    assert loss(moved).value == value


def test_ewc_keeps_its_task_in_a_state() -> None:
    loss, other = training.EWCLoss(), training.EWCLoss()
    loss.consolidate({"w": draw(3), "scale": 2.0}, [{"w": draw(3, seed=1), "scale": 0.5}])
    other.load_state_dict(loss.state_dict())
    moved = {"w": draw(3, seed=2), "scale": 3.0}
    assert other(moved).value == loss(moved).value > 0
    assert loss(moved).gradients["scale"] == 0.25
    assert set(loss.state_dict()) == {"w.kept", "w.fisher", "scale.kept", "scale.fisher"}
    with pytest.raises(ra.InvalidConfigError, match=r"state has \['w.kept'\]; expected \['w.fisher', 'w.kept'\]"):
        other.load_state_dict({"w.kept": draw(3)})
    with pytest.raises(ra.DimensionMismatchError, match=r"w.fisher is \(2,\); expected \(3,\), as w.kept"):
        other.load_state_dict({"w.kept": draw(3), "w.fisher": draw(2)})
    assert other(moved).value == loss(moved).value  # what was refused changed nothing


def test_ewc_refuses_other_parameters() -> None:
    loss = training.EWCLoss()
    with pytest.raises(ra.UnsupportedError, match=r"EWCLoss\(\) keeps no task; call consolidate"):
        loss({"w": draw(3)})
    with pytest.raises(ra.EmptyInputError, match="gradients is empty"):
        loss.consolidate({"w": draw(3)}, [])
    with pytest.raises(ra.EmptyInputError, match="parameters is empty"):
        loss.consolidate({}, [{}])
    with pytest.raises(ra.UnsupportedError, match="parameters is list; expected a mapping"):
        loss.consolidate([draw(3)], [])  # type: ignore[arg-type]
    with pytest.raises(ra.InvalidConfigError, match=r"gradients has \['v'\]; expected \['w'\]"):
        loss.consolidate({"w": draw(3)}, [{"v": draw(3)}])
    loss.consolidate({"w": draw(3)}, [{"w": draw(3)}])
    with pytest.raises(ra.DimensionMismatchError, match=r"w is \(4,\); expected \(3,\), as consolidated"):
        loss({"w": draw(4)})
    with pytest.raises(ra.UnsupportedError, match="parameters is ndarray; expected a mapping of names to arrays"):
        loss(draw(3))  # type: ignore[arg-type]
    with pytest.raises(ra.NumericalInstabilityError, match=r"w holds nan at index \(1,\)"):
        loss({"w": [1, np.nan, 2]})
