"""Seeded inputs and their float64 answers, as raw little-endian files that every language can read.

Input `i` of a workload is drawn from NumPy's `default_rng((SEED, i))`: standard normal float32, weights of projections
divided by sqrt(fan in). They are made once, in this process, and shipped as files, so identical everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import MechanismCase
from .workloads import Workload

SEED = 20_240_607
# A block of score rows of this many float64 fits the cache budget of the reference.
_BLOCK_ELEMENTS = 4_000_000

Arrays = dict[str, NDArray[np.float32]]


def arrays(workload: Workload) -> Arrays:
    """The input arrays of `workload`."""
    made: Arrays = {}
    for index, (name, shape) in enumerate(workload.inputs.items()):
        drawn = np.random.default_rng((SEED, index)).standard_normal(shape, dtype=np.float32)
        made[name] = drawn / np.float32(math.sqrt(shape[-1])) if name.startswith("w") else drawn
    return made


def case_arrays(case: MechanismCase) -> Arrays:
    """The input arrays of `case`; whole numbers are float32 too, and exact, until an engine reads them."""
    made: Arrays = {}
    for index, (name, shape) in enumerate(case.inputs.items()):
        random = np.random.default_rng((SEED, index))
        if name in case.whole:
            drawn = random.integers(0, case.whole[name], shape).astype(np.float32)
        elif name in case.ascending:
            drawn = np.cumsum(random.exponential(size=shape), dtype=np.float64).astype(np.float32)
        else:
            drawn = random.standard_normal(shape, dtype=np.float32)
            drawn *= np.float32(1 if name == "grad" else case.sizes.get(name, case.size))
        made[name] = drawn
    return made


def folder(task: Workload | MechanismCase, cache: Path) -> Path:
    """Where the inputs of a task are. A case's definition may change under its name: its folder bears a hash."""
    if isinstance(task, Workload):
        return cache / "inputs"
    return cache / "inputs" / _digest([task.describe()])


def _digest(identity: Any) -> str:
    return hashlib.sha256(json.dumps([SEED, *identity], sort_keys=True).encode()).hexdigest()[:12]


def write(workload: Workload | MechanismCase, folder: Path) -> dict[str, str]:
    """Write the inputs of `workload` into `folder`; name -> file name."""
    files = {name: f"{workload.name}.{name}.f32" for name in workload.inputs}
    if not all((folder / file).exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        made = arrays(workload) if isinstance(workload, Workload) else case_arrays(workload)
        for name, array in made.items():
            array.astype("<f4", copy=False).tofile(folder / files[name])
    return files


def reference(workload: Workload, cache: Path) -> NDArray[np.float64]:
    """The float64 answer of `workload`, flat; kept in `cache`, since the large ones take many seconds."""
    identity = json.dumps([SEED, workload.describe()], sort_keys=True)
    file = cache / f"{workload.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.f64"
    if file.exists():
        return np.fromfile(file, dtype="<f8")
    wide = {name: array.astype(np.float64) for name, array in arrays(workload).items()}
    answer = np.ascontiguousarray(_answer(workload, wide)).reshape(-1)
    cache.mkdir(parents=True, exist_ok=True)
    answer.tofile(file)
    return answer


def case_reference(case: MechanismCase, engine: str, cache: Path) -> NDArray[np.float64]:
    """The float64 answer by the formula that `case` names, flat; kept in `cache`."""
    from . import case_reference  # not in every environment that draws inputs

    formulas = Path(case_reference.__file__).read_text()
    file = cache / f"{case.name}-{_digest([case.describe(), engine, formulas])}.f64"
    if not file.exists():
        answer = case_reference.answer(case, engine, case_arrays(case))
        cache.mkdir(parents=True, exist_ok=True)
        answer.tofile(file)
    return np.fromfile(file, dtype="<f8")


def max_relative_error(answer: NDArray[Any], expected: NDArray[np.float64]) -> float:
    """max |answer - expected| / max |expected|; infinite for a wrong size or a value that is not finite."""
    if answer.size != expected.size or not bool(np.isfinite(answer).all()):
        return math.inf
    difference = np.abs(answer.reshape(-1).astype(np.float64) - expected)
    return float(difference.max() / np.abs(expected).max())


def checked(workload: Workload | MechanismCase, answer: NDArray[Any]) -> NDArray[Any]:
    """The rows of an answer that `reference` has; the whole answer where it has all, or where the size is wrong."""
    if (
        isinstance(workload, MechanismCase)
        or not workload.checked_rows
        or answer.size != math.prod(workload.answer_shape)
    ):
        return answer
    return answer.reshape(workload.answer_shape)[_checked_rows(workload)]


def _checked_rows(workload: Workload) -> NDArray[np.int64]:
    """Evenly spread, the first and the last among them."""
    return np.linspace(0, workload.n_query - 1, workload.checked_rows).round().astype(np.int64)


def _answer(workload: Workload, wide: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if workload.kind == "layer":
        return _layer(workload, wide)
    q, k, v = (_with_heads(wide[name]) for name in ("q", "k", "v"))
    if workload.kind == "backward":
        return _backward(q, k, v, _with_heads(wide["grad"]))
    if workload.checked_rows:
        return _rows(workload, q[0], k[0], v[0], _checked_rows(workload))
    return _attention(workload, q, k, v)


def _rows(
    workload: Workload, q: NDArray[np.float64], k: NDArray[np.float64], v: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Some rows of the attention of one head."""
    scores = q[rows] @ k.T * workload.dim**-0.5
    distance = rows[:, None] - np.arange(workload.n_key)
    if workload.window:
        scores[np.abs(distance) > workload.window // 2] = -np.inf
    if workload.causal:
        scores[distance < 0] = -np.inf
    return _softmax(scores) @ v


def _with_heads(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array if array.ndim == 3 else array[None]


def _attention(
    workload: Workload, q: NDArray[np.float64], k: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(heads, n, dim) attention by blocks of query rows; a structured mask only looks at the keys it can see."""
    out = np.empty((q.shape[0], q.shape[1], v.shape[2]))
    reach = workload.window // 2
    for head in range(q.shape[0]):
        rows = 2 * reach if reach else max(1, _BLOCK_ELEMENTS // k.shape[1])
        for start in range(0, q.shape[1], rows):
            stop = min(start + rows, q.shape[1])
            low = max(0, start - reach) if workload.window else 0
            high = min(k.shape[1], stop + reach) if workload.window else k.shape[1]
            scores = q[head, start:stop] @ k[head, low:high].T * workload.dim**-0.5
            query, key = np.arange(start, stop)[:, None], np.arange(low, high)
            if workload.window:
                scores[np.abs(query - key) > reach] = -np.inf
            if workload.causal:
                scores[key > query] = -np.inf
            out[head, start:stop] = _softmax(scores) @ v[head, low:high]
    return out


def _backward(
    q: NDArray[np.float64], k: NDArray[np.float64], v: NDArray[np.float64], grad: NDArray[np.float64]
) -> NDArray[np.float64]:
    scale = q.shape[-1] ** -0.5
    weights = _softmax(q @ k.swapaxes(-1, -2) * scale)
    out = weights @ v
    d_weights = grad @ v.swapaxes(-1, -2)
    d_scores = weights * (d_weights - (grad * out).sum(-1, keepdims=True)) * scale
    parts = (out, d_scores @ k, d_scores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ grad)
    return np.concatenate([part.reshape(-1) for part in parts])


def _layer(workload: Workload, wide: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    def split(name: str) -> NDArray[np.float64]:
        projected = wide["x"] @ wide[f"w{name}"].T + wide[f"b{name}"]
        return projected.reshape(workload.n_query, workload.heads, workload.dim).swapaxes(0, 1)

    mixed = _attention(workload, split("q"), split("k"), split("v"))
    joined = mixed.swapaxes(0, 1).reshape(workload.n_query, -1)
    return joined @ wide["wo"].T + wide["bo"]


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores
