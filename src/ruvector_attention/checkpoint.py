"""Checkpoints: one safetensors file with the parameters, and the settings in its metadata. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Float32Array
from .errors import InvalidConfigError, UnsupportedError

_KEY = "ruvector_attention"


def save(path: Path, config: Mapping[str, Any], state: Mapping[str, Float32Array]) -> None:
    safetensors = _safetensors()
    unfinished = path.with_name(path.name + ".part")
    try:
        safetensors.save_file(dict(state), str(unfinished), metadata={_KEY: json.dumps(config)})
        unfinished.replace(path)  # a reader never meets half a file
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Any], dict[str, Float32Array]]:
    """(settings, parameters) of a checkpoint.

    Raises: FileNotFoundError, InvalidConfigError for another kind of file, UnsupportedError without safetensors.
    """
    safetensors = _safetensors()
    raw = path.read_bytes()
    try:
        state = safetensors.load(raw)
        # the format: eight bytes of little-endian length, then that many of JSON
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        config = json.loads(header["__metadata__"][_KEY])
    except KeyError:
        raise InvalidConfigError(
            f"{path} has no settings of a mechanism in its metadata; expected a file from save_checkpoint"
        ) from None
    except Exception as error:  # safetensors raises a class of its own for each version
        raise InvalidConfigError(f"{path} is not a safetensors file: {error}") from error
    return config, {name: np.asarray(array) for name, array in state.items()}


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise UnsupportedError(
            "checkpoints need the package safetensors; pip install 'ruvector-attention[checkpoint]'"
        ) from None
    return safetensors.numpy
