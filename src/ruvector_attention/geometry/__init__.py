"""Spaces of constant curvature, and products of them: pure functions of points, and the spaces as objects.

``poincare``, ``lorentz`` and ``sphere`` hold the functions of one model each; points are rows, (..., dim), and leading
dimensions broadcast. Inside, everything is float64. A float64 array among the arguments gives a float64 result,
anything else a float32 one. A curvature is that of the space: below 0 in ``poincare`` and ``lorentz``, above 0 on the
``sphere``.

>>> import ruvector_attention as ra
>>> x, y = [0.3, 0.1], [-0.2, 0.5]
>>> ra.geometry.poincare.exp_map(x, ra.geometry.poincare.log_map(x, y)).round(4)
array([-0.2,  0.5], dtype=float32)
>>> space = ra.geometry.ProductSpace([(ra.geometry.HyperbolicSpace(-1.0), 2), (ra.geometry.EuclideanSpace(), 1)])
>>> space.distance([0.3, 0.1, 2.0], [0.3, 0.1, 5.0])
np.float32(3.0)
"""

from . import lorentz, poincare, sphere
from .spaces import EuclideanSpace, HyperbolicSpace, Manifold, ProductSpace, SphericalSpace, parse_space

__all__ = [
    "EuclideanSpace",
    "HyperbolicSpace",
    "Manifold",
    "ProductSpace",
    "SphericalSpace",
    "lorentz",
    "parse_space",
    "poincare",
    "sphere",
]
