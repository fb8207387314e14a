"""What build_scripts/fuzz.py found once, each with what is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra
from ruvector_attention import engine, kernels
from ruvector_attention.geometry import frechet, lorentz, poincare

ONES = np.ones((3, 4), np.float32)


@pytest.mark.parametrize("options", [{"key_lengths": 0}, {"key_lengths": 2}, {"bias": np.zeros((1, 3))}])
@pytest.mark.parametrize("n_query", [1, 3])
def test_weights_of_a_few_points_follow_every_option(n_query: int, options: dict[str, Any]) -> None:
    """A length of 0 was taken for no length, and an array of options for a question."""
    points = ONES * np.float32(0.1)
    weights = ra.HyperbolicAttention(4).attention_weights(points[:n_query], points, **options)
    length = options.get("key_lengths", 3)
    expected = np.where(np.arange(3) < length, 1 / max(length, 1), 0)
    assert np.abs(weights - expected).max() <= 1e-6


@pytest.mark.parametrize("kernel", ["relu", "elu", "favor"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["query", "keys"])
def test_linear_attention_names_what_is_not_finite(name: str, bad: float, causal: bool, kernel: str) -> None:
    """It was a feature of 0, or a query that sees nothing."""
    inputs = {"query": ONES.copy(), "keys": ONES.copy()}
    inputs[name][1, 2] = bad
    attention = ra.LinearAttention(4, kernel=kernel, num_features=6, causal=causal)
    for call in (lambda: attention.forward(**inputs, values=ONES), lambda: attention.attention_weights(**inputs)):
        with pytest.raises(ra.NumericalInstabilityError, match=rf"{name} holds {bad} at index \(1, 2\)"):
            call()


def test_linear_attention_refuses_keys_beyond_its_running_sums() -> None:
    keys = ONES * np.float32(1e16)
    attention = ra.LinearAttention(4, num_features=6, causal=True)
    with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
        attention(ONES, keys, ONES)
    unchecked = attention(ONES, keys, ONES, check_finite=False)
    assert np.isfinite(unchecked).all()


@pytest.mark.parametrize("name", ["learned_routing", "moe"])
@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (ra.BlockSparseMask(1, [(0, 3)]), ra.OutOfBoundsError),
        (ra.COOMask([(3, 0)]), ra.OutOfBoundsError),
        (ra.CSRMask([0, 1], [0]), ra.DimensionMismatchError),
        (ra.DenseMask(np.ones((2, 2), bool)), ra.DimensionMismatchError),
    ],
)
def test_mixtures_look_at_mask_objects(name: str, mask: ra.AttentionMask, error: type[Exception]) -> None:
    attention = ra.create(name, dim=4, experts="scaled_dot_product,flash")
    with pytest.raises(error, match=type(mask).__name__):
        attention(ONES, ONES, ONES, mask=mask)


def test_weights_of_items_of_large_scores_are_shares() -> None:
    """exp(score - logarithm of a sum) overflowed where float32 held the logarithm to 1e8."""
    random = np.random.default_rng(0)
    attention = ra.HierarchicalAttention(4, temperature=1e-15)
    weights = attention.attention_weights(random.standard_normal((6, 4)), [0, 0, 1, 1, 1, 2])
    assert np.abs(weights.sum() - 1) <= 1e-6
    assert (weights >= 0).all()
    assert (weights <= 1).all()


def test_features_that_were_not_given_have_no_gradient() -> None:
    attention = ra.StructuralAttention(4)
    edges = [(0, 1), (1, 2), (2, 0)]
    attention(ONES, edges, training=True)
    assert "features" not in attention.backward(ONES)
    attention(ONES, edges, ONES, training=True)
    assert attention.backward(ONES)["features"].shape == ONES.shape


@pytest.mark.parametrize("edges", [[[0.0, np.nan], [1.0, 1.0]], [[0.0, np.inf], [1.0, 1.0]], [[0.5, 0.0], [1.0, 1.0]]])
def test_nodes_that_are_no_numbers_are_refused(edges: Any) -> None:
    with pytest.raises(ra.UnsupportedError, match="edge_index holds numbers that are not whole"):
        ra.GraphAttention(4)(ONES, np.array(edges))


@pytest.mark.parametrize("edges", [np.full((2, 1), 1e30), np.full((2, 1), 2**63, np.uint64)])
def test_nodes_beyond_integers_are_out_of_bounds(edges: Any) -> None:
    with pytest.raises(ra.OutOfBoundsError, match=r"edge_index names node \d"):
        ra.GraphAttention(4)(ONES, edges)


def test_edge_features_of_small_temperature_are_told() -> None:
    attention = ra.GraphAttention(4, edge_dim=1, temperature=2e-38)
    with pytest.raises(ra.NumericalInstabilityError, match="scores of edge features overflow float32"):
        attention(ONES, [(0, 1), (1, 2)], [[1e3], [-1e3]])


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("scaled_dot_product", {"scale": 1e164}, "scale is 1e"),
        ("hyperbolic", {"temperature": 1e-130}, "temperature is 1e-130"),
        ("flash", {"scale": 1e30, "temperature": 1e-30}, r"scale / temperature is 1e\+30 / 1e-30"),
        ("graph", {"scale": 1e30, "temperature": 1e-30}, "scale / temperature"),
        ("linear", {"scale": 1e30, "temperature": 1e-30}, "scale / temperature"),
        ("gin", {"eps": 1e300}, "eps is 1e"),
        ("moe", {"num_experts": 2**45}, "num_experts is 35184372088832; expected at most"),
    ],
)
def test_settings_that_kernels_cannot_hold_are_refused(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=sentence):
        ra.create(name, dim=4, **settings)


def test_what_overflows_in_a_space_is_told() -> None:
    far = np.full((1, 3), 1e15, np.float32)
    for call in (
        lambda: lorentz.exp_map(np.zeros((1, 3)), np.full((1, 3), 1e9) * [0, 1, 0]),
        lambda: lorentz.inner_product(far, far * 1e10, far * 1e10),
        lambda: ra.geometry.EuclideanSpace().inner_product(far, np.full((1, 3), np.float32(1e38)), far),
    ):
        with pytest.raises(ra.NumericalInstabilityError, match=r"overflows|holds inf"):
            call()


def test_arguments_of_functions_of_points_are_named() -> None:
    x = np.full((2, 3), 0.1)
    bad: list[tuple[Any, type[Exception], str]] = [
        (lambda: poincare.distance(x, np.zeros((5, 3))), ra.DimensionMismatchError, r"y is \(5, 3\); its leading"),
        (lambda: poincare.distance(x[:, :0], x[:, :0]), ra.EmptyInputError, "x is"),
        (lambda: poincare.gyromidpoint(np.stack([x] * 3), np.ones((4, 2))), ra.DimensionMismatchError, "weights is"),
        (lambda: poincare.mobius_scalar(np.nan, x), ra.InvalidConfigError, "factor is nan"),
        (lambda: poincare.mobius_scalar("2", x), ra.InvalidConfigError, "factor is '2'"),
        (lambda: poincare.mobius_matvec(np.full((3, 3), np.nan), x), ra.NumericalInstabilityError, "matrix holds nan"),
        (lambda: poincare.project_to_ball(x, eps=2.0), ra.InvalidConfigError, "eps is 2.0; expected a finite number"),
        (lambda: poincare.frechet_mean(x, tolerance=0), ra.InvalidConfigError, "tolerance is 0"),
    ]
    for call, error, sentence in bad:
        with pytest.raises(error, match=sentence):
            call()


def test_weights_of_a_mean_may_be_as_large_as_numbers_are() -> None:
    x = np.array([[0.1, 0.0], [0.3, 0.0]])
    expected = poincare.gyromidpoint(x, [1.0, 3.0])
    assert np.abs(poincare.gyromidpoint(x, np.array([0.5e308, 1.5e308])) - expected).max() <= 1e-12


def test_the_mean_of_points_far_out_stays_where_they_are() -> None:
    """Rounding of coordinates of 1e10 made steps of any length."""
    random = np.random.default_rng(1)
    x = random.standard_normal((20, 3))
    x = x / np.linalg.norm(x, axis=-1, keepdims=True) * (1 - 1e-10)
    mean = poincare.frechet_mean(np.concatenate([x, x[:1] * (1 - 1e-9)]))
    assert np.isfinite(mean).all()
    assert np.linalg.norm(mean) < 1


def test_products_of_spaces_broadcast() -> None:
    space = ra.geometry.ProductSpace([(ra.geometry.HyperbolicSpace(-1.0), 2), (ra.geometry.EuclideanSpace(), 1)])
    x, y, v = np.full((5, 3), 0.1), np.full((1, 3), 0.2), np.ones((1, 3))
    assert space.transport(x, y, v).shape == (5, 3)
    assert space.inner_product(x, v, v).shape == (5,)
    assert np.array_equal(space.transport(x, y, v), space.transport(x, np.repeat(y, 5, 0), np.repeat(v, 5, 0)))


def test_a_mixture_of_edges_says_which_are_wrong() -> None:
    attention = ra.AutoAttention(4)
    for edges, sentence in (([[3], [0]], "edge_index names key 3"), ([[0], [-1]], "edge_index names query -1")):
        with pytest.raises(ra.OutOfBoundsError, match=sentence):
            attention(ONES, ONES, ONES, edge_index=edges)


def test_balls_of_one_dimension_keep_their_points_inside() -> None:
    x = np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
    found = poincare.mobius_matvec(np.array([[1e6, 1e6]]), x)
    assert found.shape == (2, 1)
    assert (np.abs(found.astype(np.float64)) < 1).all()
    line = poincare.exp_map(np.array([[0.999]], np.float32), np.array([[1e3]], np.float32))
    assert abs(float(line[0, 0])) < 1
    assert poincare.conformal_factor(np.array([[0.5]]))[0, 0] == pytest.approx(2 / 0.75)


@pytest.mark.parametrize("options", [{}, {"mask": np.array([True, False, True])}, {"key_lengths": 2}])
def test_weights_of_scores_beyond_float32_are_told(options: dict[str, Any]) -> None:
    attention = ra.ScaledDotProductAttention(4, temperature=4e-38)
    if ra.backend() == "numpy":  # whose scores are float64: equal ones share
        weights = attention.attention_weights(ONES * 100, ONES, **options)
        assert np.allclose(weights.max(axis=1), 1 / 2 if options else 1 / 3)
        return
    with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
        attention.attention_weights(ONES * 100, ONES, **options)


def test_the_mean_of_antipodes_stays_on_the_sphere() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        rows = random.standard_normal((1, 4)) * np.array([[1.0], [-1.0], [-1.0], [-1.0], [-1.0]])
        rows[1:] += 1e-8 * random.standard_normal((4, 4))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        mean = frechet.sphere_means(rows, random.random((1, 5)))
        assert abs(np.linalg.norm(mean) - 1) < 1e-12


@pytest.mark.parametrize("top_k", [None, 2])
def test_scores_that_overflow_behind_key_lengths_are_not_read(top_k: int | None) -> None:
    attention = ra.ManifoldAttention(4, space="euclidean:4", aggregation="mean", temperature=1e-12, top_k=top_k)
    assert np.array_equal(attention(ONES * 1e15, ONES, ONES, key_lengths=0), np.zeros((3, 4), np.float32))
    if ra.backend() != "numpy":  # whose scores are float64
        with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
            attention(ONES * 1e15, ONES, ONES, key_lengths=2)


def test_gradients_of_means_on_the_sphere_hold_for_weights_of_any_size() -> None:
    """The mean of w and of s w is the same, so the gradient by s w is that by w, divided by s."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((6, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weights, grad = random.random((3, 6)), random.standard_normal((3, 5))
    weights[1, 1:] = 0  # one row alone, as dropout leaves them
    found = frechet.sphere_means(rows, weights)
    of_weights, of_rows = frechet.sphere_means_backward(rows, weights, found, grad)
    scaled, same = frechet.sphere_means_backward(rows, weights * 1e-32, found, grad)
    assert np.allclose(scaled * 1e-32, of_weights, rtol=1e-9, atol=1e-12)
    assert np.allclose(same, of_rows, rtol=1e-9, atol=1e-12)


def test_sums_along_edges_beyond_float32_are_told() -> None:
    attention = ra.GINAttention(4, eps=-6e33)
    edges = [(0, 1), (1, 2)]
    calls = (
        lambda: attention(ONES * 1e6, edges),
        lambda: attention.forward_neighborhood(1, ONES * 1e6, edges),
        lambda: attention.forward_k_hop(1, ONES * 1e6, edges, 2),
    )
    for call in calls:
        with pytest.raises(ra.NumericalInstabilityError, match="the result overflows float32 although nodes"):
            call()
    assert np.isfinite(ra.GINAttention(4, eps=-6e3)(ONES * 1e6, edges)).all()


def test_sums_over_the_spaces_of_a_product_beyond_float32_are_told() -> None:
    space = ra.geometry.ProductSpace([(ra.geometry.EuclideanSpace(), 2), (ra.geometry.EuclideanSpace(), 2)])
    v = np.full((1, 4), 1.2e19, np.float32)  # 2.88e38 in each, which float32 can hold
    with pytest.raises(ra.NumericalInstabilityError, match="the result overflows float32"):
        space.inner_product(v, v, v)
    found = space.inner_product(v.astype(np.float64), v, v)
    assert found == pytest.approx(4 * float(v[0, 0]) ** 2)
    assert space.distance(v, -v) == pytest.approx(4 * 1.2e19)


@pytest.mark.parametrize("n", [1, 3, 70])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"mask": ra.COOMask([(0, 0)])}, {"top_k": 1}], ids=str)
def test_scores_beyond_float32_are_told_whatever_their_sign(n: int, sign: int, options: dict[str, Any]) -> None:
    """Below it they would be -inf, as of keys that are hidden, and the output zeros."""
    attention = ra.ScaledDotProductAttention(8, temperature=1.5e-12, top_k=options.get("top_k"))
    options = {name: option for name, option in options.items() if name != "top_k"}
    q, k = np.full((n, 8), 1e14), np.full((n, 8), sign * 1e13)
    for call in (lambda: attention(q, k, k, **options), lambda: attention.attention_weights(q, k, **options)):
        if ra.backend() == "numpy":  # whose scores are float64
            assert np.isfinite(call()).all()
            continue
        with pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
            call()


@pytest.mark.parametrize("score", [3e3, 1e5, 3e6, 1e9])
@pytest.mark.parametrize(
    "options", [{}, {"mask": ra.COOMask([(i, j) for i in range(20) for j in range(9)])}], ids=["plain", "listed"]
)
def test_gradients_of_large_scores_share_as_weights_do(score: float, options: dict[str, Any]) -> None:
    """Weights made anew from a log-sum-exp in float32 were off by up to a quarter, though keys are alike."""
    random = np.random.default_rng(0)
    query, keys = np.full((20, 4), 0.3, np.float32), np.full((9, 4), 0.7, np.float32)
    grad = random.standard_normal((20, 5)).astype(np.float32)
    attention = ra.ScaledDotProductAttention(4, scale=score / 0.84)
    attention(query, keys, random.standard_normal((9, 5)), training=True, **options)
    expected = np.repeat(grad.astype(np.float64).sum(axis=0, keepdims=True) / 9, 9, axis=0)
    assert np.abs(attention.backward(grad)["values"] - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [1e4, 1e10])
def test_gradients_of_linear_attention_share_as_weights_do(scale: float, causal: bool) -> None:
    """The same for features whose logarithms are large, on every backend."""
    random = np.random.default_rng(0)
    query, keys = np.full((2, 200, 4), 0.3, np.float32), np.full((2, 200, 4), 0.7, np.float32)
    grad = random.standard_normal((2, 200, 5))
    attention = ra.LinearAttention(4, num_features=6, scale=scale, causal=causal, seed=1)
    attention(query, keys, random.standard_normal((2, 200, 5)), training=True)
    weights = np.tril(np.ones((200, 200))) if causal else np.ones((200, 200))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = weights.T @ grad
    assert np.abs(attention.backward(grad)["values"] - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("kind", "apart"),
    [
        # on the hyperboloid the times of close points are all alike, in float32
        *(("lorentz", 0.05), ("lorentz", 0.5), ("lorentz", 5.0)),
        *((kind, apart) for kind in ("poincare", "spherical") for apart in (1e-4, 3e-3, 0.05, 0.3)),
    ],
)
def test_the_gradient_of_curvature_holds_for_points_that_are_close(kind: str, apart: float) -> None:
    """It is of third order in the distance, and was what two terms of first order left of each other."""
    random = np.random.default_rng(0)
    q, k = (apart * random.uniform(-1, 1, (n, 3)) for n in (12, 9))
    if kind == "spherical":
        pole = np.array([1.0, 0.0, 0.0])
        q, k = ((x + pole) / np.linalg.norm(x + pole, axis=1, keepdims=True) for x in (q, k))
    q, k, v, grad = (
        x.astype(np.float32) for x in (q, k, random.standard_normal((9, 4)), random.standard_normal((12, 4)))
    )
    scale = 1 / apart
    spaces = (engine.Space(kind, 0, 3, curvature=1.0),)
    out, lse = engine.attend(q, k, v, scale=scale, spaces=spaces, return_lse=True)
    found = engine.attend_backward(q, k, v, out, lse, grad, scale=scale, spaces=spaces).spaces

    def loss(c: float) -> float:
        x, y = (array.astype(np.float64) for array in (q, k))
        square = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
        xx, yy = (x * x).sum(axis=-1)[:, None], (y * y).sum(axis=-1)[None]
        if kind == "spherical":  # the chord stays, as the kernel's rows do
            distance = 2 * np.arcsin(np.sqrt(c * square) / 2) / np.sqrt(c)
        else:
            if kind == "lorentz":
                times = np.sqrt(1 / c + xx), np.sqrt(1 / c + yy)
                # (t - t')^2 without a difference of numbers that are nearly 1
                z = c / 4 * (square - ((xx - yy) / (times[0] + times[1])) ** 2)
            else:
                z = c * square / ((1 - c * xx) * (1 - c * yy))
            distance = 2 * np.arcsinh(np.sqrt(z)) / np.sqrt(c)
        scores = -scale * distance
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return float((grad * (weights / weights.sum(axis=1, keepdims=True) @ v)).sum())

    step = 1e-2  # a derivative of the fourth order, for differences of numbers that hardly differ
    expected = (8 * (loss(1 + step) - loss(1 - step)) - (loss(1 + 2 * step) - loss(1 - 2 * step))) / (12 * step)
    assert found is not None
    assert abs(found[0, 1] - expected) <= 1e-3 * abs(expected)


@pytest.mark.parametrize("score", [1e2, 1e5, 1e9])
def test_weights_along_lists_sum_to_1_whatever_the_size_of_scores(score: float) -> None:
    """They were e^(score - log-sum-exp), and so 10 % too large at 1e6, where float32 holds no better logarithm."""
    if not hasattr(kernels.active, "edge_weights"):
        pytest.skip("needs the kernels by rows, which builds for Pyodide leave out: run it natively")
    random = np.random.default_rng(0)
    heads, counts, dim = 2, (3, 0, 1, 7), 4
    indptr = np.cumsum([0, *counts])
    indices = random.integers(0, 5, indptr[-1])
    query, keys = (random.uniform(0.5, 1, (n, heads * dim)).astype(np.float32) for n in (4, 5))
    wide = [x.astype(np.float64).reshape(len(x), heads, dim) for x in (query, keys)]
    owners = np.repeat(np.arange(4), counts)
    scores = score * np.einsum("ehd,ehd->he", wide[0][owners], wide[1][indices])
    weights, expected = np.full(scores.shape, np.nan, np.float32), np.zeros(scores.shape)
    lse = np.full((heads, 4), -np.inf, np.float32)
    for i in range(4):
        own = slice(indptr[i], indptr[i + 1])
        if counts[i]:
            expected[:, own] = np.exp(scores[:, own] - scores[:, own].max(axis=1, keepdims=True))
            lse[:, i] = np.log(expected[:, own].sum(axis=1)) + scores[:, own].max(axis=1)
            expected[:, own] /= expected[:, own].sum(axis=1, keepdims=True)
    status = kernels.active.edge_weights(
        query, keys, indptr, indices, None, lse, weights, heads, 4, 5, indices.size, dim, score
    )
    assert status == kernels.OK
    assert np.abs(weights - expected).max() <= 1e-6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ra.mechanisms())
def test_what_learned_maps_make_too_large_is_told_of_what_was_given(name: str) -> None:
    """Errors named projected arrays by the names of inputs, which are finite; one was an AttributeError, and a router
    went on with NaN."""
    attention = ra.create(name, dim=8)
    for parameter in attention.parameters().values():
        parameter *= np.float32(1e10)
    edges = np.array([[0, 1], [1, 2]])
    given = {"edge_index": edges, "latent_index": edges, "levels": np.array([0, 0, 1])}
    names = [spec.name for spec in attention.inputs if spec.name not in ("edge_attr", "features")]
    try:
        found = attention(**{name: given.get(name, np.full((3, 8), 1e30)) for name in names})
    except ra.NumericalInstabilityError as error:
        assert "overflow" in str(error)
        assert "holds" not in str(error)
        assert len(set(str(error).split(", "))) == len(str(error).split(", "))
    else:  # ends of a gate, points of a ball: numbers that only saturate
        assert name in ("dynamic_head", "hierarchical", "hyperbolic", "manifold", "mixed_curvature")
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["query", "keys", "values"])
def test_a_single_row_with_gaps_is_read_as_it_lies(name: str) -> None:
    """The NumPy bodies read what lies between its elements: such a row is its own flat view."""
    inputs = {
        each: np.arange(4, dtype=np.float32)[None] + place for place, each in enumerate(("query", "keys", "values"))
    }
    expected = ra.FlashAttention(dim=4)(**inputs)
    gaps = np.full((1, 8), np.nan, np.float32)
    gaps[:, ::2] = inputs[name]
    found = ra.FlashAttention(dim=4)(**{**inputs, name: gaps[:, ::2]})
    assert (found == expected).all()
    assert (found == inputs["values"]).all()
