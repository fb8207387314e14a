"""The kernels in NumPy, float64 inside: what each one means, the tests' oracle, the fallback without a binary.

Same names, same flat arguments and same answers as the C kernels (``wasm_kernels/kernels.def``).
"""

from . import attention, ball, dual, edges, features, positions, prefix, routes, rows, sparse
from ._table import BODIES

__all__ = [
    "BODIES",
    "attention",
    "ball",
    "dual",
    "edges",
    "features",
    "positions",
    "prefix",
    "routes",
    "rows",
    "sparse",
]
