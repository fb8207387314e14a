"""Training: losses, optimizers, schedules and miners over plain arrays."""

from .part import TrainingPart, create_part, parts, register_part

__all__ = ["TrainingPart", "create_part", "parts", "register_part"]
