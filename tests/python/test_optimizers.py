"""Optimizers follow torch.optim and geoopt, hold their state, and refuse what does not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ruvector_attention as ra
from ruvector_attention import training

Arrays = dict[str, npt.NDArray[Any]]
FILE = json.loads((Path(__file__).parents[1] / "vectors" / "training" / "optimizers.json").read_text())
OPTIMIZERS = training.parts("optimizer")


def logistic_gradients(parameters: Arrays, step: int) -> Arrays:
    """Of mean log(1 + exp(-y (X w + b))) over the eight rows of this step."""
    dtype = parameters["weight"].dtype
    x, y = (np.array(FILE["problems"]["logistic"][key], dtype) for key in "xy")
    picked = (step * 8 + np.arange(8)) % len(x)
    x, y = x[picked], y[picked]
    slopes = -y / (1 + np.exp(y * (x @ parameters["weight"] + parameters["bias"]))) / 8
    return {"weight": slopes @ x, "bias": slopes.sum(keepdims=True)}


def points_gradients(parameters: Arrays, step: int) -> Arrays:
    targets = np.array(FILE["problems"]["points"]["targets"], parameters["points"].dtype)
    return {"points": parameters["points"] - targets[step % 2]}


GRADIENTS = {"logistic": logistic_gradients, "points": points_gradients}


def optimizer_of(case: dict[str, Any]) -> tuple[training.Optimizer, Arrays]:
    optimizer = training.create_part(case["part"], **case["config"])
    assert isinstance(optimizer, training.Optimizer)
    parameters = {name: np.array(value, case["dtype"]) for name, value in case["parameters"].items()}
    for name, array in parameters.items():
        optimizer.add({name: array}, **case["groups"].get(name, {}))
    return optimizer, parameters


@pytest.mark.parametrize("case", FILE["cases"], ids=lambda case: case["name"])
def test_a_thousand_steps_follow_torch_and_geoopt(case: dict[str, Any]) -> None:
    optimizer, parameters = optimizer_of(case)
    gradients = GRADIENTS[case["problem"]]
    compared = 0
    for step in range(FILE["steps"]):
        optimizer.step(gradients(parameters, step))
        for name, expected in case["after"].get(str(step + 1), {}).items():
            tolerance = 1e-5 if case["dtype"] == "float32" else 1e-8  # the file has ten digits
            assert np.abs(parameters[name] - expected).max() <= tolerance, f"{name} after {step + 1} steps"
            compared += 1
    assert compared == len(case["after"]) * len(parameters) >= 5
    assert all(array.dtype == case["dtype"] for array in parameters.values())


def test_each_optimizer_has_a_trajectory() -> None:
    assert {case["part"] for case in FILE["cases"]} == set(OPTIMIZERS)


@pytest.mark.parametrize("case", FILE["cases"], ids=lambda case: case["name"])
def test_going_on_from_a_state_dict_gives_the_same_bits(case: dict[str, Any]) -> None:
    optimizer, parameters = optimizer_of(case)
    gradients = GRADIENTS[case["problem"]]
    for step in range(5):
        optimizer.step(gradients(parameters, step))
    optimizer.learning_rate *= 0.5
    other, others = optimizer_of(case)
    for name, array in parameters.items():
        others[name][...] = array
    other.load_state_dict(optimizer.state_dict())
    for step in range(5, 10):
        optimizer.step(gradients(parameters, step))
        other.step(gradients(others, step))
    assert other.learning_rate == optimizer.learning_rate
    assert all(np.array_equal(others[name], array) for name, array in parameters.items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_that_the_caller_holds_go_the_same_way(name: str) -> None:
    random = np.random.default_rng(3)
    held = {"a": random.uniform(-0.3, 0.3, (4, 3)), "b": random.uniform(-0.3, 0.3, 2).astype(np.float32)}
    optimizer, other = training.create_part(name), training.create_part(name)
    assert isinstance(optimizer, training.Optimizer) and isinstance(other, training.Optimizer)
    loose = {key: array.copy() for key, array in held.items()}
    optimizer.add(held)
    for _ in range(4):
        gradients = {key: random.standard_normal(array.shape) for key, array in held.items()}
        optimizer.step(gradients)
        before = {key: array.copy() for key, array in loose.items()}
        after = other.updated(loose, gradients)
        assert all(np.array_equal(loose[key], before[key]) for key in loose), "the caller's arrays changed"
        loose = after
    for key, array in held.items():
        assert np.array_equal(loose[key], array)
        assert loose[key].dtype == array.dtype


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_updates_are_what_a_step_adds(name: str) -> None:
    optimizer, other = training.create_part(name), training.create_part(name)
    assert isinstance(optimizer, training.Optimizer) and isinstance(other, training.Optimizer)
    parameters = [np.array([1.0, -2.0]), np.array([[0.5]])]
    for scale in (1.0, -0.3):
        gradients = [np.array([3.0, 1.0]) * scale, np.array([[0.1]])]
        added = other.updates(gradients)
        after = optimizer.updated(parameters, gradients)
        for before, change, wanted in zip(parameters, added, after, strict=True):
            assert np.abs(before + change - wanted).max() < 1e-15
        parameters = after


def test_updates_need_the_parameters_where_a_step_depends_on_them() -> None:
    for optimizer in (training.AdamW(), training.SGD(weight_decay=0.1), training.RiemannianAdam()):
        with pytest.raises(ra.UnsupportedError, match="depends on the parameters"):
            optimizer.updates([[1.0, 2.0]])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_a_mechanism(name: str) -> None:
    """Attention.parameters are changed in place; its backward has the gradients of inputs too, which are left aside."""
    random = np.random.default_rng(5)
    attention = ra.MultiHeadAttention(dim=8, num_heads=2)
    x = random.standard_normal((6, 8)).astype(np.float32)
    target = random.standard_normal((6, 8)).astype(np.float32) * 0.2
    rate = {"sgd": 1.0, "riemannian_adam": 0.01}.get(name, 0.01)
    optimizer = training.create_part(name, learning_rate=rate)
    assert isinstance(optimizer, training.Optimizer)
    if name == "riemannian_adam":  # points of the ball: rows of the weights are too long for it
        for array in attention.parameters().values():
            array *= 0.2
    optimizer.add(attention.parameters())
    rates = training.LearningRateSchedule(learning_rate=rate, warmup_steps=5, total_steps=60)
    losses = []
    for _ in range(60):
        difference = attention(x, x, x, training=True) - target
        losses.append(float(np.square(difference).mean()))
        optimizer.learning_rate = rates.step()
        optimizer.step(attention.backward(2 * difference / difference.size))
    assert losses[-1] < 0.7 * losses[0]
    assert optimizer.learning_rate < rate * 0.01


def test_points_never_leave_the_ball() -> None:
    for dtype in (np.float32, np.float64):
        points = np.array([[0.9, 0.0], [0.0, 0.0], [3.0, 4.0]], dtype)  # the last comes in from outside
        adam = training.RiemannianAdam(learning_rate=5.0, curvature=-1.0)
        adam.add([points])
        for _ in range(20):
            adam.step([np.array([[-1.0, 0.5], [1e20, 1.0], [-1.0, 1.0]], dtype)])
            assert (np.linalg.norm(points.astype(np.float64), axis=-1) < 1).all()


def test_a_learning_rate_scales_each_group_by_its_own() -> None:
    one, other = np.zeros(1), np.zeros(1)
    sgd = training.SGD(learning_rate=0.1)
    sgd.add({"one": one})
    sgd.add({"other": other}, learning_rate=0.4)
    sgd.learning_rate = 0.05
    sgd.step({"one": [1.0], "other": [1.0]})
    assert one[0] == pytest.approx(-0.05, abs=1e-15)
    assert other[0] == pytest.approx(-0.2, abs=1e-15)
    sgd.reset()
    assert sgd.learning_rate == 0.1


def test_a_parameter_without_gradient_stays_as_it_is() -> None:
    parameters = {"a": np.ones(2), "b": np.ones(2)}
    adam = training.Adam()
    adam.add(parameters)
    adam.step({"a": None, "b": np.ones(2)})
    adam.step({"a": np.ones(2), "b": np.ones(2)})
    assert parameters["a"][0] == pytest.approx(1 - 0.001, abs=1e-9)  # its first step, not its second
    assert int(adam.state_dict()["b.step"]) == 2


def test_clipping_is_by_the_length_of_all_gradients() -> None:
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]], np.float32), "c": None}
    assert training.global_norm(gradients) == 5.0
    clipped = training.clip_by_global_norm(gradients, 2.5)
    assert clipped["a"] == pytest.approx([1.5, 0.0], abs=1e-6)
    assert clipped["b"].dtype == np.float32
    assert clipped["c"] is None
    assert training.clip_by_global_norm([gradients["a"]], 3.5)[0] == pytest.approx([3.0, 0.0], abs=0)
    assert math.isfinite(training.global_norm([np.full(4, 3e38, np.float32)]))


def test_scalars_arrays_and_lists_come_back_in_their_form() -> None:
    sgd = training.SGD(learning_rate=1.0)
    assert sgd.updated(np.float64(2.0), 0.5) == 1.5
    assert [array.tolist() for array in training.SGD(learning_rate=1.0).updated([[1.0], [2.0]], [[1.0], [1.0]])] == [
        [0.0],
        [1.0],
    ]


REFUSED: list[tuple[str, type[Exception], str]] = [
    ("training.SGD(learning_rate=-1.0)", ra.InvalidConfigError, "learning_rate is -1.0; expected above 0"),
    ("training.SGD(learning_rate=float('nan'))", ra.InvalidConfigError, "learning_rate is nan; expected a finite"),
    ("training.SGD(nesterov=True)", ra.InvalidConfigError, "nesterov is True; expected a momentum above 0"),
    ("training.SGD(momentum=1.0)", ra.InvalidConfigError, "momentum is 1.0; expected below 1"),
    ("training.Adam(beta1=1.0)", ra.InvalidConfigError, "beta1 is 1.0; expected below 1"),
    ("training.Adam(lr=0.1)", ra.InvalidConfigError, "Adam has no setting 'lr'"),
    ("training.RiemannianAdam(curvature=1.0)", ra.InvalidConfigError, "curvature is 1.0; expected below 0"),
    ("held().step([1.0, 2.0, 3.0])", ra.UnsupportedError, "gradients has none of w; expected one for each of w"),
    ("held().step({'w': [1.0, 2.0]})", ra.DimensionMismatchError, r"gradients\['w'\] is \(2,\); expected \(3,\)"),
    ("held().step({'w': [1.0, float('nan'), 0.0]})", ra.NumericalInstabilityError, r"gradients\['w'\] holds nan"),
    ("held().step({'w': 'abc'})", ra.UnsupportedError, r"gradients\['w'\] is a str"),
    ("held().step(None)", ra.UnsupportedError, "gradients is None"),
    ("held().step({})", ra.EmptyInputError, "gradients is empty"),
    ("training.Adam().step([1.0])", ra.UnsupportedError, "holds no parameters"),
    ("training.Adam().add({})", ra.EmptyInputError, "parameters is empty"),
    ("training.Adam().add({'w': [1.0]})", ra.UnsupportedError, r"parameters\['w'\] is a list; expected a NumPy array"),
    ("training.Adam().add([np.ones(2, int)])", ra.UnsupportedError, "array of int64; expected a NumPy array of fl"),
    ("training.Adam().add([np.full(2, np.inf)])", ra.NumericalInstabilityError, r"parameters\['0'\] holds inf"),
    ("training.Adam().add([np.broadcast_to(1.0, 3)])", ra.UnsupportedError, "is read-only"),
    ("held().add({'w': np.ones(2)})", ra.InvalidConfigError, "'w', which another group has"),
    ("held().add({'v': np.ones(2)}, max_grad_norm=1.0)", ra.InvalidConfigError, "max_grad_norm is of all parameters"),
    ("held().add({'v': np.ones(2)}, beta3=1.0)", ra.InvalidConfigError, "Adam has no setting 'beta3'; did you mean"),
    ("setattr(held(), 'learning_rate', -0.5)", ra.InvalidConfigError, "learning_rate is -0.5; expected at least 0"),
    ("held().load_state_dict({})", ra.InvalidConfigError, "lacks learning_rate"),
    ("held().load_state_dict({**state(), 'v.step': 1})", ra.InvalidConfigError, "lacks v.exp_avg.*unknown v"),
    ("held().load_state_dict({**state(), 'w.exp_avg': [1.0]})", ra.DimensionMismatchError, r"w.exp_avg is \(1,\)"),
    ("held().load_state_dict({**state(), 'w.step': -1})", ra.InvalidConfigError, "w.step is -1"),
    ("training.clip_by_global_norm([1.0], 0.0)", ra.InvalidConfigError, "max_norm is 0.0; expected above 0"),
    ("moved()", ra.DimensionMismatchError, r"parameters\['0'\] is \(3,\); expected the shape that it had"),
    ("training.RiemannianAdam().updated(np.array(0.5), 1.0)", ra.DimensionMismatchError, "expected points"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[call for call, *_ in REFUSED])
def test_what_does_not_fit_is_refused_by_name(call: str, error: type[Exception], message: str) -> None:
    def held() -> training.Adam:
        adam = training.Adam()
        adam.add({"w": np.ones(3)})
        return adam

    def state() -> dict[str, Any]:
        adam = held()
        adam.step({"w": np.ones(3)})
        return adam.state_dict()

    def moved() -> None:
        adam = training.Adam()
        adam.updated(np.ones(2), np.ones(2))
        adam.updated(np.ones(3), np.ones(3))

    with pytest.raises(error, match=message):
        eval(call, {"training": training, "np": np, "held": held, "state": state, "moved": moved})


def test_gradients_that_do_not_fit_change_nothing() -> None:
    parameters = {"a": np.ones(2), "b": np.ones(3)}
    adam = training.Adam()
    adam.add(parameters)
    with pytest.raises(ra.DimensionMismatchError):
        adam.step({"a": np.ones(2), "b": np.ones(2)})
    assert all((array == 1).all() for array in parameters.values())
    assert set(adam.state_dict()) == {"learning_rate"}
