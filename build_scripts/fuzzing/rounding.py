"""How far float32 arithmetic may carry an answer from the float64 one: bounds that follow from what was given.

``U`` is the unit roundoff: each operation gives its exact result times (1 + e), |e| <= U. Terms of second order are
left out; the constants below have room for them.

A softmax. Let the score s_j come with an error of at most d_j. Then the weight of key j lies between

    e^(s_j - d_j) / (e^(s_j - d_j) + sum_k e^(s_k + d_k))   and   e^(s_j + d_j) / (e^(s_j + d_j) + sum_k e^(s_k - d_k)),

k over the other keys, for a weight rises with its own score and falls with the others'. This holds for a d of any size:
where scores are so large that their rounding is larger than 1, all that can still be asked is that the right key wins,
and that is what these bounds ask.

An output. The computed weights W differ from the exact w by at most r_j, and both sum to 1, so for any c

    |sum_j (W_j - w_j) v_j| = |sum_j (W_j - w_j) (v_j - c)| <= sum_j r_j |v_j - c|;

the lesser of c = 0 and c = the exact output is taken. To it comes the rounding of the sums themselves: n terms added
in any order lose at most (n - 1) U of the sum of their absolutes, and the sum of the weights, which divides, as much
again.

What underflows is lost in absolute terms: ``LEAST`` is the spacing of float32 near 0, and a weight below 2^-126 of the
largest one may be told as 0 or as 2^-126.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .draw import Array

U = 2.0**-24
LEAST = 2.0**-149
FLUSHED = 2.0**-125  # of a weight, where the largest is 1: kernels floor or drop powers below 2^-126
LARGEST = float(np.finfo(np.float32).max)

CONTRACT = 2e-6  # of spec and docs/decisions/0005: of 1 + the output, for scores up to 32
LARGE_SCORE = 32.0


def chain(dim: int) -> float:
    """Roundings on the way of one product through a dot product of ``dim`` terms: chains of 16, or one chain a lane of
    at least 4, then the sum of chains or lanes."""
    return min(dim, 16 + -(-dim // 4)) + 2.0


class Seen:
    """Since it was last asked for: the largest error of a score, and whether one decided which keys are the best. Of
    whole calls, which make several softmaxes."""

    error = 0.0
    decided = False


class Softmax(NamedTuple):
    """Exact weights and how far from them computed ones may lie; (..., n), zeros in rows that see nothing."""

    weights: Array
    least: Array
    most: Array
    seen: Array

    @property
    def reach(self) -> Array:
        apart: Array = np.maximum(self.most - self.weights, self.weights - self.least)
        return apart + np.where(self.seen, FLUSHED, 0.0)


def softmax(scores: Array, errors: Array) -> Softmax:
    """Of scores (..., n), -inf for keys that are not seen. ``errors`` are of the scores themselves; what comes to them
    when the row's maximum is taken off, in steps if it rises, and powers of two are made (2 ulp), is added here."""
    with np.errstate(all="ignore"):
        seen = scores > -np.inf
        top = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
        off = np.where(seen, np.minimum(errors, 1e300) + 4 * U * np.abs(scores - top) + 8 * U, 0.0)
        Seen.error = max(Seen.error, float(off.max(initial=0.0)))
        up, down = np.where(seen, scores + off, -np.inf), np.where(seen, scores - off, -np.inf)
        ends = ((scores, _rest(scores)), (down, _rest(up)), (up, _rest(down)))
        weights, least, most = (np.where(seen, 1 / (1 + np.exp(others - own)), 0.0) for own, others in ends)
    return Softmax(weights, least, most, seen)


def _rest(x: Array) -> Array:
    """log sum exp over all others along the last axis. The largest is left out by itself: taken off a sum, little of
    the others would remain."""
    if not x.shape[-1]:
        return x
    first = x.argmax(axis=-1)[..., None]
    top = np.take_along_axis(x, first, axis=-1)
    top = np.where(np.isneginf(top), 0.0, top)
    terms = np.exp(x - top)
    own = np.take_along_axis(terms, first, axis=-1)
    np.put_along_axis(terms, first, 0.0, axis=-1)
    others = terms.sum(axis=-1, keepdims=True)
    left = others - terms + own
    np.put_along_axis(left, first, others, axis=-1)
    # without the largest one, the others may be too small beside it for exp: by themselves
    lost = others[..., 0] == 0
    found: Array = top + np.log(left)
    if lost.any():
        rest = np.array(x[lost])
        np.put_along_axis(rest, first[lost], -np.inf, axis=-1)
        second = rest.max(axis=-1, keepdims=True)
        safe = np.where(np.isneginf(second), 0.0, second)
        row = found[lost]
        np.put_along_axis(row, first[lost], safe + np.log(np.exp(rest - safe).sum(axis=-1, keepdims=True)), axis=-1)
        found[lost] = row
    return found


def of_log_sum_exp(scores: Array, errors: Array, lse: Array) -> Array:
    """How far a computed log-sum-exp (...) may lie: that of s + d, and its own sums and logarithm."""
    with np.errstate(all="ignore"):
        seen = scores > -np.inf
        raised = np.where(seen, scores + errors + 8 * U, -np.inf)
        top = raised.max(axis=-1, initial=-np.inf)
        safe = np.where(np.isfinite(top), top, 0.0)
        above = safe + np.log(np.exp(raised - safe[..., None]).sum(axis=-1)) - lse
        highest = np.where(seen, scores, -np.inf).max(axis=-1, initial=-np.inf)
    count = seen.sum(axis=-1)
    bound: Array = above + (count + 8) * U + 4 * U * (np.abs(highest) + np.abs(lse))
    return np.where(count > 0, bound, 0.0)


def of_output(soft: Softmax, kept: Array | float, values: Array, exact: Array) -> tuple[Array, Array]:
    """(bound, mass) of outputs (..., n_query, dim_value) = (weights * kept) values; mass = sum of absolutes."""
    count = soft.seen.sum(axis=-1, keepdims=True)
    magnitude = np.abs(values)
    mass = (soft.weights * kept) @ magnitude
    moved = (soft.reach * kept) @ magnitude
    if isinstance(kept, float) and soft.reach.size * values.shape[-1] <= 2_000_000:
        apart = np.abs(values[..., None, :, :] - exact[..., :, None, :])
        moved = np.minimum(moved, (soft.reach[..., None] * apart).sum(axis=-2))
    # (W v) carries the rounding of W's sum as well
    lost = (count + 4) * LEAST * max(1.0, float(np.max(kept, initial=0.0)))  # what underflows is kept, and raised, too
    return moved + (2 * count + 16) * U * (mass + moved) + lost, mass


def contract(mass: Array, largest_score: float, count: int) -> float:
    """The spec's tolerance, where it says |score| and |output| with the absolutes that they are sums of. A sum of like
    terms may lose half a unit each time, always to the same side: tiles of 128 keys one after the other, then the
    tiles. From some 60 keys on that is more than the spec says, if rows are alike and weights too; otherwise errors
    cancel."""
    most = float(mass.max(initial=0.0))
    alike = (min(count, 128) / 2 + count / 256 + 4) * U * most
    return CONTRACT * max(1.0, largest_score / LARGE_SCORE) * (1.0 + most) + alike
