"""The options that calls share. Each says once what it is; signatures and describe() use it by name."""

from __future__ import annotations

from typing import Annotated

from .arrays import ArrayLike
from .config import Setting

Mask = Annotated[
    ArrayLike | None,
    Setting(
        "bool, True = may attend, or float, added to the scores; broadcasts to (..., n_query, n_key)",
        type="array | None",
    ),
]
Bias = Annotated[
    ArrayLike | None,
    Setting("numbers added to the scores; broadcasts to (..., n_query, n_key)", type="array | None"),
]
Causal = Annotated[
    bool | None,
    Setting("query i sees keys j <= i + (n_key - n_query); None: as the settings say", type="bool | None"),
]
Training = Annotated[bool, Setting("apply dropout to the weights", type="bool")]
CheckFinite = Annotated[bool, Setting("refuse NaN and infinity, naming the array and the index", type="bool")]
