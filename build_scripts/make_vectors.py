#!/usr/bin/env python3
"""Write tests/vectors/*.json: inputs, settings and what torch makes of them in float64.

python3 build_scripts/make_vectors.py            # write the files
python3 build_scripts/make_vectors.py --check    # exit 1 if the files are not what torch says now

torch comes into an environment of its own in `.cache/`; nothing that the vectors test is used to make them.

A file is {"format", "cases"}; a case is {"name", "mechanism", "config", "parameters"?, "inputs", "options",
"expected", "gradients", "gradient_tolerance", "tolerance", "source"}. An array is {"shape", "dtype", "data"}, data
flat; infinity is the string "-Infinity". `expected` holds "output", of `forward`, and may hold "attention_weights";
tolerance is relative to 1 + max|expected|. `gradients` holds "grad_output" and, by torch's autograd, the gradients of
the inputs, parameters and options that have one, right to `gradient_tolerance`, in the same sense. Losses and miners
have files of their own in tests/vectors/training, see vectors_training.py, and optimizers: vectors_optimizers.py.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import toolchain
import vectors_adaptive
import vectors_geometry
import vectors_optimizers
import vectors_top_k
from make_vectors_graph import GraphMaker
from toolchain_store import is_current, locked, mark_current, pyproject
from vectors_training import TrainingMaker

TARGET = toolchain.ROOT / "tests" / "vectors"
TOLERANCE = 2e-6
GRADIENT_TOLERANCE = 5e-6  # sums of products of what is itself rounded
SOURCE_SDPA = "torch.nn.functional.scaled_dot_product_attention, float64"
SOURCE_HEADS = "torch.nn.MultiheadAttention with the same parameters, float64"

Case = dict[str, Any]


def python() -> Path:
    """An environment with torch, made once."""
    requirements = pyproject()["project"]["optional-dependencies"]["vectors"]
    folder = toolchain.CACHE / "venv-vectors"
    found = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    key = "\n".join([str(folder), *requirements])
    with locked("venv-vectors"):
        if not is_current(folder, key):
            toolchain.say(f"installing {', '.join(requirements)} into {folder}")
            toolchain.run([sys.executable, "-m", "venv", folder], quiet=True)
            toolchain.run([found, "-m", "pip", "install", "-q", "numpy", *requirements], quiet=True)
            mark_current(folder, key)
    return found


class Maker:
    """Makes cases; needs torch, so it lives only in that environment."""

    def __init__(self) -> None:
        import numpy
        import torch  # type: ignore[import-not-found, unused-ignore]

        self.np, self.torch = numpy, torch
        self.random = numpy.random.default_rng(20170612)  # the day of arXiv:1706.03762
        self.upstream = numpy.random.default_rng(20191203)  # its own draws, so that gradients move no inputs
        self.top_k: int | None = None  # of all cases that are made while it is set
        self.cases: dict[str, list[Case]] = {}
        self._leaves: dict[int, tuple[Any, Any]] = {}

    def draw(self, *shape: int, size: float = 1.0) -> Any:
        """Three decimals, so that the file is short and float32 reads the same number everywhere."""
        return self.np.round(self.random.standard_normal(shape) * size, 3).astype(self.np.float32)

    def tensor(self, array: Any) -> Any:
        """The array in float64, the same tensor every time, so that `add` finds what the output came from."""
        if isinstance(array, self.torch.Tensor):
            return array
        if id(array) not in self._leaves:
            wide = self.torch.from_numpy(self.np.asarray(array, self.np.float64).copy())
            self._leaves[id(array)] = (array, wide.requires_grad_())  # the array too: an id is one while it lives
        return self._leaves[id(array)][1]

    def gradients(self, output: Any, given: Case) -> Case:
        """Of the sum of output times a drawn gradient: of each array in `given` that the output came from."""
        leaves = {name: self._leaves[id(array)][1] for name, array in given.items() if id(array) in self._leaves}
        grad = self.np.round(self.upstream.standard_normal(tuple(output.shape)), 3).astype(self.np.float32)
        wide = self.torch.from_numpy(grad.astype(self.np.float64))
        found = self.torch.autograd.grad(output, list(leaves.values()), wide, retain_graph=True, allow_unused=True)
        gradients = {name: value for name, value in zip(leaves, found, strict=True) if value is not None}
        assert all(value.isfinite().all() for value in gradients.values()), "torch has no gradient here"
        return {
            "grad_output": self.written(grad, 7),
            **{name: self.written(value, 8) for name, value in gradients.items()},
        }

    def written(self, array: Any, digits: int = 10) -> Case:
        array = array.detach().numpy() if isinstance(array, self.torch.Tensor) else self.np.asarray(array)
        dtype = {"b": "bool", "i": "int64"}.get(array.dtype.kind, "float32")
        flat = array.reshape(-1).tolist()
        data = [int(x) for x in flat] if dtype != "float32" else [_number(x, digits) for x in flat]
        return {"shape": list(array.shape), "dtype": dtype, "data": data}

    def add(
        self,
        mechanism: str,
        name: str,
        config: Case,
        inputs: Case,
        expected: Case,
        source: str,
        options: Case | None = None,
        parameters: Case | None = None,
        tolerance: float = TOLERANCE,
        trained: Any = None,
        scores: Any = None,
    ) -> None:
        """`trained` is the output that is differentiated, where training computes another one than inference.

        `scores` are told where they may be large: weights recomputed from the log-sum-exp are as exact as float32
        has numbers of that size, and gradients are no more exact than those.
        """
        case: Case = {"name": name, "mechanism": mechanism, "config": config}
        if self.top_k is not None:
            case |= {"name": f"top-k-{name}", "config": {**config, "top_k": self.top_k}}
        if parameters:
            case["parameters"] = {key: self.written(value, 7) for key, value in parameters.items()}
        case["inputs"] = {key: self.written(value, 7) for key, value in inputs.items()}
        case["options"] = {
            key: value if isinstance(value, bool) else self.written(value, 7) for key, value in (options or {}).items()
        }
        case["expected"] = {key: self.written(value) for key, value in expected.items()}
        trained = expected["output"] if trained is None else trained
        added = {key: value for key, value in (options or {}).items() if key in ("bias", "mask")}
        case["gradients"] = self.gradients(trained, {**inputs, **(parameters or {}), **added})
        spacing = 0.0 if scores is None else float(scores.detach().abs().max()) * 2.0**-23
        case["gradient_tolerance"] = _number(max(GRADIENT_TOLERANCE, spacing), 2)
        self.cases.setdefault(mechanism, []).append({**case, "tolerance": tolerance, "source": source})

    def seen(self, mask: Any) -> Any:
        """A bool mask as what is added to the scores."""
        return self.torch.from_numpy(self.np.where(mask, 0.0, -self.np.inf))

    def chosen(self, scores: Any) -> Any:
        """-inf in the place of all but the top_k highest of each row, where only those count; no two are equal."""
        if self.top_k is None:
            return scores
        least = scores.topk(min(self.top_k, scores.shape[-1]), -1).values[..., -1:]
        return self.torch.where(scores >= least, scores, -self.np.inf)

    # --- scaled dot-product

    def attend(self, query: Any, keys: Any, values: Any, scale: float, addend: Any = None) -> Case:
        """Output and weights; addend (broadcastable to the scores) holds -inf where nothing may be seen."""
        q, k, v = (self.tensor(array) for array in (query, keys, values))
        scores = q @ k.transpose(-1, -2) * scale
        added = self.torch.zeros_like(scores) if addend is None else self.tensor(addend).expand(scores.shape)
        added = self.torch.where(self.torch.isneginf(self.chosen(scores + added)), -self.np.inf, added)
        # a row without keys is 0 by this project's definition; torch would say NaN
        empty = self.torch.isneginf(added).all(-1, keepdim=True)
        added = self.torch.where(empty, 0.0, added)
        output = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale)
        weights = self.torch.softmax(scores + added, -1)
        return {
            "output": self.torch.where(empty, 0.0, output),
            "attention_weights": self.torch.where(empty, 0.0, weights),
        }

    def scaled(
        self,
        name: str,
        query: Any,
        keys: Any,
        values: Any,
        *,
        config: Case | None = None,
        mask: Any = None,
        bias: Any = None,
        causal: bool = False,
        mechanism: str = "scaled_dot_product",
    ) -> None:
        np, dim = self.np, query.shape[-1]
        config = {"dim": dim, **(config or {})}
        scale = config.get("scale", dim**-0.5) / config.get("temperature", 1.0)
        shape = (query.shape[-2], keys.shape[-2])
        addend = self.torch.zeros(shape).double() if mask is not None or bias is not None or causal else None
        options: Case = {}
        if mask is not None:
            options["mask"] = mask
            addend = addend + (self.tensor(mask) if mask.dtype != bool else self.seen(mask))
        if bias is not None:
            options["bias"] = bias
            addend = addend + self.tensor(bias)
        if causal:
            options["causal"] = True
            addend = addend + self.seen(np.tri(*shape, shape[1] - shape[0], dtype=bool))
        used = (query, keys)
        if config.get("normalize"):
            used = tuple(self.torch.nn.functional.normalize(self.tensor(array), dim=-1) for array in used)
        expected = self.attend(used[0], used[1], values, scale, addend)
        inputs = {"query": query, "keys": keys, "values": values}
        scores = self.tensor(used[0]) @ self.tensor(used[1]).transpose(-1, -2) * scale
        self.add(mechanism, name, config, inputs, expected, SOURCE_SDPA, options, scores=scores)

    def scaled_dot_product(self) -> None:
        draw, np = self.draw, self.np
        for dim, n_query, n_key, dim_value in [(1, 1, 1, 1), (3, 2, 5, 3), (16, 7, 33, 8), (64, 4, 20, 64)]:
            self.scaled(f"dim-{dim}", draw(n_query, dim), draw(n_key, dim), draw(n_key, dim_value))
        self.scaled("dim-100", draw(3, 100), draw(9, 100), draw(9, 5))
        self.scaled("one-query-many-keys", draw(1, 4), draw(300, 4), draw(300, 3))
        self.scaled("many-queries-few-keys", draw(200, 2), draw(3, 2), draw(3, 2))
        self.scaled("key-tile-and-one", draw(17, 4), draw(129, 4), draw(129, 4))
        self.scaled("scale", draw(5, 6), draw(7, 6), draw(7, 2), config={"scale": 1.75})
        self.scaled("temperature", draw(5, 6), draw(7, 6), draw(7, 2), config={"temperature": 0.1})
        self.scaled("scale-and-temperature", draw(5, 6), draw(7, 6), draw(7, 2), config={"scale": 2, "temperature": 4})
        self.scaled("cosine", draw(5, 8), draw(9, 8), draw(9, 3), config={"normalize": True, "scale": 10})
        self.scaled("cosine-sharp", draw(4, 5), draw(9, 5), draw(9, 3), config={"normalize": True, "temperature": 0.05})
        self.scaled("batch", draw(3, 4, 5), draw(3, 6, 5), draw(3, 6, 2))
        self.scaled("batch-of-batches", draw(2, 3, 4, 5), draw(2, 3, 6, 5), draw(2, 3, 6, 2))
        large = {"scale": 1}
        self.scaled("large-scores", draw(4, 8, size=50), draw(9, 8, size=50), draw(9, 3), config=large)
        self.scaled("huge-scores", draw(4, 3, size=1000), draw(9, 3, size=1000), draw(9, 3), config=large)

        seen = np.round(self.random.random((6, 9))) == 1
        seen[0], seen[1] = True, np.arange(9) == 4
        masked = (draw(6, 4), draw(9, 4), draw(9, 3))
        self.scaled("mask", *masked, mask=seen)
        self.scaled("mask-of-keys", *masked, mask=np.arange(9) % 3 != 1)
        self.scaled("mask-of-queries-leaves-empty-rows", *masked, mask=np.arange(6)[:, None] % 2 == 0)
        nothing = seen.copy()
        nothing[[2, 5]] = False
        self.scaled("mask-with-empty-rows", *masked, mask=nothing)
        self.scaled("float-mask", *masked, mask=draw(6, 9))
        minus_infinity = np.where(nothing, draw(6, 9), np.float32(-np.inf)).astype(np.float32)
        self.scaled("float-mask-with-minus-infinity", *masked, mask=minus_infinity)
        self.scaled("bias", *masked, bias=draw(6, 9))
        self.scaled("bias-and-mask", *masked, bias=draw(1, 9), mask=nothing)
        batched = (draw(2, 5, 4), draw(2, 7, 4), draw(2, 7, 3))
        self.scaled("mask-for-each-of-a-batch", *batched, mask=self.random.random((2, 5, 7)) < 0.6)
        self.scaled("causal", draw(8, 4), draw(8, 4), draw(8, 3), causal=True)
        self.scaled("causal-with-a-cache", draw(3, 4), draw(10, 4), draw(10, 3), causal=True)
        self.scaled("causal-one-step", draw(1, 4), draw(10, 4), draw(10, 3), causal=True)
        self.scaled("causal-without-enough-keys", draw(7, 4), draw(4, 4), draw(4, 3), causal=True)
        self.scaled("causal-and-mask", *masked, causal=True, mask=seen)
        self.scaled("causal-and-bias", draw(20, 4), draw(20, 4), draw(20, 3), causal=True, bias=draw(20, 20))

    def flash(self) -> None:
        draw = self.draw
        flash: Case = {"mechanism": "flash"}
        self.scaled("plain", draw(9, 8), draw(21, 8), draw(21, 5), **flash)
        self.scaled("block-size", draw(9, 8), draw(21, 8), draw(21, 5), config={"block_size": 4}, **flash)
        self.scaled("causal", draw(20, 3), draw(40, 3), draw(40, 3), causal=True, **flash)

    # --- heads

    def split_heads(self, name: str, heads: int, kv_heads: int, width: int, *, causal: bool = False) -> None:
        """Heads as groups of channels, without projections."""
        query = self.draw(5, heads * width)
        keys, values = self.draw(8, kv_heads * width), self.draw(8, kv_heads * width)
        q = self.tensor(query).reshape(5, heads, width).transpose(0, 1)
        k, v = (self.tensor(array).reshape(8, kv_heads, width).transpose(0, 1) for array in (keys, values))
        allowed = self.torch.ones(5, 8, dtype=self.torch.bool).tril(3) if causal else None
        function = self.torch.nn.functional.scaled_dot_product_attention
        output = function(q, k, v, attn_mask=allowed, enable_gqa=heads != kv_heads)
        config = {"dim": heads * width, "num_heads": heads, "projections": False}
        if kv_heads != heads:
            config["num_kv_heads"] = kv_heads
        expected = {"output": output.transpose(0, 1).reshape(5, -1)}
        options = {"causal": True} if causal else {}
        inputs = {"query": query, "keys": keys, "values": values}
        self.add("multi_head", name, config, inputs, expected, SOURCE_SDPA, options)

    def heads(
        self,
        name: str,
        *,
        mechanism: str = "multi_head",
        dim: int = 8,
        num_heads: int = 2,
        kdim: int | None = None,
        vdim: int | None = None,
        bias: bool = True,
        batch: tuple[int, ...] = (),
        causal: bool = False,
        mask: Any = None,
    ) -> None:
        """nn.MultiheadAttention; its weights are the transposes of ours."""
        torch, n_query, n_key = self.torch, 5, 5 if mechanism == "self_attention" else 7
        parameters: Case = {}
        sizes = {"query": dim, "keys": kdim or dim, "values": vdim or kdim or dim, "output": dim}
        for part, size in sizes.items():
            parameters[f"{part}_weight"] = self.draw(size, dim, size=size**-0.5)
            if bias:
                parameters[f"{part}_bias"] = self.draw(dim, size=0.3)
        module = torch.nn.MultiheadAttention(
            dim, num_heads, bias=bias, kdim=sizes["keys"], vdim=sizes["values"], batch_first=True, dtype=torch.float64
        )
        state = {"out_proj.weight": self.tensor(parameters["output_weight"]).T}
        projections = [self.tensor(parameters[f"{part}_weight"]).T for part in ("query", "keys", "values")]
        if "in_proj_weight" in module.state_dict():
            state["in_proj_weight"] = torch.cat(projections)
        else:
            state |= dict(zip(["q_proj_weight", "k_proj_weight", "v_proj_weight"], projections, strict=True))
        if bias:
            parts = [self.tensor(parameters[f"{part}_bias"]) for part in ("query", "keys", "values")]
            state |= {"in_proj_bias": torch.cat(parts), "out_proj.bias": self.tensor(parameters["output_bias"])}
        query = self.draw(*batch, n_query, dim)
        if mechanism == "self_attention":
            keys = values = query
            inputs = {"query": query}
        else:
            keys = self.draw(*batch, n_key, sizes["keys"])
            values = self.draw(*batch, n_key, sizes["values"])
            inputs = {"query": query, "keys": keys, "values": values}
        hidden, options = None, {}
        if mask is not None:
            hidden, options = ~torch.from_numpy(mask), {"mask": mask}
        if causal:
            hidden, options = ~torch.ones(n_query, n_key, dtype=torch.bool).tril(n_key - n_query), {"causal": True}
        arrays = tuple(self.tensor(array) for array in (query, keys, values))
        how = {"attn_mask": hidden, "need_weights": True, "average_attn_weights": False}
        output, weights = torch.func.functional_call(module.eval(), state, arrays, how)
        config: Case = {"dim": dim, "num_heads": num_heads}
        if kdim:
            config["kdim"] = kdim
        if vdim:
            config["vdim"] = vdim
        if not bias:
            config["bias"] = False
        expected = {"output": output, "attention_weights": weights}
        self.add(mechanism, name, config, inputs, expected, SOURCE_HEADS, options, parameters)

    def all_heads(self) -> None:
        seen = self.random.random((5, 7)) < 0.6
        seen[:, 2] = True  # torch's module says NaN where a row has no key
        self.split_heads("split", 4, 4, 6)
        self.split_heads("grouped-query", 6, 2, 4)
        self.split_heads("multi-query", 5, 1, 3)
        self.split_heads("grouped-query-causal", 4, 2, 5, causal=True)
        self.heads("one-head", num_heads=1)
        self.heads("two-heads")
        self.heads("eight-heads-of-one-channel", num_heads=8)
        self.heads("wide", dim=24, num_heads=3)
        self.heads("without-bias", bias=False)
        self.heads("keys-and-values-of-their-own-width", kdim=5, vdim=3)
        self.heads("batch", batch=(3,))
        self.heads("mask", mask=seen)
        self.heads("causal", causal=True)
        self.heads("self", mechanism="self_attention")
        self.heads("self-causal", mechanism="self_attention", causal=True)
        self.heads("self-batch", mechanism="self_attention", batch=(2,), num_heads=4)
        self.heads("cross", mechanism="cross_attention", kdim=6)
        self.heads("cross-mask", mechanism="cross_attention", kdim=6, vdim=4, mask=seen)


def _number(value: float, digits: int) -> float | int | str:
    if math.isinf(value):
        return "-Infinity" if value < 0 else "Infinity"
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


def texts() -> dict[Path, str]:
    """The files, one case a line."""
    maker = Maker()
    makers: list[Callable[[], None]] = [maker.scaled_dot_product, maker.flash, maker.all_heads]
    graphs = GraphMaker(maker)
    makers.append(graphs.make)
    makers.append(lambda: vectors_geometry.add_all(maker))
    for make in makers:
        make()
    vectors_adaptive.add_all(maker)
    graphs.heads()
    vectors_top_k.add_all(maker, graphs)
    files = {**maker.cases, **{f"training/{part}": cases for part, cases in TrainingMaker(maker).make().items()}}
    about = "written by build_scripts/make_vectors.py, where the format is explained"
    written = {
        TARGET / f"{name}.json": f'{{"format": {json.dumps(about)}, "cases": [\n'
        + ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
        + "\n]}\n"
        for name, cases in files.items()
    }
    return {**written, TARGET / "training" / "optimizers.json": vectors_optimizers.text()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    try:
        import torch  # noqa: F401  is this the environment that has it?
    except ImportError:
        toolchain.run([python(), *sys.argv])
        return 0
    stale = 0
    for path, text in texts().items():
        same = path.is_file() and path.read_text() == text
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not same:
            print(f"{path.relative_to(toolchain.ROOT)} is not what torch says now; run build_scripts/make_vectors.py")
            stale += 1
        print(f"{path.name:28} {len(text) / 1000:6.1f} kB")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
