"""The options that calls share. Each says once what it is; signatures and describe() use it by name."""

from __future__ import annotations

from typing import Annotated

from .arrays import ArrayLike, Float32Array
from .config import Setting
from .masks import AttentionMask

MaskLike = ArrayLike | AttentionMask | None

Mask = Annotated[
    MaskLike,
    Setting(
        "bool, True = may attend, or float, added to the scores, broadcast to (..., n_query, n_key); or a mask object",
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
KeyLengths = Annotated[
    ArrayLike | None,
    Setting(
        "integers of the shape of the leading dimensions: keys from there on are never read",
        type="array | None",
    ),
]
Training = Annotated[bool, Setting("apply dropout to the weights", type="bool")]
CheckFinite = Annotated[bool, Setting("refuse NaN and infinity, naming the array and the index", type="bool")]
Out = Annotated[
    Float32Array | None,
    Setting(
        "a float32 array that takes the result, C-contiguous and apart from the inputs",
        type="array | None",
        in_process=True,
    ),
]
