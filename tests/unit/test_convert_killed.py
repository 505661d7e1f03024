"""What a killed conversion or somebody else has left: the next run heals it, and what it publishes is what its manifest says."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shards
from ansible.module_utils.serving.weights import convert as conversion
from ansible.module_utils.serving.weights import staging
from ansible.module_utils.serving.weights.manifests import DONE, LISTING, MANIFEST, damage
from conversion import Run, bf16, convert, model, published


def test_killed_between_its_rename_and_its_record_the_next_run_heals(run_module: Run, tmp_path: Path) -> None:
    """All shards are there already, under the final name: that is no reason to say that there was nothing to convert."""
    root = tmp_path / "models"
    shard: shards.Tensors = {"w": ("BF16", [4], bf16([1, 2, 3, 1e-9])), "n": ("I32", [1], bytes(4))}
    published(run_module, root, model(tmp_path / "source", shard, {"v": ("BF16", [4], bf16([1, 2, 3, 4]))}))
    first = convert(run_module, root)
    before = json.loads((Path(first["path"]) / MANIFEST).read_text())
    (root / ".refs/m+float16.json").unlink()
    second = convert(run_module, root)
    assert not second["failed"] and (second["path"], second["identity"]) == (first["path"], first["identity"]), second
    after = json.loads((Path(first["path"]) / MANIFEST).read_text())
    assert after["tensors"] == before["tensors"] and set(after["tensors"]) == {"v", "w"}
    assert not convert(run_module, root)["changed"]


def test_a_source_whose_shards_stayed_is_converted_from_them(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, root = tmp_path / "source", tmp_path / "models"
    published(run_module, root, model(source, {"w": ("BF16", [4], bf16([1, 2, 3, 1e-9]))}))
    first = convert(run_module, root)
    (source / "tokenizer.json").write_text('{"a": 1}')
    published(run_module, root, source)
    monkeypatch.setattr(conversion, "convert_shard", lambda *_: pytest.fail("it was converted again"))
    second = convert(run_module, root)
    assert second.get("changed") and second["path"] != first["path"], second
    found = [json.loads((Path(one["path"]) / MANIFEST).read_text()) for one in (first, second)]
    assert found[0]["tensors"] == found[1]["tensors"] and second["subnormal"] == 1
    assert json.loads((Path(second["path"]) / "tokenizer.json").read_text()) == {"a": 1}


def test_check_mode_refuses_what_a_run_would_and_names_the_folder_that_a_run_makes(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = tmp_path / "models", tmp_path / "source"
    published(run_module, root, model(source, {"w": ("F16", [2], bytes(4))}))
    results = [convert(run_module, root, check=check) for check in (True, False)]
    assert results[0]["failed"] and results[0]["msg"] == results[1]["msg"] and "nothing to convert" in results[0]["msg"]
    published(run_module, root, model(source, {"w": ("BF16", [2], bf16([1, 2]))}))
    before = sorted(str(path) for path in root.rglob("*"))
    check = convert(run_module, root, check=True)
    assert sorted(str(path) for path in root.rglob("*")) == before
    args = {
        "name": "m",
        "models_root": str(root),
        "sources": {"directory": {"path": str(source)}},
        "convert": "float16",
    }
    fetched = run_module("weights_fetch", args, check=True)
    with monkeypatch.context() as patched:
        patched.setattr(staging, "free_bytes", lambda _path: 1)
        full = [convert(run_module, root, check=dry)["msg"] for dry in (True, False)]
        full += [
            run_module("weights_fetch", {**args, "models_root": str(tmp_path / "other")}, check=dry)["msg"]
            for dry in (True, False)
        ]
        assert all("not enough disk for the model" in one for one in full), full
    done = convert(run_module, root)
    assert check["path"] == done["path"] and check["changed"] and done["changed"]
    assert Path(done["path"]).name.endswith("+float16") and "/m@" in fetched["diff"]["after"], fetched
    assert fetched["diff"]["after"].split(" ")[0].endswith("+float16"), fetched["diff"]


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another digest": lambda row: {**row, "sha256": "0" * 64},
    "no digest": lambda row: {key: value for key, value in row.items() if key != "sha256"},
    "a digest that is none": lambda row: {**row, "sha256": None},
    "another count": lambda row: {**row, "tensors": {"w": {**row["tensors"]["w"], "zeroed": 7}}},
    "no object": lambda row: [row],
    "only a name": lambda row: row["name"],
    "deep": lambda row: "[" * 100_000,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_list_of_what_is_finished_costs_its_file_once(run_module: Run, tmp_path: Path, form: str) -> None:
    """What the list says of a shard becomes its manifest, so a line that isn't as it was written is no line."""
    root = tmp_path / "models"
    good: shards.Tensors = {"w": ("BF16", [4], bf16([1, 2, 3, 4]))}
    published(run_module, root, model(tmp_path / "source", good, {"v": ("BF16", [4], bf16([1, 2, 3, 1e6]))}))
    assert convert(run_module, root)["failed"]
    done = next(root.glob(".m+float16@*.partial")) / ".done"
    rows = [json.loads(line) for line in done.read_text().splitlines()]
    rows = [FORMS[form](row) if row["name"] == "a.safetensors" else row for row in rows]
    lines = [row if form == "deep" and isinstance(row, str) else json.dumps(row) for row in rows]
    done.write_text("\n".join(lines) + "\n")
    result = convert(run_module, root, overflow="saturate")
    assert not result["failed"], result
    manifest = json.loads((Path(result["path"]) / MANIFEST).read_text())
    assert not damage(result["path"], manifest, full=True) and manifest["tensors"]["w"]["zeroed"] == 0


def test_a_link_in_the_place_of_the_unfinished_folder_is_not_tidied(run_module: Run, tmp_path: Path) -> None:
    """What is no file of the model is removed from that folder, which must not reach what a link leads to."""
    root, other = tmp_path / "models", tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("")
    published(run_module, root, model(tmp_path / "source", {"w": ("BF16", [4], bf16([1, 2, 3, 1e6]))}))
    assert convert(run_module, root)["failed"]
    folder = next(root.glob(".m+float16@*.partial"))
    shutil.rmtree(folder)
    folder.symlink_to(other)
    result = convert(run_module, root, overflow="saturate")
    assert not result["failed"] and [path.name for path in other.iterdir()] == ["precious"]
    assert not Path(result["path"]).is_symlink()


@pytest.mark.parametrize("kind", ["link", "folder", "hard link", "folder in the file's place"])
def test_what_lies_in_a_shards_way_is_replaced_and_never_written_through(
    run_module: Run, tmp_path: Path, kind: str
) -> None:
    root, source, other = tmp_path / "models", tmp_path / "source", tmp_path / "other"
    other.write_text("precious")
    published(run_module, root, model(source, {"w": ("BF16", [4], bf16([1, 2, 3, 1e6]))}))
    assert convert(run_module, root)["failed"]
    path = next(root.glob(".m+float16@*.partial")) / "a.safetensors.part"
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    else:
        path = path if kind == "folder" else path.with_suffix("")
        path.mkdir()
        (path / "x").write_text("")
    result = convert(run_module, root, overflow="saturate")
    assert not result["failed"] and other.read_text() == "precious", result
    assert not damage(result["path"], json.loads((Path(result["path"]) / MANIFEST).read_text()), full=True)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe"])
@pytest.mark.parametrize("name", [DONE, LISTING])
def test_what_lies_in_the_place_of_our_own_files_goes_and_is_not_waited_for(
    run_module: Run, tmp_path: Path, name: str, kind: str
) -> None:
    root = tmp_path / "models"
    published(run_module, root, model(tmp_path / "source", {"w": ("BF16", [4], bf16([1, 2, 3, 1e6]))}))
    assert convert(run_module, root)["failed"]
    path = next(root.glob(".m+float16@*.partial")) / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    result = convert(run_module, root, overflow="saturate")
    assert not result["failed"], result
    assert not damage(result["path"], json.loads((Path(result["path"]) / MANIFEST).read_text()), full=True)
