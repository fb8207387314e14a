"""Graph attention in float64, edge by edge, from the papers' formulas; and gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def softmax_into(scores: Array, targets: Array, n_node: int) -> Array:
    """Scores (n_edges, heads) to weights that sum to 1 over the edges into each node."""
    weights = np.zeros_like(scores)
    for node in range(n_node):
        own = np.flatnonzero(targets == node)
        if own.size:
            exponentials = np.exp(scores[own] - scores[own].max(axis=0))
            weights[own] = exponentials / exponentials.sum(axis=0)
    return weights


def with_loops(edges: Array, edge_attr: Array | None, n_node: int) -> tuple[Array, Array | None]:
    """Every node's own edge behind the others, edges from a node to itself gone; the features of a new loop are the
    mean of the other edges into its node."""
    kept = edges[0] != edges[1]
    edges, loops = edges[:, kept], np.arange(n_node)
    if edge_attr is not None:
        edge_attr = edge_attr[kept]
        means = np.zeros((n_node, edge_attr.shape[1]))
        for node in range(n_node):
            if (edges[1] == node).any():
                means[node] = edge_attr[edges[1] == node].mean(axis=0)
        edge_attr = np.concatenate([edge_attr, means])
    return np.concatenate([edges, np.stack([loops, loops])], axis=1), edge_attr


def edge_featured(
    p: Mapping[str, Array], nodes: Array, edges: Array, edge_attr: Array | None, *, variant: str, heads: int,
    slope: float = 0.2, concat: bool = True, share: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """(output, weights of the edges), in float64; self loops are the caller's business."""

    def leaky(x: Array) -> Array:
        return np.where(x > 0, x, slope * x)

    def mapped(name: str, x: Array) -> Array:
        rows = x @ p[f"{name}_weight"] + p.get(f"{name}_bias", 0.0)
        return rows.reshape(len(x), heads, -1)

    source = mapped("source", nodes)
    if variant == "gatv2":
        z = source[edges[0]] + (source if share else mapped("target", nodes))[edges[1]]
        if edge_attr is not None:
            z = z + mapped("edge", edge_attr)
        scores = (leaky(z) * p["attention"]).sum(axis=-1)
    else:
        z = (source * p["source_attention"]).sum(axis=-1)[edges[0]]
        z = z + (source * p["target_attention"]).sum(axis=-1)[edges[1]]
        if edge_attr is not None:
            z = z + (mapped("edge", edge_attr) * p["edge_attention"]).sum(axis=-1)
        scores = leaky(z)
    weights = softmax_into(scores, edges[1], len(nodes))
    out = np.zeros_like(source)
    np.add.at(out, edges[1], weights[..., None] * source[edges[0]])
    joined = out.reshape(len(nodes), -1) if concat else out.mean(axis=1)
    return joined + p.get("bias", 0.0), weights


def gradients(
    loss: Callable[[dict[str, Array]], float], at: Mapping[str, Array], step: float = 1e-5
) -> dict[str, Array]:
    """Of a loss in float64, by central differences."""
    arrays = {name: np.array(array, np.float64) for name, array in at.items()}
    found = {}
    for name, array in arrays.items():
        grad = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss(arrays)
            array[index] = kept - step
            grad[index] = (above - loss(arrays)) / (2 * step)
            array[index] = kept
        found[name] = grad
    return found


def assert_gradients(found: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float = 1e-4) -> None:
    assert set(found) == set(expected)
    for name, grad in expected.items():
        assert found[name].shape == grad.shape, name
        assert np.abs(found[name] - grad).max() <= tolerance * (1e-2 + np.abs(grad).max()), name


def dot_edges(
    query: Array, keys: Array, values: Array, edges: Array, bias: Array | None = None, *, heads: int, scale: float
) -> tuple[Array, Array]:
    """(what nodes gather, weights of the edges): scaled dot products head by head, bias (n_edges, heads)."""
    q, k, v = (x.reshape(len(x), heads, -1) for x in (query, keys, values))
    scores = scale * (q[edges[1]] * k[edges[0]]).sum(axis=-1)
    weights = softmax_into(scores if bias is None else scores + bias, edges[1], len(query))
    out = np.zeros_like(v, shape=(len(query), *v.shape[1:]))
    np.add.at(out, edges[1], weights[..., None] * v[edges[0]])
    return out.reshape(len(query), -1), weights


def linear(p: Mapping[str, Array], name: str, x: Array) -> Array:
    mapped: Array = x @ p[f"{name}_weight"] + p.get(f"{name}_bias", 0.0)
    return mapped
