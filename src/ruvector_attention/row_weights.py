"""Weights of a few queries at a time, as an array in float64: for what cannot be summed in one pass over the keys.

``weights_of`` gives the weights of some queries, and ``backward`` takes the gradient of such weights back to queries,
keys, spaces and bias. Memory is that of one part, not of n_query x n_key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import engine
from .arrays import require_finite
from .products import FLOAT32, contiguous
from .ragged import without_unread
from .tiles import Tiles

Array = npt.NDArray[Any]

PART = 1 << 18  # weights that one part holds, about
MOST_QUERIES = 64  # of one part: the way back multiplies matrices of that width


class Part(NamedTuple):
    """Queries ``rows`` of the leading index ``at``."""

    at: tuple[int, ...]
    rows: npt.NDArray[np.int64]

    @property
    def index(self) -> Any:
        """The place of these queries in an array (*lead, n_query, ...)."""
        return (*self.at, self.rows)


class RowWeights:
    """softmax(scale * scores) of one call without heads; ``options`` are those of ``engine.attend``."""

    def __init__(self, query: Array, keys: Array, lead: tuple[int, ...], scale: float, options: dict[str, Any]) -> None:
        self.query, self.keys, self.lead, self.scale = query, keys, lead, scale
        self.n_query, self.n_key = query.shape[-2], keys.shape[-2]
        self.spaces = options.get("spaces", ())
        self.band: engine.Band = options.get("band") or (engine.CAUSAL if options.get("causal") else engine.EVERYWHERE)
        self.tiles: Tiles | None = options.get("tiles")
        if (edges := options.get("edges")) is not None:
            self.tiles = Tiles.from_edges(edges.indptr, edges.indices, self.n_key)
        self.top_k: int | None = options.get("top_k")
        self.key_lengths: Array | None = options.get("key_lengths")
        self.check_finite: bool = options.get("check_finite", True)
        mask, self.bias = options.get("mask"), options.get("bias")
        if mask is not None and mask.dtype != np.bool_:
            mask, self.bias = None, mask if self.bias is None else mask + self.bias
        self.mask: Array | None = mask

    def parts(self, wanted: Array | None = None, width: int = 1) -> Iterator[Part]:
        """All queries, or those that are True in ``wanted`` (*lead, n_query), a few at a time; ``width``: numbers that
        the caller holds for each pair of them and a key."""
        few = max(1, min(MOST_QUERIES, PART // (self.n_key * width)))
        for at in np.ndindex(*self.lead):
            rows = np.arange(self.n_query) if wanted is None else np.flatnonzero(wanted[at])
            for first in range(0, len(rows), few):
                yield Part(at, rows[first : first + few])

    def check(self, wanted: bool, **arrays: Array) -> None:
        """Refuse NaN and infinity before any part is computed, where nobody reads behind key lengths."""
        if not wanted:
            return
        for name, array in arrays.items():
            if self.key_lengths is not None and name != "query":
                array = without_unread(array, self.key_lengths)
            require_finite(name, array)

    def weights_of(self, part: Part) -> Array:
        """(len(rows), n_key), float64."""
        query, keys, options = self._call(part)
        found = engine.weights(query, keys, scale=self.scale, check_finite=self.check_finite, **options)
        return found.astype(np.float64)

    def backward(self, part: Part, weights: Array, of_weights: Array, into: engine.Gradients) -> None:
        """Add to ``into`` what the gradient of ``weights``, which weights_of gave, means for the arrays behind them.

        The engine goes back from values to scores; its gradient of weights is grad_out @ values^T, which here is
        ``of_weights`` itself, for grad_out is the identity.
        """
        query, keys, options = self._call(part)
        centred = of_weights - (weights * of_weights).sum(axis=1, keepdims=True)  # no score moves by a constant
        values = contiguous(np.where(weights > 0, centred, 0.0).T)
        out, lse = engine.attend(query, keys, values, scale=self.scale, return_lse=True, check_finite=False, **options)
        one = np.eye(len(part.rows), dtype=FLOAT32)
        found = engine.attend_backward(query, keys, values, out, lse, one, scale=self.scale, **options)
        of_query = into.query[item_of(into.query, part.at)]
        of_query[part.rows] += found.query
        into.keys[item_of(into.keys, part.at)] += found.keys
        if into.spaces is not None and found.spaces is not None:
            into.spaces[...] += found.spaces
        if found.bias is not None:
            self.add_bias(part, found.bias, into)

    def add_bias(self, part: Part, of_scores: Array, into: engine.Gradients) -> None:
        """Add the gradient of these queries' scores to that of the bias, summed along what it was repeated along."""
        if into.bias is None:
            return
        of_bias = into.bias[item_of(into.bias, part.at)]
        grad = of_scores if of_bias.shape[1] > 1 else of_scores.sum(axis=1, keepdims=True)
        if of_bias.shape[0] > 1:
            of_bias[part.rows] += grad
        else:
            of_bias += grad.sum(axis=0, keepdims=True)

    def gradients(self) -> engine.Gradients:
        """Zeros to add to; values are not this object's business."""
        bias = None if self.bias is None else np.zeros(self.bias.shape, FLOAT32)
        spaces = np.zeros((len(self.spaces), 2)) if self.spaces else None
        return engine.Gradients(
            np.zeros(self.query.shape, FLOAT32),
            np.zeros(self.keys.shape, FLOAT32),
            np.zeros(0, FLOAT32),
            bias,
            spaces,
        )

    def _call(self, part: Part) -> tuple[Array, Array, dict[str, Any]]:
        """The arrays of these queries, and the options with a mask and a bias for them alone."""
        options: dict[str, Any] = {"spaces": self.spaces}
        if self.top_k is not None:
            options["top_k"] = self.top_k
        if self.key_lengths is not None:  # besides the mask: scores behind it may overflow
            options["key_lengths"] = np.asarray(self.key_lengths[part.at])
        seen, bias = self.addends(part)
        if not seen.all():
            options["mask"] = seen
        if bias is not None:
            options["bias"] = contiguous(bias)
        query = self.query[item_of(self.query, part.at)][part.rows]
        return query, contiguous(self.keys[item_of(self.keys, part.at)]), options

    def addends(self, part: Part) -> tuple[Array, Array | None]:
        """Which keys these queries may attend to, (len(rows), n_key), and what is added to their scores."""
        seen = self._seen(part.rows)
        if self.key_lengths is not None:
            seen = seen & (np.arange(self.n_key) < self.key_lengths[part.at])
        if self.mask is not None:
            seen = seen & self._rows_of(self.mask, part)
        return seen, None if self.bias is None else self._rows_of(self.bias, part)

    def highest(self, scores: Array) -> Array:
        """Scores (rows, n_key) with -inf in place of all but the top_k of each row, of equal ones the first."""
        if self.top_k is None or self.top_k >= scores.shape[1]:
            return scores
        kept = np.argsort(-scores, axis=1, kind="stable")[:, : self.top_k]
        chosen = np.full_like(scores, -np.inf)
        np.put_along_axis(chosen, kept, np.take_along_axis(scores, kept, axis=1), axis=1)
        return chosen

    def _rows_of(self, addend: Array, part: Part) -> Array:
        own = addend[item_of(addend, part.at)]
        rows: Array = np.broadcast_to(own, (self.n_query, self.n_key))[part.rows]
        return rows

    def _seen(self, rows: Array) -> Array:
        """(len(rows), n_key): what the tiles or the band allow."""
        if self.tiles is not None:
            tiles = self.tiles
            seen = np.zeros((len(rows), self.n_key), bool)
            owners = rows // tiles.rows
            for owner in np.unique(owners):
                runs = tiles.runs[tiles.indptr[owner] : tiles.indptr[owner + 1]]
                one = Tiles(tiles.rows, np.array([0, len(runs)]), runs, tiles.bits)
                dense = one.to_dense(min(tiles.rows, self.n_query - owner * tiles.rows), self.n_key)
                mine = owners == owner
                seen[mine] = dense[rows[mine] - owner * tiles.rows]
            return seen
        band, columns = self.band, np.arange(self.n_key)
        behind, ahead = (min(reach, self.n_query + self.n_key) for reach in band[:2])
        position = rows[:, None] + self.n_key - self.n_query
        is_global = (columns < band.global_tokens) | ((position >= 0) & (position < band.global_tokens))
        seen = (columns >= position - behind) & (columns <= position + ahead)
        return np.asarray(seen | (is_global & ((band.ahead > 0) | (columns <= position))))


def item_of(array: Array, at: tuple[int, ...]) -> tuple[int, ...]:
    """The place of the leading index ``at`` in an array of matrices whose leading axes broadcast to it."""
    lead = array.ndim - 2
    own = at[len(at) - lead :] if lead else ()
    return tuple(i if size > 1 else 0 for i, size in zip(own, array.shape, strict=False))
