#!/usr/bin/env python3
"""Write planning/vllm_models.json: which architectures of a config.json vLLM knows in which version, and which parsers of answers.

python scripts/engine_models.py 0.8.4 0.32.0     # these versions anew, the others as they are
python scripts/engine_models.py --folder DIR     # from DIR/<version>/vllm/..., nothing is downloaded

The tables of vllm/model_executor/models/registry.py, and the names under which parsers are registered, are read from the wheel's sources:
nothing is installed or imported.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

from engine_options import expand, read_all, unpack, write

TARGET = Path(__file__).resolve().parent.parent / "planning" / "vllm_models.json"
REGISTRY = "vllm/model_executor/models/registry.py"
# Where parsers of tool calls and of thoughts lie, in one version or another.
PARSERS = {"tools": ("vllm/tool_parsers", "vllm/entrypoints/openai/tool_parsers"), "reasoning": ("vllm/reasoning",)}
WANTED = rf"{REGISTRY}|vllm/(entrypoints/openai/)?(tool_parsers|reasoning)/.*py"
# Tables of the registry, in the order in which they count: an architecture may stand in several.
GROUPS = {
    "_SPECULATIVE_DECODING_MODELS": "draft",
    "_MULTIMODAL_MODELS": "multimodal",
    "_TEXT_GENERATION_MODELS": "text",
    "_TRANSFORMERS_SUPPORTED_MODELS": "text",
    "_TRANSFORMERS_MODELS": "text",
    "_SEQUENCE_CLASSIFICATION_MODELS": "classify",
    "_CROSS_ENCODER_MODELS": "classify",
    "_TOKEN_CLASSIFICATION_MODELS": "token_classify",
    "_REWARD_MODELS": "reward",
    "_LATE_INTERACTION_MODELS": "late_interaction",
    "_EMBEDDING_MODELS": "embedding",
}


def architectures(folder: Path) -> dict[str, str]:
    """{architecture: group} of one version's registry."""
    tables: dict[str, list[str]] = {}
    for node in ast.parse((folder / REGISTRY).read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(getattr(node, "value", None), ast.Dict):
            keys = node.value.keys  # type: ignore[union-attr]
            tables[target.id] = [k.value for k in keys if isinstance(k, ast.Constant)]
    found: dict[str, str] = {}
    for table, group in GROUPS.items():
        for name in tables.get(table, []):
            found.setdefault(name, group)
    return found


def parsers(folder: Path) -> dict[str, str]:
    """{parser: tools or reasoning} of one version; a name that both have is in neither's way, as `tools/NAME` and `reasoning/NAME`."""
    found: dict[str, str] = {}
    for what, places in PARSERS.items():
        for path in [path for place in places for path in sorted((folder / place).glob("*.py"))]:
            text = path.read_text()
            names = re.findall(r"""register_module\(\s*\[?\s*(?:name=)?\[?["']([\w.-]+)""", text)
            if path.name == "__init__.py":  # newer ones: a table of names, classes and files
                names += re.findall(r"""(?m)^    ["']([\w.-]+)["']: \(""", text)
            found.update({f"{what}/{name}": what for name in names})
    return found


def read(folder: Path) -> dict[str, str]:
    """What one version knows: architectures with their groups, parsers with their kinds."""
    return architectures(folder) | parsers(folder)


def main() -> None:
    versions: dict[str, dict[str, str]] = {}
    if TARGET.exists():
        data = json.loads(TARGET.read_text())
        versions = expand({"versions": data["versions"], "options": data["known"]})
    versions |= read_all(sys.argv[1:], read, lambda version, folder: unpack("vllm", version, folder, WANTED))
    write(TARGET, {}, "known", versions)


if __name__ == "__main__":
    main()
