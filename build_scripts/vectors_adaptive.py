"""The golden cases of the linear, local-global and adaptive mechanisms, for make_vectors.py: torch, in float64."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from make_vectors import Case, Maker

SOURCE_MASKED = "torch.nn.functional.scaled_dot_product_attention under a dense mask, float64"
SOURCE_MOE = "torch, float64: topk and softmax of the router's logits over scaled_dot_product_attention"
SOURCE_GATED = "torch, float64: scaled_dot_product_attention head by head, each times its gate"
SOURCE_LINEAR = "torch, float64: phi(Q) (phi(K)^T V) / (phi(Q) phi(K)^T 1), phi as in the paper"


def add_all(maker: Maker) -> None:
    maker.random = maker.np.random.default_rng(20200930)  # its own draws: other cases come and go
    linear(maker)
    local_global(maker)
    moe(maker)
    dynamic_head(maker)
    learned_routing(maker)
    auto(maker)


def linear(maker: Maker) -> None:
    draw, np = maker.draw, maker.np
    for kernel in ("favor", "elu", "relu"):
        for causal in (False, True):
            name = f"{kernel}{'-causal' if causal else ''}"
            _linear(maker, name, kernel, draw(6, 4), draw(9, 4), draw(9, 3), causal=causal)
        _linear(maker, f"{kernel}-batch", kernel, draw(2, 5, 8), draw(2, 7, 8), draw(2, 7, 2))
        hidden = (draw(6, 4), draw(9, 4), draw(9, 3))
        _linear(maker, f"{kernel}-mask-of-keys", kernel, *hidden, mask=np.arange(9) % 3 != 1)
    _linear(maker, "favor-large-rows", "favor", draw(5, 8, size=4), draw(20, 8, size=4), draw(20, 3))
    _linear(maker, "favor-key-tile-and-one", "favor", draw(17, 4), draw(129, 4), draw(129, 2))


def _linear(
    maker: Maker, name: str, kernel: str, query: Any, keys: Any, values: Any, *, causal: bool = False, mask: Any = None
) -> None:
    torch, dim = maker.torch, query.shape[-1]
    config: Case = {"dim": dim, "kernel": kernel}
    parameters: Case = {}
    q, k, v = (maker.tensor(array) for array in (query, keys, values))
    if kernel == "favor":
        config["num_features"] = 12
        parameters["features"] = maker.draw(12, dim)
        rows = maker.tensor(parameters["features"])
        q, k = q / dim**0.25, k / dim**0.25
        # a common factor of all features cancels: without it large rows would underflow in float64 too
        logs = [x @ rows.T - (x * x).sum(-1, keepdim=True) / 2 for x in (q, k)]
        of_query, of_keys = torch.exp(logs[0] - logs[0].amax(-1, keepdim=True)), torch.exp(logs[1] - logs[1].amax())
    else:
        function = torch.relu if kernel == "relu" else lambda x: torch.nn.functional.elu(x) + 1
        of_query, of_keys = function(q), function(k)
    similarities = of_query @ of_keys.transpose(-1, -2)
    options: Case = {}
    if mask is not None:
        options["mask"] = mask
        similarities = similarities * torch.from_numpy(mask)
    if causal:
        options["causal"] = True
        similarities = similarities.tril(keys.shape[-2] - query.shape[-2])
    weights = (similarities / similarities.sum(-1, keepdim=True)).nan_to_num(0.0)
    expected = {"output": weights @ v, "attention_weights": weights}
    inputs = {"query": query, "keys": keys, "values": values}
    maker.add("linear", name, config, inputs, expected, SOURCE_LINEAR, options, parameters)


def local_global(maker: Maker) -> None:
    """torch's attention under the pattern as a mask, which is written here pair by pair."""
    np, draw = maker.np, maker.draw
    for name, window, tokens, causal in (
        ("window", 2, 0, False),
        ("window-and-globals", 1, 2, False),
        ("causal", 3, 1, True),
        ("only-globals", 0, 3, False),
    ):
        config: Case = {"dim": 5, "window": window, "global_tokens": tokens}
        seen = np.array(
            [
                [(abs(i - j) <= window or j < tokens or i < tokens) and not (causal and j > i) for j in range(12)]
                for i in range(12)
            ]
        )
        query, keys, values = draw(12, 5), draw(12, 5), draw(12, 3)
        expected = maker.attend(query, keys, values, 5**-0.5, np.where(seen, 0.0, -np.inf))
        inputs = {"query": query, "keys": keys, "values": values}
        options: Case = {"causal": True} if causal else {}
        maker.add("local_global", name, config, inputs, expected, SOURCE_MASKED, options)


def moe(maker: Maker) -> None:
    """Experts that differ in temperature; every expert on every row, those not chosen with weight 0."""
    torch, draw = maker.torch, maker.draw
    temperatures = (1.0, 0.25, 4.0)
    experts = [{"type": "scaled_dot_product", "temperature": temperature} for temperature in temperatures]
    for name, top_k, shape in (("best", 1, (12, 4)), ("two", 2, (12, 4)), ("batch", 2, (3, 5, 4)), ("all", 3, (7, 4))):
        config: Case = {"dim": 4, "experts": json.dumps(experts), "top_k": top_k}
        parameters = {"router_weight": draw(4, 3), "router_bias": draw(3, size=0.3)}
        query, keys, values = draw(*shape), draw(*shape[:-2], 9, 4), draw(*shape[:-2], 9, 2)
        q, k, v = (maker.tensor(array) for array in (query, keys, values))
        logits = q @ maker.tensor(parameters["router_weight"]) + maker.tensor(parameters["router_bias"])
        best, chosen = logits.topk(top_k, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, chosen, torch.softmax(best, -1))
        attend = torch.nn.functional.scaled_dot_product_attention
        outputs = torch.stack([attend(q, k, v, scale=0.5 / temperature) for temperature in temperatures], -2)
        output = (weights[..., None] * outputs).sum(-2)
        inputs = {"query": query, "keys": keys, "values": values}
        maker.add("moe", name, config, inputs, {"output": output}, SOURCE_MOE, None, parameters)


def dynamic_head(maker: Maker) -> None:
    torch, draw = maker.torch, maker.draw
    for name, batch, opened in (("all-heads", (), 3.0), ("some-heads", (), 0.0), ("batch", (4,), 0.0)):
        parameters: Case = {}
        for part in ("query", "keys", "values", "output"):
            parameters |= {f"{part}_weight": draw(6, 6, size=0.5), f"{part}_bias": draw(6, size=0.3)}
        parameters |= {"gate_weight": draw(6, 3, size=2.0), "gate_bias": draw(3, size=0.1) + maker.np.float32(opened)}
        inputs = {"query": draw(*batch, 5, 6), "keys": draw(*batch, 7, 6), "values": draw(*batch, 7, 6)}
        wide = {key: maker.tensor(array) for key, array in (inputs | parameters).items()}
        q, k, v = (
            (wide[part] @ wide[f"{part}_weight"] + wide[f"{part}_bias"]).unflatten(-1, (3, 2)).transpose(-2, -3)
            for part in ("query", "keys", "values")
        )
        gates = torch.sigmoid(wide["query"].mean(-2) @ wide["gate_weight"] + wide["gate_bias"])
        shares = torch.where(gates > 0.5, gates, 0.0)
        heads = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        output, trained = (
            (heads * by_head[..., None, None]).transpose(-2, -3).flatten(-2) @ wide["output_weight"]
            + wide["output_bias"]
            for by_head in (shares, gates)
        )
        config: Case = {"dim": 6, "num_heads": 3}
        expected = {"output": output}
        maker.add("dynamic_head", name, config, inputs, expected, SOURCE_GATED, None, parameters, trained=trained)


def learned_routing(maker: Maker) -> None:
    torch, draw = maker.torch, maker.draw
    temperatures = (1.0, 0.25, 4.0)
    experts = [{"type": "scaled_dot_product", "temperature": temperature} for temperature in temperatures]
    for name, batch, threshold in (("two-of-three", (), 0.25), ("best", (), 1.0), ("all", (4,), 0.0)):
        config: Case = {"dim": 4, "experts": json.dumps(experts), "threshold": threshold}
        parameters = {"router_weight": draw(4, 3, size=2), "router_bias": draw(3, size=0.3)}
        query, keys, values = draw(*batch, 5, 4), draw(*batch, 9, 4), draw(*batch, 9, 2)
        q, k, v = (maker.tensor(array) for array in (query, keys, values))
        logits = q.mean(-2) @ maker.tensor(parameters["router_weight"]) + maker.tensor(parameters["router_bias"])
        shares = torch.softmax(logits, -1)
        shares = torch.where(shares >= shares.amax(-1, keepdim=True).clamp(max=threshold), shares, 0.0)
        shares = shares / shares.sum(-1, keepdim=True)
        attend = torch.nn.functional.scaled_dot_product_attention
        outputs = torch.stack([attend(q, k, v, scale=0.5 / temperature) for temperature in temperatures], -1)
        output = (shares[..., None, None, :] * outputs).sum(-1)
        trained = (torch.softmax(logits, -1)[..., None, None, :] * outputs).sum(-1)
        inputs = {"query": query, "keys": keys, "values": values}
        expected = {"output": output}
        maker.add("learned_routing", name, config, inputs, expected, SOURCE_MOE, None, parameters, trained=trained)


def auto(maker: Maker) -> None:
    """What it picks for few rows is exact attention."""
    draw = maker.draw
    maker.scaled("few-rows", draw(6, 5), draw(9, 5), draw(9, 3), mechanism="auto")
    maker.scaled("causal", draw(7, 5), draw(7, 5), draw(7, 3), mechanism="auto", causal=True)
