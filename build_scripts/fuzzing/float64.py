"""A whole call beside float64: on the NumPy bodies, by definitions that know nothing of them, and its gradients.

The call on the NumPy bodies rounds to float32 between kernels, as it does in C, but inside of kernels not at all. How
far the two may be apart is asked of the call itself: how far its answer moves where every input moves by 16 U at
random (see sensitivity.py); and of the bounds of its kernels, what the error d of a score may be: weights then differ
by e^(2 d) - 1 of themselves. Kernels alone are held to bounds that were derived; this is for what lies between them,
which picks kernels by what a backend can do, and for choices (the best keys, experts): where these are nearly even,
the moved calls choose otherwise too.

The definitions are those of tests/python, written apart from all code under test; with the bounds of rounding.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ruvector_attention as ra

from . import masks, rounding, shadow, verdicts
from .draw import Array
from .rounding import U
from .twins import Call, on, plain, twin

DRAWS = 3
ROOM = 64.0  # as sensitivity.py's, for several kernels one after the other


def _moved(call: Call, step: float) -> list[Any]:
    """Outputs for inputs and parameters that moved; an entry is None where the call was refused."""
    random = np.random.default_rng(call.case.draw.between(0, 10**9))
    found: list[Any] = []
    parameters = call.attention.parameters()
    kept = {name: parameter.copy() for name, parameter in parameters.items()}
    for _ in range(DRAWS):
        for name, parameter in parameters.items():
            parameter[...] = kept[name] * (1 + step * random.choice((-1.0, 1.0), parameter.shape))
        inputs = plain(call.inputs)
        for name, value in inputs.items():
            if isinstance(value, np.ndarray) and value.dtype == np.float32:
                signs = random.choice((-1.0, 1.0), value.shape) * random.uniform(0.5, 1.0, value.shape)
                inputs[name] = np.asarray(value * (1 + step * signs), np.float32)
        options = dict(call.options)
        for name in ("bias", "mask"):
            added = options.get(name)
            if added is not None and not isinstance(added, ra.AttentionMask) and np.asarray(added).dtype != np.bool_:
                signs = random.choice((-1.0, 1.0), np.shape(added))
                options[name] = np.asarray(np.asarray(added, np.float32) * (1 + step * signs), np.float32)
        found.append(call.again(inputs=inputs, options=options))
    for name, parameter in parameters.items():
        parameter[...] = kept[name]
    return found


@twin
def on_numpy(call: Call) -> bool:
    if ra.backend() == "numpy":
        return False
    with on("numpy"):
        exact = call.again()
        moved = _moved(call, 16 * U)
    if exact is None or any(other is None for other in moved):
        return False
    rounding.Seen.error, rounding.Seen.decided = 0.0, False
    with shadow.beside():
        call.again()
    if rounding.Seen.decided:
        return False  # other keys may be as right; scores that underflow stand still where inputs move
    of_scores = float(np.expm1(min(2 * rounding.Seen.error, 1.0)))
    if of_scores > 0.5:
        return False  # what is left is what kernels are held to
    verdicts.require(exact.shape == call.found.shape, f"NumPy gives {exact.shape}, C {call.found.shape}")
    exact = exact.astype(np.float64)
    move = np.max([np.abs(other - exact) for other in moved], axis=0)
    rows = move.max(axis=-1, keepdims=True)
    # a move that was small by accident; and underflow on the way, whatever it is multiplied by later, if the rest is
    # large
    rows = np.maximum(rows, rows.max(initial=0.0) / 64)
    sizes = np.abs(exact).max(axis=-1, keepdims=True)
    room = ROOM * rows + 64 * U * sizes + of_scores * np.max(sizes, initial=0.0) + 1e-30
    shadow.within("the output, beside NumPy's,", call.found, exact, room)
    return True


def _scores(call: Call, settings: dict[str, Any]) -> tuple[Array, Array] | None:
    """(scores, errors) of scaled dot products by the definition (spec: Core)."""
    inputs = plain(call.inputs)
    query, keys = (inputs[name].astype(np.float64) for name in ("query", "keys"))
    relative = 0.0
    if settings.get("normalize"):
        lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (query, keys)]
        if any((length == 0).any() for length in lengths):
            return None
        query, keys = (x / length for x, length in zip((query, keys), lengths, strict=True))
        relative = (query.shape[-1] + 14) * U
    scale = settings.get("scale") or query.shape[-1] ** -0.5
    scale = scale / (settings.get("temperature") or 1.0)
    scores, sums = scale * query @ keys.swapaxes(-1, -2), abs(scale) * np.abs(query) @ np.abs(keys).swapaxes(-1, -2)
    errors = ((rounding.chain(query.shape[-1]) + 6) * U + relative) * sums
    # a product that underflows loses LEAST; and keys are ranked by float32 scores, among which those that underflow tie
    errors = errors + query.shape[-1] * rounding.LEAST * (abs(scale) + 1)
    for name in ("bias", "mask"):
        added = call.options.get(name)
        if added is None or isinstance(added, ra.AttentionMask) or np.asarray(added).dtype == np.bool_:
            continue
        with np.errstate(over="ignore"):
            wide = np.asarray(added).astype(np.float32).astype(np.float64)
        finite = np.where(np.isfinite(wide), np.abs(wide), 0.0)
        scores, errors = scores + wide, errors + 6 * U * finite
    return scores, errors


@twin
def by_definition(call: Call) -> bool:
    """softmax(scale q kT + bias) v, and of the best k keys only."""
    attention, settings = call.attention, call.attention.config.to_dict()
    if attention.name not in ("scaled_dot_product", "flash", "local_global") or call.problem.is_vector:
        return False
    if not math.isfinite(settings.get("scale") or 1.0):
        return False
    given = _scores(call, settings)
    if given is None:
        return False
    scores, errors = given
    causal = call.options.get("causal")
    causal = settings.get("causal", False) if causal is None else causal
    shape = np.broadcast_shapes(scores.shape, call.problem.score_shape)
    seen = masks.allowed(call.options, shape, bool(causal))
    if attention.name == "local_global":
        if call.options.get("position") is not None:
            return False
        seen = seen & _local(attention, shape)
    scores = np.where(seen, scores, -np.inf)
    errors = np.broadcast_to(errors, scores.shape)
    if settings.get("top_k") is not None and not _best(scores, errors, int(settings["top_k"])):
        return False
    values = np.asarray(call.inputs["values"], np.float32).astype(np.float64)
    values = np.broadcast_to(values, (*scores.shape[:-2], *values.shape[-2:]))
    soft = rounding.softmax(scores, errors)
    exact = soft.weights @ values
    if not np.isfinite(exact).all():
        return False
    bound, _ = rounding.of_output(soft, 1.0, values, exact)
    verdicts.require(call.found.shape == exact.shape, f"the output is {call.found.shape}; by definition {exact.shape}")
    shadow.within("the output, by its definition,", call.found, exact, bound)
    return True


def _local(attention: Any, shape: tuple[int, ...]) -> Array:
    """|i - j| <= window, and what is global: tokens are numbered as the keys are, the last query being the last key."""
    n_query, n_key = shape[-2:]
    settings = attention.config.to_dict()
    at = np.arange(n_query)[:, None] + n_key - n_query
    j = np.arange(n_key)
    count = settings["global_tokens"]
    seen: Array = (np.abs(at - j) <= settings["window"]) | (j < count) | ((at >= 0) & (at < count))
    return seen


def _best(scores: Array, errors: Array, count: int) -> bool:
    """Hide all but the best in place; whether no two are so close that either may be taken."""
    if count >= scores.shape[-1]:
        return True
    order = np.argsort(-scores, axis=-1, kind="stable")
    kept, left = (np.take_along_axis(scores, order[..., i : i + 1], axis=-1) for i in (count - 1, count))
    off = np.where(np.isfinite(scores), errors, 0.0).max(axis=-1, keepdims=True)
    if bool(((kept - left <= 4 * off) & (left > -np.inf)).any()):
        return False
    np.put_along_axis(scores, order[..., count:], -np.inf, axis=-1)
    return True


@twin
def beside_differences(call: Call) -> bool:
    """The gradient along one direction, beside central differences of the NumPy call: of two steps, for what they
    differ by tells the error of the coarser one four times over, whatever the curvature; rounding of the outputs, U of
    each, is divided by the step. A kink between the steps tells itself the same way; at the point itself, by its two
    sides."""
    names = [
        name
        for name, value in plain(call.inputs).items()
        if isinstance(value, np.ndarray) and value.dtype == np.float32
    ]
    attention, settings = call.attention, call.attention.config.to_dict()
    if settings.get("dropout") or not names or np.asarray(call.found).size > 4000:
        return False
    random = np.random.default_rng(call.case.draw.between(0, 10**9))
    inputs = plain(call.inputs)
    # of ordinary size, parameters as well: differences are of no use where scores are huge, and slopes of 1e20 multiply
    # what rounding leaves of a gradient that is 0
    if any(np.abs(array).max(initial=0) > MOST_PARAMETER for array in attention.parameters().values()):
        return False
    for name in names:
        size = 0.5 / np.sqrt(inputs[name].shape[-1])  # well inside of a ball
        inputs[name] = (random.standard_normal(inputs[name].shape) * size).astype(np.float32)
    options = {name: value for name, value in call.options.items() if name not in ("bias", "query_times", "key_times")}
    mask = options.get("mask")
    if mask is not None and not isinstance(mask, ra.AttentionMask):
        shape = np.shape(mask) if np.ndim(mask) > 1 else (1, len(mask))
        options["mask"] = masks.allowed({"mask": mask}, shape, False)
    name = call.case.draw.one_of(names)
    way = random.standard_normal(inputs[name].shape) * np.abs(inputs[name]).max()

    def along(step: float) -> Any:
        moved = {**inputs, name: (inputs[name] + step * way).astype(np.float32)}
        with on("numpy"):
            found = call.again(inputs=moved, options=options)
        return None if found is None else found.astype(np.float64)

    with np.errstate(all="ignore"):
        found = call.again(inputs=inputs, options={**options, "training": True})
    if found is None:
        return False
    plainly = call.again(inputs=inputs, options=options)
    if plainly is None or not np.array_equal(found, plainly):
        return False  # noise, or experts that are tried when training
    grad = random.standard_normal(found.shape).astype(np.float32)
    gradients = attention.backward(grad)
    if name not in gradients:
        return False
    ends = [along(step) for step in (STEP, -STEP, STEP / 2, -STEP / 2, 0.0)]
    if any(end is None for end in ends):
        return False
    wide, narrow = ((grad * (above - below)).sum() / width for above, below, width in
                    ((ends[0], ends[1], 2 * STEP), (ends[2], ends[3], STEP)))  # fmt: skip
    if abs(wide - narrow) > 0.005 * abs(narrow):
        return False  # too curved, or a kink between them
    actual = float((gradients[name].astype(np.float64) * way).sum())
    terms = float(np.sqrt(((gradients[name].astype(np.float64) * way) ** 2).sum()))
    of_rounding = (
        8 * U * float(np.sqrt(((grad * ends[0]) ** 2).sum())) / STEP
        + U * float(np.abs(inputs[name]).max()) / STEP * terms
    )
    sides = float((grad * (ends[2] + ends[3] - 2 * ends[4])).sum()) / (
        STEP / 2
    )  # where they differ, any between is one
    room = abs(sides) + 4 * abs(wide - narrow) + of_rounding + 1e-3 * terms
    verdicts.require(
        abs(actual - narrow) <= room,
        f"the gradient of {name} along a direction is {actual!r}, by differences {float(narrow)!r} "
        f"({float(wide)!r} at twice the step), with room for {room:.3g}",
    )
    return True


STEP = 2.0**-8
MOST_PARAMETER = 100.0
