"""A mechanism that picks a mechanism, and says which and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from .. import engine, registry
from ..arrays import ArrayLike, Float32Array, as_array
from ..base import Attention
from ..config import AttentionConfig, Setting
from ..errors import DimensionMismatchError, OutOfBoundsError, UnsupportedError
from ..masks import AttentionMask, CausalMask, COOMask
from ..memory import KeysLike
from ..options import Causal, CheckFinite, KeyLengths, Mask, Training, check_flags, is_causal
from ..products import contiguous
from ..registry import register
from ..specs import KEYS, QUERY, VALUES, Binding

EdgeIndex = Annotated[
    ArrayLike | None,
    Setting("edges (2, E), key and query: a query attends to the keys it has an edge from", type="array | None"),
]

TREE_LIKE = 0.25  # delta of trees and clusters is 0.1 to 0.2, of a grid 0.3, of points without structure 0.4 to 0.5
QUARTETS = 2000
SAMPLED_KEYS, SAMPLED_QUERIES = 256, 16
WORTH_AN_ESTIMATE = 4  # scores of the exact call for each feature of the estimate's


@dataclass(frozen=True)
class AutoConfig(AttentionConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]
    num_features: Annotated[int, Setting("random features, where linear attention is picked", at_least=1)] = 256
    tolerance: Annotated[float, Setting("relative error of linear attention; 0: never pick it", at_least=0)] = 0.05
    temperature: Annotated[float, Setting("divides the scores", above=0)] = 1.0
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False


@dataclass(frozen=True)
class Choice:
    """The mechanism that a call gets, why, and the figures that it was picked by."""

    mechanism: str
    reason: str
    figures: dict[str, float]


def tree_likeness(points: Float32Array, seed: int = 0) -> float:
    """Delta of quartets of rows (n, dim): 0 where their squared distances are those along a tree.

    Of the three ways to pair four points up, a tree makes the two longer sums equal: delta is the gap between these
    over the gap between the longest and the shortest (Holland et al., 2002, 10.1093/oxfordjournals.molbev.a004030),
    here of both gaps summed over quartets, for those that tell little are mostly noise.
    Squared distances add up along a path where steps are independent, as they are in wide embeddings of hierarchies.

    >>> line = np.cumsum(np.eye(8, dtype=np.float32), axis=0)
    >>> tree_likeness(line)
    0.0
    """
    random = np.random.default_rng(seed)
    if len(points) < 4:
        return 1.0
    rows = points[random.choice(len(points), min(len(points), SAMPLED_KEYS), replace=False)].astype(np.float64)
    four = np.argsort(random.random((QUARTETS, len(rows))), axis=1)[:, :4] if len(rows) < 16 else None
    if four is None:
        four = random.integers(0, len(rows), (4 * QUARTETS, 4))
        distinct = np.sort(four, axis=1)
        four = four[(np.diff(distinct, axis=1) > 0).all(axis=1)][:QUARTETS]
    squares = (rows * rows).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    a, b, c, d = four.T
    pairings = [distances[a, b] + distances[c, d], distances[a, c] + distances[b, d], distances[a, d] + distances[b, c]]
    sums = np.sort(np.stack(pairings), axis=0)
    spread = sums[2] - sums[0]
    told = float(spread.sum())
    return float((sums[2] - sums[1]).sum() / told) if told > 1e-9 * float(distances.sum()) else 1.0


@register
class AutoAttention(Attention):
    """out = that of the mechanism picked for these inputs: by edges, tree-likeness, length, and a measured error

    * ``edge_index`` came: scaled dot-product attention over the edges, nothing else is computed.
    * Keys lie inside the unit ball, as values do, and like a tree (``tree_likeness`` of at most 0.25): hyperbolic.
    * So many queries and keys that ``num_features`` features are cheaper, no mask but a causal one, and an error
      against exact attention of at most ``tolerance``, measured on 16 of the queries: linear.
    * Else scaled dot-product attention, which is exact.

    ``explain`` gives the mechanism, the reason in a sentence and the figures.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: those of the mechanisms that it may pick, as <mechanism>.<name>
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, OutOfBoundsError,
            UnsupportedError

    >>> attention = AutoAttention(dim=2)
    >>> attention([[1, 0]], [[1, 0]], [[3, 4]])
    array([[3., 4.]], dtype=float32)
    >>> attention.explain([[1, 0]], [[1, 0]]).reason
    '1 query and 1 key are few: exact attention costs less than an estimate'
    """

    name = "auto"
    Config = AutoConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Holland et al., 2002, 10.1093/oxfordjournals.molbev.a004030, for tree-likeness"
    complexity = "that of the mechanism that is picked"

    config: AutoConfig

    def _setup(self) -> None:
        config = self.config
        common = {"dim": config.dim, "seed": config.seed, "max_sequence_length": config.max_sequence_length}
        own: dict[str, dict[str, Any]] = {
            "scaled_dot_product": {"temperature": config.temperature},
            "linear": {"temperature": config.temperature, "num_features": config.num_features},
            "hyperbolic": {"temperature": config.temperature},
        }
        known = registry.mechanisms()
        self._candidates = {
            name: registry.create(name, **common, **settings) for name, settings in own.items() if name in known
        }
        for name, attention in self._candidates.items():
            for parameter, array in attention.parameters().items():
                self._parameters[f"{name}.{parameter}"] = array

    def explain(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        edge_index: EdgeIndex = None,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
    ) -> Choice:
        """What a forward of the same arguments picks, and why; without values, as if these lay inside the unit ball."""
        inputs = {"query": query, "keys": keys, **({} if values is None else {"values": values})}
        return self._choice(self.bind(**inputs), edge_index, mask, key_lengths)

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        edge_index: EdgeIndex = None,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        chosen, options = self._chosen(binding, edge_index, mask, key_lengths, causal, check_finite)
        if training:
            options["training"] = True
        output: Float32Array = self._candidates[chosen].forward(query, keys, values, **options)
        if training:

            def backward(grad: Float32Array) -> dict[str, Float32Array]:
                found = recorded.backward(grad)
                own = self._candidates[chosen].parameters()
                named = {f"{chosen}.{name}" if name in own else name: of_one for name, of_one in found.items()}
                return {name: np.zeros_like(array) for name, array in self._parameters.items()} | named

            recorded: Any = self._candidates[chosen]._recorded
            self._record(output.shape, backward)
        return output

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        edge_index: EdgeIndex = None,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights of the mechanism that is picked, (..., n_query, n_key)."""
        binding = self.bind(query=query, keys=keys)
        chosen, options = self._chosen(binding, edge_index, mask, key_lengths, causal, check_finite)
        attention: Any = self._candidates[chosen]
        weights: Float32Array = attention.attention_weights(query, keys, **options)
        return weights

    def _chosen(
        self, binding: Binding, edge_index: Any, mask: Any, key_lengths: Any, causal: bool | None, check_finite: bool
    ) -> tuple[str, dict[str, Any]]:
        """The mechanism, and the options for its call."""
        check_flags(check_finite=check_finite)
        causal = is_causal(causal, self.config.causal)
        choice = self._choice(binding, edge_index, mask, key_lengths)
        options = {"mask": mask, "key_lengths": key_lengths, "causal": causal, "check_finite": check_finite}
        if edge_index is not None:
            options["mask"] = _edges_as_mask(_checked_edges(edge_index, binding), mask)
        return choice.mechanism, options

    def _choice(self, binding: Binding, edge_index: Any, mask: Any, key_lengths: Any) -> Choice:
        n_query, n_key = binding.sizes["n_query"], binding.sizes["n_key"]
        figures: dict[str, float] = {"n_query": n_query, "n_key": n_key, "dim": self.config.dim}
        exact = "scaled_dot_product"
        if edge_index is not None:
            count = _checked_edges(edge_index, binding).shape[1]
            figures["edges"] = count
            return Choice(exact, f"{count} edges say which keys a query sees: nothing else is computed", figures)
        arrays = [contiguous(array) for array in binding.arrays]
        keys, *values = arrays[1:]
        single = keys.reshape(-1, keys.shape[-1])
        with np.errstate(over="ignore"):  # what is beyond float32 lies outside of the ball, too
            longest = max((float(np.square(x).sum(axis=-1).max()) for x in (keys, *values)), default=0.0)
        if "hyperbolic" in self._candidates and longest < 1:
            figures["tree_likeness"] = tree_likeness(single, self.config.seed)
            if figures["tree_likeness"] <= TREE_LIKE:
                return Choice(
                    "hyperbolic",
                    "keys and values lie inside the unit ball, keys like a tree: "
                    f"delta {figures['tree_likeness']:.2f}, at most {TREE_LIKE}",
                    figures,
                )
        if n_query * n_key < WORTH_AN_ESTIMATE * (n_query + n_key) * self.config.num_features:
            counts = f"{_counted(n_query, 'query', 'queries')} and {_counted(n_key, 'key', 'keys')}"
            return Choice(exact, f"{counts} are few: exact attention costs less than an estimate", figures)
        if self.config.tolerance == 0:
            return Choice(exact, "the tolerance is 0: no estimate will do", figures)
        if key_lengths is not None or not (mask is None or isinstance(mask, CausalMask)):
            return Choice(exact, "a mask or key lengths came: exact attention leaves out what they hide", figures)
        error = self._error(arrays)
        if not np.isfinite(error):
            return Choice(exact, f"the estimate is beyond float32 on {SAMPLED_QUERIES} of the queries", figures)
        figures["error"] = error
        said = f"the estimate's error on {SAMPLED_QUERIES} of the queries is {error:.3g}"
        if figures["error"] <= self.config.tolerance:
            return Choice("linear", f"{said}, at most {self.config.tolerance}, and it costs less", figures)
        return Choice(exact, f"{said}, above {self.config.tolerance}", figures)

    def _error(self, arrays: list[Float32Array]) -> float:
        """Of linear attention against exact attention, relative, in the Frobenius norm, on some queries that see all
        keys; without values, on the keys themselves."""
        query, keys = arrays[0], arrays[1]
        values = arrays[2] if len(arrays) > 2 else keys
        places = np.linspace(0, query.shape[-2] - 1, SAMPLED_QUERIES).astype(np.int64)
        sampled = np.ascontiguousarray(query[..., places, :])
        scale = self.config.dim**-0.5 / self.config.temperature
        exact = engine.attend(sampled, keys, values, scale=scale, check_finite=False)
        found = self._candidates["linear"].forward(sampled, keys, values, causal=False, check_finite=False)
        length = float(np.linalg.norm(exact.astype(np.float64)))
        with np.errstate(invalid="ignore"):
            return float(np.linalg.norm(found - exact.astype(np.float64))) / max(length, 1e-30)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _checked_edges(edge_index: ArrayLike, binding: Binding) -> npt.NDArray[Any]:
    edges = as_array("edge_index", edge_index)
    if edges.dtype.kind not in "iu":
        raise UnsupportedError(f"edge_index is an array of {edges.dtype.name}; expected integers")
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise DimensionMismatchError(
            f"edge_index is {edges.shape}; expected (2, n_edges)", expected=2, actual=edges.shape
        )
    for row, axis in zip(edges, ("n_key", "n_query"), strict=True):
        wrong = row[(row < 0) | (row >= binding.sizes[axis])]
        if wrong.size:
            raise OutOfBoundsError(
                f"edge_index names {axis[2:]} {wrong[0]}; expected 0 to {axis} - 1 = {binding.sizes[axis] - 1}"
            )
    return edges


def _edges_as_mask(edges: npt.NDArray[Any], mask: Any) -> AttentionMask:
    """Each query's keys; within a mask object, where one came too."""
    pairs = COOMask(np.ascontiguousarray(edges[::-1].T))
    if mask is None:
        return pairs
    if not isinstance(mask, AttentionMask):
        raise UnsupportedError("mask is an array beside edge_index; expected a mask object, or none")
    return pairs & mask
