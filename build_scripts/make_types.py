#!/usr/bin/env python3
"""Write the TypeScript that the registry knows: the types of every mechanism, and what the kernels' runtime, which has
no Python to ask, must know of those that it computes.

python3 build_scripts/make_types.py            # write the files
python3 build_scripts/make_types.py --check    # exit 1 when a file is not what the registry says
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import toolchain

WEB = toolchain.ROOT / "web"
TRAINING = WEB / "src" / "training.gen.ts"
TYPES = WEB / "src" / "mechanisms.gen.ts"
DESCRIPTION = WEB / "src" / "wasm" / "description.gen.ts"
KERNEL_CLASSES = WEB / "src" / "wasm" / "mechanisms.gen.ts"
# THE list of what the runtimes of the kernels alone compute, by the parts that a page fetches: web/src/wasm/parts.ts.
KERNEL_PARTS = {
    "plain": ["scaled_dot_product", "flash", "local_global"],
    "heads": ["multi_head", "self_attention", "cross_attention"],
    "hyperbolic": ["hyperbolic"],
    "linear": ["linear"],
    "edges": ["edge_featured", "graph"],
    "moe": ["moe"],
    "positions": ["graph_rope", "temporal"],
    "dual_space": ["dual_space"],
    "hierarchical": ["hierarchical"],
}
KERNEL_MECHANISMS = sorted(name for names in KERNEL_PARTS.values() for name in names)
RULES = {part: WEB / "src" / "wasm" / "rules" / f"{part}.gen.ts" for part in KERNEL_PARTS}

HEADER = """\
// Written by build_scripts/make_types.py from describe(); do not edit. A mechanism appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./instance.js";
import type { Memory } from "./memory.js";
import type { ArrayInput, MaskInput, Tensor } from "./tensor.js";
"""

TRAINING_HEADER = """\
// Written by build_scripts/make_types.py from describe(); do not edit. A part appears here by being registered.
import type { AttentionObject, CallOptions, MechanismClass } from "./instance.js";
import type { ArrayInput, Tensor } from "./tensor.js";
"""

DESCRIPTION_HEADER = """\
// Written by build_scripts/make_types.py from describe(); do not edit. The mechanisms that the kernels alone compute.
import type { Description } from "../description.js";

export const DESCRIPTION: Omit<Description, "backend" | "handles"> ="""
RULES_HEADER = """\
// Written by build_scripts/make_types.py from describe(); do not edit. What calls are checked by: no words for readers,
// which ../description.gen.ts has.
import type { Rules } from "../../description.js";

export const RULES: readonly Rules[] ="""
ELSEWHERE_HEADER = """
/** Mechanisms that the kernels alone do not compute. */
export const ELSEWHERE: readonly string[] ="""
KERNEL_CLASSES_HEADER = """\
// Written by build_scripts/make_types.py; do not edit. The mechanisms that the kernels alone compute.
"""

SIMPLE = {"int": "number", "float": "number", "bool": "boolean", "str": "string", "None": "null", "Any": "unknown"}
ARRAYS = {
    "Float32Array": "Tensor",
    "ArrayLike": "ArrayInput",
    "Array": "ArrayInput",
    "ArraysLike": "ArrayInput | Record<string, ArrayInput | null> | (ArrayInput | null)[]",
    "Arrays": "Tensor | Record<string, Tensor> | Tensor[]",
    "CurriculumStage": "CurriculumStage",
    "LossResult": "{ value: number | Tensor; gradients: Record<string, Tensor> }",
    "Int64Array": "Tensor",
    "array": "ArrayInput",
    "KeysLike": "ArrayInput | Memory",
    "EdgesLike": "ArrayInput | { edges: ArrayInput }",
}


def description_source() -> str:
    """For the kernels' runtime: describe() as a literal, without what only the running package knows."""
    from ruvector_attention import registry

    described = registry.describe()
    mechanisms = [m for m in described["mechanisms"] if m["name"] in KERNEL_MECHANISMS]
    kept = {"version": described["version"], "errors": described["errors"], "mechanisms": mechanisms, "training": []}
    return f"{DESCRIPTION_HEADER} {json.dumps(kept)};\n"


def rules_source(part: str) -> str:
    """Of a part's mechanisms what every call needs."""
    from ruvector_attention import registry

    rules = []
    for mechanism in registry.describe()["mechanisms"]:
        if mechanism["name"] in KERNEL_PARTS[part]:
            config = [{key: x for key, x in field.items() if key != "doc"} for field in mechanism["config"]]
            inputs = [{key: spec[key] for key in ("name", "axes", "optional")} for spec in mechanism["inputs"]]
            kept = {key: mechanism[key] for key in ("name", "class", "methods")}
            rules.append({**kept, "config": config, "inputs": inputs})
    text = f"{RULES_HEADER} {json.dumps(rules)};\n"
    if part == "moe":  # its experts are named by its caller
        elsewhere = [name for name in registry.mechanisms() if name not in KERNEL_MECHANISMS]
        text += f"{ELSEWHERE_HEADER} {json.dumps(elsewhere)};\n"
    return text


def kernel_classes_source() -> str:
    """Which mechanisms there are before the code of a part is fetched."""
    from ruvector_attention import registry

    described = registry.describe()
    classes = {mechanism["name"]: mechanism["class"] for mechanism in described["mechanisms"]}
    parts = {part: {name: classes[name] for name in names} for part, names in KERNEL_PARTS.items()}
    by_class = [f'{classes[name]}: "{name}";' for name in KERNEL_MECHANISMS]
    return "\n".join(
        [
            KERNEL_CLASSES_HEADER,
            f"export const VERSION = {json.dumps(described['version'])};\n",
            "/** By the part that has their code: the mechanisms, and their classes. */",
            f"export const PARTS = {json.dumps(parts)} as const;\n",
            interface("NameOf", "The names of the classes' mechanisms.", by_class),
        ]
    )


def source() -> str:
    """The types, from the registry of the package installed in the Python that runs this."""
    from ruvector_attention import registry

    described = registry.describe()["mechanisms"]
    parts = [HEADER]
    for mechanism in described:
        parts += [config_interface(mechanism), class_interface(mechanism, registry.get(mechanism["name"]))]
    by_class = [f"readonly {m['class']}: MechanismClass<{m['class']}Config, {m['class']}>;" for m in described]
    by_name = [f"{m['name']}: {{ config: {m['class']}Config; instance: {m['class']} }};" for m in described]
    parts.append(interface("Mechanisms", "The classes on a loaded runtime.", by_class))
    parts.append(interface("MechanismsByName", "The same by registry name, for create().", by_name))
    return "\n".join(parts)


def training_source() -> str:
    """The types of the parts of training, which are objects of the same kind as mechanisms."""
    from ruvector_attention import registry, training

    described = registry.describe()["training"]
    parts = [TRAINING_HEADER, *nested_interfaces()]
    for part in described:
        parts += [config_interface(part), class_interface(part, training.get_part(part["name"]))]
    by_class = [f"readonly {p['class']}: MechanismClass<{p['class']}Config, {p['class']}>;" for p in described]
    by_name = [f"{p['name']}: {{ config: {p['class']}Config; instance: {p['class']} }};" for p in described]
    parts.append(interface("Training", "The classes on a loaded runtime's `training`.", by_class))
    parts.append(interface("PartsByName", "The same by registry name, for create().", by_name))
    return "\n".join(parts)


def nested_interfaces() -> list[str]:
    """Of settings that are among the items of a list: the stages of a curriculum."""
    from ruvector_attention import training
    from ruvector_attention.config import describe_settings, nested

    found = [each for name in training.parts() for each in nested(training.get_part(name).Config)]
    return [config_interface({"class": each.__name__, "config": describe_settings(each)}, suffix="") for each in found]


def interface(name: str, doc: str, members: list[str]) -> str:
    return "\n".join([f"/** {doc} */", f"export interface {name} {{", *(f"  {member}" for member in members), "}", ""])


def config_interface(mechanism: dict[str, Any], suffix: str = "Config") -> str:
    lines = [f"/** Settings of {mechanism['class']}. */", f"export interface {mechanism['class']}{suffix} {{"]
    for field in mechanism["config"]:
        default = "" if field["required"] else f" Default: {javascript(field['default'])}."
        lines.append(f"  /** {comment(field['doc'])}{default} */")
        lines.append(f"  {camel(field['name'])}{'' if field['required'] else '?'}: {config_type(field)};")
    return "\n".join([*lines, "}", ""])


def class_interface(mechanism: dict[str, Any], cls: type) -> str:
    from ruvector_attention.training.part import taking

    name = mechanism["class"]
    paper = f" {mechanism['paper']}." if mechanism["paper"] else ""
    lines = [f"/** {comment(mechanism['summary'])}{comment(paper, stop=False)} */"]
    lines.append(f"export interface {name} extends AttentionObject<{name}Config> {{")
    for method in mechanism["methods"]:
        function = getattr(cls, method)
        summary = (inspect.getdoc(function) or "").split("\n\n")[0]
        if summary:
            lines.append(f"  /** {comment(' '.join(summary.split()))} */")
        takes = taking(cls, method)
        lines += [f"  {camel(method)}({each}): Promise<{returned(function, cls)}>;" for each in overloads(takes)]
    return "\n".join([*lines, "}", ""])


def overloads(function: Any) -> list[str]:
    """The parameters in each form that a call may have: with a Memory there are no values."""
    annotations = {name: str(each.annotation) for name, each in inspect.signature(function).parameters.items()}
    if annotations.get("keys") != "KeysLike" or "values" not in annotations:
        return [parameters(function)]
    keyed = parameters(function).replace("ArrayInput | Memory", "ArrayInput")
    if "None" not in annotations["values"]:  # its default is for a Memory alone
        keyed = keyed.replace("values?:", "values:")
    return [keyed, parameters(function, without="values").replace("ArrayInput | Memory", "Memory")]


def parameters(function: Any, without: str = "") -> str:
    """Positional parameters, then one object with the keyword-only ones and the bridge's own options."""
    hints = typing.get_type_hints(function, include_extras=True)
    positional, keywords, rest = [], [], ""
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        hint = hints.get(parameter.name)
        if parameter.name == without:
            continue
        if any(getattr(extra, "in_process", False) for extra in getattr(hint, "__metadata__", ())):
            continue
        kind = parameter_type(parameter, hint)
        mark = "" if parameter.default is parameter.empty else "?"
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = " & Record<string, unknown>"
        elif parameter.kind is parameter.VAR_POSITIONAL:
            return f"...args: {kind}[]"
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(f"{camel(parameter.name)}{mark}: {kind}")
        else:
            positional.append(f"{camel(parameter.name)}{mark}: {kind}")
    if not positional and not keywords and not rest:
        return ""
    options = f"{{ {'; '.join(keywords)} }} & CallOptions{rest}" if keywords else f"CallOptions{rest}"
    return ", ".join([*positional, f"options?: {options}"])


def parameter_type(parameter: inspect.Parameter, hint: Any) -> str:
    """From the Setting in the annotation where there is one, else from the annotation as it is written."""
    written = next((s.type for s in getattr(hint, "__metadata__", ()) if getattr(s, "type", None)), None)
    kind = typescript(str(written or parameter.annotation))
    return kind.replace("ArrayInput", "MaskInput") if parameter.name == "mask" else kind


def returned(function: Any, cls: Any) -> str:
    if inspect.signature(function).return_annotation == "Value":  # of a schedule, which says once what it gives
        function = cls._at
    return typescript(str(inspect.signature(function).return_annotation)).replace("ArrayInput", "Tensor")


def typescript(annotation: str) -> str:
    """A Python annotation, as text, in TypeScript; what JavaScript cannot know precisely is unknown."""
    annotation = annotation.strip("'\" ")
    parts = split(annotation, "|")
    if len(parts) > 1:
        kinds = list(dict.fromkeys(typescript(part) for part in parts))
        return "unknown" if "unknown" in kinds else " | ".join(kinds)
    if annotation in ARRAYS or annotation in SIMPLE:
        return ARRAYS.get(annotation) or SIMPLE[annotation]
    outer, bracket, inner = annotation.partition("[")
    if not bracket:
        return "unknown"
    items = [typescript(item) for item in split(inner.removesuffix("]"), ",") if item.strip() != "..."]
    if outer in ("list", "Iterable", "Sequence") and len(items) == 1:
        return f"({items[0]})[]" if "|" in items[0] else f"{items[0]}[]"
    if outer == "tuple" and items:
        return f"{items[0]}[]" if "..." in inner else f"[{', '.join(items)}]"
    if outer in ("dict", "Mapping") and len(items) == 2:
        return f"Record<string, {items[1]}>"
    return "unknown"


def split(text: str, separator: str) -> list[str]:
    """At separators outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def config_type(field: dict[str, Any]) -> str:
    if "choices" in field:
        choices = " | ".join(f'"{choice}"' for choice in field["choices"])
        return f"{choices} | null" if "None" in field["type"] else choices
    return typescript(field["type"])


def javascript(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value}"


def camel(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])_+([a-z0-9])", lambda match: match.group(1).upper(), name)


def comment(text: str, stop: bool = True) -> str:
    text = text.replace("*/", "* /")
    return text + ("." if stop and text and text[-1] not in ".!?" else "")


def formatted(text: str, target: Path) -> str:
    """As the formatter of web/ would leave it, so that the lint never argues with the generator."""
    node_modules = toolchain.node_modules()
    biome = node_modules / ".bin" / "biome"
    command = [str(biome), "format", f"--stdin-file-path={target.relative_to(WEB)}"]
    done = subprocess.run(command, input=text, text=True, capture_output=True, cwd=WEB, check=False)
    if done.returncode != 0:
        raise toolchain.ToolchainError(f"biome could not format the types: {done.stderr.strip()}")
    return done.stdout


def generate() -> dict[Path, str]:
    """The text that each file must have, from the package as it stands in the tree."""
    toolchain.install_native()
    command: list[str | Path] = [toolchain.venv(), Path(__file__), "--emit"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    emitted: dict[str, str] = json.loads(done.stdout)
    return {WEB / target: formatted(text, WEB / target) for target, text in emitted.items()}


def emit() -> dict[str, str]:
    """Every file's text as it comes, by its place in web/, in a Python that has the package."""
    texts = {TYPES: source(), TRAINING: training_source(), DESCRIPTION: description_source()}
    texts |= {KERNEL_CLASSES: kernel_classes_source()}
    texts |= {target: rules_source(part) for part, target in RULES.items()}
    return {str(target.relative_to(WEB)): text for target, text in texts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    parser.add_argument("--emit", action="store_true", help=argparse.SUPPRESS)  # runs where the package is installed
    arguments = parser.parse_args()
    if arguments.emit:
        json.dump(emit(), sys.stdout)
        return 0
    current = True
    for target, text in generate().items():
        name = target.relative_to(toolchain.ROOT)
        if not arguments.check:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
            print(name)
        elif not target.exists() or target.read_text() != text:
            print(f"{name} is out of date: run build_scripts/make_types.py", file=sys.stderr)
            current = False
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
