"""The options that calls share. Each says once what it is; signatures and describe() use it by name."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from .arrays import ArrayLike, Float32Array
from .config import Setting
from .errors import UnsupportedError
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


def check_flags(**flags: Any) -> None:
    """Refuse what is neither True nor False, by name: "False" is true, and an array has no truth.

    >>> check_flags(training="no")
    Traceback (most recent call last):
    ...
    ruvector_attention.errors.UnsupportedError: training is 'no'; expected True or False
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise UnsupportedError(f"{name} is {value!r}; expected True or False")


def is_causal(causal: Any, setting: bool) -> bool:
    """What the option of a call says, or where it is None the setting.

    Raises: UnsupportedError.
    """
    if causal is None:
        return setting
    if not isinstance(causal, bool | np.bool_):
        raise UnsupportedError(f"causal is {causal!r}; expected True, False or None, as the settings say")
    return bool(causal)
