"""What can go wrong, by name. Every message is a sentence: the argument, what came, what was expected.

Each class is also the builtin exception Python programmers already catch for that kind of mistake.
"""

from __future__ import annotations

from typing import Self

Shape = int | tuple[int, ...]


class AttentionError(Exception):
    """The root of all errors raised by this package."""

    def within(self, place: str) -> Self:
        """The same error, its sentence preceded by where it happened: ``item 3: keys is ...``."""
        self.args = (f"{place}: {self}",)
        return self


class DimensionMismatchError(AttentionError, ValueError):
    """Two shapes that must agree do not. ``expected`` and ``actual`` hold the sizes, where there is one."""

    def __init__(self, message: str, *, expected: Shape | None = None, actual: Shape | None = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class EmptyInputError(AttentionError, ValueError):
    """An input holds no element."""


class NumericalInstabilityError(AttentionError, ArithmeticError, ValueError):
    """An input holds NaN or infinity, or a result would."""


class InvalidConfigError(AttentionError, ValueError):
    """A setting is missing, unknown, of the wrong type or out of its range."""


class OutOfBoundsError(AttentionError, IndexError):
    """An index (a head, a node, a position) lies outside of what exists."""


class InputTooLargeError(AttentionError, ValueError):
    """An input exceeds a limit that guards against exhaustion."""


class UnsupportedError(AttentionError, TypeError):
    """A kind of input, or a part that is not installed, with which the call cannot work."""


def error_names() -> list[str]:
    """The names of all error classes, the root first: what other languages rebuild them from."""
    return [AttentionError.__name__, *(cls.__name__ for cls in AttentionError.__subclasses__())]
