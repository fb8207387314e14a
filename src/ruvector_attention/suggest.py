"""'did you mean': the nearest known name, for error messages."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name.

    >>> did_you_mean("flsh", ["flash", "linear"])
    "; did you mean 'flash'?"
    >>> did_you_mean("zzz", ["flash", "linear"])
    '; known: flash, linear'
    """
    from difflib import get_close_matches  # 30 ms of a start in Pyodide, which most programs never need

    names = list(known)
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}" if names else "; none are known"
