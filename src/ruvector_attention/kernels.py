"""Which kernels run: the C library for the best instruction set of this machine, or NumPy where no binary exists.

``active`` holds the kernels by name, all with the flat arguments of ``wasm_kernels/kernels.def``: buffers, then
integers, then floats; they answer a status. The environment variable ``RUVECTOR_ATTENTION_BACKEND`` forces one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from . import reference
from .errors import InvalidConfigError

ENVIRONMENT = "RUVECTOR_ATTENTION_BACKEND"
OK, NON_FINITE, BAD_ARGUMENT = 0, 1, 2

Kernel = Callable[..., int]

active: Any = SimpleNamespace()
_modules: dict[str, ModuleType] = {}
_backend = ""

# (module (func (param v128 v128 v128) (result v128) local.get 0 1 2, f32x4.relaxed_madd)): valid where relaxed SIMD is.
_RELAXED_PROBE = bytes.fromhex(
    "0061736d01000000010801 60037b7b7b017b 030201000a0d010b00200020012002fd85020b".replace(" ", "")
)


def backend() -> str:
    """The kernels that run now.

    One of ``avx512``, ``avx2``, ``sse4``, ``neon``, ``scalar``, ``wasm-relaxed-simd``, ``wasm-simd128``,
    ``wasm-scalar`` or ``numpy``.

    >>> backend() in backends()
    True
    """
    return _backend


def backends() -> list[str]:
    """All that can run on this machine, best first; ``numpy`` is always last."""
    return [*_modules, "numpy"]


def use_backend(name: str) -> None:
    """Run the kernels of this backend from now on, in all threads.

    Raises:
        InvalidConfigError: this machine or this build has no such backend.
    """
    global _backend
    if name == "numpy":
        found: dict[str, Kernel] = reference.BODIES
    elif name in _modules:
        module = _modules[name]
        module.use(name)
        found = {kernel: getattr(module, kernel) for kernel in module.kernels()}
    else:
        raise InvalidConfigError(f"backend {name!r} is not available here; expected one of {', '.join(backends())}")
    active.__dict__.clear()
    active.__dict__.update(found)
    _backend = name


def scratch_stats() -> dict[str, int]:
    """Figures of the pool of scratch memory, as ``stats`` explains them."""
    module = _modules.get(_backend)
    if module:
        return dict(module.scratch_stats())
    return dict.fromkeys(("calls", "hits", "allocations", "blocks", "bytes", "lent", "most_lent"), 0)


def peak_gflops(seconds: float = 0.05) -> float:
    """The most that one thread can do here with the current backend, in 10^9 float32 operations a second, measured:
    a multiply-add counts as two."""
    rounds, best, end = 1, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        out = np.array([0.5, 1.0], np.float32)
        start = time.perf_counter()
        active.peak(out, rounds)
        took = time.perf_counter() - start
        if took < 2e-3:
            rounds *= 2
        else:
            best = max(best, 2e-9 * rounds * float(out[1]) / took)
    return best


def read_gbytes(size: int = 256 << 20, seconds: float = 0.3) -> float:
    """The most that one thread can read from an array of ``size`` bytes, in 10^9 bytes a second, measured."""
    x = np.ones(size // 4, np.float32)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        active.all_finite(x, x.size)
        best = max(best, 1e-9 * x.nbytes / (time.perf_counter() - start))
    return best


def _has_relaxed_simd() -> bool:
    """Whether this WebAssembly engine compiles relaxed SIMD."""
    js = importlib.import_module("js")
    ffi = importlib.import_module("pyodide.ffi")
    return bool(js.WebAssembly.validate(ffi.to_js(_RELAXED_PROBE)))


def _load_relaxed() -> ModuleType:
    # No .so: Pyodide compiles every .so of a wheel while it installs it, which fails where relaxed SIMD is missing.
    name, path = f"{__package__}._kernels_relaxed", Path(__file__).with_name("_kernels_relaxed.wasm")
    if not path.exists():
        raise ModuleNotFoundError(f"no {path}", name=name)
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module
    return module


def _load() -> None:
    names = ["_kernels"]
    if sys.platform == "emscripten" and _has_relaxed_simd():
        names.insert(0, "_kernels_relaxed")
    for name in names:
        try:
            module = _load_relaxed() if name == "_kernels_relaxed" else importlib.import_module(f"{__package__}.{name}")
        except ModuleNotFoundError:
            continue
        for target in module.targets():
            _modules.setdefault(target, module)
    use_backend(os.environ.get(ENVIRONMENT) or backends()[0])


_load()
