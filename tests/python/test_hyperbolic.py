"""Hyperbolic attention against its definition in float64, and its gradients against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curved import add, assert_close, distances, in_ball, mean, numerical, softmax

import ruvector_attention as ra
from ruvector_attention.geometry import poincare

Array = npt.NDArray[Any]
MODELS = ("poincare", "lorentz")
AGGREGATIONS = ("gyromidpoint", "frechet", "tangent")
C = 1.3


def reference(
    q: Array, k: Array, v: Array, aggregation: str, c: float = C, tau: float = 1.0, addend: Array | float = 0.0
) -> tuple[Array, Array]:
    """Output and weights of matrices."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    weights = softmax(-distances(q, k, c) / tau + addend)
    return mean(weights, v, c, aggregation), weights


@pytest.mark.parametrize("c", [0.25, 1.0, 3.0])
@pytest.mark.parametrize(("n_query", "n_key", "dim", "dim_value"), [(1, 9, 5, 3), (20, 70, 8, 16), (50, 33, 19, 2)])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_it_is_its_definition(
    model: str, aggregation: str, n_query: int, n_key: int, dim: int, dim_value: int, c: float
) -> None:
    q, k, v = (
        in_ball(n, d, c=c, seed=s) for s, (n, d) in enumerate([(n_query, dim), (n_key, dim), (n_key, dim_value)])
    )
    attention = ra.HyperbolicAttention(dim, -c, model=model, aggregation=aggregation, temperature=0.7)
    output, weights = reference(q, k, v, aggregation, c, 0.7)
    assert_close(attention.attention_weights(q, k), weights)
    assert_close(attention(q, k, v), output)
    assert_close(attention(q[0], k, v), output[0])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_batches_masks_biases_and_lengths(aggregation: str) -> None:
    q, k, v = in_ball(2, 6, 4), in_ball(9, 4, seed=1), in_ball(2, 9, 3, seed=2)
    random = np.random.default_rng(3)
    seen = random.random((6, 9)) < 0.6
    seen[4] = False
    bias = random.standard_normal((2, 1, 9)).astype(np.float32)
    lengths = np.array([9, 4])
    attention = ra.HyperbolicAttention(4, -C, aggregation=aggregation, causal=True)
    found = attention(q, k, v, mask=seen, bias=bias, key_lengths=lengths)
    weights = attention.attention_weights(q, k, mask=seen, bias=bias, key_lengths=lengths)
    band = np.arange(9) <= np.arange(6)[:, None] + 3
    for item in range(2):
        allowed = seen & band & (np.arange(9) < lengths[item])
        addend = np.where(allowed, bias[item], -np.inf)
        output, expected = reference(q[item], k, v[item], aggregation, addend=addend)
        assert_close(weights[item], expected)
        assert_close(found[item], output)
        assert not found[item, 4].any()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_masks_that_are_objects(aggregation: str) -> None:
    q, k, v = in_ball(130, 4), in_ball(150, 4, seed=1), in_ball(150, 3, seed=2)
    v[:] = v / np.linalg.norm(v, axis=-1, keepdims=True) * np.float32(0.99 / np.sqrt(C)) * np.sign(v[:, :1])
    masks: list[ra.AttentionMask] = [
        ra.WindowMask(5, global_tokens=2),
        ra.StridedMask(4, 7),
        ra.COOMask([(i, (7 * i) % 150) for i in range(130)] + [(i, i) for i in range(0, 130, 3)]),
    ]
    attention = ra.HyperbolicAttention(4, -C, aggregation=aggregation)
    for mask in masks:
        addend = np.where(mask.to_dense(130, 150), 0.0, -np.inf)
        assert_close(attention(q, k, v, mask=mask), reference(q, k, v, aggregation, addend=addend)[0], 2e-5)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("n_query", [1, 60])
def test_near_the_boundary(n_query: int, aggregation: str) -> None:
    """Norms of 1 - 1e-5: clusters a thousandth of the radius wide and their antipodes, d from 1e-3 to 24."""
    random = np.random.default_rng(1)
    base = random.standard_normal((4, 8))
    base /= np.linalg.norm(base, axis=-1, keepdims=True)
    rows = np.concatenate([base[random.integers(0, 4, 80)] + 1e-6 * random.standard_normal((80, 8)), -base])
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True) * (1 - 1e-5)
    q, k, v = (a.astype(np.float32) for a in (rows[:n_query], rows[::-1], rows))
    found = ra.HyperbolicAttention(8, aggregation=aggregation)(q, k, v[::-1])
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found.astype(np.float64), axis=-1) < 1).all()
    expected, _ = reference(q, k, v[::-1], aggregation if aggregation != "frechet" else "gyromidpoint", c=1.0)
    if aggregation == "frechet":  # the point where the logarithms cancel, checked by the distances it minimises
        weights = softmax(-distances(q.astype(np.float64), k.astype(np.float64), 1.0))
        points = v[::-1].astype(np.float64)
        cost = (weights * distances(found.astype(np.float64), points, 1.0) ** 2).sum(axis=-1)
        for other in (expected, 0.999 * expected, points[:n_query]):
            assert (cost <= (weights * distances(other, points, 1.0) ** 2).sum(axis=-1) * (1 + 1e-4) + 1e-3).all()
        return
    assert_close(found, expected, 5e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_rows_outside_of_the_ball_are_projected(model: str, aggregation: str) -> None:
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((12, 6)).astype(np.float32) * size for size in (1e15, 3.0, 1e4))
    attention = ra.HyperbolicAttention(6, -0.5, model=model, aggregation=aggregation)
    found = attention(q, k, v, training=True)
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found.astype(np.float64), axis=-1) < 1 / np.sqrt(0.5)).all()
    inside = (poincare.project_to_ball(x, -0.5) for x in (q, k, v))
    assert_close(found, attention(*inside), 1e-2)  # 1 - 1e-6 and its neighbours in float32 lie 0.06 apart
    gradients = attention.backward(np.ones(found.shape))
    for name, x in (("query", q), ("keys", k), ("values", v)):
        assert np.isfinite(gradients[name]).all()
        along = np.abs((gradients[name].astype(np.float64) * x).sum(axis=-1))
        assert (along <= 1e-3 * np.linalg.norm(gradients[name], axis=-1) * np.linalg.norm(x, axis=-1) + 1e-30).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_gradients_against_float64_differences_of_the_definition(model: str, aggregation: str) -> None:
    q, k, v = in_ball(5, 4, reach=0.8), in_ball(7, 4, reach=0.8, seed=1), in_ball(7, 3, reach=0.8, seed=2)
    random = np.random.default_rng(3)
    bias = random.standard_normal((1, 7)).astype(np.float32)
    grad = random.standard_normal((5, 3))
    attention = ra.HyperbolicAttention(
        4, -C, model=model, aggregation=aggregation, temperature=0.6, adaptive_curvature=True
    )
    attention(q, k, v, bias=bias, training=True)
    gradients = attention.backward(grad)
    wide = {"query": q, "keys": k, "values": v, "bias": bias, "log_curvature": np.array([np.log(C)])}
    wide = {name: array.astype(np.float64) for name, array in wide.items()}
    assert set(gradients) == set(wide)

    def loss() -> float:
        c = float(np.exp(wide["log_curvature"][0]))
        output, _ = reference(wide["query"], wide["keys"], wide["values"], aggregation, c, 0.6, wide["bias"])
        return float((output * grad).sum())

    for name, array in wide.items():
        expected = numerical(loss, array, 1e-5)
        assert gradients[name].shape == array.shape
        assert np.abs(gradients[name] - expected).max() <= 1e-4 * np.abs(expected).max(), name


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gradients_with_dropout_and_a_shared_batch(aggregation: str) -> None:
    q, k, v = in_ball(2, 3, 4, reach=0.7), in_ball(6, 4, reach=0.7, seed=1), in_ball(2, 6, 3, reach=0.7, seed=2)
    attention = ra.HyperbolicAttention(4, aggregation=aggregation, dropout=0.4, seed=2)
    grad = np.random.default_rng(3).standard_normal(attention(q, k, v, training=True).shape)
    attention.reset()
    attention(q, k, v, training=True)
    gradients = attention.backward(grad)

    def loss() -> float:
        attention.reset()
        return float((attention(q, k, v, training=True).astype(np.float64) * grad).sum())

    for name, array in (("query", q), ("keys", k), ("values", v)):
        expected = numerical(loss, array, 2e-3)
        assert gradients[name].shape == array.shape
        assert np.abs(gradients[name] - expected).max() <= 1e-3 * max(1.0, np.abs(expected).max()), name
    attention.reset()
    assert np.abs(attention(q, k, v, training=True) - attention(q, k, v)).max() > 1e-3


def test_the_curvature_learns() -> None:
    """Distances of a space of curvature -2, from which its gradient leads a space of -0.5 to -2."""
    q, k, v = in_ball(30, 4, c=2.0), in_ball(40, 4, c=2.0, seed=1), in_ball(40, 3, c=2.0, seed=2)
    wanted = ra.HyperbolicAttention(4, -2.0)(q, k, v)
    attention = ra.HyperbolicAttention(4, -0.5, adaptive_curvature=True)
    for _ in range(300):
        found = attention(q, k, v, training=True)
        gradients = attention.backward((found - wanted) / found.size)
        attention.parameters()["log_curvature"] -= 400 * gradients["log_curvature"]
    assert abs(attention.curvature + 2.0) < 0.02


def test_a_temperature_for_one_call() -> None:
    q, k, v = in_ball(3, 4), in_ball(5, 4, seed=1), in_ball(5, 2, seed=2)
    attention = ra.HyperbolicAttention(4, -C)
    assert_close(attention.compute_with_temperature(q, k, v, 0.2), reference(q, k, v, "gyromidpoint", tau=0.2)[0])
    assert np.array_equal(attention.compute_with_temperature(q, k, v, 1), attention(q, k, v))
    with pytest.raises(ra.InvalidConfigError, match=r"temperature is 0\.0; expected above 0"):
        attention.compute_with_temperature(q, k, v, 0)
    output = attention.compute_with_temperature(q, k, v, 0.5, mask=np.arange(5) < 2, training=True)
    assert attention.backward(np.ones(output.shape))["keys"][2:].any() == np.False_


def test_a_memory_takes_the_place_of_keys_and_values() -> None:
    q, k, v = in_ball(3, 4), in_ball(5, 4, seed=1), in_ball(5, 2, seed=2)
    attention = ra.HyperbolicAttention(4, -C)
    assert np.array_equal(attention(q, ra.Memory(k, v)), attention(q, k, v))


def test_the_ball_by_itself() -> None:
    attention = ra.HyperbolicAttention(3, -C)
    vectors = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    points = attention.to_poincare(vectors)
    assert (np.linalg.norm(points, axis=-1) < 1 / np.sqrt(C)).all()
    assert np.abs(attention.from_poincare(points) - vectors).max() <= 1e-4
    wide = points.astype(np.float64)
    expected = np.diagonal(distances(wide[:4], wide[4:8], C))
    assert np.abs(attention.poincare_distance(points[:4], points[4:8]) - expected).max() <= 1e-5
    assert_close(attention.mobius_add(points[:4], points[4:8]), add(wide[:4], wide[4:8], C))
    assert np.linalg.norm(attention.project_to_ball([9, 0, 0], 0.5)) == pytest.approx(0.5 / np.sqrt(C))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"curvature": 1.0}, "curvature is 1.0; expected a number below 0"),
        ({"curvature": 0}, "curvature is 0.0; expected a number below 0"),
        ({"model": "klein"}, "model is 'klein'"),
        ({"aggregation": "mean"}, "aggregation is 'mean'"),
    ],
)
def test_settings_that_are_no_space_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.HyperbolicAttention(4, **settings)


@pytest.mark.parametrize("n_query", [1, 4, 5])
def test_few_queries_are_computed_as_many_are(n_query: int) -> None:
    """Up to four queries go another way through the sums."""
    q, k, v = in_ball(n_query, 4), in_ball(9, 4, seed=1), in_ball(9, 3, seed=2)
    attention = ra.HyperbolicAttention(4, -C)
    bias = np.random.default_rng(0).standard_normal((1, 9)).astype(np.float32)
    seen = np.random.default_rng(1).random((n_query, 9)) < 0.6
    seen[0] = False
    k[7:], v[7:] = np.nan, np.inf
    found = attention(q, k, v, mask=seen, bias=bias, key_lengths=7)
    assert_close(found, reference(q, k[:7], v[:7], "gyromidpoint", addend=np.where(seen, bias, -np.inf)[:, :7])[0])
    assert not found[0].any()
    for name, bad in (("keys", k), ("values", v)):
        good = {"keys": in_ball(9, 4), "values": in_ball(9, 3)}
        with pytest.raises(ra.NumericalInstabilityError, match=rf"{name} holds (nan|inf) at index \(7, 0\)"):
            attention(q, **{**good, name: bad})
    with pytest.raises(ra.NumericalInstabilityError, match="query holds nan"):
        attention(q * np.nan, k[:7], v[:7])


@pytest.mark.parametrize("n_query", [1, 2, 3, 4])
@pytest.mark.parametrize(("n_key", "dim", "dim_value"), [(1, 1, 2), (127, 33, 5), (130, 6, 70), (300, 128, 300)])
def test_one_pass_over_keys_and_values_is_the_definition(n_query: int, n_key: int, dim: int, dim_value: int) -> None:
    q, k, v = in_ball(n_query, dim), in_ball(n_key, dim, seed=1), in_ball(n_key, dim_value, reach=0.97, seed=2)
    attention = ra.HyperbolicAttention(dim, -C, temperature=0.3)
    assert_close(attention(q, k, v), reference(q, k, v, "gyromidpoint", tau=0.3)[0])
    assert_close(attention(q, k, k), reference(q, k, k, "gyromidpoint", tau=0.3)[0])
    assert_close(attention(q[0], k, v, causal=True), reference(q[:1], k, v, "gyromidpoint", tau=0.3)[0][0])


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("size", [1.0, 3.0, 1e15])
def test_one_row_that_is_outside_of_the_ball_is_found_among_many(which: int, size: float) -> None:
    """The pass over rows that are all inside leaves such a call to the way that projects them."""
    arrays = [in_ball(2, 5, reach=0.6), in_ball(200, 5, reach=0.6, seed=1), in_ball(200, 5, reach=0.6, seed=2)]
    row = arrays[which][-1].astype(np.float64)
    arrays[which][-1] = row / np.linalg.norm(row) * size / np.sqrt(C)
    inside = [poincare.project_to_ball(x, -C, 1e-6) for x in arrays]
    expected = reference(*inside, "gyromidpoint", tau=0.1)[0]
    assert_close(ra.HyperbolicAttention(5, -C, temperature=0.1)(*arrays), expected, 1e-5)


@pytest.mark.parametrize("name", ["hyperbolic", "mixed_curvature", "dual_space", "manifold"])
def test_any_shape_and_scale_gives_finite_numbers_or_a_typed_error(name: str) -> None:
    random, refused = np.random.default_rng(len(name)), 0
    for turn in range(150):
        n_query, n_key = random.integers(1, 12, 2)
        scales = 10.0 ** random.uniform(-30, 15, 3)
        q, k, v = (
            (random.standard_normal((n, 12)) * size).astype(np.float32)
            for n, size in zip((n_query, n_key, n_key), scales, strict=True)
        )
        settings: dict[str, Any] = {"num_heads": 3} if name == "dual_space" else {}
        if name == "hyperbolic":
            settings = {"model": MODELS[turn % 2], "aggregation": AGGREGATIONS[turn % 3]}
        elif name == "manifold":
            settings = {"space": ("hyperbolic", "spherical", "euclidean:4, hyperbolic:8")[turn % 3]}
            settings["aggregation"] = ("sum", "mean")[turn % 2]
        mask = random.random((n_query, n_key)) < 0.7 if turn % 2 else None
        attention = ra.create(name, dim=12, **settings)
        try:
            output = attention(q, k, v, mask=mask, training=True)
            gradients = attention.backward(np.ones(output.shape))
        except ra.NumericalInstabilityError:
            refused += 1
            continue
        assert np.isfinite(output).all()
        assert all(np.isfinite(gradient).all() for gradient in gradients.values()), (turn, settings, scales)
    assert refused <= (0 if name == "hyperbolic" else 50)  # what is not bounded by a ball may overflow float32
