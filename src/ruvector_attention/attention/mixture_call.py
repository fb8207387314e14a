"""One call of a mixture of mechanisms: its rows in groups, each computed by one expert in one call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .. import kernels
from ..addends import ScoreShape, prepare_mask
from ..arrays import FLOAT32, ArrayLike, Float32Array, require_finite
from ..errors import AttentionError, DimensionMismatchError, NumericalInstabilityError, UnsupportedError
from ..gradients import add_into
from ..masks import AttentionMask, CausalMask
from ..products import contiguous
from ..ragged import prepare_key_lengths, without_unread
from ..specs import Binding
from .seen_until import SeenUntil

if TYPE_CHECKING:
    from .mixture import Expert, Float64Array, IntArray, Routing, Scaled

IN_PLACE = 16  # how many times as fast rows are that follow one another as those with positions of their own
PIECE = 256  # rows of a causal call whose mask is written out at a time


class Group(NamedTuple):
    """Rows that one expert computes in one call."""

    expert: int
    item: int | None  # the leading index whose keys they see; None: all items share theirs
    rows: IntArray  # among all queries
    slots: IntArray  # of these rows
    seen: int  # keys that any of them may see, the first ones
    alike: bool = False  # all of them see the same keys


class Done(NamedTuple):
    """What the way back needs of one call."""

    group: Group
    output: Float32Array
    selected: IntArray | None  # of an expert that had to compute all rows of the item: those that were asked for
    recorded: Any


class Call:
    """One call's arrays, and the experts' calls within it."""

    def __init__(
        self,
        experts: list[Expert],
        scaled: Scaled | None,
        binding: Binding,
        mask: Any,
        key_lengths: ArrayLike | None,
        causal: bool,
        check_finite: bool,
    ) -> None:
        self.experts, self.scaled = experts, scaled
        self.lead, self.check_finite = binding.lead, check_finite
        self.n_query, self.n_key = binding.sizes["n_query"], binding.sizes["n_key"]
        self.causal, self.training = causal, False
        self._memory = np.empty(0, FLOAT32)
        query, *others = (contiguous(array) for array in binding.arrays)
        if check_finite and kernels.active.all_finite(query, query.size):  # before a router compares it
            require_finite("query", query[0] if binding.is_vector else query)
        if query.shape[:-2] != self.lead:
            query = np.ascontiguousarray(np.broadcast_to(query, (*self.lead, *query.shape[-2:])))
        self.query = query
        self.mask: Any = None
        self.rule: AttentionMask | None = None
        if isinstance(mask, CausalMask):
            self.causal = True
        elif isinstance(mask, AttentionMask):
            mask._check(self.n_query, self.n_key)
            self.rule = mask
        elif mask is not None:
            scores = ScoreShape(self.lead, self.n_query, self.n_key)
            self.mask = prepare_mask(mask, scores, check_finite=check_finite)
        self.lengths: Any = None
        if key_lengths is not None:
            self.lengths = binding.key_lengths = prepare_key_lengths(key_lengths, self.lead, self.n_key)
            others = [without_unread(array, binding.key_lengths) for array in others]
        self.keys, self.values = others[0], others[-1]
        #: Items whose keys and masks are the same arrays are one call.
        arrays = (self.keys, self.values, self.mask)
        self.shared = self.lengths is None and all(array is None or array.ndim == 2 for array in arrays)
        #: Whether queries differ in what they see, beside by where they stand.
        self.by_row = self.rule is not None or (self.mask is not None and self.mask.shape[-2] > 1)

    def run(self, routing: Routing, training: bool, *, weights: bool = False) -> tuple[Float32Array, list[Done]]:
        """The outputs, or the weights, of all rows; what the way back needs."""
        self.training = training
        together = None
        if self.scaled and not training and not weights and routing.experts.min() >= 0:
            together = self._together(self.scaled, routing)
        return self._by_expert(routing, weights) if together is None else (together, [])

    def _by_expert(self, routing: Routing, weights: bool) -> tuple[Float32Array, list[Done]]:
        training = self.training
        rows = self.query.reshape(-1, self.query.shape[-1])
        out: Float32Array | None = np.zeros((len(rows), self.n_key), FLOAT32) if weights else None
        done: list[Done] = []
        for group in self._groups(routing):
            expert = self.experts[group.expert]
            try:
                output, selected = self._computed(expert, group, rows, training, weights)
            except AttentionError as error:
                raise error.within(f"expert {group.expert} ({expert.attention.name})") from None
            if out is None:
                out = np.zeros((len(rows), output.shape[-1]), FLOAT32)
            if not weights and output.shape[-1] != out.shape[-1]:
                raise DimensionMismatchError(
                    f"expert {group.expert} ({expert.attention.name}) gives {output.shape[-1]} channels; expected "
                    f"{out.shape[-1]}, as the experts before it",
                    expected=out.shape[-1],
                    actual=output.shape[-1],
                )
            share = routing.weights[group.rows, group.slots, None]
            if weights:
                out[group.rows, : group.seen] += share * output
            else:
                weighted = share * output  # first of all, for an output may lie where the query does, and sums will
                sums = self._lent(group.rows.size, out.shape[-1])
                out.take(group.rows, 0, out=sums, mode="clip")
                sums += weighted
                out[group.rows] = sums
            if training:
                done.append(Done(group, output, selected, expert.attention._recorded))
        if out is None:  # no expert had room
            out = np.zeros((len(rows), self.values.shape[-1]), FLOAT32)
        return out.reshape(*self.lead, self.n_query, out.shape[-1]), done

    def _together(self, scaled: Scaled, routing: Routing) -> Float32Array | None:
        """The outputs from a call for every slot of the routing, of all rows in their places. None where there is an
        error: it is told by the expert that meets it."""
        mixed: Float32Array | None = None
        query = np.empty_like(self.query)
        for experts, weights in zip(routing.experts.T, routing.weights.T, strict=True):
            shape = (*self.query.shape[:-1], 1)
            np.multiply(self.query, scaled.factors[experts].reshape(shape), out=query)
            try:
                output = scaled.attention.forward(
                    query,
                    self.keys,
                    self.values,
                    mask=self.mask if self.rule is None else self.rule,
                    key_lengths=self.lengths,
                    causal=self.causal or scaled.attention.config.causal,
                    check_finite=self.check_finite,
                )
            except NumericalInstabilityError:
                return None
            output *= weights.reshape(shape)
            mixed = output if mixed is None else np.add(mixed, output, out=mixed)
        return mixed

    def _groups(self, routing: Routing) -> Iterator[Group]:
        n_slot = routing.experts.shape[1]
        flat = routing.experts.astype(np.int16).reshape(-1)  # which numpy sorts by radix
        order = np.argsort(flat, kind="stable")
        ends = np.searchsorted(flat[order], np.arange(len(self.experts) + 1))
        for expert, (start, end) in enumerate(pairwise(ends)):
            if start == end:
                continue
            rows, slots = np.divmod(order[start:end], n_slot)
            whole = self._computes_all_rows(self.experts[expert], end - start, routing.experts.shape[0])
            apart = whole or "query_times" in self.experts[expert].options  # times must rise
            if not self.lead or (self.shared and not apart):
                yield from self._pieces(Group(expert, None, rows, slots, self.n_key))
                continue
            items = rows // self.n_query
            first = np.flatnonzero(np.diff(items, prepend=-1))
            for own, own_slots in zip(np.split(rows, first[1:]), np.split(slots, first[1:]), strict=True):
                yield from self._pieces(Group(expert, int(own[0] // self.n_query), own, own_slots, self.n_key))

    def _pieces(self, group: Group) -> Iterator[Group]:
        """The rows of a group in the calls that they need: all in one; where an expert has one mask for all rows, those
        of each mask; of a causal call whose mask must be written out some at a time, for they leave the keys behind
        them alone."""
        expert = self.experts[group.expert]
        if self.by_row and not expert.takes_rows_apart and "mask" in expert.options:
            yield from self._alike(group)
            return
        across = group.item is None and bool(self.lead)  # rows of several items do not rise
        written = self._is_causal(expert) and "position" not in expert.options and expert.takes_rows_apart
        plain = self.mask is None and self.rule is None and self.lengths is None  # then a mask object says it all
        if not written or across or plain or group.rows.size in (self.n_query, 1):
            yield group
            return
        for start in range(0, group.rows.size, PIECE):
            rows, slots = group.rows[start : start + PIECE], group.slots[start : start + PIECE]
            seen = int(rows[-1]) % self.n_query + 1 + self.n_key - self.n_query
            yield Group(group.expert, group.item, rows, slots, min(max(seen, 1), self.n_key))

    def _alike(self, group: Group) -> Iterator[Group]:
        """The rows that see the same, mask by mask."""
        causal = self._is_causal(self.experts[group.expert])
        seen = self._mask_of(group, group.rows % self.n_query, causal)
        kinds: dict[Any, list[int]] = {}
        if seen.dtype == np.bool_:
            for at, row in enumerate(np.packbits(seen, axis=1)):
                kinds.setdefault(row.tobytes(), []).append(at)
        else:  # each row of what is added to scores has a gradient of its own
            kinds = {at: [at] for at in range(len(seen))}
        for own in kinds.values():
            yield group._replace(rows=group.rows[own], slots=group.slots[own], alike=True)

    def _is_causal(self, expert: Expert) -> bool:
        return self.causal or expert.is_causal

    def _computes_all_rows(self, expert: Expert, chosen: int, rows: int) -> bool:
        """Whether an expert that depends on where a query stands has no way to be told, or is slower when it is."""
        if "position" in expert.options:  # the first queries may stand before the first key
            return self.n_query > self.n_key or chosen * IN_PLACE >= rows
        return self._is_causal(expert) and not expert.takes_rows_apart and not self.by_row

    def _computed(
        self, expert: Expert, group: Group, rows: Float32Array, training: bool, weights: bool
    ) -> tuple[Float32Array, IntArray | None]:
        """One expert's output for the rows of a group."""
        own, places, selected = group.rows, group.rows % self.n_query, None
        of_one = group.item is not None or not self.lead
        if of_one and self._computes_all_rows(expert, own.size, self.n_query) and places.size < self.n_query:
            own, selected, places = own[0] - places[0] + np.arange(self.n_query), places, np.arange(self.n_query)
        in_place = not group.alike and places.size == self.n_query and bool((places == np.arange(self.n_query)).all())
        options: dict[str, Any] = {}
        causal = self._is_causal(expert)
        if "position" in expert.options and not in_place:
            options["position"] = places + self.n_key - self.n_query
        if "query_times" in expert.options:  # keys are at 0, 1, 2, ...
            options["query_times"] = places + self.n_key - self.n_query
        if "causal" in expert.options:
            options["causal"] = causal and (in_place or "position" in options)
            causal = causal and not options["causal"]
        if group.alike:
            places = places[:1]
        mask = self._mask_of(group, places, causal)
        if mask is not None:
            if "mask" not in expert.options:
                raise UnsupportedError("it takes no mask; expected none, or an expert that does")
            options["mask"] = mask if isinstance(mask, AttentionMask) else mask[:, : group.seen]
        if "check_finite" in expert.options:
            options["check_finite"] = self.check_finite
        keys, values = (self._item(array, group.item)[: group.seen] for array in (self.keys, self.values))
        query = rows if own.size == len(rows) else self._gathered(rows, own)
        if weights:
            if not hasattr(expert.attention, "attention_weights"):
                raise UnsupportedError("it has no weights")
            output = expert.attention.attention_weights(query, keys, **options)
            output = output.mean(axis=-3) if output.ndim > 2 else output
        else:
            output = expert.attention.forward(
                query, keys, values, **options, **({"training": True} if training else {})
            )
        return (output if selected is None else output[selected]), selected

    def _gathered(self, rows: Float32Array, own: IntArray) -> Float32Array:
        if self.training:  # the expert keeps them
            return rows.take(own, 0)
        # "clip", for numpy copies once more to look at what it takes otherwise
        return rows.take(own, 0, out=self._lent(own.size, rows.shape[-1]), mode="clip")

    def _lent(self, count: int, channels: int) -> Float32Array:
        """Memory for rows of queries or outputs until the next call of this: what is new costs more than a copy."""
        if self._memory.size < count * channels:
            self._memory = np.empty(count * channels, FLOAT32)
        return self._memory[: count * channels].reshape(count, channels)

    def _mask_of(self, group: Group, places: IntArray, causal: bool) -> Any:
        """What these rows see: bool or float, (rows, n_key) or (1, n_key); a mask object; None: everything."""
        if self.mask is None and self.rule is None and self.lengths is None:
            if not causal:
                return None
            if group.item is not None or not self.lead:  # places rise
                return SeenUntil(np.clip(places + 1 + self.n_key - self.n_query, 0, self.n_key))
        seen: Any = np.ones((1, self.n_key), bool)
        if self.lengths is not None:
            seen = seen & (np.arange(self.n_key) < self.lengths.reshape(-1)[group.item or 0])
        key, place = np.arange(self.n_key), places[:, None]
        if causal:
            seen = seen & (key <= place + self.n_key - self.n_query)
        if self.rule is not None:
            seen = seen & self.rule.sees(place, key, self.n_query, self.n_key)
        if self.mask is None:
            return seen
        own = self._item(self.mask, group.item)
        own = own[places] if own.shape[0] > 1 else own
        own = np.broadcast_to(own, (own.shape[0], self.n_key))
        return own & seen if own.dtype == np.bool_ else np.where(seen, own, np.float32(-np.inf))

    def _item(self, array: Any, item: int | None) -> Any:
        """The matrix of one leading index."""
        if array.ndim == 2:
            return array
        spread = np.broadcast_to(array, (*self.lead, *array.shape[-2:]))
        return spread[np.unravel_index(item or 0, self.lead)]

    def back(
        self, routing: Routing, done: list[Done], grad: Float32Array
    ) -> tuple[dict[str, Float32Array], Float64Array]:
        """The gradients by name, of repeated inputs summed, and those of the weights (rows, slots)."""
        grads = grad.reshape(-1, grad.shape[-1])
        of_weights = np.zeros(routing.weights.shape)
        total: dict[str, Float32Array] = {
            "query": np.zeros_like(self.query),
            "keys": np.zeros_like(self.keys),
            "values": np.zeros_like(self.values),
        }
        floats = self.mask is not None and self.mask.dtype != np.bool_
        if floats:
            total["mask"] = np.zeros((*self.lead, self.n_query, self.n_key), FLOAT32)
        of_query = total["query"].reshape(-1, self.query.shape[-1])
        for group, output, selected, recorded in done:
            rows = group.rows
            of_weights[rows, group.slots] = (grads[rows].astype(np.float64) * output).sum(axis=1)
            weighted = routing.weights[rows, group.slots, None] * grads[rows]
            if selected is not None:
                spread = np.zeros(recorded.shape, FLOAT32)
                spread[selected] = weighted
                weighted = spread
                rows = rows[0] - selected[0] + np.arange(self.n_query)
            found = recorded.backward(weighted)
            of_query[rows] += found.pop("query")
            for name, array in (("keys", self.keys), ("values", self.values)):
                self._target(total[name], array, group.item)[: group.seen] += found.pop(name)
            of_mask = found.pop("mask", None)
            if floats and of_mask is not None:
                flat = total["mask"].reshape(-1, self.n_key)
                at = rows if of_mask.shape[0] == rows.size else rows[:1]  # one row for all: any place will do
                flat[at, : group.seen] += of_mask
            add_into(total, {f"experts.{group.expert}.{name}": of_one for name, of_one in found.items()})
        for index, expert in enumerate(self.experts):
            for name, array in expert.attention.parameters().items():
                total.setdefault(f"experts.{index}.{name}", np.zeros_like(array))
        return total, of_weights

    def _target(self, grad: Float32Array, array: Float32Array, item: int | None) -> Float32Array:
        """The matrix of a gradient that an item's is added to."""
        if array.ndim == 2:
            return grad
        at = np.unravel_index(item or 0, self.lead)[len(self.lead) - array.ndim + 2 :]
        return cast(
            "Float32Array", grad[tuple(i if size > 1 else 0 for i, size in zip(at, array.shape[:-2], strict=True))]
        )
