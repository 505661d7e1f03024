"""Folders with a model, for the tests of what is published from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shards
from ansible.module_utils.serving.weights import manifests

Run = Callable[..., dict[str, Any]]


def fetch(run: Run, source: Path, root: Path, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    args = {"name": "demo", "models_root": str(root), "sources": {"directory": {"path": str(source)}}}
    return run("weights_fetch", {**args, **options}, check=check)


def files_of(result: dict[str, Any]) -> set[str]:
    folder = Path(result["path"])
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def exactly_the_manifest(result: dict[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((Path(result["path"]) / manifests.MANIFEST).read_text())
    assert files_of(result) == {*manifest["files"], manifests.MANIFEST}
    assert not manifests.damage(result["path"], manifest, full=True)
    return manifest


def parts(folder: Path) -> Path:
    """A sentence transformer: the same tensor names in three folders."""
    row: shards.Tensors = {"linear.weight": ("F32", [2], b"\0" * 8)}
    for name in ("", "2_Dense", "3_Dense"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text('{"in_features": 2}')
        shards.write(folder / name / "model.safetensors", row)
    (folder / "modules.json").write_text("[]")
    return folder
