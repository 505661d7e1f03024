"""Models for the tests of conversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import shards
from ansible.module_utils.serving.weights.manifests import INDEX

Run = Callable[..., dict[str, Any]]


def bf16(values: Any) -> bytes:
    """bf16 codes of float32 values, cut."""
    return (numpy.asarray(values, numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()


def published(run: Run, root: Path, source: Path) -> dict[str, Any]:
    args = {"name": "m", "models_root": str(root), "sources": {"directory": {"path": str(source)}}}
    result = run("weights_fetch", args)
    assert not result["failed"], result
    return result


def convert(run: Run, root: Path, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    return run("weights_convert", {"name": "m", "models_root": str(root), **options}, check=check)


def model(folder: Path, shard: shards.Tensors, second: shards.Tensors | None = None, index: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shards.write(folder / "a.safetensors", shard)
    if second:
        shards.write(folder / "b.safetensors", second)
    if index:
        places = dict.fromkeys(shard, "a.safetensors") | dict.fromkeys(second or {}, "b.safetensors")
        total = sum(len(t[2]) for t in [*shard.values(), *(second or {}).values()])
        (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))
    (folder / "config.json").write_text('{"dtype": "bfloat16", "text_config": {"torch_dtype": "bfloat16"}, "é": 1}')
    (folder / "tokenizer.json").write_text("{}")
    return folder
