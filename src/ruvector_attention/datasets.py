"""Data that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .arrays import Float32Array

_DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Digits:
    """Handwritten digits: ``images`` (n, 64), each 8 rows of 8 grey values from 0 to 16, and ``labels`` (n,)."""

    images: Float32Array
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, n_stored: int, seed: int = 0) -> tuple[Digits, Digits]:
        """The digits in a seeded random order, as the first ``n_stored`` and the rest."""
        order = np.random.default_rng(seed).permutation(len(self))
        stored, others = order[:n_stored], order[n_stored:]
        return (
            Digits(self.images[stored], self.labels[stored]),
            Digits(self.images[others], self.labels[others]),
        )


def load_digits() -> Digits:
    """1 797 handwritten digits from 13 writers (Alpaydin & Kaynak, 1998), the test half of the UCI data set.

    A new copy on every call. Origin and licence: data/DIGITS.md beside this file.

    >>> digits = load_digits()
    >>> digits.images.shape, digits.labels[:5].tolist()
    ((1797, 64), [0, 1, 2, 3, 4])
    """
    with np.load(_DATA / "digits.npz", allow_pickle=False) as arrays:
        return Digits(arrays["images"].astype(np.float32), arrays["labels"].astype(np.int64))
