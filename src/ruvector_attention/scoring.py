"""How scores come about: what a mechanism tells the engine beside queries, keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .reference.geometry import DOT, EUCLIDEAN, LORENTZ, POINCARE, SPHERICAL

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


class Space(NamedTuple):
    """A segment of a head's channels as points of a space: score += weight * f.

    ``kind``: ``dot`` (f = <q, k>), or f = -distance^power in the ``euclidean`` space, the ``poincare`` ball of curvature
    -c, the hyperboloid (``lorentz``: channels are the spatial coordinates), the sphere of radius 1 / sqrt(c)
    (``spherical``: rows of that length). ``curvature`` is c > 0.
    """

    kind: str
    begin: int
    end: int
    weight: float = 1.0
    curvature: float = 1.0
    power: int = 1


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
    tiles: Any = None  # tiles.Tiles, in place of a band
    mask: Array | None = None
    bias: Array | None = None
    key_lengths: Array | None = None
    spaces: tuple[Space, ...] = ()
    times: Times | None = None
    dropout: Dropout | None = None
    num_heads: int = 1
    num_kv_heads: int = 1
    normalize: bool = False

    @classmethod
    def of(
        cls, scale: float, *, causal: bool = False, band: Band | None = None, spaces: Sequence[Space] = (), **options: Any
    ) -> Self:
        """``band`` takes the place of ``causal``; a float mask becomes a bias."""
        made = cls(scale, band or (CAUSAL if causal else EVERYWHERE), spaces=tuple(spaces), **options)
        if made.mask is None or made.mask.dtype == np.bool_:
            return made
        return replace(made, mask=None, bias=made.mask if made.bias is None else made.bias + made.mask)

    @property
    def is_plain(self) -> bool:
        """Whether the everyday kernel will do."""
        return self.tiles is None and not self.spaces and self.times is None and self.dropout is None
