"""Models and calls for the tests of fetches from hubs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import shards
from ansible.module_utils.serving.weights import manifests
from hub import Hub

Run = Callable[..., dict[str, Any]]
KINDS = ("modelscope", "huggingface")


def make_model(folder: Path, size: int) -> None:
    """Two shards, each with a tensor of `size` bytes, bf16 in one and 8-bit in the other, a norm of fp32 and one of bf16."""
    dice = numpy.random.default_rng(7)
    index: dict[str, str] = {}
    for number, dtype in ((1, "BF16"), (2, "U8")):
        name = f"model-0000{number}-of-00002.safetensors"
        values = dice.normal(0, 0.02, size // 2).astype(numpy.float32)
        codes = (values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
        norm = dice.normal(size=64).astype(numpy.float32)
        tensors: shards.Tensors = {
            f"layer.{number}.{'weight' if dtype == 'BF16' else 'mask'}": (
                dtype,
                [size // (2 if dtype == "BF16" else 1)],
                codes,
            ),
            f"layer.{number}.norm": ("F32", [64], norm.tobytes()),
            f"layer.{number}.last_norm": ("BF16", [64], (norm.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()),
        }
        shards.write(folder / name, tensors)
        index |= dict.fromkeys(tensors, name)
    (folder / manifests.INDEX).write_text(json.dumps({"metadata": {"total_size": 2 * size + 512}, "weight_map": index}))
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (folder / "empty.txt").write_text("")
    (folder / "extra").mkdir(exist_ok=True)
    (folder / "extra/notes.txt").write_text("in a folder\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")


def arguments(hub: Hub, root: Path, kind: str = "huggingface", **options: Any) -> dict[str, Any]:
    options = {key: value for key, value in options.items() if value is not None}
    sources = options.pop("sources", {kind: {"repo": "org/model", "revision": options.pop("revision", None)}})
    endpoints = {f"{k}_endpoint": hub.url for k in KINDS}
    quick = {"stall_timeout": 1, "retries": 2, "connections": 4}
    return {"name": "m", "models_root": str(root), "sources": sources, **endpoints, **quick, **options}


def fetch(run: Run, hub: Hub, root: Path, kind: str = "huggingface", **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    return run("weights_fetch", arguments(hub, root, kind, **options), check=check)


def visible(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if not p.name.startswith(".")) if root.exists() else []


def same_as(model: Path, folder: Path) -> None:
    names = {str(p.relative_to(model)) for p in model.rglob("*") if p.is_file()} - {".gitattributes"}
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == names | {manifests.MANIFEST}
    for name in names:
        assert (folder / name).read_bytes() == (model / name).read_bytes(), name


def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two shards, 9 MB, with small files, an empty one and one in a folder."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    (folder / "extra").mkdir(parents=True)
    make_model(folder, 4_000_000)
    return folder
