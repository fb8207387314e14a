"""The float64 answers of the cases, written from the formulas and from nothing of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import GLOBAL_TOKENS, PARAMETER, WINDOW, MechanismCase

Array = NDArray[np.float64]
Wide = dict[str, Array]
# performer-pytorch adds this to every feature, the paper does not
PERFORMER_EPS = 1e-4
_ROWS = 512


def answer(case: MechanismCase, engine: str, arrays: dict[str, NDArray[np.float32]]) -> Array:
    """The answer that `engine` owes, flat: the output, then with `backward` the gradients of the arrays, in order."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    return np.concatenate([part.reshape(-1) for part in FORMULAS[case.reference](case, engine, wide)])


def _softmax(scores: Array) -> Array:
    weights: Array = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights


def _attend(query: Array, keys: Array, values: Array, temperature: float = 1.0) -> Array:
    """One head, a block of rows at a time."""
    factor = query.shape[-1] ** -0.5 / temperature
    blocks = [_softmax(factor * query[at] @ keys.T) @ values for at in _blocks(len(query))]
    return np.concatenate(blocks)


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))


def _heads(wide: Wide) -> Iterator[tuple[Array, Array, Array]]:
    """Query, keys and values of every head."""
    q, k, v = (array if (array := wide[name]).ndim == 3 else array[None] for name in ("query", "keys", "values"))
    return zip(q, k, v, strict=True)


def _dense(_case: MechanismCase, _engine: str, wide: Wide) -> list[Array]:
    return [_attend(*head) for head in _heads(wide)]


def _local_global(_case: MechanismCase, _engine: str, wide: Wide) -> list[Array]:
    """Keys within the window and the global ones; a global token sees all."""
    ((query, keys, values),) = _heads(wide)
    out, factor = np.empty_like(query), query.shape[-1] ** -0.5
    for at in _blocks(len(query)):
        low, high = max(at.start - WINDOW, GLOBAL_TOKENS), min(at.stop + WINDOW, len(keys))
        listed = np.concatenate([np.arange(GLOBAL_TOKENS), np.arange(low, high)])
        scores = factor * query[at] @ keys[listed].T
        far = np.abs(np.arange(at.start, at.stop)[:, None] - listed) > WINDOW
        scores[far & (listed >= GLOBAL_TOKENS)] = -np.inf
        out[at] = _softmax(scores) @ values[listed]
    out[:GLOBAL_TOKENS] = _attend(query[:GLOBAL_TOKENS], keys, values)
    return [out]


def _hyperbolic(_case: MechanismCase, _engine: str, wide: Wide) -> list[Array]:
    """Scores -d(q, k) in the unit ball, d = arcosh(1 + 2|q - k|² / ((1 - |q|²)(1 - |k|²))), and the gyromidpoint."""
    query, keys, values = (wide[name] for name in ("query", "keys", "values"))
    squares = {name: (wide[name] ** 2).sum(-1) for name in ("query", "keys", "values")}
    apart = squares["query"][:, None] + squares["keys"] - 2 * query @ keys.T
    inner = 1 + 2 * apart / ((1 - squares["query"])[:, None] * (1 - squares["keys"]))
    weights = _softmax(-np.arccosh(np.maximum(inner, 1)))
    factors = 2 / (1 - squares["values"])
    point = (weights * factors) @ values / (weights * (factors - 1)).sum(-1, keepdims=True)
    return [point / (1 + np.sqrt(1 - (point**2).sum(-1, keepdims=True)))]  # a half of it, by Möbius multiplication


def _favor(_case: MechanismCase, engine: str, wide: Wide) -> list[Array]:
    """Choromanski et al. 2021, with these features; performer-pytorch's answer is that of its own formula."""
    rows = wide[f"{PARAMETER}features"]
    eps = PERFORMER_EPS if engine == "performer-pytorch" else 0.0

    def features(x: Array, axes: tuple[int, ...]) -> Array:
        x = x * x.shape[-1] ** -0.25
        dots = x @ rows.T
        mapped: Array = np.exp(dots - (x**2).sum(-1, keepdims=True) / 2 - dots.max(axes, keepdims=True)) + eps
        return mapped

    outputs = []
    for query, keys, values in _heads(wide):
        q, k = features(query, (-1,)), features(keys, (-1, -2))
        outputs.append(q @ (k.T @ values) / (q @ k.sum(0))[:, None])
    return outputs


def _moe(case: MechanismCase, _engine: str, wide: Wide) -> list[Array]:
    """Each query to the experts of its highest logits, softmax of these as weights."""
    ((query, keys, values),) = _heads(wide)
    logits = query @ wide[f"{PARAMETER}router_weight"] + wide[f"{PARAMETER}router_bias"]
    chosen = np.argsort(-logits, axis=1)[:, : case.settings["top_k"]]
    weights = _softmax(np.take_along_axis(logits, chosen, axis=1))
    out = np.zeros_like(query)
    for index, expert in enumerate(case.settings["experts"]):
        row, place = np.nonzero(chosen == index)
        out[row] += weights[row, place, None] * _attend(query[row], keys, values, expert["temperature"])
    return [out]


def _gatv2(case: MechanismCase, _engine: str, wide: Wide) -> list[Array]:
    """Brody et al. 2022 in float64, edge by edge; the gradients are torch's of that formula."""
    # the driver's environment has it; whoever else reads this module need not
    import torch  # type: ignore[import-not-found, unused-ignore]

    heads, head_dim, n_node = case.settings["num_heads"], case.settings["head_dim"], case.shapes["nodes"][0]
    tensors = {name: torch.from_numpy(array).requires_grad_(case.backward) for name, array in wide.items()}
    source, target = torch.from_numpy(wide["edge_index"].astype(np.int64))
    of: Callable[[str], Any] = lambda name: tensors[PARAMETER + name]  # noqa: E731
    nodes, width = tensors["nodes"], heads * head_dim
    sent, received = (nodes @ of(f"{side}_weight") + of(f"{side}_bias") for side in ("source", "target"))
    mixed = sent[source] + received[target] + tensors["edge_attr"] @ of("edge_weight")
    shaped = torch.nn.functional.leaky_relu(mixed, 0.2).view(-1, heads, head_dim)
    raised = (shaped * of("attention")).sum(-1).exp()  # scores are small: no maximum is needed in float64
    total = torch.zeros(n_node, heads, dtype=torch.float64).index_add(0, target, raised)
    weights = raised / total[target]
    messages = (weights[..., None] * sent[source].view(-1, heads, head_dim)).view(-1, width)
    output = torch.zeros(n_node, width, dtype=torch.float64).index_add(0, target, messages) + of("bias")
    if not case.backward:
        return [output.numpy()]
    learned = [tensors[name] for name in case.differentiated]
    gradients = torch.autograd.grad(output, learned, tensors["grad"])
    return [output.detach().numpy(), *(gradient.numpy() for gradient in gradients)]


FORMULAS: dict[str, Callable[[MechanismCase, str, Wide], list[Array]]] = {
    "softmax": _dense,
    "local_global": _local_global,
    "hyperbolic": _hyperbolic,
    "favor": _favor,
    "moe": _moe,
    "gatv2": _gatv2,
}
