"""What an answer must be, whatever was asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import ruvector_attention as ra

from .draw import Array

SUM_ERROR = 1e-5


class FindingError(Exception):
    """An answer that no caller should get."""


def require(holds: bool, sentence: str) -> None:
    if not holds:
        raise FindingError(sentence)


def finite(what: str, answer: Any) -> None:
    """Every number in an answer, however it is wrapped."""
    if isinstance(answer, np.ndarray):
        if answer.dtype.kind == "f" and not np.isfinite(answer).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(answer))[0])
            raise FindingError(f"{what} holds {answer[place]} at {place} of {answer.shape}")
    elif isinstance(answer, float | np.floating):
        require(bool(np.isfinite(answer)), f"{what} is {answer}")
    elif isinstance(answer, Mapping):
        for name, part in answer.items():
            finite(f"{what}[{name!r}]", part)
    elif isinstance(answer, list | tuple):
        for index, part in enumerate(answer):
            finite(f"{what}[{index}]", part)
    elif dataclasses.is_dataclass(answer):
        for field in dataclasses.fields(answer):
            finite(f"{what}.{field.name}", getattr(answer, field.name))


def output(what: str, found: Any, shape: tuple[int, ...] | None) -> None:
    require(isinstance(found, np.ndarray) and found.dtype == np.float32, f"{what} is no float32 array: {type(found)}")
    require(shape is None or found.shape == shape, f"{what} is {found.shape}; expected {shape}")
    finite(what, found)


def in_space(what: str, found: Array, attention: ra.Attention) -> None:
    """Where a mechanism answers with points of a space, that they lie in it."""
    space = getattr(attention, "space", None) if getattr(attention.config, "aggregation", "") == "mean" else None
    curvature = None
    if hasattr(attention, "project_to_ball"):
        curvature = attention.curvature  # type: ignore[attr-defined]
    elif isinstance(space, ra.geometry.HyperbolicSpace):
        curvature = space.curvature
    elif isinstance(space, ra.geometry.SphericalSpace):
        norms = np.linalg.norm(found.astype(np.float64), axis=-1) / space.radius
        require(bool(((abs(norms - 1) < 1e-5) | (norms == 0)).all()), f"{what} is off the sphere: {norms}")
    if curvature is not None:
        in_ball(what, found, curvature)


def in_ball(what: str, found: Any, curvature: float) -> None:
    norms = np.linalg.norm(np.asarray(found, np.float64), axis=-1) * (-curvature) ** 0.5
    require(bool((norms < 1).all()), f"{what} is not inside of the ball: {np.max(norms)!r} of its radius")


def weights_of_pairs(what: str, found: Any, seen: Array, is_vector: bool, whole: bool, shared: bool = False) -> None:
    """(*lead, [heads], n_query, n_key): sums of 1 or 0, nothing where ``seen`` is False. ``whole``: what is seen sums
    to 1 always. ``shared``: a row is a mean of several, any of which may be 0."""
    output(what, found, None)
    if is_vector:
        found = found[..., None, :]
    if found.ndim > seen.ndim:
        seen = seen[..., None, :, :]
    require(found.shape[-2:] == seen.shape[-2:], f"{what} is {found.shape}; expected (..., {seen.shape[-2:]})")
    require(bool((found >= 0).all()), f"{what} holds {found.min()}, below 0")
    hidden = found[~np.broadcast_to(seen, found.shape)]
    require(not hidden.any(), f"{what} holds {hidden.max(initial=0)} where the mask leaves nothing")
    sums = found.astype(np.float64).sum(axis=-1)
    if shared:
        off = np.maximum(sums - 1, 0)
    elif whole:
        off = abs(sums - np.broadcast_to(seen.any(axis=-1), sums.shape))
    else:
        off = np.minimum(abs(sums - 1), abs(sums))
    require(bool((off <= SUM_ERROR).all()), f"{what} has a row that sums to {sums.flat[off.argmax()]!r}")


def weights_of_edges(what: str, found: Any, targets: Array) -> None:
    """(..., n_edges, heads): what enters a node is a share of one."""
    output(what, found, None)
    require(bool((found >= 0).all()), f"{what} holds {found.min()}, below 0")
    if not targets.size:
        return
    sums = np.zeros((int(targets.max()) + 1, *found.shape[:-2], found.shape[-1]))
    np.add.at(sums, targets, np.moveaxis(found, -2, 0).astype(np.float64))
    require(bool((sums <= 1 + SUM_ERROR).all()), f"{what} into one node sum to {sums.max()!r}")


def weights_of_items(what: str, found: Any) -> None:
    output(what, found, None)
    sums = found.astype(np.float64).sum(axis=-1)
    require(bool((abs(sums - 1) <= SUM_ERROR).all()), f"{what} sum to {sums.min()!r} to {sums.max()!r}")


def gradients(found: Mapping[str, Any], attention: ra.Attention, given: Mapping[str, Any]) -> None:
    """One of each parameter and float input, of its shape."""
    for name, parameter in attention.parameters().items():
        require(name in found, f"backward gives no gradient of the parameter {name}")
        output(f"the gradient of {name}", found[name], parameter.shape)
    for name, value in given.items():
        if name in found and name not in attention.parameters():
            output(f"the gradient of {name}", found[name], np.shape(value))
    strangers = set(found) - set(given) - set(attention.parameters())
    require(not strangers, f"backward gives gradients of {sorted(strangers)}, which were not given")
