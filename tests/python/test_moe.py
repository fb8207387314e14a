"""Mixture of experts against float64, expert by expert and row by row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracle import assert_close, attention

import ruvector_attention as ra
from ruvector_attention.attention import mixture_call

Array = npt.NDArray[Any]
EXPERTS: list[dict[str, Any]] = [
    {"type": "scaled_dot_product"},
    {"type": "scaled_dot_product", "temperature": 0.3},
    {"type": "local_global", "window": 1, "global_tokens": 1},
    {"type": "flash", "normalize": True},
]


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def moe(dim: int = 6, **settings: Any) -> ra.MoEAttention:
    return ra.MoEAttention(dim=dim, experts=json.dumps(EXPERTS), **{"seed": 1, **settings})


def outputs64(q: Array, k: Array, v: Array, seen: Array | None = None) -> Array:
    """What each expert of EXPERTS gives for all rows, (experts, ..., n_query, dim_value)."""
    n_query, n_key = q.shape[-2], k.shape[-2]
    place, key = np.arange(n_query)[:, None] + n_key - n_query, np.arange(n_key)
    near = (abs(place - key) <= 1) | (key < 1) | (place == 0)
    everything = np.ones((n_query, n_key), bool) if seen is None else seen
    return np.stack(
        [
            attention(q, k, v, mask=everything)[0],
            attention(q, k, v, temperature=0.3, mask=everything)[0],
            attention(q, k, v, mask=near & everything)[0],
            attention(q, k, v, normalize=True, mask=everything)[0],
        ]
    )


def mixed64(logits: Array, outputs: Array, top_k: int) -> Array:
    """Softmax over the top_k largest of each row's logits (..., n_query, experts)."""
    kept = np.sort(logits, axis=-1)[..., -top_k, None]
    weights = np.where(logits >= kept, np.exp(logits - logits.max(axis=-1, keepdims=True)), 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Array = np.einsum("...e,e...d->...d", weights, outputs)
    return mixed


def logits64(made: ra.MoEAttention, q: Array) -> Array:
    parameters = made.parameters()
    logits: Array = q.astype(np.float64) @ parameters["router_weight"] + parameters["router_bias"]
    return logits / made.config.temperature


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize(
    "shapes", [((20, 6), (30, 6)), ((2, 3, 9, 6), (9, 6)), ((3, 9, 6), (3, 12, 6)), ((1, 6), (5, 6))]
)
@pytest.mark.parametrize("causal", [False, True])
def test_outputs_and_weights_are_those_of_the_chosen_experts(
    top_k: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], causal: bool
) -> None:
    q, k, v = drawn(*shapes, (*shapes[1][:-1], 4))
    made = moe(top_k=top_k, temperature=0.5, causal=causal)
    n_query, n_key = q.shape[-2], k.shape[-2]
    seen = np.arange(n_key) <= np.arange(n_query)[:, None] + n_key - n_query if causal else None
    expected = mixed64(logits64(made, q), outputs64(q, k, v, seen), top_k)
    assert_close(made(q, k, v), expected)
    weights = made.attention_weights(q, k)
    assert_close(weights @ v, expected)


def test_long_causal_calls_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, grad = drawn((2, 30, 6), (2, 40, 6), (2, 40, 4), (2, 30, 4))
    made = moe(top_k=2, causal=True)
    bias = drawn((30, 40), seed=3)[0]
    results = []
    for piece in (1000, 3):
        monkeypatch.setattr(mixture_call, "PIECE", piece)
        output = made(q, k, v, mask=bias, training=True)
        results.append({"output": output, "weights": made.attention_weights(q, k, mask=bias), **made.backward(grad)})
    for name, whole in results[0].items():
        assert_close(results[1][name], whole.astype(np.float64), tolerance=4e-6)


def test_masks_and_lengths_reach_every_expert() -> None:
    q, k, v = drawn((2, 9, 6), (2, 9, 6), (2, 9, 4))
    random = np.random.default_rng(1)
    made = moe(top_k=2)
    mask = random.random((2, 9, 9)) < 0.6
    assert_close(made(q, k, v, mask=mask), mixed64(logits64(made, q), outputs64(q, k, v, mask), 2))
    window = ra.WindowMask(3)
    seen = window.to_dense(9, 9)
    assert_close(made(q, k, v, mask=window), mixed64(logits64(made, q), outputs64(q, k, v, seen), 2))
    seen = np.tri(9, dtype=bool) & (np.arange(9) < np.array([9, 5])[:, None, None])
    found = made(q, k, v, mask=ra.CausalMask(), key_lengths=[9, 5])
    assert_close(found, mixed64(logits64(made, q), outputs64(q, k, v, seen), 2))


class Counting(ra.Attention):
    """out = the number of the expert, and it counts the rows that it is asked for"""

    name = "counting"
    inputs = (ra.QUERY, ra.KEYS, ra.VALUES)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.rows = number, 0

    @property
    def hidden_dim(self) -> int:
        return 6

    def forward(self, query: Any, keys: Any, values: Any) -> Any:
        self.rows += query.shape[-2]
        return np.full((*query.shape[:-1], values.shape[-1]), self.number, np.float32)


def counting(monkeypatch: pytest.MonkeyPatch, count: int, **settings: Any) -> tuple[ra.MoEAttention, list[Counting]]:
    from ruvector_attention import registry

    monkeypatch.setattr(registry, "_MECHANISMS", dict(registry._MECHANISMS))
    monkeypatch.setattr(Counting, "get_config", lambda self: {"type": "flash", "dim": 6})
    experts = [Counting(number) for number in range(count)]
    return ra.MoEAttention.of(experts, **{"seed": 2, **settings}), experts


def test_only_chosen_experts_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, experts = counting(monkeypatch, 3, top_k=1)
    q, k, v = drawn((50, 6), (4, 6), (4, 2))
    expected = logits64(made, q).argmax(axis=1)
    assert np.array_equal(made(q, k, v), np.repeat(expected[:, None], 2, axis=1))
    assert [expert.rows for expert in experts] == np.bincount(expected, minlength=3).tolist()


def test_an_expert_that_is_full_passes_queries_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capacity 4 of each of 3: rows in order, best expert first, written out row by row."""
    made, experts = counting(monkeypatch, 3, top_k=2, capacity_factor=0.6)
    q, k, v = drawn((10, 6), (4, 6), (4, 2))
    order = np.argsort(-logits64(made, q), axis=1)
    room, chosen = [4, 4, 4], [[] for _ in range(10)]  # type: ignore[var-annotated]
    for preference in range(3):
        for row in range(10):
            expert = order[row, preference]
            if len(chosen[row]) < 2 and room[expert]:
                chosen[row].append(int(expert))
                room[expert] -= 1
    routing = made.get_routing(q)
    assert [[e for e in row if e >= 0] for row in routing.experts.tolist()] == chosen
    assert any(len(row) < 2 for row in chosen)  # the case is what it says
    kept = np.array(
        [
            [logit if e in row else -np.inf for e, logit in enumerate(logits)]
            for row, logits in zip(chosen, logits64(made, q), strict=True)
        ]
    )
    top = np.where(np.isneginf(kept.max(axis=1)), 0, kept.max(axis=1))
    weights = np.exp(kept - top[:, None])
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    assert_close(made(q, k, v)[:, 0], weights @ np.arange(3))
    assert max(expert.rows for expert in experts) <= 4


def test_usage_is_counted_until_it_is_reset() -> None:
    made = moe(top_k=2)
    q, k, v = drawn((40, 6), (5, 6), (5, 2))
    assert not made.get_expert_usage().any()
    made(q, k, v)
    chosen = np.argsort(-logits64(made, q), axis=1)[:, :2]
    expected = np.bincount(chosen.reshape(-1), minlength=4) / 80
    assert np.allclose(made.get_expert_usage(), expected)
    made.get_routing(q[:3])
    assert np.allclose(made.get_expert_usage(), expected)
    made.reset_routing_stats()
    assert not made.get_expert_usage().any()


def losses64(logits: Array, top_k: int) -> tuple[float, float]:
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chosen = np.argsort(-logits, axis=1)[:, :top_k]
    share = np.bincount(chosen.reshape(-1), minlength=logits.shape[1]) / chosen.size
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return logits.shape[1] * float(share @ probabilities.mean(axis=0)), float((log_sum**2).mean())


def test_the_losses_are_their_formulas() -> None:
    made = moe(top_k=2)
    q, k, v = drawn((2, 15, 6), (7, 6), (7, 2))
    output, aux_loss, z_loss = made.compute_with_aux_loss(q, k, v)
    assert np.array_equal(output, made(q, k, v))
    expected = losses64(logits64(made, q.reshape(-1, 6)), 2)
    assert (aux_loss, z_loss) == pytest.approx(expected, rel=1e-5)
    made.parameters()["router_weight"][...] = 0
    assert made.compute_with_aux_loss(q, k, v).aux_loss == pytest.approx(1.0)


@pytest.mark.parametrize("with_losses", [False, True])
@pytest.mark.parametrize("shapes", [((5, 6), (7, 6)), ((2, 5, 6), (7, 6)), ((2, 5, 6), (2, 7, 6))])
def test_gradients_equal_central_differences(
    with_losses: bool, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    q, k, v, grad, mask = drawn(*shapes, (*shapes[1][:-1], 3), (*shapes[0][:-1], 3), (5, 7), seed=4)
    made = moe(top_k=2, temperature=0.8, aux_loss_weight=0.5, z_loss_weight=0.3, causal=True)
    parameters = made.parameters()
    wide = {"query": q, "keys": k, "values": v, "mask": mask}
    wide |= {name: parameters[name] for name in ("router_weight", "router_bias")}
    wide = {name: array.astype(np.float64) for name, array in wide.items()}
    seen = np.where(np.arange(7) <= np.arange(5)[:, None] + 2, 0.0, -np.inf)

    def loss() -> float:
        logits = (wide["query"] @ wide["router_weight"] + wide["router_bias"]) / 0.8
        n_query, n_key = 5, 7
        place, key = np.arange(n_query)[:, None] + 2, np.arange(n_key)
        near = np.where((abs(place - key) <= 1) | (key < 1), 0.0, -np.inf)
        arrays = (wide["query"], wide["keys"], wide["values"])
        addend = wide["mask"] + seen
        outputs = np.stack(
            [
                attention(*arrays, bias=addend)[0],
                attention(*arrays, temperature=0.3, bias=addend)[0],
                attention(*arrays, bias=addend + near)[0],
                attention(*arrays, normalize=True, bias=addend)[0],
            ]
        )
        total = float((mixed64(logits, outputs, 2) * grad).sum())
        if with_losses:
            aux_loss, z_loss = losses64(logits.reshape(-1, 4), 2)
            total += 0.5 * aux_loss + 0.3 * z_loss
        return total

    if with_losses:
        made.compute_with_aux_loss(q, k, v, mask=mask, training=True)
    else:
        made(q, k, v, mask=mask, training=True)
    found = made.backward(grad)
    assert set(found) == set(wide)
    for name, array in wide.items():
        expected = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss()
            array[index] = kept - 1e-5
            expected[index] = (above - loss()) / 2e-5
            array[index] = kept
        assert found[name].shape == expected.shape
        assert np.abs(found[name] - expected).max() <= 1e-3 * np.abs(expected).max(), name


def test_experts_with_parameters_train_through_the_router() -> None:
    """Steps against the gradient lower a loss, and parameters of the experts are among what moves."""
    experts = [ra.LinearAttention(dim=6, num_features=8, seed=3), ra.MultiHeadAttention(dim=6, num_heads=2)]
    made = ra.MoEAttention.of(experts, top_k=1)
    q, k, v, wanted = drawn((30, 6), (30, 6), (30, 6), (30, 6))
    losses = []
    for _ in range(30):
        output = made(q, k, v, training=True)
        losses.append(float(np.square(output - wanted).mean()))
        gradients = made.backward(2 * (output - wanted) / output.size)
        assert set(gradients) == {"query", "keys", "values", *made.parameters()}
        for name, parameter in made.parameters().items():
            parameter -= 0.5 * gradients[name]
    assert losses[-1] < 0.9 * losses[0]
    assert np.array_equal(experts[0].parameters()["features"], made.parameters()["experts.0.features"])


def test_causal_linear_experts_see_what_is_theirs_to_see() -> None:
    q, k, v = drawn((2, 20, 6), (2, 20, 6), (2, 20, 3))
    linear = ra.LinearAttention(dim=6, kernel="elu", causal=True)
    flash = ra.FlashAttention(dim=6, causal=True)
    made = ra.MoEAttention.of([ra.LinearAttention(dim=6, kernel="elu"), ra.FlashAttention(dim=6)], top_k=1, causal=True)
    first = logits64(made, q).argmax(axis=-1) == 0
    assert 0 < first.sum() < first.size
    expected = np.where(first[..., None], linear(q, k, v), flash(q, k, v)).astype(np.float64)
    assert_close(made(q, k, v), expected)
    made(q, k, v, training=True)
    gradients = made.backward(np.ones((2, 20, 3)))
    assert np.abs(gradients["values"][:, -1]).max() < np.abs(gradients["values"][:, 0]).max()


def linear64(q: Array, k: Array, v: Array, addend: Array) -> Array:
    """elu(x) + 1 features, and weights that the exponential of what is added to scores multiplies."""
    features = [np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k)]
    weights = features[0] @ features[1].swapaxes(-1, -2) * np.exp(addend)
    total = weights.sum(axis=-1, keepdims=True)
    output: Array = (weights / np.where(total == 0, 1, total)) @ v
    return output


@pytest.mark.parametrize("kind", ["bool", "float", "object"])
@pytest.mark.parametrize("causal", [False, True])
def test_linear_experts_take_a_mask_with_a_row_for_each_query(kind: str, causal: bool) -> None:
    q, k, v, grad, mask = drawn((2, 12, 6), (2, 12, 6), (2, 12, 3), (2, 12, 3), (12, 12))
    given: Any = {"bool": mask > -0.5, "float": mask, "object": ra.WindowMask(3)}[kind]
    seen = ra.WindowMask(3).to_dense(12, 12) if kind == "object" else mask > -0.5
    wide = {"query": q, "keys": k, "values": v, "mask": mask if kind == "float" else np.where(seen, 0.0, -np.inf)}
    wide = {name: array.astype(np.float64) for name, array in wide.items()}
    experts = [ra.LinearAttention(dim=6, kernel="elu"), ra.LinearAttention(dim=6, kernel="elu", causal=True)]
    made = ra.MoEAttention.of([*experts, ra.FlashAttention(dim=6)], top_k=1, causal=causal)
    chosen = logits64(made, q).argmax(axis=-1)[..., None]
    assert set(chosen.flat) == {0, 1, 2}
    before = np.where(np.tri(12, dtype=bool), 0.0, -np.inf)

    def expected() -> Array:
        q, k, v, addend = wide.values()
        own = addend + before if causal else addend
        outputs = [linear64(q, k, v, own), linear64(q, k, v, addend + before), attention(q, k, v, bias=own)[0]]
        picked: Array = np.select([chosen == index for index in range(3)], outputs)
        return picked

    assert_close(made(q, k, v, mask=given, training=True), expected())
    weights = made.attention_weights(q, k, mask=given)
    assert_close(weights @ v, expected())
    found = made.backward(grad)
    for name in ("keys", "values", *(["mask"] if kind == "float" else [])):
        step = 1e-5 * np.random.default_rng(9).standard_normal(wide[name].shape)
        kept, sums = wide[name], []
        for sign in (1, -1):
            wide[name] = kept + sign * step
            sums.append((grad * expected()).sum())
        wide[name] = kept
        slope = float(np.subtract(*sums)) / 2
        assert abs((found[name] * step).sum() - slope) <= 1e-3 * np.abs(found[name] * step).sum(), name


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("name", ["flash", "hyperbolic", "linear", "local_global", "temporal"])
def test_an_expert_that_is_causal_by_itself_stays_so(name: str, causal: bool, lead: tuple[int, ...]) -> None:
    """And one to which time matters knows when each query is."""
    (x,) = drawn((*lead, 20, 6))
    experts = [ra.create(name, dim=6, causal=True, seed=seed) for seed in (0, 1)]
    made = ra.MoEAttention.of(experts, top_k=1, causal=causal)
    first = made.get_routing(x).experts == 0
    assert 0 < first.sum() < first.size
    expected = np.where(first, *(expert(x, x, x) for expert in experts)).astype(np.float64)
    assert_close(made(x, x, x), expected)


def test_an_expert_can_be_added() -> None:
    made = moe(top_k=2)
    q, k, v = drawn((200, 6), (9, 6), (9, 4))
    added = ra.MultiHeadAttention(dim=6, num_heads=2, vdim=4)
    with pytest.raises(ra.InvalidConfigError, match="has dim = 8; expected 6"):
        made.add_expert(ra.FlashAttention(dim=8))
    made.add_expert(added)
    with pytest.raises(ra.DimensionMismatchError, match=r"expert 4 \(multi_head\) gives 6 channels; expected 4"):
        made(q, k, v)
    made = moe(top_k=2)
    made.add_expert(ra.FlashAttention(dim=6, temperature=3.0))
    outputs = np.concatenate([outputs64(q, k, v), attention(q, k, v, temperature=3.0)[0][None]])
    assert_close(made(q, k, v), mixed64(logits64(made, q), outputs, 2))
    assert made.get_expert_usage()[4] > 0
    again = ra.Attention.from_config(json.loads(json.dumps(made.get_config())))
    again.load_state_dict(made.state_dict())
    assert np.array_equal(again(q, k, v), made(q, k, v))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top_k": 5}, "top_k is 5; expected at most 4, the experts"),
        ({"experts": "flsh"}, "unknown mechanism 'flsh'; did you mean 'flash'"),
        ({"experts": "flash, linear", "num_experts": 3}, "num_experts is 3; expected 2, as experts lists"),
        ({"experts": "[3]"}, "experts lists 3; expected a name"),
        ({"experts": "[{]"}, "experts is no JSON list"),
        ({"experts": "[]"}, "experts lists nothing"),
        (
            {"experts": '[{"type": "self_attention", "num_heads": 2}]', "top_k": 1},
            "takes query; expected query, keys and values",
        ),
        ({"capacity_factor": 0.0}, "capacity_factor is 0.0; expected above 0"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ra.InvalidConfigError, match=words.replace("[", r"\[")):
        ra.MoEAttention(dim=6, **settings)


def test_a_memory_takes_the_place_of_keys_and_values() -> None:
    q, k, v = drawn((9, 6), (30, 6), (30, 4))
    made = moe()
    assert np.array_equal(made(q, ra.Memory(k, v)), made(q, k, v))
    made(q, ra.Memory(k, v), training=True)
    assert "keys" not in made.backward(np.ones((9, 4)))
