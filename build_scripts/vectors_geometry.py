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
    weights = torch.softmax(maker.chosen(scores), -1)
    aggregation = config.get("aggregation", "gyromidpoint")
    spread = v.expand(n_query, n_key, dim_value)
    output = ball.weighted_midpoint(spread, weights, reducedim=[-2], dim=-1)
    if aggregation == "tangent":
        output = ball.expmap0(weights @ ball.logmap0(v))
    elif aggregation == "frechet":
        for _ in range(2000):
            step = (weights[..., None] * ball.logmap(output[:, None], spread)).sum(-2)
            output = ball.expmap(output, 0.1 * step)
        assert float(step.detach().norm()) < 1e-10
    settings: Case = {"dim": dim, "curvature": -c, **config}
    if tau != 1.0:
        settings["temperature"] = tau
    options = {} if mask is None else {"mask": mask}
    expected = {"output": output, "attention_weights": weights}
    maker.add("hyperbolic", name, settings, inputs, expected, SOURCE, options, tolerance=tolerance)


def mixed_curvature(maker: Any, name: str, fusion: str, aggregation: str, sizes: tuple[int, int, int]) -> None:
    import geoopt

    torch, np = maker.torch, maker.np
    flat, curved, turned = sizes
    c, sphere_c, weights = 1.5, 0.6, np.round(maker.random.random(3) + 0.5, 3).astype(np.float32)
    ball, sphere = _ball(c), geoopt.Sphere()
    inputs: Case = {}
    for key, n in (("query", 5), ("keys", 9), ("values", 9)):
        parts = [maker.draw(n, flat), in_ball(maker, n, curved, c=c), maker.draw(n, turned)]
        inputs[key] = np.concatenate(parts, axis=-1)
    (qe, qh, qs), (ke, kh, ks), (ve, vh, vs) = (
        torch.split(maker.tensor(array), list(sizes), dim=-1) for array in inputs.values()
    )
    qs, ks, vs = (sphere.projx(x) for x in (qs, ks, vs))  # of radius 1; distances there are sqrt(c) times ours
    d = [torch.cdist(qe, ke), ball.dist(qh[:, None], kh[None]), sphere.dist(qs[:, None], ks[None]) / sphere_c**0.5]
    w = maker.tensor(weights)
    if fusion == "distance":
        scores = -sum(w[i] * d[i] ** 2 for i in range(3))
    else:
        scores = w[0] * qe @ ke.T / flat**0.5 - w[1] * d[1] - w[2] * d[2]
    shares = torch.softmax(scores, -1)
    output = shares @ maker.tensor(inputs["values"])
    if aggregation == "product":
        middle = ball.weighted_midpoint(vh.expand(5, 9, curved), shares, reducedim=[-2], dim=-1)
        output = torch.cat([shares @ ve, middle, sphere.projx(shares @ vs) / sphere_c**0.5], -1)
    config: Case = {"dim": sum(sizes), "hyperbolic_dim": curved, "spherical_dim": turned, "hyperbolic_curvature": -c}
    config |= {"spherical_curvature": sphere_c, "fusion": fusion, "aggregation": aggregation}
    expected = {"output": output, "attention_weights": shares}
    source = "torch and geoopt: PoincareBall and Sphere, float64"
    parameters = {"component_weights": weights}
    maker.add("mixed_curvature", name, config, inputs, expected, source, parameters=parameters, tolerance=TOLERANCE)


def dual_space(maker: Any, name: str, heads: int, widths: tuple[int, int], c: float, *, dim: int = 8) -> None:
    torch, np, ball = maker.torch, maker.np, _ball(c)
    flat, curved = widths
    parameters = {
        f"{side}_{space}_weight": maker.draw(dim, heads * width, size=dim**-0.5)
        for side in ("query", "keys")
        for space, width in (("euclidean", flat), ("hyperbolic", curved))
    }
    parameters |= {f"{side}_weight": maker.draw(dim, dim, size=dim**-0.5) for side in ("values", "output")}
    parameters["space_weights"] = np.array([0.7, 1.2], np.float32)
    inputs = {"query": maker.draw(5, dim), "keys": maker.draw(7, dim), "values": maker.draw(7, dim)}
    q, k, v = (maker.tensor(array) for array in inputs.values())
    w = {key: maker.tensor(array) for key, array in parameters.items()}
    outputs, shares = [], []
    for head in range(heads):
        a, b = slice(head * flat, (head + 1) * flat), slice(head * curved, (head + 1) * curved)
        dots = (q @ w["query_euclidean_weight"][:, a]) @ (k @ w["keys_euclidean_weight"][:, a]).T / flat**0.5
        points = [
            ball.expmap0(x @ w[f"{side}_hyperbolic_weight"][:, b], project=False)
            for side, x in (("query", q), ("keys", k))
        ]
        far = ball.dist(points[0][:, None], points[1][None])
        scores = w["space_weights"][0] * dots - w["space_weights"][1] * far
        shares.append(torch.softmax(maker.chosen(scores), -1))
        width = dim // heads
        outputs.append(shares[-1] @ (v @ w["values_weight"])[:, head * width : (head + 1) * width])
    expected = {
        "output": torch.cat(outputs, -1) @ w["output_weight"],
        "attention_weights": torch.stack(shares),
    }
    config: dict[str, Any] = {"dim": dim, "num_heads": heads, "curvature": -c}
    config |= {"euclidean_dim": heads * flat, "hyperbolic_dim": heads * curved}
    maker.add("dual_space", name, config, inputs, expected, SOURCE, parameters=parameters, tolerance=TOLERANCE)


def manifold(maker: Any, name: str, space: str, *, power: int = 2, aggregation: str = "sum", tau: float = 1.0) -> None:
    """Components of ``space`` with their channels and curvatures, as the setting has them."""
    import geoopt

    torch, np = maker.torch, maker.np
    parts = [part.strip().split(":") for part in space.split(",")]
    inputs: Case = {}
    for key, n in (("query", 4), ("keys", 7), ("values", 7)):
        blocks = []
        for kind, size, *curvature in parts:
            if kind == "hyperbolic":
                blocks.append(in_ball(maker, n, int(size), c=-float(curvature[0])))
                continue
            blocks.append(maker.draw(n, int(size)))
            if kind == "spherical":  # of one side, where there is one mean
                blocks[-1][:, 0] = 1 + np.abs(blocks[-1][:, 0])
        inputs[key] = np.concatenate(blocks, axis=-1)
    sizes = [int(part[1]) for part in parts]
    component_weights = np.linspace(0.8, 1.2, len(parts)).round(2).astype(np.float32)
    total = torch.zeros(4, 7, dtype=torch.float64)
    spaces = []
    arrays = [torch.split(maker.tensor(array), sizes, dim=-1) for array in inputs.values()]
    for index, (part, q, k) in enumerate(zip(parts, *arrays[:2], strict=True)):
        if part[0] == "hyperbolic":
            spaces.append((_ball(-float(part[2])), 1.0))
        elif part[0] == "spherical":
            spaces.append((geoopt.Sphere(), float(part[2]) ** -0.5))
        else:
            spaces.append((geoopt.Euclidean(ndim=1), 1.0))
        own, radius = spaces[-1]
        far = radius * own.dist(own.projx(q)[:, None], own.projx(k)[None])
        total = total + maker.tensor(component_weights)[index] * far**power
    weights = torch.softmax(-total / tau, -1)
    if aggregation == "sum":
        output = weights @ maker.tensor(inputs["values"])
    else:
        means = []
        for (own, radius), v in zip(spaces, arrays[2], strict=True):
            points = own.projx(v).expand(4, 7, v.shape[-1])
            mean = points[torch.arange(4), weights.argmax(-1)]
            for _ in range(3000):
                step = (weights[..., None] * own.logmap(mean[:, None], points)).sum(-2)
                mean = own.expmap(mean, 0.1 * step)
            assert float(step.detach().norm()) < 1e-9  # geoopt is only right where the mean lies 0.02 from every point
            means.append(mean * radius)
        output = torch.cat(means, -1)
    config = {"dim": sum(sizes), "space": space, "power": power, "aggregation": aggregation, "temperature": tau}
    expected = {"output": output, "attention_weights": weights}
    source = "torch and geoopt: PoincareBall, Sphere and Euclidean, float64"
    parameters = {"component_weights": component_weights}
    maker.add("manifold", name, config, inputs, expected, source, parameters=parameters, tolerance=TOLERANCE)


def add_all(maker: Any) -> None:
    shared, maker.random = maker.random, maker.np.random.default_rng(20181002)  # so that other cases move neither these
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
    mixed_curvature(maker, "distance", "distance", "sum", (3, 5, 4))
    mixed_curvature(maker, "scores", "scores", "sum", (4, 4, 4))
    mixed_curvature(maker, "product", "distance", "product", (2, 4, 3))
    dual_space(maker, "two-heads", 2, (3, 2), 1.0)
    dual_space(maker, "one-head", 1, (5, 4), 0.6)
    manifold(maker, "hyperbolic", "hyperbolic:5:-0.8")
    manifold(maker, "hyperbolic-mean", "hyperbolic:5:-0.8", power=1, aggregation="mean")
    manifold(maker, "spherical-mean", "spherical:4:1.7", aggregation="mean", tau=2.0)
    manifold(maker, "product", "euclidean:2, hyperbolic:3:-1.0, spherical:3:0.5", tau=2.0)
    manifold(maker, "product-mean", "euclidean:2, hyperbolic:3:-1.0, spherical:3:0.5", aggregation="mean", tau=4.0)
    maker.random = shared  # nor these those
