"""What is published is the manifest and nothing else, and there is never a moment without a model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible.module_utils.serving.weights import leftovers, manifests
from conftest import DEMO
from folders_of_models import Run, exactly_the_manifest, fetch


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "source"))


# What a killed run leaves


def test_what_is_published_is_exactly_the_manifest(run_module: Run, source: Path, tmp_path: Path) -> None:
    """An unfinished run of an older source, and files of a fetch from elsewhere, are not published."""
    root = tmp_path / "models"
    (source / manifests.SUMS).unlink()
    (source / "sub").mkdir()
    (source / "sub/notes.txt").write_text("x")
    staging = root / ".demo@.partial"
    (staging / "gone/deeper").mkdir(parents=True)
    for name in (
        "notes.txt.journal",
        "sub.txt",
        "gone/deeper/old.safetensors",
        "config.json.part.4711",
        manifests.LISTING,
    ):
        (staging / name).write_text("x")
    (staging / "sub").mkdir()
    (staging / "sub/notes.txt.journal").write_text("x")
    result = fetch(run_module, source, root)
    exactly_the_manifest(result)
    assert not (Path(result["path"]) / "gone").exists()


def test_leftovers_are_cleaned_by_a_run_that_changes_nothing(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    first = fetch(run_module, source, root)
    folder = Path(first["path"])
    damaged, done = Path(f"{folder}.damaged"), folder / manifests.DONE
    shutil.copytree(folder, damaged)
    done.write_text("{}")
    stepped_aside = root / f".{folder.name}.partial"
    shutil.copytree(damaged, stepped_aside)
    parts = [root / ".refs" / name for name in ("demo.json.part.4711", "demo.progress.part", "demo.progress.part.12")]
    other = root / ".refs/demo-2.json.part.1"
    for path in [*parts, other]:
        path.write_text("")
    assert not fetch(run_module, source, root, check=True)["changed"] and damaged.exists()
    assert not fetch(run_module, source, root)["changed"]
    assert not any(path.exists() for path in [damaged, done, stepped_aside, *parts]) and other.exists()
    exactly_the_manifest(first)


def test_an_unfinished_fetch_of_other_files_is_kept(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    folder = Path(fetch(run_module, source, root)["path"])
    staging = root / f".{folder.name}.partial"
    staging.mkdir()
    (staging / manifests.DONE).write_text("{}\n")
    assert not fetch(run_module, source, root)["changed"] and staging.exists()


@pytest.mark.parametrize("exchange", [True, False])
def test_a_kill_between_two_renames_leaves_no_moment_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """A published folder is replaced: at each rename the final name has the old model or the new one, or is mended."""
    folder, staging = tmp_path / "m@1", tmp_path / ".m@1.partial"
    for place, text in ((folder, "old"), (staging, "new")):
        place.mkdir()
        (place / "config.json").write_text(text)
    if not exchange:
        monkeypatch.setattr(manifests, "exchange", lambda *_: False)
    real, renames = os.rename, []

    def rename(one: str, other: str) -> None:
        if str(other) == str(folder) and not exchange:
            renames.append(other)
            raise KeyboardInterrupt  # as a kill here
        real(one, other)

    monkeypatch.setattr(os, "rename", rename)
    if exchange:
        manifests.publish(str(staging), str(folder), {"files": {}})
        assert (folder / "config.json").read_text() == "new" and not renames
        assert [p.name for p in tmp_path.iterdir()] == ["m@1"]
        return
    with pytest.raises(KeyboardInterrupt):
        manifests.publish(str(staging), str(folder), {"files": {}})
    monkeypatch.undo()
    assert not folder.exists()
    leftovers.tidy(str(tmp_path), "m")
    assert (folder / "config.json").read_text() == "old" and not Path(f"{folder}.damaged").exists()
