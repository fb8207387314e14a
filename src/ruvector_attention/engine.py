"""The fused attention call: between a mechanism, which has bound and cast its arrays, and a kernel.

Every mechanism with a softmax over keys goes through ``attend`` (output) or ``weights`` (the weights alone). How scores
come about is told by the keywords of ``scoring.Scoring``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels, selected, threads
from .finite import raise_non_finite
from .problem import Gradients, Problem
from .products import (
    FLOAT32,
    QUERY_BLOCK,
    contiguous,
    normalize_rows,
    normalize_rows_backward,
    project,
    project_backward,
)
from .scoring import CAUSAL, EVERYWHERE, UNLIMITED, Band, Dropout, Edges, Rotary, Scoring, Space, Times, as_arrays

__all__ = [
    "CAUSAL",
    "EVERYWHERE",
    "FLOAT32",
    "QUERY_BLOCK",
    "UNLIMITED",
    "Band",
    "Dropout",
    "Edges",
    "Gradients",
    "Rotary",
    "Scoring",
    "Space",
    "Times",
    "attend",
    "attend_backward",
    "contiguous",
    "normalize_rows",
    "normalize_rows_backward",
    "project",
    "project_backward",
    "raise_non_finite",
    "weights",
]

Float32Array = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

SMALL = 1_000_000  # multiply-adds below which a call is never split


def attend(
    query: Array,
    keys: Array,
    values: Array,
    *,
    scale: float,
    causal: bool = False,
    mask: Array | None = None,
    normalize: bool = False,
    check_finite: bool = True,
    return_lse: bool = False,
    out: Array | None = None,
    max_threads: int | None = None,
    **options: Any,
) -> Any:
    """out = softmax(scale * q kT + bias) v

    query (..., n_query, heads * dim), keys (..., n_key, kv_heads * dim), values (..., n_key, kv_heads * dim_value)
    -> (..., n_query, heads * dim_value), float32; with ``return_lse`` also the log-sum-exp (..., heads, n_query).
    Heads are groups of channels and are read where they lie. ``mask`` is bool (True = may attend) or float (added),
    broadcastable to (..., n_query, n_key), or with one more axis for the heads. A row without keys gives zeros.
    ``options`` are ``Scoring``'s: ``band`` (takes the place of ``causal``) and ``tiles``, outside of which nothing is
    computed; ``edges``, lists of keys; ``top_k``, the keys that count; ``bias``; ``key_lengths`` (leading shape), keys
    behind which are never read; ``spaces``, ``rotary``, ``times``, ``dropout``; ``num_heads``, ``num_kv_heads``.
    ``out`` takes the output: C-contiguous float32 of its shape, apart from the inputs.

    Raises NumericalInstabilityError that names the array and its first bad index.
    """
    if not (options or normalize or return_lse) and mask is None and query.ndim == 2 == keys.ndim == values.ndim:
        n_query, dim = query.shape
        n_key, dim_value = values.shape
        whole = n_query <= QUERY_BLOCK or n_query * n_key * dim < SMALL or 1 in (max_threads, threads.threads())
        if whole and query.dtype is keys.dtype is values.dtype is FLOAT32:
            if out is None:
                out = np.empty((n_query, dim_value), FLOAT32)
            try:
                status = kernels.active.attention(
                    query, keys, None, None, None, values, out, None,
                    1, 1, 1, n_query, n_key, dim, 0, 0, dim, 0, 0, dim, 0, 0, 0, 0, 0, 0, 0, 0,
                    UNLIMITED, 0 if causal else UNLIMITED, 0,
                    0, -(-n_query // QUERY_BLOCK), dim_value, 0, 0, dim_value, 0, 0, dim_value, scale,
                )  # fmt: skip
            except BufferError:  # not contiguous or not aligned: copied below
                pass
            else:
                if status and check_finite:
                    raise_non_finite(query=query, keys=keys, values=values)
                return out
    scoring = Scoring.of(scale, causal=causal, mask=mask, normalize=normalize, **options).fitted(keys.shape[-2])
    if scoring.is_selective:
        return selected.attend(query, keys, values, scoring, check_finite, return_lse, out, max_threads)
    problem = Problem(query, keys, values, scoring, check_finite)
    if out is None:
        out = np.empty((*problem.lead, problem.n_query, scoring.num_heads * problem.dim_value), FLOAT32)
    lse = np.empty((*problem.lead, scoring.num_heads, problem.n_query), FLOAT32) if return_lse else None
    status = problem.forward(out, lse, max_threads)
    if status and check_finite:
        raise_non_finite(query=query, keys=keys, values=values, mask=mask, bias=options.get("bias"))
    return (out, lse) if return_lse else out


def attend_backward(
    query: Array,
    keys: Array,
    values: Array,
    out: Array,
    lse: Array,
    grad_out: Array,
    *,
    scale: float,
    max_threads: int | None = None,
    **options: Any,
) -> Gradients:
    """The gradients of ``attend``'s inputs from that of its output; ``out`` and ``lse`` are what it returned.

    The weights are recomputed tile by tile from the log-sum-exp. The gradient of a float mask comes as ``bias``'s.
    """
    scoring = Scoring.of(scale, **options).fitted(keys.shape[-2])
    if scoring.is_selective:
        return selected.attend_backward(query, keys, values, out, lse, grad_out, scoring)
    problem = Problem(query, keys, values, scoring, False)
    grads = problem.backward(contiguous(out), contiguous(lse), contiguous(grad_out), max_threads)
    if not scoring.normalize:
        return grads
    return grads._replace(
        query=normalize_rows_backward(query, grads.query, problem.dim),
        keys=normalize_rows_backward(keys, grads.keys, problem.dim),
    )


def weights(
    query: Array,
    keys: Array,
    *,
    scale: float,
    mask: Array | None = None,
    check_finite: bool = True,
    max_threads: int | None = None,
    **options: Any,
) -> Float32Array:
    """softmax(scale * q kT + bias), arguments as in ``attend``: (..., n_query, n_key), with several heads
    (..., heads, n_query, n_key)."""
    if mask is None and query.ndim == 2 == keys.ndim and len(query) <= QUERY_BLOCK and not options.get("causal"):
        found = _plain_weights(query, keys, scale, check_finite, options)
        if found is not None:
            return found
    scoring = Scoring.of(scale, mask=mask, **options).fitted(keys.shape[-2])
    if scoring.is_selective:
        scoring = selected.as_mask(query, keys, scoring, check_finite)
    problem = Problem(query, keys, None, scoring, check_finite)
    heads = (scoring.num_heads,) if scoring.num_heads > 1 else ()
    out = np.empty((*problem.lead, *heads, problem.n_query, problem.n_key), FLOAT32)
    status = problem.weigh(out, max_threads)
    # scores beyond float32 are told by no input
    if check_finite and (status or kernels.active.all_finite(out, out.size)):
        raise_non_finite(query=query, keys=keys, mask=mask, bias=options.get("bias"))
    return out


def _plain_weights(
    query: Array, keys: Array, scale: float, check_finite: bool, options: dict[str, Any]
) -> Float32Array | None:
    """The weights of two matrices in one space whose aux is given, at less cost than a Problem is; None otherwise."""
    spaces, aux = options.get("spaces", ()), options.get("aux")
    (n_query, dim), n_key = query.shape, len(keys)
    if aux is None or len(spaces) != 1 or n_query * n_key * dim >= SMALL:
        return None
    others = (option for name, option in options.items() if name not in ("spaces", "aux"))
    if any(option is not None and option is not False for option in others):
        return None
    out = np.empty((n_query, n_key), FLOAT32)
    try:
        status = kernels.active.attention_weights(
            query, keys, None, None, None, None, None, None, *as_arrays(tuple(spaces)), *aux, None, None, out,
            1, 1, 1, n_query, n_key, dim, 0, 0, dim, 0, 0, dim, 0, 0, 0, 0, 0, 0, 0, 0, *EVERYWHERE, 0, 1,
            0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, scale, 0.0, 0.0, 0.0,
        )  # fmt: skip
    except BufferError:  # not contiguous or not aligned: copied the longer way
        return None
    if status and check_finite:
        raise_non_finite(query=query, keys=keys)
    return out
