"""How scores come about: what a mechanism tells the engine beside queries, keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .errors import OutOfBoundsError
from .products import contiguous
from .reference.geometry import DOT, EUCLIDEAN, LORENTZ, POINCARE, SPHERICAL
from .tiles import Tiles

Array = npt.NDArray[Any]

UNLIMITED = 1 << 40  # of a window's reach
KINDS = {"dot": DOT, "euclidean": EUCLIDEAN, "poincare": POINCARE, "lorentz": LORENTZ, "spherical": SPHERICAL}


class Band(NamedTuple):
    """Where a query at key position p may look: keys p - behind .. p + ahead, and the first ``global_tokens``, which
    themselves see everything (as far as p where ahead is 0)."""

    behind: int
    ahead: int
    global_tokens: int = 0


EVERYWHERE, CAUSAL = Band(UNLIMITED, UNLIMITED), Band(UNLIMITED, 0)


class Edges(NamedTuple):
    """CSR rows, checked: a list of keys for every query. Where indptr is (heads, n_query + 1), each head has its own,
    all of them in one ``indices``."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]

    @classmethod
    def checked(cls, indptr: npt.ArrayLike, indices: npt.ArrayLike, n_query: int, n_key: int) -> Edges:
        """Raises OutOfBoundsError for lists that do not fit n_query queries and n_key keys."""
        rows, columns = contiguous(np.asarray(indptr), np.int64), contiguous(np.asarray(indices), np.int64)
        if rows.shape != (n_query + 1,) or rows[0] != 0 or rows[-1] != columns.size or (np.diff(rows) < 0).any():
            raise OutOfBoundsError(
                f"indptr is of shape {rows.shape}; expected ({n_query + 1},), rising from 0 to {columns.size}"
            )
        if columns.size and not 0 <= columns.min() <= columns.max() < n_key:
            raise OutOfBoundsError(f"indices run from {columns.min()} to {columns.max()}; expected 0 to {n_key - 1}")
        return cls(rows, columns.reshape(-1))


class Space(NamedTuple):
    """A segment of a head's channels as points of a space: score += weight * f.

    ``kind``: ``dot`` (f = <q, k>), or f = -distance^power in the ``euclidean`` space, the ``poincare`` ball of
    curvature -c, the hyperboloid (``lorentz``: channels are the spatial coordinates), the sphere of radius 1 / sqrt(c)
    (``spherical``: rows of that length). ``curvature`` is c > 0.
    """

    kind: str
    begin: int
    end: int
    weight: float = 1.0
    curvature: float = 1.0
    power: int = 1


@lru_cache(maxsize=64)
def as_arrays(spaces: tuple[Space, ...]) -> tuple[Array, Array]:
    """Segments and their numbers, as kernels read them."""
    segments = np.array([(s.begin, s.end, KINDS[s.kind], s.power) for s in spaces], np.int64)
    return segments, np.array([(s.weight, s.curvature) for s in spaces], np.float64)


class Rotary(NamedTuple):
    """Pairs of channels of queries and keys turned by position / base^(2 pair / dim) (Su et al., 2021): a score then
    depends on the difference of positions alone. Positions are real numbers, (..., n_query) and (..., n_key);
    ``dim`` of a head's channels are turned (None: all, or all but the odd last), as pairs (c, c + dim / 2), or
    (2c, 2c + 1) where ``interleaved``."""

    query: Array
    keys: Array
    base: float = 10_000.0
    dim: int | None = None
    interleaved: bool = False


class Times(NamedTuple):
    """score += decay * exp(-rate |t_query - t_key|), times (..., n_query) and (..., n_key) in float64."""

    query: Array
    keys: Array
    decay: float
    rate: float


class Dropout(NamedTuple):
    """Inverted dropout of weights: the same share, seed and shapes drop the same weights."""

    share: float
    seed: int


@dataclass(frozen=True, slots=True)
class Scoring:
    """Everything that makes a score of a query and a key. ``mask`` is bool (True = may attend) or float (added)."""

    scale: float
    band: Band = EVERYWHERE
    tiles: Tiles | None = None  # in place of a band
    edges: Edges | None = None  # in place of both
    top_k: int | None = None  # only the k highest scores of a query count
    mask: Array | None = None
    bias: Array | None = None
    key_lengths: Array | None = None
    spaces: tuple[Space, ...] = ()
    aux: tuple[Array, Array] | None = None  # what space_aux says of queries and keys, where a caller knows it already
    rotary: Rotary | None = None
    times: Times | None = None
    dropout: Dropout | None = None
    num_heads: int = 1
    num_kv_heads: int = 1
    normalize: bool = False
    checks_unlisted: bool = True  # whether NaN in a row that no list of keys names is an error

    @classmethod
    def of(
        cls,
        scale: float,
        *,
        causal: bool = False,
        band: Band | None = None,
        spaces: Sequence[Space] = (),
        **options: Any,
    ) -> Self:
        """``band`` takes the place of ``causal``; a float mask becomes a bias."""
        made = cls(scale, band or (CAUSAL if causal else EVERYWHERE), spaces=tuple(spaces), **options)
        if made.mask is None or made.mask.dtype == np.bool_:
            return made
        return replace(made, mask=None, bias=made.mask if made.bias is None else made.bias + made.mask)

    def fitted(self, n_key: int) -> Self:
        """Lists of keys as tiles where only the tile kernel has what else is asked for."""
        if self.edges is None or self.top_k is not None or not self.needs_tiles:
            return self
        return replace(self, edges=None, tiles=Tiles.from_edges(self.edges.indptr, self.edges.indices, n_key))

    @property
    def needs_tiles(self) -> bool:
        """Whether scores hold what the kernel over lists of keys does not know."""
        return bool(self.spaces or self.rotary or self.times or self.dropout)

    @property
    def is_plain(self) -> bool:
        """Whether the everyday kernel will do."""
        return self.tiles is None and not self.spaces and self.times is None and self.dropout is None

    @property
    def is_selective(self) -> bool:
        """Whether each query attends to a list of keys of its own."""
        return self.edges is not None or self.top_k is not None
