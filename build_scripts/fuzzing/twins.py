"""One answer by two ways: what must be the same to the bit, and what must be the same up to rounding.

To the bit: arrays in another layout, a call split over threads, items of a batch, a memory of the same rows, an object
made from settings and state. Up to rounding: weights times values, a mask as an object or as the array that it stands
for, and (float64.py) the same call on the NumPy bodies, the definition, gradients beside differences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector_attention as ra
from ruvector_attention import engine, kernels, threads

from . import masks, shadow, verdicts
from .arguments import Problem
from .rounding import LEAST, U

if TYPE_CHECKING:
    from .cases import Case

compared: Counter[str] = Counter()

#: The inputs that are numbers; the others are edges and levels.
FLOATS = {"query", "keys", "values", "nodes", "items", "edge_attr", "features"}
#: Outputs are sums of values by the weights that attention_weights gives, in these.
BY_WEIGHTS = {
    *("scaled_dot_product", "flash", "local_global", "temporal", "hnsw_aware", "dual_space", "graph_rope", "linear"),
}
#: Each of these computes an item of a batch from that item alone; experts have room for so many rows of all items.
NOT_ITEM_BY_ITEM = {"moe", "learned_routing", "auto"}


class Call:
    """A forward that was answered."""

    def __init__(self, case: Case, attention: ra.Attention, problem: Problem, options: Mapping[str, Any], found: Any):
        self.case, self.attention, self.problem = case, attention, problem
        self.inputs, self.options, self.found = dict(problem.inputs), dict(options), found

    def again(self, attention: ra.Attention | None = None, inputs: Any = None, options: Any = None) -> Any:
        """The same call with something else in it; None where that is refused."""
        self.case.operations += 1
        try:
            return (attention or self.attention).forward(
                **(self.inputs if inputs is None else inputs), **(self.options if options is None else options)
            )
        except ra.AttentionError as error:
            self.case.refused(self.attention.name, "forward, by another way", error)
            return None


Twin = Callable[[Call], bool]
TWINS: list[Twin] = []


def twin(function: Twin) -> Twin:
    """Enter a way to compare a call by. It answers whether there was something to compare."""
    TWINS.append(function)
    return function


def run(call: Call) -> None:
    """One of the ways, drawn."""
    chosen = call.case.draw.one_of(TWINS)
    call.case.trail.append(f"by another way: {chosen.__name__}")
    with np.errstate(all="ignore"):
        has_compared = chosen(call)
    if has_compared:
        compared[chosen.__name__] += 1
        call.case.compared += 1


@contextmanager
def on(backend: str) -> Iterator[None]:
    """This backend for a while, and then what was before, wrapped kernels included."""
    before, kept = kernels.backend(), dict(kernels.active.__dict__)
    kernels.use_backend(backend)
    try:
        yield
    finally:
        kernels.use_backend(before)
        kernels.active.__dict__.update(kept)


def plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """float32 and C-contiguous, as no call needs to copy them; lists of whole numbers stay."""
    return {name: np.array(value, np.float32) if name in FLOATS else value for name, value in inputs.items()}


@twin
def in_plain_layout(call: Call) -> bool:
    found = call.again(inputs=plain(call.inputs))
    verdicts.require(found is not None, "plain arrays are refused where the same numbers in another layout are not")
    shadow.same("the output of plain arrays", found, call.found)
    return True


@twin
def over_threads(call: Call) -> bool:
    """Split as finely as it may be: what a call must cost before it is split is set aside."""
    worth, small, count = threads.WORTH_A_THREAD, engine.SMALL, threads.threads()
    kept = dict(kernels.active.__dict__)
    kernels.use_backend(kernels.backend())  # unwrapped: tasks of one call run side by side
    try:
        threads.WORTH_A_THREAD = engine.SMALL = 1
        ra.set_threads(call.case.draw.between(2, 4))
        found = call.again()
    finally:
        threads.WORTH_A_THREAD, engine.SMALL = worth, small
        ra.set_threads(count)
        kernels.active.__dict__.update(kept)
    verdicts.require(found is not None, "a call over threads is refused")
    shadow.same("the output over threads", found, call.found)
    return True


@twin
def item_by_item(call: Call) -> bool:
    """The first and the last item of the leading axes, by themselves."""
    lead = call.problem.lead
    if not lead or call.attention.name in NOT_ITEM_BY_ITEM or call.problem.is_vector:
        return False
    full = call.found.ndim - len(lead)
    for index in (tuple(0 for _ in lead), tuple(size - 1 for size in lead)):
        at = {name: _item(value, lead, index, 2) if name in FLOATS else value for name, value in call.inputs.items()}
        options = dict(call.options)
        for name in ("mask", "bias"):
            if isinstance(options.get(name), np.ndarray):
                options[name] = _item(options[name], lead, index, 2)
        if isinstance(options.get("key_lengths"), np.ndarray):
            options["key_lengths"] = _item(options["key_lengths"], lead, index, 0)
        found = call.again(inputs=at, options=options)
        verdicts.require(found is not None, "an item is refused that came through in a batch")
        verdicts.require(found.ndim == full, f"an item's output is {found.shape}, in a batch {call.found.shape}")
        shadow.same(f"the output of item {index}", found, call.found[index])
    return True


def _item(value: Any, lead: tuple[int, ...], index: tuple[int, ...], tail: int) -> Any:
    """One item of (*lead, ...), where an array has leading axes, or some of them."""
    array = np.asarray(value)
    own = array.ndim - tail
    if own <= 0:
        return value
    return array[tuple(0 if size == 1 else at for size, at in zip(array.shape[:own], index[-own:], strict=True))]


@twin
def in_a_batch(call: Call) -> bool:
    """forward_batch with an item of another shape beside it."""
    other = Problem(call.case.draw, call.attention)
    alone = call.again(inputs=other.inputs, options={})
    if alone is None:
        return False
    found = call.attention.forward_batch([{**call.inputs, **call.options}, other.inputs])
    shadow.same("the output in a batch", found[0], call.found)
    shadow.same("the output of the other item of a batch", found[1], alone)
    return True


@twin
def from_state(call: Call) -> bool:
    """Another object of the same settings that takes over the state."""
    other = type(call.attention).from_config(call.attention.get_config())
    for parameter in other.parameters().values():
        parameter += np.float32(1)
    other.load_state_dict(call.attention.state_dict())
    if call.attention.config.to_dict().get("experts"):
        return False  # whose usage may bias their choice
    found = call.again(attention=other)
    verdicts.require(found is not None, "an object of the same settings and state refuses the call")
    shadow.same("the output of an object of the same settings and state", found, call.found)
    return True


@twin
def from_a_memory(call: Call) -> bool:
    if not {"keys", "values"} <= set(call.inputs) or call.options.get("key_lengths") is not None:
        return False
    keys, values = (np.array(call.inputs[name], np.float32) for name in ("keys", "values"))
    if keys.ndim != 2 or values.ndim != 2:
        return False
    memory = _grown(call, keys, values)
    if call.case.draw.chance(0.3) and call.attention._memory_maps():
        memory.project(call.attention)
    found = call.again(inputs={"query": call.inputs["query"], "keys": memory})
    verdicts.require(found is not None, "a memory of the same rows is refused")
    shadow.same("the output from a memory of the same rows", found, call.found)
    return True


def _grown(call: Call, keys: Any, values: Any) -> ra.Memory:
    """A memory of these rows, some of which came later, behind others that went."""
    draw, count = call.case.draw, len(keys)
    first = draw.between(1, count)
    strangers = draw.between(0, 3)
    memory = ra.Memory(
        np.concatenate([np.ones((strangers, keys.shape[1]), np.float32), keys[:first]]),
        np.concatenate([np.ones((strangers, values.shape[1]), np.float32), values[:first]]),
    )
    if first < count:
        memory.append(keys[first:], values[first:])
    if strangers:
        memory.evict(oldest=strangers)
    return memory


@twin
def by_its_weights(call: Call) -> bool:
    """weights @ values: the weights are rounded, each by U of itself, and so is each way's output."""
    attention, problem = call.attention, call.problem
    if attention.name not in BY_WEIGHTS or attention.config.to_dict().get("num_heads", 1) != 1:
        return False
    values = np.asarray(call.inputs["values"], np.float32).astype(np.float64)
    known = call.attention.attention_weights  # type: ignore[attr-defined]
    inputs = {name: value for name, value in call.inputs.items() if name != "values"}
    with on("numpy"):
        output = call.again()
        try:
            weights = known(**inputs, **call.options)
        except ra.AttentionError:
            return False
    if output is None:
        return False
    weights = weights.astype(np.float64)
    expected, mass = weights @ values, weights @ np.abs(values)
    # linear attention's weights are outputs of running sums, divided once more
    share = 8 * U if attention.name != "linear" else 64 * U
    room = share * mass + 4 * LEAST * values.shape[-2]
    if problem.is_vector:
        output, expected, room = (x.reshape(-1) for x in (output, expected, room))
    if output.shape != expected.shape:
        return False  # weights head by head
    shadow.within("the output, beside its weights times the values,", output, expected, room)
    return True


@twin
def by_a_dense_mask(call: Call) -> bool:
    """A mask object, ``causal`` and key lengths, beside the boolean array that they stand for: on the NumPy bodies,
    whose scores are exact to 2^-53 of their absolutes, so that large ones decide alike."""
    attention, problem, options = call.attention, call.problem, dict(call.options)
    names = {"mask", "causal", "key_lengths"}
    if "query" not in call.inputs or "n_key" not in problem.sizes or not names & set(options):
        return False
    settings = attention.config.to_dict()
    if {"position", "key_times"} & set(call.problem.option_names) or problem.draw.largest > 6 or problem.is_vector:
        return False  # causal by something else than the row's number; or scores that decide by their last bits
    if attention.name in NOT_ITEM_BY_ITEM:
        return False
    causal = options.get("causal")
    causal = settings.get("causal", False) if causal is None else causal
    seen = masks.allowed(options, problem.score_shape, bool(causal))
    mask = options.get("mask")
    added = None if mask is None or isinstance(mask, ra.AttentionMask) else np.asarray(mask)
    for name in names:
        options.pop(name, None)
    options["mask"] = seen
    if added is not None and added.dtype != np.bool_:
        with np.errstate(over="ignore"):
            options["mask"] = np.where(seen, added.astype(np.float32), np.float32(-np.inf))
    if "causal" in call.problem.option_names:
        options["causal"] = False
    with on("numpy"):
        before, found = call.again(), call.again(options=options)
    if before is None or found is None:
        return False
    largest = float(np.max(np.abs(before), initial=0.0))
    for name in ("values", "query"):
        largest = max(largest, float(np.max(np.abs(np.asarray(call.inputs.get(name, 0.0), np.float32)))))
    shadow.within("the output by a dense mask", found, before.astype(np.float64), 1e-4 * largest)
    return True


# Last: they enter themselves above.
from . import float64  # noqa: E402, F401
