"""Golden vectors of the geometric mechanisms: what geoopt, on torch, makes of them in float64. For make_vectors.py."""

from __future__ import annotations

from typing import Any

SOURCE = "torch and geoopt: PoincareBall, float64"
TOLERANCE = 5e-6  # scores from distances: float32 rounds them by more than it rounds dot products

Case = dict[str, Any]


def in_ball(maker: Any, *shape: int, c: float, reach: float = 0.9) -> Any:
    """Points of the ball with four decimals, at radii up to ``reach`` of its own."""
    x = maker.random.standard_normal(shape)
    radii = maker.random.random((*shape[:-1], 1)) * reach / c**0.5
    x = x / maker.np.linalg.norm(x, axis=-1, keepdims=True) * radii
    return maker.np.round(x, 4).astype(maker.np.float32)


def _ball(c: float) -> Any:
    import geoopt  # type: ignore[import-not-found, unused-ignore]
    import torch  # type: ignore[import-not-found, unused-ignore]

    return geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))


def hyperbolic(
    maker: Any,
    name: str,
    *,
    c: float = 1.0,
    tau: float = 1.0,
    n_query: int = 5,
    n_key: int = 8,
    dim: int = 4,
    dim_value: int = 3,
    reach: float = 0.9,
    tolerance: float = TOLERANCE,
    mask: Any = None,
    **config: Any,
) -> None:
    torch, ball = maker.torch, _ball(c)
    shapes = {"query": (n_query, dim), "keys": (n_key, dim), "values": (n_key, dim_value)}
    inputs = {key: in_ball(maker, *shape, c=c, reach=reach) for key, shape in shapes.items()}
    q, k, v = (maker.tensor(array) for array in inputs.values())
    scores = -ball.dist(q[:, None], k[None]) / tau
    if mask is not None:
        scores = scores.masked_fill(~torch.from_numpy(mask), -torch.inf)
    weights = torch.softmax(scores, -1)
    aggregation = config.get("aggregation", "gyromidpoint")
    spread = v.expand(n_query, n_key, dim_value)
    output = ball.weighted_midpoint(spread, weights, reducedim=[-2], dim=-1)
    if aggregation == "tangent":
        output = ball.expmap0(weights @ ball.logmap0(v))
    elif aggregation == "frechet":
        for _ in range(2000):
            step = (weights[..., None] * ball.logmap(output[:, None], spread)).sum(-2)
            output = ball.expmap(output, 0.1 * step)
        assert float(step.norm()) < 1e-10
    settings: Case = {"dim": dim, "curvature": -c, **config}
    if tau != 1.0:
        settings["temperature"] = tau
    options = {} if mask is None else {"mask": mask}
    expected = {"output": output.numpy(), "attention_weights": weights.numpy()}
    maker.add("hyperbolic", name, settings, inputs, expected, SOURCE, options, tolerance=tolerance)


def add_all(maker: Any) -> None:
    seen = maker.random.random((5, 8)) < 0.6
    seen[:, 2] = True
    hyperbolic(maker, "plain")
    hyperbolic(maker, "curved", c=2.5, tau=0.5, n_query=9, n_key=40, dim=8, dim_value=6)
    hyperbolic(maker, "flat", c=0.1)
    hyperbolic(maker, "one-query", n_query=1, n_key=30)
    hyperbolic(maker, "mask", mask=seen)
    hyperbolic(maker, "near-the-boundary", reach=0.999, tolerance=2e-5)
    hyperbolic(maker, "tangent", aggregation="tangent", c=1.5)
    hyperbolic(maker, "frechet", aggregation="frechet", c=1.5)
    hyperbolic(maker, "lorentz", model="lorentz", c=0.7)
    hyperbolic(maker, "lorentz-tangent", model="lorentz", aggregation="tangent", tau=2.0)
