"""Settings, inputs and options of mechanisms, drawn by what the registry says of them.

A setting's kind and range come from ``describe()``; the tables here hold what a range cannot say. An option or a
parameter of a method that no table knows is not drawn, and ``unknown_options`` names it, so that a test can.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import ruvector_attention as ra
from ruvector_attention import registry

from .draw import Draw
from .masks import mask_of

COMMON = {"seed", "max_sequence_length"}  # every mechanism's
MOST_FEATURES = 48


@cache
def described() -> dict[str, Any]:
    return {entry["name"]: entry for entry in ra.describe()["mechanisms"]}


# --- settings


def settings_of(draw: Draw, name: str, dim: int | None = None) -> dict[str, Any]:
    """Settings within their ranges; most of them fit each other."""
    chosen: dict[str, Any] = {"seed": draw.between(0, 9)}
    for entry in described()[name]["config"]:
        setting = entry["name"]
        if setting in COMMON:
            continue
        if setting == "dim":
            chosen["dim"] = dim or (draw.size(140) if draw.chance(0.2) else draw.between(1, 16))
        elif entry["required"] or draw.chance(0.3):
            chosen[setting] = SETTINGS.get(setting, _within)(draw, entry, chosen)
    if any(entry["name"] == "num_heads" for entry in described()[name]["config"]) and "num_heads" not in chosen:
        chosen["num_heads"] = _divisor(draw, {}, chosen)
    return chosen


def _within(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> Any:
    """A value of the setting's type, inside its range."""
    if "choices" in entry:
        return draw.one_of(entry["choices"])
    kind = entry["type"].removesuffix(" | None")
    if entry["type"].endswith("| None") and draw.chance(0.2):
        return None
    if kind == "bool":
        return draw.chance(0.5)
    if kind == "int":
        least = int(entry.get("at_least", 0))
        return draw.between(least, min(int(entry.get("at_most", MOST_FEATURES)), least + draw.size(MOST_FEATURES)))
    if kind == "float":
        high = entry.get("at_most", entry.get("below"))
        low = entry.get("at_least", entry.get("above"))
        if high is not None and low is not None:
            return low + (high - low) * min(max(draw.random.random(), 1e-6), 1 - 1e-6)
        reach = draw.random.random()
        size = 10.0 ** draw.random.uniform(*((-1, 1) if reach < 0.7 else (-12, 12) if reach < 0.97 else (-320, 300)))
        return (low or 0.0) + size if low is not None else draw.one_of((-1, 1)) * size
    return entry["default"]


def _divisor(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> int:
    dim = int(chosen["dim"])
    return draw.one_of([heads for heads in range(1, min(dim, 64) + 1) if dim % heads == 0])


def _kv_heads(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> int:
    return draw.one_of([count for count in range(1, 65) if int(chosen.get("num_heads", 8)) % count == 0])


def _curvature(draw: Draw) -> float:
    return float(10.0 ** (draw.random.uniform(-1, 1) if draw.chance(0.8) else draw.random.uniform(-6, 6)))


def _space(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    dim = int(chosen["dim"])
    if dim == 1 or draw.chance(0.5):
        return draw.one_of(("hyperbolic", "spherical", "euclidean"))
    first = draw.between(1, dim - 1)
    one, other = (
        draw.one_of((f"euclidean:{size}", f"hyperbolic:{size}:-0.5", f"hyperbolic:{size}", f"spherical:{size}:2"))
        for size in (first, dim - first)
    )
    return f"{one}, {other}"


def _experts(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """Any mechanisms over queries, keys and values; those that nest others only rarely fit, and say so."""
    takers = [name for name, known in described().items() if known["inputs"][0]["name"] == "query"]
    listed: list[Any] = [draw.one_of(takers) for _ in range(draw.between(1, 3))]
    configs = [{"type": name, **({"num_heads": 1} if "num_heads" in settings_names(name) else {})} for name in listed]
    return json.dumps(configs)


def _part(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> int:
    return draw.between(0, int(chosen["dim"]) // 2)


def _top(draw: Draw, entry: Mapping[str, Any], chosen: Mapping[str, Any]) -> int:
    return draw.between(1, 4)


SETTINGS: dict[str, Callable[[Draw, Mapping[str, Any], Mapping[str, Any]], Any]] = {
    "num_heads": _divisor,
    "num_kv_heads": _kv_heads,
    "curvature": lambda draw, entry, chosen: None if entry["default"] is None else -_curvature(draw),
    "hyperbolic_curvature": lambda draw, entry, chosen: -_curvature(draw),
    "spherical_curvature": lambda draw, entry, chosen: _curvature(draw),
    "space": _space,
    "experts": _experts,
    "num_experts": lambda draw, entry, chosen: None if chosen.get("experts") else draw.between(1, 5),
    "top_k": _top,
    "hyperbolic_dim": _part,
    "spherical_dim": _part,
    "base": lambda draw, entry, chosen: 1.0 + 10.0 ** draw.random.uniform(-3, 5),
    "max_position": lambda draw, entry, chosen: None,
}


@cache
def settings_names(name: str) -> frozenset[str]:
    return frozenset(entry["name"] for entry in described()[name]["config"])


# --- inputs and options of one call


class Problem:
    """The inputs of one mechanism: sizes of the axes, arrays, and the options that go with them."""

    def __init__(self, draw: Draw, attention: ra.Attention) -> None:
        self.draw, self.attention = draw, attention
        self.entry = described()[attention.name]
        fixed = attention._fixed_axes()
        axes = [axis for spec in self.entry["inputs"] for axis in spec["axes"]]
        self.sizes = {axis: fixed.get(axis) or draw.size(520) for axis in axes if axis != "..."}
        self.sizes.setdefault("n_query", self.sizes.get("n_key", 1))
        if "dim_value" in axes:  # heads share the channels of values
            heads = self.attention.config.to_dict().get("num_heads", 1)
            self.sizes["dim_value"] = max(self.sizes["dim_value"] // heads, 1) * heads
        # one large axis at a time, and few queries where there are many keys
        if "n_query" in axes and self.sizes["n_query"] * self.sizes["n_key"] > 20_000:
            self.sizes["n_query"] = min(self.sizes["n_query"], 5)
        self.lead = draw.one_of(((), (), (), (), (2,), (1,), (2, 1), (3,)))
        self.is_vector = False
        self.inputs = {spec["name"]: self._input(spec) for spec in self.entry["inputs"]}
        self.inputs = {name: value for name, value in self.inputs.items() if value is not None}

    @property
    def option_names(self) -> list[str]:
        """All options that its forward takes."""
        return [p.name for p in parameters_of(self.attention.forward) if p.kind is p.KEYWORD_ONLY]

    @property
    def pairs(self) -> bool:
        """Whether its weights are of queries and keys."""
        return "n_key" in self.sizes

    def _input(self, spec: Mapping[str, Any]) -> Any:
        name, draw = spec["name"], self.draw
        if spec["optional"] and (draw.chance(0.4) or any(axis not in self.sizes for axis in spec["axes"][1:])):
            return None
        shape = [self.sizes[axis] for axis in spec["axes"] if axis != "..."]
        if spec["dtype"] == "int64":
            high = 3 if name == "levels" else self.sizes["n_node"] - 1
            return draw.integers(0, high, *shape)
        if spec["optional"] and self.attention.config.to_dict().get(spec["axes"][-1], 1) is None:
            return None  # features for which the settings leave no room
        lead = self.lead
        if name == "query" and not lead and shape[0] == 1 and self.entry["outputs"][0]["axes"][-2] == "n_query":
            self.is_vector = draw.chance(0.5)
            if self.is_vector:
                return draw.laid_out(draw.numbers(shape[-1]))
        if name not in ("query", "nodes", "items") and self.entry["inputs"][0]["name"] == "query" and draw.chance(0.3):
            lead = () if draw.chance(0.5) else tuple(1 for _ in lead)  # shared by the batch
        return draw.laid_out(draw.numbers(*lead, *shape))

    def options(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Some of the keyword-only options that a method of the mechanism takes."""
        known = [p.name for p in parameters_of(function) if p.kind is p.KEYWORD_ONLY]
        return {name: OPTIONS[name](self) for name in known if name in OPTIONS and self._wanted(name)}

    def _wanted(self, name: str) -> bool:
        if name == "query_times":  # without it there may be no more queries than keys
            return self.sizes["n_query"] > self.sizes["n_key"] or self.draw.chance(0.3)
        return self.draw.chance(0.25)

    @property
    def score_shape(self) -> tuple[int, ...]:
        return (*self.lead, self.sizes["n_query"], self.sizes["n_key"])

    def sorted_times(self, count: int) -> Any:
        times = sorted(float(number) for number in self.draw.numbers(count))
        return self.draw.one_of((times, list(range(count)), [0.0] * count))


def _key_lengths(problem: Problem) -> Any:
    n_key = problem.sizes["n_key"]
    if problem.draw.chance(0.3):
        return problem.draw.between(0, n_key)
    return problem.draw.integers(0, n_key, *problem.lead)


def _bias(problem: Problem) -> Any:
    draw, shape = problem.draw, problem.score_shape
    return draw.numbers(*draw.one_of((shape, shape[-2:], (1, shape[-1]), (shape[-2], 1))))


def _position(problem: Problem) -> Any:
    draw, n_key = problem.draw, problem.sizes["n_key"]
    return draw.between(0, n_key - 1) if draw.chance(0.5) else draw.integers(0, n_key - 1, problem.sizes["n_query"])


def _positions(problem: Problem, axis: str) -> Any:
    if problem.draw.chance(0.3):
        return float(problem.draw.numbers(1)[0])
    return problem.draw.numbers(problem.sizes[axis])


def _layers(problem: Problem) -> Any:
    count = problem.attention.config.to_dict()["num_layers"]
    return problem.draw.integers(0, count - 1, problem.sizes["n_key"])


def _edges(problem: Problem) -> Any:
    """Between keys and queries, as ``auto`` takes them."""
    draw, sizes, count = problem.draw, problem.sizes, problem.draw.size(40)
    ends = [draw.integers(0, sizes[axis] - 1, count) for axis in ("n_key", "n_query")]
    return [ends[0].tolist(), ends[1].tolist()]


def _level_weights(problem: Problem) -> Any:
    return abs(problem.draw.numbers(4)) + 1e-3


#: What the options of a call may be, by their names.
OPTIONS: dict[str, Callable[[Problem], Any]] = {
    "mask": lambda problem: mask_of(problem.draw, problem.score_shape),
    "bias": _bias,
    "key_lengths": _key_lengths,
    "causal": lambda problem: problem.draw.one_of((True, False, None)),
    "position": _position,
    "query_positions": lambda problem: _positions(problem, "n_query"),
    "key_positions": lambda problem: _positions(problem, "n_key"),
    "query_times": lambda problem: problem.sorted_times(problem.sizes["n_query"]),
    "key_times": lambda problem: problem.sorted_times(problem.sizes["n_key"]),
    "layers": _layers,
    "edge_index": _edges,
    "level_weights": _level_weights,
}
ELSEWHERE = {"training", "check_finite", "out"}  # which the cases give themselves


def unknown_options() -> dict[str, list[str]]:
    """The options of every mechanism's forward that are never drawn."""
    unknown = {}
    for name in ra.mechanisms():
        options = [p.name for p in parameters_of(registry.get(name).forward) if p.kind is p.KEYWORD_ONLY]
        if missing := [option for option in options if option not in OPTIONS and option not in ELSEWHERE]:
            unknown[name] = missing
    return unknown


def parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Without self."""
    return _parameters_of(getattr(function, "__func__", function))


@cache
def _parameters_of(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(p for p in inspect.signature(function).parameters.values() if p.name != "self")


# --- parameters of the other public methods


def _head(problem: Problem) -> int:
    return problem.draw.between(0, int(problem.attention.config.to_dict()["num_heads"]) - 1)


def _rows(problem: Problem) -> Any:
    return problem.draw.numbers(problem.draw.size(9), problem.attention.hidden_dim)


PARAMETERS: dict[str, Callable[[Problem], Any]] = {
    "head": _head,
    "node": lambda problem: problem.draw.between(0, problem.sizes["n_node"] - 1),
    "n_node": lambda problem: problem.sizes["n_node"],
    "k": lambda problem: problem.draw.between(1, 4),
    "temperature": lambda problem: 10.0 ** problem.draw.random.uniform(-8, 8),
    "x": _rows,
    "y": lambda problem: problem.draw.numbers(problem.attention.hidden_dim),
    "positions": lambda problem: float(problem.draw.numbers(1)[0]),
    "n": lambda problem: problem.draw.size(40),
    "distance": lambda problem: abs(problem.draw.numbers(5)),
    "max_distance": lambda problem: problem.draw.one_of((1, 8.0, 1e30)),
    "sequence": _rows,
    "query_position": lambda problem: float(problem.draw.numbers(1)[0]),
    "hierarchical_features": lambda problem: [
        problem.draw.numbers(problem.draw.size(5), problem.attention.hidden_dim) for _ in range(3)
    ],
}
COVERED = {"forward", "forward_batch", "backward", "attention_weights", "load_state_dict", "stream", "add_expert"}


def arguments_of(problem: Problem, method: Callable[..., Any]) -> dict[str, Any] | None:
    """Arguments for a public method, by the names of its parameters; None where one is of a kind not known here."""
    given: dict[str, Any] = {}
    for parameter in parameters_of(method):
        name = parameter.name
        if name == "options":
            continue
        if name in problem.inputs:
            given[name] = problem.inputs[name]
        elif name in PARAMETERS and parameter.default is parameter.empty:
            given[name] = PARAMETERS[name](problem)
        elif name in OPTIONS and parameter.kind is not parameter.KEYWORD_ONLY and problem.pairs:
            given[name] = OPTIONS[name](problem)
        elif parameter.default is parameter.empty:
            return None
    return given
