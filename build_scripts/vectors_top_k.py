"""Golden cases where only the highest scores of a query count, for make_vectors.py: torch, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vectors_adaptive import local_global
from vectors_geometry import dual_space, hyperbolic

if TYPE_CHECKING:
    from make_vectors import Case, Maker
    from make_vectors_graph import GraphMaker

SOURCE = "torch, float64: topk, then scaled_dot_product_attention among these"


def add_all(maker: Maker, graphs: GraphMaker) -> None:
    kept = maker.random, maker.upstream  # so that these cases move no others
    maker.random, maker.upstream = (maker.np.random.default_rng(20210613 + i) for i in range(2))
    maker.top_k = 3
    scaled(maker)
    local_global(maker)
    grouped(maker)
    for mechanism, heads in (("multi_head", 2), ("self_attention", 4), ("cross_attention", 2)):
        projected(maker, mechanism, heads)
    seen = maker.random.random((5, 8)) < 0.5
    seen[:, 2] = True
    hyperbolic(maker, "plain")
    hyperbolic(maker, "many", c=2.5, tau=0.5, n_query=9, n_key=40, dim=8, dim_value=6)
    hyperbolic(maker, "one-query", n_query=1, n_key=30)
    hyperbolic(maker, "mask", mask=seen)
    hyperbolic(maker, "tangent", aggregation="tangent", c=1.5)
    hyperbolic(maker, "lorentz", model="lorentz", c=0.7)
    dual_space(maker, "two-heads", 2, (3, 2), 1.0)
    for interleaved in (False, True):
        graphs.graph_rope(interleaved, dim=8)
    graphs.temporal("decay", causal=True)
    graphs.temporal("time2vec", causal=False)
    maker.top_k = None
    maker.random, maker.upstream = kept


def scaled(maker: Maker) -> None:
    draw, np = maker.draw, maker.np
    maker.scaled("plain", draw(5, 8), draw(30, 8), draw(30, 5))
    maker.scaled("one-query", draw(1, 6), draw(200, 6), draw(200, 3))
    maker.scaled("blocks-of-queries", draw(200, 2), draw(9, 2), draw(9, 2))
    maker.scaled("more-than-there-are", draw(4, 6), draw(2, 6), draw(2, 3))
    maker.scaled("batch", draw(2, 3, 4, 5), draw(2, 3, 9, 5), draw(2, 3, 9, 2))
    maker.scaled("cosine", draw(5, 8), draw(9, 8), draw(9, 3), config={"normalize": True, "scale": 10})
    masked = (draw(6, 4), draw(9, 4), draw(9, 3))
    seen = maker.random.random((6, 9)) < 0.5
    seen[1], seen[4] = False, np.arange(9) == 7
    maker.scaled("mask-with-an-empty-row", *masked, mask=seen)
    maker.scaled("bias", *masked, bias=draw(6, 9))
    far = np.where(seen, draw(6, 9), np.float32(-np.inf)).astype(np.float32)
    maker.scaled("float-mask-with-minus-infinity", *masked, mask=far)
    maker.scaled("causal", draw(7, 4), draw(9, 4), draw(9, 3), causal=True)
    maker.scaled("plain", draw(9, 8), draw(21, 8), draw(21, 5), mechanism="flash")
    maker.scaled("causal", draw(20, 3), draw(40, 3), draw(40, 3), causal=True, mechanism="flash")


def grouped(maker: Maker, heads: int = 4, kv_heads: int = 2, width: int = 3) -> None:
    """Channels as they come: each head chooses by itself, also where it shares its keys."""
    inputs: Case = {"query": maker.draw(5, heads * width)}
    inputs |= {name: maker.draw(8, kv_heads * width) for name in ("keys", "values")}
    q, k, v = (maker.tensor(x).unflatten(-1, (-1, width)).transpose(0, 1) for x in inputs.values())
    k, v = (x.repeat_interleave(heads // kv_heads, 0) for x in (k, v))
    expected = maker.attend(q, k, v, width**-0.5)
    expected["output"] = expected["output"].transpose(0, 1).flatten(-2)
    config = {"dim": heads * width, "num_heads": heads, "num_kv_heads": kv_heads, "projections": False}
    maker.add("multi_head", "grouped-query", config, inputs, expected, SOURCE)


def projected(maker: Maker, mechanism: str, heads: int, dim: int = 8) -> None:
    """Through maps into the heads, of a batch of two, and out of them again."""
    kdim = 6 if mechanism == "cross_attention" else dim
    parameters: Case = {}
    for part, size in {"query": dim, "keys": kdim, "values": kdim, "output": dim}.items():
        parameters[f"{part}_weight"] = maker.draw(size, dim, size=size**-0.5)
        parameters[f"{part}_bias"] = maker.draw(dim, size=0.3)
    inputs: Case = {"query": maker.draw(2, 5, dim)}
    if mechanism != "self_attention":
        inputs |= {name: maker.draw(2, 7, kdim) for name in ("keys", "values")}

    def mapped(part: str, x: Any) -> Any:
        return x @ maker.tensor(parameters[f"{part}_weight"]) + maker.tensor(parameters[f"{part}_bias"])

    sources = {"query": inputs["query"], "keys": inputs["query"], "values": inputs["query"], **inputs}
    q, k, v = (
        mapped(part, maker.tensor(x)).unflatten(-1, (heads, -1)).transpose(-2, -3) for part, x in sources.items()
    )
    expected = maker.attend(q, k, v, (dim // heads) ** -0.5)
    expected["output"] = mapped("output", expected["output"].transpose(-2, -3).flatten(-2))
    config: Case = {"dim": dim, "num_heads": heads, **({} if kdim == dim else {"kdim": kdim})}
    maker.add(mechanism, "maps", config, inputs, expected, SOURCE, parameters=parameters)
