"""The cases: each a handful of calls, all of whose arguments come from a seed and a number."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

import ruvector_attention as ra

from . import corrupt, direct, geometry, masks, shadow, stores, twins, verdicts
from .arguments import COVERED, OPTIONS, Problem, arguments_of, described, parameters_of, settings_of
from .draw import Draw

NOT_FINITE = re.compile(r"holds -?(nan|inf) at")
TWINS = 0.5  # of the forwards that answer are computed by another way as well
BESIDE = 0.6  # of the cases have every kernel compared with its float64 body


class Case:
    """One number of a seed: what it calls, how often, and which errors came."""

    def __init__(self, seed: int, number: int, only_mechanism: str | None = None) -> None:
        self.draw = Draw(seed, number)
        self.operations = 0
        self.compared = 0  # answers that were computed by another way
        self.refusals: Counter[tuple[str, str, str]] = Counter()
        self.trail: list[str] = []
        self.only_mechanism = only_mechanism

    def run(self) -> None:
        """Raises: FindingError, and whatever else the library raises that is no AttentionError."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with shadow.beside() if self.draw.chance(BESIDE) else nullcontext():
                kind = 0.0 if self.only_mechanism else self.draw.random.random()
                if kind < 0.8:
                    self._mechanism()
                elif kind < 0.9:
                    geometry.run(self)
                elif kind < 0.93:
                    direct.run(self)
                else:
                    stores.run(self)

    def call(self, owner: str, what: str, function: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        """The answer of one operation, or None where a typed error came."""
        self.operations += 1
        self.trail.append(f"{owner}.{what}")
        try:
            return function(*given, **named)
        except ra.AttentionError as error:
            sentence = str(error)
            if NOT_FINITE.search(sentence):
                raise verdicts.FindingError(f"finite numbers were given, and the error says: {sentence}") from error
            self.refused(owner, what, error)
            return None

    def refused(self, owner: str, what: str, error: ra.AttentionError) -> None:
        sentence = re.sub(r"-?\d[\d.e+-]*", "#", str(error))
        self.refusals[owner, what, f"{type(error).__name__}: {sentence[:110]}"] += 1

    # --- mechanisms

    def _mechanism(self) -> None:
        draw = self.draw
        name = self.only_mechanism or draw.one_of(ra.mechanisms())
        attention = None
        for _ in range(3):
            settings = settings_of(draw, name)
            attention = self.call(name, "create", ra.create, name, **settings)
            if attention is not None:
                self.trail = [repr(attention)]
                break
        if attention is None:
            return
        if draw.chance(0.3):
            for parameter in attention.parameters().values():
                parameter += draw.numbers(*parameter.shape, power=draw.random.uniform(-3, 0.5))
        for _ in range(draw.between(1, 10)):
            self._problem(attention)

    def _problem(self, attention: ra.Attention) -> None:
        draw, name = self.draw, attention.name
        problem = Problem(draw, attention)
        options = problem.options(attention.forward)
        self.trail = [*self.trail[:1], _shown(problem.inputs), _shown(options)]
        inputs = problem.inputs
        found = self.call(name, "forward", attention.forward, **inputs, **options)
        if found is not None:
            verdicts.output("the output", found, None)
            verdicts.in_space("the output", found, attention)
            if draw.chance(0.1):
                again = self.call(name, "forward", attention.forward, **inputs, **options)
                verdicts.require(np.array_equal(found, again), "the same call gives other bits")
            if "out" in parameters_names(attention) and draw.chance(0.2):
                out = np.full(found.shape, np.nan, np.float32)
                given = self.call(name, "forward", attention.forward, **inputs, **options, out=out)
                same = given is None or (given is out and np.array_equal(out, found))
                verdicts.require(same, "a call with out= gives something else")
            if draw.chance(TWINS):
                twins.run(twins.Call(self, attention, problem, options, found))
        if draw.chance(0.5):
            self._weights(attention, problem, options)
        if draw.chance(0.6):
            self._training(attention, problem, options)
        if draw.chance(0.25):
            self._method(attention, problem)
        if found is not None and draw.chance(0.3):
            self._bad_call(attention, problem, options)
        if draw.chance(0.1) and "keys" in inputs and "values" in inputs:
            self._from_memory(attention, problem, options)
        if draw.chance(0.1):
            self._batch(attention, problem, options)

    def _weights(self, attention: ra.Attention, problem: Problem, options: Mapping[str, Any]) -> None:
        method = attention.attention_weights  # type: ignore[attr-defined]
        known = {parameter.name for parameter in parameters_of(method)}
        inputs = {name: value for name, value in problem.inputs.items() if name in known}
        chosen = {name: value for name, value in options.items() if name in known}
        found = self.call(attention.name, "attention_weights", method, **inputs, **chosen)
        if found is None:
            return
        if problem.pairs:
            causal = options.get("causal")
            causal = getattr(attention.config, "causal", False) if causal is None else causal
            own_order = {"position", "key_times"} & known  # causal by something else than the row's number
            seen = masks.allowed(options, problem.score_shape, bool(causal) and not own_order)
            # a pattern of its own, heads that are shut, experts without room, features of 0: rows that see nothing
            whole = not (own_order or "edge_index" in known or hasattr(attention, "active_heads"))
            settings = attention.config.to_dict()
            whole = whole and settings.get("kernel") != "relu" and not hasattr(attention, "experts")
            shared = hasattr(attention, "experts")  # which may each have any of these
            verdicts.weights_of_pairs("the weights", found, seen, problem.is_vector, whole, shared)
        elif "edge_index" in inputs:
            verdicts.weights_of_edges("the weights", found, np.asarray(inputs["edge_index"])[1])
        else:
            verdicts.weights_of_items("the weights", found)

    def _training(self, attention: ra.Attention, problem: Problem, options: Mapping[str, Any]) -> None:
        name = attention.name
        found = self.call(name, "forward", attention.forward, **problem.inputs, **options, training=True)
        if found is None:
            return
        verdicts.output("the output when training", found, None)
        verdicts.in_space("the output when training", found, attention)
        for _ in range(self.draw.between(1, 2)):
            grad = self.draw.numbers(*found.shape)
            gradients = self.call(name, "backward", attention.backward, grad)
            if gradients is not None:
                verdicts.gradients(gradients, attention, {**problem.inputs, **options})

    def _method(self, attention: ra.Attention, problem: Problem) -> None:
        """One of the other public methods, whatever it is for."""
        names = [name for name in described()[attention.name]["methods"] if name not in COVERED]
        method_name = self.draw.one_of(names)
        method = getattr(attention, method_name)
        arguments = arguments_of(problem, method)
        if arguments is None:
            return
        self.trail.append(f"{method_name}({_shown(arguments)})")
        found = self.call(attention.name, method_name, method, **arguments)
        if found is not None:
            verdicts.finite(method_name, found)

    def _batch(self, attention: ra.Attention, problem: Problem, options: Mapping[str, Any]) -> None:
        items = [{**problem.inputs, **options}, dict(Problem(self.draw, attention).inputs)]
        found = self.call(attention.name, "forward_batch", attention.forward_batch, items)
        if found is not None:
            for output in found:
                verdicts.output("an output of a batch", output, None)

    def _from_memory(self, attention: ra.Attention, problem: Problem, options: Mapping[str, Any]) -> None:
        keys, values = (np.asarray(problem.inputs[name]) for name in ("keys", "values"))
        if keys.ndim > 2 or values.ndim > 2:
            return
        memory = self.call("memory", "create", ra.Memory, keys, values)
        if memory is None:
            return
        if self.draw.chance(0.3):
            self.call("memory", "project", memory.project, attention)
        query = problem.inputs["query"]
        found = self.call(attention.name, "forward from memory", attention.forward, query, memory, **options)
        if found is not None:
            verdicts.output("the output from a memory", found, None)

    # --- arguments that are wrong

    def _bad_call(self, attention: ra.Attention, problem: Problem, options: Mapping[str, Any]) -> None:
        """A call with one argument that is wrong: a typed error that names it."""
        draw = self.draw
        names = [
            *problem.inputs,
            *(p.name for p in parameters_of(attention.forward) if p.name in OPTIONS),
        ]
        name = draw.one_of(names)
        choices = list(bad_arguments(attention, problem, name))
        if not choices:
            return
        bad = draw.one_of(choices)
        shown = f"{name} = {bad.says}"
        self.trail.append(shown)
        # a mask or a length may hide what is not finite
        hiding = {"mask", "edge_index"} | ({"key_lengths", "causal"} if bad.errors is corrupt.UNSTABLE else set())
        kept = {key: value for key, value in options.items() if key not in hiding}
        inputs = dict(problem.inputs)
        (inputs if name in inputs else kept)[name] = bad.value
        self.operations += 1
        try:
            found = attention.forward(**inputs, **kept)
        except ra.AttentionError as error:
            named = name in str(error) or (name == "mask" and type(bad.value).__name__ in str(error))
            verdicts.require(named, f"{shown} came, and the error does not name it: {error}")
            verdicts.require(isinstance(error, bad.errors), f"{shown} came; not the error for it: {error!r}")
            return
        # outside of a pattern, before the first key, not among the best: nobody read it
        settings, sizes = attention.config.to_dict(), problem.sizes
        unread = bool({"position", "key_times"} & parameters_names(attention)) or settings.get("top_k") is not None
        unread = unread or (problem.pairs and settings.get("causal", False) and sizes["n_query"] > sizes["n_key"])
        unread = unread and bad.errors is corrupt.UNSTABLE
        verdicts.require(unread and bool(np.isfinite(found).all()), f"{shown} came, and there was no error")


def bad_arguments(attention: ra.Attention, problem: Problem, name: str) -> Any:
    """What may not stand for an argument of ``forward``."""
    specs = {spec["name"]: spec for spec in problem.entry["inputs"]}
    if name not in specs:
        return corrupt.option(name, problem.score_shape if problem.pairs else (1, 1))
    spec = specs[name]
    if name == "levels":
        return corrupt.levels(problem.inputs[name])
    if spec["dtype"] == "int64":
        return corrupt.nodes_of_edges(problem.inputs[name], problem.sizes["n_node"])
    found = list(corrupt.numbers(problem.inputs[name]))
    if spec["axes"][-1] in attention._fixed_axes():
        found += list(corrupt.fixed_numbers(problem.inputs[name]))
    return found


def parameters_names(attention: ra.Attention) -> set[str]:
    return {parameter.name for parameter in parameters_of(attention.forward)}


def _shown(arguments: Mapping[str, Any]) -> str:
    """Shapes, for the report."""
    parts = []
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            parts.append(f"{name} {value.dtype} {value.shape}")
        elif isinstance(value, list | memoryview):
            parts.append(f"{name} {type(value).__name__} of {len(value)}")
        else:
            parts.append(f"{name}={value!r}"[:120])
    return ", ".join(parts)
