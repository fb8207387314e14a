"""What ManifoldAttention computes a few queries at a time: Fréchet means in known spaces, and all of a space that only
its owner knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import engine
from ..arrays import Float32Array
from ..errors import DimensionMismatchError, NumericalInstabilityError
from ..geometry import frechet, midpoints
from ..geometry.components import Component, projected, projected_backward
from ..row_weights import Part, RowWeights, item_of
from .distance import kept_weights

Array = npt.NDArray[Any]

TOLERANCE = 1e-6
MOST_STEPS = 100


class ComponentMeans:
    """The Fréchet means of values (..., n_key, dim), component by component: ``points`` (*lead, n_query, dim)."""

    def __init__(
        self, rows: RowWeights, components: list[Component], values: Float32Array, share: float, seed: int
    ) -> None:
        self._rows, self._components, self._values, self._share, self._seed = rows, components, values, share, seed
        shape = (*rows.lead, rows.n_query)
        # a mean in the ball is kept on the hyperboloid, which has one coordinate more
        self._found = [np.empty((*shape, c.end - c.begin + (c.kind == "poincare"))) for c in components]
        points = np.empty((*shape, values.shape[-1]))
        for part in rows.parts():
            _, kept, seen, own = self._weighed(part)
            for component, found in zip(components, self._found, strict=True):
                channels = (*part.index, component.channels)
                mine, c = own[:, component.channels], component.c
                if component.kind == "poincare":
                    on_ball = frechet.hyperboloid_rows(mine, c)
                    found[part.index], points[channels] = frechet.means(on_ball, kept[:, seen], c)
                elif component.kind == "spherical":
                    found[part.index] = frechet.sphere_means(projected(mine, 1.0), kept[:, seen])
                    points[channels] = found[part.index] / np.sqrt(c)
                else:
                    points[channels] = _shares(kept[:, seen]) @ mine
        for component in components:
            if component.kind == "poincare":
                at = (..., component.channels)
                points[at] = midpoints.kept_inside(points[at], component.c)
        self.points: Float32Array = points.astype(np.float32)

    def backward(self, grad: Float32Array) -> engine.Gradients:
        grads = self._rows.gradients()
        of_values = np.zeros(self._values.shape)
        for part in self._rows.parts():
            weights, kept, seen, own = self._weighed(part)
            shares, of_seen, of_own = kept[:, seen], np.zeros((len(part.rows), int(seen.sum()))), np.zeros(own.shape)
            for index, (component, found) in enumerate(zip(self._components, self._found, strict=True)):
                mine, c, at, of_c = own[:, component.channels], component.c, component.channels, 0.0
                of_points = grad[(*part.index, at)].astype(np.float64)
                if component.kind == "poincare":
                    on_ball = frechet.hyperboloid_rows(mine, c)
                    of_one, of_rows, of_c = frechet.means_backward(on_ball, shares, found[part.index], of_points, c)
                    of_own[:, at], more = frechet.hyperboloid_rows_backward(mine, of_rows, c)
                    of_c += more
                elif component.kind == "spherical":
                    unit = projected(mine, 1.0)
                    of_one, of_rows = frechet.sphere_means_backward(
                        unit, shares, found[part.index], of_points / np.sqrt(c)
                    )
                    of_own[:, at], _ = projected_backward(mine, of_rows, 1.0)
                    of_c = -float((of_points * found[part.index]).sum() / (2 * c**1.5))
                else:
                    normal = _shares(shares)
                    of_own[:, at] = normal.T @ of_points
                    of_normal = of_points @ mine.T
                    total = shares.sum(axis=1, keepdims=True)
                    of_one = of_normal - (of_normal * normal).sum(axis=1, keepdims=True)
                    of_one = of_one / np.where(total > 0, total, 1.0)
                of_seen += of_one
                assert grads.spaces is not None
                grads.spaces[index, 1] += of_c
            of_weights = np.zeros_like(weights)
            of_weights[:, seen] = of_seen
            if self._share:
                of_weights *= kept_weights(weights.shape, self._share, self._seed, part)
            self._rows.backward(part, weights, of_weights, grads)
            of_values[item_of(of_values, part.at)][seen] += of_own
        return grads._replace(values=of_values.astype(np.float32))

    def _weighed(self, part: Part) -> tuple[Array, Array, Array, Array]:
        """The weights before and after dropout, which keys are seen, and their values."""
        weights = self._rows.weights_of(part)
        kept = weights * kept_weights(weights.shape, self._share, self._seed, part) if self._share else weights
        seen = np.asarray(weights.any(axis=0))
        return weights, kept, seen, self._values[item_of(self._values, part.at)][seen].astype(np.float64)


class OwnSpace:
    """Attention by the methods of a space: distances, logarithms, exponentials, inner products, in float64."""

    def __init__(self, space: Any, power: int, rows: RowWeights, check_finite: bool) -> None:
        self._space, self._power, self._rows, self._check_finite = space, power, rows, check_finite
        self._values: Float32Array | None = None
        self._share, self._seed = 0.0, 0
        self.of_scale = 0.0  # the gradient of the scale of the scores, once there is one

    def weights(self) -> Float32Array:
        """(*lead, n_query, n_key)."""
        rows = self._rows
        out = np.empty((*rows.lead, rows.n_query, rows.n_key), np.float32)
        for part in self._parts():
            out[part.index] = self._weigh(part)[0]
        return out

    def attended(self, values: Float32Array, share: float, seed: int, is_mean: bool) -> Float32Array:
        rows = self._rows
        self._values, self._share, self._seed = values, share, seed
        out = np.empty((*rows.lead, rows.n_query, values.shape[-1]), np.float32)
        for part in self._parts():
            weights = self._kept(part, self._weigh(part)[0])
            seen = weights.any(axis=0)
            own = values[item_of(values, part.at)][seen].astype(np.float64)
            if not seen.any():
                out[part.index] = 0.0
            elif is_mean:
                out[part.index] = self._means(weights[:, seen], own)
            else:
                out[part.index] = weights[:, seen] @ own
        return out

    def backward(self, grad: Float32Array) -> engine.Gradients:
        """Of the sum: the derivative of d(x, y)^2 along u is -2 <log_x(y), u>_x."""
        rows, values = self._rows, self._values
        assert values is not None
        grads = rows.gradients()
        of_values = np.zeros(values.shape)
        self.of_scale = 0.0
        for part in self._parts():
            weights, far = self._weigh(part)
            own, of_out = values[item_of(values, part.at)].astype(np.float64), grad[part.index].astype(np.float64)
            kept = self._kept(part, weights)
            of_values[item_of(of_values, part.at)] += kept.T @ of_out
            of_weights = self._kept(part, of_out @ own.T)
            of_scores = weights * (of_weights - (weights * of_weights).sum(axis=1, keepdims=True))
            rows.add_bias(part, of_scores, grads)
            self.of_scale -= float((of_scores * np.where(weights > 0, far, 0.0) ** self._power).sum())
            pull = rows.scale * of_scores  # of log_x(y), in the gradient of x
            pull = 2 * pull if self._power == 2 else np.where(far > 0, pull / np.where(far > 0, far, 1.0), 0.0)
            query, keys = self._pair(part)
            of_query = grads.query[item_of(grads.query, part.at)]
            of_query[part.rows] += self._lowered(
                query, (pull[..., None] * self._space.log_map(query[:, None], keys[None])).sum(axis=1)
            )
            of_keys = grads.keys[item_of(grads.keys, part.at)]
            of_keys += self._lowered(
                keys, (pull[..., None] * self._space.log_map(keys[None], query[:, None])).sum(axis=0)
            )
        return grads._replace(values=of_values.astype(np.float32))

    def _parts(self) -> Any:
        return self._rows.parts(width=self._rows.query.shape[-1])

    def _pair(self, part: Part) -> tuple[Array, Array]:
        rows = self._rows
        query = rows.query[item_of(rows.query, part.at)][part.rows]
        return query.astype(np.float64), rows.keys[item_of(rows.keys, part.at)].astype(np.float64)

    def _weigh(self, part: Part) -> tuple[Array, Array]:
        """Weights and distances, (len(rows), n_key)."""
        query, keys = self._pair(part)
        seen, bias = self._rows.addends(part)
        far = np.asarray(self._space.distance(query[:, None], keys[None]), np.float64)
        if far.shape != seen.shape:
            raise DimensionMismatchError(
                f"distance of {self._space!r} is {far.shape}; expected {seen.shape}, from x {query[:, None].shape} and "
                f"y {keys[None].shape}",
                expected=seen.shape,
                actual=far.shape,
            )
        if self._check_finite and not np.isfinite(far[seen]).all():
            raise NumericalInstabilityError(
                f"distance of {self._space!r} gives NaN or infinity; expected finite numbers"
            )
        scores = -self._rows.scale * far**self._power
        scores = self._rows.highest(np.where(seen, scores if bias is None else scores + bias, -np.inf))
        top = scores.max(axis=1, keepdims=True)
        exponentials = np.exp(scores - np.where(np.isneginf(top), 0.0, top))
        total = exponentials.sum(axis=1, keepdims=True)
        return exponentials / np.where(total == 0, 1.0, total), far

    def _kept(self, part: Part, weights: Array) -> Array:
        return weights * kept_weights(weights.shape, self._share, self._seed, part) if self._share else weights

    def _lowered(self, points: Array, tangents: Array) -> Array:
        """The gradient, by coordinates, whose product with any u is <tangent, u> at the point."""
        units = np.eye(points.shape[-1])
        inner = self._space.inner_product(
            points[:, None], tangents[:, None], np.broadcast_to(units, (len(points), *units.shape))
        )
        return np.asarray(inner, np.float64)

    def _means(self, weights: Array, values: Array) -> Array:
        """Downhill from the value of the greatest weight; a step that does not shorten the next is halved."""
        space, shares = self._space, _shares(weights)
        mean = values[np.argmax(weights, axis=1)]
        pace, before = np.ones((len(mean), 1)), np.full((len(mean), 1), np.inf)
        for _ in range(MOST_STEPS):
            step = (shares[..., None] * space.log_map(mean[:, None], values[None])).sum(axis=1)
            size = np.sqrt(np.maximum(space.inner_product(mean, step, step), 0.0))[:, None]
            if (size <= TOLERANCE).all():
                break
            pace = np.where(size > 0.9 * before, pace / 2, pace)
            before = size
            mean = np.asarray(space.exp_map(mean, pace * step))
        return np.where(weights.any(axis=1, keepdims=True), mean, 0.0)


def _shares(weights: Array) -> Array:
    """Weights whose rows sum to 1, whatever dropout has left."""
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300))
