"""Linear attention: FAVOR+ (Choromanski et al., 2021, arXiv:2009.14794), elu and relu features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from .. import engine, prefix
from ..addends import ScoreShape, prepare_mask
from ..arrays import ArrayLike, Float32Array
from ..base import Attention
from ..config import AttentionConfig, Setting, score_scale
from ..errors import UnsupportedError
from ..gradients import add_into, addend_gradients, summed_to
from ..masks import AttentionMask, CausalMask
from ..memory import KeysLike
from ..options import Causal, CheckFinite, KeyLengths, Mask, Training, check_flags, is_causal
from ..products import FLOAT32, product
from ..ragged import prepare_key_lengths, without_unread
from ..registry import register
from ..specs import KEYS, QUERY, VALUES, Binding
from .linear_stream import LinearStream

GRADIENTS = 1 << 24  # of features, as many as a backward holds at a time, about

Backward = Callable[[Float32Array], dict[str, Float32Array]]


@dataclass(frozen=True)
class LinearConfig(AttentionConfig):
    dim: Annotated[int, Setting("channels of queries and keys", at_least=1)]
    num_features: Annotated[int, Setting("random features of the favor kernel", at_least=1)] = 256
    kernel: Annotated[
        str,
        Setting(
            "favor estimates softmax attention; elu and relu are maps of their own", choices=("favor", "elu", "relu")
        ),
    ] = "favor"
    scale: Annotated[
        float | None,
        Setting("factor on the dot products; None: 1 / sqrt(dim) for favor, 1 for elu and relu", above=0),
    ] = None
    temperature: Annotated[float, Setting("divides the scores, after the scale", above=0)] = 1.0
    normalize: Annotated[bool, Setting("scale queries and keys to length 1 first: cosine attention")] = False
    causal: Annotated[bool, Setting("query i sees keys j <= i + (n_key - n_query)")] = False

    @property
    def row_factor(self) -> float:
        """What queries and keys are both multiplied by, so that their products are scaled scores."""
        scale = (self.dim**-0.5 if self.kernel == "favor" else 1.0) if self.scale is None else self.scale
        return float(score_scale(scale, self.temperature) ** 0.5)


def orthogonal_features(num_features: int, dim: int, seed: int) -> Float32Array:
    """Rows w (num_features, dim), each Gaussian, in pairs w and -w; of the pairs every ``dim`` in a row are orthogonal.

    The pairs are the paper's hyperbolic features: estimates stay unbiased, and what is odd in w cancels, which halves
    the error for small rows.

    >>> rows = orthogonal_features(8, 4, seed=0).astype(float)
    >>> bool(abs(rows[:4] @ rows[:4].T - np.diag((rows[:4] ** 2).sum(axis=1))).max() < 1e-6)
    True
    >>> bool((rows[4:] == -rows[:4]).all())
    True
    """
    random = np.random.default_rng(seed)
    pairs = -(-num_features // 2)
    units = np.empty((pairs, dim))  # at once: of more than memory holds, nothing is computed
    for first in range(0, pairs, dim):
        directions, corner = np.linalg.qr(random.standard_normal((dim, dim)))
        # qr alone prefers some directions; with the signs of its corner they are uniform (Mezzadri, 2007)
        units[first : first + dim] = (directions * np.sign(np.diag(corner))).T[: pairs - first]
    lengths = np.linalg.norm(random.standard_normal((pairs, dim)), axis=1)
    rows = (units * lengths[:, None]).astype(np.float32)
    both: Float32Array = np.concatenate([rows, -rows])[:num_features]
    return both


@register
class LinearAttention(Attention):
    """out_i = sum_j <f(q_i), f(k_j)> v_j / sum_j <f(q_i), f(k_j)>, in time and memory linear in n_query and n_key

    ``kernel="favor"``: f(x) = exp(W x' - |x'|^2 / 2) / sqrt(num_features), x' = x / dim^(1/4), rows of W orthogonal
    Gaussian, drawn from the seed. <f(q), f(k)> is then an unbiased estimate of exp(<q, k> / sqrt(dim)): the output is
    that of softmax attention with an error that falls as 1 / sqrt(num_features) and rises steeply with the size of the
    rows. Relative to exact attention, in the Frobenius norm, dim 64, 1 024 rows: for rows of N(0, 1/16) 0.09 with 64
    features, 0.025 with 256 and 0.012 with 1 024; for N(0, 1/4) 0.66, 0.39 and 0.23; for N(0, 1) it is several times
    the output itself, as that of every estimator with such features is, and ``flash`` is the mechanism to take.
    It is faster than exact attention from 1 000 queries and keys on (256 features, 8 heads of 64 channels); where they
    cross, mostly between 500 and 700, is a figure of ``build_scripts/bench.py --suite mechanisms``.
    ``"elu"``: f(x) = elu(x) + 1 (Katharopoulos et al., 2020, arXiv:2006.16236); ``"relu"``: f(x) = max(x, 0), where a
    query that shares no positive channel with any key gets zeros. Both are exact by their own definition.

    There are no single scores here: ``mask`` is one for all queries, (..., 1, n_key) or (n_key,), or a CausalMask; a
    float mask multiplies a key's weight by its exponential.

    Shapes: query (..., n_query, dim) or (dim,), keys (..., n_key, dim), values (..., n_key, dim_value)
            -> (..., n_query, dim_value) or (dim_value,), float32
    Parameters: features (num_features, dim), the rows of W, of kernel="favor"; none of the others
    Raises: DimensionMismatchError, EmptyInputError, InputTooLargeError, NumericalInstabilityError, UnsupportedError

    >>> attention = LinearAttention(dim=2, kernel="elu")
    >>> attention([[0, 0]], [[0, 0], [1, 1]], [[0], [3]])
    array([[2.]], dtype=float32)
    """

    name = "linear"
    Config = LinearConfig
    inputs = (QUERY, KEYS, VALUES)
    paper = "Choromanski et al., 2021, arXiv:2009.14794; Katharopoulos et al., 2020, arXiv:2006.16236"
    complexity = "O((n_query + n_key) * num_features * dim)"
    #: Which keys one query sees cannot be told apart from what another sees, but for ``causal``.
    masks_single_scores = False

    config: LinearConfig

    def _setup(self) -> None:
        self._factor = self.config.row_factor
        if self.config.kernel == "favor":
            features = orthogonal_features(self.config.num_features, self.config.dim, self.config.seed)
            self._parameters["features"] = features

    def forward(
        self,
        query: ArrayLike,
        keys: KeysLike,
        values: ArrayLike = None,
        *,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        training: Training = False,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The outputs, (..., n_query, dim_value). A Memory takes the place of keys and values."""
        check_flags(training=training)
        binding = self.bind(query=query, keys=keys, values=values)
        causal, addend = self._seen(binding, mask, key_lengths, causal, check_finite)
        q, k, v = self._rows(binding, addend)
        with binding.blaming_inputs():
            if self.config.kernel == "favor" and not causal:
                attended, back = self._estimate(q, k, v, addend, check_finite)
            else:
                attended, back = self._summed(q, k, v, addend, causal, binding, check_finite)
        output = binding.restore(attended)
        if not training:
            return output
        shapes = [array.shape for array in binding.arrays]

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            grads = back(binding.lift(grad))
            of_addend = grads.pop("addend", None)
            for name, array, shape in zip(binding.names, binding.arrays, shapes, strict=True):
                of_rows = summed_to(grads[name], shape)
                if self.config.normalize and name != "values":
                    of_rows = engine.normalize_rows_backward(array, of_rows, self.config.dim)
                grads[name] = binding.restore(of_rows) if name == "query" else of_rows
            if binding.rows is not None:
                del grads["keys"], grads["values"]
            return grads | addend_gradients(of_addend, binding, mask=mask, bias=None)

        self._record(output.shape, backward)
        return output

    def attention_weights(
        self,
        query: ArrayLike,
        keys: KeysLike,
        *,
        mask: Mask = None,
        key_lengths: KeyLengths = None,
        causal: Causal = None,
        check_finite: CheckFinite = True,
    ) -> Float32Array:
        """The weights that the outputs are sums with, (..., n_query, n_key): what forward never makes."""
        binding = self.bind(query=query, keys=keys)
        causal, addend = self._seen(binding, mask, key_lengths, causal, check_finite)
        q, k = self._rows(binding, addend)
        sizes = binding.sizes
        out = np.empty((*binding.lead, sizes["n_query"], sizes["n_key"]), FLOAT32)
        with binding.blaming_inputs():
            features = self._features(binding.lead, q, k, addend, check_finite)
            for at, weights in zip(np.ndindex(*binding.lead), prefix.weights(features, causal=causal), strict=True):
                out[at] = weights
            if check_finite and not np.isfinite(out).all():
                engine.raise_non_finite(query=q, keys=k)
        return binding.restore(out)

    def stream(self, dim_value: int, lead: tuple[int, ...] = ()) -> LinearStream:
        """A recurrent state: keys and values are taken in one after another, and none is kept.

        >>> attention = LinearAttention(dim=1, kernel="elu")
        >>> stream = attention.stream(dim_value=1)
        >>> stream.step([[0]], [[0]], [[2]])
        array([[2.]], dtype=float32)
        >>> stream.step([[0]], [[0]], [[4]])
        array([[3.]], dtype=float32)
        """
        return LinearStream(self, dim_value, lead)

    # --- what comes in

    def _seen(
        self, binding: Binding, mask: Any, key_lengths: ArrayLike | None, causal: bool | None, check_finite: bool
    ) -> tuple[bool, Float32Array | None]:
        """Whether the call is causal, and what is added to the logarithm of each key's features (..., 1, n_key)."""
        check_flags(check_finite=check_finite)
        seen_causal = is_causal(causal, self.config.causal)
        n_query, n_key = binding.sizes["n_query"], binding.sizes["n_key"]
        addend: Float32Array | None = None
        if isinstance(mask, CausalMask):
            seen_causal = True
        elif isinstance(mask, AttentionMask):
            raise UnsupportedError(f"mask is {mask!r}; expected a CausalMask, or an array (..., 1, n_key)")
        elif mask is not None:
            array: Any = prepare_mask(mask, ScoreShape(binding.lead, n_query, n_key), check_finite=check_finite)
            if array.shape[-2] != 1:
                raise UnsupportedError(
                    f"mask is {np.shape(mask)}, one row for each query; expected (..., 1, {n_key}), one for all: "
                    "linear attention makes no single scores (attention 'flash' does)"
                )
            if array.dtype == np.bool_:
                array = np.where(array, np.float32(0), np.float32(-np.inf))
            addend = np.broadcast_to(array, (*array.shape[:-1], n_key))
        if key_lengths is not None:
            binding.key_lengths = prepare_key_lengths(key_lengths, binding.lead, n_key)
            read = np.arange(n_key) < binding.key_lengths[..., None, None]
            addend = np.where(read, np.float32(0) if addend is None else addend, np.float32(-np.inf))
        return seen_causal, addend

    def _rows(self, binding: Binding, addend: Float32Array | None) -> list[Float32Array]:
        """The inputs as the features are made of them; keys and values repeated where an addend differs."""
        query, *others = (engine.contiguous(array) for array in binding.arrays)  # sums depend on the layout
        if binding.key_lengths is not None:
            others = [without_unread(array, binding.key_lengths) for array in others]
        if addend is not None and addend.ndim > 2:
            others = [np.broadcast_to(array, (*binding.lead, *array.shape[-2:])) for array in others]
        return [self._unit(query), self._unit(others[0]), *others[1:]]

    def _unit(self, rows: Float32Array) -> Float32Array:
        return engine.normalize_rows(rows, self.config.dim) if self.config.normalize and rows.size else rows

    # --- favor with all keys seen: two softmax attentions

    def _estimate(
        self, query: Float32Array, keys: Float32Array, values: Float32Array, addend: Float32Array | None, check: bool
    ) -> tuple[Float32Array, Backward]:
        """The features attend to the keys, and the queries to the features.

        exp(w_r q') sum_j exp(w_r k'_j - |k'_j|^2 / 2) v_j is exp(w_r q' + lse_r) times the output of attention from
        w_r to the keys: so the engine does both sums, and keeps the maximum of each. exp(-|q'|^2 / 2) cancels.
        """
        factor, rows = self._factor, self._parameters["features"]
        weight = self._key_terms(keys, addend, check)
        learned, lse = engine.attend(rows, keys, values, scale=factor, bias=weight, return_lse=True, check_finite=check)
        attended, query_lse = engine.attend(
            query, rows, learned, scale=factor, bias=lse, return_lse=True, check_finite=check
        )

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            outer = engine.attend_backward(query, rows, learned, attended, query_lse, grad, scale=factor, bias=lse)
            assert outer.bias is not None
            # A gradient of lse_r adds to that of score rj its weight times it. The kernel subtracts <out_r, grad_r>
            # there: one more channel, with value 0 and gradient 1, carries the rest.
            of_lse = outer.bias.swapaxes(-1, -2)
            extended = [
                _extended(array, channel) for array, channel in ((values, 0.0), (learned, -of_lse), (outer.values, 1.0))
            ]
            inner = engine.attend_backward(
                rows, keys, extended[0], extended[1], lse, extended[2], scale=factor, bias=weight
            )
            assert inner.bias is not None
            of_keys = inner.keys - factor**2 * keys * inner.bias.swapaxes(-1, -2)
            grads = {
                "query": outer.query,
                "keys": of_keys,
                "values": inner.values[..., :-1],
                "features": outer.keys + inner.query,
            }
            return grads if addend is None else {**grads, "addend": inner.bias}

        return attended, backward

    def _key_terms(self, keys: Float32Array, addend: Float32Array | None, check: bool) -> Float32Array:
        """-|k'|^2 / 2 and the addend, (..., 1, n_key)."""
        with np.errstate(over="ignore", invalid="ignore"):
            terms = np.square(keys).sum(axis=-1)[..., None, :] * np.float32(-0.5 * self._factor**2)
        if check and not np.isfinite(terms).all():  # -inf would hide a key
            engine.raise_non_finite(keys=keys)
        summed: Float32Array = terms if addend is None else terms + addend
        return summed

    # --- everything else: sums of features

    def _features(
        self, lead: tuple[int, ...], query: Float32Array, keys: Float32Array, addend: Float32Array | None, check: bool
    ) -> prefix.Features:
        """Of every item of the batch ``lead``."""
        # what is not finite would be a feature of 0, or taken for a row that sees nothing
        if check and not all(np.isfinite(rows).all() for rows in (query, keys)):
            engine.raise_non_finite(query=query, keys=keys)
        if self.config.kernel == "favor":
            if check and not self._are_told(self._key_terms(keys, None, check)):
                engine.raise_non_finite(query=query, keys=keys)
            terms = self._key_terms(keys, addend, check)
            weight = engine.contiguous(self._parameters["features"] * np.float32(self._factor))
            return prefix.Features(
                prefix.flat(query, lead), prefix.flat(keys, lead), prefix.flat(terms, lead)[:, 0], weight
            )
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            logs = [self._mapped(rows)[0] for rows in (query, keys)]
        if check and not all(self._are_told(array) for array in logs):
            engine.raise_non_finite(query=query, keys=keys)
        added = None if addend is None else prefix.flat(addend, lead)[:, 0]
        return prefix.Features(prefix.flat(logs[0], lead), prefix.flat(logs[1], lead), added, None)

    def _are_told(self, logarithms: Float32Array) -> bool:
        """Whether logarithms of features are of numbers; -inf, of 0, is what relu makes of a number below 0."""
        if self.config.kernel == "relu":
            return bool(logarithms.max(initial=0) < np.inf)
        return bool((logarithms > prefix.NOTHING_SEEN / 2).all() and logarithms.max(initial=0) < np.inf)

    def _mapped(self, rows: Float32Array) -> tuple[Float32Array, Float32Array]:
        """The logarithms of elu or relu features, and their slopes."""
        factor = np.float32(self._factor)
        scaled = rows * factor
        above = np.maximum(scaled, 0)
        if self.config.kernel == "elu":
            return np.minimum(scaled, 0) + np.log1p(above), factor / (1 + above)
        with np.errstate(divide="ignore"):
            return np.log(above), np.where(above > 0, factor / np.where(above > 0, above, np.float32(1)), np.float32(0))

    def _summed(
        self,
        query: Float32Array,
        keys: Float32Array,
        values: Float32Array,
        addend: Float32Array | None,
        causal: bool,
        binding: Binding,
        check: bool,
    ) -> tuple[Float32Array, Backward]:
        lead = binding.lead
        features, v = self._features(lead, query, keys, addend, check), prefix.flat(values, lead)
        done = prefix.forward(features, v, causal=causal)
        if check and not done.is_finite:
            engine.raise_non_finite(query=query, keys=keys, values=values)

        def backward(grad: Float32Array) -> dict[str, Float32Array]:
            q, k, of_out = prefix.flat(query, lead), prefix.flat(keys, lead), prefix.flat(grad, lead)
            total = {name: np.empty(x.shape, FLOAT32) for name, x in (("query", q), ("keys", k), ("values", v))}
            if addend is not None:
                total["addend"] = np.empty((len(k), 1, k.shape[1]), FLOAT32)
            shared: dict[str, Float32Array] = {}
            few = max(1, GRADIENTS // ((q.shape[1] + k.shape[1]) * features.n_features))
            for at in (slice(first, first + few) for first in range(0, len(q), few)):
                found = prefix.Prefix(done.output[at], done.lse[at], done.table, True)
                of_query, of_keys, total["values"][at] = prefix.backward(
                    features.items(at), v[at], found, of_out[at], causal=causal
                )
                if addend is not None:
                    total["addend"][at, 0] = of_keys.sum(axis=-1)
                of_rows = self._features_backward(q[at], k[at], of_query, of_keys)
                total["query"][at], total["keys"][at] = of_rows.pop("query"), of_rows.pop("keys")
                add_into(shared, of_rows)
            return {name: x.reshape(*lead, *x.shape[1:]) for name, x in total.items()} | shared

        return done.output.reshape(*lead, *done.output.shape[1:]), backward

    def _features_backward(
        self, query: Float32Array, keys: Float32Array, of_query: Float32Array, of_keys: Float32Array
    ) -> dict[str, Float32Array]:
        if self.config.kernel != "favor":
            return {"query": of_query * self._mapped(query)[1], "keys": of_keys * self._mapped(keys)[1]}
        factor, rows = np.float32(self._factor), self._parameters["features"]
        of_rows = sum(
            product(grad.reshape(-1, grad.shape[-1]).T, x.reshape(-1, x.shape[-1]))
            for grad, x in ((of_query, query), (of_keys, keys))
        )
        return {
            "query": factor * engine.project(of_query, rows),
            "keys": factor * engine.project(of_keys, rows) - factor**2 * keys * of_keys.sum(axis=-1, keepdims=True),
            "features": factor * np.asarray(of_rows, FLOAT32),
        }


def _extended(array: Float32Array, channel: Any) -> Float32Array:
    """One more channel behind the others."""
    column: npt.NDArray[Any] = np.broadcast_to(np.asarray(channel, FLOAT32), (*array.shape[:-1], 1))
    return np.concatenate([array, column], axis=-1)
