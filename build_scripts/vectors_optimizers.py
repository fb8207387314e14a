"""Trajectories of optimizers: what torch.optim and geoopt make of 1 000 steps. For make_vectors.py.

A case is {"name", "part", "config", "groups"?, "problem", "parameters", "dtype", "after", "source"}: parameters as
they begin, and as they are after so many steps. The problems are written down so that a test can compute their
gradients in NumPy:

"logistic"  mean log(1 + exp(-y (X w + b))) over the rows step * 8, ... step * 8 + 7 of X (48, 6), modulo 48
"points"    sum |x - t|^2 / 2 over points, towards the targets t (2, 4, 3) number step % 2
"""

from __future__ import annotations

import json
from typing import Any

STEPS = 1000
AFTER = (1, 2, 10, 100, STEPS)
ROWS, BATCH, DIM = 48, 8, 6

Case = dict[str, Any]

#: name, part, settings; by group where there are groups
LOGISTIC: list[tuple[str, str, Case, Case]] = [
    ("plain", "sgd", {"learning_rate": 0.1}, {}),
    ("momentum", "sgd", {"learning_rate": 0.05, "momentum": 0.9}, {}),
    ("dampening-and-decay", "sgd", {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.02}, {}),
    ("nesterov", "sgd", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    ("defaults", "adam", {}, {}),
    ("decay-in-the-gradient", "adam", {"learning_rate": 0.01, "weight_decay": 0.1}, {}),
    ("amsgrad", "adam", {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-6, "amsgrad": True}, {}),
    ("clipped", "adam", {"learning_rate": 0.01, "max_grad_norm": 0.05}, {}),
    ("defaults", "adamw", {"learning_rate": 0.01}, {}),
    (
        "groups",
        "adamw",
        {"learning_rate": 0.01, "weight_decay": 0.2},
        {"bias": {"weight_decay": 0.0, "learning_rate": 0.1}},
    ),
]
POINTS: list[tuple[str, Case]] = [
    ("unit-ball", {"learning_rate": 0.01}),
    ("small-ball-and-decay", {"learning_rate": 0.02, "curvature": -4.0, "weight_decay": 0.1, "beta2": 0.99}),
]
NAMES = {"learning_rate": "lr", "epsilon": "eps"}


def text() -> str:
    """The file, one case a line."""
    import numpy as np
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.use_deterministic_algorithms(True)
    random = np.random.default_rng(20141222)  # the day of arXiv:1412.6980
    rows = np.round(random.standard_normal((ROWS, DIM)), 2)
    truth = np.where(rows @ random.standard_normal(DIM) + 0.5 * random.standard_normal(ROWS) > 0, 1, -1)
    logistic = {"kind": "logistic", "x": rows.tolist(), "y": truth.tolist()}
    start = {"weight": np.round(random.standard_normal(DIM), 3), "bias": np.array([0.25])}
    targets = np.round(random.uniform(-0.25, 0.25, (2, 4, 3)), 3)
    points = {"kind": "points", "targets": targets.tolist()}
    origin = {"points": np.round(random.uniform(-0.25, 0.25, (4, 3)), 3)}

    cases = []
    for dtype in ("float64", "float32"):
        for name, part, config, groups in LOGISTIC:
            case = {"name": f"{part}-{name}-{dtype}", "part": part, "config": config, "groups": groups}
            cases.append({**case, **_run(torch, dtype, logistic, start, part, config, groups)})
        for name, config in POINTS:
            part = "riemannian_adam"
            case = {"name": f"{part}-{name}-{dtype}", "part": part, "config": config, "groups": {}}
            cases.append({**case, **_run(torch, dtype, points, origin, part, config, {})})
    about = "written by build_scripts/make_vectors.py; explained in build_scripts/vectors_optimizers.py"
    problems = {"logistic": logistic, "points": points}
    lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases]
    heads = f'"format": {json.dumps(about)}, "steps": {STEPS}, "problems": {json.dumps(problems)}'
    return f'{{{heads}, "cases": [\n' + ",\n".join(lines) + "\n]}\n"


def _run(torch: Any, dtype: str, problem: Case, start: Case, part: str, config: Case, groups: Case) -> Case:
    kind = getattr(torch, dtype)
    given = {key: torch.tensor(value, dtype=kind) for key, value in problem.items() if key != "kind"}
    parameters = {name: torch.tensor(value, dtype=kind) for name, value in start.items()}
    optimizer = _optimizer(torch, parameters, part, config, groups)
    held = {name: tensor for group in optimizer.param_groups for name, tensor in group["named"].items()}
    after = {}
    for step in range(STEPS):
        optimizer.zero_grad()
        if problem["kind"] == "logistic":
            picked = (step * BATCH + torch.arange(BATCH)) % ROWS
            margins = given["y"][picked] * (given["x"][picked] @ held["weight"] + held["bias"])
            torch.nn.functional.softplus(-margins).mean().backward()
        else:
            (0.5 * (held["points"] - given["targets"][step % 2]).square().sum()).backward()
        if "max_grad_norm" in config:
            torch.nn.utils.clip_grad_norm_(list(held.values()), config["max_grad_norm"])
        optimizer.step()
        if step + 1 in AFTER:
            after[step + 1] = {name: _numbers(tensor) for name, tensor in held.items()}
    package = "geoopt.optim.RiemannianAdam, PoincareBallExact" if part == "riemannian_adam" else f"torch.optim, {part}"
    return {
        "problem": problem["kind"],
        "parameters": {name: value.tolist() for name, value in start.items()},
        "dtype": dtype,
        "after": after,
        "source": f"{package}, {dtype}",
    }


def _optimizer(torch: Any, parameters: Case, part: str, config: Case, groups: Case) -> Any:
    settings = {NAMES.get(key, key): value for key, value in config.items() if key != "max_grad_norm"}
    if part == "sgd":
        settings.setdefault("lr", 0.01)  # the default here; torch's is another
    else:
        settings["betas"] = (settings.pop("beta1", 0.9), settings.pop("beta2", 0.999))
    if part == "riemannian_adam":
        import geoopt  # type: ignore[import-not-found, unused-ignore]

        curvature = torch.tensor(-settings.pop("curvature", -1.0), dtype=torch.float64)
        ball = geoopt.PoincareBallExact(c=curvature.to(next(iter(parameters.values())).dtype))
        held = {name: geoopt.ManifoldParameter(value, manifold=ball) for name, value in parameters.items()}
        return geoopt.optim.RiemannianAdam([{"params": list(held.values()), "named": held}], **settings)
    made = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[part]
    listed = []
    for name, value in parameters.items():
        own = {NAMES.get(key, key): setting for key, setting in groups.get(name, {}).items()}
        tensor = value.requires_grad_()
        listed.append({"params": [tensor], "named": {name: tensor}, **own})
    return made(listed, **settings)


def _numbers(tensor: Any) -> Any:
    def short(value: Any) -> Any:
        return [short(item) for item in value] if isinstance(value, list) else float(f"{value:.10g}")

    return short(tensor.detach().tolist())
