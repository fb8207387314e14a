"""THE list of cases of `--suite mechanisms`: those with a target of their own, and one for every registered mechanism.

The latter are derived from what the library says of itself (`describe()`), so that a new mechanism is measured without
a line here. A case is told to workers in the same way as a workload (workloads.py), and this file runs in them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

OURS = "ruvector-attention"
# (runtime, limit to an instruction set)
NATIVE, AVX2, REFERENCE = ("cpython", ""), ("cpython", "avx2"), ("cpython", "numpy")
WASM = ("pyodide-node", "wasm-simd128")
Shapes = dict[str, tuple[int, ...]]
PARAMETER = "parameter-"  # begins the name of an array that is a parameter and no input


@dataclass(frozen=True)
class MechanismCase:
    """One mechanism with its settings on inputs of these shapes.

    Arrays are normal with deviation `size`; those in `whole` are whole numbers below the number there, those in
    `ascending` sums of exponential gaps. Parameters, where there are any, are given to every engine alike.
    """

    name: str
    mechanism: str
    shapes: Shapes
    settings: dict[str, Any] = field(default_factory=dict)
    size: float = 1.0
    sizes: dict[str, float] = field(default_factory=dict)
    """The deviation of arrays that have one of their own."""
    whole: dict[str, int] = field(default_factory=dict)
    ascending: tuple[str, ...] = ()
    backward: bool = False
    engines: tuple[str, ...] = (OURS,)
    places: tuple[tuple[str, str], ...] = (NATIVE,)
    """Where it runs."""
    reference: str = ""
    """The float64 formula of case_reference.py; empty: the library's own float64 bodies, its backend `numpy`."""
    quick: bool = True

    kind = "mechanism"
    memory = False
    checked_rows = 0
    flops = 0
    threads = (1,)

    @property
    def inputs(self) -> Shapes:
        """Name -> shape of every array that an engine reads, in the order in which they are drawn."""
        return self.shapes

    @property
    def bytes_moved(self) -> int:
        """Bytes of the inputs, each counted once."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def parameters(self) -> list[str]:
        """The arrays that are parameters, by the library's names."""
        return [name.removeprefix(PARAMETER) for name in self.shapes if name.startswith(PARAMETER)]

    @property
    def differentiated(self) -> list[str]:
        """The arrays whose gradients are asked for with `backward`, in the order in which they are answered."""
        return [name for name in self.inputs if name not in self.whole and name != "grad"]

    def runs(self, engine: str, runtime: str, threads: int, isa: str) -> bool:
        """Whether that engine there is measured."""
        return engine in self.engines and threads == 1 and (runtime, isa) in self.places

    def describe(self) -> dict[str, Any]:
        """This case as plain data for a worker in another process or language."""
        return asdict(self) | {"kind": self.kind, "inputs": {name: list(shape) for name, shape in self.inputs.items()}}


def from_description(description: Mapping[str, Any]) -> MechanismCase:
    """The case whose `describe()` is `description`."""
    fields = {name: value for name, value in description.items() if name not in ("inputs", "kind")}
    fields["shapes"] = {name: tuple(shape) for name, shape in fields["shapes"].items()}
    fields["places"] = tuple((runtime, isa) for runtime, isa in fields["places"])
    return MechanismCase(**fields | {name: tuple(fields[name]) for name in ("ascending", "engines")})


def _attention(n_query: int, n_key: int, dim: int, heads: int = 1) -> Shapes:
    lead = (heads,) if heads > 1 else ()
    return {"query": (*lead, n_query, dim), "keys": (*lead, n_key, dim), "values": (*lead, n_key, dim)}


def _hyperbolic(name: str, n_query: int, n_key: int, dim: int, **more: Any) -> MechanismCase:
    return MechanismCase(
        f"hyperbolic-{name}", "hyperbolic", _attention(n_query, n_key, dim), {"dim": dim}, size=0.5 / math.sqrt(dim),
        engines=(OURS, "geoopt", "geoopt-products"), reference="hyperbolic", **more,
    )  # fmt: skip


def _gatv2(name: str, n_node: int, n_edges: int, *, backward: bool, **more: Any) -> MechanismCase:
    """64 channels to 8 heads of 8, 16 channels an edge; no self loops, so that both have these edges and no more."""
    dim, heads, head_dim, edge_dim = 64, 8, 8, 16
    width = heads * head_dim
    shapes: Shapes = {"nodes": (n_node, dim), "edge_index": (2, n_edges), "edge_attr": (n_edges, edge_dim)}
    parameters: Shapes = {
        "source_weight": (dim, width), "source_bias": (width,), "target_weight": (dim, width), "target_bias": (width,),
        "edge_weight": (edge_dim, width), "attention": (heads, head_dim), "bias": (width,),
    }  # fmt: skip
    shapes |= {PARAMETER + key: shape for key, shape in parameters.items()}
    if backward:
        shapes["grad"] = (n_node, width)
    settings = {"dim": dim, "num_heads": heads, "head_dim": head_dim, "edge_dim": edge_dim, "add_self_loops": False}
    return MechanismCase(
        f"gatv2-{name}{'-backward' if backward else ''}", "edge_featured", shapes, settings, size=0.25,
        whole={"edge_index": n_node}, backward=backward, engines=(OURS, "torch_geometric"), reference="gatv2", **more,
    )  # fmt: skip


CROSSING_SIZES = (256, 512, 1_024, 2_048, 4_096)
NUM_FEATURES, HEADS = 256, 8


def _linear(n: int) -> MechanismCase:
    shapes = _attention(n, n, 64, HEADS) | {f"{PARAMETER}features": (NUM_FEATURES, 64)}
    whole = n == CROSSING_SIZES[-1]
    return MechanismCase(
        f"linear-8x{n}x64", "linear", shapes, {"dim": 64, "num_features": NUM_FEATURES}, size=0.25,
        sizes={f"{PARAMETER}features": 1.0}, engines=(OURS, "performer-pytorch") if whole else (OURS,),
        reference="favor",
    )  # fmt: skip


def _softmax(name: str, n: int, heads: int = 1, mechanism: str = "flash") -> MechanismCase:
    return MechanismCase(name, mechanism, _attention(n, n, 64, heads), {"dim": 64}, reference="softmax")


WINDOW, GLOBAL_TOKENS, LONG = 256, 16, 16_384
EXPERTS = [{"type": "scaled_dot_product", "temperature": temperature} for temperature in (0.5, 1.0, 2.0, 4.0)]

# Cases of one line share their rounds, because their times are compared with one another.
REACH: tuple[tuple[MechanismCase, ...], ...] = (
    (_hyperbolic("1x1000x128", 1, 1_000, 128),),
    (_hyperbolic("1x10000x128", 1, 10_000, 128),),
    (_hyperbolic("self-1024x64", 1_024, 1_024, 64),),
    *(
        (_gatv2(f"{n_node // 1000}k-{n_edges // 1000}k", n_node, n_edges, backward=backward, quick=n_node == 1_000),)
        for n_node, n_edges in ((1_000, 10_000), (10_000, 100_000))
        for backward in (False, True)
    ),
    tuple(case for n in CROSSING_SIZES for case in (_linear(n), _softmax(f"flash-8x{n}x64", n, HEADS))),
    (
        MechanismCase(
            "local-global-16384x64", "local_global", _attention(LONG, LONG, 64),
            {"dim": 64, "window": WINDOW, "global_tokens": GLOBAL_TOKENS}, reference="local_global",
        ),
        _softmax("dense-2048x64", 2_048),
    ),
    (
        MechanismCase(
            "moe-4-experts", "moe",
            _attention(1_024, 1_024, 64) | {f"{PARAMETER}router_weight": (64, 4), f"{PARAMETER}router_bias": (4,)},
            {"dim": 64, "experts": EXPERTS, "top_k": 2}, reference="moe",
            sizes={f"{PARAMETER}router_weight": 0.125, f"{PARAMETER}router_bias": 0.1},
        ),
        _softmax("moe-one-expert", 1_024, mechanism="scaled_dot_product"),
    ),
)  # fmt: skip

# Sizes of axes, settings and options of the derived cases, by the names that all mechanisms share.
SETTINGS = {"dim": 64, "num_heads": 8, "edge_dim": 16, "seed": 5}
SIZES = {"n_query": 1_024, "n_key": 1_024, "n_item": 1_024, "dim_value": 64, "kdim": 64, "vdim": 64, "dim_out": 64}
SIZES |= {"n_node": 1_000, "n_edges": 10_000, "n_latent": 10_000, "ends": 2, "num_features": 4, **SETTINGS}
WHOLE = {"edge_index": 1_000, "latent_index": 1_000, "levels": 4, "layers": 8}
ASCENDING = ("query_times", "key_times", "query_positions", "key_positions")
OPTIONS = {"query_times": "n_query", "key_times": "n_key", "layers": "n_key"}
OPTIONS |= {"query_positions": "n_query", "key_positions": "n_key"}


class NoCaseError(LookupError):
    """A mechanism takes what no case can be derived for; the message says what to add here."""


def representative(described: Mapping[str, Any]) -> MechanismCase:
    """The case of a mechanism, from its entry in `describe()`: 1 024 rows, or 1 000 nodes, 10 000 edges; 64 channels.

    Raises: NoCaseError.
    """
    name = described["name"]
    known = {setting["name"] for setting in described["config"]}
    for setting in described["config"]:
        if setting["required"] and setting["name"] not in SETTINGS:
            raise NoCaseError(f"{name} requires {setting['name']}: add it to SETTINGS in benchmarks/cases.py")
    shapes: Shapes = {}
    for entry in described["inputs"]:
        axes = [axis for axis in entry["axes"] if axis != "..."]
        if unknown := [axis for axis in axes if axis not in SIZES]:
            raise NoCaseError(f"{name} has an axis {unknown[0]}: add it to SIZES in benchmarks/cases.py")
        if entry["dtype"] == "int64" and entry["name"] not in WHOLE:
            raise NoCaseError(f"{name} takes whole numbers {entry['name']}: add them to WHOLE in benchmarks/cases.py")
        shapes[entry["name"]] = tuple(SIZES[axis] for axis in axes)
    taken = [option["name"] for option in described["options"] if option["name"] in OPTIONS]
    shapes |= {option: (SIZES[OPTIONS[option]],) for option in taken}
    return MechanismCase(
        f"mechanism-{name}",
        name,
        shapes,
        {key: value for key, value in SETTINGS.items() if key in known},
        size=0.5 / math.sqrt(SETTINGS["dim"]),  # rows of about a half: inside of the unit ball
        whole={key: WHOLE[key] for key in shapes if key in WHOLE},
        ascending=tuple(key for key in shapes if key in ASCENDING),
        places=(NATIVE, AVX2, WASM),
    )
