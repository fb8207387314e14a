"""What build_scripts/fuzz.py found where numbers are tiny, huge or few; and what it must not take for a finding."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvector_attention as ra
from ruvector_attention import engine, kernels, products

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "build_scripts"))

from fuzzing import float64, rounding, shadow, twins, verdicts
from fuzzing.cases import Case

IN_C = ra.backend() != "numpy"
needs_c = pytest.mark.skipif(not IN_C, reason="needs another backend to compare: run it where there is a binary")


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n", [1, 5, 61, 130, 264])
@pytest.mark.parametrize("k", [1, 64, 300, 600])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_row_of_a_product_is_the_same_bits_alone_and_among_others(k: int, n: int, has_bias: bool) -> None:
    """A single row was summed in another order, which showed where threads took 192 rows and 1."""
    x, weight, bias = normal(193, k), normal(k, n, seed=1), normal(n, seed=2) if has_bias else None
    together = products.project(x, weight, bias, max_threads=1)
    for i in (0, 7, 192):
        assert np.array_equal(products.project(x[i : i + 1], weight, bias), together[i : i + 1])
    out = np.full(together.shape, np.nan, np.float32)
    for first, last in ((0, 192), (192, 193)):
        kernels.active.gemm(x, weight, bias, out, 193, n, k, k, 1, n, 1, first, last)
    assert np.array_equal(out, together)


@pytest.mark.parametrize("n_query", [1, 70])
@pytest.mark.parametrize(
    ("kind", "lists"),
    [(kind, lists) for kind in ("dot", "poincare", "lorentz") for lists in ("one", "causal", "best")]
    + [("dot", "given")],
)
@pytest.mark.parametrize("dim_value", [3, 64, 130])
def test_the_score_of_a_single_key_has_no_gradient(kind: str, dim_value: int, lists: str, n_query: int) -> None:
    """It changes nothing. What was left was the rounding of <grad, value> - <grad, output>, times any slope."""
    dim = 8
    q, k = normal(n_query, dim) * np.float32(0.1), normal(70, dim, seed=1) * np.float32(0.1)
    v, grad = normal(70, dim_value, seed=2), normal(n_query, dim_value, seed=3)
    settings: dict[str, Any] = {"scale": 1.0}
    if kind != "dot":
        settings["spaces"] = (engine.Space(kind, 0, dim, curvature=1.0),)
    if lists == "one":
        k, v = k[:1], v[:1]
    elif lists == "causal":  # which the first query is
        k, v = k[:n_query], v[:n_query]
        settings["causal"] = True
    elif lists == "best":
        settings["top_k"] = 1
    else:
        settings["edges"] = engine.Edges(np.arange(n_query + 1), np.arange(n_query) % 70)
    out, lse = engine.attend(q, k, v, return_lse=True, **settings)
    of_query = engine.attend_backward(q, k, v, out, lse, grad, **settings).query
    # of dot products, where many queries meet one key, the weight may be next to 1 (docs/decisions/0005)
    exact = IN_C and not (kind == "dot" and lists == "one")
    size = 0.0 if exact else 4 * dim_value * 2.0**-24 * np.abs(grad).max() * np.abs(v).max() * np.abs(k).max()
    assert np.abs(of_query[:1] if lists == "causal" else of_query).max() <= size


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("value", [6.2902531, 1.1, -3.3])
def test_linear_attention_to_one_key_gives_its_value(value: float, causal: bool) -> None:
    """Features were all alike, and 256 of them summed in one chain, each addition rounding to the same side."""
    attention = ra.LinearAttention(256, kernel="elu", causal=causal)
    rows, values = np.zeros((4, 256), np.float32), np.full((4, 3), value, np.float32)
    mask = None if causal else np.arange(4) < 1
    found = attention(rows, rows, values, mask=mask)[:1]
    assert np.abs(found - values[:1]).max() <= 2e-6 * (1 + abs(value)) / 2


@needs_c
def test_squares_of_distances_that_overflow_are_no_finding() -> None:
    """A distance of 1e25 is within float32, and its square is not: which is told."""
    space = engine.Space("euclidean", 0, 2)
    with shadow.beside(), pytest.raises(ra.NumericalInstabilityError, match="overflows float32"):
        engine.attend(normal(9, 2) * np.float32(1e25), normal(3, 2), normal(3, 2), scale=1.0, spaces=(space,))


@pytest.mark.parametrize("way", ["dense", "key lengths", "listed", "graph", "linear", "causal linear"])
def test_gradients_of_huge_slopes_are_0_where_values_are_alike(way: str) -> None:
    """Whatever the weights, the output is the value. What float32 leaves of <grad, value> - <grad, output>, times such
    a scale, was as large as gradients are, though weights were made in float64."""
    scale, dim = 1e4 if "linear" in way else 1e7, 4
    q, grad = normal(6, dim), normal(6, 5, seed=3)
    k, v = (np.repeat(normal(1, n, seed=n), 9, axis=0) for n in (dim, 5))  # keys as well: else one takes all
    options: dict[str, Any] = {}
    if "linear" in way:
        attention: ra.Attention = ra.LinearAttention(dim, kernel="elu", scale=scale, causal="causal" in way)
    elif way == "graph":
        attention = ra.GraphAttention(dim, temperature=1 / scale)
        k = q = normal(6, dim)
        grad, v = normal(6, dim, seed=3), k
        options["edge_index"] = np.array([[0, 0, 0, 2, 2, 3], [1, 1, 1, 4, 4, 5]])
    else:
        attention = ra.ScaledDotProductAttention(dim, scale=scale)
        if way == "listed":
            options["mask"] = ra.COOMask([(i, (i + j) % 9) for i in range(6) for j in (0, 2, 5)])
        elif way == "key lengths":
            options["key_lengths"] = 7
            v[7] = np.nan
    given = {"nodes": q} if way == "graph" else {"query": q, "keys": k, "values": v}
    attention.forward(**given, training=True, **options)
    gradients = attention.backward(grad)
    largest = [float(np.nanmax(np.abs(x))) for x in (grad, v, q, k)]
    # sums of some ten terms; those of linear attention are powers of logarithms as large as the scale
    terms = 2.0**-48 * 45 * (scale * max(largest[2:]) if "linear" in way else 1)
    rounding_of_float64 = terms * scale * largest[0] * largest[1] * max(largest[2:])
    for name in ("query_weight", "keys_weight") if way == "graph" else ("query", "keys"):
        assert np.abs(gradients[name]).max() <= rounding_of_float64


@needs_c
def test_points_closer_than_their_times_are_exact_have_a_direction_still() -> None:
    """Of such points, moved ones meet: how far an answer moves with them is no bound."""
    attention = ra.HyperbolicAttention(35, model="lorentz", top_k=1, dropout=0.04, temperature=5.8, seed=20)
    with shadow.beside():
        keys, values = normal(8, 35) * np.float32(1e-13), normal(8, 32, seed=1)
        output = attention(np.zeros((9, 35)), keys, values, training=True)
        gradients = attention.backward(normal(*output.shape, seed=2))
    assert np.abs(gradients["keys"]).max() > 0


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["linear", "scaled_dot_product", "graph"])
def test_gradients_whose_sums_overflow_are_told(name: str, causal: bool) -> None:
    """<grad, output> is 1e39, which no float32 holds, though gradients may be less."""
    if name == "linear":
        attention: ra.Attention = ra.LinearAttention(1, kernel="elu", num_features=5, causal=causal)
    else:
        attention = ra.ScaledDotProductAttention(1)
    q, k, v, grad = normal(5, 1), normal(51, 1, seed=1), normal(51, 4, seed=2), normal(5, 4, seed=3)
    options = {"causal": causal} if name == "scaled_dot_product" else {}
    if name == "graph":
        options["mask"] = ra.COOMask([(i, j) for i in range(5) for j in range(i, 51, 7)])
    attention.forward(query=q, keys=k, values=v * np.float32(1e28), training=True, **options)
    try:
        gradients = attention.backward(grad * np.float32(1e11))
    except ra.NumericalInstabilityError as error:
        assert "overflows float32, or what it is summed from does" in str(error)
    else:
        assert not IN_C
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    attention.forward(query=q, keys=k, values=v, training=True, **options)
    small = attention.backward(grad)
    assert all(np.isfinite(gradient).all() for gradient in small.values())


@needs_c
@pytest.mark.parametrize("kernel", ["prefix_attention_backward", "attention_backward", "attention_sparse_backward"])
def test_what_overflows_is_no_finding_and_what_need_not_is_one(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attention: ra.Attention = ra.ScaledDotProductAttention(1)
    if kernel == "prefix_attention_backward":
        attention = ra.LinearAttention(1, kernel="elu", num_features=5)
    options = {"mask": ra.COOMask([(0, 1), (1, 2), (4, 30)])} if "sparse" in kernel else {}

    def train(size: float, more: float) -> Any:
        arrays = {"query": normal(5, 1), "keys": normal(51, 1, seed=1), "values": normal(51, 4, seed=2)}
        attention.forward(**{**arrays, "values": arrays["values"] * np.float32(size)}, training=True, **options)
        return attention.backward(normal(5, 4, seed=3) * np.float32(more))

    with shadow.beside(), pytest.raises(ra.NumericalInstabilityError, match="what it is summed from"):
        train(1e28, 1e11)
    plain = getattr(kernels.active, kernel)

    def infinite(*arguments: Any) -> int:
        status = int(plain(*arguments))
        arguments[shadow._checkers[kernel][0][0]].reshape(-1)[0] = np.inf
        return status

    monkeypatch.setattr(kernels.active, kernel, infinite)
    with shadow.beside(), pytest.raises(verdicts.FindingError, match="is inf"):
        train(1.0, 1.0)


def tied(attention: ra.Attention, size: float) -> twins.Call:
    """A call whose best keys are told by products of this size."""
    case = Case(1, 1)
    problem = twins.Problem(case.draw, ra.ScaledDotProductAttention(2))
    problem.inputs = {"query": normal(4, 2) * np.float32(size), "keys": normal(63, 2, seed=1) * np.float32(size)}
    problem.inputs["values"] = normal(63, 3, seed=2)
    problem.sizes = {"n_query": 4, "n_key": 63}
    problem.lead, problem.is_vector = (), False
    return twins.Call(case, attention, problem, {}, attention.forward(**problem.inputs))


@pytest.mark.parametrize("way", ["by_definition", "on_numpy"])
def test_scores_that_underflow_may_choose_any_of_the_keys(way: str) -> None:
    """Keys are ranked by float32 scores, the lower index first where they tie."""
    if way == "on_numpy" and not IN_C:
        pytest.skip("needs another backend to compare: run it where there is a binary")
    attention = ra.ScaledDotProductAttention(2, top_k=1)
    assert not getattr(float64, way)(tied(attention, 1e-24))
    assert getattr(float64, way)(tied(attention, 1.0))
    if not IN_C:
        underflown = tied(attention, 1e-25)
        assert np.array_equal(underflown.found, np.repeat(underflown.inputs["values"][:1], 4, axis=0))


def test_ties_are_no_wider_than_errors() -> None:
    """A choice that scores decide is compared: what is left out must score less by more than both errors."""
    rounding.Seen.decided = False
    attention = ra.ScaledDotProductAttention(2, top_k=1)
    call = tied(attention, 1.0)
    if IN_C:
        with shadow.beside():
            call.again()
        assert not rounding.Seen.decided
        with shadow.beside():
            tied(attention, 1e-24)
        assert rounding.Seen.decided
    wrong = twins.Call(call.case, attention, call.problem, {}, call.found[::-1])
    with pytest.raises(verdicts.FindingError, match="by its definition"):
        float64.by_definition(wrong)


@needs_c
def test_distances_to_antipodes_lose_more_than_others() -> None:
    """There the arc sine is as steep as a root: one rounding of a chord is 3e-4 of the distance."""
    curvature = 1.2117697542780028
    space = engine.Space("spherical", 0, 1, curvature=curvature)
    for seed in range(12):
        random = np.random.default_rng(seed)
        q, k = (random.choice((-1.0, 1.0), (n, 1)) / np.sqrt(curvature) for n in (8, 14))
        v, bias = random.standard_normal((14, 2)), random.standard_normal((8, 14)).astype(np.float32) * 0.1
        v[3] *= 1e6
        arrays = (x.astype(np.float32) for x in (q, k, v))
        with shadow.beside():
            found = engine.attend(*arrays, scale=0.718, bias=bias, spaces=(space,))
        assert np.isfinite(found).all()


@needs_c
@pytest.mark.parametrize("way", ["lists", "linear"])
def test_one_item_that_overflows_is_told_of_all(way: str) -> None:
    """The fuzzing took it for the first one's, whose numbers are small."""
    sizes = np.array([1, 3e38], np.float32)[:, None, None]
    with shadow.beside(), pytest.raises(ra.NumericalInstabilityError, match="overflow"):
        if way == "lists":
            graph = ra.GraphAttention(4, num_heads=2)
            for name, size in (("query_weight", 1e37), ("keys_weight", 1e10)):
                graph.parameters()[name][:, 2:] *= np.float32(size)
            graph(normal(6, 4), [(0, 1), (2, 1), (3, 4), (5, 4)])
        else:
            values = np.abs(np.sign(normal(2, 9, 2)) * sizes)
            ra.LinearAttention(4, kernel="elu", causal=True)(normal(2, 9, 4), normal(2, 9, 4, seed=1), values)


@needs_c
def test_the_same_infinity_is_no_finding() -> None:
    """Rows without a pair to turn stay as they are, whatever they hold."""
    attention = ra.GraphRoPEAttention(2, num_heads=2)
    rows = np.full((3, 2), np.inf, np.float32)
    with shadow.beside(), pytest.raises(ra.NumericalInstabilityError, match="keys holds inf"):
        attention(normal(3, 2), rows, normal(3, 2), query_positions=1.0, key_positions=2.0)
    with np.errstate(invalid="ignore"), pytest.raises(verdicts.FindingError, match="is -inf"):
        shadow.within("a number", -rows, rows.astype(np.float64), 0.0)


@pytest.mark.parametrize("number", [20, 205])
def test_points_near_the_boundary_are_drawn_of_any_size(number: int) -> None:
    """The fuzzing's own squares of 1e30 overflowed float32."""
    case = Case(31, number)
    case.run()
    assert case.operations > 0
