"""AttentionBuilder: a mechanism step by step, where settings come from several places."""

from __future__ import annotations

from typing import Any, Self

from . import registry
from .base import Attention
from .errors import InvalidConfigError


class AttentionBuilder:
    """Collects settings and builds a mechanism from them; each step returns the builder.

    >>> AttentionBuilder().type("multi_head", num_heads=2).hidden_dim(8).dropout(0.1).build()
    MultiHeadAttention(dim=8, num_heads=2, dropout=0.1)
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self._settings: dict[str, Any] = {}

    def type(self, name: str, **settings: Any) -> Self:
        """Which mechanism, by its name in the registry, and settings of its own.

        Raises: InvalidConfigError for an unknown name.
        """
        self._name = registry.get(name).name
        return self.settings(**settings)

    def hidden_dim(self, dim: int) -> Self:
        """Channels of a query."""
        return self.settings(dim=dim)

    def dropout(self, dropout: float) -> Self:
        """The share of weights dropped when training."""
        return self.settings(dropout=dropout)

    def settings(self, **settings: Any) -> Self:
        """Any settings; a later one replaces an earlier one."""
        self._settings |= settings
        return self

    def build(self) -> Attention:
        """The mechanism.

        Raises: InvalidConfigError when the type or a setting is missing, unknown or out of its range.
        """
        if self._name is None:
            raise InvalidConfigError("the builder has no type; expected .type(name) before .build()")
        return registry.create(self._name, **self._settings)
