"""What is made from settings alone, and can tell them: mechanisms and parts of training alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from .config import Settings, settings_of, signature_of
from .errors import InvalidConfigError


class Configured(ABC):
    """A class with a name and a Config, whose objects can be made again from what get_config and repr say."""

    name: ClassVar[str]
    Config: ClassVar[type[Settings]] = Settings
    noun: ClassVar[str]  #: what error messages call such a class: "mechanism"

    config: Settings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # the settings are the constructor's parameters: help() and editors read them here
        cls.__signature__ = signature_of(cls.Config)  # type: ignore[attr-defined]

    @classmethod
    @abstractmethod
    def _named(cls, name: str) -> type[Configured]:
        """The registered class of that name."""

    def get_config(self) -> dict[str, Any]:
        """Plain JSON values from which ``from_config`` makes the same object again."""
        return {"type": self.name, **self.config.to_dict()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | Settings) -> Self:
        """The object of a configuration: a Config object or what get_config gave.

        >>> import ruvector_attention as ra
        >>> ra.Attention.from_config({"type": "scaled_dot_product", "dim": 8})
        ScaledDotProductAttention(dim=8)
        """
        if isinstance(config, Settings):
            config = config.to_dict()
        if not isinstance(config, Mapping):
            raise InvalidConfigError(f"config is {type(config).__name__}; expected a mapping of settings")
        settings = dict(config)
        name = settings.pop("type", getattr(cls, "name", None))
        if name is None:
            raise InvalidConfigError(f"config has no 'type'; expected the name of a {cls.noun}")
        made = cls if name == getattr(cls, "name", None) else cls._named(name)
        if not issubclass(made, cls):
            raise InvalidConfigError(f"config is of type '{name}'; expected '{getattr(cls, 'name', cls.__name__)}'")
        return made(**settings)

    def __repr__(self) -> str:
        """Evaluates back to an object with the same settings; defaults are left out."""
        values = [(field, getattr(self.config, field.name)) for field in settings_of(type(self.config))]
        shown = [f"{field.name}={value!r}" for field, value in values if value != field.default]
        return f"{type(self).__name__}({', '.join(shown)})"
