"""Functions of points in curved spaces: every one that the modules have, of points well inside and far outside."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector_attention as ra

from . import verdicts
from .draw import Array, Draw

if TYPE_CHECKING:
    from .cases import Case

MODULES = (ra.geometry.poincare, ra.geometry.lorentz, ra.geometry.sphere)
#: Whose answers are points of the ball.
IN_BALL = {"project_to_ball", "mobius_add", "mobius_scalar", "mobius_matvec", "exp_map", "gyromidpoint", "frechet_mean"}


@cache
def functions(module: Any) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """The public functions of points of a module: those that take a curvature."""
    found = inspect.getmembers(module, inspect.isfunction)
    return tuple(
        (name, function)
        for name, function in found
        if not name.startswith("_") and "curvature" in inspect.signature(function).parameters
    )


def run(case: Case) -> None:
    draw = case.draw
    for _ in range(draw.between(2, 8)):
        if draw.chance(0.7):
            _function(case)
        else:
            _method(case)


def _function(case: Case) -> None:
    draw = case.draw
    module = draw.one_of(MODULES)
    space = module.__name__.rpartition(".")[2]
    name, function = draw.one_of(functions(module))
    size = 10.0 ** (draw.random.uniform(-1, 1) if draw.chance(0.8) else draw.random.uniform(-6, 6))
    curvature = size if space == "sphere" else -size
    rows, dim = draw.size(40), draw.between(2, 12)
    given = _arguments(draw, function, rows, dim)
    if space != "poincare" and draw.chance(0.8):  # points of the space, as far as float32 has them
        project = module.project_to_sphere if space == "sphere" else module.project_to_hyperboloid
        for key in {"x", "y"} & set(given):
            points = case.call(space, project.__name__, project, given[key], curvature)
            if points is not None:
                verdicts.finite(project.__name__, points)
                given[key] = points
    case.trail = [
        f"{space}.{name}, curvature {curvature}, " + ", ".join(f"{k} {np.shape(v)}" for k, v in given.items())
    ]
    found = case.call(space, name, function, **given, curvature=curvature)
    if found is None:
        return
    verdicts.finite(name, found)
    if space == "poincare" and name in IN_BALL:
        verdicts.in_ball(name, found, curvature)


def _arguments(draw: Draw, function: Callable[..., Any], rows: int, dim: int) -> dict[str, Any]:
    dtype = np.float64 if draw.chance(0.3) else np.float32

    def points() -> Array:
        x = draw.numbers(rows, dim).astype(dtype)
        if draw.chance(0.3):  # near the boundary of a ball, wherever that is
            wide = x.astype(np.float64)  # a square of 1e30 is beyond float32
            with np.errstate(divide="ignore", invalid="ignore"):
                x = (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(dtype)
            x = np.nan_to_num(x) * dtype(1 - 10.0 ** draw.random.uniform(-9, -1))
        return x if draw.chance(0.9) else x[:1]

    makers: dict[str, Callable[[], Any]] = {
        "x": points,
        "y": points,
        "u": points,
        "v": points,
        "weights": lambda: None if draw.chance(0.3) else abs(draw.numbers(rows)),
        "factor": lambda: draw.random.uniform(-3, 3) * 10.0 ** draw.random.uniform(-3, 3),
        "matrix": lambda: draw.numbers(draw.size(9), dim),
    }
    known = inspect.signature(function).parameters
    given = {name: makers[name]() for name in known if name in makers}
    if given.get("weights") is not None and len(given["x"]) == 1:
        given["weights"] = given["weights"][:1]
    return given


def _space(draw: Draw, depth: int = 0) -> tuple[Any, int]:
    kind, dim = draw.between(0, 3 if depth == 0 else 2), draw.between(2, 6)
    curvature = 10.0 ** draw.random.uniform(-2, 2)
    if kind == 0:
        return ra.geometry.HyperbolicSpace(-curvature), dim
    if kind == 1:
        return ra.geometry.SphericalSpace(curvature), dim
    if kind == 2:
        return ra.geometry.EuclideanSpace(), dim
    parts = [_space(draw, 1) for _ in range(draw.between(1, 3))]
    product = ra.geometry.ProductSpace(parts)
    return product, product.dim


def _method(case: Case) -> None:
    draw = case.draw
    space, dim = _space(draw)
    names = [name for name, _ in inspect.getmembers(type(space), inspect.isfunction) if not name.startswith("_")]
    name = draw.one_of(names)
    given = _arguments(draw, getattr(type(space), name), draw.size(20), dim)
    owner = type(space).__name__
    if draw.chance(0.8):
        for key in {"x", "y"} & set(given):
            points = case.call(owner, "project", space.project, given[key])
            if points is not None:
                verdicts.finite("project", points)
                given[key] = points
    case.trail = [f"{space!r}.{name}, " + ", ".join(f"{k} {np.shape(v)}" for k, v in given.items())]
    found = case.call(owner, name, getattr(space, name), **given)
    if found is None:
        return
    verdicts.finite(name, found)
    if isinstance(space, ra.geometry.HyperbolicSpace) and name in ("exp_map", "project", "mean"):
        verdicts.in_ball(name, found, space.curvature)
